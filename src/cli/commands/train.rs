//! `huetape train`: settings in, a run folder out.

use crate::cli::args::device;
use crate::cli::args::given::{Choice, Given};
use crate::cli::args::help::{examples, help_of};
use crate::cli::args::network::{Network, networks};
use crate::cli::console::print_scores;
use crate::cli::names::{flag, flags};
use crate::cli::outcome::Outcome;
use crate::cli::signals::stop_flag;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::together::join;
use crate::cli::training::{print_rehearsal, run_with_progress};
use crate::engine::device::Device;
use crate::engine::ranks::Ranks;
use crate::error::{Error, Result};
use crate::evaluate::scoreboard::Scoreboard;
use crate::networks::NETWORKS;
use crate::run::training::{Training, settings_to_resume};
use crate::train::progress::human_seconds;
use crate::train::run_dir::RunDir;
use crate::train::session;
use crate::train::settings::table::{Settings, TABLE};
use clap::Args;
use serde_json::{Value, json};
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
    /// Run folder, which must be new or empty [default: runs/MODEL-TIME]
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Go on from the newest whole checkpoint of --out, or start when there is none
    #[arg(long, help_heading = "Run")]
    resume: bool,
    /// Say what would be read, how much memory it takes and how long a step takes, and stop
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
    /// Leave out pictures that cannot be used, and list them
    #[arg(long, help_heading = "Run")]
    keep_going: bool,
    /// The figures that are printed at the end, or of --dry-run, as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON, help_heading = "Run")]
    json: Option<PathBuf>,
    /// Settings in TOML, and `out`; keys named as the flags; flags win
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given<All>,
}

/// The command as it is for one network: its own flags, with its own defaults.
pub fn of_network(command: clap::Command, recipe: Network) -> clap::Command {
    let command = TABLE.iter().fold(command, |command, setting| {
        command.mut_arg(setting.key, |arg| match help_of(recipe, setting) {
            Some(help) => arg.help(help),
            // Hidden, not taken away: whoever gives it is told that this network has no such setting.
            None => arg.hide(true),
        })
    });
    let command = command.mut_arg("model", |arg| arg.hide_possible_values(true));
    command.about(format!("Trains {}: {}", recipe.name(), recipe.what())).after_help(examples_of(&[recipe]))
}

fn examples_of_networks() -> String {
    format!("`huetape train MODEL --help` shows what a network has.\n\n{}", examples_of(NETWORKS))
}

/// The examples of some networks, and how to go on with a run.
fn examples_of(networks: &[Network]) -> String {
    let of_network = |recipe: &Network| {
        let name = recipe.name();
        recipe.examples().iter().map(move |example| format!("train {name} {example}")).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = networks.iter().flat_map(of_network).collect();
    lines.extend(networks.first().map(|recipe| format!("train {} ⟨out⟩ runs/first ⟨resume⟩", recipe.name())));
    examples(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The settings as they are given and read from files, with the folder of the run.
fn settings(args: &TrainArgs) -> Result<Settings> {
    let mut settings = args.given.settings.clone();
    if let Some(path) = &args.config {
        settings = settings.or(Settings::read(path)?);
    }
    let out = out_folder(args, settings.out.take())?;
    if args.resume {
        settings = settings_to_resume(settings, &out)?;
    }
    Ok(Settings { out: Some(out), ..settings })
}

/// The settings that the first of several processes has found; where each works is its own affair.
fn shared_settings(args: &TrainArgs, ranks: &Ranks) -> Result<Settings> {
    if ranks.alone() {
        return settings(args);
    }
    let garbled = |what: String| Error::failed(what, "settings", "give folders names that are text");
    let text = ranks.from_first(|| {
        let text = toml::to_string(&settings(args)?).map_err(|error| garbled(error.to_string()))?;
        Ok(text.into_bytes())
    })?;
    let told: Settings = String::from_utf8(text)
        .map_err(|error| garbled(error.to_string()))
        .and_then(|text| Settings::from_toml(&text).map_err(|error| garbled(error.to_string())))?;
    let own = args.given.settings.clone();
    Ok(Settings {
        device: own.device.or(told.device),
        memory: own.memory.or(told.memory),
        threads: own.threads.or(told.threads),
        body: own.body.or(told.body),
        ..told
    })
}

pub fn run(args: TrainArgs) -> Outcome {
    let ranks = join()?;
    make_way_for_json(args.json.as_deref())?;
    let mut settings = shared_settings(&args, &ranks)?;
    let out = settings.out.take().unwrap_or_default();
    let stop = stop_flag();
    device::set_threads(&settings)?;
    let training = match args.keep_going {
        true => without_faults(args.model, settings.clone())?,
        false => Training::new(args.model, settings.clone())?,
    };
    let training = training.resuming(args.resume).stopped_by(stop);
    training.data().notices.iter().for_each(|notice| noteln!("{}", flags(notice)));
    let device = device::open(&settings)?;
    device.join(&ranks);
    if args.dry_run {
        return dry_run(&training, &device, args.json.as_deref().filter(|_| ranks.leads()));
    }
    let ended = run_with_progress(&training, &device, &out)?;
    if !ranks.leads() {
        return Ok(());
    }
    match ended.outcome {
        session::Outcome::Finished => {
            if let Some(scores) = &ended.scores {
                print_scores(scores);
            }
            write_json(args.json.as_deref(), || ended.scores.as_ref().map_or(Value::Null, Scoreboard::to_json))?;
            outln!("{}", RunDir::open(&out)?.report().display());
            Ok(())
        }
        session::Outcome::FinishedBefore { step } => {
            noteln!("finished at step {step}, nothing to do");
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

/// The training on the pictures that can be used; what is wrong with the others is listed.
fn without_faults(model: Network, settings: Settings) -> Result<Training> {
    let (training, left_out) = Training::of_usable_images(model, settings)?;
    left_out.iter().for_each(|fault| errln!("left out: {}", fault.line(flag)));
    if !left_out.is_empty() {
        errln!("{} pictures are left out, {} remain", left_out.len(), training.data().pairs.len());
    }
    Ok(training)
}

/// The folder of `--out`, of the file of settings, or one named after the time. One that holds anything is refused
/// without `--resume`.
fn out_folder(args: &TrainArgs, of_file: Option<PathBuf>) -> Result<PathBuf> {
    let out = match args.out.clone().or(of_file) {
        Some(out) => out,
        None if args.resume => {
            return Err(Error::input("which run to go on with?", "--resume", "name its folder with --out"));
        }
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Path::new("runs").join(format!("{}-{now}", args.model.name()))
        }
    };
    crate::ensure!(
        args.resume || args.dry_run || RunDir::is_free(&out),
        Error::input(
            "the run folder exists already",
            out.display(),
            "choose another --out, or add --resume to go on with it"
        )
    );
    Ok(out)
}

fn dry_run(training: &Training, device: &Device, json: Option<&Path>) -> Outcome {
    let images = [training.data().pairs.len(), training.validation().map_or(0, |data| data.pairs.len())];
    outln!("pictures: {} for training, {} for validation", images[0], images[1]);
    let step = print_rehearsal(training, device)?;
    let steps = training.plan().session.steps;
    let seconds = step.seconds * steps as f64;
    outln!("{steps} steps: about {}", human_seconds(seconds));
    Ok(write_json(json, || {
        json!({
            "images": images[0], "validation_images": images[1], "step": step.json(), "steps": steps,
            "seconds": seconds,
        })
    })?)
}
