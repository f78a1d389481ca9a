//! What the classifiers share: the network over colour bins, and its training.

#[cfg(test)]
mod average_tests;
pub mod learner;
pub mod lightness;
pub mod network;
pub mod recipe;
#[cfg(test)]
mod workload_tests;
