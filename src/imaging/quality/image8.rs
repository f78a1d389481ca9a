//! An image of 8-bit samples: what is measured.

use crate::error::{Error, Result};
use image::RgbImage;

/// An image of 8-bit samples; three bands are sRGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image8 {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    pub(super) samples: Vec<u8>,
}

impl Image8 {
    /// An image of samples `[height, width, bands]`.
    ///
    /// # Errors
    /// No samples, or another number than the sizes say.
    pub fn new(width: usize, height: usize, bands: usize, samples: Vec<u8>) -> Result<Self> {
        crate::ensure!(
            !samples.is_empty() && width.checked_mul(height).and_then(|n| n.checked_mul(bands)) == Some(samples.len()),
            Error::input(
                "the samples do not fill the image",
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

    /// The image as people see it: its first three bands as colours, or, where there are fewer, the first as grey.
    pub fn to_rgb(&self) -> RgbImage {
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let first = (y as usize * self.width + x as usize) * self.bands;
            let band = |k: usize| self.samples[first + if self.bands < 3 { 0 } else { k }];
            image::Rgb([band(0), band(1), band(2)])
        })
    }

    /// Both images must have the same size and bands.
    pub(super) fn check_like(&self, other: &Image8) -> Result<()> {
        let size = |image: &Image8| format!("{} x {} x {}", image.width, image.height, image.bands);
        crate::ensure!(
            (self.width, self.height, self.bands) == (other.width, other.height, other.bands),
            Error::input(
                "images that cannot be compared",
                format!("{} and {}", size(self), size(other)),
                "give two images of one size and of the same bands"
            )
        );
        Ok(())
    }
}
