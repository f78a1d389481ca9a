//! Batch normalisation over all axes but the last (Ioffe, Szegedy, "Batch Normalization", 2015, algorithms 1 and 2).
//!
//! With P = N H W rows, `x̂ = (x - mean) / sqrt(variance + eps)` and `y = gamma * x̂ + beta`:
//! `dbeta = sum dy`, `dgamma = sum dy * x̂`, and `dx = gamma / sqrt(variance + eps) * (dy - (dbeta + x̂ * dgamma) /
//! P)`, without the bracket's second term where the statistics are fixed.
//!
//! What mostly follows runs in the same launches: dropout, a rectifier, and other channels beside the result (see
//! `After`). Their gradients take the side of the rectifier from x̂, which is computed again.

mod after;
mod launch;
mod op;
mod params;
mod together;
mod twin;

#[cfg(test)]
mod tests;

pub use after::{After, Rectifier};
pub use launch::KERNELS;
pub use op::{BatchNormInference, BatchNormTrain, Followed, self_test};
pub use together::BatchNormTogether;
