//! How close a predicted image is to the true one: the metrics of colourisation, on images rounded to 8 bits.
//!
//! Every figure has the same bits on any number of threads: sums are exact integers, or are added up row by row in
//! order.

mod colour;
mod image8;
mod judge;
mod measure;
mod samples;
mod ssim;
#[cfg(test)]
mod tests;

pub use colour::{AUC_REACH, Rebalance, ab_error, colourfulness};
pub use image8::Image8;
pub use judge::Judge;
pub use measure::{Better, Measure, Scores};
pub use samples::{mae, mse, nrmse, psnr, spectral_angle};
pub use ssim::ssim;
