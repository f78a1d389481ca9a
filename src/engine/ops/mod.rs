//! Operations: one file an op, with its shape rule, launches, twin and gradient.
//!
//! Adding one: `kernels/x.wgsl`, `src/engine/ops/x.rs`, and its name in the lists below, which feed the walk over all
//! kernels in the tests and the self-test of `huetape doctor`.

use crate::engine::device::AnyKernel;
use crate::engine::primitives;
use crate::engine::self_test::SelfTestOf;

/// Leaky ReLU, ELU, hyperbolic tangent, sigmoid.
pub mod activation;
/// Adam over an arena of parameters.
pub mod adam;
/// Means over a given number of windows.
pub mod adaptive_avg_pool2d;
/// Product, difference and quotient of two tensors.
pub mod arithmetic;
/// Batch normalisation, in training and with fixed statistics.
pub mod batch_norm;
pub(crate) mod bilinear_tap;
/// Two tensors side by side along the channels.
pub mod concat;
/// Two-dimensional convolution with bias and activation.
pub mod conv2d;
/// Transposed convolution with bias and activation.
pub mod conv_transpose2d;
/// The learned mean of two tensors.
pub mod convex_mix;
/// The cross-entropy of a softmax over classes.
pub mod cross_entropy;
/// The dense layer.
pub mod dense;
/// Fill, copy, sum of two, scaling.
pub mod elementwise;
pub(crate) mod gemm;
#[cfg(test)]
mod limits;
/// The largest of each 2x2 window.
pub mod max_pool2d;
/// L1, squared error and binary cross-entropy, as means.
pub mod mean_loss;
/// Zeros around a picture, and parts of it.
pub mod pad;
/// Dropout, the randomised leaky ReLU, Gaussian noise.
pub mod perturb;
/// Exponential, logarithm and square.
pub mod pointwise;
/// The leaky ReLU with learned slopes.
pub mod prelu;
/// Sum, sum of squares, mean.
pub mod reduce;
/// The rectifier.
pub mod relu;
/// Gradient descent with momentum over an arena of parameters.
pub mod sgd;
/// Softmax over the last axis.
pub mod softmax;
/// Sums over some axes.
pub mod sum_axes;
/// Enlargement by linear interpolation.
pub mod upsample_bilinear;
/// Enlargement by repetition.
pub mod upsample_nearest;
pub(crate) mod vector_math;

/// Every kernel of every op.
pub fn kernels() -> Vec<&'static dyn AnyKernel> {
    [
        primitives::KERNELS,
        activation::KERNELS,
        adam::KERNELS,
        adaptive_avg_pool2d::KERNELS,
        arithmetic::KERNELS,
        batch_norm::KERNELS,
        concat::KERNELS,
        conv2d::KERNELS,
        conv_transpose2d::KERNELS,
        convex_mix::KERNELS,
        cross_entropy::KERNELS,
        dense::KERNELS,
        max_pool2d::KERNELS,
        mean_loss::KERNELS,
        pad::KERNELS,
        perturb::KERNELS,
        pointwise::KERNELS,
        prelu::KERNELS,
        reduce::KERNELS,
        relu::KERNELS,
        sgd::KERNELS,
        softmax::KERNELS,
        sum_axes::KERNELS,
        upsample_bilinear::KERNELS,
        upsample_nearest::KERNELS,
    ]
    .concat()
}

/// A small run of every op, by name: the same inputs on every device, so that devices can be compared.
pub const SELF_TESTS: &[SelfTestOf] = &[
    ("primitives", primitives::self_test),
    ("activation", activation::self_test),
    ("adam", adam::self_test),
    ("adaptive_avg_pool2d", adaptive_avg_pool2d::self_test),
    ("arithmetic", arithmetic::self_test),
    ("batch_norm", batch_norm::self_test),
    ("concat", concat::self_test),
    ("conv2d", conv2d::self_test),
    ("conv_transpose2d", conv_transpose2d::self_test),
    ("convex_mix", convex_mix::self_test),
    ("cross_entropy", cross_entropy::self_test),
    ("dense", dense::self_test),
    ("max_pool2d", max_pool2d::self_test),
    ("mean_loss", mean_loss::self_test),
    ("pad", pad::self_test),
    ("perturb", perturb::self_test),
    ("pointwise", pointwise::self_test),
    ("prelu", prelu::self_test),
    ("reduce", reduce::self_test),
    ("relu", relu::self_test),
    ("sgd", sgd::self_test),
    ("softmax", softmax::self_test),
    ("sum_axes", sum_axes::self_test),
    ("upsample_bilinear", upsample_bilinear::self_test),
    ("upsample_nearest", upsample_nearest::self_test),
];
