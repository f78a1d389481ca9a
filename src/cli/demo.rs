//! `huetape demo`: the main job with nothing at hand.

use super::model::{Classifier, Model};
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
/// Scenes to train on and scenes that it has not seen.
const SCENES: u32 = 24;
const UNSEEN_SCENES: u32 = 4;
const SCENE_SIZE: usize = 256;
/// Looks of the synthetic SAR pictures.
const LOOKS: usize = 4;

#[derive(Args, Debug)]
#[command(after_help = "Example:
  huetape demo --out demo")]
pub struct DemoArgs {
    /// Which network
    #[arg(long, default_value = "colournet")]
    model: Classifier,
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
    println!("huetape demo on {}: SAR to colour, on scenes made here", device.name());
    make_scenes(&args.out, "train", 0, SCENES)?;
    make_scenes(&args.out, "unseen", UNSEEN, UNSEEN_SCENES)?;
    println!("{SCENES} scenes to train on, {UNSEEN_SCENES} that it will not see, in {}", args.out.display());
    let ended = train(&args, &device)?;
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
    println!("\npictures (SAR | predicted | truth): {}", run.samples().display());
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

/// Writes scenes as `OUT/KIND/{sar,optical}/NNN.png`.
fn make_scenes(out: &Path, kind: &str, first: u32, count: u32) -> Result<()> {
    let folder = |side: &str| out.join(kind).join(side);
    for side in ["sar", "optical"] {
        let folder = folder(side);
        std::fs::create_dir_all(&folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", &folder, &error))?;
    }
    for index in 0..count {
        let scene = Scene::new(SEED, first + index, SCENE_SIZE);
        let name = format!("{index:03}.png");
        save_png(&folder("sar").join(&name), &scene.sar(LOOKS), SCENE_SIZE, SCENE_SIZE, None)?;
        save_png(&folder("optical").join(&name), &scene.optical(), SCENE_SIZE, SCENE_SIZE, None)?;
    }
    Ok(())
}

fn train(args: &DemoArgs, device: &Device) -> Result<Ended> {
    let side = |kind: &str, side: &str| Some(args.out.join(kind).join(side));
    let settings = Settings {
        source: side("train", "sar"),
        target: side("train", "optical"),
        val_source: side("unseen", "sar"),
        val_target: side("unseen", "optical"),
        width: Some(0.25),
        size: Some(128),
        batch: Some(4),
        steps: Some(500),
        lr: Some(1e-3),
        lr_schedule: Some("cosine".to_owned()),
        checkpoint_every: Some(250),
        sample_every: Some(100),
        threads: args.device.threads,
        ..Settings::default()
    };
    let model = Model::from(args.model);
    let mut resolved = settings.resolve(model)?;
    // The scenes that it is judged by must not choose its weights.
    resolved.session.keep_best = false;
    let data = resolved.data.validate(resolved.session.loader.size, None)?;
    let validation = resolved.validation.as_ref().map(|source| source.validate(SCENE_SIZE, None)).transpose()?;
    let training = Training::new(model, settings, resolved, data, validation)?;
    training.run(device, &args.out.join("run"), false, &*stop_flag()?)
}
