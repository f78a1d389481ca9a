//! Rate and time left of a run, from the wall time of its recent steps. Nothing here prints.

use std::collections::VecDeque;

/// How many steps the rate looks back on: enough to smooth over a checkpoint or a slow file, few enough to follow a
/// machine that becomes busy.
const WINDOW: usize = 32;

/// The pace of a run.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    recent: VecDeque<(f64, usize)>,
    seen: u64,
}

impl Pace {
    /// Takes in one step: its wall time in seconds, waiting for data included, and the images of its batch.
    ///
    /// The first step also compiles kernels and fills caches, so it is forgotten as soon as there is a second.
    pub fn record(&mut self, seconds: f64, images: usize) {
        if self.seen == 1 || self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back((seconds, images));
        self.seen += 1;
    }

    /// Mean wall time of the recent steps in seconds; `None` before the first.
    pub fn seconds_per_step(&self) -> Option<f64> {
        (!self.recent.is_empty()).then(|| self.seconds() / self.recent.len() as f64)
    }

    /// Images a second over the recent steps; `None` before the first.
    pub fn images_per_s(&self) -> Option<f64> {
        let images: usize = self.recent.iter().map(|step| step.1).sum();
        (!self.recent.is_empty()).then(|| images as f64 / self.seconds().max(1e-9))
    }

    /// Seconds that `steps` more steps take at the present pace; `None` before the first step.
    pub fn seconds_left(&self, steps: u64) -> Option<f64> {
        self.seconds_per_step().map(|seconds| seconds * steps as f64)
    }

    fn seconds(&self) -> f64 {
        self.recent.iter().map(|step| step.0).sum()
    }
}

/// A duration in seconds for people: `0.35 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub fn human_seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if !seconds.is_finite() || seconds < 0.0 => "unknown".to_string(),
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_first_step_counts_only_until_there_is_another() {
        let mut pace = Pace::default();
        assert_eq!(pace.seconds_left(10), None);
        pace.record(30.0, 4);
        assert_eq!(pace.seconds_left(10), Some(300.0));
        pace.record(2.0, 4);
        assert_eq!(pace.seconds_left(10), Some(20.0));
        assert_eq!(pace.images_per_s(), Some(2.0));
    }

    #[test]
    fn the_rate_follows_the_recent_steps() {
        let mut pace = Pace::default();
        (0..500).for_each(|_| pace.record(1.0, 1));
        (0..WINDOW).for_each(|_| pace.record(0.5, 3));
        assert_eq!(pace.seconds_per_step(), Some(0.5));
        assert_eq!(pace.images_per_s(), Some(6.0));
    }

    #[test]
    fn durations_read_naturally() {
        let texts = [0.345, 9.999, 59.6, 185.0, 7620.0, f64::NAN].map(human_seconds);
        assert_eq!(texts, ["0.34 s", "10 s", "1 min 00 s", "3 min 05 s", "2 h 07 min", "unknown"]);
    }
}
