//! Operations on images, made as those of the engine are: colour spaces, colour bins, speckle, warping.

use crate::engine::device::AnyKernel;
use crate::engine::self_test::SelfTestOf;

/// Logits over bins to colours and their entropy, bilinear enlargement included.
pub mod annealed_mean;
/// Sobel magnitude and Laplacian of grey pictures.
pub mod edge_features;
/// sRGB to CIE Lab and back.
pub mod lab;
/// Lee's filter: speckle taken off.
pub mod lee;
/// Softmax, bilinear enlargement and class-rebalanced cross-entropy in one: the loss of the classification models.
pub mod rebalanced_cross_entropy;
/// Colours to their nearest bins, with Gaussian weights.
pub mod soft_encode;
/// Pictures through a homography.
pub mod warp;

/// Every kernel of every op.
pub fn kernels() -> Vec<&'static dyn AnyKernel> {
    [
        annealed_mean::KERNELS,
        edge_features::KERNELS,
        lab::KERNELS,
        lee::KERNELS,
        rebalanced_cross_entropy::KERNELS,
        soft_encode::KERNELS,
        warp::KERNELS,
    ]
    .concat()
}

/// A small run of every op, by name: the same inputs on every device, so that devices can be compared.
pub const SELF_TESTS: &[SelfTestOf] = &[
    ("annealed_mean", annealed_mean::self_test),
    ("edge_features", edge_features::self_test),
    ("lab", lab::self_test),
    ("lee", lee::self_test),
    ("rebalanced_cross_entropy", rebalanced_cross_entropy::self_test),
    ("soft_encode", soft_encode::self_test),
    ("warp", warp::self_test),
];
