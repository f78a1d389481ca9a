//! A narrow SICGAN through the learner that `train` uses: ten golden steps, and the same bits every time.
//!
//! `tools/goldens/sicgan.py` made the golden runs in f64, and measured how far f32 drifts from them.

mod common;

use common::golden_run::{GoldenRun, goes_on_bit_for_bit, initial_weights, losses_of_step, update};
use common::{GoldenFile, Tolerance, compare};
use huetape::dataset::loader::Batch;
use huetape::engine::device::Device;
use huetape::engine::nn::{OptimizerKind, Parameters, WeightFile};
use huetape::engine::tape::{Keeping, Tape};
use huetape::imaging::color::srgb_to_lab;
use huetape::networks::adversarial::{Adversarial, AdversarialConfig};
use huetape::networks::distance::Distances;
use huetape::networks::freeze::Freeze;
use huetape::networks::sicgan::game::{Noise, Sicgan, Start};
use huetape::networks::sicgan::network::Generator;
use huetape::paint::painter::Generator as _;
use huetape::train::learner::Learner;

const SILENT: Noise = Noise { sigma: 0.0, label: 0.0 };

#[derive(serde::Deserialize)]
struct Settings {
    width: f64,
    size: usize,
    batch: usize,
    lambda_l1: f32,
    lr_g: f64,
    lr_d: f64,
    beta1: f64,
    beta2: f64,
    adam_eps: f64,
}

struct Golden {
    run: GoldenRun<Settings>,
    init: WeightFile,
    pictures: GoldenFile,
}

impl Golden {
    fn read(name: &str) -> Golden {
        Golden {
            run: GoldenRun::read(name),
            init: initial_weights("sicgan"),
            pictures: GoldenFile::read("sicgan_batch.safetensors"),
        }
    }

    fn learner(&self, device: &Device, noise: Noise) -> Adversarial<Sicgan> {
        let Settings { width, size, lambda_l1, lr_g, lr_d, beta1, beta2, adam_eps: eps, .. } = self.run.settings;
        let optimizer = OptimizerKind::Adam { beta1, beta2, eps };
        let lr_ratio = lr_d / lr_g;
        let learning = AdversarialConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            d_l2: 0.0,
            lr_ratio,
            distances: Distances::default(),
            ema: None,
            freeze: Freeze::default(),
            seed: 5,
            keeping: Keeping::default(),
            training: true,
        };
        let start = Start { width: Some(width), patch: size, lambda_l1, noise, learning };
        start.learner(device, Some(&self.init)).unwrap()
    }

    /// Odd steps take picture 0, even ones picture 1, each with a pixel around the patch.
    fn batch(&self, step: u64) -> Batch {
        let Settings { batch: n, size, .. } = self.run.settings;
        let picture = self.pictures.get(&format!("picture{}", (step - 1) % 2)).data.as_chunks::<3>().0;
        let side = size + 2;
        let inner = |i: usize| (1..=size).contains(&(i % side)) && (1..=size).contains(&(i / side % side));
        let target = picture.iter().enumerate().filter(|(i, _)| inner(*i));
        Batch {
            step,
            files: Vec::new(),
            n,
            size,
            halo: 1,
            source: picture.iter().map(|rgb| srgb_to_lab(*rgb)[0] / 100.0).collect(),
            target: target.flat_map(|(_, rgb)| *rgb).collect(),
        }
    }

    fn generator(&self) -> Generator {
        Generator::new(self.run.settings.width, self.run.settings.size)
    }

    /// What the generator makes of the first batch, ab / 110.
    fn picture(&self, learner: &Adversarial<Sicgan>) -> Vec<f32> {
        let (generator, device) = (self.generator(), learner.painter().device());
        let parameters = Parameters::new(device, generator.param_specs(), 0, false).unwrap();
        parameters.load(&WeightFile::from_tensors("memory", learner.state().unwrap())).unwrap();
        let tape = Tape::inference();
        let source = generator.features(&self.batch(1).source_on(device).unwrap()).unwrap();
        generator.forward(&parameters.bind(&tape, false), &tape.constant(source)).unwrap().value().to_vec().unwrap()
    }
}

#[test]
fn ten_training_steps_match_the_golden_losses_with_and_without_an_l1_term() {
    for name in ["sicgan", "sicgan_l1"] {
        let golden = Golden::read(name);
        let lr = golden.run.settings.lr_g;
        let learner = |device: &Device| golden.learner(device, SILENT);
        // Half a bit of a value below 1.
        let rounding = 2f64.powi(-25);
        golden.run.check(&golden.init, learner, |k| golden.batch(k), lr, |learner| golden.picture(learner), rounding);
    }
}

#[test]
fn features_are_the_golden_ones() {
    let golden = Golden::read("sicgan");
    let mut failures = Vec::new();
    for device in common::devices() {
        for step in [1, 2] {
            let features = golden.generator().features(&golden.batch(step).source_on(&device).unwrap()).unwrap();
            let expected = golden.pictures.get(&format!("features{}", step - 1));
            assert_eq!(features.shape(), expected.shape);
            // L / 100 comes out of a cube root of f32 as good as 2^-22, and Sobel adds up eight of them on each axis.
            let tolerance = Tolerance::Absolute(8.0 * 2f64.powi(-22));
            let label = format!("{}: features of step {step}", device.name());
            compare(&label, &features.to_vec().unwrap(), &expected.data, tolerance, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_run_with_noise_goes_on_from_its_state_bit_for_bit_on_any_number_of_threads() {
    let golden = Golden::read("sicgan_l1");
    let learner = |device: &Device| golden.learner(device, Noise::default());
    goes_on_bit_for_bit(learner, |k| golden.batch(k), golden.run.settings.lr_g);
}

#[test]
fn noise_on_pictures_and_labels_changes_a_step_and_the_step_changes_the_noise() {
    let golden = Golden::read("sicgan");
    let device = Device::cpu();
    let d_loss = |noise: Noise, step: u64| {
        let mut learner = golden.learner(&device, noise);
        losses_of_step(&mut learner, &golden.batch(1), &update(step, 0.0))[1]
    };
    for noise in [Noise { label: 0.0, ..Noise::default() }, Noise { sigma: 0.0, ..Noise::default() }] {
        assert_ne!(d_loss(noise, 1), d_loss(SILENT, 1));
        assert_ne!(d_loss(noise, 1), d_loss(noise, 2));
        assert_eq!(d_loss(noise, 2), d_loss(noise, 2));
    }
}
