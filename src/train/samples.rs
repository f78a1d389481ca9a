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

/// Writes `samples/step-NNNNNNNN-K.png` for each batch (of one picture).
///
/// # Errors
/// A launch that fails, a disk that is full.
pub(super) fn write(dir: &RunDir, step: u64, learner: &dyn Learner, batches: &[Batch]) -> Result<()> {
    for (k, batch) in batches.iter().enumerate() {
        let side = batch.size as u32;
        let source: Vec<f32> = batch.source.iter().flat_map(|&v| [v; 3]).collect();
        let panels = [source, predict(learner, batch)?, batch.target.clone()];
        let panels: Vec<RgbImage> = panels.iter().map(|values| rgb(values, side, side)).collect::<Result<_>>()?;
        let strip = side_by_side(&panels.iter().collect::<Vec<_>>(), GAP)?;
        write_whole(&dir.sample(step, k + 1), &encode_png(&strip)?)?;
    }
    Ok(())
}

/// What the network makes of the one picture of a batch, `[S, S, 3]` 0..1.
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
