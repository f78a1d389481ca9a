//! Training: the loop that every network shares, and what a run keeps.

pub mod about;
pub mod built_in;
pub mod checkpoint;
pub mod events;
pub mod health;
pub mod learner;
pub mod metadata;
pub mod metrics;
pub mod progress;
pub mod run_dir;
pub mod run_lock;
pub mod samples;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod validation;
pub mod workload;
