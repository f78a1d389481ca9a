//! The value that stands for no data, and which samples equal it.
//!
//! Sources: GDAL's `CPLAtofM`, which reads the text, and `ARE_REAL_EQUAL`, which compares floats.

use crate::imaging::raster::sample::{EXACT, SampleType};

/// The value that stands for no data.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodata {
    /// As the file writes it, e.g. `-9999` or `nan`.
    pub text: String,
    /// The number.
    pub value: f64,
}

impl Nodata {
    /// The nodata value of the text `text`, NaN and infinities as C's printf writes them anywhere, a comma taken for
    /// the decimal point; `None` if it does not begin with a number.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.split_whitespace().next()?.replace(',', ".").to_ascii_lowercase();
        let value = match number.trim_start_matches(['-', '+']) {
            // What Microsoft's printf writes.
            "1.#qnan" | "1.#snan" | "1.#ind" => f64::NAN,
            "1.#inf" => f64::INFINITY.copysign(if number.starts_with('-') { -1.0 } else { 1.0 }),
            nan if nan.starts_with("nan") => f64::NAN,
            // The largest double, rounded up by who wrote it: no file means infinity by digits.
            digits if digits.starts_with(|c: char| c.is_ascii_digit()) => {
                number.parse::<f64>().ok()?.clamp(f64::MIN, f64::MAX)
            }
            _ => number.parse().ok()?,
        };
        Some(Nodata { text: text.trim().to_owned(), value })
    }

    /// The nodata value `value`, in the shortest text that reads back as the same number.
    pub fn of(value: f64) -> Self {
        let text = if value.is_nan() { "nan".to_owned() } else { value.to_string() };
        Nodata { text, value }
    }

    /// The number as an integer, exactly; `None` where the text says another.
    pub(super) fn integer(&self) -> Option<i128> {
        let digits = self.text.split_whitespace().next()?;
        let whole = || Some(self.value as i128).filter(|_| self.value.fract() == 0.0 && self.value.abs() <= EXACT);
        digits.parse().ok().or_else(whole)
    }

    /// Whether a sample of a type that is made of the number equals it.
    pub(super) fn survives(&self, sample: SampleType) -> bool {
        let made = || match sample.is_signed() {
            true => i128::from(self.value as i64),
            false => i128::from(self.value as u64),
        };
        !sample.is_wide() || self.integer().is_none_or(|integer| integer == made())
    }

    /// Whether a sample of a type can have the value.
    pub fn fits(&self, sample: SampleType) -> bool {
        if sample.is_wide() {
            return self.integer().is_some_and(|integer| sample.holds(integer));
        }
        sample.is_float() || self.value == sample.nearest(self.value)
    }

    /// Whether the sample `value`, of a file's type `sample`, stands for no data: integers that equal the value, floats
    /// that equal it up to a few roundings. Wide integers that do are NaN ([`SampleType::mark`]).
    pub(super) fn is(&self, sample: SampleType, value: f64) -> bool {
        match sample {
            SampleType::F32 => {
                let (a, b) = (value as f32, self.value as f32);
                // The sum of two large numbers is infinite, which makes them equal: that is how GDAL has it, and what
                // files need whose text is rounded, `-3.40282e+38`.
                a == b || (a - b).abs() < f32::EPSILON * (a + b).abs() * 2.0 || b.is_nan() && a.is_nan()
            }
            SampleType::F64 => {
                let (a, b) = (value, self.value);
                a == b || (a - b).abs() < f64::EPSILON * (a + b).abs() * 2.0 || b.is_nan() && a.is_nan()
            }
            _ if sample.is_wide() => value.is_nan(),
            _ => value == self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and samples as GDAL 3.10 reads and masks them (`tools/goldens/nodata.py`).
    #[test]
    fn texts_are_read_and_floats_compared_as_gdal_does() {
        let samples = [1.0, f32::MIN, -3.40282e38, f32::NAN, f32::INFINITY, -9999.0, 0.0, -9999.9, -9999.001];
        for (text, holes) in [
            ("1.#QNAN", vec![3]),
            ("-1.#IND", vec![3]),
            ("1.#SNAN", vec![3]),
            ("nan", vec![3]),
            ("-nan(ind)", vec![3]),
            ("1.#INF", vec![4]),
            ("inf", vec![4]),
            ("-3.40282e+38", vec![1, 2]),
            ("-3.4028234663852886e+38", vec![1, 2]),
            ("-9999,0", vec![5, 8]),
            (" -9999 m", vec![5, 8]),
            ("-9999.9", vec![7]),
        ] {
            let nodata = Nodata::parse(text).unwrap();
            let is = |sample: f32| nodata.is(SampleType::F32, sample.into());
            let found: Vec<usize> = (0..samples.len()).filter(|i| is(samples[*i])).collect();
            assert_eq!(found, holes, "{text}");
        }
        for text in ["", "none", "x7"] {
            assert_eq!(Nodata::parse(text), None, "{text}");
        }
    }

    #[test]
    fn doubles_and_integers_are_compared_exactly() {
        for (text, value) in
            [("-9999.9", -9999.9), ("-1.2676506e30", -1.2676506e30), ("-1.7976931348623157e308", f64::MIN)]
        {
            let nodata = Nodata::parse(text).unwrap();
            assert!(nodata.is(SampleType::F64, value) && nodata.value == value, "{text}");
            assert!(!nodata.is(SampleType::F64, f64::from(value as f32)), "{text} as a single float");
            assert_eq!(Nodata::parse(&Nodata::of(value).text), Some(Nodata::of(value)));
        }
        assert_eq!(Nodata::parse("-1.797693134862316e+308").unwrap().value, f64::MIN);
        let large = Nodata::parse("16777216").unwrap();
        assert!(large.is(SampleType::I32, 16_777_216.0) && !large.is(SampleType::I32, 16_777_217.0));
        for (text, sample, fits) in [
            ("nan", SampleType::U8, false),
            ("3.5", SampleType::I16, false),
            ("-9999", SampleType::U16, false),
            ("-9999", SampleType::I16, true),
            ("4294967295", SampleType::U32, true),
            ("nan", SampleType::F32, true),
            ("18446744073709551615", SampleType::U64, true),
            ("18446744073709551616", SampleType::U64, false),
            ("9223372036854775808", SampleType::I64, false),
            ("-9223372036854775808", SampleType::I64, true),
            ("-9999.0", SampleType::I64, true),
            ("3.5", SampleType::I64, false),
            ("-1", SampleType::U64, false),
        ] {
            assert_eq!(Nodata::parse(text).unwrap().fits(sample), fits, "{text} in {sample}");
        }
    }
}
