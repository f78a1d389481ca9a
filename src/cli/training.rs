//! What commands that train show of it.

use crate::cli::args::device;
use crate::cli::console::{Progress, peak_bytes_of_process};
use crate::cli::names::flags;
use crate::cli::signals::{Patience, be_patient};
use crate::engine::device::{Device, human_bytes};
use crate::error::Result;
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
    let ended = training.run(device, out, &mut |event| {
        if let Event::Started { .. } = event {
            progress.line(&device::line(device));
        }
        show(&mut progress, steps, event);
    });
    be_patient(Patience::Moment);
    ended
}

fn show(progress: &mut Progress, steps: u64, event: Event<'_>) {
    if let Event::Started { .. } = event {
        be_patient(Patience::UntilSaved);
    }
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
        Event::Validated { step, loss, figures, best } => {
            let named = |(name, value): &(&str, f64)| {
                let name = name.trim_start_matches("val_").replace('_', " ");
                format!(", {name} {value:.3}")
            };
            let figures: String = figures.iter().map(named).collect();
            let best = if best { ", the best so far" } else { "" };
            progress.line(&format!("step {step}: validation loss {loss:.4}{figures}{best}"));
        }
        Event::Judged { done, total } => {
            if done == 1 {
                // Everything is saved.
                be_patient(Patience::Moment);
                *progress = Progress::new(total as u64, 0, "validation images judged");
            }
            progress.at(done as u64, "");
        }
        Event::Saved { step, path } => progress.line(&format!("step {step}: saved {}", path.display())),
    }
}

/// What a step of a training takes.
pub struct Step {
    /// How long, in seconds.
    pub seconds: f64,
    device_bytes: u64,
    process_bytes: Option<u64>,
}

impl Step {
    /// As JSON has it.
    pub fn json(&self) -> serde_json::Value {
        let Step { seconds, device_bytes, process_bytes } = self;
        serde_json::json!({ "seconds": seconds, "device_bytes": device_bytes, "process_bytes": process_bytes })
    }
}

/// Prints the time and the memory of a step.
///
/// # Errors
/// As [`Training::rehearse`].
pub fn print_rehearsal(training: &Training, device: &Device) -> Result<Step> {
    let rehearsal = training.rehearse(device)?;
    let loader = &training.plan().session.loader;
    outln!("{}", device::line(device));
    if let Some(patches) = training.patches() {
        outln!("patches: {patches}");
    }
    outln!(
        "step: {} with a batch of {} at {size}x{size}",
        human_seconds(rehearsal.seconds),
        loader.batch,
        size = loader.size
    );
    outln!("memory on the device: {}", human_bytes(rehearsal.peak_bytes));
    let process_bytes = peak_bytes_of_process().map(|peak| peak + training.loading_bytes());
    if let Some(bytes) = process_bytes {
        outln!("memory of the process: about {}", human_bytes(bytes));
    }
    Ok(Step { seconds: rehearsal.seconds, device_bytes: rehearsal.peak_bytes, process_bytes })
}
