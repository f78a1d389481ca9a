//! Where an image comes from: a file, one half of a file, or a window of a scene; and how it is prepared.

use std::path::{Path, PathBuf};

use crate::dataset::facts::Facts;
use crate::dataset::preparation::Preparation;
use crate::dataset::scene_window::SceneWindow;
use crate::dataset::stack;
use crate::dataset::values::PreparedValues;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::{self, ImageFile, Probed};
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::pixels::Area;

/// One of two images of equal width that stand side by side in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Half {
    /// Columns up to the middle.
    Left,
    /// Columns from the middle on.
    Right,
}

impl Half {
    /// The other one.
    pub fn other(self) -> Half {
        match self {
            Half::Left => Half::Right,
            Half::Right => Half::Left,
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PictureFile {
    /// The whole of a file.
    Whole {
        /// The file.
        path: PathBuf,
        /// What is done to the image once it is decoded.
        preparation: Preparation,
    },
    /// One of two images side by side in a file.
    Half {
        /// The file.
        path: PathBuf,
        /// Which of the two.
        half: Half,
        /// What is done to the half once it is decoded.
        preparation: Preparation,
    },
    /// A window of a scene, prepared as the scene is.
    Window(SceneWindow),
}

/// What tells an image from others, for a cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PictureKey {
    /// Of a file, which half if not the whole, prepared how.
    File(PathBuf, Option<Half>, String),
    /// Of a scene, which window.
    Window(PathBuf, Area),
}

impl From<PathBuf> for PictureFile {
    /// The whole file, without preparation.
    fn from(path: PathBuf) -> Self {
        PictureFile::Whole { path, preparation: Preparation::default() }
    }
}

impl PictureFile {
    /// One half of a file, without preparation.
    pub fn half_of(path: PathBuf, half: Half) -> Self {
        PictureFile::Half { path, half, preparation: Preparation::default() }
    }

    /// The same image, prepared by `preparation`. A window of a scene keeps the preparation of its scene.
    #[must_use]
    pub fn prepared(mut self, by: &Preparation) -> Self {
        match &mut self {
            PictureFile::Whole { preparation, .. } | PictureFile::Half { preparation, .. } => {
                preparation.clone_from(by)
            }
            PictureFile::Window(_) => {}
        }
        self
    }

    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        match self {
            PictureFile::Whole { path, .. } | PictureFile::Half { path, .. } => path,
            PictureFile::Window(window) => window.path(),
        }
    }

    /// Size, bands and depth, by the header of the file.
    ///
    /// # Errors
    /// As [`decode::probe_file`] and [`Preparation::stretch_for`]; a half of a file of an odd width.
    pub fn probe(&self) -> Result<PictureInfo> {
        self.probe_facts().map(|(info, _)| info)
    }

    /// As [`PictureFile::probe`], and what the file says of its values.
    ///
    /// # Errors
    /// As [`PictureFile::probe`].
    pub(super) fn probe_facts(&self) -> Result<(PictureInfo, Facts)> {
        let (path, preparation, half) = match self {
            PictureFile::Whole { path, preparation } => (path, preparation, false),
            PictureFile::Half { path, preparation, .. } => (path, preparation, true),
            PictureFile::Window(window) => return Ok((window.info(), Facts::nothing())),
        };
        let Probed { info, notices, marks_gaps } = stack::probe(path)?;
        let facts = Facts {
            may_have_gaps: marks_gaps || info.sample.is_float() || preparation.zero_border.is_sought(&info, marks_gaps),
            stretch: preparation.stretch_for(&info, path)?,
            chosen: preparation.stretch.is_none(),
            bytes: info.is_bytes(),
            unit: info.unit(preparation.bands_of(&info, path)?[0]).unwrap_or([1.0, 0.0]),
            notices,
        };
        let mut info = decode::picture_info(&info, path)?;
        info.bands = preparation.channels(info.bands, stack::parts(path).len());
        if preparation.ratio {
            info.depth = Depth::F32;
        }
        if half {
            info.width = half_width(info.width, path)?;
        }
        Ok((info, facts))
    }

    /// Zeros at its border that count as no data; none where it cannot be read, which is for others to tell.
    pub(super) fn border_zeros(&self) -> usize {
        let (PictureFile::Whole { path, preparation } | PictureFile::Half { path, preparation, .. }) = self else {
            return 0;
        };
        let look = || -> Result<usize> {
            let files = stack::open(path)?;
            let sought = |file: &ImageFile| preparation.zero_border.is_sought(file.info(), file.marks_gaps());
            if !files.iter().any(sought) {
                return Ok(0);
            }
            let part = files[0].area();
            Ok(PreparedValues::new(files, part, None, preparation, &Device::cpu())?.border_zeros())
        };
        look().unwrap_or_default()
    }

    /// See [`PreparedValues::unfilled`].
    pub(super) fn unfilled(&self) -> Option<String> {
        let (PictureFile::Whole { path, preparation } | PictureFile::Half { path, preparation, .. }) = self else {
            return None;
        };
        let files = stack::open(path).ok().filter(|files| files[0].info().sample.bytes() == 2)?;
        let part = files[0].area();
        PreparedValues::new(files, part, None, preparation, &Device::cpu()).ok()?.unfilled()
    }

    /// What tells it from other images.
    pub(super) fn key(&self) -> PictureKey {
        match self {
            PictureFile::Whole { path, preparation } => PictureKey::File(path.clone(), None, preparation.to_string()),
            PictureFile::Half { path, half, preparation } => {
                PictureKey::File(path.clone(), Some(*half), preparation.to_string())
            }
            PictureFile::Window(window) => PictureKey::Window(window.path().to_owned(), window.area()),
        }
    }

    /// The image, decoded and prepared; pixels without data are NaN, and samples then floats. Of a window of a scene
    /// all pixels have data.
    ///
    /// # Errors
    /// As [`ImageFile::open`], [`Preparation::stretch_for`] and [`Preparation::apply`]; a half of a file of an odd
    /// width.
    pub fn open(&self) -> Result<Picture> {
        match self {
            PictureFile::Whole { path, preparation } => read(path, None, preparation),
            PictureFile::Half { path, half, preparation } => read(path, Some(*half), preparation),
            PictureFile::Window(window) => window.open(),
        }
    }
}

/// The image, or one half of it, prepared by itself.
fn read(path: &Path, half: Option<Half>, preparation: &Preparation) -> Result<Picture> {
    let mut files = stack::open(path)?;
    let file = &files[0];
    let stretch = preparation.stretch_for(file.info(), path)?;
    let sought = preparation.zero_border.is_sought(file.info(), file.marks_gaps());
    if stretch.is_none() && preparation.is_none() && !sought && files.len() == 1 {
        let (picture, valid) = files.remove(0).picture()?;
        let picture = if let Some(valid) = valid { picture.with_gaps(&valid) } else { picture };
        return match half {
            None => Ok(picture),
            Some(half) => cut(picture, half, path),
        };
    }
    // Refuses what is too large for memory.
    decode::picture_info(file.info(), path)?;
    let mut part = file.area();
    if let Some(half) = half {
        part.width = half_width(part.width, path)?;
        part.x = if half == Half::Left { 0 } else { part.width };
    }
    PreparedValues::new(files, part, None, preparation, &Device::cpu())?.whole()
}

/// One half of an image.
fn cut(picture: Picture, half: Half, path: &Path) -> Result<Picture> {
    let width = half_width(picture.info.width, path)?;
    let first = if half == Half::Left { 0 } else { width };
    let bands = picture.info.bands;
    let columns = first * bands..(first + width) * bands;
    let samples = match &picture.samples {
        Samples::U8(v) => Samples::U8(columns_of(v, columns, 2 * width * bands)),
        Samples::U16(v) => Samples::U16(columns_of(v, columns, 2 * width * bands)),
        Samples::F32(v) => Samples::F32(columns_of(v, columns, 2 * width * bands)),
    };
    Ok(Picture { info: PictureInfo { width, ..picture.info }, samples })
}

/// The same part of every row.
fn columns_of<T: Copy>(samples: &[T], columns: std::ops::Range<usize>, row: usize) -> Vec<T> {
    samples.chunks_exact(row).flat_map(|row| &row[columns.clone()]).copied().collect()
}

fn half_width(width: usize, path: &Path) -> Result<usize> {
    crate::ensure!(
        width.is_multiple_of(2),
        Error::input(
            format!("an image {width} pixels wide does not hold two of one width side by side"),
            path.display(),
            "remove it, or use ⟨source⟩ and ⟨target⟩"
        )
    );
    Ok(width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_png;

    #[test]
    fn halves_are_the_columns_on_either_side_of_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ab.png");
        save_png(&path, &[1, 2, 3, 4, 5, 6, 7, 8], 4, 2, None).unwrap();
        for (half, samples) in [(Half::Left, [1, 2, 5, 6]), (Half::Right, [3, 4, 7, 8])] {
            let file = PictureFile::half_of(path.clone(), half);
            let picture = file.open().unwrap();
            assert_eq!(picture.samples, Samples::U8(samples.to_vec()));
            assert_eq!(file.probe().unwrap(), picture.info);
        }
        assert_eq!(PictureFile::from(path).open().unwrap().info.width, 4);
    }

    #[test]
    fn an_odd_width_has_no_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.png");
        save_png(&path, &[0; 6], 3, 2, None).unwrap();
        let file = PictureFile::half_of(path, Half::Left);
        for error in [file.probe().unwrap_err(), file.open().unwrap_err()] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("odd.png") && error.to_string().contains("3 pixels wide"), "{error}");
        }
    }

    #[test]
    fn images_of_one_file_that_differ_have_different_keys() {
        let whole = PictureFile::from(PathBuf::from("a.png"));
        let stretched = Preparation { stretch: Some("0,9".parse().unwrap()), ..Preparation::default() };
        let halves = [Half::Left, Half::Right].map(|half| PictureFile::half_of("a.png".into(), half));
        let mut keys: Vec<PictureKey> = halves.iter().map(PictureFile::key).collect();
        keys.extend([whole.key(), whole.clone().prepared(&stretched).key()]);
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(whole.key(), PictureFile::from(PathBuf::from("a.png")).key());
    }
}
