//! One file a subcommand.

pub mod check_data;
pub mod colorize;
#[cfg(feature = "completions")]
pub mod completions;
#[cfg(feature = "convert")]
pub mod convert;
pub mod demo;
pub mod doctor;
pub mod evaluate;
pub mod inspect;
#[cfg(feature = "gpu")]
pub mod kernels;
pub mod profile;
pub mod register;
pub mod train;
#[cfg(feature = "gpu")]
pub mod tune;
pub mod weights;
