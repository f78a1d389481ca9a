//! Structural similarity.

use crate::engine::blocks;
use crate::error::Result;
use crate::imaging::quality::image8::Image8;
use std::borrow::Cow;

/// Standard deviation of the Gaussian window, in pixels.
const SIGMA: f64 = 1.5;
/// Radius of the window: `floor(3.5 sigma + 0.5)`.
const RADIUS: usize = 5;
/// Width of the window.
const WINDOW: usize = 2 * RADIUS + 1;
/// Stabilisers `(K L)^2` with K1 = 0.01, K2 = 0.03, L = 255.
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Structural similarity, at most 1, the mean over pixels and bands.
///
/// Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
/// TIP 13(4), 2004, eq. 13 with the paper's 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03 and population
/// covariance. Only windows that lie wholly inside the image count. An image with a side below 11 has no such
/// window; it is continued by reflection about its edges and every pixel counts.
///
/// # Errors
/// Images of different sizes or bands.
pub fn ssim(a: &Image8, b: &Image8) -> Result<f64> {
    a.check_like(b)?;
    let padding = if a.width.min(a.height) < WINDOW { RADIUS } else { 0 };
    let (a, b) = (reflected(a, padding), reflected(b, padding));
    let taps = gaussian_taps();
    let (rows, columns) = (a.height - 2 * RADIUS, a.width - 2 * RADIUS);
    // One sum a row, added up in the order of the rows: the same bits on any number of threads.
    let sums = blocks::collect(rows, |y| ssim_row(&a, &b, y, &taps));
    Ok(sums.iter().sum::<f64>() / (rows * columns * a.bands) as f64)
}

/// Sum of the local similarities over the windows whose top row is `y`.
///
/// The bands stay interleaved: the vertical filter is the same for each value of a row, and the horizontal one reads
/// one in `bands`. Both images' means, squares and product go through the separable window together.
fn ssim_row(a: &Image8, b: &Image8, y: usize, taps: &[f64; WINDOW]) -> f64 {
    let stride = a.bands * a.width;
    let mut vertical = [(); 5].map(|()| vec![0.0f64; stride]);
    for (k, &tap) in taps.iter().enumerate() {
        let row = (y + k) * stride..(y + k + 1) * stride;
        let [mean_a, mean_b, square_a, square_b, product] = &mut vertical;
        let values = a.samples[row.clone()].iter().zip(&b.samples[row]);
        let means = mean_a.iter_mut().zip(mean_b.iter_mut());
        let moments = square_a.iter_mut().zip(square_b.iter_mut()).zip(product.iter_mut());
        for (((&va, &vb), (ma, mb)), ((sa, sb), p)) in values.zip(means).zip(moments) {
            let (va, vb) = (f64::from(va), f64::from(vb));
            *ma += tap * va;
            *mb += tap * vb;
            *sa += tap * (va * va);
            *sb += tap * (vb * vb);
            *p += tap * (va * vb);
        }
    }
    let filtered = vertical.map(|row| {
        let mut out = vec![0.0f64; stride - 2 * RADIUS * a.bands];
        for (k, &tap) in taps.iter().enumerate() {
            out.iter_mut().zip(&row[k * a.bands..]).for_each(|(out, &value)| *out += tap * value);
        }
        out
    });
    let [mean_a, mean_b, square_a, square_b, product] = &filtered;
    (0..mean_a.len())
        .map(|i| {
            let (ma, mb) = (mean_a[i], mean_b[i]);
            let variances = (square_a[i] - ma * ma) + (square_b[i] - mb * mb);
            let covariance = product[i] - ma * mb;
            (2.0 * ma * mb + C1) * (2.0 * covariance + C2) / ((ma * ma + mb * mb + C1) * (variances + C2))
        })
        .sum()
}

/// The one-dimensional Gaussian window, sum 1.
fn gaussian_taps() -> [f64; WINDOW] {
    let mut taps: [f64; WINDOW] = std::array::from_fn(|k| (-0.5 * ((k as f64 - RADIUS as f64) / SIGMA).powi(2)).exp());
    let sum: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
}

/// `picture` continued by `padding` pixels on each side, mirrored about its edges (`c b a | a b c | c b a`).
fn reflected(picture: &Image8, padding: usize) -> Cow<'_, Image8> {
    if padding == 0 {
        return Cow::Borrowed(picture);
    }
    let mirror = |i: usize, n: usize| {
        let i = (i as i64 - padding as i64).rem_euclid(2 * n as i64) as usize;
        i.min(2 * n - 1 - i)
    };
    let (width, height, bands) = (picture.width + 2 * padding, picture.height + 2 * padding, picture.bands);
    let mut samples = Vec::with_capacity(width * height * bands);
    for y in 0..height {
        for x in 0..width {
            let first = (mirror(y, picture.height) * picture.width + mirror(x, picture.width)) * bands;
            samples.extend_from_slice(&picture.samples[first..first + bands]);
        }
    }
    Cow::Owned(Image8 { width, height, bands, samples })
}
