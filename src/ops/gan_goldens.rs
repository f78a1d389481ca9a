//! The GANs' operations against TensorFlow: `tests/goldens/gan_ops.safetensors`, made by `tools/goldens/gan_ops.py`.

use super::activation::Activation;
use super::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use super::check::devices;
use super::concat::Concat;
use super::conv_transpose2d::ConvTranspose2d;
use super::conv2d::{Activation as Fused, Conv2d, Padding};
use super::convex_mix::ConvexMix;
use super::dense::Dense;
use super::edge_features::edge_features;
use super::max_pool2d::MaxPool2d;
use super::mean_loss::MeanLoss;
use super::pad::ZeroPad;
use super::perturb::RRelu;
use super::prelu::PRelu;
use super::{Backward, Op};
use crate::device::Device;
use crate::tensor::Tensor;
use safetensors::SafeTensors;

/// A share of the largest value: a few dozen roundings of f32, where TensorFlow computed in f64.
const TOLERANCE: f32 = 2e-6;

struct Golden<'a> {
    file: &'a SafeTensors<'a>,
    case: &'a str,
    device: &'a Device,
}

impl Golden<'_> {
    fn tensor(&self, argument: &str) -> Tensor {
        let view = self.file.tensor(&format!("{}.{argument}", self.case)).unwrap();
        let data: Vec<f32> = view.data().chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect();
        Tensor::new(self.device, view.shape(), &data).unwrap()
    }

    fn compare(&self, argument: &str, got: &Tensor) {
        let (got, expected) = (got.to_vec().unwrap(), self.tensor(argument).to_vec().unwrap());
        assert_eq!(got.len(), expected.len(), "{}.{argument}", self.case);
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let place = format!("{}: {}.{argument}[{i}]", self.device.name(), self.case);
            assert!((got - expected).abs() <= TOLERANCE * largest, "{place} = {got}, not {expected}");
        }
    }
}

/// Output and gradients of `op`. `arguments` are the names of its inputs in order, and whether each has a gradient.
fn check(case: &str, op: &dyn Op, arguments: &[(&str, bool)]) {
    let bytes = std::fs::read("tests/goldens/gan_ops.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for device in devices() {
        let golden = Golden { file: &file, case, device: &device };
        let inputs: Vec<Tensor> = arguments.iter().map(|(name, _)| golden.tensor(name)).collect();
        let forward = op.forward(&inputs.iter().collect::<Vec<_>>()).unwrap();
        golden.compare("y", &forward.y);
        let needs: Vec<bool> = arguments.iter().map(|(_, needed)| *needed).collect();
        let dy = golden.tensor("dy");
        let mut backward = Backward::new(&dy, &forward.saved, &needs, vec![None; needs.len()]);
        op.backward(&mut backward).unwrap();
        for ((name, needed), grad) in arguments.iter().zip(backward.into_grads()) {
            if *needed {
                golden.compare(&format!("d{name}"), &grad.unwrap());
            }
        }
    }
}

const X: (&str, bool) = ("x", true);
const W: (&str, bool) = ("w", true);
const B: (&str, bool) = ("b", true);
const TARGET: (&str, bool) = ("t", false);

#[test]
fn transposed_convolutions_are_aligned_as_keras_has_them() {
    let plain = ConvTranspose2d { stride: 2, activation: Fused::None };
    check("conv_transpose_4x4_stride2", &plain, &[X, W, B]);
    check("conv_transpose_4x4_no_bias", &plain, &[X, W]);
    check("conv_transpose_3x3_relu", &ConvTranspose2d { stride: 1, activation: Fused::Relu }, &[X, W, B]);
}

#[test]
fn layers_are_those_of_tensorflow() {
    let valid = Conv2d { stride: 1, dilation: 1, padding: Padding::Valid, activation: Fused::None };
    check("conv2d_4x4_valid", &valid, &[X, W]);
    check("max_pool2d", &MaxPool2d, &[X]);
    check("global_avg_pool", &AdaptiveAvgPool2d { output: [1, 1] }, &[X]);
    check("dense", &Dense, &[X, W, B]);
    check("concat", &Concat, &[("a", true), B]);
    check("zero_pad", &ZeroPad::all(1), &[X]);
    check("convex_mix", &ConvexMix, &[X, ("z", true), ("s", true)]);
}

#[test]
fn activations_are_those_of_tensorflow() {
    check("leaky_relu", &Activation::LeakyRelu { slope: 0.3 }, &[X]);
    check("elu", &Activation::Elu { alpha: 1.0 }, &[X]);
    check("tanh", &Activation::Tanh, &[X]);
    check("sigmoid", &Activation::Sigmoid, &[X]);
    check("rrelu_test", &RRelu { draw: None }, &[X]);
    check("prelu", &PRelu, &[X, ("a", true)]);
}

#[test]
fn losses_are_those_of_tensorflow() {
    check("bce_0", &MeanLoss::BceWithLogits.against(0.0), &[X]);
    check("bce_1", &MeanLoss::BceWithLogits.against(1.0), &[X]);
    check("bce_tensor", &MeanLoss::BceWithLogits, &[X, TARGET]);
    check("l1", &MeanLoss::L1, &[X, TARGET]);
    check("squared_error", &MeanLoss::SquaredError, &[X, TARGET]);
}

#[test]
fn edges_are_those_of_tensorflow() {
    let bytes = std::fs::read("tests/goldens/gan_ops.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for device in devices() {
        let golden = Golden { file: &file, case: "edges", device: &device };
        golden.compare("y", &edge_features(&golden.tensor("x")).unwrap());
    }
}
