//! `huetape check-data`: what `train` would read, and what a step of it would cost.

use crate::cli::model::Model;
use crate::cli::preparation::PreparationArgs;
use crate::cli::settings::Settings;
use crate::cli::train::Training;
use crate::cli::{DeviceArgs, Outcome, flag};
use crate::dataset::check::{DataReport, ValueRange, check};
use crate::dataset::pairs::DataSource;
use crate::error::Error;
use crate::error::name_settings;
use clap::Args;
use std::path::PathBuf;

/// Files that are named of a list before the rest is counted.
const NAMED: usize = 5;
/// Shifts below this many pixels are not worth a word.
const SMALL_SHIFT: f32 = 0.5;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape check-data --source sar/ --target optical/
  huetape check-data --images photos/ --size 128 --batch 4 --width 0.5")]
pub struct CheckDataArgs {
    /// Which network they are for; spacenet reads all bands
    #[arg(long, default_value = "colournet")]
    model: Model,
    /// Folder of inputs, e.g. SAR pictures, with pictures of the same names in --target; or a scene
    #[arg(long, value_name = "PATH", conflicts_with = "images")]
    source: Option<PathBuf>,
    /// Folder of colour pictures that belong to --source, or a scene on its grid
    #[arg(long, value_name = "PATH", conflicts_with = "images")]
    target: Option<PathBuf>,
    /// Folder of colour pictures; the input is their lightness
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Folder of files that hold an input and its colour picture side by side, of equal width
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "target", "images"])]
    pairs: Option<PathBuf>,
    /// Which half of --pairs is the input, left or right [default: left]
    #[arg(long, value_name = "HALF")]
    pairs_source: Option<String>,
    /// Band of a multi-band source, from 1 [default: the only one, or the luma of three; spacenet all]
    #[arg(long, value_name = "N")]
    band: Option<usize>,
    #[command(flatten)]
    preparation: PreparationArgs,
    /// Side of the training's square crop in pixels [default: that of the network]
    #[arg(long, value_name = "S")]
    size: Option<usize>,
    /// Pictures a batch [default: that of the network]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Multiplier of every layer's channels [default: 1.0]
    #[arg(long, value_name = "F")]
    width: Option<f64>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Faults that are printed; the rest are counted.
const MOST_REFUSALS: usize = 50;

pub fn run(args: CheckDataArgs) -> Outcome {
    let &CheckDataArgs { model, band, size, batch, width, .. } = &args;
    let CheckDataArgs { source, target, images, pairs, pairs_source, .. } = args;
    let PreparationArgs { stretch, despeckle } = args.preparation;
    let settings = Settings {
        source,
        target,
        images,
        pairs,
        pairs_source,
        band,
        stretch,
        despeckle,
        size,
        batch,
        width,
        threads: args.device.threads,
        ..Settings::default()
    };
    let device = args.device.open()?;
    let resolved = settings.resolve(model)?;
    let readings = model.readings(&resolved.data, resolved.band)?;
    let crop = resolved.session.loader.size;
    let report = check(&resolved.data, readings, &resolved.preparations, crop)?;
    let scenes = matches!(resolved.data, DataSource::Scenes { .. });
    print_report(&report, if scenes { "window" } else { "picture" });
    let refusals = report.refusals(&resolved.data, crop);
    if !refusals.is_empty() {
        println!("\n`train` would refuse:");
        for error in refusals.iter().take(MOST_REFUSALS) {
            println!("  {}", error.line(flag));
        }
        if refusals.len() > MOST_REFUSALS {
            println!("  and {} more", refusals.len() - MOST_REFUSALS);
        }
        let what = format!("{} that `train` would refuse", count(refusals.len(), "fault"));
        return Err(Error::input(what, folders(&resolved.data), "mend what is listed above").into());
    }
    let data = resolved.data.validate_prepared(crop, readings, &resolved.preparations, None)?;
    data.notices.iter().for_each(|notice| eprintln!("{}", name_settings(notice, flag)));
    let training = Training::new(model, settings, resolved, data, None)?;
    println!();
    training.print_rehearsal(&device)?;
    Ok(())
}

fn folders(data: &DataSource) -> String {
    match data {
        DataSource::Pairs { source, target } | DataSource::Scenes { source, target } => {
            format!("{} and {}", source.display(), target.display())
        }
        DataSource::Images(folder) | DataSource::SideBySide { folder, .. } => folder.display().to_string(),
    }
}

/// `1 fault`, `2 faults`.
fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn print_report(report: &DataReport, unit: &str) {
    println!("usable: {}", count(report.pairs.len(), unit));
    print_files("sources without a target", &report.lone_sources);
    print_files("targets without a source, which are passed over", &report.lone_targets);
    if let Some(([least_w, least_h], [most_w, most_h])) = report.size_range() {
        let same = (least_w, least_h) == (most_w, most_h);
        let to = if same { String::new() } else { format!(" to {most_w}x{most_h}") };
        println!("sizes: {least_w}x{least_h}{to}");
    }
    print_values("source", &report.source_values);
    print_values("target", &report.target_values);
    print_shifts(report);
}

fn print_files(what: &str, files: &[PathBuf]) {
    if files.is_empty() {
        return;
    }
    println!("{what}: {}", files.len());
    for file in files.iter().take(NAMED) {
        println!("  {}", file.display());
    }
    if files.len() > NAMED {
        println!("  and {} more", files.len() - NAMED);
    }
}

fn print_values(side: &str, range: &Option<ValueRange>) {
    let Some(range) = range else { return };
    println!(
        "{side} values: {:.3} to {:.3}, median {:.3}, 98 % within {:.3} to {:.3}",
        range.min, range.max, range.median, range.percentile_1, range.percentile_99
    );
    if range.not_finite > 0.0 {
        println!("  {:.2} % are no numbers", 100.0 * range.not_finite);
    }
    if range.max > 1.0 || range.min < 0.0 {
        println!("  some lie outside 0..1, which networks are made for: scale them first");
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
    println!("likely shifts of the target beside its source, in pixels right and down: {}", shifted.len());
    for (file, shift) in shifted.iter().take(NAMED) {
        println!("  {}: {:+.1} {:+.1}", file.display(), shift.dx, shift.dy);
    }
    if shifted.len() > NAMED {
        println!("  and {} more", shifted.len() - NAMED);
    }
}
