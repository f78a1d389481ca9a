//! From radar to the lightness of an optical image.
//!
//! A SAR image is not an optical one, and its speckle is not lightness. For the networks that colour but keep the
//! lightness of their source, a better one is the source without its speckle, each value replaced by the lightness that
//! is as common among the training's targets as that value is among its sources: histogram matching (Gonzalez, Woods,
//! "Digital Image Processing", 2018, section 3.3).
use serde::{Deserialize, Serialize};

use crate::dataset::despeckle::{Despeckle, LOOKS};
use crate::dataset::pair::Pair;
use crate::dataset::pairs::Dataset;
use crate::engine::blocks;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::imaging::ops::lee::lee;
use crate::imaging::picture::Reading;
use crate::imaging::raster::Backscatter;

/// Images that the quantiles are taken from, at most; spread evenly over the training data.
const PICTURES: usize = 32;
/// Steps from the least to the greatest quantile.
const STEPS: usize = 256;
/// Cells of the histograms that quantiles are read off.
const CELLS: usize = 4096;
/// The filter: prepared values are assumed to be amplitudes of Sentinel-1.
const FILTER: Despeckle = Despeckle { side: 7, looks: LOOKS };

/// Pixels around a window that its lightness depends on.
pub const MARGIN: usize = FILTER.side / 2;

/// Filters the speckle of sources `[N, H, W, C]` 0..1; NaN is no data and stays.
///
/// # Errors
/// Whatever the launch reports.
pub fn despeckled(source: &Tensor) -> Result<Tensor> {
    lee(source, FILTER.side, FILTER.variation(Backscatter::Amplitude))
}

/// Which lightness a despeckled source value stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightnessMatch {
    /// Quantiles of the despeckled sources, 0..1, from the least to the greatest.
    source: Vec<f32>,
    /// The same of the targets' lightness, CIE L / 100.
    target: Vec<f32>,
}

impl LightnessMatch {
    /// That of a training set, by the first band of the sources; `None` unless that is not yet lightness, and targets
    /// are colours.
    ///
    /// # Errors
    /// An image that cannot be read; whatever the filter reports.
    pub fn of(data: &Dataset) -> Result<Option<Self>> {
        if data.source_reading == Reading::Lightness || !data.target_reading.is_colour() {
            return Ok(None);
        }
        let step = data.pairs.len().div_ceil(PICTURES);
        let pairs: Vec<&Pair> = data.pairs.iter().step_by(step).collect();
        let counted = blocks::collect(pairs.len(), |i| count(data, pairs[i]));
        let mut sums = [vec![0u64; CELLS], vec![0u64; CELLS]];
        for counts in counted {
            for (sum, count) in sums.iter_mut().zip(counts?) {
                sum.iter_mut().zip(count).for_each(|(sum, count)| *sum += count);
            }
        }
        let [source, target] = sums.map(|counts| quantiles(&counts));
        Ok(Some(LightnessMatch { source, target }))
    }

    /// L / 100 for a despeckled source value; NaN stays.
    pub fn apply(&self, value: f32) -> f32 {
        if value.is_nan() {
            return value;
        }
        let below = self.source.partition_point(|&quantile| quantile < value);
        let up_to = self.source.partition_point(|&quantile| quantile <= value);
        if up_to > below {
            // As common a value as several quantiles: the middle of theirs.
            return (self.target[below] + self.target[up_to - 1]) / 2.0;
        }
        match below {
            0 => self.target[0],
            end if end == self.source.len() => self.target[end - 1],
            _ => {
                let (low, high) = (self.source[below - 1], self.source[below]);
                let share = (value - low) / (high - low);
                self.target[below - 1] + share * (self.target[below] - self.target[below - 1])
            }
        }
    }
}

/// Histograms of a pair: despeckled source values, and the target's L / 100.
fn count(data: &Dataset, pair: &Pair) -> Result<[Vec<u64>; 2]> {
    let (source, target) = (pair.source.open()?, pair.target.open()?);
    let (width, height) = (source.info.width, source.info.height);
    let channels = data.source_reading.channels();
    let mut values = vec![0.0; width * height * channels];
    source.read(data.source_reading, source.area(), &mut values);
    let values: Vec<f32> = values.into_iter().step_by(channels).collect();
    let values =
        despeckled(&Tensor::new(&crate::engine::device::Device::cpu(), &[1, height, width, 1], &values)?)?.to_vec()?;
    let mut counts = [vec![0u64; CELLS], vec![0u64; CELLS]];
    let cell = |value: f32| ((value * CELLS as f32) as usize).min(CELLS - 1);
    values.iter().filter(|value| !value.is_nan()).for_each(|value| counts[0][cell(*value)] += 1);
    for y in 0..target.info.height {
        let has_data = |x: &usize| !target.rgb(*x, y)[0].is_nan();
        (0..target.info.width).filter(has_data).for_each(|x| counts[1][cell(target.lab(x, y)[0] / 100.0)] += 1);
    }
    Ok(counts)
}

/// The quantiles of 0..1 counted by cells; values lie evenly within a cell.
fn quantiles(counts: &[u64]) -> Vec<f32> {
    let total = counts.iter().sum::<u64>() as f64;
    let (mut cell, mut before) = (0, 0.0);
    let quantile = |step: usize| {
        let rank = total * step as f64 / STEPS as f64;
        while cell + 1 < counts.len() && (counts[cell] == 0 || before + (counts[cell] as f64) < rank) {
            before += counts[cell] as f64;
            cell += 1;
        }
        let within = ((rank - before) / (counts[cell].max(1) as f64)).clamp(0.0, 1.0);
        ((cell as f64 + within) / counts.len() as f64) as f32
    };
    (0..=STEPS).map(quantile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::pairs::DataSource;
    use crate::imaging::codec::save::save_png;
    use crate::imaging::color::srgb8_to_lab;
    use crate::random::{Rng, Stream};
    use approx::abs_diff_eq;

    fn matched(target_of: impl Fn(u8) -> u8) -> LightnessMatch {
        let root = tempfile::tempdir().unwrap();
        for side in ["s", "t"] {
            std::fs::create_dir(root.path().join(side)).unwrap();
        }
        for file in 0..3u32 {
            let rng = Rng::new(1, Stream::Test, file);
            // Flat blocks: the filter leaves the inside of them as it is, and hardly touches their sharp edges.
            let block: Vec<u8> = (0..64).map(|i| 20 + (rng.word(i) >> 26) as u8 * 3).collect();
            let grey: Vec<u8> = (0..128 * 128).map(|i| block[i / 128 / 16 * 8 + i % 128 / 16]).collect();
            let rgb: Vec<u8> = grey.iter().flat_map(|v| [target_of(*v); 3]).collect();
            save_png(&root.path().join(format!("s/{file}.png")), &grey, 128, 128, None).unwrap();
            save_png(&root.path().join(format!("t/{file}.png")), &rgb, 128, 128, None).unwrap();
        }
        let source =
            DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
        LightnessMatch::of(&source.validate(8, None).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn values_become_the_lightness_that_is_as_common() {
        let by = matched(|v| 255 - v / 2);
        // Where sources are brighter, targets are darker; matching keeps the order, and gives the k-th of the one the
        // k-th of the other: the median source the median target.
        let mut last = 0.0;
        for i in 0..=100 {
            let l = by.apply(i as f32 / 100.0);
            assert!((0.0..=1.0).contains(&l) && l >= last, "{i}: {l} after {last}");
            last = l;
        }
        let l = |v: u8| srgb8_to_lab([v; 3])[0] / 100.0;
        // 64 levels of 3 in random blocks: the extremes are within a few of 20 and 209.
        assert!(abs_diff_eq!(by.apply(0.0), l(255 - 209 / 2), epsilon = 0.03), "{}", by.apply(0.0));
        assert!(abs_diff_eq!(by.apply(1.0), l(255 - 20 / 2), epsilon = 0.03), "{}", by.apply(1.0));
        assert!(by.apply(f32::NAN).is_nan());
    }

    #[test]
    fn equal_pictures_match_their_own_lightness() {
        let by = matched(|v| v);
        for v in [40u8, 90, 140, 190] {
            let (found, want) = (by.apply(f32::from(v) / 255.0), srgb8_to_lab([v; 3])[0] / 100.0);
            // Between two of 192 random levels, and what the filter blurs at the edges of blocks.
            assert!(abs_diff_eq!(found, want, epsilon = 0.03), "{v}: {found}, expected {want}");
        }
    }

    #[test]
    fn quantiles_are_those_of_evenly_filled_cells() {
        let found = quantiles(&[0, 4, 0, 4]);
        assert_eq!((found[0], found[STEPS / 4], found[STEPS / 2], found[STEPS]), (0.25, 0.375, 0.5, 1.0));
    }
}
