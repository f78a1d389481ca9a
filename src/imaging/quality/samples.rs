//! Errors of samples, whatever they stand for.

use crate::engine::blocks;
use crate::error::Result;
use crate::imaging::quality::image8::Image8;
use rayon::prelude::*;

/// Mean squared error, samples 0..255, over all pixels and bands.
///
/// # Errors
/// Images of different sizes or bands.
pub fn mse(made: &Image8, truth: &Image8) -> Result<f64> {
    made.check_like(truth)?;
    Ok(squared_error(made, truth) as f64 / made.samples.len() as f64)
}

/// Mean absolute error, samples 0..255, over all pixels and bands.
///
/// # Errors
/// Images of different sizes or bands.
pub fn mae(made: &Image8, truth: &Image8) -> Result<f64> {
    made.check_like(truth)?;
    let sum: u64 = both(made, truth).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    Ok(sum as f64 / made.samples.len() as f64)
}

/// Peak signal-to-noise ratio in dB: `10 log10(255^2 / MSE)`. Equal images give infinity.
///
/// # Errors
/// Images of different sizes or bands.
pub fn psnr(made: &Image8, truth: &Image8) -> Result<f64> {
    Ok(10.0 * (255.0f64.powi(2) / mse(made, truth)?).log10())
}

/// Normalised root mean squared error by the Euclidean norm of the truth: `|made - truth| / |truth|`; NaN for a wrong
/// image of what is black.
///
/// # Errors
/// Images of different sizes or bands.
pub fn nrmse(made: &Image8, truth: &Image8) -> Result<f64> {
    made.check_like(truth)?;
    let norm: u64 = truth.samples.par_iter().map(|&v| u64::from(v).pow(2)).sum();
    match (squared_error(made, truth), norm) {
        (0, _) => Ok(0.0),
        (_, 0) => Ok(f64::NAN),
        (error, norm) => Ok((error as f64 / norm as f64).sqrt()),
    }
}

/// Mean angle in degrees, 0..90, between the spectra of pixels, of all bands: `acos(made . truth / (|made| |truth|))`.
///
/// Kruse et al., "The Spectral Image Processing System (SIPS)", Remote Sensing of Environment 44, 1993. A pixel that is
/// black in either image has no spectrum and is left out; NaN where that leaves none.
///
/// # Errors
/// Images of different sizes or bands.
pub fn spectral_angle(made: &Image8, truth: &Image8) -> Result<f64> {
    made.check_like(truth)?;
    let (row, bands) = (made.width * made.bands, made.bands);
    let sums = blocks::collect(made.height, |y| {
        let [made, truth] = [made, truth].map(|image| blocks::block(&image.samples, row, y).chunks_exact(bands));
        let angles = made.zip(truth).filter_map(|(a, b)| angle(a, b));
        angles.fold((0.0, 0), |(sum, count), angle| (sum + angle, count + 1))
    });
    let (sum, count) = sums.iter().fold((0.0, 0), |all, row| (all.0 + row.0, all.1 + row.1));
    Ok(sum / count as f64)
}

/// The angle between two spectra in degrees.
fn angle(a: &[u8], b: &[u8]) -> Option<f64> {
    let dot = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(&a, &b)| u64::from(a) * u64::from(b)).sum::<u64>() as f64;
    let norms = dot(a, a) * dot(b, b);
    // Exact up to the root, which rounds to above 1 now and then.
    (norms > 0.0).then(|| (dot(a, b) / norms.sqrt()).min(1.0).acos().to_degrees())
}

/// Sum of squared differences; integers are exact in any order: 2^64 holds the squares of 2.8e14 samples.
fn squared_error(made: &Image8, truth: &Image8) -> u64 {
    both(made, truth).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
}

fn both<'a>(made: &'a Image8, truth: &'a Image8) -> impl IndexedParallelIterator<Item = (&'a u8, &'a u8)> {
    made.samples.par_iter().zip(&truth.samples)
}
