//! Operations: one file an op, with its shape rule, launches, twin and gradient.
//!
//! Adding one: `kernels/x.wgsl`, `src/engine/ops/x.rs`, and its name in the list below, which feeds the walk over all
//! kernels in the tests and the self-test of `huetape doctor`.

use crate::engine::device::AnyKernel;
use crate::engine::primitives;
use crate::engine::self_test::{OpEntry, op_entry};

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
pub(crate) mod by_halves;
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
/// Elements in half precision.
pub mod half_precision;
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
/// How fast a device multiplies and copies.
#[cfg(feature = "gpu")]
pub mod probe;
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

/// Every op.
pub const OPS: &[OpEntry] = &[
    op_entry!(primitives),
    op_entry!(activation),
    op_entry!(adam),
    op_entry!(adaptive_avg_pool2d),
    op_entry!(arithmetic),
    op_entry!(batch_norm),
    op_entry!(concat),
    op_entry!(conv2d),
    op_entry!(conv_transpose2d),
    op_entry!(convex_mix),
    op_entry!(cross_entropy),
    op_entry!(dense),
    op_entry!(half_precision),
    op_entry!(max_pool2d),
    op_entry!(mean_loss),
    op_entry!(pad),
    op_entry!(perturb),
    op_entry!(pointwise),
    op_entry!(prelu),
    #[cfg(feature = "gpu")]
    op_entry!(probe),
    op_entry!(reduce),
    op_entry!(relu),
    op_entry!(sgd),
    op_entry!(softmax),
    op_entry!(sum_axes),
    op_entry!(upsample_bilinear),
    op_entry!(upsample_nearest),
];

/// Every kernel of every op.
pub fn kernels() -> Vec<&'static dyn AnyKernel> {
    OPS.iter().flat_map(|op| op.kernels).copied().collect()
}
