//! A picture in a file: all of it, one of two that stand side by side, or a window of a scene; and how it is prepared.

use std::path::{Path, PathBuf};

use crate::dataset::prepared::Preparation;
use crate::dataset::scene_pair::SceneWindow;
use crate::error::{Error, Result};
use crate::imaging::codec::{decode, extra_bands};
use crate::imaging::picture::{Picture, PictureInfo, Samples};
use crate::imaging::raster::Raster;

/// One of two pictures of equal width in one.
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

/// Where a picture lies.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureFile {
    /// Its file.
    pub path: PathBuf,
    /// Which half of it; `None` for all.
    pub half: Option<Half>,
    /// Which window of a scene, which brings its own preparation; `None` for a picture that is decoded whole.
    pub window: Option<SceneWindow>,
    /// What is done to it once decoded.
    pub preparation: Preparation,
}

/// What tells a picture from others: of a file, which half or window, prepared how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PictureKey(PathBuf, Option<Half>, Option<[usize; 4]>, String);

impl From<PathBuf> for PictureFile {
    fn from(path: PathBuf) -> Self {
        PictureFile { path, half: None, window: None, preparation: Preparation::default() }
    }
}

impl PictureFile {
    /// What the file's header says of the picture.
    ///
    /// # Errors
    /// As [`decode::probe`]; a file of an odd width, which has no halves.
    pub fn probe(&self) -> Result<PictureInfo> {
        if let Some(window) = &self.window {
            return Ok(window.info());
        }
        let mut info = if self.is_raster() { extra_bands::probe(&self.path)? } else { decode::probe(&self.path)? };
        if self.half.is_some() {
            info.width = half_of(info.width, &self.path)?;
        }
        Ok(info)
    }

    /// Whether it is read as a raster: a TIFF that is to be stretched may have samples of any type.
    fn is_raster(&self) -> bool {
        self.preparation.picture_stretch().is_some() && Raster::is_one(&self.path)
    }

    /// What tells it from other pictures.
    pub(super) fn key(&self) -> PictureKey {
        let place = self.window.as_ref().map(SceneWindow::place);
        PictureKey(self.path.clone(), self.half, place, self.preparation.to_string())
    }

    /// The picture, decoded and prepared.
    ///
    /// # Errors
    /// As [`decode::open`] and [`Preparation::apply`]; a file of an odd width.
    pub fn open(&self) -> Result<Picture> {
        match &self.window {
            Some(window) => window.open(),
            None => self.preparation.apply(self.decode()?, &self.path),
        }
    }

    fn decode(&self) -> Result<Picture> {
        let picture = if self.is_raster() { extra_bands::open(&self.path)? } else { decode::open(&self.path)? };
        let Some(half) = self.half else { return Ok(picture) };
        let width = half_of(picture.info.width, &self.path)?;
        let first = if half == Half::Left { 0 } else { width };
        let bands = picture.info.bands;
        let columns = first * bands..(first + width) * bands;
        let samples = match &picture.samples {
            Samples::U8(v) => Samples::U8(cut(v, columns, 2 * width * bands)),
            Samples::U16(v) => Samples::U16(cut(v, columns, 2 * width * bands)),
            Samples::F32(v) => Samples::F32(cut(v, columns, 2 * width * bands)),
        };
        Ok(Picture { info: PictureInfo { width, ..picture.info }, samples })
    }
}

/// The same part of every row.
fn cut<T: Copy>(samples: &[T], columns: std::ops::Range<usize>, row: usize) -> Vec<T> {
    samples.chunks_exact(row).flat_map(|row| &row[columns.clone()]).copied().collect()
}

fn half_of(width: usize, path: &Path) -> Result<usize> {
    crate::ensure!(
        width.is_multiple_of(2),
        Error::input(
            format!("a picture {width} pixels wide does not hold two of one width side by side"),
            path.display(),
            "take it away, or use ⟨source⟩ and ⟨target⟩"
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
        let half = |half| PictureFile { half, ..PictureFile::from(path.clone()) };
        for (which, samples) in [(Half::Left, [1, 2, 5, 6]), (Half::Right, [3, 4, 7, 8])] {
            let file = half(Some(which));
            let picture = file.open().unwrap();
            assert_eq!(picture.samples, Samples::U8(samples.to_vec()));
            assert_eq!(file.probe().unwrap(), picture.info);
        }
        assert_eq!(half(None).open().unwrap().info.width, 4);
    }

    #[test]
    fn an_odd_width_has_no_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.png");
        save_png(&path, &[0; 6], 3, 2, None).unwrap();
        let file = PictureFile { half: Some(Half::Left), ..PictureFile::from(path) };
        for error in [file.probe().unwrap_err(), file.open().unwrap_err()] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("odd.png") && error.to_string().contains("3 pixels wide"), "{error}");
        }
    }
}
