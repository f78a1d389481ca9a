//! The engine: devices, tensors, operations with gradients, parameters. It knows no image and can be used alone.

pub(crate) mod blocks;
pub mod device;
mod kept;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod nn;
pub mod op;
pub mod ops;
pub mod primitives;
pub mod ranks;
pub(crate) mod seeded;
pub mod self_test;
pub mod tape;
pub mod tensor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod walk;
