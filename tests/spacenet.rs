//! A reduced SpaceNet pair through the learner that `train` uses: ten golden steps for two numbers of bands, and the
//! same bits every time with both optimisers.
//!
//! `tools/goldens/spacenet.py` made the golden runs in f64, and measured how far f32 drifts from them.

mod common;

use common::GoldenFile;
use common::golden_run::{GoldenRun, goes_on_bit_for_bit, initial_weights};
use huetape::dataset::loader::Batch;
use huetape::engine::device::Device;
use huetape::engine::nn::OptimizerKind;
use huetape::engine::tape::Keeping;
use huetape::networks::adversarial::{Adversarial, AdversarialConfig};
use huetape::networks::distance::Distances;
use huetape::networks::freeze::Freeze;
use huetape::networks::spacenet::game::{Spacenet, Start};
use huetape::paint::painter::Look;
use huetape::train::learner::Learner;
use serde::Deserialize;

const SGD: OptimizerKind = OptimizerKind::Sgd { momentum: 0.9 };
const ADAM: OptimizerKind = OptimizerKind::Adam { beta1: 0.5, beta2: 0.999, eps: 1e-8 };

#[derive(Deserialize)]
struct Settings {
    width: f64,
    size: usize,
    batch: usize,
    bands_in: usize,
    bands_out: usize,
    lr: f64,
    momentum: f64,
    d_l2: f64,
    lambda: Vec<f32>,
}

/// A golden run with its batches.
struct Bench {
    name: &'static str,
    run: GoldenRun<Settings>,
    batches: GoldenFile,
}

impl Bench {
    fn read(name: &'static str) -> Bench {
        Bench { name, run: GoldenRun::read(name), batches: GoldenFile::read(&format!("{name}_batch.safetensors")) }
    }

    fn learner(&self, device: &Device, optimizer: OptimizerKind) -> Adversarial<Spacenet> {
        let &Settings { width, size, bands_in, bands_out, d_l2, ref lambda, .. } = &self.run.settings;
        let learning = AdversarialConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            d_l2,
            lr_ratio: 1.0,
            distances: Distances::default(),
            ema: None,
            freeze: Freeze::default(),
            seed: 5,
            keeping: Keeping::default(),
            training: true,
        };
        let start = Start { width: Some(width), size, lambda_mse: lambda[0], learning };
        start.learner(device, [bands_in, bands_out], Some(&initial_weights(self.name))).unwrap()
    }

    fn batch(&self, step: u64) -> Batch {
        let &Settings { size, batch: n, .. } = &self.run.settings;
        let values = |part: &str| self.batches.get(&format!("{part}{}", (step - 1) % 2)).data.clone();
        Batch { step, files: Vec::new(), n, size, halo: 0, source: values("source"), target: values("target") }
    }

    /// What the generator makes of the first batch, -1..1.
    fn picture(&self, learner: &Adversarial<Spacenet>) -> Vec<f32> {
        let source = self.batch(1).source_on(learner.painter().device()).unwrap();
        let picture = learner.painter().paint(&source, &Look::default()).unwrap().to_vec().unwrap();
        picture.into_iter().map(|v| 2.0 * v - 1.0).collect()
    }
}

#[test]
fn ten_training_steps_match_the_golden_losses_whatever_the_bands() {
    for name in ["spacenet", "spacenet_3to4"] {
        let bench = Bench::read(name);
        let Settings { lr, momentum, .. } = bench.run.settings;
        let optimizer = OptimizerKind::Sgd { momentum };
        bench.run.check(
            &initial_weights(name),
            |device| bench.learner(device, optimizer),
            |step| bench.batch(step),
            lr,
            |learner| bench.picture(learner),
            // Values come out as 0..1: half a bit of each, doubled.
            2f64.powi(-23),
        );
    }
}

#[test]
fn a_run_goes_on_from_its_state_bit_for_bit_with_both_optimisers() {
    let bench = Bench::read("spacenet_3to4");
    for optimizer in [SGD, ADAM] {
        goes_on_bit_for_bit(|device| bench.learner(device, optimizer), |step| bench.batch(step), bench.run.settings.lr);
    }
}
