//! What a device notes of its launches while they are profiled, and for which layer they run.

use crate::engine::device::profile::LaunchTime;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The pass of a launch of which nobody says another.
const FORWARD: &str = "forward";
/// The pass of gradients: a launch that writes one whole has the name of that.
const BACKWARD: &str = "backward";

/// Costs the load of a flag where nothing is profiled.
#[derive(Default)]
pub(super) struct Profiler {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    start: Option<Instant>,
    scope: Scope,
    /// Buffer, first element and end of the gradients that an op is about to write, and what they are called.
    gradients: Vec<([usize; 3], &'static str)>,
    launches: Vec<LaunchTime>,
}

/// For whom launches run.
#[derive(Clone, Default)]
pub(super) struct Scope {
    layer: Option<Arc<str>>,
    pass: Option<&'static str>,
}

/// When a launch ran.
pub(super) struct Ran {
    /// When the host began with it.
    pub begun: Instant,
    /// When the device did, and for how many seconds it ran; both are found later where there are timestamps.
    pub start: Instant,
    pub seconds: f64,
}

impl Profiler {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub fn start(&self) {
        *self.state() = State { start: Some(Instant::now()), ..State::default() };
        self.on.store(true, Ordering::Relaxed);
    }

    pub fn stop(&self) -> Vec<LaunchTime> {
        self.on.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.state().launches)
    }

    /// The layer of what is launched now.
    pub fn layer(&self) -> Option<Arc<str>> {
        if self.is_on() { self.state().scope.layer.clone() } else { None }
    }

    /// What is launched from now on is of this layer and pass, or of those that it was of where `None`; the scope
    /// before.
    pub fn enter(&self, layer: Option<Arc<str>>, pass: Option<&'static str>) -> Scope {
        let mut state = self.state();
        let before = state.scope.clone();
        state.gradients.clear();
        state.scope.layer = layer.or(state.scope.layer.take());
        state.scope.pass = pass.or(state.scope.pass);
        before
    }

    pub fn leave(&self, before: Scope) {
        self.state().scope = before;
    }

    /// The next launches write a gradient of this name to a place: a buffer, the first element, the end.
    pub fn expect_gradient(&self, place: [usize; 3], name: &'static str) {
        self.state().gradients.push((place, name));
    }

    /// Notes a launch that wrote to these places; what is known of its scope and times is filled in.
    pub fn note(&self, launch: LaunchTime, ran: &Ran, mut written: impl Iterator<Item = [usize; 3]>) {
        let mut state = self.state();
        let since = |instant: Instant| state.start.map_or(0.0, |start| (instant - start).as_secs_f64());
        let mut gradient = || {
            let named = |[buffer, first, end]: [usize; 3]| {
                let within = |known: &[usize; 3]| known[0] == buffer && known[1] <= first && end <= known[2];
                state.gradients.iter().find(|(known, _)| within(known))
            };
            written.find_map(named).map(|(_, name)| *name)
        };
        let pass = match state.scope.pass {
            Some(BACKWARD) => gradient().unwrap_or(BACKWARD),
            pass => pass.unwrap_or(FORWARD),
        };
        let launch = LaunchTime {
            layer: state.scope.layer.as_deref().unwrap_or_default().to_owned(),
            pass,
            seconds: ran.seconds,
            start: since(ran.start),
            host_seconds: (ran.begun.elapsed().as_secs_f64() - ran.seconds).max(0.0),
            host_start: since(ran.begun),
            ..launch
        };
        state.launches.push(launch);
    }
}
