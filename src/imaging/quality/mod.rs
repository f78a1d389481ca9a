//! How good a made picture is beside the true one: the metrics of colourisation, on pictures rounded to 8 bits.
//!
//! Every figure has the same bits on any number of threads: sums are exact integers, or are added up row by row in order.

mod colour;
mod measure;
mod samples;
mod ssim;

pub use colour::{AUC_REACH, Rebalance, ab_error, colourfulness};
pub use measure::{Better, Measure, Scores};
pub use samples::{mae, mse, nrmse, psnr, spectral_angle};
pub use ssim::ssim;

use crate::error::{Error, Result};
use colour::ColourErrors;
use image::RgbImage;

/// A picture of 8-bit samples; three bands are sRGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image8 {
    width: usize,
    height: usize,
    bands: usize,
    samples: Vec<u8>,
}

impl Image8 {
    /// A picture of samples `[height, width, bands]`.
    ///
    /// # Errors
    /// No samples, or another number than the sizes say.
    pub fn new(width: usize, height: usize, bands: usize, samples: Vec<u8>) -> Result<Self> {
        crate::ensure!(
            !samples.is_empty() && width.checked_mul(height).and_then(|n| n.checked_mul(bands)) == Some(samples.len()),
            Error::input(
                "the samples do not fill the picture",
                format!("{} for {width} x {height} x {bands}", samples.len()),
                "give one of 8 bits for each band of each pixel"
            )
        );
        Ok(Image8 { width, height, bands, samples })
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Samples a pixel.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// `[height, width, bands]`.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// One band (from 0) by itself.
    ///
    /// # Panics
    /// If there is no such band.
    pub fn band(&self, band: usize) -> Image8 {
        let samples = self.samples.chunks_exact(self.bands).map(|pixel| pixel[band]).collect();
        Image8 { bands: 1, samples, ..*self }
    }

    /// The picture as people see it: its first three bands as colours, or, where there are fewer, the first as grey.
    pub fn to_rgb(&self) -> RgbImage {
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let first = (y as usize * self.width + x as usize) * self.bands;
            let band = |k: usize| self.samples[first + if self.bands < 3 { 0 } else { k }];
            image::Rgb([band(0), band(1), band(2)])
        })
    }

    fn check_like(&self, other: &Image8) -> Result<()> {
        let size = |image: &Image8| format!("{} x {} x {}", image.width, image.height, image.bands);
        crate::ensure!(
            (self.width, self.height, self.bands) == (other.width, other.height, other.bands),
            Error::input(
                "pictures that cannot be compared",
                format!("{} and {}", size(self), size(other)),
                "give two pictures of one size and of the same bands"
            )
        );
        Ok(())
    }
}

/// What made pictures are held against.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// The picture as it should be.
    pub truth: &'a Image8,
    /// What the made picture would be, had the source been copied; for [`Measure::CopyRatio`].
    pub copy: Option<&'a Image8>,
    /// For [`Measure::AbAucRebalanced`].
    pub rebalance: Option<&'a Rebalance>,
}

impl Judge<'_> {
    /// Every measure that makes sense of a made picture: those of colours where it has three bands, those of spectra where it
    /// has two or more, the copy ratio where there is a copy of its bands.
    ///
    /// # Errors
    /// Pictures of different sizes or bands.
    pub fn scores(&self, made: &Image8) -> Result<Scores> {
        let mut scores = Scores::default();
        scores.set(Measure::Mse, mse(made, self.truth)?);
        scores.set(Measure::Mae, mae(made, self.truth)?);
        scores.set(Measure::Psnr, psnr(made, self.truth)?);
        scores.set(Measure::Ssim, ssim(made, self.truth)?);
        scores.set(Measure::Nrmse, nrmse(made, self.truth)?);
        if made.bands > 1 {
            scores.set(Measure::SpectralAngle, spectral_angle(made, self.truth)?);
        }
        if let Some(copy) = self.copy.filter(|copy| copy.bands == made.bands) {
            scores.set(Measure::CopyRatio, mae(made, copy)? / mae(made, self.truth)?);
        }
        if made.bands == 3 {
            let errors = ColourErrors::of(made, self.truth, self.rebalance)?;
            scores.set(Measure::DeltaE76, errors.delta_e_76);
            scores.set(Measure::DeltaE2000, errors.delta_e_2000);
            scores.set(Measure::AbError, errors.ab);
            scores.set(Measure::AbAuc, errors.auc);
            scores.set(Measure::AbAucRebalanced, errors.auc_rebalanced);
            scores.set(Measure::Colourfulness, colourfulness(made)?);
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests;
