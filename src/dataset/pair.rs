//! One training example: an input and its colours.

use crate::dataset::picture_file::PictureFile;
use crate::error::{Error, Result};
use crate::imaging::picture::PictureInfo;

/// The square crops that a network is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Side in pixels.
    pub size: usize,
    /// Sides are multiples of this.
    pub stride: usize,
}

impl From<usize> for Crop {
    /// Of any side.
    fn from(size: usize) -> Self {
        Crop { size, stride: 1 }
    }
}

/// One training example's files; with a folder of images alone, both are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The input.
    pub source: PictureFile,
    /// The colour image.
    pub target: PictureFile,
}

impl Pair {
    /// Source and target must have the same size; the error names both files and both sizes.
    pub(crate) fn check_sizes(&self, source: &PictureInfo, target: &PictureInfo) -> Result<()> {
        crate::ensure!(
            (source.width, source.height) == (target.width, target.height),
            Error::input(
                format!(
                    "source and target differ in size, {}x{} and {}x{}",
                    source.width, source.height, target.width, target.height
                ),
                format!("{} and {}", self.source.path().display(), self.target.path().display()),
                "bring both to one grid"
            )
        );
        Ok(())
    }

    /// An image must hold a crop; the error says which size fits, or that none does.
    pub(crate) fn check_crop(&self, info: &PictureInfo, crop: Crop) -> Result<()> {
        let Crop { size, stride } = crop;
        let side = info.width.min(info.height);
        let remedy = || match side / stride * stride {
            0 => format!("enlarge the image to {stride}x{stride} at least, or remove it"),
            fits => format!("use ⟨size⟩ {fits} or less, or remove the image"),
        };
        crate::ensure!(
            info.width >= size && info.height >= size,
            Error::input(
                format!("an image of {}x{} is smaller than the crop of {size}x{size}", info.width, info.height),
                self.source.path().display(),
                remedy()
            )
        );
        Ok(())
    }
}
