//! Networks: one file a model.

pub mod classifier;
pub mod colournet;
pub mod painter;
pub mod pix2pix;
pub mod sicgan;
pub mod window8;

use crate::error::{Error, Result};
use crate::nn::WeightFile;

/// A published channel count under a `--width` multiplier: rounded to a multiple of 4, at least 4.
pub fn scaled(channels: usize, width: f64) -> usize {
    (4.0 * (width * channels as f64 / 4.0 + 0.5).floor()).max(4.0) as usize
}

/// Channels in and out of the convolution `layer` in a weight file, read off the shape of its kernel.
///
/// # Errors
/// No such tensor, or one that is no kernel.
fn kernel_channels(file: &WeightFile, layer: &str) -> Result<[usize; 2]> {
    let weight = file.require(&format!("{layer}.weight"))?;
    match weight.shape[..] {
        [_, _, c_in, c_out] if c_in > 0 && c_out > 0 => Ok([c_in, c_out]),
        _ => Err(Error::input(
            format!("tensor {layer}.weight has shape {:?}, not [kh, kw, c_in, c_out]", weight.shape),
            file.source(),
            "use weights that huetape wrote for this model",
        )),
    }
}
