//! From the values of a scene to 0..1: a fixed range, percentiles of the scene, or decibels.

use std::fmt;
use std::str::FromStr;

use crate::imaging::raster::info::RasterInfo;

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
    ///
    /// A percentile is the smallest value that at least so many percent of the valid pixels do not exceed. It is exact
    /// for integers of 8 and 16 bits; for others its relative error is at most 2^-12 (0.024 %).
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
    /// The value, in the physical unit of the file, that became `value` of 0..1; `None` where its range is not known.
    pub fn inverse(&self, value: f32) -> Option<f32> {
        let at = |lo: f32, hi: f32| lo + value * (hi - lo);
        match *self {
            Stretch::Fixed { lo, hi } => Some(at(lo, hi)),
            Stretch::Db { lo, hi, of: Backscatter::Intensity } => Some(10f32.powf(at(lo, hi) / 10.0)),
            Stretch::Db { lo, hi, of: Backscatter::Amplitude } => Some(10f32.powf(at(lo, hi) / 20.0)),
            Stretch::None | Stretch::Percentile(_) => None,
        }
    }

    /// Whether its ends are numbers in a physical unit.
    pub fn is_physical(&self) -> bool {
        matches!(self, Stretch::Fixed { .. } | Stretch::Db { .. })
    }

    /// The scale of a band of an image, where it does not depend on the values; of percentiles that of the type's
    /// range.
    pub fn scale(&self, info: &RasterInfo) -> Scale {
        match *self {
            Stretch::Fixed { lo, hi } => Scale { lo, hi, db: None },
            Stretch::Db { lo, hi, of } => Scale { lo, hi, db: Some(of) },
            Stretch::None | Stretch::Percentile(_) => {
                let [lo, hi] = info.range().map(|end| end as f32);
                Scale { lo, hi, db: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::raster::sample::SampleType;
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
    fn values_come_back_where_the_range_is_known() {
        for text in ["0,3000", "-25,5", "db:-25,0", "db-amplitude:-30,-5"] {
            let stretch: Stretch = text.parse().unwrap();
            let scale = stretch.scale(&RasterInfo::new(1, 1, 1, SampleType::F32));
            for value in [0.0, 0.25, 1.0] {
                let back = scale.apply(stretch.inverse(value).unwrap());
                assert!(abs_diff_eq!(back, value, epsilon = 1e-5), "{text}: {back}, not {value}");
            }
        }
        assert_eq!([Stretch::None, Stretch::Percentile(2.0)].map(|stretch| stretch.inverse(0.5)), [None, None]);
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
}
