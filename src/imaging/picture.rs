//! A decoded image with its native samples, and how its values are read.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::imaging::color::{luma, srgb_to_lab, srgb8_to_lab};
pub use crate::imaging::pixels::Area;

/// Samples as the file has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// 0..255, white at 255.
    U8(Vec<u8>),
    /// 0..65535, white at 65535.
    U16(Vec<u16>),
    /// Any unit; read as they are.
    F32(Vec<f32>),
}

/// The type of an image's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// 8-bit.
    U8,
    /// 16-bit.
    U16,
    /// 32-bit float (files with 16 or 64-bit floats are converted).
    F32,
}

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureInfo {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Bands, alpha left out: 1 is grey, 3 is RGB.
    pub bands: usize,
    /// The samples' type.
    pub depth: Depth,
}

/// A decoded image: `[height, width, bands]`, alpha left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Size, bands and depth.
    pub info: PictureInfo,
    /// The samples, row by row, bands interleaved.
    pub samples: Samples,
}

/// What a network reads off an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// One channel: the given band (counted from 1), else the only one, else the Rec. 601 luma of three.
    Grey {
        /// The band, counted from 1 as GDAL does.
        band: Option<usize>,
    },
    /// Three channels; a grey image is repeated.
    Rgb,
    /// One channel: CIE L / 100 of the colours, 0..1.
    Lightness,
    /// All bands of an image that has just this many.
    Bands(usize),
}

impl Reading {
    /// How many values a pixel gives.
    pub fn channels(self) -> usize {
        match self {
            Reading::Rgb => 3,
            Reading::Grey { .. } | Reading::Lightness => 1,
            Reading::Bands(bands) => bands,
        }
    }

    /// Whether what it gives is a colour, sRGB.
    pub fn is_colour(self) -> bool {
        self.channels() == 3
    }

    /// Whether the image has the bands to read, as an error that names the file.
    pub fn check(self, info: &PictureInfo, path: &Path) -> Result<()> {
        let bands = info.bands;
        let (ok, remedy) = match self {
            Reading::Grey { band: Some(band) } => ((1..=bands).contains(&band), format!("use ⟨band⟩ 1 to {bands}")),
            Reading::Grey { band: None } => {
                (bands == 1 || bands == 3, format!("choose one by ⟨band⟩ 1 to {bands}, or several by ⟨bands⟩"))
            }
            Reading::Rgb | Reading::Lightness => {
                (bands == 1 || bands == 3, "give a grey or an RGB image, or choose its bands".into())
            }
            Reading::Bands(all) => (bands == all, format!("bring all images of its side to {all}")),
        };
        let what = match self {
            Reading::Grey { band: Some(band) } => format!("no band {band} in an image of {bands}"),
            Reading::Bands(all) => format!("the number of bands is {bands}, not {all}"),
            _ => format!("an image of {bands} bands is neither grey nor RGB"),
        };
        crate::ensure!(ok, Error::input(what, path.display(), remedy));
        Ok(())
    }
}

/// The error for an image that holds NaN or infinities where every pixel is needed.
pub fn not_finite(path: &Path) -> Error {
    Error::input("pixels that are NaN or infinite", path.display(), "fill them, or remove the file")
}

/// Whether every value lies within 0..1, with a little room for rounding.
///
/// # Errors
/// The first that does not; `path` is named.
pub fn check_unit<'a>(mut values: impl Iterator<Item = &'a f32>, path: &Path) -> Result<()> {
    match values.find(|v| !(-0.01..=1.01).contains(*v)) {
        None => Ok(()),
        Some(v) if v.is_finite() => Err(Error::input(
            format!("a float image holds {v}, outside 0 to 1"),
            path.display(),
            "say by ⟨stretch⟩ which values become 0 and 1, or save it with 8 or 16 bits",
        )),
        Some(_) => Err(not_finite(path)),
    }
}

impl Picture {
    /// Refuses an image made in memory whose samples are not those of its size, or that has none.
    ///
    /// # Errors
    /// A side of 0; another number of samples; `path` is named.
    pub fn check_size(&self, path: &Path) -> Result<()> {
        let PictureInfo { width, height, bands, .. } = self.info;
        let held = match &self.samples {
            Samples::U8(v) => v.len(),
            Samples::U16(v) => v.len(),
            Samples::F32(v) => v.len(),
        };
        let needed = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(bands));
        crate::ensure!(
            held > 0 && needed == Some(held),
            Error::input(
                format!("an image of {width}x{height}x{bands} with {held} samples"),
                path.display(),
                "give width x height x bands samples"
            )
            .of(ErrorKind::Shape)
        );
        Ok(())
    }

    /// Whether every sample lies within 0..1 (with a little room for rounding), as networks read them. Integer samples
    /// always do; NaN is no data.
    ///
    /// # Errors
    /// The first value of a float image that does not; `path` is named.
    pub fn check_range(&self, path: &Path) -> Result<()> {
        let Samples::F32(values) = &self.samples else { return Ok(()) };
        check_unit(values.iter().filter(|value| !value.is_nan()), path)
    }

    /// The same image, which of its pixels have data, `[height, width]`: the others are NaN. If there are any, samples
    /// are floats, see [`Picture::value`].
    #[must_use]
    pub fn with_gaps(self, valid: &[bool]) -> Picture {
        if !valid.contains(&false) {
            return self;
        }
        let bands = self.info.bands;
        let value = |i: usize| if valid[i / bands] { self.value(i) } else { f32::NAN };
        let samples = Samples::F32((0..valid.len() * bands).map(value).collect());
        Picture { info: PictureInfo { depth: Depth::F32, ..self.info }, samples }
    }

    /// The same image with 0 where it has NaN, as networks read what has no data.
    #[must_use]
    pub fn filled(mut self) -> Picture {
        if let Samples::F32(values) = &mut self.samples {
            values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
        }
        self
    }

    /// Bytes of the samples.
    pub fn bytes(&self) -> usize {
        match &self.samples {
            Samples::U8(v) => v.len(),
            Samples::U16(v) => 2 * v.len(),
            Samples::F32(v) => 4 * v.len(),
        }
    }

    /// The image at another size, bilinear between pixel centres, its values as [`Picture::value`] gives them.
    pub fn resized(&self, [width, height]: [usize; 2]) -> Picture {
        let bands = self.info.bands;
        let taps = |len: usize, from: usize| -> Vec<(usize, usize, f32)> {
            let tap = |i: usize| {
                let place = ((i as f32 + 0.5) * from as f32 / len as f32 - 0.5).clamp(0.0, (from - 1) as f32);
                let first = place as usize;
                (first, (first + 1).min(from - 1), place - first as f32)
            };
            (0..len).map(tap).collect()
        };
        let (columns, rows) = (taps(width, self.info.width), taps(height, self.info.height));
        let mut samples = Vec::with_capacity(width * height * bands);
        for &(top, bottom, down) in &rows {
            for &(left, right, across) in &columns {
                for band in 0..bands {
                    let at = |x: usize, y: usize| self.value((y * self.info.width + x) * bands + band);
                    let upper = at(left, top) + across * (at(right, top) - at(left, top));
                    let lower = at(left, bottom) + across * (at(right, bottom) - at(left, bottom));
                    samples.push(upper + down * (lower - upper));
                }
            }
        }
        Picture { info: PictureInfo { width, height, bands, depth: Depth::F32 }, samples: Samples::F32(samples) }
    }

    /// The whole image as an area.
    pub fn area(&self) -> Area {
        Area { x: 0, y: 0, width: self.info.width, height: self.info.height }
    }

    /// Sample `index` of `samples` as 0..1 (floats as they are).
    #[inline]
    pub fn value(&self, index: usize) -> f32 {
        match &self.samples {
            Samples::U8(v) => f32::from(v[index]) / 255.0,
            Samples::U16(v) => f32::from(v[index]) / 65535.0,
            Samples::F32(v) => v[index],
        }
    }

    /// Red, green and blue of the pixel at (`x`, `y`): the first three bands, or, where there are fewer, the first
    /// repeated.
    #[inline]
    pub fn rgb(&self, x: usize, y: usize) -> [f32; 3] {
        let index = (y * self.info.width + x) * self.info.bands;
        if self.info.bands < 3 { [self.value(index); 3] } else { [0, 1, 2].map(|band| self.value(index + band)) }
    }

    /// Lab of the pixel at (`x`, `y`), its colour taken as sRGB.
    #[inline]
    pub fn lab(&self, x: usize, y: usize) -> [f32; 3] {
        let index = (y * self.info.width + x) * self.info.bands;
        match &self.samples {
            Samples::U8(v) if self.info.bands < 3 => srgb8_to_lab([v[index]; 3]),
            Samples::U8(v) => srgb8_to_lab([v[index], v[index + 1], v[index + 2]]),
            _ => srgb_to_lab(self.rgb(x, y)),
        }
    }

    /// The grey value of the pixel at (`x`, `y`) under [`Reading::Grey`]; of several bands, the luma of the first
    /// three.
    #[inline]
    pub fn grey(&self, x: usize, y: usize, band: Option<usize>) -> f32 {
        let index = (y * self.info.width + x) * self.info.bands;
        match band {
            Some(band) => self.value(index + band - 1),
            None if self.info.bands < 3 => self.value(index),
            None => luma(self.rgb(x, y)),
        }
    }

    /// Reads `area` into `out`, `[area.height, area.width, reading.channels()]`.
    ///
    /// # Panics
    /// If the area leaves the image, `out` has another length, or [`Reading::check`] would fail.
    pub fn read(&self, reading: Reading, area: Area, out: &mut [f32]) {
        let channels = reading.channels();
        assert!(area.x + area.width <= self.info.width && area.y + area.height <= self.info.height, "{area:?}");
        assert_eq!(out.len(), area.width * area.height * channels);
        for (row, line) in out.chunks_exact_mut(area.width * channels).enumerate() {
            let y = area.y + row;
            for (column, pixel) in line.chunks_exact_mut(channels).enumerate() {
                let x = area.x + column;
                match reading {
                    Reading::Grey { band } => pixel[0] = self.grey(x, y, band),
                    Reading::Rgb => pixel.copy_from_slice(&self.rgb(x, y)),
                    Reading::Lightness => pixel[0] = self.lab(x, y)[0] / 100.0,
                    Reading::Bands(bands) => {
                        let first = (y * self.info.width + x) * bands;
                        (first..).zip(pixel).for_each(|(index, value)| *value = self.value(index));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    fn picture(bands: usize, samples: Samples) -> Picture {
        let (depth, len) = match &samples {
            Samples::U8(v) => (Depth::U8, v.len()),
            Samples::U16(v) => (Depth::U16, v.len()),
            Samples::F32(v) => (Depth::F32, v.len()),
        };
        Picture { info: PictureInfo { width: len / bands / 2, height: 2, bands, depth }, samples }
    }

    fn read(picture: &Picture, reading: Reading, area: Area) -> Vec<f32> {
        let mut out = vec![f32::NAN; area.width * area.height * reading.channels()];
        picture.read(reading, area, &mut out);
        out
    }

    #[test]
    fn every_depth_reads_as_zero_to_one_and_floats_as_they_are() {
        let grey = Reading::Grey { band: None };
        let p = picture(1, Samples::U8(vec![0, 255, 51, 102]));
        assert_eq!(read(&p, grey, p.area()), [0.0, 1.0, 0.2, 0.4]);
        let p = picture(1, Samples::U16(vec![0, 65535, 13107, 26214]));
        assert_eq!(read(&p, grey, p.area()), [0.0, 1.0, 0.2, 0.4]);
        let p = picture(1, Samples::F32(vec![-3.5, 7.0, 0.0, 1.0]));
        assert_eq!(read(&p, grey, p.area()), [-3.5, 7.0, 0.0, 1.0]);
    }

    #[test]
    fn a_crop_takes_its_rows_and_columns() {
        let p = Picture {
            info: PictureInfo { width: 3, height: 3, bands: 1, depth: Depth::F32 },
            samples: Samples::F32((0..9).map(|v| v as f32).collect()),
        };
        let area = Area { x: 1, y: 1, width: 2, height: 2 };
        assert_eq!(read(&p, Reading::Grey { band: None }, area), [4.0, 5.0, 7.0, 8.0]);
    }

    #[test]
    fn colour_becomes_luma_a_band_or_lightness() {
        let p = picture(3, Samples::U8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].concat()));
        let luma = read(&p, Reading::Grey { band: None }, p.area());
        for (value, want) in luma.iter().zip([0.299, 0.587, 0.114, 1.0]) {
            assert!(abs_diff_eq!(*value, want, epsilon = 1e-6), "{luma:?}");
        }
        assert_eq!(read(&p, Reading::Grey { band: Some(2) }, p.area()), [0.0, 1.0, 0.0, 1.0]);
        let lightness = read(&p, Reading::Lightness, p.area());
        assert!(
            abs_diff_eq!(lightness[0], 0.5324, epsilon = 1e-4) && abs_diff_eq!(lightness[3], 1.0, epsilon = 1e-5),
            "{lightness:?}"
        );
    }

    #[test]
    fn grey_is_repeated_where_rgb_is_asked() {
        let p = picture(1, Samples::F32(vec![0.25, 0.5]));
        assert_eq!(read(&p, Reading::Rgb, p.area()), [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn all_bands_come_as_they_lie_and_another_number_of_them_is_refused() {
        let p = picture(5, Samples::F32((0..20).map(|v| v as f32).collect()));
        let area = Area { x: 1, y: 0, width: 1, height: 2 };
        assert_eq!(read(&p, Reading::Bands(5), area), [5.0, 6.0, 7.0, 8.0, 9.0, 15.0, 16.0, 17.0, 18.0, 19.0]);
        let error = Reading::Bands(4).check(&p.info, Path::new("x.tif")).unwrap_err();
        assert_eq!(error.to_string(), "the number of bands is 5, not 4: x.tif: bring all images of its side to 4");
    }

    #[test]
    fn two_bands_show_as_the_first() {
        let p = picture(2, Samples::U8(vec![10, 200, 20, 200, 30, 200, 40, 200]));
        assert_eq!(p.rgb(1, 1), [40.0 / 255.0; 3]);
        assert_eq!((p.grey(1, 1, None), p.lab(1, 1)), (40.0 / 255.0, srgb8_to_lab([40; 3])));
    }

    #[test]
    fn a_missing_band_is_an_error_that_says_which_there_are() {
        let info = |bands| PictureInfo { width: 1, height: 1, bands, depth: Depth::U8 };
        let path = Path::new("x.tif");
        assert!(Reading::Grey { band: Some(3) }.check(&info(3), path).is_ok());
        let error = Reading::Grey { band: Some(4) }.check(&info(3), path).unwrap_err();
        assert_eq!(error.to_string(), "no band 4 in an image of 3: x.tif: use band 1 to 3");
        assert!(Reading::Grey { band: Some(0) }.check(&info(3), path).is_err());
        assert!(Reading::Grey { band: None }.check(&info(5), path).is_err());
        assert!(Reading::Rgb.check(&info(5), path).is_err());
    }
}
