//! What is done to a source before a network reads it: bands are chosen, speckle is filtered, values are stretched to
//! 0..1.
//!
//! A [`Preparation`] is stored with a run, so that what is coloured later is read as what was trained on.
//! [`Preparation::apply`] prepares an image in memory.

use std::fmt;
use std::path::Path;

use crate::dataset::bands::BandList;
use crate::dataset::despeckle::{Despeckle, Filters};
use crate::dataset::stack::Looks;
use crate::dataset::zero_border::ZeroBorder;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::check_meaning;
use crate::imaging::ops::lee::lee;
use crate::imaging::raster::{Backscatter, RasterInfo, Stretch, Stretches};

/// Percent of the values that are clipped at either end, for a scene without a stretch of its own.
const PERCENT: f32 = 2.0;

/// How a source is prepared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preparation {
    /// The bands that are read; `None`: all that there are.
    pub bands: Option<BandList>,
    /// Whether the ratio of the first two bands in dB is one more band: their difference where values are in dB, else
    /// the logarithm of their quotient.
    pub ratio: bool,
    /// How values become 0..1. `None`: by the file, see [`Preparation::stretch_for`].
    pub stretch: Option<Stretches>,
    /// The filters of speckle that run before the stretch, on the linear values of the file; of several each makes
    /// channels of its own of all bands.
    pub despeckle: Option<Filters>,
    /// What zeros at the border mean.
    pub zero_border: ZeroBorder,
    /// What is made of the images of several dates.
    pub looks: Looks,
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(bands) = &self.bands {
            write!(f, "bands {bands} ")?;
        }
        if self.ratio {
            f.write_str("ratio ")?;
        }
        if let Some(despeckle) = &self.despeckle {
            write!(f, "{despeckle} ")?;
        }
        if self.zero_border != ZeroBorder::Auto {
            write!(f, "zero-border {} ", self.zero_border)?;
        }
        if self.looks != Looks::Mean {
            write!(f, "looks {} ", self.looks)?;
        }
        self.stretch.as_ref().map_or(Ok(()), |stretch| write!(f, "{stretch}"))
    }
}

impl Preparation {
    /// Whether an image in memory stays unchanged.
    pub fn is_none(&self) -> bool {
        self.stretch.as_ref().is_none_or(Stretches::is_none)
            && self.despeckle.is_none()
            && self.bands.is_none()
            && !self.ratio
            && self.zero_border != ZeroBorder::Nodata
    }

    /// How many values a pixel of files of `bands` bands, alpha left out, of so many dates has once it is prepared.
    pub fn channels(&self, bands: usize, dates: usize) -> usize {
        let of_date = self.bands.as_ref().map_or(bands, |list| list.numbers().len());
        let dates = if self.looks == Looks::Bands { dates } else { 1 };
        of_date * dates * self.despeckle.as_ref().map_or(1, Filters::len) + usize::from(self.ratio)
    }

    /// The same, where it does not depend on the files' bands.
    pub fn chosen_channels(&self, dates: usize) -> Option<usize> {
        self.bands.as_ref().map(|_| self.channels(0, dates))
    }

    /// The bands of a file that are read, from 1, alpha counted.
    ///
    /// # Errors
    /// Bands that it does not have, or one where a ratio wants two; `path` is named.
    pub fn bands_of(&self, info: &RasterInfo, path: &Path) -> Result<Vec<usize>> {
        let all: Vec<usize> = info.bands_without_alpha().collect();
        let chosen = match &self.bands {
            None => all,
            Some(list) => {
                let numbers = list.numbers();
                if let Some(missing) = numbers.iter().find(|band| **band > all.len()) {
                    let what = format!("no band {missing} in an image of {}", all.len());
                    return Err(Error::input(what, path.display(), format!("use bands 1 to {}", all.len())));
                }
                numbers.iter().map(|band| all[band - 1]).collect()
            }
        };
        crate::ensure!(
            !self.ratio || chosen.len() > 1,
            Error::input("a ratio is of two bands", path.display(), "name two by ⟨bands⟩, or leave ⟨ratio⟩ out")
        );
        Ok(chosen)
    }

    /// How the values of an image file become 0..1: as it is set; else integers of up to 8 bits over the range of their
    /// type; others of a file in a place on Earth, which seldom fill theirs, from the 2nd to the 98th percentile;
    /// others of one without a place by the range, floats as they are.
    ///
    /// It is the one rule for files, whatever they are read for.
    ///
    /// # Errors
    /// A file without a place whose type does not say which values are 0 and 1; `path` is named.
    pub fn stretch_for(&self, info: &RasterInfo, path: &Path) -> Result<Stretches> {
        match &self.stretch {
            Some(stretch) => Ok(stretch.clone()),
            None if info.is_placed() && !info.is_bytes() => Ok(Stretch::Percentile(PERCENT).into()),
            None => check_meaning(info, path).map(|()| Stretch::None.into()),
        }
    }

    /// The side of each filter and the variation of the speckle, `None` for values as they are; empty where no filter
    /// runs. Values are assumed to be amplitudes, unless the stretch takes decibels of intensities.
    pub(super) fn filters(&self) -> Vec<Option<(usize, f32)>> {
        let of = match self.stretch.as_ref().map(|stretches| stretches.of(0)) {
            Some(Stretch::Db { of, .. }) => of,
            _ => Backscatter::Amplitude,
        };
        let one = |filter: Option<Despeckle>| filter.map(|filter| (filter.side, filter.variation(of)));
        self.despeckle.as_ref().map_or(Vec::new(), |filters| filters.iter().map(one).collect())
    }
}

/// `[height, width, bands]` through Lee's filter of a side and a variation.
pub(super) fn filtered(
    device: &Device,
    [h, w, bands]: [usize; 3],
    values: &[f32],
    (side, variation): (usize, f32),
) -> Result<Vec<f32>> {
    lee(&Tensor::new(device, &[1, h, w, bands], values)?, side, variation)?.to_vec()
}

/// How the two sides are prepared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preparations {
    /// The sources. For a folder of images alone, it is that of the images.
    pub source: Preparation,
    /// The targets.
    pub target: Preparation,
}
