//! `huetape demo`: the main job with nothing at hand.

use crate::cli::model::Model;
use crate::cli::settings::Settings;
use crate::cli::train::{Ended, Training, print_evaluation};
use crate::cli::{DeviceArgs, Outcome, stop_flag};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::codec::save::{save_png, save_tiff};
use crate::imaging::raster::{RasterInfo, SampleType};
use crate::imaging::synth::Scene;
use crate::train::run_dir::RunDir;
use crate::train::session;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Seed of the scenes; training scenes are numbered from 0, unseen ones from [`UNSEEN`].
const SEED: u64 = 7;
const UNSEEN: u32 = 1_000_000;
/// Scenes that it has not seen.
const UNSEEN_SCENES: u32 = 4;
const SCENE_SIZE: usize = 256;
/// Looks of the synthetic SAR pictures.
const LOOKS: usize = 4;

/// What a network shows, small enough for two cores and two minutes.
struct Show {
    model: Model,
    /// What it does, in a line.
    what: &'static str,
    /// Pictures that are made of each scene; the last is the target.
    sides: &'static [&'static str],
    /// What a sample strip shows.
    strip: &'static str,
    /// Folder of its run.
    run: &'static str,
    /// Scenes to train on.
    scenes: u32,
    settings: Settings,
}

impl Show {
    /// What `model` shows.
    fn of(model: Model) -> Vec<Show> {
        match model {
            Model::Colournet => vec![Show {
                model: Model::Colournet,
                what: "SAR to colour, on scenes made here",
                sides: &["sar", "optical"],
                strip: "SAR | predicted | truth",
                run: "run",
                scenes: 24,
                settings: Settings {
                    width: Some(0.25),
                    size: Some(128),
                    batch: Some(4),
                    steps: Some(500),
                    lr: Some(1e-3),
                    lr_schedule: Some("cosine".to_owned()),
                    checkpoint_every: Some(250),
                    sample_every: Some(100),
                    ..Settings::default()
                },
            }],
            Model::Window8 => vec![Show {
                model: Model::Window8,
                what: "SAR to colour, on scenes made here",
                sides: &["sar", "optical"],
                strip: "SAR | predicted | truth",
                run: "run",
                scenes: 24,
                settings: Settings {
                    size: Some(48),
                    batch: Some(8),
                    bins: Some("kmeans:48".to_owned()),
                    steps: Some(600),
                    lr: Some(1e-3),
                    lr_schedule: Some("cosine".to_owned()),
                    checkpoint_every: Some(300),
                    sample_every: Some(300),
                    ..Settings::default()
                },
            }],
            Model::Pix2pix => vec![Show {
                model: Model::Pix2pix,
                what: "SAR to colour, on scenes made here",
                sides: &["sar", "optical"],
                strip: "SAR | predicted | truth",
                run: "run",
                scenes: 24,
                settings: Settings {
                    width: Some(0.25),
                    steps: Some(1200),
                    lr_schedule: Some("cosine".to_owned()),
                    checkpoint_every: Some(600),
                    sample_every: Some(300),
                    ..Settings::default()
                },
            }],
            Model::Sicgan => vec![Show {
                model: Model::Sicgan,
                what: "grey to colour after two pictures, on scenes made here; with --lambda-l1 10 (published: 0)",
                sides: &["optical"],
                strip: "lightness | predicted | truth",
                run: "run",
                scenes: 2,
                settings: Settings {
                    width: Some(0.25),
                    size: Some(48),
                    batch: Some(16),
                    patches: Some(800),
                    steps: Some(1200),
                    lr: Some(1e-3),
                    lr_d: Some(1e-3),
                    lr_schedule: Some("cosine".to_owned()),
                    lambda_l1: Some(10.0),
                    checkpoint_every: Some(600),
                    sample_every: Some(300),
                    ..Settings::default()
                },
            }],
            Model::Spacenet => {
                let settings = Settings {
                    width: Some(0.25),
                    batch: Some(4),
                    steps: Some(800),
                    // Plain SGD at the published rate overshoots: see the README.
                    optimizer: Some("adam".to_owned()),
                    lr: Some(2e-3),
                    lr_d: Some(2e-4),
                    lr_schedule: Some("cosine".to_owned()),
                    lambda_mse: Some(3000.0),
                    checkpoint_every: Some(400),
                    sample_every: Some(200),
                    ..Settings::default()
                };
                vec![
                    Show {
                        model: Model::Spacenet,
                        what: "grey to colour, on scenes made here; by Adam (--optimizer adam) instead of SGD",
                        sides: &["optical"],
                        strip: "lightness | predicted | truth",
                        run: "run",
                        scenes: 24,
                        settings: settings.clone(),
                    },
                    Show {
                        model: Model::Spacenet,
                        what: "colour to colour and near infrared, on the same scenes, by Adam",
                        sides: &["optical", "multispectral"],
                        strip: "colour | predicted | truth | predicted infrared | true infrared",
                        run: "run-infrared",
                        scenes: 24,
                        settings,
                    },
                ]
            }
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape demo --out demo
  huetape demo --model sicgan --out demo-sicgan
  huetape demo --model spacenet --out demo-spacenet")]
pub struct DemoArgs {
    /// Which network
    #[arg(long, default_value = "colournet")]
    model: Model,
    /// Folder of the results; one that an earlier demo made is replaced
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: DemoArgs) -> Outcome {
    let start = Instant::now();
    let device = args.device.open()?;
    make_room(&args.out)?;
    println!("huetape demo on {}", device.name());
    let shows = Show::of(args.model);
    for show in &shows {
        make_scenes(&args.out.join("train"), show.sides, 0, show.scenes)?;
        make_scenes(&args.out.join("unseen"), show.sides, UNSEEN, UNSEEN_SCENES)?;
    }
    for show in &shows {
        run_show(&args, show, &device)?;
    }
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// Trains on the scenes of a show and says what came of it.
fn run_show(args: &DemoArgs, show: &Show, device: &Device) -> Outcome {
    println!("\n{}: {}", show.model.name(), show.what);
    println!("scenes: {} to train on, {UNSEEN_SCENES} that it will not see, in {}", show.scenes, args.out.display());
    let ended = train(args, show, device)?;
    let run = RunDir::open(args.out.join(show.run))?;
    if let session::Outcome::Stopped { step } = ended.outcome {
        return Err(
            Error::failed(format!("stopped after step {step}"), args.out.display(), "run the demo again").into()
        );
    }
    let Some(evaluation) = &ended.evaluation else {
        return Err(Error::failed("nothing was evaluated", args.out.display(), "report this").into());
    };
    println!("\non the {} unseen scenes:", evaluation.pictures);
    print_evaluation(evaluation);
    println!("\npictures ({}): {}", show.strip, run.samples().display());
    println!("report: {}", run.report().display());
    Ok(())
}

/// What a demo writes into its folder.
const PARTS: [&str; 4] = ["train", "unseen", "run", "run-infrared"];

/// Takes away what an earlier demo wrote; a folder that holds anything else is left alone.
fn make_room(out: &Path) -> Result<()> {
    let failed = |error: std::io::Error| crate::files::io_error("cannot replace the folder", out, &error);
    let entries = match std::fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        crate::ensure!(
            PARTS.iter().any(|part| name == *part),
            Error::input(
                format!("something else is in the way ({})", name.display()),
                out.display(),
                "choose another folder with --out"
            )
        );
    }
    for part in PARTS.map(|part| out.join(part)).iter().filter(|part| part.is_dir()) {
        std::fs::remove_dir_all(part).map_err(failed)?;
    }
    Ok(())
}

/// Writes scenes as `FOLDER/SIDE/NNN.png`, a side being `sar` or `optical`, and as `.tif` of four bands, `multispectral`.
fn make_scenes(folder: &Path, sides: &[&str], first: u32, count: u32) -> Result<()> {
    for side in sides {
        let folder = folder.join(side);
        std::fs::create_dir_all(&folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", &folder, &error))?;
    }
    for index in 0..count {
        let scene = Scene::new(SEED, first + index, SCENE_SIZE);
        for side in sides {
            let path = folder.join(side).join(format!("{index:03}"));
            if *side == "multispectral" {
                let info = RasterInfo::new(SCENE_SIZE, SCENE_SIZE, 4, SampleType::U8);
                let samples: Vec<f32> = scene.multispectral().into_iter().map(f32::from).collect();
                save_tiff(&path.with_extension("tif"), info, &samples)?;
            } else {
                let samples = if *side == "sar" { scene.sar(LOOKS) } else { scene.optical() };
                save_png(&path.with_extension("png"), &samples, SCENE_SIZE, SCENE_SIZE, None)?;
            }
        }
    }
    Ok(())
}

fn train(args: &DemoArgs, show: &Show, device: &Device) -> Result<Ended> {
    let side = |kind: &str, side: &str| Some(args.out.join(kind).join(side));
    let settings = Settings { threads: args.device.threads, ..show.settings.clone() };
    let settings = match show.sides {
        [source, target] => Settings {
            source: side("train", source),
            target: side("train", target),
            val_source: side("unseen", source),
            val_target: side("unseen", target),
            ..settings
        },
        sides => Settings { images: side("train", sides[0]), val_source: side("unseen", sides[0]), ..settings },
    };
    let mut resolved = settings.resolve(show.model)?;
    // The scenes that it is judged by must not choose its weights.
    resolved.session.keep_best = false;
    let readings = show.model.readings(&resolved.data, None)?;
    let data = resolved.data.validate_as(resolved.session.loader.size, readings)?;
    let validation = resolved.validation.as_ref().map(|source| source.validate_as(SCENE_SIZE, readings)).transpose()?;
    let training = Training::new(show.model, settings, resolved, data, validation)?;
    training.run(device, &args.out.join(show.run), false, &*stop_flag()?)
}
