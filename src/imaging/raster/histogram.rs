//! Counts of values, and the quantiles of them.

use crate::imaging::raster::sample::SampleType;

/// Counts of values: a bin for each integer of up to 16 bits, and for floats a bin for each sign, exponent and 11 bits
/// of mantissa.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The first bin's integer; `None` for floats.
    first: Option<i32>,
    counts: Vec<u64>,
}

/// Bits of a float's order that do not choose its bin.
const DROPPED: u32 = 12;

impl Histogram {
    /// Without values; of samples of a type, as a file has them.
    pub fn new(sample: SampleType) -> Self {
        let first = match sample {
            SampleType::U8 | SampleType::U16 => Some(0),
            SampleType::I8 | SampleType::I16 => Some(i32::from(i16::MIN)),
            _ => None,
        };
        Histogram { first, counts: vec![0; if first.is_some() { 1 << 16 } else { 1 << (32 - DROPPED) }] }
    }

    /// Counts a value.
    pub fn add(&mut self, value: f32) {
        let bin = match self.first {
            Some(first) => (value as i32 - first) as usize,
            None => (ordered(value) >> DROPPED) as usize,
        };
        self.counts[bin] += 1;
    }

    /// The smallest value that at least `share` of all do not exceed; `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f32> {
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
