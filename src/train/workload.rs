//! One pass of a network over random data, to be timed.

use crate::dataset::loader::Batch;
use crate::engine::device::{Device, HostWork, LaunchTime};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::paint::painter::Painter;
use crate::random::{Rng, Stream};
use crate::train::learner::{Learner, Update};
use std::time::Instant;

/// Passes before the first that counts: the first compiles kernels, both fill the buffer pool and caches.
const WARM_UP: u64 = 2;
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
    /// Every launch of one more pass, in order.
    pub launches: Vec<LaunchTime>,
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
    device.start_profile()?;
    let ran = workload.run(&device);
    let launches = device.stop_profile()?;
    ran.map(|()| Measurement { seconds, peak_bytes, host, launches })
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
                for loss in self.learner.step(batch, &Update { step: batch.step, steps: u64::MAX, lr: LR })? {
                    loss.finish()?;
                }
            }
        }
        // A loss is there before the optimiser has run.
        device.sync()
    }
}

/// `n` random images of `size` x `size` pixels with the bands that a network reads and makes, values 0..1; the sources
/// have `halo` pixels more on each side.
pub fn random_batch(painter: &dyn Painter, n: usize, size: usize, halo: usize) -> Batch {
    let values = |side: usize, bands: usize, step: u32| {
        let rng = Rng::new(SEED, Stream::Noise, step);
        (0..(n * side * side * bands) as u64).map(|i| rng.uniform(i)).collect()
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
