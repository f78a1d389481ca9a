//! `huetape check-data`: what `train` would read, and what a step of it would cost.

use crate::cli::args::device;
use crate::cli::args::given::{Choice, Given};
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, networks};
use crate::cli::names::{flag, flags};
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::training::{Step, print_rehearsal};
use crate::dataset::check::{DataReport, PairReport, ValueRange, check};
use crate::dataset::grey::grey_notice;
use crate::dataset::guess::Guess;
use crate::dataset::pairs::DataSource;
use crate::error::Error;
use crate::networks::NETWORKS;
use crate::run::plan::Plan;
use crate::run::training::Training;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Files that are named of a list before the rest is counted.
const NAMED: usize = 5;
/// Shifts below this many pixels are not worth a word.
const SMALL_SHIFT: f32 = 0.5;

/// The settings that say what is read and what a step costs.
#[derive(Debug, Clone, Default)]
struct OfData;

impl Choice for OfData {
    const KEYS: Option<&'static [&'static str]> = Some(&[
        "source",
        "target",
        "images",
        "pairs",
        "pairs-source",
        "recursive",
        "band",
        "bands",
        "ratio",
        "target-bands",
        "stretch",
        "target-stretch",
        "despeckle",
        "zero-border",
        "looks",
        "size",
        "batch",
        "width",
        "device",
        "memory",
        "threads",
    ]);
}

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "check-data ⟨source⟩ sar/ ⟨target⟩ optical/",
    "check-data ⟨source⟩ sar/ ⟨target⟩ optical/ ⟨json⟩ data.json",
    "check-data ⟨images⟩ photos/ ⟨size⟩ 128 ⟨batch⟩ 4 ⟨width⟩ 0.5",
]))]
pub struct CheckDataArgs {
    /// Which network they are for
    #[arg(long, value_parser = networks(), default_value = NETWORKS[0].name())]
    model: Network,
    /// What is printed as JSON, of every picture; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    json: Option<PathBuf>,
    #[command(flatten)]
    given: Given<OfData>,
}

impl CheckDataArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.json.iter().map(PathBuf::as_path)
    }
}

/// Faults that are printed; the rest are counted.
const MOST_REFUSALS: usize = 50;

pub fn run(args: CheckDataArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let CheckDataArgs { model, json: file, given: Given { settings, .. } } = args;
    let device = device::open(&settings)?;
    let plan = Plan::new(model, &settings)?;
    let crop = plan.session.loader.size;
    let report = check(&plan.data, plan.readings()?, &plan.preparations, crop)?;
    let scenes = matches!(plan.data, DataSource::Scenes { .. });
    print_report(&report, if scenes { "window" } else { "picture" });
    let refusals = report.refusals(&plan.data, plan.crop());
    if !refusals.is_empty() {
        outln!("\n`train` would refuse:");
        for error in refusals.iter().take(MOST_REFUSALS) {
            outln!("  {}", error.line(flag));
        }
        if refusals.len() > MOST_REFUSALS {
            outln!("  and {} more", refusals.len() - MOST_REFUSALS);
        }
        write_json(file.as_deref(), || json_of(&report, &refusals, None))?;
        let what = format!("{} that `train` would refuse", count(refusals.len(), "fault"));
        return Err(Error::input(what, folders(&plan.data), "mend what is listed above").into());
    }
    let training = Training::new(model, settings)?;
    training.data().notices.iter().for_each(|notice| noteln!("{}", flags(notice)));
    outln!();
    let step = print_rehearsal(&training, &device)?;
    Ok(write_json(file.as_deref(), || json_of(&report, &[], Some(&step)))?)
}

/// What is printed, as JSON has it; nothing of a list is left out.
fn json_of(report: &DataReport, refusals: &[Error], step: Option<&Step>) -> Value {
    let text = |path: &Path| path.display().to_string();
    let texts = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect::<Vec<_>>();
    let guess = |guess: &Option<Guess>| {
        let Guess { quantity, sample, stretch } = guess.as_ref()?;
        Some(json!({ "quantity": quantity.to_string(), "sample": sample, "stretch": stretch }))
    };
    let values = |range: &Option<ValueRange>| {
        let ValueRange { min, percentile_1, median, percentile_99, max, not_finite } = range.as_ref()?;
        Some(json!({
            "min": min, "percentile_1": percentile_1, "median": median, "percentile_99": percentile_99, "max": max,
            "without_data": not_finite,
        }))
    };
    let pair = |found: &PairReport| {
        json!({
            "source": text(found.pair.source.path()), "target": text(found.pair.target.path()),
            "width": found.info.width, "height": found.info.height, "grey_target": found.grey,
            "shift": found.shift.map(|shift| [shift.dx, shift.dy]),
        })
    };
    json!({
        "pairs": report.pairs.iter().map(pair).collect::<Vec<_>>(),
        "sources_without_target": texts(&report.lone_sources),
        "targets_without_source": texts(&report.lone_targets),
        "source": { "guess": guess(&report.source_guess), "values": values(&report.source_values) },
        "target": { "guess": guess(&report.target_guess), "values": values(&report.target_values) },
        "refused": refusals.iter().map(|error| error.line(flag)).collect::<Vec<_>>(),
        "step": step.map(Step::json),
    })
}

fn folders(data: &DataSource) -> String {
    match data {
        DataSource::Pairs { source, target, .. } | DataSource::Scenes { source, target } => {
            format!("{} and {}", source.display(), target.display())
        }
        DataSource::Images { folder, .. } | DataSource::SideBySide { folder, .. } => folder.display().to_string(),
    }
}

/// `1 fault`, `2 faults`.
fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn print_report(report: &DataReport, unit: &str) {
    outln!("usable: {}", count(report.pairs.len(), unit));
    print_files("sources without a target", &report.lone_sources);
    print_files("targets without a source, which are passed over", &report.lone_targets);
    if let Some(([least_w, least_h], [most_w, most_h])) = report.size_range() {
        let same = (least_w, least_h) == (most_w, most_h);
        let to = if same { String::new() } else { format!(" to {most_w}x{most_h}") };
        outln!("sizes: {least_w}x{least_h}{to}");
    }
    print_guess("sources", "⟨stretch⟩", &report.source_guess);
    print_guess("targets", "⟨target-stretch⟩", &report.target_guess);
    print_values("source", &report.source_values);
    print_values("target", &report.target_values);
    let grey = report.pairs.iter().filter(|pair| pair.grey).count();
    if let Some(notice) = grey_notice(grey, report.pairs.len()) {
        outln!("{notice}");
    }
    print_shifts(report);
}

fn print_files(what: &str, files: &[PathBuf]) {
    if files.is_empty() {
        return;
    }
    outln!("{what}: {}", files.len());
    for file in files.iter().take(NAMED) {
        outln!("  {}", file.display());
    }
    if files.len() > NAMED {
        outln!("  and {} more", files.len() - NAMED);
    }
}

fn print_guess(side: &str, setting: &str, guess: &Option<Guess>) {
    let Some(Guess { quantity, sample, stretch }) = guess else { return };
    outln!("{}", flags(&format!("{side} seem to be {quantity} ({sample}): {setting} {stretch} fits")));
}

fn print_values(side: &str, range: &Option<ValueRange>) {
    let Some(range) = range else { return };
    outln!(
        "{side} values: {:.3} to {:.3}, median {:.3}, 98 % within {:.3} to {:.3}",
        range.min,
        range.max,
        range.median,
        range.percentile_1,
        range.percentile_99
    );
    if range.not_finite > 0.0 {
        outln!("  {:.2} % have no data", 100.0 * range.not_finite);
    }
    if range.max > 1.0 || range.min < 0.0 {
        outln!("  some lie outside 0..1, which networks are made for: scale them first");
    }
}

fn print_shifts(report: &DataReport) {
    let shifted: Vec<_> = report
        .pairs
        .iter()
        .filter_map(|found| found.shift.map(|shift| (found.pair.source.path(), shift)))
        .filter(|(_, shift)| shift.dx.hypot(shift.dy) >= SMALL_SHIFT)
        .collect();
    if shifted.is_empty() {
        return;
    }
    outln!("likely shifts of the target beside its source, in pixels right and down: {}", shifted.len());
    for (file, shift) in shifted.iter().take(NAMED) {
        outln!("  {}: {:+.1} {:+.1}", file.display(), shift.dx, shift.dy);
    }
    if shifted.len() > NAMED {
        outln!("  and {} more", shifted.len() - NAMED);
    }
}
