//! How good predictions are on pictures that were not trained on, beside the baselines that anybody can have.

use crate::dataset::loader::BatchMaker;
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::Dataset;
use crate::dataset::stats::DataStats;
use crate::error::Result;
use crate::evaluate::baselines::{Method, baselines};
use crate::imaging::codec::save::to_u8;
use crate::imaging::quality::{Image8, ab_error, psnr, ssim};
use crate::report::page::{Better, Comparison, Metric};
use crate::train::learner::Learner;
use crate::train::samples::predict;

/// Largest side of the centre crops that are evaluated: whole scenes are for `colorize`.
const LARGEST_CROP: usize = 512;

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
    /// What was compared, the model first.
    pub methods: Vec<(Method, Quality)>,
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
    let mut methods: Vec<(Method, Quality)> = Vec::new();
    for step in 1..=pictures as u64 {
        let batch = maker.batch(step)?;
        let mut ways = vec![(Method::Model, predict(learner, &batch)?)];
        ways.extend(baselines(&batch.source, stats));
        let picture = |values: &[f32]| Image8::new(size, size, stats.target_bands(), to_u8(values));
        let truth = picture(&batch.target)?;
        for (i, (method, way)) in ways.into_iter().enumerate() {
            let quality = compare(&picture(&way)?, &truth)?;
            match methods.get_mut(i) {
                Some((_, sum)) => sum.add(&quality),
                None => methods.push((method, quality)),
            }
        }
    }
    methods.iter_mut().for_each(|(_, sum)| sum.divide(pictures as f64));
    Ok(Evaluation { pictures, size, methods })
}

/// The quality of one picture.
fn compare(made: &Image8, truth: &Image8) -> Result<Quality> {
    let bands = truth.bands();
    let band_psnr = |band| psnr(&made.band(band), &truth.band(band));
    Ok(Quality {
        ab_error: if bands == 3 { Some(ab_error(made, truth)?) } else { None },
        psnr: psnr(made, truth)?,
        ssim: ssim(made, truth)?,
        band_psnr: if matches!(bands, 1 | 3) {
            Vec::new()
        } else {
            (0..bands).map(band_psnr).collect::<Result<_>>()?
        },
    })
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
        let methods =
            self.methods.iter().map(|(method, quality)| (method.name().to_owned(), values(quality))).collect();
        Comparison { metrics, methods }
    }

    /// The share by which the model's ab error lies below that of always predicting the mean ab, negative above it; `None`
    /// where targets are no colours, or sources are no grey.
    pub fn gain_over_mean_ab(&self) -> Option<f64> {
        let model = self.methods.first()?.1.ab_error?;
        let mean_ab = self.methods.iter().find(|(method, _)| *method == Method::MeanAb)?.1.ab_error?;
        Some(1.0 - model / mean_ab)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 x 2 pixels alike.
    fn flat(pixel: &[u8]) -> Image8 {
        Image8::new(2, 2, pixel.len(), pixel.repeat(4)).unwrap()
    }

    #[test]
    fn the_figures_of_several_bands_are_those_of_their_errors() {
        // Two bands, off by 51 and by 0 of 255.
        let quality = compare(&flat(&[102, 153]), &flat(&[51, 153])).unwrap();
        let first = 10.0 * 25f64.log10();
        assert!((quality.band_psnr[0] - first).abs() < 1e-9 && quality.band_psnr[1] == f64::INFINITY);
        assert!((quality.psnr - 10.0 * 50f64.log10()).abs() < 1e-9, "{quality:?}");
        assert_eq!(quality.ab_error, None);
        let evaluation = Evaluation { pictures: 1, size: 2, methods: vec![(Method::Model, quality)] };
        let names: Vec<String> = evaluation.comparison().metrics.into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["PSNR", "SSIM", "PSNR of band 1", "PSNR of band 2"]);
        assert_eq!(evaluation.gain_over_mean_ab(), None);
    }

    #[test]
    fn colours_are_compared_over_all_channels_and_by_their_ab() {
        let quality = compare(&flat(&[51, 102, 153]), &flat(&[51, 102, 102])).unwrap();
        assert!((quality.psnr - 10.0 * 75f64.log10()).abs() < 1e-9, "{quality:?}");
        assert!(quality.ab_error.is_some_and(|error| error > 10.0) && quality.band_psnr.is_empty());
    }
}
