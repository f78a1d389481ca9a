//! Runs: trainings, and trained networks with everything that their run knows.

pub mod colorizer;
#[cfg(feature = "convert")]
pub mod convert;
#[cfg(feature = "convert")]
pub mod onnx;
pub mod pack;
pub mod plan;
mod record;
#[allow(clippy::module_inception, reason = "the run itself, beside what belongs to one")]
pub mod run;
pub mod summary;
mod together;
pub mod training;
