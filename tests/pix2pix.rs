//! A reduced pix2pix through the learner that `train` uses: ten golden steps, and the same bits every time.
//!
//! `tools/goldens/pix2pix.py` made the golden run in f64, and measured how far f32 drifts from it.

mod common;

use common::golden_run::{GoldenRun, goes_on_bit_for_bit, initial_weights, losses_of_step, update};
use huetape::dataset::loader::Batch;
use huetape::engine::device::Device;
use huetape::engine::nn::{OptimizerKind, Parameters, WeightFile};
use huetape::engine::ranks::Share;
use huetape::engine::tape::Keeping;
use huetape::networks::adversarial::{Adversarial, AdversarialConfig};
use huetape::networks::distance::Distances;
use huetape::networks::freeze::Freeze;
use huetape::networks::pix2pix::game::{Pix2pix, Start};
use huetape::networks::pix2pix::network as pix2pix;
use huetape::paint::painter::{Generator as _, Look, Painter as _, Trained};
use huetape::train::learner::{Learner, Update};

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

struct Golden {
    run: GoldenRun<Settings>,
    init: WeightFile,
}

impl Golden {
    fn read() -> Golden {
        Golden { run: GoldenRun::read("pix2pix"), init: initial_weights("pix2pix") }
    }

    fn learner(&self, device: &Device, dropout: f32) -> Adversarial<Pix2pix> {
        let Settings { width, lambda_l1, slope, beta1, beta2, adam_eps: eps, .. } = self.run.settings;
        let optimizer = OptimizerKind::Adam { beta1, beta2, eps };
        let learning = AdversarialConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            d_l2: 0.0,
            lr_ratio: 1.0,
            distances: Distances::default(),
            ema: None,
            freeze: Freeze::default(),
            seed: 5,
            keeping: Keeping::default(),
            training: true,
        };
        let start = Start {
            width: Some(width),
            leaky_slope: Some(slope),
            up: None,
            input_channels: Some(1),
            source_bands: None,
            lambda_l1,
            dropout,
            side: 256,
            batch: 1,
            learning,
        };
        start.learner(device, Some(&self.init)).unwrap()
    }

    /// The pictures of the formula in `tools/goldens/pix2pix.py`.
    fn batch(&self, step: u64) -> Batch {
        let size = self.run.settings.size;
        let grey = |x: usize, y: usize| (3 * x + 5 * y + 40 * step as usize + (x * y) % 31) % 256;
        let colour = |x: usize, y: usize, c: usize| (grey(x, y) / 2 + (7 - c) * x + 2 * c * y) % 256;
        let pixels = || (0..size * size).map(|i| (i % size, i / size));
        let unit = |value: usize| value as f32 / 255.0;
        Batch {
            step,
            files: Vec::new(),
            n: 1,
            size,
            halo: 0,
            source: pixels().map(|(x, y)| unit(grey(x, y))).collect(),
            target: pixels().flat_map(|(x, y)| [0, 1, 2].map(|c| unit(colour(x, y, c)))).collect(),
        }
    }

    /// What running statistics make of the first source, -1..1.
    fn picture(&self, learner: &Adversarial<Pix2pix>) -> Vec<f32> {
        let file = WeightFile::from_tensors("memory", learner.state().unwrap());
        let device = learner.painter().device();
        let network = pix2pix::Generator::of(&file).unwrap();
        let parameters = Parameters::new(device, network.param_specs(), 0, false).unwrap();
        parameters.load(&file).unwrap();
        let source = self.batch(1).source_on(device).unwrap();
        let picture = Trained { network, parameters }.paint(&source, &Look::default()).unwrap().to_vec().unwrap();
        picture.iter().map(|v| 2.0 * v - 1.0).collect()
    }
}

#[test]
fn ten_training_steps_match_the_golden_losses() {
    let golden = Golden::read();
    let lr = golden.run.settings.lr;
    // Pictures come out as 0..1: half a bit of each value, doubled.
    let rounding = 2f64.powi(-23);
    let learner = |device: &Device| golden.learner(device, 0.0);
    golden.run.check(&golden.init, learner, |k| golden.batch(k), lr, |learner| golden.picture(learner), rounding);
}

#[test]
fn a_run_with_dropout_goes_on_from_its_state_bit_for_bit_on_any_number_of_threads() {
    let golden = Golden::read();
    goes_on_bit_for_bit(|device| golden.learner(device, 0.5), |k| golden.batch(k), golden.run.settings.lr);
}

#[test]
fn dropout_changes_a_step_and_the_step_changes_dropout() {
    let golden = Golden::read();
    let device = Device::cpu();
    let after = |dropout: f32, step: u64| {
        let mut learner = golden.learner(&device, dropout);
        losses_of_step(&mut learner, &golden.batch(1), &update(step, 0.0))[0]
    };
    assert_ne!(after(0.5, 1), after(0.0, 1));
    assert_ne!(after(0.5, 1), after(0.5, 2));
    assert_eq!(after(0.5, 2), after(0.5, 2));
}

/// A batch of one gives the innermost batch norm one value per channel, on every device exactly.
#[test]
fn the_innermost_running_variances_stay_alike_in_batches_of_one() {
    let golden = Golden::read();
    let lr = golden.run.settings.lr;
    for device in common::devices() {
        let mut learner = golden.learner(&device, 0.5);
        for step in [1, 2] {
            losses_of_step(&mut learner, &golden.batch(step), &update(step, lr));
        }
        let state = WeightFile::from_tensors("memory", learner.state().unwrap());
        let var = &state.require("g.down8.bn.var").unwrap().data;
        assert!(var.iter().all(|&v| v == var[0] && v < 1.0), "{}: {var:?}", device.name());
        let others = &state.require("g.down7.bn.var").unwrap().data;
        assert!(others.iter().any(|&v| v != others[0]), "{}: {others:?}", device.name());
    }
}

/// The last quarter of a long training runs under the running statistics, which then stay: what is learned is what is
/// put to work.
#[test]
fn the_generator_learns_under_its_running_statistics_at_last() {
    let golden = Golden::read();
    let mut learner = golden.learner(&Device::cpu(), 0.5);
    let statistics = |learner: &Adversarial<Pix2pix>| {
        let mut state = learner.state().unwrap();
        state.retain(|t| t.name.starts_with("g.") && [".bn.mean", ".bn.var"].iter().any(|e| t.name.ends_with(e)));
        state.into_iter().map(|t| t.data).collect::<Vec<_>>()
    };
    let fresh = statistics(&learner);
    let update = |step, steps| Update { step, steps, lr: golden.run.settings.lr, share: Share::default() };
    learner.step(&golden.batch(1), &update(900, 1200)).unwrap();
    let moved = statistics(&learner);
    assert_ne!(fresh, moved);
    assert!(learner.calibration(900, 1200, false) > 0, "they are taken anew before they stay");
    learner.step(&golden.batch(2), &update(901, 1200)).unwrap();
    assert_eq!(moved, statistics(&learner));
    assert_eq!(learner.calibration(1200, 1200, true), 0);
    assert_eq!(learner.calibration(3, 3, true), 0);
    // A training of a few updates has no statistics to rely on.
    learner.step(&golden.batch(3), &update(3, 3)).unwrap();
    assert_ne!(moved, statistics(&learner));
}
