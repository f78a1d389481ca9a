//! What is known of a training set before training: its colours, their mean, and the best linear guess.

use crate::dataset::grey::is_grey;
use crate::dataset::lightness::LightnessMatch;
use crate::dataset::pair::Pair;
use crate::dataset::pairs::Dataset;
use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::imaging::color::AbHistogram;
use crate::imaging::picture::Reading;
use crate::imaging::pixels::Area;

/// Pixels in the sample that the prior is counted from, at most.
pub const SAMPLE_PIXELS: usize = 4 << 20;

/// Files decoded before their sums are added up: bounds the memory, and is fixed so that the bits are.
const FILES_AT_ONCE: usize = 16;

/// The means and the linear regression of a training set, stored with a run for `evaluate`'s baselines.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DataStats {
    /// Images seen.
    pub pictures: u64,
    /// Pixels seen.
    pub pixels: u64,
    /// Mean CIE a and b of the targets, where they are colours.
    pub mean_ab: Option<[f64; 2]>,
    /// Mean of each target band, 0..1.
    pub mean: Vec<f64>,
    /// Least squares of each target band on all source bands: `target[t] = intercept[t] + sum over s of slope[t][s]
    /// source[s]`, all 0..1.
    pub slope: Vec<Vec<f64>>,
    /// See `slope`.
    pub intercept: Vec<f64>,
    /// Which lightness a radar value stands for; only of grey sources with colours for targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lightness: Option<LightnessMatch>,
}

impl DataStats {
    /// Bands of the sources.
    pub fn source_bands(&self) -> usize {
        self.slope.first().map_or(0, Vec::len)
    }

    /// Bands of the targets.
    pub fn target_bands(&self) -> usize {
        self.mean.len()
    }

    /// The regression's target for a source pixel, values 0..1, clamped to 0..1.
    pub fn regress<'a>(&'a self, source: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.slope.iter().zip(&self.intercept).map(move |(slope, intercept)| {
            let sum: f64 = slope.iter().zip(source).map(|(slope, value)| slope * f64::from(*value)).sum();
            (intercept + sum).clamp(0.0, 1.0) as f32
        })
    }
}

/// The result of one pass over a training set.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Means and regression, over all pixels.
    pub stats: DataStats,
    /// The ab values of all target pixels, for the bins; none where targets are not colours.
    pub histogram: AbHistogram,
    /// The ab values of a regular sample of target pixels, [`SAMPLE_PIXELS`] at most, for the prior.
    pub sample: Vec<[f32; 2]>,
    /// Targets without colour, where colours are wanted.
    pub grey: usize,
}

/// The share of one pair.
struct Part {
    sums: Sums,
    histogram: AbHistogram,
    sample: Vec<[f32; 2]>,
    grey: bool,
}

/// Sums over pixels.
#[derive(Debug, Clone)]
struct Sums {
    pixels: u64,
    ab: [f64; 2],
    /// `[source bands]`.
    source: Vec<f64>,
    /// `[target bands]`.
    target: Vec<f64>,
    /// Products of source bands, `[source bands, source bands]`.
    squares: Vec<f64>,
    /// Products of source and target bands, `[target bands, source bands]`.
    products: Vec<f64>,
}

impl Sums {
    fn new(source_bands: usize, target_bands: usize) -> Self {
        let zeros = |len: usize| vec![0.0; len];
        Sums {
            pixels: 0,
            ab: [0.0; 2],
            source: zeros(source_bands),
            target: zeros(target_bands),
            squares: zeros(source_bands * source_bands),
            products: zeros(source_bands * target_bands),
        }
    }

    #[inline]
    fn add(&mut self, source: &[f32], target: &[f32]) {
        let add_products = |sums: &mut [f64], rows: &[f32]| {
            for (sums, row) in sums.chunks_exact_mut(source.len()).zip(rows) {
                sums.iter_mut().zip(source).for_each(|(sum, value)| *sum += f64::from(*row) * f64::from(*value));
            }
        };
        self.pixels += 1;
        self.source.iter_mut().zip(source).for_each(|(sum, value)| *sum += f64::from(*value));
        self.target.iter_mut().zip(target).for_each(|(sum, value)| *sum += f64::from(*value));
        add_products(&mut self.squares, source);
        add_products(&mut self.products, target);
    }

    fn merge(&mut self, other: &Sums) {
        let add = |sums: &mut [f64], others: &[f64]| sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        self.pixels += other.pixels;
        add(&mut self.ab, &other.ab);
        add(&mut self.source, &other.source);
        add(&mut self.target, &other.target);
        add(&mut self.squares, &other.squares);
        add(&mut self.products, &other.products);
    }

    /// The figures of `pictures`; `colour` says whether `ab` was counted.
    fn finish(&self, pictures: usize, colour: bool) -> DataStats {
        let n = self.pixels as f64;
        let bands = self.source.len();
        let mean_of = |sums: &[f64]| sums.iter().map(|sum| sum / n).collect::<Vec<f64>>();
        let (source, target) = (mean_of(&self.source), mean_of(&self.target));
        let covariances = |products: &[f64], mean: f64| -> Vec<f64> {
            products.iter().zip(&source).map(|(sum, other)| sum / n - mean * other).collect()
        };
        let rows = |products: &[f64], means: &[f64]| -> Vec<Vec<f64>> {
            products.chunks_exact(bands).zip(means).map(|(row, mean)| covariances(row, *mean)).collect()
        };
        let normal = rows(&self.squares, &source);
        let slope: Vec<Vec<f64>> =
            rows(&self.products, &target).into_iter().map(|right| solve(normal.clone(), right)).collect();
        let explained = |slope: &Vec<f64>| slope.iter().zip(&source).map(|(slope, mean)| slope * mean).sum::<f64>();
        let intercept = target.iter().zip(&slope).map(|(mean, slope)| mean - explained(slope)).collect();
        let mean_ab = colour.then(|| self.ab.map(|sum| sum / n));
        let pictures = pictures as u64;
        DataStats { pictures, pixels: self.pixels, mean_ab, mean: target, slope, intercept, lightness: None }
    }
}

/// Variances below are rounding (8-bit steps have 1e-5).
const ROUNDING: f64 = 1e-12;

/// Solves the normal equations `covariance x = right` of a least squares fit by elimination.
///
/// A band whose variance, as far as the bands before it do not explain it, is rounding (a constant band, or one that
/// repeats others) explains nothing: its coefficient is 0.
fn solve(mut covariance: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for k in 0..n {
        let pivot_row = covariance[k].clone();
        if pivot_row[k] <= ROUNDING {
            continue;
        }
        for row in k + 1..n {
            let factor = covariance[row][k] / pivot_row[k];
            covariance[row].iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
            right[row] -= factor * right[k];
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev().filter(|k| covariance[*k][*k] > ROUNDING) {
        let known: f64 = (k + 1..n).map(|j| covariance[k][j] * x[j]).sum();
        x[k] = (right[k] - known) / covariance[k][k];
    }
    x
}

/// Reads every image of `data` once. Fails at the first file, in name order, that cannot be decoded.
///
/// Parallel over files, added up in name order. Pixels without data are left out. Fails also at floats outside 0..1.
pub fn survey(data: &Dataset) -> Result<Survey> {
    let total: usize = data.infos.iter().map(|info| info.width * info.height).sum();
    // The sample takes every k-th pixel of every k-th row.
    let step = (1..).find(|k| total / (k * k) <= SAMPLE_PIXELS).unwrap_or(1);
    let mut sums = Sums::new(data.source_reading.channels(), data.target_reading.channels());
    let mut histogram = AbHistogram::default();
    let (mut sample, mut grey) = (Vec::new(), 0);
    for pairs in data.pairs.chunks(FILES_AT_ONCE) {
        let parts = blocks::collect(pairs.len(), |i| survey_pair(data, &pairs[i], step));
        for part in parts {
            let part = part?;
            sums.merge(&part.sums);
            histogram.merge(&part.histogram);
            sample.extend(part.sample);
            grey += usize::from(part.grey);
        }
    }
    crate::ensure!(
        sums.pixels > 0,
        Error::input(
            "no pixel has data in source and target",
            data.pairs[0].target.path().display(),
            "fill the missing values"
        )
    );
    let stats = sums.finish(data.pairs.len(), data.target_reading.is_colour());
    Ok(Survey { stats, histogram, sample, grey })
}

fn survey_pair(data: &Dataset, pair: &Pair, step: usize) -> Result<Part> {
    let target = pair.target.open()?;
    let separate = if pair.source == pair.target { None } else { Some(pair.source.open()?) };
    let source = separate.as_ref().unwrap_or(&target);
    data.source_reading.check(&source.info, pair.source.path())?;
    data.target_reading.check(&target.info, pair.target.path())?;
    target.check_range(pair.target.path())?;
    source.check_range(pair.source.path())?;
    let (width, height) = (target.info.width.min(source.info.width), target.info.height.min(source.info.height));
    let (source_bands, target_bands) = (data.source_reading.channels(), data.target_reading.channels());
    let mut sums = Sums::new(source_bands, target_bands);
    let (mut histogram, mut sample) = (AbHistogram::default(), Vec::new());
    let (mut source_row, mut target_row) = (vec![0.0; width * source_bands], vec![0.0; width * target_bands]);
    for y in 0..height {
        let row = Area { x: 0, y, width, height: 1 };
        target.read(data.target_reading, row, &mut target_row);
        // Lightness comes with the colours below.
        let lightness = data.source_reading == Reading::Lightness;
        if !lightness {
            source.read(data.source_reading, row, &mut source_row);
        }
        if data.target_reading.is_colour() {
            let lab: Vec<[f32; 3]> = (0..width).map(|x| target.lab(x, y)).collect();
            if lightness {
                source_row.iter_mut().zip(&lab).for_each(|(value, [l, ..])| *value = l / 100.0);
            }
            for (x, [_, a, b]) in lab.into_iter().enumerate() {
                let mut values = source_row[x * source_bands..].iter().take(source_bands);
                if target_row[x * target_bands].is_nan() || values.any(|value| value.is_nan()) {
                    continue;
                }
                sums.ab[0] += f64::from(a);
                sums.ab[1] += f64::from(b);
                histogram.add([a, b]);
                if x % step == 0 && y % step == 0 {
                    sample.push([a, b]);
                }
            }
        }
        for (source, target) in source_row.chunks_exact(source_bands).zip(target_row.chunks_exact(target_bands)) {
            // What has no data in one of the two says nothing.
            if !source.iter().chain(target).any(|value| value.is_nan()) {
                sums.add(source, target);
            }
        }
    }
    Ok(Part { sums, histogram, sample, grey: data.target_reading.is_colour() && is_grey(&target) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::pairs::DataSource;
    use crate::dataset::preparation::Preparations;
    use crate::imaging::codec::save::save_png;
    use crate::imaging::color::{Bins, SoftEncoder, prior, srgb8_to_lab};
    use crate::random::{Rng, Stream};
    use approx::{abs_diff_eq, assert_abs_diff_eq};

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
        let source =
            DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
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
            assert!(abs_diff_eq!(stats.slope[c][0], slope, epsilon = 1e-6), "{stats:?}");
            assert!(abs_diff_eq!(stats.intercept[c], intercept, epsilon = 1e-6), "{stats:?}");
        }
        assert_eq!((stats.pictures, stats.pixels), (20, 1280));
        assert_abs_diff_eq!(stats.regress(&[0.4]).nth(1).unwrap(), 0.6, epsilon = 1e-6);
    }

    #[test]
    fn several_bands_are_regressed_on_together_and_useless_ones_left_out() {
        let mut sums = Sums::new(4, 2);
        for i in 0..500 {
            let rng = Rng::new(3, Stream::Test, i);
            let [a, b] = [0, 1].map(|k| rng.uniform(k));
            // The third band is constant, the fourth repeats the others: neither adds anything.
            let source = [a, b, 0.25, 0.5 * a + 0.5 * b];
            sums.add(&source, &[0.1 + 0.6 * a - 0.2 * b, 0.7]);
        }
        let stats = sums.finish(1, false);
        assert_eq!((stats.source_bands(), stats.target_bands(), stats.mean_ab), (4, 2, None));
        for (found, want) in stats.slope[0].iter().zip([0.6, -0.2, 0.0, 0.0]) {
            // f32 values against a variance of 0.08.
            assert!(abs_diff_eq!(*found, want, epsilon = 1e-5), "{stats:?}");
        }
        let fit: Vec<f32> = stats.regress(&[0.5, 0.25, 0.25, 0.375]).collect();
        assert!(abs_diff_eq!(fit[0], 0.35, epsilon = 1e-5) && abs_diff_eq!(fit[1], 0.7, epsilon = 1e-5), "{fit:?}");
    }

    #[test]
    fn pictures_of_any_bands_have_means_and_no_ab() {
        let (root, _) = linear_data();
        let source =
            DataSource::Pairs { source: root.path().join("t"), target: root.path().join("s"), recursive: false };
        let data =
            source.validate_as(8, source.readings_of_all_bands(None, &Preparations::default()).unwrap()).unwrap();
        let found = survey(&data).unwrap();
        assert_eq!((found.stats.source_bands(), found.stats.target_bands()), (3, 1));
        assert!(found.stats.mean_ab.is_none() && found.sample.is_empty());
        // Green is 255 - s; the others repeat it or are constant.
        let fit = found.stats.regress(&[60.0 / 255.0, 175.0 / 255.0, 90.0 / 255.0]).next().unwrap();
        assert!(abs_diff_eq!(fit, 80.0 / 255.0, epsilon = 1e-5), "{fit}");
    }

    #[test]
    fn means_sample_and_histogram_are_those_of_the_pixels() {
        let (_root, data) = linear_data();
        let found = survey(&data).unwrap();
        let (mut ab, mut rgb) = (Vec::new(), [0.0f64; 3]);
        for pair in &data.pairs {
            let picture = pair.target.open().unwrap();
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
        for (found, want) in found.stats.mean.iter().zip(rgb) {
            assert_abs_diff_eq!(*found, want, epsilon = 1e-12);
        }
        let bins = Bins::grid(&found.histogram, 10).unwrap();
        let p = prior(&SoftEncoder::new(&bins, 5.0), &found.sample);
        assert_abs_diff_eq!(p.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
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
        let data = DataSource::Images { folder: root.path().into(), recursive: false }.validate(8, None).unwrap();
        let stats = survey(&data).unwrap().stats;
        // L is nearly linear in sRGB grey.
        assert!(
            abs_diff_eq!(stats.slope[0][0], 1.0, epsilon = 0.1) && stats.mean_ab.unwrap()[0].abs() < 0.1,
            "{stats:?}"
        );
    }
}
