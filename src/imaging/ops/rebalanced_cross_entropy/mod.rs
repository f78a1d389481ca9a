//! The training loss of the classification models: softmax, bilinear enlargement and class-rebalanced cross-entropy in
//! one.

mod launch;
mod op;

#[cfg(test)]
mod tests;

pub use launch::KERNELS;
pub use op::{RebalancedCrossEntropy, self_test};
