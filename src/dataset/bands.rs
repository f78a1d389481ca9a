//! Which bands of a file are read, and what is made of two of them.

use std::fmt;
use std::str::FromStr;

use crate::imaging::raster::{Backscatter, Scale, Stretch, Stretches};

/// Bands of a file, counted from 1 as GDAL does, in the order in which they are read; never none. Written as `3,2,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandList(Vec<usize>);

impl BandList {
    /// One band alone, from 1.
    pub(crate) fn one(band: usize) -> Self {
        BandList(vec![band.max(1)])
    }

    /// The numbers.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for BandList {
    type Err = String;

    /// Reads the text of `bands`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.trim().parse() {
            Ok(0) | Err(_) => Err(format!("`{text}` is not the number of a band; use numbers from 1, e.g. 1,2")),
            Ok(number) => Ok(number),
        };
        text.split(',').map(number).collect::<Result<_, _>>().map(BandList)
    }
}

impl fmt::Display for BandList {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, band) in self.0.iter().enumerate() {
            write!(f, "{}{band}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// The least power that a ratio is taken of, -100 dB: below lies no signal, and zero has no logarithm.
const LEAST: f32 = 1e-10;

/// What a ratio of 0 dB to 20 dB, which holds those of polarisations over land and water, becomes: 0 to 1.
const RANGE: Stretch = Stretch::Fixed { lo: 0.0, hi: 20.0 };

/// How the ratio of two bands is taken, in dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ratio {
    /// Of values that are in dB: their difference.
    Difference,
    /// Of linear values: so many times the logarithm of their quotient, 10 of intensities, 20 of amplitudes.
    Quotient(f32),
}

impl Ratio {
    /// The ratio of values that a stretch is for: linear where it takes decibels; else in dB where it reaches below
    /// zero, or, where it does not say, where some value does.
    pub fn of(stretch: Stretch, has_negatives: impl FnOnce() -> bool) -> Self {
        let decibels = match stretch {
            Stretch::Db { of: Backscatter::Amplitude, .. } => return Ratio::Quotient(20.0),
            Stretch::Db { .. } | Stretch::None => false,
            Stretch::Fixed { lo, .. } => lo < 0.0,
            Stretch::Percentile(_) => has_negatives(),
        };
        if decibels { Ratio::Difference } else { Ratio::Quotient(10.0) }
    }

    /// The ratio of `a` to `b` in dB. NaN stays NaN.
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Ratio::Difference => a - b,
            _ if a.is_nan() || b.is_nan() => f32::NAN,
            Ratio::Quotient(factor) => factor * (a.max(LEAST) / b.max(LEAST)).log10(),
        }
    }

    /// The stretch of a ratio beside `bands` bands: its own, if there is one stretch more than bands; percentiles
    /// where the bands have such; else 0 to 20 dB.
    pub fn stretch(stretches: &Stretches, bands: usize) -> Stretch {
        match stretches.of(0) {
            _ if stretches.len() > bands => stretches.of(bands),
            percentile @ Stretch::Percentile(_) => percentile,
            _ => RANGE,
        }
    }

    /// The scale of a stretch of values in dB.
    pub fn scale(stretch: Stretch) -> Scale {
        match stretch {
            Stretch::Fixed { lo, hi } | Stretch::Db { lo, hi, .. } => Scale { lo, hi, db: None },
            _ => Scale { lo: 0.0, hi: 1.0, db: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn lists_are_read_and_written_alike() {
        for text in ["1", "3,2,1", "1,1,12"] {
            assert_eq!(text.parse::<BandList>().unwrap().to_string(), text);
        }
        assert_eq!("1, 2".parse::<BandList>().unwrap().numbers(), [1, 2]);
        for text in ["", "0", "1,", "1,x", "-1"] {
            let error = text.parse::<BandList>().unwrap_err();
            assert!(error.contains("use numbers from 1"), "{text}: {error}");
        }
    }

    #[test]
    fn ratios_are_in_decibels_whatever_the_values_are() {
        let of = |stretch: &str, negatives| Ratio::of(stretch.parse().unwrap(), || negatives);
        for (stretch, negatives, want) in [
            ("db:-25,0", true, Ratio::Quotient(10.0)),
            ("db-amplitude:-25,0", false, Ratio::Quotient(20.0)),
            ("-25,0", false, Ratio::Difference),
            ("0,1", true, Ratio::Quotient(10.0)),
            ("percentile:2", true, Ratio::Difference),
            ("percentile:2", false, Ratio::Quotient(10.0)),
            ("none", false, Ratio::Quotient(10.0)),
        ] {
            assert_eq!(of(stretch, negatives), want, "{stretch}");
        }
        // A hundredth and a thousandth of the power are 10 dB apart, and so are -20 and -30 dB.
        assert_abs_diff_eq!(Ratio::Quotient(10.0).apply(0.01, 0.001), 10.0, epsilon = 1e-5);
        assert_eq!(Ratio::Difference.apply(-20.0, -30.0), 10.0);
        assert_eq!(Ratio::Quotient(10.0).apply(0.0, -3.0), 0.0);
        assert!(Ratio::Quotient(10.0).apply(f32::NAN, 1.0).is_nan() && Ratio::Difference.apply(1.0, f32::NAN).is_nan());
        let stretch = |text: &str| Ratio::stretch(&text.parse().unwrap(), 2).to_string();
        assert_eq!([stretch("-25,0"), stretch("percentile:3")], ["0,20", "percentile:3"]);
        assert_eq!(stretch("-25,0/-30,-5/3,12"), "3,12");
    }
}
