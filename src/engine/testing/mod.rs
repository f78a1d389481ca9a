//! The test harness of the ops, for ops of other crates too: a [`Check`] runs an op forward and backward on the CPU
//! and, where there is one, on a GPU, and holds the output to a plain f64 function and the gradients to finite
//! differences of it.
//!
//! It is there with the cargo feature `testing`, which a crate has among its `dev-dependencies`:
//!
//! ```toml
//! [dev-dependencies]
//! huetape = { version = "0.1", features = ["testing"] }
//! ```
//!
//! A test of an op is then one statement, and a mistake on either device, in the output or in a gradient, fails it:
//!
//! ```
//! use huetape::engine::op::{Backward, Forward, Op};
//! use huetape::engine::primitives::axpby;
//! use huetape::engine::tensor::Tensor;
//! use huetape::engine::testing::Check;
//!
//! /// `y = 2 a + b`, of a kernel that the crate has; `examples/custom_op.rs` brings one of its own.
//! struct TwicePlus;
//!
//! impl Op for TwicePlus {
//!     fn forward(&self, inputs: &[&Tensor]) -> huetape::Result<Forward> {
//!         let y = Tensor::empty(inputs[0].device(), inputs[0].shape())?;
//!         axpby(2.0, inputs[0], 1.0, inputs[1], &y)?;
//!         Ok(Forward { y, saved: vec![] })
//!     }
//!
//!     fn backward(&self, grad: &mut Backward<'_>) -> huetape::Result<()> {
//!         for (i, factor) in [(0, 2.0), (1, 1.0)] {
//!             if grad.needs(i) {
//!                 let slot = grad.out(i, grad.dy.shape())?;
//!                 axpby(factor, grad.dy, 0.0, grad.dy, &slot)?;
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // Inputs of these shapes hold standard normal values, the same on each run.
//! Check::new(&[&[3, 257], &[3, 257]])
//!     .reference(|x| x[0].iter().zip(&x[1]).map(|(a, b)| 2.0 * a + b).collect())
//!     .run(&TwicePlus);
//! ```
//!
//! [`devices`] are those that a check runs on, for tests of other kinds; [`seeded`] values and the outputs of
//! [`run_op`] are what a comparison of two devices is made of, see [`self_test`](crate::engine::self_test).
//! [`together`] plays several processes by threads.

pub(crate) mod check;
mod group;

pub use crate::engine::self_test::{run_op, seeded};
pub use check::{Check, Tolerance, devices};
pub use group::together;
