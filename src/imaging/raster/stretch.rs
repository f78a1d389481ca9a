//! From the values of a scene to 0..1: a fixed range, percentiles of the scene, or decibels.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::raster::info::RasterInfo;
use crate::imaging::raster::sample::SampleType;

/// Pixels read at a time in the pass over the scene.
const BLOCK_PIXELS: usize = 1 << 20;

/// What a radar value is before it becomes decibels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backscatter {
    /// Power: `10 log10 v`.
    Intensity,
    /// Its square root: `20 log10 v`.
    Amplitude,
}

/// How values become 0..1; written as `none`, `LO,HI`, `percentile:P`, `db:LO,HI` or `db-amplitude:LO,HI`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stretch {
    /// Integers over the range of their type (`v / 255`, `v / 65535`, `(v + 128) / 255`), floats as they are.
    None,
    /// This range, in the physical unit of the file: a scale and an offset that it names are applied before.
    Fixed {
        /// Becomes 0.
        lo: f32,
        /// Becomes 1.
        hi: f32,
    },
    /// From the scene's P-th to its (100 - P)-th percentile, P in 0..50; each band by its own.
    Percentile(f32),
    /// This range in decibels, of linear values in the physical unit of the file.
    Db {
        /// Becomes 0, in dB.
        lo: f32,
        /// Becomes 1, in dB.
        hi: f32,
        /// What the linear values are.
        of: Backscatter,
    },
}

/// The map from a band's values to 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Becomes 0: in the unit of the file, or in dB.
    pub lo: f32,
    /// Becomes 1.
    pub hi: f32,
    /// The values become decibels first.
    pub db: Option<Backscatter>,
}

impl Scale {
    /// `value` as 0..1; what lies outside of the range is clamped, and zero or negative power is 0. NaN stays NaN.
    pub fn apply(&self, value: f32) -> f32 {
        let value = match self.db {
            None => value,
            // log10 of a negative number is NaN, which means no data; noise removal makes such numbers of dark water.
            Some(Backscatter::Intensity) if value <= 0.0 => f32::NEG_INFINITY,
            Some(Backscatter::Amplitude) if value <= 0.0 => f32::NEG_INFINITY,
            Some(Backscatter::Intensity) => 10.0 * value.log10(),
            Some(Backscatter::Amplitude) => 20.0 * value.log10(),
        };
        if self.hi > self.lo {
            ((value - self.lo) / (self.hi - self.lo)).clamp(0.0, 1.0)
        } else if value.is_nan() {
            value
        } else {
            // A band of one value: everything above it is white.
            f32::from(u8::from(value > self.lo))
        }
    }
}

impl FromStr for Stretch {
    type Err = String;

    /// Reads the text of `stretch`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let range = |range: &str| {
            let (lo, hi) = range.split_once(',').ok_or("LO,HI is missing a comma")?;
            let number = |text: &str| match text.trim().parse::<f32>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => Err(format!("`{text}` is not a number")),
            };
            match (number(lo)?, number(hi)?) {
                (lo, hi) if lo < hi => Ok((lo, hi)),
                (lo, hi) => Err(format!("{lo} is not below {hi}")),
            }
        };
        if text == "none" {
            return Ok(Stretch::None);
        }
        let stretch = match text.split_once(':') {
            None => range(text).map(|(lo, hi)| Stretch::Fixed { lo, hi }),
            Some(("percentile", p)) => match p.trim().parse::<f32>() {
                Ok(p) if (0.0..50.0).contains(&p) => Ok(Stretch::Percentile(p)),
                _ => Err(format!("`{p}` is not a percentage from 0 to below 50")),
            },
            Some(("db", rest)) => range(rest).map(|(lo, hi)| Stretch::Db { lo, hi, of: Backscatter::Intensity }),
            Some(("db-amplitude", rest)) => {
                range(rest).map(|(lo, hi)| Stretch::Db { lo, hi, of: Backscatter::Amplitude })
            }
            Some((kind, _)) => Err(format!("`{kind}` is not a kind of stretch")),
        };
        stretch.map_err(|why| format!("{why}; use LO,HI, percentile:P, db:LO,HI, db-amplitude:LO,HI or none"))
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Stretch::None => f.write_str("none"),
            Stretch::Fixed { lo, hi } => write!(f, "{lo},{hi}"),
            Stretch::Percentile(p) => write!(f, "percentile:{p}"),
            Stretch::Db { lo, hi, of: Backscatter::Intensity } => write!(f, "db:{lo},{hi}"),
            Stretch::Db { lo, hi, of: Backscatter::Amplitude } => write!(f, "db-amplitude:{lo},{hi}"),
        }
    }
}

impl Stretch {
    /// The scale of each of `bands` (counted from 1) of a scene; percentiles take one pass over it.
    ///
    /// A percentile is the smallest value that at least so many percent of the valid pixels do not exceed. It is exact
    /// for integers of 8 and 16 bits; for others its relative error is at most 2^-12 (0.024 %).
    ///
    /// # Errors
    ///
    /// A scene that cannot be read or has no valid pixel.
    pub fn fit(&self, image: &ImageFile, bands: &[usize]) -> Result<Vec<Scale>> {
        match (*self, self.fixed(image.info())) {
            (Stretch::Percentile(p), _) => percentiles(image, bands, f64::from(p) / 100.0),
            (_, scale) => Ok(vec![scale; bands.len()]),
        }
    }

    /// Whether its ends are numbers in a physical unit.
    pub fn is_physical(&self) -> bool {
        matches!(self, Stretch::Fixed { .. } | Stretch::Db { .. })
    }

    /// The scale of every band of an image, where it does not depend on the values.
    fn fixed(&self, info: &RasterInfo) -> Scale {
        match *self {
            Stretch::Fixed { lo, hi } => Scale { lo, hi, db: None },
            Stretch::Db { lo, hi, of } => Scale { lo, hi, db: Some(of) },
            Stretch::None | Stretch::Percentile(_) => {
                let [lo, hi] = info.range().map(|end| end as f32);
                Scale { lo, hi, db: None }
            }
        }
    }

    /// As [`Stretch::fit`] for `bands` bands of an image in memory, `[pixels, bands]` in the unit of its file, of which
    /// the pixels `valid` have data, or all; `None` for percentiles where none has, or all are NaN or infinite.
    pub fn fit_values(
        &self,
        info: &RasterInfo,
        values: &[f32],
        valid: Option<&[bool]>,
        bands: usize,
    ) -> Option<Vec<Scale>> {
        match (*self, self.fixed(info)) {
            (Stretch::Percentile(p), _) => {
                let mut histograms: Vec<Histogram> = (0..bands).map(|_| Histogram::new(info.sample)).collect();
                for (i, pixel) in values.chunks_exact(bands).enumerate() {
                    if valid.is_none_or(|valid| valid[i]) && pixel.iter().all(|value| value.is_finite()) {
                        pixel.iter().zip(&mut histograms).for_each(|(value, histogram)| histogram.add(*value));
                    }
                }
                scales(&histograms, f64::from(p) / 100.0)
            }
            (_, scale) => Some(vec![scale; bands]),
        }
    }
}

fn percentiles(image: &ImageFile, bands: &[usize], share: f64) -> Result<Vec<Scale>> {
    let mut histograms: Vec<Histogram> = bands.iter().map(|_| Histogram::new(image.info().sample)).collect();
    for area in image.blocks(BLOCK_PIXELS) {
        let window = image.read_window(area, bands)?;
        for (pixel, valid) in window.samples.chunks_exact(bands.len().max(1)).zip(window.valid) {
            if valid {
                pixel.iter().zip(&mut histograms).for_each(|(value, histogram)| histogram.add(*value));
            }
        }
    }
    scales(&histograms, share).ok_or_else(|| {
        Error::input("the scene has no pixel with data", image.path().display(), "check its nodata value and its mask")
    })
}

/// The scale of each band by the shares at its two ends; `None` without values.
fn scales(histograms: &[Histogram], share: f64) -> Option<Vec<Scale>> {
    let scale = |histogram: &Histogram| {
        Some(Scale { lo: histogram.quantile(share)?, hi: histogram.quantile(1.0 - share)?, db: None })
    };
    histograms.iter().map(scale).collect()
}

/// Counts of values: a bin for each integer of up to 16 bits, and for floats a bin for each sign, exponent and 11 bits
/// of mantissa.
struct Histogram {
    /// The first bin's integer; `None` for floats.
    first: Option<i32>,
    counts: Vec<u64>,
}

/// Bits of a float's order that do not choose its bin.
const DROPPED: u32 = 12;

impl Histogram {
    fn new(sample: SampleType) -> Self {
        let first = match sample {
            SampleType::U8 | SampleType::U16 => Some(0),
            SampleType::I8 | SampleType::I16 => Some(i32::from(i16::MIN)),
            _ => None,
        };
        Histogram { first, counts: vec![0; if first.is_some() { 1 << 16 } else { 1 << (32 - DROPPED) }] }
    }

    fn add(&mut self, value: f32) {
        let bin = match self.first {
            Some(first) => (value as i32 - first) as usize,
            None => (ordered(value) >> DROPPED) as usize,
        };
        self.counts[bin] += 1;
    }

    /// The smallest value that at least `share` of all do not exceed; `None` without values.
    fn quantile(&self, share: f64) -> Option<f32> {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0;
        let bin = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(match self.first {
            Some(first) => (bin as i32 + first) as f32,
            // The middle of the bin, but zero itself where a bin begins with it.
            None => match unordered((bin as u32) << DROPPED) {
                0.0 => 0.0,
                _ => unordered((bin as u32) << DROPPED | 1 << (DROPPED - 1)),
            },
        })
    }
}

/// The bits of a float as a number in the order of floats.
fn ordered(value: f32) -> u32 {
    // -0.0 is 0.0.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn unordered(number: u32) -> f32 {
    f32::from_bits(if number >> 31 == 1 { number & !(1 << 31) } else { !number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};
    use approx::abs_diff_eq;

    #[test]
    fn stretches_are_read_and_written_alike() {
        for text in ["none", "0,255", "-25,0.5", "percentile:2", "percentile:0.5", "db:-25,0", "db-amplitude:-30,-5"] {
            assert_eq!(text.parse::<Stretch>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("", "missing a comma"),
            ("5,5", "5 is not below 5"),
            ("1,x", "`x` is not a number"),
            ("0,inf", "`inf` is not a number"),
            ("percentile:50", "not a percentage"),
            ("percentile:-1", "not a percentage"),
            ("gamma:2", "`gamma` is not a kind"),
        ] {
            let error = text.parse::<Stretch>().unwrap_err();
            assert!(error.contains(why) && error.contains("use LO,HI"), "{text}: {error}");
        }
    }

    #[test]
    fn scales_clamp_and_take_decibels() {
        let fixed = Scale { lo: 10.0, hi: 20.0, db: None };
        assert_eq!([5.0, 10.0, 15.0, 99.0].map(|v| fixed.apply(v)), [0.0, 0.0, 0.5, 1.0]);
        assert!(fixed.apply(f32::NAN).is_nan());
        let power = Scale { lo: -20.0, hi: 0.0, db: Some(Backscatter::Intensity) };
        assert_eq!([-1.0, 0.0, 0.1, 1.0].map(|v| power.apply(v)), [0.0, 0.0, 0.5, 1.0]);
        let amplitude = Scale { db: Some(Backscatter::Amplitude), ..power };
        assert_eq!(amplitude.apply(0.1), 0.0);
        assert!(power.apply(f32::NAN).is_nan());
        let flat = Scale { lo: 3.0, hi: 3.0, db: None };
        assert_eq!([2.0, 3.0, 4.0].map(|v| flat.apply(v)), [0.0, 0.0, 1.0]);
    }

    /// The value of rank `ceil(share * n)`, by sorting.
    fn reference(values: &[f32], share: f64) -> f32 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1]
    }

    #[test]
    fn quantiles_are_exact_for_integers_and_within_the_stated_error_for_floats() {
        let rng = Rng::new(5, Stream::Test, 0);
        for (sample, scale, offset) in [
            (SampleType::U8, 255.0, 0.0),
            (SampleType::U16, 65_535.0, 0.0),
            (SampleType::I16, 65_535.0, -32_768.0),
            (SampleType::F32, 1e-3, 0.0),
            (SampleType::F32, 50.0, -30.0),
            (SampleType::F64, 1e9, -1e3),
        ] {
            let values: Vec<f32> = (0..999)
                .map(|i| rng.uniform(i) * scale + offset)
                .map(|v| if sample.is_float() { v } else { v.round() })
                .collect();
            let mut histogram = Histogram::new(sample);
            values.iter().for_each(|v| histogram.add(*v));
            for share in [0.0, 0.02, 0.5, 0.98, 1.0] {
                let (got, expected) = (histogram.quantile(share).unwrap(), reference(&values, share));
                let tolerance = if sample.is_float() { expected.abs() / 4096.0 } else { 0.0 };
                assert!(abs_diff_eq!(got, expected, epsilon = tolerance), "{sample} at {share}: {got}, not {expected}");
            }
        }
        assert_eq!(Histogram::new(SampleType::F32).quantile(0.5), None);
    }

    #[test]
    fn zero_is_its_own_quantile() {
        let mut histogram = Histogram::new(SampleType::F32);
        [0.0, -0.0, 0.0].into_iter().for_each(|v| histogram.add(v));
        assert_eq!(histogram.quantile(0.5), Some(0.0));
    }
}
