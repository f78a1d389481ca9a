//! How good predictions are on pictures that were not trained on, beside the baselines that anybody can have.

use super::quality::{mean_ab_error, psnr, ssim};
use super::report::{Better, Comparison, Metric};
use super::samples::{predict, rgb};
use super::session::Learner;
use crate::color::{lab_to_srgb, srgb_to_lab};
use crate::data::stats::DataStats;
use crate::data::{BatchMaker, Dataset, LoaderOptions};
use crate::error::Result;

/// Largest side of the centre crops that are evaluated: whole scenes are for `colorize`.
const LARGEST_CROP: usize = 512;

/// Means over pictures of the quality of one way to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// Mean distance in the ab plane, Lab units.
    pub ab_error: f64,
    /// dB.
    pub psnr: f64,
    /// At most 1.
    pub ssim: f64,
}

/// The quality of the model and of the baselines on one set of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Pictures compared.
    pub pictures: usize,
    /// Side of the centre crops, pixels.
    pub size: usize,
    /// The network.
    pub model: Quality,
    /// The source as grey.
    pub grey_copy: Quality,
    /// The mean sRGB of the training pictures everywhere.
    pub mean_colour: Quality,
    /// The source's lightness with the mean ab of the training pictures: what always predicting that colour gives.
    pub mean_ab: Quality,
}

/// Evaluates `learner` on centre crops of `data` whose sides are the largest multiple of its stride that every picture has,
/// 512 at most. Figures are computed on the rounded 8-bit pictures.
///
/// # Errors
/// A picture that breaks, and whatever a launch reports.
pub fn evaluate(learner: &dyn Learner, data: &Dataset, stats: &DataStats) -> Result<Evaluation> {
    let smallest = data.infos.iter().map(|info| info.width.min(info.height)).min().unwrap_or(LARGEST_CROP);
    let stride = learner.painter().framing().stride;
    let size = smallest.min(LARGEST_CROP) / stride * stride;
    let options = LoaderOptions { batch: 1, size, shuffle: false, augment: false, ..LoaderOptions::default() };
    let maker = BatchMaker::new(data.clone(), options);
    let mean_rgb = stats.mean_rgb.map(|v| v as f32);
    let mean_ab = stats.mean_ab.map(|v| v as f32);
    let pictures = data.pairs.len();
    let mut sums = [Quality::default(); 4];
    for step in 1..=pictures as u64 {
        let batch = maker.batch(step)?;
        let of_source = |f: &dyn Fn(f32) -> [f32; 3]| -> Vec<f32> { batch.source.iter().flat_map(|&v| f(v)).collect() };
        let ways = [
            predict(learner, &batch)?,
            of_source(&|v| [v; 3]),
            of_source(&|_| mean_rgb),
            of_source(&|v| lab_to_srgb([100.0 * v, mean_ab[0], mean_ab[1]])),
        ];
        for (sum, way) in sums.iter_mut().zip(&ways) {
            let quality = compare(way, &batch.target, size)?;
            sum.ab_error += quality.ab_error;
            sum.psnr += quality.psnr;
            sum.ssim += quality.ssim;
        }
    }
    let n = pictures as f64;
    let [model, grey_copy, mean_colour, mean_ab] =
        sums.map(|sum| Quality { ab_error: sum.ab_error / n, psnr: sum.psnr / n, ssim: sum.ssim / n });
    Ok(Evaluation { pictures, size, model, grey_copy, mean_colour, mean_ab })
}

fn compare(predicted: &[f32], truth: &[f32], size: usize) -> Result<Quality> {
    let side = size as u32;
    let (predicted, truth) = (rgb(predicted, side, side)?, rgb(truth, side, side)?);
    let ab = |picture: &image::RgbImage| -> Vec<[f32; 2]> {
        let lab = |pixel: &image::Rgb<u8>| srgb_to_lab(pixel.0.map(|v| f32::from(v) / 255.0));
        picture.pixels().map(lab).map(|[_, a, b]| [a, b]).collect()
    };
    Ok(Quality {
        ab_error: mean_ab_error(&ab(&predicted), &ab(&truth))?,
        psnr: psnr(&predicted, &truth)?,
        ssim: ssim(&predicted, &truth)?,
    })
}

impl Evaluation {
    /// The methods by name, the model first.
    pub fn methods(&self) -> [(&'static str, Quality); 4] {
        [
            ("model", self.model),
            ("grey copy", self.grey_copy),
            ("mean colour", self.mean_colour),
            ("mean ab", self.mean_ab),
        ]
    }

    /// The table of a report; the ab error leads.
    pub fn comparison(&self) -> Comparison {
        Comparison {
            metrics: vec![
                Metric::new("ab error", "", Better::Lower, 2),
                Metric::new("PSNR", "dB", Better::Higher, 2),
                Metric::new("SSIM", "", Better::Higher, 3),
            ],
            methods: self
                .methods()
                .map(|(name, quality)| (name.to_owned(), vec![quality.ab_error, quality.psnr, quality.ssim]))
                .to_vec(),
        }
    }

    /// The share by which the model's ab error lies below that of always predicting the mean ab; negative above it.
    pub fn gain_over_mean_ab(&self) -> f64 {
        1.0 - self.model.ab_error / self.mean_ab.ab_error
    }
}
