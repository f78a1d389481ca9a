//! A reduced pix2pix through the learner that `train` uses: ten golden steps, and the same bits every time.
//!
//! `tools/goldens/pix2pix.py` made the golden run in f64, and measured how far f32 drifts from it.

mod common;

use common::{Tolerance, compare};
use huetape::data::Batch;
use huetape::device::Device;
use huetape::models::painter::Look;
use huetape::nn::{OptimizerKind, StateTensor, WeightFile};
use huetape::train::adversarial::pix2pix::{Pix2pix, Start};
use huetape::train::adversarial::{Adversarial, AdversarialConfig};
use huetape::train::health::is_vital;
use huetape::train::session::{Learner, Update};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(serde::Deserialize)]
struct GoldenRun {
    settings: Settings,
    losses: Vec<BTreeMap<String, f64>>,
    tolerances: Vec<BTreeMap<String, f64>>,
    after: BTreeMap<String, GoldenTensor>,
    picture: GoldenPicture,
}

#[derive(serde::Deserialize)]
struct Settings {
    width: f64,
    size: usize,
    lambda_l1: f32,
    slope: f32,
    lr: f64,
    beta1: f64,
    beta2: f64,
    adam_eps: f64,
}

/// A tensor after the last step.
#[derive(serde::Deserialize)]
struct GoldenTensor {
    sum: f64,
    sum_gap: f64,
    /// Euclidean distance from its initial value.
    moved: f64,
}

/// What running statistics make of the first source after the last step, -1..1.
#[derive(serde::Deserialize)]
struct GoldenPicture {
    /// Of each band.
    mean: Vec<f32>,
    mean_gap: f64,
}

const INIT: &str = "tests/goldens/pix2pix_init.safetensors";

impl GoldenRun {
    fn read() -> GoldenRun {
        serde_json::from_str(&std::fs::read_to_string("tests/goldens/pix2pix_steps.json").unwrap()).unwrap()
    }

    fn learner(&self, device: &Device, dropout: f32) -> Adversarial<Pix2pix> {
        let Settings { width, lambda_l1, slope, beta1, beta2, adam_eps: eps, .. } = self.settings;
        let optimizer = OptimizerKind::Adam { beta1, beta2, eps };
        let learning = AdversarialConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            d_l2: 0.0,
            lr_ratio: 1.0,
            seed: 5,
            training: true,
        };
        let init = WeightFile::read(Path::new(INIT)).unwrap();
        let start = Start {
            init: None,
            width: Some(width),
            leaky_slope: Some(slope),
            input_channels: Some(1),
            lambda_l1,
            dropout,
            side: 256,
            learning,
        };
        start.learner(device, Some(&init)).unwrap()
    }

    /// The pictures of the formula in `tools/goldens/pix2pix.py`.
    fn batch(&self, step: u64) -> Batch {
        let size = self.settings.size;
        let grey = |x: usize, y: usize| (3 * x + 5 * y + 40 * step as usize + (x * y) % 31) % 256;
        let colour = |x: usize, y: usize, c: usize| (grey(x, y) / 2 + (7 - c) * x + 2 * c * y) % 256;
        let pixels = || (0..size * size).map(|i| (i % size, i / size));
        let unit = |value: usize| value as f32 / 255.0;
        Batch {
            step,
            files: Vec::new(),
            n: 1,
            size,
            source: pixels().map(|(x, y)| unit(grey(x, y))).collect(),
            target: pixels().flat_map(|(x, y)| [0, 1, 2].map(|c| unit(colour(x, y, c)))).collect(),
        }
    }

    /// One step; the losses before its update, by name.
    fn step(&self, learner: &mut Adversarial<Pix2pix>, step: u64) -> Vec<(&'static str, f32)> {
        let reads = learner.step(&self.batch(step), &update(step, self.settings.lr)).unwrap();
        learner
            .losses()
            .iter()
            .map(|(name, _)| *name)
            .zip(reads.into_iter().map(|read| read.finish().unwrap()[0]))
            .collect()
    }
}

fn update(step: u64, lr: f64) -> Update {
    Update { step, steps: 10, lr }
}

#[test]
fn ten_training_steps_match_the_golden_losses() {
    let golden = GoldenRun::read();
    let mut failures = Vec::new();
    for device in common::devices() {
        let mut learner = golden.learner(&device, 0.0);
        for (k, (expected, allowed)) in golden.losses.iter().zip(&golden.tolerances).enumerate() {
            for (name, loss) in golden.step(&mut learner, k as u64 + 1).into_iter().filter(|(n, _)| !is_vital(n)) {
                let label = format!("{}: {name} of step {}", device.name(), k + 1);
                let tolerance = Tolerance::Absolute(allowed[name]);
                compare(&label, &[loss], &[expected[name] as f32], tolerance, &mut failures);
            }
        }
        compare_weights(&golden, &learner, &device.name(), &mut failures);
        compare_picture(&golden, &learner, &device.name(), &mut failures);
    }
    assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures.join("\n"));
}

/// Sums of all tensors after the last step, and how far they have come.
fn compare_weights(golden: &GoldenRun, learner: &Adversarial<Pix2pix>, device: &str, failures: &mut Vec<String>) {
    let init = WeightFile::read(Path::new(INIT)).unwrap();
    let state = WeightFile::from_tensors("memory", learner.state().unwrap());
    for (name, expected) in &golden.after {
        let StateTensor { data, .. } = state.require(name).unwrap();
        let values = || data.iter().map(|&v| f64::from(v));
        let start = init.require(name).unwrap().data.iter().map(|&v| f64::from(v));
        let sum: f64 = values().sum();
        // Ten times what other roundings of the same run did, and half a bit of each value as stored.
        let allowed = 10.0 * expected.sum_gap + 2f64.powi(-24) * values().map(f64::abs).sum::<f64>();
        if (sum - expected.sum).abs() > allowed {
            failures.push(format!("{device}: sum of {name} = {sum}, expected {} within {allowed:.1e}", expected.sum));
        }
        let moved = values().zip(start).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        // Adam divides by the gradient's size: elements whose gradient is little but rounding may take other steps.
        if (moved - expected.moved).abs() > 0.01 * expected.moved {
            failures.push(format!("{device}: {name} moved by {moved}, expected {} within 1 %", expected.moved));
        }
    }
}

fn compare_picture(golden: &GoldenRun, learner: &Adversarial<Pix2pix>, device: &str, failures: &mut Vec<String>) {
    let picture = golden.batch(1).source_on(learner.painter().device()).unwrap();
    let picture = learner.painter().paint(&picture, &Look::default()).unwrap().to_vec().unwrap();
    let pixels = (picture.len() / 3) as f64;
    let band = |c: usize| picture.iter().skip(c).step_by(3).map(|&v| 2.0 * f64::from(v) - 1.0).sum::<f64>() / pixels;
    let means = [0, 1, 2].map(|c| band(c) as f32);
    // Values come out as 0..1: half a bit of each, doubled.
    let tolerance = Tolerance::Absolute(10.0 * golden.picture.mean_gap + 2f64.powi(-23));
    compare(&format!("{device}: means of the picture"), &means, &golden.picture.mean, tolerance, failures);
}

fn bits(learner: &Adversarial<Pix2pix>) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: StateTensor| (tensor.name, tensor.data.iter().map(|v| v.to_bits()).collect());
    learner.state().unwrap().into_iter().map(bits).collect()
}

fn differing<'a>(a: &'a BTreeMap<String, Vec<u32>>, b: &BTreeMap<String, Vec<u32>>) -> Vec<&'a String> {
    assert!(a.keys().eq(b.keys()));
    a.keys().filter(|name| a[*name] != b[*name]).collect()
}

#[test]
fn a_run_with_dropout_goes_on_from_its_state_bit_for_bit_on_any_number_of_threads() {
    let golden = GoldenRun::read();
    for device in common::devices() {
        let mut whole = golden.learner(&device, 0.5);
        golden.step(&mut whole, 1);
        let state = WeightFile::from_tensors("memory", whole.state().unwrap());
        golden.step(&mut whole, 2);

        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let resumed = pool.install(|| {
            let mut resumed = golden.learner(&device, 0.5);
            resumed.load(&state).unwrap();
            golden.step(&mut resumed, 2);
            bits(&resumed)
        });
        let expected = bits(&whole);
        assert!(differing(&expected, &resumed).is_empty(), "{}: {:?}", device.name(), differing(&expected, &resumed));
    }
}

#[test]
fn dropout_changes_a_step_and_the_step_changes_dropout() {
    let golden = GoldenRun::read();
    let device = Device::cpu();
    let after = |dropout: f32, step: u64| {
        let mut learner = golden.learner(&device, dropout);
        let batch = golden.batch(1);
        learner.step(&batch, &update(step, 0.0)).unwrap().remove(0).finish().unwrap()[0]
    };
    assert_ne!(after(0.5, 1), after(0.0, 1));
    assert_ne!(after(0.5, 1), after(0.5, 2));
    assert_eq!(after(0.5, 2), after(0.5, 2));
}

/// A batch of one gives the innermost batch norm one value per channel, on every device exactly.
#[test]
fn the_innermost_running_variances_stay_alike_in_batches_of_one() {
    let golden = GoldenRun::read();
    for device in common::devices() {
        let mut learner = golden.learner(&device, 0.5);
        golden.step(&mut learner, 1);
        golden.step(&mut learner, 2);
        let state = WeightFile::from_tensors("memory", learner.state().unwrap());
        let var = &state.require("g.down8.bn.var").unwrap().data;
        assert!(var.iter().all(|&v| v == var[0] && v < 1.0), "{}: {var:?}", device.name());
        let others = &state.require("g.down7.bn.var").unwrap().data;
        assert!(others.iter().any(|&v| v != others[0]), "{}: {others:?}", device.name());
    }
}
