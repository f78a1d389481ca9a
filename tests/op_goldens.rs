//! Single operations against values computed in f64 by TensorFlow: `tests/goldens/ops.safetensors`, made by
//! `tools/goldens/ops.py`, which says what each case holds.

use huetape::device::{Device, DeviceChoice};
use huetape::ops::adam::Adam;
use huetape::ops::batch_norm::{BatchNormInference, BatchNormTrain};
use huetape::ops::sgd::Sgd;
use huetape::ops::softmax::Softmax;
use huetape::ops::upsample_bilinear::UpsampleBilinear;
use huetape::ops::upsample_nearest::UpsampleNearest;
use huetape::ops::{Op, lab};
use huetape::tape::Tape;
use huetape::tensor::Tensor;
use safetensors::SafeTensors;

/// The share of the largest value of a tensor that f32 may be off by: a few dozen roundings.
const TOLERANCE: f32 = 1e-5;

/// The golden values on one device.
struct Goldens {
    device: Device,
    bytes: Vec<u8>,
}

impl Goldens {
    /// One for each device there is. With `HUETAPE_REQUIRE_GPU=1` a missing GPU fails.
    fn on_each_device() -> Vec<Goldens> {
        let gpu = Device::open(&DeviceChoice::Gpu);
        if let Err(error) = &gpu {
            assert!(!std::env::var("HUETAPE_REQUIRE_GPU").is_ok_and(|v| v == "1"), "{error}");
            eprintln!("GPU tests did not run: {error}");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/ops.safetensors");
        let devices = std::iter::once(Device::cpu()).chain(gpu.ok());
        devices.map(|device| Goldens { device, bytes: std::fs::read(path).unwrap() }).collect()
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Tensor::new(&self.device, view.shape(), &values).unwrap()
    }

    /// Holds `got` to the golden `name`, within `tolerance` of its largest value.
    fn compare_within(&self, tolerance: f32, name: &str, got: &Tensor) {
        let expected = self.tensor(name);
        assert_eq!(got.shape(), expected.shape(), "{name}");
        let (got, expected) = (got.to_vec().unwrap(), expected.to_vec().unwrap());
        let allowed = tolerance * expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let off = (got - expected).abs();
            assert!(off <= allowed, "{}: {name}[{i}] is {got}, not {expected}", self.device.name());
        }
    }

    fn compare(&self, name: &str, got: &Tensor) {
        self.compare_within(TOLERANCE, name, got);
    }

    /// Runs `op` on the tensors `case.input` and holds its output and gradients to `case.y` and `case.d<input>`.
    fn check_op(&self, case: &str, op: impl Op + 'static, inputs: &[&str]) {
        let tape = Tape::new();
        let leaves: Vec<_> = inputs.iter().map(|input| tape.leaf(self.tensor(&format!("{case}.{input}")))).collect();
        let y = tape.apply(op, &leaves.iter().collect::<Vec<_>>()).unwrap();
        self.compare(&format!("{case}.y"), y.value());
        let gradients = tape.backward_from(y, self.tensor(&format!("{case}.dy"))).unwrap();
        for (leaf, input) in leaves.iter().zip(inputs) {
            self.compare(&format!("{case}.d{input}"), gradients.get(leaf).unwrap());
        }
    }
}

#[test]
fn batch_norm_in_training_and_its_running_statistics() {
    for goldens in Goldens::on_each_device() {
        let (mean, var) = (goldens.tensor("batch_norm_train.mean"), goldens.tensor("batch_norm_train.var"));
        let op = BatchNormTrain { running_mean: mean.clone(), running_var: var.clone(), momentum: 0.99, eps: 1e-3 };
        goldens.check_op("batch_norm_train", op, &["x", "gamma", "beta"]);
        goldens.compare("batch_norm_train.new_mean", &mean);
        goldens.compare("batch_norm_train.new_var", &var);
    }
}

#[test]
fn batch_norm_by_running_statistics() {
    for goldens in Goldens::on_each_device() {
        let [x, gamma, beta, mean, var] =
            ["x", "gamma", "beta", "mean", "var"].map(|name| goldens.tensor(&format!("batch_norm_infer.{name}")));
        let op = BatchNormInference { mean, var, eps: 1e-3 };
        goldens.compare("batch_norm_infer.y", &op.forward(&[&x, &gamma, &beta]).unwrap().y);
    }
}

#[test]
fn enlargement_and_softmax() {
    for goldens in Goldens::on_each_device() {
        goldens.check_op("nearest", UpsampleNearest { factor: 2 }, &["x"]);
        goldens.check_op("bilinear", UpsampleBilinear { factor: 4 }, &["x"]);
        goldens.check_op("softmax", Softmax, &["x"]);
    }
}

#[test]
fn lab_and_back() {
    for goldens in Goldens::on_each_device() {
        // a is 500 times a difference of cube roots near 1, which a GPU's pow has to some 2^-19: 0.002 of 100.
        goldens.compare_within(2e-5, "lab.lab", &lab::srgb_to_lab(&goldens.tensor("lab.srgb")).unwrap());
        goldens.compare_within(2e-5, "srgb.srgb", &lab::lab_to_srgb(&goldens.tensor("srgb.lab")).unwrap());
    }
}

#[test]
fn three_steps_of_adam_with_and_without_decay() {
    for goldens in Goldens::on_each_device() {
        for (case, weight_decay) in [("adam", 0.0), ("adamw", 0.1)] {
            let adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay, l2: 0.0 };
            let p = goldens.tensor(&format!("{case}.p0"));
            let [m, v] = [0.0; 2].map(|zero| Tensor::full(&goldens.device, p.shape(), zero).unwrap());
            for step in 1..=3 {
                let g = goldens.tensor(&format!("{case}.g{step}"));
                adam.update(step, &p, &m, &v, &g, p.len()).unwrap();
                goldens.compare(&format!("{case}.p{step}"), &p);
            }
            goldens.compare(&format!("{case}.m3"), &m);
            goldens.compare(&format!("{case}.v3"), &v);
        }
    }
}

#[test]
fn three_steps_of_gradient_descent_with_momentum() {
    for goldens in Goldens::on_each_device() {
        let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, l2: 0.0 };
        let p = goldens.tensor("sgd.p0");
        let v = Tensor::full(&goldens.device, p.shape(), 0.0).unwrap();
        for step in 1..=3 {
            sgd.update(&p, &v, &goldens.tensor(&format!("sgd.g{step}")), 0).unwrap();
            goldens.compare(&format!("sgd.p{step}"), &p);
        }
        goldens.compare("sgd.v3", &v);
    }
}
