//! A scene of any size, prepared as it is read by windows.

use std::fmt;
use std::path::Path;

use crate::dataset::preparation::{Preparation, filtered};
use crate::engine::device::Device;
use crate::error::Result;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Reading, Samples};
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::raster::{Raster, RasterInfo, SampleType, Scale, Stretch};

/// Percent of the values that are clipped at either end, for a scene without a stretch of its own.
const PERCENT: f32 = 2.0;

/// Pixels of a part of a scene, as a network reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Values 0..1; 0 where there is no data, the value of such pixels in most scenes of 8 bits: a network reads the
    /// same whether a file marks them or not.
    pub pixels: Pixels,
    /// `[height, width]`: which pixels have data; `None`: all.
    pub valid: Option<Vec<bool>>,
}

/// A scene that is read by windows, prepared.
pub struct PreparedScene {
    raster: Raster,
    /// What a network reads of the bands below.
    reading: Reading,
    /// The bands that are read, from 1.
    bands: Vec<usize>,
    scales: Vec<Scale>,
    /// Bytes that stay as they are.
    plain: bool,
    filter: Option<(usize, f32)>,
    device: Device,
    stretched: Option<Stretch>,
}

impl fmt::Debug for PreparedScene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PreparedScene({})", self.raster.path().display())
    }
}

impl PreparedScene {
    /// Opens a scene; percentiles take one pass over it. Speckle is filtered on `device`.
    ///
    /// # Errors
    /// A file that is not a raster or is damaged, bands that do not exist, a scene without data.
    pub fn open(path: &Path, reading: Reading, preparation: &Preparation, device: &Device) -> Result<Self> {
        let raster = Raster::open(path)?;
        let mut bands: Vec<usize> = raster.info().bands_without_alpha().collect();
        reading.check(&info_of(raster.info().width, raster.info().height, bands.len()), path)?;
        let reading = match reading {
            Reading::Grey { band: Some(band) } => {
                bands = vec![bands[band - 1]];
                Reading::Grey { band: None }
            }
            reading => reading,
        };
        let sample = raster.info().sample;
        let bytes = matches!(sample, SampleType::U8 | SampleType::I8);
        let stretched = (preparation.stretch.is_none() && !bytes).then_some(Stretch::Percentile(PERCENT));
        let stretch = preparation.stretch.or(stretched).unwrap_or(Stretch::None);
        let scales = stretch.fit(&raster, &bands)?;
        let filter = preparation.filter();
        let plain = sample == SampleType::U8 && stretch == Stretch::None && filter.is_none();
        Ok(PreparedScene { raster, reading, bands, scales, plain, filter, device: device.clone(), stretched })
    }

    /// The same scene with a cache of so many bytes, see [`Raster::with_cache`].
    pub fn with_cache(self, bytes: usize) -> Self {
        PreparedScene { raster: self.raster.with_cache(bytes), ..self }
    }

    /// What the file is.
    pub fn info(&self) -> &RasterInfo {
        self.raster.info()
    }

    /// The raster itself.
    pub fn raster(&self) -> &Raster {
        &self.raster
    }

    /// The stretch that was chosen because none was given, and values are not bytes.
    pub fn chosen_stretch(&self) -> Option<Stretch> {
        self.stretched
    }

    /// One line on [`PreparedScene::chosen_stretch`], for the user.
    pub fn notice(&self) -> Option<String> {
        let (stretch, scales) = (self.stretched?, &self.scales);
        let ranges: Vec<String> = scales.iter().map(|scale| format!("{} to {}", scale.lo, scale.hi)).collect();
        let (path, sample) = (self.raster.path().display(), self.info().sample);
        Some(format!(
            "{path}: samples of type {sample} are stretched by {stretch} ({}); ⟨stretch⟩ sets another",
            ranges.join(", ")
        ))
    }

    /// The bands that are read, from 1.
    pub fn band_numbers(&self) -> &[usize] {
        &self.bands
    }

    /// How [`PreparedScene::read`] reads what [`PreparedScene::picture`] gives.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The depth of what [`PreparedScene::picture`] gives.
    pub fn depth(&self) -> Depth {
        if self.plain { Depth::U8 } else { Depth::F32 }
    }

    /// Bands that are read, before [`Reading`] makes channels of them.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// What a network reads of an area of the scene.
    ///
    /// # Errors
    /// An area beyond the scene, chunks that are damaged, a file that has changed; no memory.
    pub fn read(&self, area: Area) -> Result<Prepared> {
        let (picture, valid) = self.picture(area)?;
        let mut pixels = Pixels::new(area.width, area.height, self.reading.channels());
        picture.read(self.reading, picture.area(), &mut pixels.values);
        Ok(Prepared { pixels, valid: valid.contains(&false).then_some(valid) })
    }

    /// An area as an image of the bands that are read, bytes if they need no preparation, and which of its pixels have
    /// data.
    ///
    /// # Errors
    /// As [`PreparedScene::read`].
    pub fn picture(&self, area: Area) -> Result<(Picture, Vec<bool>)> {
        // The filter sees what lies around, so that it leaves no seams.
        let margin = self.filter.map_or(0, |(side, _)| side / 2);
        let grow = |start: usize, len: usize, end: usize| start.saturating_sub(margin)..(start + len + margin).min(end);
        let info = self.raster.info();
        let around = Area::of(grow(area.x, area.width, info.width), grow(area.y, area.height, info.height));
        let mut window = self.raster.read_window(around, &self.bands)?;
        let bands = self.bands.len();
        if let Some(filter) = self.filter {
            for (pixel, valid) in window.samples.chunks_exact_mut(bands).zip(&window.valid) {
                if !valid {
                    pixel.fill(f32::NAN);
                }
            }
            let size = [around.height, around.width, bands];
            let values = filtered(&self.device, size, window.samples, filter)?;
            let pixels = Pixels { width: around.width, height: around.height, bands, values };
            let within = Area { x: area.x - around.x, y: area.y - around.y, ..area };
            let first = |y: usize| y * around.width + within.x;
            window.samples = pixels.part(within).values;
            window.valid = within.rows().flat_map(|y| &window.valid[first(y)..][..area.width]).copied().collect();
        }
        for (pixel, valid) in window.samples.chunks_exact_mut(bands).zip(&window.valid) {
            for (value, scale) in pixel.iter_mut().zip(&self.scales) {
                *value = match valid {
                    false => 0.0,
                    true if self.plain => *value,
                    true => scale.apply(*value),
                };
            }
        }
        let info = info_of(area.width, area.height, bands);
        let picture = match self.plain {
            true => Picture {
                info: PictureInfo { depth: Depth::U8, ..info },
                samples: Samples::U8(window.samples.iter().map(|value| *value as u8).collect()),
            },
            false => Picture { info, samples: Samples::F32(window.samples) },
        };
        Ok((picture, window.valid))
    }
}

fn info_of(width: usize, height: usize, bands: usize) -> PictureInfo {
    PictureInfo { width, height, bands, depth: Depth::F32 }
}

#[cfg(test)]
mod tests;
