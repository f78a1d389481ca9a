//! How fast a GPU works through what it is given, so that no submission runs into a driver's watchdog.

use crate::engine::device::gpu::fault::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Seconds that a submission should take at most. Drivers reset a GPU after 2 (Windows) to some 10, and a desktop on
/// the same GPU stands still meanwhile.
const SECONDS: f64 = 0.25;
/// Cost of a submission before a pace is known.
const AT_FIRST: f64 = 2e10;
/// What the pace can make of it: a wait that something else took long is no pace.
const RANGE: (f64, f64) = (2e9, 1e13);
/// Cost from which a wait says something about the pace.
const TELLING: f64 = 1e8;

/// Cost a second of a slow GPU, before its pace is known.
const SLOWEST: f64 = 1e9;
/// The shortest wait that is given up.
const LEAST_PATIENCE: Duration = Duration::from_mins(2);

/// Clones share what is known.
#[derive(Clone, Default)]
pub(super) struct Pace(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Cost of all that has been submitted, and of what is known to have run.
    submitted: f64,
    done: f64,
    /// When the GPU is known to have begun with what is not done.
    since: Option<Instant>,
    /// Cost a second.
    rate: Option<f64>,
}

impl Pace {
    /// A submission of this cost is about to go.
    pub fn submitted(&self, cost: f64) {
        let mut state = lock(&self.0);
        if state.done >= state.submitted {
            state.since = Some(Instant::now());
        }
        state.submitted += cost;
    }

    /// What has been submitted so far, to be [reached](Pace::reached).
    pub fn mark(&self) -> f64 {
        lock(&self.0).submitted
    }

    /// Everything up to a mark has run.
    pub fn reached(&self, mark: f64) {
        let (mut state, now) = (lock(&self.0), Instant::now());
        let cost = mark - state.done;
        if let Some(since) = state.since.filter(|_| cost >= TELLING) {
            let seconds = now.duration_since(since).as_secs_f64().max(1e-6);
            state.rate = Some(cost / seconds);
        }
        if cost > 0.0 {
            (state.done, state.since) = (mark, Some(now));
        }
    }

    /// How long a wait for everything up to a mark may last before the GPU counts as hung: twenty times what the pace
    /// makes expect, and never under [`LEAST_PATIENCE`], for others may be using it.
    pub fn patience(&self, mark: f64) -> Duration {
        let state = lock(&self.0);
        let expected = (mark - state.done).max(0.0) / state.rate.unwrap_or(SLOWEST);
        LEAST_PATIENCE + Duration::from_secs_f64(20.0 * expected)
    }

    /// Cost that a submission may have.
    pub fn most(&self) -> f64 {
        lock(&self.0).rate.map_or(AT_FIRST, |rate| (rate * SECONDS).clamp(RANGE.0, RANGE.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_may_last_many_times_as_long_as_the_pace_makes_expect() {
        let pace = Pace::default();
        assert_eq!(pace.patience(pace.mark()), LEAST_PATIENCE);
        pace.submitted(60.0 * SLOWEST);
        assert_eq!(pace.patience(pace.mark()), LEAST_PATIENCE + Duration::from_mins(20));
        pace.reached(pace.mark());
        // Known to be fast by now.
        pace.submitted(60.0 * SLOWEST);
        assert!(pace.patience(pace.mark()) < LEAST_PATIENCE + Duration::from_mins(20));
    }

    #[test]
    fn a_slow_gpu_gets_small_submissions() {
        let pace = Pace::default();
        assert_eq!(pace.most(), AT_FIRST);
        pace.submitted(1e9);
        std::thread::sleep(std::time::Duration::from_millis(20));
        pace.reached(pace.mark());
        // 1e9 in at least 20 ms.
        assert!(pace.most() <= 1e9 / 0.02 * SECONDS, "{}", pace.most());
        assert!(pace.most() >= RANGE.0);
        let known = pace.most();
        // A wait for nothing much says nothing.
        pace.submitted(1e3);
        pace.reached(pace.mark());
        assert_eq!(pace.most(), known);
    }
}
