//! Winograd's minimal filtering on 6x6 tiles: 36 multiplications for 16 outputs of a 3x3 kernel, not 144.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of m x m outputs of
//! an r x r kernel, m + r = 7, is `A^T ((G w G^T) * (B^T d B)) A` of its 6x6 inputs d; summed over channels, each of
//! the 36 products becomes a matrix product of tiles x channels by channels x outputs. The points of interpolation are
//! 0, 1, -1, 2, -2 and infinity for every r, and so is B.
//!
//! A dilation of d is d x d interleaved grids of dilation 1. A stride of 2 takes a 4x4 kernel apart into the 2x2
//! kernels of four grids of input pixels, each with the channels: four times the channels, and a stride of 1. Its
//! input gradient makes four grids of pixels.
//!
//! Rounding grows with the constants of the transforms, to some 4e-6 of the largest value of a tile. Tiles in which
//! that would be seen in outputs which do not read the value, or that hold a NaN or an infinity, are filtered directly
//! (`outliers`).

mod gradient;
mod outliers;
mod run;
mod tiles;
mod transform;
mod weights;

#[cfg(test)]
mod tests;

#[cfg(feature = "gpu")]
pub use tiles::POINTS;
pub use tiles::Winograd;
