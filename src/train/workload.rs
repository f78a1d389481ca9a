//! One pass of a network over random data, to be timed.

use super::classification::{Classification, ClassificationConfig};
use super::session::{Learner, Update};
use crate::color::Bins;
use crate::data::Batch;
use crate::device::{Device, LaunchTime};
use crate::error::{Error, Result};
use crate::models::classifier::Classifier;
use crate::models::colournet;
use crate::nn::OptimizerKind;
use crate::random::{Rng, Stream};
use crate::tensor::Tensor;
use std::time::Instant;

/// Passes before the first that counts: the first compiles kernels, both fill the buffer pool and caches.
const WARM_UP: u64 = 2;
/// Learning rate of a training pass: small enough that random data cannot make the weights overflow.
const LR: f64 = 1e-5;
/// Seed of weights and data.
const SEED: u64 = 0;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The network up to the probabilities of the bins, at the size of its logits.
    Forward,
    /// A whole update: soft encoding, network, loss, gradients, optimiser.
    Train,
}

/// A ColourNet and what it is fed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkloadConfig {
    /// What is timed.
    pub pass: Pass,
    /// Side of the pictures in pixels, a multiple of 8.
    pub size: usize,
    /// Pictures a batch, at least 1.
    pub batch: usize,
    /// Channel multiplier, above 0.
    pub width: f64,
    /// Colour bins, at least 1.
    pub bins: usize,
}

/// What a measurement found.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Wall time of each pass in seconds, shortest first; warm-up left out.
    pub seconds: Vec<f64>,
    /// The most bytes that buffers took on the device during a pass.
    pub peak_bytes: u64,
    /// Every launch of one more pass, in order.
    pub launches: Vec<LaunchTime>,
}

impl Measurement {
    /// Median wall time of a pass in seconds.
    pub fn median_seconds(&self) -> f64 {
        let half = self.seconds.len() / 2;
        match self.seconds.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.seconds[half],
            _ => (self.seconds[half - 1] + self.seconds[half]) / 2.0,
        }
    }
}

/// Times `iterations` passes, and then the launches of one pass by themselves.
///
/// # Errors
/// A size or number that makes no network; memory; whatever a launch reports.
pub fn measure(device: &Device, config: &WorkloadConfig, iterations: u64) -> Result<Measurement> {
    let mut workload = Workload::new(device, config)?;
    for _ in 0..WARM_UP {
        workload.run()?;
    }
    device.reset_peak();
    let mut seconds = Vec::new();
    for _ in 0..iterations {
        let start = Instant::now();
        workload.run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let peak_bytes = device.memory().peak_bytes;
    device.start_profile()?;
    let ran = workload.run();
    let launches = device.stop_profile()?;
    ran.map(|()| Measurement { seconds, peak_bytes, launches })
}

/// A network with its input, ready to run a pass again and again.
enum Workload {
    Forward { classifier: Box<Classifier>, grey: Tensor },
    Train { learner: Box<Classification>, batch: Batch },
}

impl Workload {
    fn new(device: &Device, config: &WorkloadConfig) -> Result<Self> {
        let &WorkloadConfig { pass, size, batch: n, width, bins } = config;
        let at_least_1 = |value: usize, flag: &str| -> Result<()> {
            crate::ensure!(value > 0, Error::input("must be at least 1", format!("{flag} 0"), "use 1 or more"));
            Ok(())
        };
        at_least_1(size, "--size")?;
        at_least_1(n, "--batch")?;
        at_least_1(bins, "--bins")?;
        crate::ensure!(
            size.is_multiple_of(colournet::STRIDE),
            Error::input(
                "the size is no multiple of 8",
                format!("--size {size}"),
                format!("use {}", size.next_multiple_of(colournet::STRIDE))
            )
        );
        crate::ensure!(
            width > 0.0 && width <= 16.0,
            Error::input(
                "the width makes no network",
                format!("--width {width}"),
                "use a multiplier above 0, up to 16"
            )
        );
        let network = colournet::network(width, bins);
        let prior = vec![1.0 / bins as f32; bins];
        let training = pass == Pass::Train;
        let classifier = Classifier::new(device, network, colournet::UPSAMPLE, &lattice(bins), prior, SEED, training)?;
        let pixels = n * size * size;
        let source = uniform(pixels, 1);
        Ok(match pass {
            Pass::Forward => Workload::Forward {
                classifier: Box::new(classifier),
                grey: Tensor::new(device, &[n, size, size, 1], &source)?,
            },
            Pass::Train => {
                let settings = ClassificationConfig {
                    optimizer: OptimizerKind::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-8 },
                    weight_decay: 0.0,
                    l2: 0.0,
                    lambda: 0.5,
                    sigma: 5.0,
                };
                let target = uniform(3 * pixels, 2);
                let batch = Batch { step: 0, files: Vec::new(), n, size, halo: 0, source, target };
                Workload::Train { learner: Box::new(Classification::new(classifier, &settings)?), batch }
            }
        })
    }

    /// One pass, to its end.
    fn run(&mut self) -> Result<()> {
        match self {
            Workload::Forward { classifier, grey } => {
                let probabilities = classifier.probabilities(grey)?;
                probabilities.device().sync()
            }
            Workload::Train { learner, batch } => {
                batch.step += 1;
                for loss in learner.step(batch, &Update { step: batch.step, steps: u64::MAX, lr: LR })? {
                    loss.finish()?;
                }
                // The loss is there before the optimiser has run.
                learner.classifier().bins.device().sync()
            }
        }
    }
}

/// Values 0..1.
fn uniform(len: usize, step: u32) -> Vec<f32> {
    let rng = Rng::new(SEED, Stream::Noise, step);
    (0..len as u64).map(|i| rng.uniform(i)).collect()
}

/// `bins` colours on a square lattice over the ab plane, -110..110.
fn lattice(bins: usize) -> Bins {
    let side = (1..=bins).find(|side| side * side >= bins).unwrap_or(1);
    let place = |i: usize| 220.0 * (i as f32 + 0.5) / side as f32 - 110.0;
    Bins { centres: (0..bins).map(|i| [place(i / side), place(i % side)]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pass: Pass) -> WorkloadConfig {
        WorkloadConfig { pass, size: 16, batch: 2, width: 0.05, bins: 30 }
    }

    fn kernels(measurement: &Measurement) -> Vec<&str> {
        measurement.launches.iter().map(|launch| launch.kernel).collect()
    }

    #[test]
    fn a_forward_pass_ends_with_the_softmax_and_a_training_pass_with_the_optimiser() {
        let device = Device::cpu();
        let forward = measure(&device, &config(Pass::Forward), 3).unwrap();
        assert_eq!(kernels(&forward).last(), Some(&"softmax"));
        assert!(!kernels(&forward).contains(&"conv2d_dw"));
        let train = measure(&device, &config(Pass::Train), 2).unwrap();
        assert_eq!(kernels(&train).last(), Some(&"adam"));
        assert!(kernels(&train).contains(&"soft_encode") && kernels(&train).contains(&"conv2d_dw"));
        assert!(train.peak_bytes > forward.peak_bytes && forward.peak_bytes > 0);
        assert_eq!((forward.seconds.len(), train.seconds.len()), (3, 2));
        assert!(forward.seconds.is_sorted());
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two() {
        let of = |seconds: &[f64]| {
            Measurement { seconds: seconds.to_vec(), peak_bytes: 0, launches: Vec::new() }.median_seconds()
        };
        assert_eq!(of(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(of(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }

    #[test]
    fn sizes_that_make_no_network_are_refused_by_their_flag() {
        let good = config(Pass::Forward);
        let cases = [
            (WorkloadConfig { size: 12, ..good }, "--size 12"),
            (WorkloadConfig { size: 0, ..good }, "--size 0"),
            (WorkloadConfig { batch: 0, ..good }, "--batch 0"),
            (WorkloadConfig { width: 0.0, ..good }, "--width 0"),
            (WorkloadConfig { bins: 0, ..good }, "--bins 0"),
        ];
        for (config, flag) in cases {
            let error = measure(&Device::cpu(), &config, 1).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(flag), "{error}");
        }
    }
}
