//! A reduced classifier through the learner that `train` uses: ten golden steps, and the same bits every time.
//!
//! `tools/goldens/NAME.py` made the golden run in f64, and measured how far f32 drifts from it.

use crate::common::{self, GoldenFile, Tolerance, compare};
use huetape::dataset::loader::Batch;
use huetape::engine::device::Device;
use huetape::engine::nn::{Norm, OptimizerKind, StateTensor, WeightFile};
use huetape::engine::ranks::Share;
use huetape::engine::tape::{Keeping, Tape};
use huetape::engine::tensor::Tensor;
use huetape::imaging::ops::annealed_mean::annealed_mean;
use huetape::networks::classifier::learner::{Classification, ClassificationConfig};
use huetape::networks::classifier::network::{Architecture, Classifier, bins_and_prior};
use huetape::networks::freeze::Freeze;
use huetape::paint::painter::TEMPERATURE;
use huetape::train::learner::{Learner, Update};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(serde::Deserialize)]
struct GoldenRun {
    settings: Settings,
    loss: Vec<f64>,
    loss_tolerance: Vec<f64>,
    gradient: BTreeMap<String, GoldenGradient>,
    ab_gap_f32: f64,
    after: BTreeMap<String, GoldenTensor>,
}

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default = "published")]
    width: f64,
    size: usize,
    batch: usize,
    bins: usize,
    lr: f64,
    beta1: f64,
    beta2: f64,
    adam_eps: f64,
    temperature: f32,
}

/// The width of a network that has but one.
fn published() -> f64 {
    1.0
}

#[derive(serde::Deserialize)]
struct GoldenGradient {
    gap_f32: f64,
}

/// A tensor after the last step.
#[derive(serde::Deserialize)]
struct GoldenTensor {
    sum: f64,
    sum_gap: f64,
    /// Euclidean distance from its initial value.
    moved: f64,
}

/// A golden run of one network.
pub struct Golden {
    architecture: &'static Architecture,
    run: GoldenRun,
    tensors: GoldenFile,
    init: WeightFile,
}

impl Golden {
    /// Reads `tests/goldens/NAME_*`.
    pub fn read(architecture: &'static Architecture) -> Golden {
        let name = architecture.name;
        let run = std::fs::read_to_string(format!("tests/goldens/{name}_steps.json")).unwrap();
        let init = format!("tests/goldens/{name}_init.safetensors");
        Golden {
            architecture,
            run: serde_json::from_str(&run).unwrap(),
            tensors: GoldenFile::read(&format!("{name}_batch.safetensors")),
            init: WeightFile::read(Path::new(&init)).unwrap(),
        }
    }

    fn adam(&self) -> OptimizerKind {
        let Settings { beta1, beta2, adam_eps: eps, .. } = self.run.settings;
        OptimizerKind::Adam { beta1, beta2, eps }
    }

    fn learner(&self, device: &Device, optimizer: OptimizerKind) -> Classification {
        let (bins, prior) = bins_and_prior(&self.init).unwrap();
        assert_eq!(bins.len(), self.run.settings.bins);
        let width = self.run.settings.width;
        let classifier = Classifier::new(device, self.architecture, width, &bins, prior, 0, true).unwrap();
        classifier.load(&self.init).unwrap();
        let config = ClassificationConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            lambda: 0.5,
            sigma: 5.0,
            lambda_l: 1.0,
            ema: None,
            freeze: Freeze::default(),
            keeping: Keeping::default(),
            training: true,
        };
        Classification::new(classifier, &config).unwrap()
    }

    /// Odd steps take batch 0, even ones batch 1.
    fn batch(&self, step: u64) -> Batch {
        let number = (step - 1) % 2;
        Batch {
            step,
            files: Vec::new(),
            n: self.run.settings.batch,
            size: self.run.settings.size,
            halo: 0,
            source: self.tensors.get(&format!("source{number}")).data.clone(),
            target: self.tensors.get(&format!("target{number}")).data.clone(),
        }
    }

    /// One step; the loss before its update.
    fn step(&self, learner: &mut Classification, step: u64, lr: f64) -> f32 {
        learner
            .step(&self.batch(step), &Update { step, steps: 10, lr, share: Share::default() })
            .unwrap()
            .remove(0)
            .finish()
            .unwrap()[0]
    }
}

/// Ten steps, the weights after them and a picture that they decode match the golden ones.
pub fn ten_training_steps_match_the_golden_losses(golden: &Golden) {
    let mut failures = Vec::new();
    for device in common::devices() {
        let mut learner = golden.learner(&device, golden.adam());
        for (k, (&expected, &allowed)) in golden.run.loss.iter().zip(&golden.run.loss_tolerance).enumerate() {
            let loss = golden.step(&mut learner, k as u64 + 1, golden.run.settings.lr);
            let label = format!("{}: loss of step {}", device.name(), k + 1);
            compare(&label, &[loss], &[expected as f32], Tolerance::Absolute(allowed), &mut failures);
        }
        compare_weights(golden, &learner, &device.name(), &mut failures);
        compare_decoded(golden, &learner, &device, &mut failures);
        drop(learner);
        common::overruns(&device, &mut failures);
    }
    assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures.join("\n"));
}

/// Sums of all tensors after the last step, and how far they have come.
fn compare_weights(golden: &Golden, learner: &Classification, device: &str, failures: &mut Vec<String>) {
    let state = learner.classifier().parameters.state().unwrap();
    assert_eq!(state.len(), golden.run.after.len(), "number of tensors");
    for StateTensor { name, data, .. } in state {
        let expected = &golden.run.after[&name];
        let values = || data.iter().map(|&v| f64::from(v));
        let start = golden.init.get(&name).unwrap().data.iter().map(|&v| f64::from(v));
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

/// The picture that the trained network decodes batch 0 to, by its running statistics.
fn compare_decoded(golden: &Golden, learner: &Classification, device: &Device, failures: &mut Vec<String>) {
    assert_eq!(golden.run.settings.temperature, TEMPERATURE);
    let source = golden.tensors.get("source0");
    let grey = Tensor::new(device, &source.shape, &source.data).unwrap();
    let classifier = learner.classifier();
    let logits = classifier.logits(&Tape::inference(), &grey, Norm::Running).unwrap();
    let upsample = golden.architecture.upsample;
    let ab = annealed_mean(logits.value(), &classifier.bins, upsample, TEMPERATURE).unwrap().ab;
    let tolerance = Tolerance::Absolute(10.0 * golden.run.ab_gap_f32);
    let label = format!("{}: decoded ab", device.name());
    compare(&label, &ab.to_vec().unwrap(), &golden.tensors.get("ab").data, tolerance, failures);
}

/// The gradients of the first step are the golden ones.
pub fn the_gradients_of_the_first_step_are_the_golden_ones(golden: &Golden) {
    let mut failures = Vec::new();
    for device in common::devices() {
        // After one step of plain descent the velocity is the gradient.
        let mut learner = golden.learner(&device, OptimizerKind::Sgd { momentum: 0.0 });
        golden.step(&mut learner, 1, golden.run.settings.lr);
        let state = WeightFile::from_tensors("memory", learner.state().unwrap());
        for (name, expected) in &golden.run.gradient {
            let label = format!("{}: gradient of {name}", device.name());
            let got = &state.require(&format!("sgd.v.{name}")).unwrap().data;
            let tolerance = Tolerance::Absolute(10.0 * expected.gap_f32);
            compare(&label, got, &golden.tensors.get(&format!("grad.{name}")).data, tolerance, &mut failures);
        }
    }
    assert_eq!(golden.tensors.names("grad.").count(), golden.run.gradient.len());
    assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures.join("\n"));
}

/// Everything that a checkpoint would hold after three steps, as bits.
fn three_steps(golden: &Golden, device: &Device) -> BTreeMap<String, Vec<u32>> {
    let mut learner = golden.learner(device, golden.adam());
    let losses = (1..=3).map(|step| golden.step(&mut learner, step, golden.run.settings.lr).to_bits()).collect();
    let bits = |tensor: StateTensor| (tensor.name, tensor.data.iter().map(|v| v.to_bits()).collect());
    let state: BTreeMap<String, Vec<u32>> = learner.state().unwrap().into_iter().map(bits).collect();
    state.into_iter().chain([("losses".to_owned(), losses)]).collect()
}

/// Names of the tensors that differ.
fn differing<'a>(a: &'a BTreeMap<String, Vec<u32>>, b: &BTreeMap<String, Vec<u32>>) -> Vec<&'a String> {
    assert!(a.keys().eq(b.keys()));
    a.keys().filter(|name| a[*name] != b[*name]).collect()
}

/// The same steps give the same bits on every device again.
pub fn the_same_steps_give_the_same_bits_on_every_device_again(golden: &Golden) {
    for device in common::devices() {
        let (first, second) = (three_steps(golden, &device), three_steps(golden, &device));
        assert!(differing(&first, &second).is_empty(), "{}: {:?}", device.name(), differing(&first, &second));
    }
}

/// The bits do not depend on the number of threads.
pub fn the_bits_do_not_depend_on_the_number_of_threads(golden: &Golden) {
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| three_steps(golden, &Device::cpu()))
    });
    assert!(differing(&one, &three).is_empty(), "{:?}", differing(&one, &three));
}
