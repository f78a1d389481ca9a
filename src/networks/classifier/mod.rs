//! What the classifiers share: the network over colour bins, and its training.

pub mod learner;
#[cfg(test)]
mod learner_tests;
pub mod lightness;
pub mod network;
#[cfg(test)]
mod network_tests;
#[cfg(feature = "convert")]
pub mod onnx;
mod painter;
pub mod recipe;
mod rows;
#[cfg(test)]
mod workload_tests;
