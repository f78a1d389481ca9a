//! Operations on images, made as those of the engine are: colour spaces, colour bins, speckle, warping.

use crate::engine::device::AnyKernel;
use crate::engine::self_test::{OpEntry, op_entry};

/// Logits over bins to colours and their entropy, bilinear enlargement included.
pub mod annealed_mean;
/// Values of images of 8 bits, which go to a GPU as bytes.
pub mod bytes;
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

/// Every op.
pub const OPS: &[OpEntry] = &[
    op_entry!(annealed_mean),
    op_entry!(bytes),
    op_entry!(edge_features),
    op_entry!(lab),
    op_entry!(lee),
    op_entry!(rebalanced_cross_entropy),
    op_entry!(soft_encode),
    op_entry!(warp),
];

/// Every kernel of every op.
pub fn kernels() -> Vec<&'static dyn AnyKernel> {
    OPS.iter().flat_map(|op| op.kernels).copied().collect()
}
