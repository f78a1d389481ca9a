//! Training: the loop that every model shares, what a run keeps and what it shows.

pub mod adversarial;
pub mod baselines;
pub mod chart;
pub mod checkpoint;
pub mod classification;
pub mod evaluation;
pub mod health;
mod html;
pub mod metrics;
pub mod progress;
pub mod report;
pub mod run_dir;
pub mod samples;
pub mod schedule;
pub mod session;
pub mod strip;
pub mod summary;
pub mod workload;
