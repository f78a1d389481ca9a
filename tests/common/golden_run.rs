//! Ten training steps of an adversarial pair that another program has made in f64, and how far f32 may drift from them.

use super::{Tolerance, compare, devices, overruns};
use huetape::dataset::loader::Batch;
use huetape::engine::device::Device;
use huetape::engine::nn::{StateTensor, WeightFile};
use huetape::engine::ranks::Share;
use huetape::train::learner::{Learner, Update};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// Steps of a golden run.
pub const STEPS: u64 = 10;

/// `tests/goldens/NAME_steps.json`; `S` are the settings that its program ran with.
#[derive(Deserialize)]
pub struct GoldenRun<S> {
    /// What the run was set to.
    pub settings: S,
    losses: Vec<BTreeMap<String, f64>>,
    tolerances: Vec<BTreeMap<String, f64>>,
    after: BTreeMap<String, GoldenTensor>,
    picture: GoldenPicture,
}

/// A tensor after the last step.
#[derive(Deserialize)]
pub struct GoldenTensor {
    sum: f64,
    sum_gap: f64,
    /// Euclidean distance from its initial value.
    moved: f64,
}

/// What the generator makes of the first source after the last step, in units of its own.
#[derive(Deserialize)]
struct GoldenPicture {
    /// Of each channel.
    mean: Vec<f32>,
    mean_gap: f64,
}

impl<S: DeserializeOwned> GoldenRun<S> {
    /// Reads `tests/goldens/NAME_steps.json`; cargo starts tests in the repository's root.
    pub fn read(name: &str) -> Self {
        let path = format!("tests/goldens/{name}_steps.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let run: Self = serde_json::from_str(&text).unwrap();
        assert_eq!(run.losses.len() as u64, STEPS, "{path}");
        run
    }

    /// Runs the steps on every device from `init` on, and compares losses, weights and the picture. `picture` puts out
    /// what the learner's generator makes of the first source, `[N, H, W, C]` in the golden picture's units, each value
    /// known to `picture_rounding`.
    pub fn check<L: Learner>(
        &self,
        init: &WeightFile,
        learner: impl Fn(&Device) -> L,
        batch: impl Fn(u64) -> Batch,
        lr: f64,
        picture: impl Fn(&L) -> Vec<f32>,
        picture_rounding: f64,
    ) {
        let mut failures = Vec::new();
        for device in devices() {
            let (mut learner, on, device) = (learner(&device), &device, device.name());
            for (step, (expected, allowed)) in (1..).zip(self.losses.iter().zip(&self.tolerances)) {
                let losses = BTreeMap::from_iter(losses_of_step(&mut learner, &batch(step), &update(step, lr)));
                for (name, &expected) in expected {
                    let label = format!("{device}: {name} of step {step}");
                    let tolerance = Tolerance::Absolute(allowed[name]);
                    compare(&label, &[losses[name.as_str()]], &[expected as f32], tolerance, &mut failures);
                }
            }
            compare_weights(&self.after, init, &learner.state().unwrap(), &device, &mut failures);
            let means = means_by_channel(&picture(&learner), self.picture.mean.len());
            let tolerance = Tolerance::Absolute(10.0 * self.picture.mean_gap + picture_rounding);
            compare(&format!("{device}: means of the picture"), &means, &self.picture.mean, tolerance, &mut failures);
            drop(learner);
            overruns(on, &mut failures);
        }
        assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures.join("\n"));
    }
}

/// The weights that a golden run starts from.
pub fn initial_weights(name: &str) -> WeightFile {
    WeightFile::read(Path::new(&format!("tests/goldens/{name}_init.safetensors"))).unwrap()
}

/// Step number `step` of a golden run.
pub fn update(step: u64, lr: f64) -> Update {
    Update { step, steps: STEPS, lr, share: Share::default() }
}

/// One step; the losses before its update, by name.
pub fn losses_of_step(learner: &mut dyn Learner, batch: &Batch, update: &Update) -> Vec<(&'static str, f32)> {
    let reads = learner.step(batch, update).unwrap();
    let names = learner.losses().iter().map(|(name, _)| *name);
    names.zip(reads.into_iter().map(|read| read.finish().unwrap()[0])).collect()
}

/// Sums of all golden tensors after the last step, and how far they have come from `init`.
pub fn compare_weights(
    after: &BTreeMap<String, GoldenTensor>,
    init: &WeightFile,
    state: &[StateTensor],
    device: &str,
    failures: &mut Vec<String>,
) {
    let weights = state.iter().filter(|tensor| init.get(&tensor.name).is_some());
    assert_eq!(weights.count(), after.len(), "{device}: number of tensors");
    for (name, expected) in after {
        let tensor = state.iter().find(|tensor| tensor.name == *name).unwrap_or_else(|| panic!("no tensor {name}"));
        let values = || tensor.data.iter().map(|&v| f64::from(v));
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

fn means_by_channel(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = (values.len() / channels) as f64;
    let sum = |c: usize| values.iter().skip(c).step_by(channels).map(|&v| f64::from(v)).sum::<f64>();
    (0..channels).map(|c| (sum(c) / pixels) as f32).collect()
}

/// Everything that a checkpoint would hold, as bits.
pub fn bits(learner: &dyn Learner) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: StateTensor| (tensor.name, tensor.data.iter().map(|v| v.to_bits()).collect());
    learner.state().unwrap().into_iter().map(bits).collect()
}

/// Names of the tensors that differ.
pub fn differing<'a>(a: &'a BTreeMap<String, Vec<u32>>, b: &BTreeMap<String, Vec<u32>>) -> Vec<&'a String> {
    assert!(a.keys().eq(b.keys()));
    a.keys().filter(|name| a[*name] != b[*name]).collect()
}

/// Two steps in one go, and a step, the state into a new learner, and the other step on three threads: the same bits.
pub fn goes_on_bit_for_bit<L: Learner>(
    learner: impl Fn(&Device) -> L + Sync,
    batch: impl Fn(u64) -> Batch + Sync,
    lr: f64,
) {
    for device in devices() {
        let mut whole = learner(&device);
        losses_of_step(&mut whole, &batch(1), &update(1, lr));
        let state = WeightFile::from_tensors("memory", whole.state().unwrap());
        losses_of_step(&mut whole, &batch(2), &update(2, lr));

        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let resumed = pool.install(|| {
            let mut resumed = learner(&device);
            resumed.load(&state).unwrap();
            losses_of_step(&mut resumed, &batch(2), &update(2, lr));
            bits(&resumed)
        });
        let expected = bits(&whole);
        assert!(differing(&expected, &resumed).is_empty(), "{}: {:?}", device.name(), differing(&expected, &resumed));
    }
}
