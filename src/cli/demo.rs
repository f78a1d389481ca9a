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
use clap::{Args, ValueEnum};
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

/// The networks that have a demo.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum DemoModel {
    /// SAR or grey to colour by classification over ab bins
    Colournet,
    /// Grey to colour by a GAN on patches, from as little as one picture
    Sicgan,
}

/// What a network shows, small enough for two cores and two minutes.
struct Show {
    model: Model,
    /// What it does, in a line.
    what: &'static str,
    /// Pictures that are made of each scene; the last is the target.
    sides: &'static [&'static str],
    /// What a sample strip shows first.
    source: &'static str,
    /// Scenes to train on.
    scenes: u32,
    settings: Settings,
}

impl DemoModel {
    fn show(self) -> Show {
        match self {
            DemoModel::Colournet => Show {
                model: Model::Colournet,
                what: "SAR to colour, on scenes made here",
                sides: &["sar", "optical"],
                source: "SAR",
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
            },
            DemoModel::Sicgan => Show {
                model: Model::Sicgan,
                what: "grey to colour from two pictures, on scenes made here; with an L1 term (--lambda-l1 10) beside the GAN's loss",
                sides: &["optical"],
                source: "lightness",
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
    model: DemoModel,
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
    let show = args.model.show();
    println!("huetape demo on {}: {}", device.name(), show.what);
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
    println!("\npictures ({} | predicted | truth): {}", show.source, run.samples().display());
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
    let data = resolved.data.validate(resolved.session.loader.size, None)?;
    let validation = resolved.validation.as_ref().map(|source| source.validate(SCENE_SIZE, None)).transpose()?;
    let training = Training::new(show.model, settings, resolved, data, validation)?;
    training.run(device, &args.out.join("run"), false, &*stop_flag()?)
}
