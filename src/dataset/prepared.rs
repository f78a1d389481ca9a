//! A scene of any size, prepared as it is read by windows.

use std::fmt;
use std::path::Path;

use crate::dataset::preparation::Preparation;
use crate::dataset::stack;
use crate::dataset::values::PreparedValues;
use crate::engine::device::Device;
use crate::error::Result;
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Reading};
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::raster::{RasterInfo, Stretches};

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
    values: PreparedValues,
    /// What a network reads of the values.
    reading: Reading,
}

impl fmt::Debug for PreparedScene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PreparedScene({})", self.file().path().display())
    }
}

impl PreparedScene {
    /// Opens a scene; percentiles take one pass over it. Speckle is filtered on `device`.
    ///
    /// # Errors
    /// A file that is not an image or is damaged, samples of no meaning ([`Preparation::stretch_for`]), bands that do
    /// not exist, a scene without data.
    pub fn open(path: &Path, reading: Reading, preparation: &Preparation, device: &Device) -> Result<Self> {
        let files = stack::open(path)?;
        let (info, part) = (files[0].info(), files[0].area());
        let bands = preparation.channels(info.bands_without_alpha().count(), files.len());
        preparation.bands_of(info, path)?;
        reading.check(&info_of(info.width, info.height, bands), path)?;
        // One band is read alone; of those that are chosen all are.
        let (only, reading) = match (reading, &preparation.bands) {
            (Reading::Grey { band: Some(band) }, None) => (Some(band), Reading::Grey { band: None }),
            (reading, _) => (None, reading),
        };
        Ok(PreparedScene { values: PreparedValues::new(files, part, only, preparation, device)?, reading })
    }

    /// The same scene with a cache of so many bytes, see
    /// [`Raster::with_cache`](crate::imaging::raster::Raster::with_cache).
    pub fn with_cache(self, bytes: usize) -> Self {
        PreparedScene { values: self.values.with_cache(bytes), ..self }
    }

    /// What the file is.
    pub fn info(&self) -> &RasterInfo {
        self.file().info()
    }

    /// The file itself.
    pub fn file(&self) -> &ImageFile {
        self.values.file()
    }

    /// The stretch that was chosen because none was given, and values are not bytes.
    pub fn chosen_stretch(&self) -> Option<&Stretches> {
        self.values.chosen()
    }

    /// How values become 0..1.
    pub fn stretches(&self) -> &Stretches {
        self.values.stretches()
    }

    /// What the user should know, one line each: of the file, and [`PreparedScene::chosen_stretch`].
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.values.notices();
        notices.extend(self.values.unfilled());
        if let Some(stretch) = self.chosen_stretch() {
            let ranges: Vec<String> =
                self.values.scales().iter().map(|scale| format!("{} to {}", scale.lo, scale.hi)).collect();
            let (path, sample) = (self.file().path().display(), self.info().sample);
            notices.push(format!(
                "{path}: samples of type {sample} are stretched by {stretch} ({}); ⟨stretch⟩ sets another",
                ranges.join(", ")
            ));
        }
        notices
    }

    /// How [`PreparedScene::read`] reads what [`PreparedScene::picture`] gives.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The depth of what [`PreparedScene::picture`] gives.
    pub fn depth(&self) -> Depth {
        self.values.depth()
    }

    /// Bands that are read, before [`Reading`] makes channels of them.
    pub fn bands(&self) -> usize {
        self.values.channels()
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
        self.values.picture(area)
    }

    /// Whether some pixel may have no data.
    pub fn may_have_gaps(&self) -> bool {
        self.values.may_have_gaps()
    }

    /// Which pixels of an area have data.
    ///
    /// # Errors
    /// As [`PreparedScene::read`].
    pub fn valid(&self, area: Area) -> Result<Vec<bool>> {
        self.values.valid(area)
    }
}

fn info_of(width: usize, height: usize, bands: usize) -> PictureInfo {
    PictureInfo { width, height, bands, depth: Depth::F32 }
}

#[cfg(test)]
mod tests;
