//! Runs: trained networks with everything that their run knows.

pub mod colorizer;
pub mod summary;
