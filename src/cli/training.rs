//! What commands that train show of it.

use crate::cli::console::Progress;
use crate::cli::names::flags;
use crate::engine::device::{Device, human_bytes};
use crate::error::Result;
use crate::evaluate::evaluation::Evaluation;
use crate::report::page::Comparison;
use crate::run::training::{Ended, Training};
use crate::train::health;
use crate::train::progress::human_seconds;
use crate::train::session::Event;
use std::path::Path;

/// Runs a training in the folder `out` and shows how it goes.
///
/// # Errors
/// As [`Training::run`].
pub fn run_with_progress(training: &Training, device: &Device, out: &Path) -> Result<Ended> {
    let steps = training.plan().session.steps;
    let mut progress = Progress::new(steps, 0, "steps");
    training.run(device, out, &mut |event| show(&mut progress, steps, event))
}

fn show(progress: &mut Progress, steps: u64, event: Event<'_>) {
    match event {
        Event::Notice { text } => progress.line(&flags(text)),
        Event::Started { after: 0 } => {}
        Event::Started { after } => {
            progress.line(&format!("goes on after step {after}"));
        }
        Event::Step { step, losses, pace, notice } => {
            let shown = losses.iter().filter(|(name, _)| !health::is_vital(name));
            let losses: Vec<String> = shown.map(|(name, value)| format!("{name} {value:.4}")).collect();
            let rate = pace.images_per_s().map(|rate| format!(", {rate:.2} images/s")).unwrap_or_default();
            let left = pace.seconds_left(steps - step).map(|left| format!(", {} left", human_seconds(left)));
            let notice = notice.map(|notice| format!(", {}", notice.short())).unwrap_or_default();
            progress.at(step, &format!("{}{rate}{}{notice}", losses.join(", "), left.unwrap_or_default()));
        }
        Event::Validated { step, loss, best } => {
            progress.line(&format!(
                "step {step}: validation loss {loss:.4}{}",
                if best { ", the best so far" } else { "" }
            ));
        }
        Event::Saved { step, path } => progress.line(&format!("step {step}: saved {}", path.display())),
    }
}

/// Prints the time and the memory of a step; its seconds.
///
/// # Errors
/// As [`Training::rehearse`].
pub fn print_rehearsal(training: &Training, device: &Device) -> Result<f64> {
    let rehearsal = training.rehearse(device)?;
    let loader = &training.plan().session.loader;
    println!("device: {}", device.name());
    if let Some(patches) = training.patches() {
        println!("patches: {patches}");
    }
    println!(
        "step: {} with a batch of {} at {size}x{size}",
        human_seconds(rehearsal.seconds),
        loader.batch,
        size = loader.size
    );
    println!("memory on the device: {}", human_bytes(rehearsal.peak_bytes));
    Ok(rehearsal.seconds)
}

/// The table of an evaluation on stdout.
pub fn print_evaluation(evaluation: &Evaluation) {
    let Comparison { metrics, methods } = evaluation.comparison();
    let heads: Vec<String> = metrics.iter().map(|metric| format!("{} {}", metric.name, metric.unit)).collect();
    let names = methods.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    print!("{:<names$}", "");
    heads.iter().for_each(|head| print!(" {:>9}", head.trim_end()));
    println!();
    for (name, values) in &methods {
        print!("{name:<names$}");
        for ((value, metric), head) in values.iter().zip(&metrics).zip(&heads) {
            print!(" {value:>width$.decimals$}", width = head.trim_end().len().max(9), decimals = metric.decimals);
        }
        println!();
    }
    if let Some(gain) = evaluation.gain_over_mean_ab().map(|share| 100.0 * share) {
        let way = if gain >= 0.0 { "below" } else { "above" };
        println!("ab error {:.1} % {way} that of always predicting the mean ab", gain.abs());
    }
}
