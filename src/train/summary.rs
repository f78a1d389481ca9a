//! The report of a training run, from what lies in its folder.

use super::evaluation::Evaluation;
use super::metrics::Metrics;
use super::progress::human_seconds;
use super::report::{Block, Chart, Report, Scale, Section, Series, SeriesStyle, Strip};
use super::run_dir::RunDir;
use super::samples::panels;
use crate::error::Result;

/// Moments of a run whose sample pictures the report shows, the last included.
const MOMENTS: usize = 4;

/// What the baselines are, where grey becomes colour.
const OF_GREY: &str = "Grey copy: the source as it is. Mean colour: one flat colour. Mean ab: the source's lightness with one \
     colour. Regression: least squares on the source. PSNR and SSIM rate the lightness too, which comes from the source: where \
     that is not the picture's own, as with SAR, judge by the ab error.";

/// What the baselines are for other bands.
const OF_BANDS: &str = "Mean colour: the mean of each band everywhere. Regression: least squares of each band on all bands of \
     the source.";

/// What a report says beyond what the run's folder holds.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Heading, e.g. `colournet on sentinel`.
    pub title: String,
    /// Names of the losses that `metrics.jsonl` holds, with the title of a chart each.
    pub losses: Vec<(&'static str, &'static str)>,
    /// Bands of the training targets.
    pub target_bands: usize,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
    /// Version, device, memory and the like.
    pub environment: Vec<(String, String)>,
    /// Quality on pictures that were not trained on, if there are any.
    pub evaluation: Option<Evaluation>,
}

/// Writes `report.html`.
///
/// # Errors
/// A run folder that cannot be read or written.
pub fn write_report(dir: &RunDir, summary: &Summary) -> Result<()> {
    let metrics = Metrics::read(&dir.metrics())?;
    let mut report = Report { title: summary.title.clone(), ..Report::default() };
    let seconds: f64 = metrics.column("seconds").unwrap_or_default().iter().sum();
    report.summary = format!("{} updates in {} of training time.", metrics.steps.len(), human_seconds(seconds));
    if let Some(evaluation) = &summary.evaluation {
        let comparison = evaluation.comparison();
        report.verdict = comparison.verdict();
        report.sections.push(Section {
            heading: "Quality on pictures it has not trained on".into(),
            note: format!(
                "Means over {} pictures (centre crops of {size}x{size}). {}",
                evaluation.pictures,
                if evaluation.gain_over_mean_ab().is_some() { OF_GREY } else { OF_BANDS },
                size = evaluation.size
            ),
            blocks: vec![Block::Comparison(comparison)],
        });
    } else {
        report.verdict.headline = "Not compared: the run has no validation pictures".into();
    }
    let strips = strips(dir, summary.target_bands)?;
    if !strips.is_empty() {
        report.sections.push(Section {
            heading: "Samples".into(),
            note: "The same pictures at several moments of the run, the last first.".into(),
            blocks: vec![Block::Strips(strips)],
        });
    }
    let mut charts = Vec::new();
    for (column, title) in &summary.losses {
        let mut series = vec![Series::new("training", metrics.points(column), SeriesStyle::Smoothed)];
        // What a validation compares: the loss, or a pair's distance from the target.
        if matches!(*column, "loss" | "l1" | "mse") {
            series.push(Series::new("validation", metrics.points("val_loss"), SeriesStyle::Dots));
        }
        series.retain(|series| !series.points.is_empty());
        charts.push(Block::Chart(chart(title, "loss", Scale::Log, series)));
    }
    let speed = vec![Series::new("images per second", metrics.points("images_per_s"), SeriesStyle::Smoothed)];
    charts.push(Block::Chart(chart("Speed", "images / s", Scale::Linear, speed)));
    let rate = vec![Series::new("learning rate", metrics.points("lr"), SeriesStyle::Line)];
    charts.push(Block::Chart(chart("Learning rate", "", Scale::Linear, rate)));
    report.sections.push(Section { heading: "Curves".into(), note: String::new(), blocks: charts });
    report.sections.push(Section {
        heading: "Settings".into(),
        note: "The same as in config.toml, which `huetape train --config` reads.".into(),
        blocks: vec![Block::Facts(summary.settings.clone())],
    });
    report.sections.push(Section {
        heading: "Environment".into(),
        note: String::new(),
        blocks: vec![Block::Facts(summary.environment.clone())],
    });
    report.write(&dir.report())
}

fn chart(title: &str, y_label: &str, scale: Scale, series: Vec<Series>) -> Chart {
    Chart { title: title.into(), x_label: "step".into(), y_label: y_label.into(), scale, series }
}

/// The sample strips of the last step and of some steps before, spread evenly over the run.
fn strips(dir: &RunDir, target_bands: usize) -> Result<Vec<Strip>> {
    let files = dir.sample_files()?;
    let mut steps: Vec<u64> = files.iter().map(|file| file.step).collect();
    steps.dedup();
    let shown: Vec<u64> = (0..MOMENTS.min(steps.len()))
        .map(|i| steps[(steps.len() - 1) - i * (steps.len() - 1) / (MOMENTS.min(steps.len()) - 1).max(1)])
        .collect();
    let mut strips = Vec::new();
    for &step in &shown {
        for file in files.iter().filter(|file| file.step == step) {
            strips.push(Strip {
                name: format!("picture {}", file.number),
                step: Some(step),
                panels: panels(target_bands).iter().map(|panel| (*panel).to_owned()).collect(),
                png: file.read()?,
            });
        }
    }
    Ok(strips)
}
