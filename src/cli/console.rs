//! What commands print in the same way: progress, a bar on a terminal and plain lines elsewhere, and tables of figures.

use crate::cli::stdio::{Volume, volume};
use crate::evaluate::scoreboard::Scoreboard;
use crate::imaging::quality::Measure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Seconds between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The progress of one piece of work, on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// Progress towards `total` units called `unit`, `done` of them done already.
    pub fn new(total: u64, done: u64, unit: &str) -> Self {
        let bar = (std::io::stderr().is_terminal() && volume() == Volume::Usual).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}  {{msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.set_position(done);
            bar
        });
        Progress { bar, total, last_line: None }
    }

    /// `done` units are done; `message` says how it goes. Elsewhere than on a terminal a line appears for the first and
    /// the last unit and every ten seconds, or, where much is to be told, for each.
    pub fn at(&mut self, done: u64, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(message.to_owned());
            }
            None => {
                let due = done == self.total || self.last_line.is_none_or(|at| at.elapsed() >= PLAIN_EVERY);
                if due || volume() == Volume::Verbose {
                    noteln!("{done}/{} {message}", self.total);
                    self.last_line = Some(Instant::now());
                }
            }
        }
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => noteln!("{text}"),
        }
    }

    /// Prints an error that does not end the work.
    pub fn error(&self, error: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("error: {error}")),
            None => errln!("error: {error}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The most memory that this process has had, bytes; `None` where the system does not say (other than Linux).
pub fn peak_bytes_of_process() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Prints the means over the images, a measure a line, and the verdict on stdout.
pub fn print_scores(board: &Scoreboard) {
    let means = board.means();
    let heads: Vec<&str> = means.iter().map(|(method, _)| method.name()).collect();
    let name = |measure: Measure| {
        let unit = if measure.unit().is_empty() { String::new() } else { format!(", {}", measure.unit()) };
        let arrow = measure.better().map(|better| format!(" {}", better.arrow())).unwrap_or_default();
        format!("{}{unit}{arrow}", measure.name())
    };
    let names: Vec<(Measure, String)> = board.measures().into_iter().map(|measure| (measure, name(measure))).collect();
    let pictures = board.pictures();
    let lengths = names.iter().map(|(_, name)| name.chars().count()).chain([pictures.len()]);
    let widest = lengths.max().unwrap_or_default();
    let widths: Vec<usize> = heads.iter().map(|head| head.len().max(9)).collect();
    out!("{pictures:<widest$}");
    heads.iter().zip(&widths).for_each(|(head, width)| out!("  {head:>width$}"));
    outln!();
    for (measure, name) in &names {
        out!("{name:<widest$}");
        for ((_, scores), width) in means.iter().zip(&widths) {
            match scores.get(*measure) {
                Some(value) => out!("  {value:>width$.decimals$}", decimals = measure.decimals()),
                None => out!("  {:>width$}", "-"),
            }
        }
        outln!();
    }
    if let Some(by_band) = board.by_band() {
        for (i, metric) in by_band.metrics.iter().enumerate() {
            out!("{:<widest$}", metric.name);
            for ((_, values), width) in by_band.methods.iter().zip(&widths) {
                out!("  {:>width$.decimals$}", values[i], decimals = metric.decimals);
            }
            outln!();
        }
    }
    if let Some(truth) = board.truth_colourfulness() {
        outln!("colourfulness of the truth: {truth:.1}");
    }
    let verdict = board.verdict();
    outln!("{}. {}", verdict.headline, verdict.detail);
}
