//! `huetape demo`: the main job with nothing at hand.

use super::model::Model;
use super::settings::Settings;
use super::train::{Ended, Training, print_evaluation};
use super::{DeviceArgs, Outcome, stop_flag};
use crate::data::save::save_png;
use crate::data::synth::Scene;
use crate::device::Device;
use crate::error::{Error, Result};
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

/// What a network shows, small enough for two cores and a few minutes.
struct Show {
    /// What it does, in a few words.
    what: &'static str,
    /// Which pictures are made of each scene, source and target; one alone is both, its lightness being the source.
    sides: &'static [&'static str],
    /// Scenes to train on.
    scenes: u32,
    /// What makes the network good enough to look at within that time.
    settings: Settings,
}

impl Show {
    fn of(model: Model) -> Show {
        let cosine = |lr: f64, steps: u64| Settings {
            lr: Some(lr),
            steps: Some(steps),
            lr_schedule: Some("cosine".to_owned()),
            ..Settings::default()
        };
        let sar = |settings| Show { what: "SAR to colour", sides: &["sar", "optical"], scenes: 24, settings };
        match model {
            Model::Colournet => {
                sar(Settings { width: Some(0.25), size: Some(128), batch: Some(4), ..cosine(1e-3, 500) })
            }
            Model::Window8 => sar(Settings {
                size: Some(48),
                batch: Some(8),
                bins: Some("kmeans:48".to_owned()),
                ..cosine(1e-3, 600)
            }),
            Model::Pix2pix => sar(Settings { width: Some(0.25), ..cosine(2e-4, 1200) }),
            Model::Sicgan => Show {
                what: "grey to colour after two pictures, with --lambda-l1 10 (published: 0)",
                sides: &["optical"],
                scenes: 2,
                settings: Settings {
                    width: Some(0.25),
                    size: Some(48),
                    batch: Some(16),
                    patches: Some(800),
                    lr_d: Some(1e-3),
                    lambda_l1: Some(10.0),
                    ..cosine(1e-3, 1200)
                },
            },
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape demo --out demo
  huetape demo --model sicgan --out demo-sicgan")]
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
    let show = Show::of(args.model);
    println!("huetape demo on {}: {}, on scenes made here", device.name(), show.what);
    make_scenes(&args.out.join("train"), show.sides, 0, show.scenes)?;
    make_scenes(&args.out.join("unseen"), show.sides, UNSEEN, UNSEEN_SCENES)?;
    println!("scenes: {} to train on, {UNSEEN_SCENES} that it will not see, in {}", show.scenes, args.out.display());
    let ended = train(&args, &show, &device)?;
    let run = RunDir::open(args.out.join("run"))?;
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
    println!("\npictures (source | predicted | truth): {}", run.samples().display());
    println!("report: {}", run.report().display());
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// What a demo writes into its folder.
const PARTS: [&str; 3] = ["train", "unseen", "run"];

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

/// Writes scenes as `FOLDER/SIDE/NNN.png`, a side being `sar` or `optical`.
fn make_scenes(folder: &Path, sides: &[&str], first: u32, count: u32) -> Result<()> {
    for side in sides {
        let folder = folder.join(side);
        std::fs::create_dir_all(&folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", &folder, &error))?;
    }
    for index in 0..count {
        let scene = Scene::new(SEED, first + index, SCENE_SIZE);
        for side in sides {
            let samples = if *side == "sar" { scene.sar(LOOKS) } else { scene.optical() };
            save_png(&folder.join(side).join(format!("{index:03}.png")), &samples, SCENE_SIZE, SCENE_SIZE, None)?;
        }
    }
    Ok(())
}

fn train(args: &DemoArgs, show: &Show, device: &Device) -> Result<Ended> {
    let side = |kind: &str, side: &str| Some(args.out.join(kind).join(side));
    let settings = Settings {
        checkpoint_every: Some(250),
        sample_every: Some(100),
        threads: args.device.threads,
        ..show.settings.clone()
    };
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
    let model = args.model;
    let mut resolved = settings.resolve(model)?;
    // The scenes that it is judged by must not choose its weights.
    resolved.session.keep_best = false;
    let data = resolved.data.validate(resolved.session.loader.size, None)?;
    let validation = resolved.validation.as_ref().map(|source| source.validate(SCENE_SIZE, None)).transpose()?;
    let training = Training::new(model, settings, resolved, data, validation)?;
    training.run(device, &args.out.join("run"), false, &*stop_flag()?)
}
