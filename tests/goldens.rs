//! Single operations against values that TensorFlow computed in f64: `tools/goldens/ops.py` and `gan_ops.py` list the
//! cases.

mod common;

use common::{Golden, GoldenFile, Tolerance, compare};
use huetape::engine::device::Device;
use huetape::engine::op::Op;
use huetape::engine::ops::activation::Activation as Pointwise;
use huetape::engine::ops::adam::Adam;
use huetape::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use huetape::engine::ops::batch_norm::{BatchNormInference, BatchNormTrain};
use huetape::engine::ops::concat::Concat;
use huetape::engine::ops::conv_transpose2d::ConvTranspose2d;
use huetape::engine::ops::conv2d::{Activation, Conv2d, Padding};
use huetape::engine::ops::convex_mix::ConvexMix;
use huetape::engine::ops::dense::Dense;
use huetape::engine::ops::max_pool2d::MaxPool2d;
use huetape::engine::ops::mean_loss::MeanLoss;
use huetape::engine::ops::pad::ZeroPad;
use huetape::engine::ops::perturb::RRelu;
use huetape::engine::ops::prelu::PRelu;
use huetape::engine::ops::sgd::Sgd;
use huetape::engine::ops::softmax::Softmax;
use huetape::engine::ops::upsample_bilinear::UpsampleBilinear;
use huetape::engine::ops::upsample_nearest::UpsampleNearest;
use huetape::engine::tape::{Tape, Var};
use huetape::engine::tensor::Tensor;
use huetape::imaging::color::class_weights;
use huetape::imaging::ops::annealed_mean::annealed_mean;
use huetape::imaging::ops::edge_features::edge_features;
use huetape::imaging::ops::lab;
use huetape::imaging::ops::rebalanced_cross_entropy::RebalancedCrossEntropy;
use huetape::imaging::ops::soft_encode::soft_encode;

/// Sums of up to a few hundred products, each rounded once: a few dozen roundings of 2^-24 at the worst.
const USUAL: Tolerance = Tolerance::OfLargest(1e-5);

/// The cases on one device, and what was off.
struct Cases<'a> {
    golden: &'a GoldenFile,
    device: Device,
    failures: Vec<String>,
}

impl Cases<'_> {
    fn tensor(&self, name: &str) -> Tensor {
        let Golden { shape, data } = self.golden.get(name);
        Tensor::new(&self.device, shape, data).unwrap()
    }

    /// As [`Cases::tensor`], a list of pixels as a picture one pixel high.
    fn picture(&self, name: &str) -> Tensor {
        let pixels = self.tensor(name);
        let [n, channels] = pixels.shape() else { panic!("{name} is no list of pixels") };
        pixels.reshape(&[1, 1, *n, *channels]).unwrap()
    }

    fn check(&mut self, name: &str, got: &Tensor, tolerance: Tolerance) {
        self.check_values(name, &got.to_vec().unwrap(), tolerance);
    }

    fn check_values(&mut self, name: &str, got: &[f32], tolerance: Tolerance) {
        let label = format!("{}: {name}", self.device.name());
        compare(&label, got, &self.golden.get(name).data, tolerance, &mut self.failures);
    }

    /// An argument of a case; the bias of a convolution that has none is zero.
    fn input(&self, case: &str, input: &str) -> Tensor {
        let name = format!("{case}.{input}");
        if input == "b" && self.golden.find(&name).is_none() {
            let channels = self.golden.get(&format!("{case}.w")).shape[3];
            return Tensor::full(&self.device, &[channels], 0.0).unwrap();
        }
        self.tensor(&name)
    }

    /// Forward, and backward where the case has a `dy`: `y` and `dINPUT` for each of `inputs`.
    fn op(&mut self, case: &str, op: impl Op + 'static, inputs: &[&str]) {
        let tape = Tape::new();
        let leaf = |input: &&str| {
            let has_gradient = self.golden.find(&format!("{case}.d{input}")).is_some();
            let value = self.input(case, input);
            if has_gradient { tape.leaf(value) } else { tape.constant(value) }
        };
        let leaves: Vec<Var> = inputs.iter().map(leaf).collect();
        let y = tape.apply(op, &leaves.iter().collect::<Vec<_>>()).unwrap();
        self.check(&format!("{case}.y"), y.value(), USUAL);
        if self.golden.find(&format!("{case}.dy")).is_none() {
            return;
        }
        let gradients = tape.backward_from(y, self.tensor(&format!("{case}.dy"))).unwrap();
        for (input, leaf) in inputs.iter().zip(&leaves) {
            let name = format!("{case}.d{input}");
            if self.golden.find(&name).is_some() {
                self.check(&name, gradients.get(leaf).unwrap(), USUAL);
            }
        }
    }

    fn convolutions(&mut self) {
        let same = Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: Activation::None };
        let relu = Conv2d { activation: Activation::Relu, ..same };
        let all = ["x", "w", "b"];
        self.op("conv2d_same", same, &all);
        self.op("conv2d_same_relu", relu, &all);
        self.op("conv2d_stride2_even", Conv2d { stride: 2, ..relu }, &all);
        self.op("conv2d_stride2_odd", Conv2d { stride: 2, ..relu }, &all);
        self.op("conv2d_dilation2", Conv2d { dilation: 2, ..relu }, &all);
        self.op("conv2d_valid", Conv2d { padding: Padding::Valid, ..relu }, &all);
        self.op("conv2d_4x4_stride2", Conv2d { stride: 2, ..same }, &all);
        self.op("conv2d_one_channel", relu, &all);
        self.op("conv2d_1x1", same, &all);
    }

    fn gan_layers(&mut self) {
        let twice = ConvTranspose2d { stride: 2, activation: Activation::None };
        self.op("conv_transpose_4x4_stride2", twice, &["x", "w", "b"]);
        self.op("conv_transpose_4x4_no_bias", twice, &["x", "w"]);
        let relu = ConvTranspose2d { stride: 1, activation: Activation::Relu };
        self.op("conv_transpose_3x3_relu", relu, &["x", "w", "b"]);
        let valid = Conv2d { stride: 1, dilation: 1, padding: Padding::Valid, activation: Activation::None };
        self.op("conv2d_4x4_valid", valid, &["x", "w"]);
        self.op("max_pool2d", MaxPool2d, &["x"]);
        self.op("global_avg_pool", AdaptiveAvgPool2d { output: [1, 1] }, &["x"]);
        self.op("dense", Dense, &["x", "w", "b"]);
        self.op("concat", Concat, &["a", "b"]);
        self.op("zero_pad", ZeroPad::all(1), &["x"]);
        self.op("convex_mix", ConvexMix, &["x", "z", "s"]);
        let edges = edge_features(&self.tensor("edges.x")).unwrap();
        self.check("edges.y", &edges, USUAL);
    }

    fn gan_activations(&mut self) {
        self.op("leaky_relu", Pointwise::LeakyRelu { slope: 0.3 }, &["x"]);
        self.op("elu", Pointwise::Elu { alpha: 1.0 }, &["x"]);
        self.op("tanh", Pointwise::Tanh, &["x"]);
        self.op("sigmoid", Pointwise::Sigmoid, &["x"]);
        self.op("rrelu_test", RRelu { draw: None }, &["x"]);
        self.op("prelu", PRelu, &["x", "a"]);
    }

    fn gan_losses(&mut self) {
        self.op("bce_0", MeanLoss::BceWithLogits.against(0.0), &["x"]);
        self.op("bce_1", MeanLoss::BceWithLogits.against(1.0), &["x"]);
        self.op("bce_tensor", MeanLoss::BceWithLogits, &["x", "t"]);
        self.op("l1", MeanLoss::L1, &["x", "t"]);
        self.op("squared_error", MeanLoss::SquaredError, &["x", "t"]);
    }

    fn batch_norms(&mut self) {
        let (mean, var) = (self.tensor("batch_norm_train.mean"), self.tensor("batch_norm_train.var"));
        let train = BatchNormTrain {
            running_mean: mean.clone(),
            running_var: var.clone(),
            pooled: false,
            momentum: 0.99,
            eps: 1e-3,
        };
        self.op("batch_norm_train", train, &["x", "gamma", "beta"]);
        self.check("batch_norm_train.new_mean", &mean, USUAL);
        self.check("batch_norm_train.new_var", &var, USUAL);
        let (mean, var) = (self.tensor("batch_norm_infer.mean"), self.tensor("batch_norm_infer.var"));
        self.op("batch_norm_infer", BatchNormInference { mean, var, eps: 1e-3 }, &["x", "gamma", "beta"]);
    }

    fn enlargements_and_softmax(&mut self) {
        self.op("nearest", UpsampleNearest { factor: 2 }, &["x"]);
        self.op("bilinear", UpsampleBilinear { factor: 4 }, &["x"]);
        self.op("softmax", Softmax, &["x"]);
    }

    fn classification(&mut self) {
        let encoding = soft_encode(&self.tensor("encode.ab"), &self.tensor("encode.bins"), 5.0).unwrap();
        self.check("encode.index", &encoding.index, Tolerance::Absolute(0.0));
        self.check("encode.weight", &encoding.weight, USUAL);

        let weights = class_weights(&self.golden.get("weights.prior").data, 0.5).unwrap();
        // Computed in f64 and rounded once on either side.
        self.check_values("weights.w", &weights, Tolerance::OfEach(2f64.powi(-23)));

        let encoding = soft_encode(&self.tensor("loss.ab"), &self.tensor("loss.bins"), 5.0).unwrap();
        let weights = class_weights(&self.golden.get("loss.prior").data, 0.5).unwrap();
        let op = RebalancedCrossEntropy {
            index: encoding.index,
            weight: encoding.weight,
            class_weights: Tensor::new(&self.device, &[weights.len()], &weights).unwrap(),
            factor: 4,
            eps: 1e-4,
        };
        let tape = Tape::new();
        let logits = tape.leaf(self.tensor("loss.logits"));
        let loss = tape.apply(op, &[&logits]).unwrap();
        self.check("loss.loss", loss.value(), USUAL);
        let gradients = tape.backward(loss).unwrap();
        self.check("loss.dlogits", gradients.get(&logits).unwrap(), USUAL);

        let logits = self.tensor("annealed_mean.logits");
        let decoded = annealed_mean(&logits, &self.tensor("annealed_mean.bins"), 4, 0.38).unwrap();
        self.check("annealed_mean.ab", &decoded.ab, USUAL);
    }

    fn colours(&mut self) {
        // L, a and b are differences of cube roots, times up to 500: roundings of 2^-24 of 500, a few of them.
        let lab = lab::srgb_to_lab(&self.picture("lab.srgb")).unwrap();
        self.check("lab.lab", &lab, Tolerance::Absolute(4.0 * 500.0 * 2f64.powi(-24)));
        // Near black the curve's slope is 12.92, and the matrix back to RGB has coefficients up to 3.2: errors of the
        // cubes, some 2^-23, grow by both.
        let srgb = lab::lab_to_srgb(&self.picture("srgb.lab")).unwrap();
        self.check("srgb.srgb", &srgb, Tolerance::Absolute(13.0 * 3.2 * 2f64.powi(-23)));
    }

    fn optimisers(&mut self) {
        for (case, weight_decay) in [("adam", 0.0), ("adamw", 0.1)] {
            let rule = Adam { lr: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay, l2: 0.0 };
            let p = self.tensor(&format!("{case}.p0"));
            let [m, v] = [(); 2].map(|()| Tensor::full(&self.device, p.shape(), 0.0).unwrap());
            for step in 1..=3 {
                let g = self.tensor(&format!("{case}.g{step}"));
                rule.update(step, &p, &m, &v, &g, p.len()).unwrap();
                // A handful of roundings of the weight and of a step a hundredth as large.
                self.check(&format!("{case}.p{step}"), &p, Tolerance::OfLargest(1e-6));
            }
            self.check(&format!("{case}.m3"), &m, Tolerance::OfLargest(1e-6));
            // Sums of squares: every digit counts, over decades.
            self.check(&format!("{case}.v3"), &v, Tolerance::OfEach(1e-6));
        }
        let rule = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, l2: 0.0 };
        let p = self.tensor("sgd.p0");
        let v = Tensor::full(&self.device, p.shape(), 0.0).unwrap();
        for step in 1..=3 {
            rule.update(&p, &v, &self.tensor(&format!("sgd.g{step}")), p.len()).unwrap();
            self.check(&format!("sgd.p{step}"), &p, Tolerance::OfLargest(1e-6));
        }
        self.check("sgd.v3", &v, Tolerance::OfLargest(1e-6));
    }
}

/// Runs cases of a golden file on every device; every tensor of it must be read.
fn hold(file: &str, run: impl Fn(&mut Cases)) {
    let golden = GoldenFile::read(file);
    let mut failures = Vec::new();
    for device in common::devices() {
        let mut cases = Cases { golden: &golden, device, failures: Vec::new() };
        run(&mut cases);
        common::overruns(&cases.device, &mut failures);
        failures.append(&mut cases.failures);
    }
    assert!(failures.is_empty(), "{} off:\n{}", failures.len(), failures.join("\n"));
    assert!(golden.forgotten().is_empty(), "golden values that no test reads: {:?}", golden.forgotten());
}

#[test]
fn every_operation_gives_its_golden_values_and_gradients_on_every_device() {
    hold("ops.safetensors", |cases| {
        cases.convolutions();
        cases.batch_norms();
        cases.enlargements_and_softmax();
        cases.classification();
        cases.colours();
        cases.optimisers();
    });
}

#[test]
fn the_operations_of_the_gans_give_their_golden_values_and_gradients_on_every_device() {
    hold("gan_ops.safetensors", |cases| {
        cases.gan_layers();
        cases.gan_activations();
        cases.gan_losses();
    });
}
