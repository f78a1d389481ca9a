//! Two-dimensional convolution with bias and activation, and its gradients: implicit matrix products over NHWC.
//!
//! On a GPU each product is tiled (`kernels/conv2d.wgsl`, `conv2d_dx.wgsl`, `conv2d_dw.wgsl`), or goes through
//! Winograd's filtering (`conv2d_winograd.wgsl`, `conv2d_dw_winograd.wgsl`); the twins gather blocks of pixels for
//! matrix products, or use that filtering where it is faster.

mod admission;
mod builder;
mod correlation;
#[cfg(feature = "gpu")]
mod filtering;
mod finish;
mod geometry;
mod launch;
#[cfg(not(feature = "gpu"))]
mod no_filtering;
mod op;
mod params;
mod products;
mod transpose;
mod twin;
mod winograd;

#[cfg(test)]
mod coop_tests;
#[cfg(test)]
mod tests;

#[cfg(not(feature = "gpu"))]
use no_filtering as filtering;

pub(crate) use geometry::Layout;
pub use geometry::{Activation, Geometry, Padding};
pub use launch::KERNELS;
pub(crate) use launch::{bias_gradient, forward, input_gradient, weight_gradient};
pub use op::{Conv2d, self_test};
pub(crate) use op::{before_activation, check_bias, with_bias};
