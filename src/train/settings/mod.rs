//! The settings of a training: one table, from which flags, help, keys of a TOML file, checks and the rule for resuming
//! follow.

pub(crate) mod checks;
pub mod data;
pub mod rules;
pub mod setting;
pub mod table;
pub mod value;
