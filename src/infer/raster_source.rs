//! A raster as a scene to paint.

use super::scene::{Part, Source};
use crate::data::raster::{Raster, Scale, Stretch};
use crate::data::{Area, Depth, Picture, PictureInfo, Reading, Samples};
use crate::error::Result;
use crate::models::painter::Pixels;

/// A raster, read by windows.
pub struct RasterSource {
    raster: Raster,
    reading: Reading,
    bands: Vec<usize>,
    scales: Vec<Scale>,
}

impl RasterSource {
    /// A raster by what a network reads of it.
    ///
    /// # Errors
    /// Bands that are not there.
    pub fn new(raster: Raster, reading: Reading) -> Result<Self> {
        let info = raster.info();
        let bands: Vec<usize> = (1..=info.bands).filter(|band| info.alpha != Some(*band)).collect();
        let picture = PictureInfo { width: info.width, height: info.height, bands: bands.len(), depth: Depth::F32 };
        reading.check(&picture, raster.path())?;
        let scales = Stretch::None.fit(&raster, &bands)?;
        Ok(RasterSource { raster, reading, bands, scales })
    }

    /// The raster.
    pub fn raster(&self) -> &Raster {
        &self.raster
    }
}

impl Source for RasterSource {
    fn size(&self) -> [usize; 2] {
        [self.raster.info().width, self.raster.info().height]
    }

    fn read(&self, area: Area) -> Result<Part> {
        let window = self.raster.read_window(area, &self.bands)?;
        let mut samples = window.samples;
        for (pixel, valid) in samples.chunks_exact_mut(self.bands.len()).zip(&window.valid) {
            for (sample, scale) in pixel.iter_mut().zip(&self.scales) {
                *sample = if *valid { scale.apply(*sample) } else { 0.0 };
            }
        }
        let info = PictureInfo { width: area.width, height: area.height, bands: self.bands.len(), depth: Depth::F32 };
        let picture = Picture { info, samples: Samples::F32(samples) };
        let mut pixels = Pixels::new(area.width, area.height, self.reading.channels());
        picture.read(self.reading, picture.area(), &mut pixels.values);
        let valid = window.valid.contains(&false).then_some(window.valid);
        Ok(Part { pixels, valid })
    }
}
