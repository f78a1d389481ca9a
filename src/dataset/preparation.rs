//! What is done to a source before a network reads it: bands are chosen, speckle is filtered, values are stretched to
//! 0..1.
//!
//! A [`Preparation`] is stored with a run, so that what is coloured later is read as what was trained on.
//! [`Preparation::apply`] prepares an image in memory.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::dataset::bands::BandList;
use crate::dataset::stack::Looks;
use crate::dataset::zero_border::ZeroBorder;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::check_meaning;
use crate::imaging::ops::lee::lee;
use crate::imaging::raster::{Backscatter, RasterInfo, Stretch, Stretches};

/// Looks of Sentinel-1's interferometric wide swath products of high resolution (ESA, Sentinel-1 Product Definition,
/// 2016).
pub(super) const LOOKS: f32 = 4.4;

/// Percent of the values that are clipped at either end, for a scene without a stretch of its own.
const PERCENT: f32 = 2.0;

/// Lee's filter; written as `lee:N` or `lee:N,LOOKS`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Despeckle {
    /// Side of the window in pixels, odd.
    pub side: usize,
    /// Equivalent number of looks of the radar image: how many independent measurements a value is the mean of.
    pub looks: f32,
}

impl Despeckle {
    /// The squared coefficient of variation of the speckle: `1 / looks` of intensities, `(4 / pi - 1) / looks` of
    /// amplitudes (Oliver, Quegan, "Understanding Synthetic Aperture Radar Images", 2004, section 4.3).
    pub fn variation(&self, of: Backscatter) -> f32 {
        match of {
            Backscatter::Intensity => 1.0 / self.looks,
            Backscatter::Amplitude => (4.0 / std::f32::consts::PI - 1.0) / self.looks,
        }
    }
}

impl FromStr for Despeckle {
    type Err = String;

    /// Reads the text of `despeckle`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || -> Result<Self, String> {
            let settings = text.strip_prefix("lee:").ok_or("only Lee's filter exists")?;
            let (side, looks) = settings.split_once(',').map_or((settings, None), |(side, looks)| (side, Some(looks)));
            let side: usize = side.trim().parse().map_err(|_| format!("`{side}` is not a side in pixels"))?;
            let looks = match looks {
                None => LOOKS,
                Some(text) => text.trim().parse().map_err(|_| format!("`{text}` is not a number of looks"))?,
            };
            match side % 2 == 1 && (3..=31).contains(&side) {
                false => Err(format!("{side} is not an odd side from 3 to 31")),
                true if looks > 0.0 && looks.is_finite() => Ok(Despeckle { side, looks }),
                true => Err(format!("{looks} is not a number of looks")),
            }
        };
        read().map_err(|why| format!("{why}; use lee:N or lee:N,LOOKS, e.g. lee:7 or lee:7,4.4"))
    }
}

impl fmt::Display for Despeckle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.looks == LOOKS {
            true => write!(f, "lee:{}", self.side),
            false => write!(f, "lee:{},{}", self.side, self.looks),
        }
    }
}

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
    /// The filter of speckle that runs before the stretch, on the linear values of the file.
    pub despeckle: Option<Despeckle>,
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
        if let Some(despeckle) = self.despeckle {
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
        of_date * if self.looks == Looks::Bands { dates } else { 1 } + usize::from(self.ratio)
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

    /// The filter's side and the variation of the speckle; values are assumed to be amplitudes, unless the stretch
    /// takes decibels of intensities.
    pub(super) fn filter(&self) -> Option<(usize, f32)> {
        let of = match self.stretch.as_ref().map(|stretches| stretches.of(0)) {
            Some(Stretch::Db { of, .. }) => of,
            _ => Backscatter::Amplitude,
        };
        self.despeckle.map(|despeckle| (despeckle.side, despeckle.variation(of)))
    }
}

/// `[height, width, bands]` through Lee's filter of a side and a variation.
pub(super) fn filtered(
    device: &Device,
    [h, w, bands]: [usize; 3],
    values: Vec<f32>,
    (side, variation): (usize, f32),
) -> Result<Vec<f32>> {
    lee(&Tensor::new(device, &[1, h, w, bands], &values)?, side, variation)?.to_vec()
}

/// How the two sides are prepared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preparations {
    /// The sources. For a folder of images alone, it is that of the images.
    pub source: Preparation,
    /// The targets.
    pub target: Preparation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_written_alike() {
        for text in ["lee:3", "lee:7", "lee:31,1", "lee:5,2.5"] {
            assert_eq!(text.parse::<Despeckle>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("median:3", "only Lee"),
            ("lee:4", "not an odd side"),
            ("lee:1", "not an odd side"),
            ("lee:3,0", "0 is not a number"),
            ("lee:x", "`x`"),
        ] {
            let error = text.parse::<Despeckle>().unwrap_err();
            assert!(error.contains(why) && error.contains("lee:7"), "{error}");
        }
    }
}
