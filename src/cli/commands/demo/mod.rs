//! `huetape demo`: the main job with nothing at hand.

mod at_once;

use crate::cli::args::device::DeviceArgs;
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, networks};
use crate::cli::console::print_scores;
use crate::cli::names::flags;
use crate::cli::outcome::Outcome;
use crate::cli::signals::stop_flag;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::training::run_with_progress;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::codec::save::{save_png, save_tiff};
use crate::imaging::raster::{RasterInfo, SampleType};
use crate::imaging::synth::Scene;
use crate::networks::NETWORKS;
use crate::networks::recipe::Demo;
use crate::run::training::{Ended, Training};
use crate::train::run_dir::RunDir;
use crate::train::session;
use crate::train::settings::table::Settings;
use clap::Args;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Seed of the scenes; training scenes are numbered from 0, unseen ones from [`UNSEEN`].
const SEED: u32 = 7;
const UNSEEN: u32 = 1_000_000;
/// Scenes that it has not seen.
const UNSEEN_SCENES: u32 = 4;
const SCENE_SIZE: usize = 256;
/// Looks of the synthetic SAR pictures.
const LOOKS: usize = 4;

#[derive(Args, Debug)]
#[command(after_help = examples_of_networks())]
pub struct DemoArgs {
    /// Which network
    #[arg(long, value_parser = networks(), default_value = NETWORKS[0].name())]
    model: Network,
    /// Folder of the results; one that an earlier demo made is replaced
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// The figures of the unseen scenes as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

fn examples_of_networks() -> String {
    let others = NETWORKS.iter().skip(1).map(|recipe| recipe.name());
    let lines = others.map(|name| format!("demo ⟨model⟩ {name} ⟨out⟩ demo-{name}"));
    let lines: Vec<String> = std::iter::once("demo ⟨out⟩ demo".to_owned()).chain(lines).collect();
    examples(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn run(args: DemoArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let start = Instant::now();
    let device = args.device.open()?;
    make_room(&args.out)?;
    outln!("huetape demo on {}", device.name());
    at_once::run(&args.out, &device, [SEED, UNSEEN], SCENE_SIZE, LOOKS)?;
    let shows = args.model.demos();
    for show in &shows {
        make_scenes(&args.out.join("train"), show.sides, 0, show.scenes)?;
        make_scenes(&args.out.join("unseen"), show.sides, UNSEEN, UNSEEN_SCENES)?;
    }
    let mut figures = Map::new();
    for show in &shows {
        figures.insert(show.run.to_owned(), run_show(&args, show, &device)?);
    }
    write_json(args.json.as_deref(), || figures.into())?;
    outln!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// Trains on the scenes of a show and says what came of it; the figures as JSON has them.
fn run_show(args: &DemoArgs, show: &Demo, device: &Device) -> anyhow::Result<Value> {
    outln!("\n{}: {}", args.model.name(), flags(show.what));
    outln!("scenes: {} to train on, {UNSEEN_SCENES} that it will not see, in {}", show.scenes, args.out.display());
    let ended = train(args, show, device)?;
    let run = RunDir::open(args.out.join(show.run))?;
    if let session::Outcome::Stopped { step } = ended.outcome {
        return Err(
            Error::failed(format!("stopped after step {step}"), args.out.display(), "run the demo again").into()
        );
    }
    let Some(scores) = &ended.scores else {
        return Err(Error::failed("nothing was evaluated", args.out.display(), "report this").into());
    };
    outln!("\non the {} unseen scenes:", scores.images.len());
    print_scores(scores);
    outln!("\npictures ({}): {}", show.strip, run.samples().display());
    outln!("report: {}", run.report().display());
    Ok(scores.to_json())
}

/// What a demo writes into its folder.
const PARTS: [&str; 5] = [at_once::FOLDER, "train", "unseen", "run", "run-infrared"];

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

/// Writes scenes as `FOLDER/SIDE/NNN.png`, a side being `sar` or `optical`, and as `.tif` of four bands,
/// `multispectral`.
fn make_scenes(folder: &Path, sides: &[&str], first: u32, count: u32) -> Result<()> {
    for side in sides {
        let folder = folder.join(side);
        std::fs::create_dir_all(&folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", &folder, &error))?;
    }
    for index in 0..count {
        let scene = Scene::new(u64::from(SEED), first + index, SCENE_SIZE);
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

fn train(args: &DemoArgs, show: &Demo, device: &Device) -> Result<Ended> {
    let side = |kind: &str, side: &str| Some(args.out.join(kind).join(side));
    let settings = Settings { threads: args.device.threads(), ..show.settings.clone() };
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
    // The scenes that it is judged by must not choose its weights.
    let training = Training::new(args.model, settings)?.keeping_the_last().stopped_by(stop_flag());
    run_with_progress(&training, device, &args.out.join(show.run))
}
