//! How good predictions are on pictures that were not trained on, beside the baselines that anybody can have.

use super::quality::{mean_ab_error, psnr, ssim};
use super::report::{Better, Comparison, Metric};
use super::samples::{band_as_grey, predict, rgb};
use super::session::Learner;
use crate::color::{lab_to_srgb, srgb_to_lab};
use crate::data::stats::DataStats;
use crate::data::{Batch, BatchMaker, Dataset, LoaderOptions};
use crate::error::Result;
use image::RgbImage;

/// Largest side of the centre crops that are evaluated: whole scenes are for `colorize`.
const LARGEST_CROP: usize = 512;

/// The name of the baseline that the ab error is held against.
const MEAN_AB: &str = "mean ab";

/// Means over pictures of the quality of one way to make targets of sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    /// Mean distance in the ab plane, Lab units; `None` where targets are no colours.
    pub ab_error: Option<f64>,
    /// dB, over all pixels and bands.
    pub psnr: f64,
    /// At most 1, the mean over bands.
    pub ssim: f64,
    /// dB of each band by itself; empty where targets are colours or have one band.
    pub band_psnr: Vec<f64>,
}

/// The quality of the model and of the baselines on one set of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Pictures compared.
    pub pictures: usize,
    /// Side of the centre crops, pixels.
    pub size: usize,
    /// What was compared, by name, the model first. The baselines:
    ///
    /// - `grey copy`, where it makes colour of grey: the source as grey;
    /// - `mean colour`: the mean of the training targets everywhere;
    /// - `mean ab`, where it makes colour of grey: the source's lightness with the mean ab of the training targets;
    /// - `regression`: least squares of each target band on the source.
    pub methods: Vec<(&'static str, Quality)>,
}

/// Evaluates `learner` on centre crops of `data` whose sides are the largest multiple of its stride that every picture has,
/// 512 at most. Figures are computed on values rounded to 8 bits.
///
/// # Errors
/// A picture that breaks, and whatever a launch reports.
pub fn evaluate(learner: &dyn Learner, data: &Dataset, stats: &DataStats) -> Result<Evaluation> {
    let smallest = data.infos.iter().map(|info| info.width.min(info.height)).min().unwrap_or(LARGEST_CROP);
    let stride = learner.painter().framing().stride;
    let size = smallest.min(LARGEST_CROP) / stride * stride;
    let options = LoaderOptions { batch: 1, size, shuffle: false, augment: false, ..LoaderOptions::default() };
    let maker = BatchMaker::new(data.clone(), options);
    let pictures = data.pairs.len();
    let mut methods: Vec<(&'static str, Quality)> = Vec::new();
    for step in 1..=pictures as u64 {
        let batch = maker.batch(step)?;
        let mut ways = vec![("model", predict(learner, &batch)?)];
        ways.extend(baselines(&batch, stats));
        for (i, (name, way)) in ways.into_iter().enumerate() {
            let quality = compare(&way, &batch.target, stats.target_bands(), size)?;
            match methods.get_mut(i) {
                Some((_, sum)) => sum.add(&quality),
                None => methods.push((name, quality)),
            }
        }
    }
    methods.iter_mut().for_each(|(_, sum)| sum.divide(pictures as f64));
    Ok(Evaluation { pictures, size, methods })
}

/// What the baselines make of the source of a batch, by name.
fn baselines(batch: &Batch, stats: &DataStats) -> Vec<(&'static str, Vec<f32>)> {
    let pixels = batch.source.chunks_exact(stats.source_bands());
    let mean = stats.mean.iter().map(|v| *v as f32);
    let mut ways = vec![("mean colour", pixels.clone().flat_map(|_| mean.clone()).collect())];
    if let (1, Some(mean_ab)) = (stats.source_bands(), stats.mean_ab) {
        let [a, b] = mean_ab.map(|v| v as f32);
        ways.insert(0, ("grey copy", batch.source.iter().flat_map(|&v| [v; 3]).collect()));
        ways.push((MEAN_AB, batch.source.iter().flat_map(|&v| lab_to_srgb([100.0 * v, a, b])).collect()));
    }
    ways.push(("regression", pixels.flat_map(|pixel| stats.regress(pixel)).collect()));
    ways
}

/// The quality of one picture of `bands` bands.
fn compare(predicted: &[f32], truth: &[f32], bands: usize, size: usize) -> Result<Quality> {
    let side = size as u32;
    let picture = |values: &[f32]| rgb(values, side, side);
    if bands == 3 {
        let (predicted, truth) = (picture(predicted)?, picture(truth)?);
        let ab_error = Some(mean_ab_error(&ab_of(&predicted), &ab_of(&truth))?);
        let (psnr, ssim) = (psnr(&predicted, &truth)?, ssim(&predicted, &truth)?);
        return Ok(Quality { ab_error, psnr, ssim, band_psnr: Vec::new() });
    }
    let mut quality = Quality::default();
    let mut mean_square = 0.0;
    for band in 0..bands {
        let [predicted, truth] = [predicted, truth].map(|values| picture(&band_as_grey(values, bands, band)));
        let (predicted, truth) = (predicted?, truth?);
        let psnr = psnr(&predicted, &truth)?;
        if bands > 1 {
            quality.band_psnr.push(psnr);
        }
        quality.ssim += ssim(&predicted, &truth)? / bands as f64;
        // In units of the largest value.
        mean_square += 10f64.powf(-psnr / 10.0) / bands as f64;
    }
    quality.psnr = -10.0 * mean_square.log10();
    Ok(quality)
}

fn ab_of(picture: &RgbImage) -> Vec<[f32; 2]> {
    let lab = |pixel: &image::Rgb<u8>| srgb_to_lab(pixel.0.map(|v| f32::from(v) / 255.0));
    picture.pixels().map(lab).map(|[_, a, b]| [a, b]).collect()
}

impl Quality {
    fn add(&mut self, other: &Quality) {
        self.ab_error = self.ab_error.zip(other.ab_error).map(|(sum, value)| sum + value);
        self.psnr += other.psnr;
        self.ssim += other.ssim;
        self.band_psnr.iter_mut().zip(&other.band_psnr).for_each(|(sum, value)| *sum += value);
    }

    fn divide(&mut self, n: f64) {
        self.ab_error = self.ab_error.map(|sum| sum / n);
        self.psnr /= n;
        self.ssim /= n;
        self.band_psnr.iter_mut().for_each(|sum| *sum /= n);
    }
}

impl Evaluation {
    /// The table of a report. Where targets are colours, the ab error leads; else each band has a column of its own.
    pub fn comparison(&self) -> Comparison {
        let model = self.methods.first().map(|(_, quality)| quality);
        let colours = model.is_some_and(|quality| quality.ab_error.is_some());
        let bands = model.map_or(0, |quality| quality.band_psnr.len());
        let mut metrics = Vec::new();
        if colours {
            metrics.push(Metric::new("ab error", "", Better::Lower, 2));
        }
        metrics.push(Metric::new("PSNR", "dB", Better::Higher, 2));
        metrics.push(Metric::new("SSIM", "", Better::Higher, 3));
        metrics.extend((1..=bands).map(|band| Metric::new(format!("PSNR of band {band}"), "dB", Better::Higher, 2)));
        let values = |quality: &Quality| -> Vec<f64> {
            let lead = quality.ab_error.into_iter();
            lead.chain([quality.psnr, quality.ssim]).chain(quality.band_psnr.iter().copied()).collect()
        };
        let methods = self.methods.iter().map(|(name, quality)| ((*name).to_owned(), values(quality))).collect();
        Comparison { metrics, methods }
    }

    /// The share by which the model's ab error lies below that of always predicting the mean ab, negative above it; `None`
    /// where targets are no colours, or sources are no grey.
    pub fn gain_over_mean_ab(&self) -> Option<f64> {
        let model = self.methods.first()?.1.ab_error?;
        let mean_ab = self.methods.iter().find(|(name, _)| *name == MEAN_AB)?.1.ab_error?;
        Some(1.0 - model / mean_ab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(slope: Vec<Vec<f64>>, mean: Vec<f64>, mean_ab: Option<[f64; 2]>) -> DataStats {
        DataStats { pictures: 1, pixels: 4, mean_ab, intercept: vec![0.0; mean.len()], mean, slope }
    }

    fn batch(source: Vec<f32>) -> Batch {
        Batch { step: 1, files: Vec::new(), n: 1, size: 2, halo: 0, source, target: Vec::new() }
    }

    #[test]
    fn grey_to_colour_has_all_baselines_and_other_bands_those_that_make_sense() {
        let colour = stats(vec![vec![1.0]; 3], vec![0.5; 3], Some([0.0, 0.0]));
        let ways = baselines(&batch(vec![0.25; 4]), &colour);
        assert_eq!(
            ways.iter().map(|way| way.0).collect::<Vec<_>>(),
            ["grey copy", "mean colour", "mean ab", "regression"]
        );
        assert!(ways.iter().all(|way| way.1.len() == 12));
        let spectral = stats(vec![vec![0.5, 0.0, 0.5]; 4], vec![0.1, 0.2, 0.3, 0.4], None);
        let ways = baselines(&batch([0.25, 0.5, 0.75].repeat(4)), &spectral);
        assert_eq!(ways[0], ("mean colour", [0.1, 0.2, 0.3, 0.4].repeat(4)));
        assert_eq!(ways[1], ("regression", vec![0.5; 16]));
    }

    #[test]
    fn the_figures_of_several_bands_are_those_of_their_errors() {
        // Two bands, off by 51 and by 0 of 255.
        let truth = [0.2f32, 0.6].repeat(4);
        let predicted = [0.4f32, 0.6].repeat(4);
        let quality = compare(&predicted, &truth, 2, 2).unwrap();
        let first = 10.0 * 25f64.log10();
        assert!((quality.band_psnr[0] - first).abs() < 1e-9 && quality.band_psnr[1] == f64::INFINITY);
        assert!((quality.psnr - 10.0 * 50f64.log10()).abs() < 1e-9, "{quality:?}");
        assert_eq!(quality.ab_error, None);
        let evaluation = Evaluation { pictures: 1, size: 2, methods: vec![("model", quality)] };
        let names: Vec<String> = evaluation.comparison().metrics.into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["PSNR", "SSIM", "PSNR of band 1", "PSNR of band 2"]);
        assert_eq!(evaluation.gain_over_mean_ab(), None);
    }

    #[test]
    fn colours_are_compared_over_all_channels_and_by_their_ab() {
        let quality = compare(&[0.2f32, 0.4, 0.6].repeat(4), &[0.2f32, 0.4, 0.4].repeat(4), 3, 2).unwrap();
        assert!((quality.psnr - 10.0 * 75f64.log10()).abs() < 1e-9, "{quality:?}");
        assert!(quality.ab_error.is_some_and(|error| error > 10.0) && quality.band_psnr.is_empty());
    }
}
