//! Sample images: source, prediction and truth side by side, as the run goes.

use crate::dataset::loader::Batch;
use crate::error::Result;
use crate::imaging::codec::save::{predicted_by, save_png, to_u8};
use crate::imaging::pixels::Pixels;
use crate::imaging::quality::Image8;
use crate::paint::whole::paint;
use crate::report::strip::side_by_side;
use crate::train::learner::Learner;
use crate::train::run_dir::RunDir;
use image::RgbImage;

/// Images that a run shows.
pub(super) const PICTURES: u64 = 4;
/// Pixels between the panels of a strip.
const GAP: u32 = 4;

/// What the panels of a strip show, from left to right, for targets of `bands` bands. Images of more than three are
/// shown by their first three, and the last band of the targets, near infrared often, by itself.
pub fn panels(bands: usize) -> &'static [&'static str] {
    match bands {
        ..=3 => &["source", "predicted", "truth"],
        _ => &["source", "predicted", "truth", "predicted, last band", "truth, last band"],
    }
}

/// The panels of a strip, see [`panels`]; the images have one size.
pub fn strip_of(source: &Image8, predicted: &Image8, truth: &Image8) -> Vec<RgbImage> {
    let mut pictures = vec![source.to_rgb(), predicted.to_rgb(), truth.to_rgb()];
    if panels(truth.bands()).len() > pictures.len() {
        pictures.extend([predicted, truth].map(|picture| picture.band(truth.bands() - 1).to_rgb()));
    }
    pictures
}

/// Writes `samples/step-NNNNNNNN-K.png` for each batch (of one image).
///
/// # Errors
/// A launch that fails, a disk that is full.
pub(super) fn write(dir: &RunDir, step: u64, learner: &dyn Learner, batches: &[Batch]) -> Result<()> {
    let (source_bands, bands) = (learner.painter().source_bands(), learner.painter().bands());
    for (k, batch) in batches.iter().enumerate() {
        let picture = |values: &[f32], bands| Image8::new(batch.size, batch.size, bands, to_u8(values));
        let predicted = picture(&predict(learner, batch)?, bands)?;
        let pictures = strip_of(&picture(&batch.source, source_bands)?, &predicted, &picture(&batch.target, bands)?);
        let strip = side_by_side(&pictures.iter().collect::<Vec<_>>(), GAP)?;
        let tag = predicted_by(learner.painter().name());
        save_png(&dir.sample(step, k + 1), &strip, strip.width() as usize, strip.height() as usize, Some(&tag))?;
    }
    Ok(())
}

/// What the network makes of the one image of a batch, `[S, S, bands]` 0..1.
///
/// # Errors
/// Whatever a launch reports.
pub(crate) fn predict(learner: &dyn Learner, batch: &Batch) -> Result<Vec<f32>> {
    let painter = learner.painter();
    let source =
        Pixels { width: batch.size, height: batch.size, bands: painter.source_bands(), values: batch.source.clone() };
    Ok(paint(painter, &source, &painter.look())?.values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_has_the_panels_that_its_caption_names() {
        let picture = |bands: usize, first: u8| {
            Image8::new(1, 1, bands, (0..bands as u8).map(|band| first + band).collect()).unwrap()
        };
        for bands in [1, 3, 4, 8] {
            let strip = strip_of(&picture(1, 7), &picture(bands, 20), &picture(bands, 40));
            assert_eq!(strip.len(), panels(bands).len(), "{bands} bands");
            assert_eq!((strip[0].as_raw()[..].to_vec(), strip[1][(0, 0)][0]), (vec![7; 3], 20));
        }
        let strip = strip_of(&picture(3, 7), &picture(5, 20), &picture(5, 40));
        assert_eq!(
            (strip[2].as_raw()[..].to_vec(), strip[3][(0, 0)], strip[4][(0, 0)]),
            (vec![40, 41, 42], image::Rgb([24; 3]), image::Rgb([44; 3]))
        );
    }
}
