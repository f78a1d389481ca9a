//! What is known of a training set before training: its colours, their mean, and the best linear guess.

use rayon::prelude::*;

use super::decode;
use super::pairs::{Dataset, Pair};
use super::picture::Reading;
use crate::color::AbHistogram;
use crate::error::{Error, Result};

/// Pixels in the sample that the prior is counted from, at most.
pub const SAMPLE_PIXELS: usize = 4 << 20;

/// Files decoded before their sums are added up: bounds the memory, and is fixed so that the bits are.
const FILES_AT_ONCE: usize = 16;

/// The means and the linear regression of a training set, stored with a run for `evaluate`'s baselines.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DataStats {
    /// Pictures seen.
    pub pictures: u64,
    /// Pixels seen.
    pub pixels: u64,
    /// Mean CIE a and b of the targets.
    pub mean_ab: [f64; 2],
    /// Mean sRGB of the targets, 0..1.
    pub mean_rgb: [f64; 3],
    /// Least squares of each target channel on the source: `rgb[c] = slope[c] * source + intercept[c]`, all 0..1.
    pub slope: [f64; 3],
    /// See `slope`.
    pub intercept: [f64; 3],
}

impl DataStats {
    /// The regression's colour for a source value 0..1, clamped to 0..1.
    pub fn regress(&self, source: f32) -> [f32; 3] {
        [0, 1, 2].map(|c| (self.slope[c] * f64::from(source) + self.intercept[c]).clamp(0.0, 1.0) as f32)
    }
}

/// The result of one pass over a training set.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Means and regression, over all pixels.
    pub stats: DataStats,
    /// The ab values of all target pixels, for the bins.
    pub histogram: AbHistogram,
    /// The ab values of a regular sample of target pixels, [`SAMPLE_PIXELS`] at most, for the prior.
    pub sample: Vec<[f32; 2]>,
}

/// Sums over pixels.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    pixels: u64,
    ab: [f64; 2],
    rgb: [f64; 3],
    source: f64,
    source_squared: f64,
    source_rgb: [f64; 3],
}

impl Sums {
    #[inline]
    fn add(&mut self, source: f32, rgb: [f32; 3], ab: [f32; 2]) {
        let source = f64::from(source);
        self.pixels += 1;
        self.source += source;
        self.source_squared += source * source;
        for (sum, value) in self.ab.iter_mut().zip(ab) {
            *sum += f64::from(value);
        }
        for (c, value) in rgb.map(f64::from).into_iter().enumerate() {
            self.rgb[c] += value;
            self.source_rgb[c] += source * value;
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.pixels += other.pixels;
        self.source += other.source;
        self.source_squared += other.source_squared;
        for (sum, value) in self.ab.iter_mut().zip(other.ab) {
            *sum += value;
        }
        for c in 0..3 {
            self.rgb[c] += other.rgb[c];
            self.source_rgb[c] += other.source_rgb[c];
        }
    }

    fn finish(&self, pictures: usize) -> DataStats {
        let n = self.pixels as f64;
        let mean = self.source / n;
        let variance = self.source_squared / n - mean * mean;
        let mean_rgb = self.rgb.map(|sum| sum / n);
        let slope = [0, 1, 2].map(|c| {
            let covariance = self.source_rgb[c] / n - mean * mean_rgb[c];
            // A source of one value explains nothing; below 1e-12 the variance is rounding (8-bit steps have 1e-5).
            if variance > 1e-12 { covariance / variance } else { 0.0 }
        });
        let intercept = [0, 1, 2].map(|c| mean_rgb[c] - slope[c] * mean);
        let mean_ab = self.ab.map(|sum| sum / n);
        DataStats { pictures: pictures as u64, pixels: self.pixels, mean_ab, mean_rgb, slope, intercept }
    }
}

/// Reads every picture of `data` once. Fails at the first file, in name order, that cannot be decoded.
///
/// Parallel over files, added up in name order. Fails also at floats outside 0..1 or without a number.
pub fn survey(data: &Dataset) -> Result<Survey> {
    let total: usize = data.infos.iter().map(|info| info.width * info.height).sum();
    // The sample takes every k-th pixel of every k-th row.
    let step = (1..).find(|k| total / (k * k) <= SAMPLE_PIXELS).unwrap_or(1);
    let mut sums = Sums::default();
    let mut histogram = AbHistogram::default();
    let mut sample = Vec::new();
    for pairs in data.pairs.chunks(FILES_AT_ONCE) {
        let parts: Vec<Result<_>> = pairs.par_iter().map(|pair| survey_pair(data, pair, step)).collect();
        for part in parts {
            let (part_sums, part_histogram, part_sample) = part?;
            sums.merge(&part_sums);
            histogram.merge(&part_histogram);
            sample.extend(part_sample);
        }
    }
    crate::ensure!(
        sums.pixels > 0,
        Error::input(
            "no pixel has a number in source and target",
            data.pairs[0].target.display(),
            "fill the missing values"
        )
    );
    Ok(Survey { stats: sums.finish(data.pairs.len()), histogram, sample })
}

fn survey_pair(data: &Dataset, pair: &Pair, step: usize) -> Result<(Sums, AbHistogram, Vec<[f32; 2]>)> {
    let target = decode::open(&pair.target)?;
    let separate = if pair.source == pair.target { None } else { Some(decode::open(&pair.source)?) };
    let source = separate.as_ref().unwrap_or(&target);
    data.source_reading.check(&source.info, &pair.source)?;
    data.target_reading.check(&target.info, &pair.target)?;
    target.check_range(&pair.target)?;
    source.check_range(&pair.source)?;
    let (width, height) = (target.info.width.min(source.info.width), target.info.height.min(source.info.height));
    let (mut sums, mut histogram, mut sample) = (Sums::default(), AbHistogram::default(), Vec::new());
    for y in 0..height {
        for x in 0..width {
            let rgb = target.rgb(x, y);
            let [l, a, b] = target.lab(x, y);
            let grey = match data.source_reading {
                Reading::Grey { band } => source.grey(x, y, band),
                Reading::Lightness | Reading::Rgb => l / 100.0,
            };
            sums.add(grey, rgb, [a, b]);
            histogram.add([a, b]);
            if x % step == 0 && y % step == 0 {
                sample.push([a, b]);
            }
        }
    }
    Ok((sums, histogram, sample))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{Bins, SoftEncoder, prior, srgb8_to_lab};
    use crate::data::pairs::DataSource;
    use crate::data::save::save_png;
    use crate::random::{Rng, Stream};

    /// 20 pairs (more than one group of files) whose target is linear in the source: 0.5 s + 20, 255 - s, 90.
    fn linear_data() -> (tempfile::TempDir, Dataset) {
        let root = tempfile::tempdir().unwrap();
        for side in ["s", "t"] {
            std::fs::create_dir(root.path().join(side)).unwrap();
        }
        for file in 0..20u32 {
            let rng = Rng::new(1, Stream::Test, file);
            let grey: Vec<u8> = (0..64u64).map(|i| 2 * (rng.word(i) >> 25) as u8).collect();
            let rgb: Vec<u8> = grey.iter().flat_map(|v| [v / 2 + 20, 255 - v, 90]).collect();
            save_png(&root.path().join(format!("s/{file:02}.png")), &grey, 8, 8, None).unwrap();
            save_png(&root.path().join(format!("t/{file:02}.png")), &rgb, 8, 8, None).unwrap();
        }
        let source = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t") };
        let data = source.validate(8, None).unwrap();
        (root, data)
    }

    #[test]
    fn the_regression_finds_a_linear_law() {
        let (_root, data) = linear_data();
        let stats = survey(&data).unwrap().stats;
        let want = [(0.5, 20.0 / 255.0), (-1.0, 1.0), (0.0, 90.0 / 255.0)];
        for (c, (slope, intercept)) in want.into_iter().enumerate() {
            // f32 samples: 1280 roundings of 3e-8 against a variance of 0.08.
            assert!((stats.slope[c] - slope).abs() < 1e-6, "{stats:?}");
            assert!((stats.intercept[c] - intercept).abs() < 1e-6, "{stats:?}");
        }
        assert_eq!((stats.pictures, stats.pixels), (20, 1280));
        assert!((stats.regress(0.4)[1] - 0.6).abs() < 1e-6);
    }

    #[test]
    fn means_sample_and_histogram_are_those_of_the_pixels() {
        let (_root, data) = linear_data();
        let found = survey(&data).unwrap();
        let (mut ab, mut rgb) = (Vec::new(), [0.0f64; 3]);
        for pair in &data.pairs {
            let picture = decode::open(&pair.target).unwrap();
            for i in 0..64 {
                let pixel = picture.rgb(i % 8, i / 8);
                (0..3).for_each(|c| rgb[c] += f64::from(pixel[c]) / 1280.0);
                let lab = srgb8_to_lab(pixel.map(|v| (v * 255.0).round() as u8));
                ab.push([lab[1], lab[2]]);
            }
        }
        assert_eq!(found.sample, ab, "1280 pixels are below the limit: the sample is all of them");
        let mut histogram = AbHistogram::default();
        ab.iter().for_each(|v| histogram.add(*v));
        assert_eq!(found.histogram, histogram);
        for (found, want) in found.stats.mean_rgb.iter().zip(rgb) {
            assert!((found - want).abs() < 1e-12);
        }
        let bins = Bins::grid(&found.histogram, 10).unwrap();
        let p = prior(&SoftEncoder::new(&bins, 5.0), &found.sample);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (_root, data) = linear_data();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(survey(&data).unwrap().stats, pool.install(|| survey(&data)).unwrap().stats);
    }

    #[test]
    fn stats_survive_their_file_format() {
        let (_root, data) = linear_data();
        let stats = survey(&data).unwrap().stats;
        let text = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<DataStats>(&text).unwrap(), stats);
    }

    #[test]
    fn images_regress_on_their_lightness() {
        let root = tempfile::tempdir().unwrap();
        let grey: Vec<u8> = (0..64).flat_map(|i| [4 * i as u8; 3]).collect();
        save_png(&root.path().join("a.png"), &grey, 8, 8, None).unwrap();
        let data = DataSource::Images(root.path().into()).validate(8, None).unwrap();
        let stats = survey(&data).unwrap().stats;
        // L is nearly linear in sRGB grey.
        assert!((stats.slope[0] - 1.0).abs() < 0.1 && stats.mean_ab[0].abs() < 0.1, "{stats:?}");
    }
}
