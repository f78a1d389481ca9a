//! Runs: trainings, and trained networks with everything that their run knows.

pub mod colorizer;
pub mod input;
pub mod plan;
pub mod summary;
pub mod training;
