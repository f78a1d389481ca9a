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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::raster::{Nodata, RasterInfo, SampleType};
    use crate::data::save::save_tiff;
    use std::path::Path;

    fn scene(path: &Path, bands: usize, reading: Reading) -> RasterSource {
        let info = RasterInfo { nodata: Nodata::parse("7"), ..RasterInfo::new(300, 280, bands, SampleType::U8) };
        let samples: Vec<f32> = (0..300 * 280 * bands).map(|i| (i / bands * 31 % 253) as f32).collect();
        save_tiff(path, info, &samples).unwrap();
        RasterSource::new(Raster::open(path).unwrap(), reading).unwrap()
    }

    #[test]
    fn an_area_is_read_as_the_network_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = scene(&folder.path().join("s.tif"), 2, Reading::Grey { band: Some(2) });
        assert_eq!(source.size(), [300, 280]);
        let part = source.read(Area { x: 250, y: 100, width: 40, height: 3 }).unwrap();
        let valid = part.valid.unwrap();
        for (i, got) in part.pixels.values.iter().enumerate() {
            let sample = ((100 + i / 40) * 300 + 250 + i % 40) * 31 % 253;
            assert_eq!((valid[i], *got), (sample != 7, if sample == 7 { 0.0 } else { sample as f32 / 255.0 }));
        }
    }

    #[test]
    fn a_scene_that_is_cut_while_it_is_worked_on_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tif");
        let source = scene(&path, 1, Reading::Grey { band: None });
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        let error = source.read(source.raster().area()).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("s.tif"), "{error}");
    }
}
