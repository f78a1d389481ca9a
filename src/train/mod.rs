//! What a training run keeps and shows: its folder, its numbers, its pictures and its report.

pub mod chart;
pub mod files;
mod html;
pub mod metrics;
pub mod progress;
pub mod quality;
pub mod report;
pub mod schedule;
pub mod strip;
