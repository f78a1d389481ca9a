//! Sample pictures: source, prediction and truth side by side, as the run goes.

use super::run_dir::RunDir;
use super::session::Learner;
use super::strip::{encode_png, side_by_side};
use crate::data::{Batch, save::to_u8};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::models::painter::{Look, Pixels, paint};
use image::RgbImage;

/// Pictures that a run shows.
pub(super) const PICTURES: u64 = 4;
/// Pixels between the panels of a strip.
const GAP: u32 = 4;

/// What the panels of a strip show, from left to right, for targets of `bands` bands. Pictures of more than three are shown by
/// their first three, and the last band of the targets, near infrared often, by itself.
pub fn panels(bands: usize) -> &'static [&'static str] {
    match bands {
        ..=3 => &["source", "predicted", "truth"],
        _ => &["source", "predicted", "truth", "predicted, last band", "truth, last band"],
    }
}

/// Writes `samples/step-NNNNNNNN-K.png` for each batch (of one picture).
///
/// # Errors
/// A launch that fails, a disk that is full.
pub(super) fn write(dir: &RunDir, step: u64, learner: &dyn Learner, batches: &[Batch]) -> Result<()> {
    let (source_bands, bands) = (learner.painter().source_bands(), learner.painter().bands());
    for (k, batch) in batches.iter().enumerate() {
        let side = batch.size as u32;
        let predicted = predict(learner, batch)?;
        let mut values =
            vec![colours(&batch.source, source_bands), colours(&predicted, bands), colours(&batch.target, bands)];
        if panels(bands).len() > values.len() {
            values.extend([&predicted, &batch.target].map(|of| band_as_grey(of, bands, bands - 1)));
        }
        let panels: Vec<RgbImage> = values.iter().map(|values| rgb(values, side, side)).collect::<Result<_>>()?;
        let strip = side_by_side(&panels.iter().collect::<Vec<_>>(), GAP)?;
        write_whole(&dir.sample(step, k + 1), &encode_png(&strip)?)?;
    }
    Ok(())
}

/// Pixels of `bands` values to show: their first three, or, where there are fewer, the first as grey.
fn colours(values: &[f32], bands: usize) -> Vec<f32> {
    match bands {
        ..=2 => band_as_grey(values, bands, 0),
        _ => values.chunks_exact(bands).flat_map(|pixel| &pixel[..3]).copied().collect(),
    }
}

/// One band (from 0) of pixels of `bands` values as grey, `[.., 3]`.
pub(super) fn band_as_grey(values: &[f32], bands: usize, band: usize) -> Vec<f32> {
    values.chunks_exact(bands).flat_map(|pixel| [pixel[band]; 3]).collect()
}

/// What the network makes of the one picture of a batch, `[S, S, bands]` 0..1.
///
/// # Errors
/// Whatever a launch reports.
pub(super) fn predict(learner: &dyn Learner, batch: &Batch) -> Result<Vec<f32>> {
    let painter = learner.painter();
    let source =
        Pixels { width: batch.size, height: batch.size, bands: painter.source_bands(), values: batch.source.clone() };
    Ok(paint(painter, &source, &Look::default())?.values)
}

/// An 8-bit picture of `[height, width, 3]` values 0..1.
///
/// # Errors
/// Values of another size.
pub fn rgb(values: &[f32], width: u32, height: u32) -> Result<RgbImage> {
    RgbImage::from_raw(width, height, to_u8(values)).ok_or_else(|| {
        Error::failed("a picture has another size than its values", format!("{width}x{height}"), "report this")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_of_any_bands_become_colours() {
        assert_eq!(colours(&[0.1, 0.2], 1), [0.1, 0.1, 0.1, 0.2, 0.2, 0.2]);
        assert_eq!(colours(&[0.1, 0.9, 0.2, 0.8], 2), [0.1, 0.1, 0.1, 0.2, 0.2, 0.2]);
        let five = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
        assert_eq!(colours(&five, 5), [0.1, 0.2, 0.3, 0.6, 0.7, 0.8]);
        assert_eq!(band_as_grey(&five, 5, 4), [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]);
    }
}
