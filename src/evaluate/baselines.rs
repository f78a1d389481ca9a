//! Baselines: predictions that need no network.

use crate::dataset::stats::DataStats;
use crate::imaging::color::lab_to_srgb;

/// A method of predicting an image from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By the network.
    Model,
    /// The mean of each band of the training targets everywhere.
    MeanColour,
    /// The source's lightness with the mean ab of the training targets.
    MeanAb,
    /// The source as it is, one band repeated.
    GreyCopy,
    /// Least squares of each band of the training targets on all bands of their sources.
    LinearRegression,
}

impl Method {
    /// Its name in files.
    pub fn key(self) -> &'static str {
        match self {
            Method::Model => "model",
            Method::MeanColour => "mean_colour",
            Method::MeanAb => "mean_ab",
            Method::GreyCopy => "grey_copy",
            Method::LinearRegression => "linear_regression",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Method::Model => "model",
            Method::MeanColour => "mean colour",
            Method::MeanAb => "mean ab",
            Method::GreyCopy => "grey copy",
            Method::LinearRegression => "linear regression",
        }
    }
}

/// The source pixels of `source_bands` values as they are, for images of `bands` bands; `None` where the bands do not
/// fit: a single band is repeated, several must be as many.
pub fn grey_copy(source: &[f32], source_bands: usize, bands: usize) -> Option<Vec<f32>> {
    match source_bands {
        1 => Some(source.iter().flat_map(|&value| std::iter::repeat_n(value, bands)).collect()),
        _ => (source_bands == bands).then(|| source.to_vec()),
    }
}

/// What the baselines make of the pixels of a source, 0..1. The mean ab is one where colour is made of grey.
pub fn baselines(source: &[f32], stats: &DataStats) -> Vec<(Method, Vec<f32>)> {
    let (source_bands, bands) = (stats.source_bands(), stats.target_bands());
    let pixels = source.chunks_exact(source_bands);
    let mean = stats.mean.iter().map(|v| *v as f32);
    let mut ways = vec![(Method::MeanColour, pixels.clone().flat_map(|_| mean.clone()).collect())];
    if let (1, Some(mean_ab)) = (source_bands, stats.mean_ab) {
        let [a, b] = mean_ab.map(|v| v as f32);
        ways.push((Method::MeanAb, source.iter().flat_map(|&v| lab_to_srgb([100.0 * v, a, b])).collect()));
    }
    ways.extend(grey_copy(source, source_bands, bands).map(|copy| (Method::GreyCopy, copy)));
    ways.push((Method::LinearRegression, pixels.flat_map(|pixel| stats.regress(pixel)).collect()));
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(slope: Vec<Vec<f64>>, mean: Vec<f64>, mean_ab: Option<[f64; 2]>) -> DataStats {
        DataStats { pictures: 1, pixels: 4, mean_ab, intercept: vec![0.0; mean.len()], mean, slope, lightness: None }
    }

    #[test]
    fn grey_to_colour_has_all_baselines_and_other_bands_those_that_make_sense() {
        let colour = stats(vec![vec![1.0]; 3], vec![0.5; 3], Some([0.0, 0.0]));
        let ways = baselines(&[0.25; 4], &colour);
        let methods: Vec<Method> = ways.iter().map(|way| way.0).collect();
        assert_eq!(methods, [Method::MeanColour, Method::MeanAb, Method::GreyCopy, Method::LinearRegression]);
        assert!(ways.iter().all(|way| way.1.len() == 12));
        let spectral = stats(vec![vec![0.5, 0.0, 0.5]; 4], vec![0.1, 0.2, 0.3, 0.4], None);
        let ways = baselines(&[0.25, 0.5, 0.75].repeat(4), &spectral);
        assert_eq!(ways[0], (Method::MeanColour, [0.1, 0.2, 0.3, 0.4].repeat(4)));
        assert_eq!(ways[1], (Method::LinearRegression, vec![0.5; 16]));
        assert_eq!(ways.len(), 2);
    }

    #[test]
    fn a_copy_repeats_one_band_and_needs_as_many_of_several() {
        assert_eq!(grey_copy(&[0.1, 0.2], 1, 3).unwrap(), [0.1, 0.1, 0.1, 0.2, 0.2, 0.2]);
        assert_eq!(grey_copy(&[0.1, 0.2], 2, 2).unwrap(), [0.1, 0.2]);
        assert_eq!(grey_copy(&[0.1, 0.2], 2, 3), None);
    }
}
