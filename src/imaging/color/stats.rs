//! How often each bin occurs, and the class weights that make up for it.

use std::fmt;
use std::str::FromStr;

use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::imaging::color::bins::Bins;
use crate::imaging::color::encode::SoftEncoder;

/// Pixels in one partial sum; fixed, so that the bits do not depend on the number of threads.
const BLOCK: usize = 1 << 16;

/// SciPy's `gaussian_filter` cuts its kernel at this many sigmas.
const TRUNCATE: f64 = 4.0;

/// How the prior is smoothed: the text of `prior-smoothing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Smoothing {
    /// By the distance of the bins in the ab plane: `ab`.
    Ab,
    /// Along the bin index, as the published code does, though neighbours in the list mean nothing: `index`.
    Index,
    /// Not at all: `none`.
    None,
}

impl FromStr for Smoothing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ab" => Ok(Smoothing::Ab),
            "index" => Ok(Smoothing::Index),
            "none" => Ok(Smoothing::None),
            _ => Err(Error::input(
                "no such smoothing of the prior",
                format!("⟨prior-smoothing⟩ {text}"),
                "use ab, index or none",
            )),
        }
    }
}

impl fmt::Display for Smoothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Smoothing::Ab => "ab",
            Smoothing::Index => "index",
            Smoothing::None => "none",
        })
    }
}

/// The share of each bin in `pixels` (each `[a, b]`) by soft counts: `[Q]`, sum 1. Uniform without pixels.
pub fn prior(encoder: &SoftEncoder, pixels: &[[f32; 2]]) -> Vec<f64> {
    let q = encoder.bins();
    let blocks = blocks::collect(pixels.len().div_ceil(BLOCK), |i| {
        let mut counts = vec![0.0; q];
        for ab in blocks::block(pixels, BLOCK, i) {
            let (index, weight) = encoder.encode(*ab);
            for (i, w) in index.iter().zip(weight) {
                counts[*i as usize] += f64::from(w);
            }
        }
        counts
    });
    let mut total = vec![if pixels.is_empty() { 1.0 } else { 0.0 }; q];
    for counts in &blocks {
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    normalised(total)
}

/// Smooths a prior by a Gaussian of `sigma`: ab units for [`Smoothing::Ab`], bins for [`Smoothing::Index`]. Sum 1.
///
/// In the ab plane `p~_i ∝ sum_j p_j exp(-|c_i - c_j|^2 / (2 sigma^2))`. Along the index it is SciPy's
/// `gaussian_filter(p, sigma)`: reflected at both ends, cut at four sigmas.
pub fn smooth(prior: &[f64], bins: &Bins, sigma: f64, smoothing: Smoothing) -> Vec<f64> {
    let smoothed = match smoothing {
        Smoothing::None => prior.to_vec(),
        Smoothing::Ab => bins
            .centres
            .iter()
            .map(|c| {
                let kernel = |other: &[f32; 2]| {
                    let (da, db) = (f64::from(c[0]) - f64::from(other[0]), f64::from(c[1]) - f64::from(other[1]));
                    (-(da * da + db * db) / (2.0 * sigma * sigma)).exp()
                };
                prior.iter().zip(&bins.centres).map(|(p, other)| p * kernel(other)).sum()
            })
            .collect(),
        Smoothing::Index => gaussian_filter(prior, sigma),
    };
    normalised(smoothed)
}

/// `w_q ∝ 1 / ((1 - lambda) p_q + lambda / Q)`, scaled so that `sum_q p_q w_q = 1`: `[Q]`.
///
/// `prior` is the final one, smoothed or read from a file, in the f32 that is stored: weights made again from a stored
/// prior have the same bits. Fails when `lambda` is not within 0..1, when the prior is not a distribution, and when
/// `lambda` is 0 and a bin has no prior (its weight would be infinite).
pub fn class_weights(prior: &[f32], lambda: f32) -> Result<Vec<f32>> {
    crate::ensure!(
        (0.0..=1.0).contains(&lambda),
        Error::input(
            "the share of the uniform prior is not within 0 to 1",
            format!("⟨lambda⟩ {lambda}"),
            "0.5 is usual"
        )
    );
    let sum: f64 = prior.iter().copied().map(f64::from).sum();
    crate::ensure!(
        prior.iter().all(|p| p.is_finite() && *p >= 0.0) && sum > 0.0,
        Error::input("the prior is not a distribution", "prior", "give one value of 0 or more per bin, not all 0")
    );
    let (lambda, uniform) = (f64::from(lambda), 1.0 / prior.len() as f64);
    let raw: Vec<f64> = prior.iter().map(|p| 1.0 / ((1.0 - lambda) * f64::from(*p) + lambda * uniform)).collect();
    crate::ensure!(
        raw.iter().all(|w| w.is_finite()),
        Error::input(
            "a bin that never occurs would weigh infinitely",
            format!("⟨lambda⟩ {lambda}"),
            "use a value above 0"
        )
    );
    let mean: f64 = prior.iter().zip(&raw).map(|(p, w)| f64::from(*p) * w).sum();
    Ok(raw.iter().map(|w| (w / mean) as f32).collect())
}

fn normalised(mut values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|v| *v /= sum);
    values
}

/// One-dimensional Gaussian filter with mirrored ends (`d c b a | a b c d | d c b a`).
fn gaussian_filter(values: &[f64], sigma: f64) -> Vec<f64> {
    let radius = (TRUNCATE * sigma + 0.5) as i64;
    let kernel = normalised((-radius..=radius).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect());
    let n = values.len() as i64;
    let mirrored = |i: i64| {
        let i = i.rem_euclid(2 * n);
        values[if i < n { i } else { 2 * n - 1 - i } as usize]
    };
    (0..n).map(|i| (-radius..=radius).zip(&kernel).map(|(k, w)| w * mirrored(i + k)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    fn line_of_bins() -> Bins {
        Bins { centres: (0..12).map(|i| [10.0 * i as f32 - 55.0, if i % 2 == 0 { 5.0 } else { -5.0 }]).collect() }
    }

    #[test]
    fn the_prior_is_the_mean_of_the_soft_codes() {
        let encoder = SoftEncoder::new(&line_of_bins(), 5.0);
        let rng = Rng::new(1, Stream::Test, 0);
        // More than one block, the last one not full.
        let pixels: Vec<[f32; 2]> =
            (0..70_000u64).map(|i| [80.0 * rng.uniform(2 * i) - 40.0, 20.0 * rng.uniform(2 * i + 1)]).collect();
        let mut want = vec![0.0f64; 12];
        for ab in &pixels {
            let (index, weight) = encoder.encode(*ab);
            (0..5).for_each(|k| want[index[k] as usize] += f64::from(weight[k]) / 70_000.0);
        }
        let p = prior(&encoder, &pixels);
        assert_abs_diff_eq!(p.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
        // The order of 70,000 f64 additions, and codes that sum to 1 within 1e-7 only.
        p.iter().zip(&want).for_each(|(p, w)| assert!(abs_diff_eq!(p, w, epsilon = 1e-7), "{p} {w}"));
    }

    #[test]
    fn the_prior_has_the_same_bits_with_one_thread() {
        let encoder = SoftEncoder::new(&line_of_bins(), 5.0);
        let rng = Rng::new(2, Stream::Test, 0);
        let pixels: Vec<[f32; 2]> = (0..200_000u64).map(|i| [80.0 * rng.uniform(i) - 40.0, 3.0]).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(prior(&encoder, &pixels), pool.install(|| prior(&encoder, &pixels)));
    }

    #[test]
    fn smoothing_in_the_ab_plane_follows_distance_not_index() {
        let bins = Bins { centres: vec![[0.0, 0.0], [90.0, 0.0], [10.0, 0.0]] };
        let p = smooth(&[1.0, 0.0, 0.0], &bins, 5.0, Smoothing::Ab);
        // exp(-100 / 50) beside exp(0), and nothing 90 units away.
        assert_abs_diff_eq!(p[2] / p[0], (-2.0f64).exp(), epsilon = 1e-12);
        assert!(p[1] < 1e-12);
        assert_abs_diff_eq!(p.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
    }

    #[test]
    fn smoothing_along_the_index_mirrors_the_ends_again_and_again() {
        let bins = line_of_bins();
        // Mirrored ends keep a constant, even where the kernel (41 taps) is longer than the list.
        for p in smooth(&[1.0 / 12.0; 12], &bins, 5.0, Smoothing::Index) {
            assert!(abs_diff_eq!(p, 1.0 / 12.0, epsilon = 1e-12), "{p}");
        }
        // A single spike at one end of a list of two: tap k lands on it where k mod 4 is 0 or 3 from the first place.
        let kernel = |k: i64| (-0.5 * (k as f64 / 5.0).powi(2)).exp();
        let total: f64 = (-20..=20).map(kernel).sum();
        let first: f64 = (-20..=20i64).filter(|k| [0, 3].contains(&k.rem_euclid(4))).map(kernel).sum();
        let filtered = gaussian_filter(&[1.0, 0.0], 5.0);
        assert!(abs_diff_eq!(filtered[0], first / total, epsilon = 1e-12), "{filtered:?}");
        assert_abs_diff_eq!(filtered[0] + filtered[1], 1.0, epsilon = 1e-12);
    }

    #[test]
    fn no_smoothing_changes_nothing() {
        assert_eq!(smooth(&[0.25, 0.75], &Bins { centres: vec![[0.0; 2]; 2] }, 5.0, Smoothing::None), [0.25, 0.75]);
    }

    #[test]
    fn class_weights_average_to_one_under_the_prior() {
        let prior = [0.7f32, 0.2, 0.1, 0.0];
        let weights = class_weights(&prior, 0.5).unwrap();
        let mean: f64 = prior.iter().zip(&weights).map(|(p, w)| f64::from(*p) * f64::from(*w)).sum();
        assert!(abs_diff_eq!(mean, 1.0, epsilon = 1e-6), "{weights:?}");
        // (0.5 * 0.7 + 0.125) / (0.5 * 0.1 + 0.125)
        assert!(abs_diff_eq!(f64::from(weights[2] / weights[0]), 0.475 / 0.175, epsilon = 1e-6), "{weights:?}");
        assert!(weights[3] > weights[2]);
    }

    #[test]
    fn weights_that_would_be_infinite_are_refused() {
        assert!(class_weights(&[0.5, 0.5], 0.0).is_ok());
        for (prior, lambda) in [([1.0, 0.0], 0.0), ([0.5, 0.5], 1.5), ([f32::NAN, 0.5], 0.5), ([0.0, 0.0], 0.5)] {
            assert_eq!(class_weights(&prior, lambda).unwrap_err().exit_code(), 2, "{prior:?} {lambda}");
        }
    }

    #[test]
    fn the_flag_reads_and_prints() {
        for text in ["ab", "index", "none"] {
            assert_eq!(text.parse::<Smoothing>().unwrap().to_string(), text);
        }
        assert!("gauss".parse::<Smoothing>().is_err());
    }
}
