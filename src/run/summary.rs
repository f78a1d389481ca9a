//! The report of a training run, from what lies in its folder.

use crate::error::Result;
use crate::evaluate::baselines::Method;
use crate::evaluate::scoreboard::Scoreboard;
use crate::report::axis::AxisScale;
use crate::report::chart::{Chart, Series, SeriesStyle};
use crate::report::numbers::number;
use crate::report::page::{Block, Page, Section, Strip, Table};
use crate::train::health::{Spell, diverged, spells};
use crate::train::metrics::Metrics;
use crate::train::progress::human_seconds;
use crate::train::run_dir::RunDir;
use crate::train::samples::panels;
use crate::train::validation::PICTURES;

/// Moments of a run whose sample images the report shows, the last included.
const MOMENTS: usize = 4;
/// Batches of an epoch whose losses are listed.
const LISTED: [u64; 2] = [1, 101];

/// What the baselines are, where grey becomes colour.
const OF_GREY: &str = "Mean colour: one flat colour. Mean ab: the source's lightness with one colour. Grey copy: the \
     source as it is. Linear regression: least squares on the source. PSNR and SSIM rate the lightness too, which \
     comes from the source: where that is not the picture's own, as with SAR, judge by the ab error.";

/// What the baselines are for other bands.
const OF_BANDS: &str = "Mean colour: the mean of each band everywhere. Linear regression: least squares of each band \
     on all bands of the source.";

/// What the report of a training says beyond what the run's folder holds.
#[derive(Debug, Clone, Default)]
pub struct TrainingFacts {
    /// Heading, the network and where its run lies.
    pub title: String,
    /// Names of the losses that `metrics.jsonl` holds, with the title of a chart each.
    pub losses: Vec<(&'static str, &'static str)>,
    /// Bands of the training targets.
    pub target_bands: usize,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
    /// Version, device, memory and the like.
    pub environment: Vec<(String, String)>,
    /// Batches in an epoch, where the losses of `d_loss` and `g_loss` at the 1st and the 101st of each are to be
    /// listed.
    pub epoch: Option<u64>,
    /// The figures of images that were not trained on, if there are any.
    pub scores: Option<Scoreboard>,
    /// The update whose weights these are of.
    pub judged: Option<u64>,
    /// Validation images: how many there are, and the side of the crops of those that a validation looks at.
    pub validation: Option<(u64, usize)>,
    /// Updates in all.
    pub steps: u64,
    /// The update that the training ended with, 0 while it goes on.
    pub ended: u64,
}

/// Writes `report.html`.
///
/// # Errors
/// A run folder that cannot be read or written.
pub fn write_report(dir: &RunDir, facts: &TrainingFacts) -> Result<()> {
    let metrics = Metrics::read(&dir.metrics())?;
    let mut report = Page { title: facts.title.clone(), ended: Some(facts.ended), ..Page::default() };
    let seconds: f64 = metrics.column("seconds").unwrap_or_default().iter().sum();
    let done = metrics.steps.last().copied().unwrap_or_default();
    let of_all = if done < facts.steps { format!(" of {}", facts.steps) } else { String::new() };
    report.summary = format!("{done}{of_all} updates in {} of training time.", human_seconds(seconds));
    if let Some(board) = &facts.scores {
        report.verdict = board.verdict();
        let of_grey = board.means().iter().any(|(method, _)| *method == Method::MeanAb);
        report.sections.push(Section {
            heading: "Quality on pictures it has not trained on".into(),
            note: format!(
                "Means over {}{}. {}",
                board.pictures(),
                facts.judged.map(|step| format!(", by the weights after update {step}")).unwrap_or_default(),
                if of_grey { OF_GREY } else { OF_BANDS }
            ),
            blocks: [board.decisive()].into_iter().chain(board.by_band()).map(Block::Comparison).collect(),
        });
    } else if facts.validation.is_some() {
        report.verdict.headline = "Not compared yet: the run has not come to its end".into();
    } else {
        report.verdict.headline = "Not compared: the run has no validation pictures".into();
    }
    if let Some((name, [first, last])) = diverged(&metrics) {
        report.sections.push(Section {
            heading: "Did it diverge?".into(),
            note: String::new(),
            blocks: vec![Block::Text(format!(
                "The {name} of the last ten updates, {}, lies above that of the first one, {}: lower the learning \
                 rate.",
                number(last),
                number(first)
            ))],
        });
    }
    let spells = spells(metrics.updates());
    if !spells.is_empty() {
        report.sections.push(Section {
            heading: "Did the pair collapse?".into(),
            note: String::new(),
            blocks: spells.iter().map(|spell| Block::Text(describe(spell))).collect(),
        });
    }
    let strips = strips(dir, facts.target_bands)?;
    if !strips.is_empty() {
        report.sections.push(Section {
            heading: "Samples".into(),
            note: "The same pictures at several moments of the run, the last first, each by the weights of its own \
                   step."
                .into(),
            blocks: vec![Block::Strips(strips)],
        });
    }
    let mut charts = Vec::new();
    for (column, title) in facts.losses.iter().filter(|(_, title)| !title.is_empty()) {
        let mut series = vec![Series::new("training", metrics.points(column), SeriesStyle::Smoothed)];
        // What a validation compares: the loss, or a pair's distance from the target.
        if matches!(*column, "loss" | "l1" | "mse") {
            series.push(Series::new("validation", metrics.points("val_loss"), SeriesStyle::Dots));
        }
        series.retain(|series| !series.points.is_empty());
        charts.push(Block::Chart(chart(title, "loss", AxisScale::Log, series)));
    }
    let speed = vec![Series::new("images per second", metrics.points("images_per_s"), SeriesStyle::Smoothed)];
    charts.push(Block::Chart(chart("Speed", "images / s", AxisScale::Linear, speed)));
    let rate = vec![Series::new("learning rate", metrics.points("lr"), SeriesStyle::Line)];
    charts.push(Block::Chart(chart("Learning rate", "", AxisScale::Linear, rate)));
    for (column, title, unit) in
        [("val_ab_error", "Ab error", ""), ("val_psnr", "PSNR", "dB"), ("val_ssim", "SSIM", "")]
    {
        let series = Series::new("validation", metrics.points(column), SeriesStyle::Dots);
        if !series.points.is_empty() {
            charts.push(Block::Chart(chart(title, unit, AxisScale::Linear, vec![series])));
        }
    }
    let note = facts.validation.map_or_else(String::new, |(all, side)| {
        format!(
            "Training: single batches, each before its update. Validation: means over the centres, {side}x{side} \
             pixels, of {} of the {all} validation pictures.",
            all.min(PICTURES)
        )
    });
    report.sections.push(Section { heading: "Curves".into(), note, blocks: charts });
    report.sections.extend(facts.epoch.map(|batches| losses_by_epoch(&metrics, batches)));
    report.sections.push(Section {
        heading: "Settings".into(),
        note: "The same as in config.toml, from which a training can be started again.".into(),
        blocks: vec![Block::Facts(facts.settings.clone())],
    });
    report.sections.push(Section {
        heading: "Environment".into(),
        note: String::new(),
        blocks: vec![Block::Facts(facts.environment.clone())],
    });
    report.write(&dir.report())
}

/// The losses of both networks at some batches of every epoch of `batches`, as a table and as curves.
fn losses_by_epoch(metrics: &Metrics, batches: u64) -> Section {
    let epochs = metrics.steps.last().map_or(0, |last| last.div_ceil(batches));
    let listed = LISTED.into_iter().filter(|&batch| batch <= batches);
    let columns: Vec<(String, Vec<f64>)> = listed
        .flat_map(|batch| [("D", "d_loss", batch), ("G", "g_loss", batch)])
        .map(|(network, name, batch)| {
            let losses = metrics.column(name).unwrap_or_default();
            let at = |step| metrics.steps.binary_search(&step).ok().and_then(|row| losses.get(row).copied());
            let of_epoch = |epoch| at(epoch * batches + batch).unwrap_or(f64::NAN);
            (format!("{network} loss, batch {batch}"), (0..epochs).map(of_epoch).collect())
        })
        .collect();
    let cell = |loss: f64| if loss.is_finite() { format!("{loss:.4}") } else { "–".to_owned() };
    let row = |epoch: u64| {
        let losses = columns.iter().map(|(_, losses)| cell(losses[epoch as usize]));
        [(epoch + 1).to_string()].into_iter().chain(losses).collect()
    };
    let points = |losses: &[f64]| {
        let points = (1..).zip(losses).map(|(epoch, &loss)| (f64::from(epoch), loss));
        points.filter(|point| point.1.is_finite()).collect()
    };
    let curve = |(name, losses): &(String, Vec<f64>)| Series::new(name, points(losses), SeriesStyle::Line);
    let series = columns.iter().map(curve).collect();
    let curves =
        Chart { x_label: "epoch".into(), ..chart("Losses of both networks", "loss", AxisScale::Linear, series) };
    let head = ["epoch".to_owned()].into_iter().chain(columns.iter().map(|(name, _)| name.clone())).collect();
    let table = Table { caption: String::new(), head, rows: (0..epochs).map(row).collect() };
    Section {
        heading: "Losses by epoch".into(),
        note: format!("Of single batches, each before its update; an epoch has {batches}."),
        blocks: vec![Block::Chart(curves), Block::Table(table)],
    }
}

fn chart(title: &str, y_label: &str, scale: AxisScale, series: Vec<Series>) -> Chart {
    Chart { title: title.into(), x_label: "step".into(), y_label: y_label.into(), scale, series, ..Chart::default() }
}

fn describe(spell: &Spell) -> String {
    let [first, last] = spell.steps;
    format!("Steps {first} to {last}: {}", spell.notice.advice())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::{MetricsWriter, StepMetrics};

    /// The metrics of a run whose losses are 10 and 1000 times the step.
    fn metrics(steps: u64) -> Metrics {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::open(&path, 0).unwrap();
        for step in 1..=steps {
            let losses = [("g_loss", 10.0 * step as f32), ("d_loss", 1000.0 * step as f32)];
            let (losses, seconds) = (&losses[..], 1.0);
            let line =
                StepMetrics { step, losses, seconds, images_per_s: 1.0, lr: 1.0, epoch: 1, time: 1.0, further: &[] };
            writer.append(&line).unwrap();
        }
        Metrics::read(&path).unwrap()
    }

    fn table(section: &Section) -> &Table {
        let [Block::Chart(chart), Block::Table(table)] = &section.blocks[..] else { panic!("{section:?}") };
        assert_eq!(chart.series.len() + 1, table.head.len());
        table
    }

    #[test]
    fn losses_are_listed_at_the_1st_and_the_101st_batch_of_every_epoch() {
        let section = losses_by_epoch(&metrics(157 + 120), 157);
        let table = table(&section);
        assert_eq!(
            table.head,
            ["epoch", "D loss, batch 1", "G loss, batch 1", "D loss, batch 101", "G loss, batch 101"]
        );
        assert_eq!(table.rows[0], ["1", "1000.0000", "10.0000", "101000.0000", "1010.0000"]);
        assert_eq!(table.rows[1], ["2", "158000.0000", "1580.0000", "258000.0000", "2580.0000"]);
        assert_eq!(table.rows.len(), 2);
    }

    #[test]
    fn an_epoch_cut_short_has_a_gap_and_one_of_few_batches_no_second_pair_of_columns() {
        let section = losses_by_epoch(&metrics(160), 157);
        assert_eq!(table(&section).rows[1], ["2", "158000.0000", "1580.0000", "–", "–"]);
        let section = losses_by_epoch(&metrics(10), 4);
        assert_eq!((table(&section).head.len(), table(&section).rows.len()), (3, 3));
        assert_eq!(table(&section).rows[2], ["3", "9000.0000", "90.0000"]);
    }
}
