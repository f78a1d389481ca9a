//! `huetape train`: settings in, a run folder out.

use crate::cli::args::device;
use crate::cli::args::given::{Choice, Given};
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, networks};
use crate::cli::console::print_scores;
use crate::cli::names::flags;
use crate::cli::outcome::Outcome;
use crate::cli::signals::stop_flag;
use crate::cli::training::{print_rehearsal, run_with_progress};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::networks::NETWORKS;
use crate::run::training::{Training, settings_to_resume};
use crate::train::progress::human_seconds;
use crate::train::run_dir::RunDir;
use crate::train::session;
use crate::train::settings::table::Settings;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// All settings, under their headings.
#[derive(Debug, Clone, Default)]
struct All;

impl Choice for All {
    const KEYS: Option<&'static [&'static str]> = None;
    const HEADINGS: bool = true;
}

#[derive(Args, Debug)]
#[command(after_help = examples_of_networks())]
pub struct TrainArgs {
    /// Which network
    #[arg(value_parser = networks())]
    model: Network,
    /// Run folder, which must not exist yet [default: runs/MODEL-TIME]
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Go on from the newest whole checkpoint of --out, or start when there is none
    #[arg(long, help_heading = "Run")]
    resume: bool,
    /// Say what would be read, how much memory it takes and how long a step takes, and stop
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
    /// Settings in TOML, keys named as the flags; flags win
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given<All>,
}

/// The examples of all networks, and how to go on with a run.
fn examples_of_networks() -> String {
    let of_network = |recipe: &Network| {
        let name = recipe.name();
        recipe.examples().iter().map(move |example| format!("train {name} {example}")).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = NETWORKS.iter().flat_map(of_network).collect();
    lines.push("train {network} ⟨out⟩ runs/first ⟨resume⟩".to_owned());
    examples(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn run(args: TrainArgs) -> Outcome {
    let mut settings = args.given.settings.clone();
    if let Some(path) = &args.config {
        settings = settings.or(Settings::read(path)?);
    }
    let out = out_folder(&args)?;
    if args.resume {
        settings = settings_to_resume(settings, &out)?;
    }
    let stop = stop_flag();
    device::set_threads(&settings)?;
    let training = Training::new(args.model, settings.clone())?.resuming(args.resume).stopped_by(stop);
    training.data().notices.iter().for_each(|notice| errln!("{}", flags(notice)));
    let device = device::open(&settings)?;
    if args.dry_run {
        return dry_run(&training, &device);
    }
    let ended = run_with_progress(&training, &device, &out)?;
    match ended.outcome {
        session::Outcome::Finished => {
            if let Some(scores) = &ended.scores {
                print_scores(scores);
            }
            outln!("{}", RunDir::open(&out)?.report().display());
            Ok(())
        }
        session::Outcome::FinishedBefore { step } => {
            errln!("finished at step {step}, nothing to do");
            outln!("{}", RunDir::open(&out)?.report().display());
            Ok(())
        }
        session::Outcome::Stopped { step } => {
            let what = match step {
                0 => "stopped before the first step".to_owned(),
                _ => format!("stopped after step {step}, which is saved"),
            };
            let remedy = format!("go on with `huetape train {} --out {} --resume`", args.model.name(), out.display());
            Err(Error::failed(what, out.display(), remedy).into())
        }
    }
}

/// The folder of `--out`, or one named after the time. One that exists is refused without `--resume`.
fn out_folder(args: &TrainArgs) -> Result<PathBuf> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None if args.resume => {
            return Err(Error::input("which run to go on with?", "--resume", "name its folder with --out"));
        }
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Path::new("runs").join(format!("{}-{now}", args.model.name()))
        }
    };
    crate::ensure!(
        args.resume || args.dry_run || !out.exists(),
        Error::input(
            "the run folder exists already",
            out.display(),
            "choose another --out, or add --resume to go on with it"
        )
    );
    Ok(out)
}

fn dry_run(training: &Training, device: &Device) -> Outcome {
    outln!(
        "pictures: {} for training, {} for validation",
        training.data().pairs.len(),
        training.validation().map_or(0, |data| data.pairs.len())
    );
    let seconds = print_rehearsal(training, device)?;
    let steps = training.plan().session.steps;
    outln!("{steps} steps: about {}", human_seconds(seconds * steps as f64));
    Ok(())
}
