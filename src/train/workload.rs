//! One pass of a network over random data, to be timed.

use crate::dataset::loader::Batch;
use crate::engine::device::{Device, HostWork, LaunchTime, Profile, Timing};
use crate::engine::ranks::Share;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::paint::painter::Painter;
use crate::random::{Rng, Stream};
use crate::train::learner::{Learner, Update};
use std::time::Instant;

/// Passes before the first that counts: the first compiles kernels, both fill the buffer pool and caches.
const WARM_UP: u64 = 2;
/// Passes whose launches are timed.
const PROFILED: usize = 3;
/// Learning rate of a training pass: small enough that random data cannot make the weights overflow.
const LR: f64 = 1e-5;
/// Seed of the data.
const SEED: u64 = 0;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// What the network outputs, see [`Painter::answer`]: a classifier's probabilities at the size of its logits, or a
    /// generator's image.
    Forward,
    /// A whole update, of both networks of a pair: targets, forward passes, losses, gradients, optimisers.
    Train,
}

impl Pass {
    /// `forward` or `train`.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Train => "train",
        }
    }
}

/// What a network is fed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkloadConfig {
    /// What is timed.
    pub pass: Pass,
    /// Side of the images in pixels, one that the network takes.
    pub size: usize,
    /// Images a batch, at least 1.
    pub batch: usize,
    /// Pixels of the sources of a training batch beyond each side of the targets.
    pub halo: usize,
}

/// What a measurement found.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Wall time of each pass in seconds, shortest first; warm-up left out.
    pub seconds: Vec<f64>,
    /// The most bytes that buffers took on the device during a pass.
    pub peak_bytes: u64,
    /// What the host did for one of the passes that were timed, the last; its `seconds` are the median of all.
    pub host: HostWork,
    /// Every launch of a pass, in order; times are the medians over a few more passes, whose launches were timed.
    pub launches: Vec<LaunchTime>,
    /// The least seconds that each of them took in these passes.
    pub fastest: Vec<f64>,
    /// The launches of the last of these passes as they ran.
    pub traced: Vec<LaunchTime>,
    /// How launches were timed.
    pub timing: Timing,
    /// Timestamps that could not be used: where there are some, launches were timed by the clock instead.
    pub unusable: usize,
    /// The time of all launches as a share of the time that the device worked for such a pass; on the CPU, and by the
    /// clock, of the pass.
    pub accounted: f64,
    /// The same as a share of the wall time of such a pass.
    pub accounted_wall: f64,
}

impl Measurement {
    /// Median wall time of a pass in seconds.
    pub fn median_seconds(&self) -> f64 {
        median(&self.seconds)
    }
}

/// The median of values in order.
pub fn median(values: &[f64]) -> f64 {
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

/// Times `iterations` passes of a learner's networks, and then the launches of one pass by themselves.
///
/// # Errors
/// Memory, and whatever a launch reports.
pub fn measure(learner: &mut dyn Learner, config: &WorkloadConfig, iterations: u64) -> Result<Measurement> {
    let device = learner.painter().device().clone();
    let mut workload = Workload::new(learner, config)?;
    for _ in 0..WARM_UP {
        workload.run(&device)?;
    }
    device.reset_peak();
    let (mut seconds, mut host_seconds, mut host) = (Vec::new(), Vec::new(), HostWork::default());
    for _ in 0..iterations {
        let (start, before) = (Instant::now(), device.host_work());
        workload.run(&device)?;
        seconds.push(start.elapsed().as_secs_f64());
        host = device.host_work() - before;
        host_seconds.push(host.seconds);
    }
    seconds.sort_by(f64::total_cmp);
    host_seconds.sort_by(f64::total_cmp);
    host.seconds = median(&host_seconds);
    let peak_bytes = device.memory().peak_bytes;
    let (mut passes, mut wished, mut unusable) = (Vec::new(), Timing::Timestamps, 0);
    while passes.len() < PROFILED {
        let pass = profiled(&mut workload, &device, wished)?;
        if pass.profile.unusable == 0 {
            passes.push(pass);
        } else {
            unusable = pass.profile.unusable;
            wished = Timing::Clock;
            passes.clear();
        }
    }
    let middle = |of: &dyn Fn(&Profiled) -> f64| ordered(passes.iter().map(of));
    let total = |pass: &Profiled| pass.profile.launches.iter().map(|launch| launch.seconds).sum::<f64>();
    let accounted = median(&middle(&|pass| total(pass) / pass.profile.busy_seconds.unwrap_or(pass.seconds)));
    let accounted_wall = median(&middle(&|pass| total(pass) / pass.seconds));
    let mut traced = Vec::new();
    let mut timing = wished;
    if let Some(last) = passes.last() {
        (traced, timing) = (last.profile.launches.clone(), last.profile.timing);
    }
    // A pass may launch something every so many steps.
    passes.retain(|pass| pass.profile.launches.len() == traced.len());
    let (mut launches, mut fastest) = (traced.clone(), Vec::new());
    for (i, launch) in launches.iter_mut().enumerate() {
        let of = |value: &dyn Fn(&LaunchTime) -> f64| ordered(passes.iter().map(|p| value(&p.profile.launches[i])));
        let times = of(&|launch| launch.seconds);
        fastest.push(times[0]);
        (launch.seconds, launch.host_seconds) = (median(&times), median(&of(&|launch| launch.host_seconds)));
    }
    Ok(Measurement {
        seconds,
        peak_bytes,
        host,
        launches,
        fastest,
        traced,
        timing,
        unusable,
        accounted,
        accounted_wall,
    })
}

/// A pass whose launches were timed.
struct Profiled {
    profile: Profile,
    /// Wall time of the pass.
    seconds: f64,
}

fn profiled(workload: &mut Workload<'_>, device: &Device, timing: Timing) -> Result<Profiled> {
    device.start_profile(timing)?;
    let start = Instant::now();
    let ran = workload.run(device);
    let seconds = start.elapsed().as_secs_f64();
    let profile = device.stop_profile()?;
    ran.map(|()| Profiled { profile, seconds })
}

/// Values in order.
fn ordered(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A learner with what it is fed, ready to run a pass again and again.
pub struct Workload<'a> {
    learner: &'a mut dyn Learner,
    feed: Feed,
}

enum Feed {
    Forward(Tensor),
    Train(Batch),
}

impl<'a> Workload<'a> {
    /// The networks of a learner and random data to feed them.
    ///
    /// # Errors
    /// No memory.
    pub fn new(learner: &'a mut dyn Learner, config: &WorkloadConfig) -> Result<Self> {
        let &WorkloadConfig { pass, size, batch: n, halo } = config;
        let painter = learner.painter();
        let feed = match pass {
            Pass::Forward => {
                let side = size + 2 * painter.framing().halo;
                Feed::Forward(random_batch(painter, n, side, 0).source_on(painter.device())?)
            }
            Pass::Train => Feed::Train(random_batch(painter, n, size, halo)),
        };
        Ok(Workload { learner, feed })
    }

    /// One pass, to its end.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn run(&mut self, device: &Device) -> Result<()> {
        match &mut self.feed {
            Feed::Forward(source) => drop(self.learner.painter().answer(source)?),
            Feed::Train(batch) => {
                batch.step += 1;
                let share = Share { images: batch.n, of: batch.n, ..Share::default() };
                let update = Update { step: batch.step, steps: u64::MAX, lr: LR, share };
                for loss in self.learner.step(batch, &update)? {
                    loss.finish()?;
                }
            }
        }
        // A loss is there before the optimiser has run.
        device.sync()
    }
}

/// `n` random images of `size` x `size` pixels of 8 bits with the bands that a network reads and makes; the sources
/// have `halo` pixels more on each side.
pub fn random_batch(painter: &dyn Painter, n: usize, size: usize, halo: usize) -> Batch {
    let values = |side: usize, bands: usize, step: u32| {
        let rng = Rng::new(SEED, Stream::Noise, step);
        (0..(n * side * side * bands) as u64).map(|i| (255.0 * rng.uniform(i)).round() / 255.0).collect()
    };
    let source = values(size + 2 * halo, painter.source_bands(), 1);
    let target = values(size, painter.bands(), 2);
    Batch { step: 0, files: Vec::new(), n, size, halo, source, target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two() {
        let of = |seconds: &[f64]| median(seconds);
        assert_eq!(of(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(of(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }
}
