//! Networks: one file a model.

pub mod classifier;
pub mod colournet;

/// A published channel count under a `--width` multiplier: rounded to a multiple of 4, at least 4.
pub fn scaled(channels: usize, width: f64) -> usize {
    (4.0 * (width * channels as f64 / 4.0 + 0.5).floor()).max(4.0) as usize
}
