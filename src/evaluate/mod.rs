//! How good a network is: baselines, figures on images with known colours, the verdict.

pub mod baselines;
pub mod classes;
pub mod evaluator;
mod interval;
pub mod page;
pub mod scenes;
pub mod scoreboard;
