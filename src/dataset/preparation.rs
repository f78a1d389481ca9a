//! What is done to a source before a network reads it: speckle is filtered, values are stretched to 0..1.
//!
//! A [`Preparation`] is stored with a run, so that what is coloured later is read as what was trained on.
//! [`Preparation::apply`] prepares an image in memory.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::lee::lee;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::raster::{Backscatter, SampleType, Scale, Stretch};

/// Looks of Sentinel-1's interferometric wide swath products of high resolution (ESA, Sentinel-1 Product Definition,
/// 2016).
pub(super) const LOOKS: f32 = 4.4;

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
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Preparation {
    /// How values become 0..1. `None`: integers over their type's range; a scene of 16 bits or of floats, which seldom
    /// fill theirs, from its 2nd to its 98th percentile.
    pub stretch: Option<Stretch>,
    /// The filter of speckle that runs before the stretch, on the linear values of the file.
    pub despeckle: Option<Despeckle>,
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(despeckle) = self.despeckle {
            write!(f, "{despeckle} ")?;
        }
        self.stretch.map_or(Ok(()), |stretch| write!(f, "{stretch}"))
    }
}

impl Preparation {
    /// Whether an image in memory stays unchanged.
    pub fn is_none(&self) -> bool {
        self.picture_stretch().is_none() && self.despeckle.is_none()
    }

    /// The stretch of an image in memory, if it does more than divide by the range of its type, which reading does
    /// anyway.
    pub(super) fn picture_stretch(&self) -> Option<Stretch> {
        self.stretch.filter(|stretch| *stretch != Stretch::None)
    }

    /// The filter's side and the variation of the speckle; values are assumed to be amplitudes, unless the stretch
    /// takes decibels of intensities.
    pub(super) fn filter(&self) -> Option<(usize, f32)> {
        let of = match self.stretch {
            Some(Stretch::Db { of, .. }) => of,
            _ => Backscatter::Amplitude,
        };
        self.despeckle.map(|despeckle| (despeckle.side, despeckle.variation(of)))
    }

    /// An image in memory, prepared: floats of 0..1. Percentiles are those of this image. NaN stays NaN. The filter
    /// runs on the CPU, where images are decoded.
    ///
    /// # Errors
    /// An image whose pixels are all NaN or infinite; `path` is named.
    pub fn apply(&self, picture: Picture, path: &Path) -> Result<Picture> {
        if self.is_none() {
            return Ok(picture);
        }
        let PictureInfo { width, height, bands, depth } = picture.info;
        let (sample, values): (_, Vec<f32>) = match picture.samples {
            Samples::U8(v) => (SampleType::U8, v.into_iter().map(f32::from).collect()),
            Samples::U16(v) => (SampleType::U16, v.into_iter().map(f32::from).collect()),
            Samples::F32(v) => (SampleType::F32, v),
        };
        let stretch = self.picture_stretch();
        let Some(scales) = stretch.unwrap_or(Stretch::None).fit_values(sample, &values, bands) else {
            return Err(Error::input(
                "all pixels are NaN or infinite",
                path.display(),
                "fill them, or remove the file",
            ));
        };
        let mut values = match self.filter() {
            Some(filter) => filtered(&Device::cpu(), [height, width, bands], values, filter)?,
            None => values,
        };
        // Without a stretch floats outside 0..1 are for the caller to refuse.
        if stretch.is_some() || depth != Depth::F32 {
            scale(&mut values, &scales);
        }
        let info = PictureInfo { depth: Depth::F32, ..picture.info };
        Ok(Picture { info, samples: Samples::F32(values) })
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

fn scale(values: &mut [f32], scales: &[Scale]) {
    for pixel in values.chunks_exact_mut(scales.len().max(1)) {
        pixel.iter_mut().zip(scales).for_each(|(value, scale)| *value = scale.apply(*value));
    }
}

/// How the two sides are prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
