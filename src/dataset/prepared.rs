//! A scene of any size, prepared as it is read by windows.

use std::fmt;
use std::path::Path;

use crate::dataset::preparation::{Preparation, filtered, to_physical, units};
use crate::engine::device::Device;
use crate::error::Result;
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Reading, Samples, check_unit};
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::raster::{RasterInfo, Scale, Stretch};

/// Pixels of a part of a scene, as a network reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Values 0..1; 0 where there is no data, the value of such pixels in most scenes of 8 bits: a network reads the
    /// same whether a file marks them or not.
    pub pixels: Pixels,
    /// `[height, width]`: which pixels have data; `None`: all.
    pub valid: Option<Vec<bool>>,
}

/// A scene or an image that is read by windows, prepared.
pub struct PreparedScene {
    file: ImageFile,
    /// What a network reads of the bands below.
    reading: Reading,
    /// The bands that are read, from 1.
    bands: Vec<usize>,
    scales: Vec<Scale>,
    meaning: Meaning,
    /// See [`units`].
    units: Vec<[f32; 2]>,
    filter: Option<(usize, f32)>,
    device: Device,
    stretched: Option<Stretch>,
}

/// What samples are once they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Bytes over the range of their type.
    Bytes,
    /// Floats that are 0..1 by themselves.
    Unit,
    /// Values to be stretched.
    Stretched,
}

impl fmt::Debug for PreparedScene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PreparedScene({})", self.file.path().display())
    }
}

impl PreparedScene {
    /// Opens a scene; percentiles take one pass over it. Speckle is filtered on `device`.
    ///
    /// # Errors
    /// A file that is not an image or is damaged, samples of no meaning ([`Preparation::stretch_for`]), bands that do
    /// not exist, a scene without data.
    pub fn open(path: &Path, reading: Reading, preparation: &Preparation, device: &Device) -> Result<Self> {
        let file = ImageFile::open(path)?;
        let info = file.info();
        let mut bands: Vec<usize> = info.bands_without_alpha().collect();
        reading.check(&info_of(info.width, info.height, bands.len()), path)?;
        let reading = match reading {
            Reading::Grey { band: Some(band) } => {
                bands = vec![bands[band - 1]];
                Reading::Grey { band: None }
            }
            reading => reading,
        };
        let stretch = preparation.stretch_for(info, path)?;
        let stretched = (preparation.stretch.is_none() && stretch != Stretch::None).then_some(stretch);
        let scales = stretch.fit(&file, &bands)?;
        let filter = preparation.filter();
        let meaning = match stretch {
            Stretch::None if info.sample.is_float() => Meaning::Unit,
            Stretch::None if info.is_bytes() && filter.is_none() => Meaning::Bytes,
            _ => Meaning::Stretched,
        };
        let units = units(info, bands.iter().copied(), stretch);
        Ok(PreparedScene { file, reading, bands, scales, meaning, units, filter, device: device.clone(), stretched })
    }

    /// The same scene with a cache of so many bytes, see
    /// [`Raster::with_cache`](crate::imaging::raster::Raster::with_cache).
    pub fn with_cache(self, bytes: usize) -> Self {
        PreparedScene { file: self.file.with_cache(bytes), ..self }
    }

    /// What the file is.
    pub fn info(&self) -> &RasterInfo {
        self.file.info()
    }

    /// The file itself.
    pub fn file(&self) -> &ImageFile {
        &self.file
    }

    /// The stretch that was chosen because none was given, and values are not bytes.
    pub fn chosen_stretch(&self) -> Option<Stretch> {
        self.stretched
    }

    /// What the user should know, one line each: of the file, and [`PreparedScene::chosen_stretch`].
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.file.notices().to_vec();
        if let Some(stretch) = self.stretched {
            let ranges: Vec<String> = self.scales.iter().map(|scale| format!("{} to {}", scale.lo, scale.hi)).collect();
            let (path, sample) = (self.file.path().display(), self.info().sample);
            notices.push(format!(
                "{path}: samples of type {sample} are stretched by {stretch} ({}); ⟨stretch⟩ sets another",
                ranges.join(", ")
            ));
        }
        notices
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
        if self.meaning == Meaning::Bytes { Depth::U8 } else { Depth::F32 }
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
        pixels.values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(Prepared { pixels, valid: valid.contains(&false).then_some(valid) })
    }

    /// An area as an image of the bands that are read, bytes if they need no preparation, and which of its pixels have
    /// data.
    ///
    /// # Errors
    /// As [`PreparedScene::read`]; floats outside 0..1 that are not stretched.
    pub fn picture(&self, area: Area) -> Result<(Picture, Vec<bool>)> {
        // The filter sees what lies around, so that it leaves no seams.
        let margin = self.filter.map_or(0, |(side, _)| side / 2);
        let grow = |start: usize, len: usize, end: usize| start.saturating_sub(margin)..(start + len + margin).min(end);
        let info = self.file.info();
        let around = Area::of(grow(area.x, area.width, info.width), grow(area.y, area.height, info.height));
        let mut window = self.file.read_window(around, &self.bands)?;
        let bands = self.bands.len();
        to_physical(&mut window.samples, &self.units);
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
            match (valid, self.meaning) {
                (false, _) => pixel.fill(0.0),
                (true, Meaning::Bytes) => {}
                (true, Meaning::Unit) => check_unit(pixel.iter(), self.file.path())?,
                (true, Meaning::Stretched) => {
                    pixel.iter_mut().zip(&self.scales).for_each(|(value, scale)| *value = scale.apply(*value));
                }
            }
        }
        let info = PictureInfo { depth: self.depth(), ..info_of(area.width, area.height, bands) };
        let samples = match self.meaning {
            Meaning::Bytes => {
                let byte = self.info().byte_of();
                let bytes = window.samples.iter().enumerate();
                Samples::U8(bytes.map(|(i, value)| if window.valid[i / bands] { byte(*value) } else { 0 }).collect())
            }
            _ => Samples::F32(window.samples),
        };
        Ok((Picture { info, samples }, window.valid))
    }
}

fn info_of(width: usize, height: usize, bands: usize) -> PictureInfo {
    PictureInfo { width, height, bands, depth: Depth::F32 }
}

#[cfg(test)]
mod tests;
