//! Image quality on 8-bit sRGB pictures: PSNR, SSIM, and the mean error in the ab plane.

use std::borrow::Cow;

use image::RgbImage;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Standard deviation of SSIM's Gaussian window, in pixels.
const SIGMA: f64 = 1.5;
/// Radius of the window: `floor(3.5 sigma + 0.5)`.
const RADIUS: usize = 5;
/// Width of the window.
const WINDOW: usize = 2 * RADIUS + 1;
/// Stabilisers `(K L)^2` with K1 = 0.01, K2 = 0.03, L = 255.
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Peak signal-to-noise ratio in dB: `10 log10(255^2 / MSE)`, the mean taken over all pixels and channels. Equal
/// pictures give infinity.
///
/// # Errors
///
/// Pictures of different sizes, or without pixels.
pub fn psnr(a: &RgbImage, b: &RgbImage) -> Result<f64> {
    same_size(a, b)?;
    // Integer sums are exact in any order: 2^64 holds the squares of 2.8e14 values.
    let squares: u64 = a.par_iter().zip(b.par_iter()).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    Ok(10.0 * (255.0f64.powi(2) * a.len() as f64 / squares as f64).log10())
}

/// Structural similarity, at most 1, the mean over pixels and the channels R, G, B.
///
/// Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
/// TIP 13(4), 2004, eq. 13 with the paper's 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03 and population
/// covariance. Only windows that lie wholly inside the picture count. A picture with a side below 11 has no such
/// window; it is continued by reflection about its edges and every pixel counts.
///
/// # Errors
///
/// Pictures of different sizes, or without pixels.
pub fn ssim(a: &RgbImage, b: &RgbImage) -> Result<f64> {
    same_size(a, b)?;
    let padding = if (a.width().min(a.height()) as usize) < WINDOW { RADIUS } else { 0 };
    let (a, b) = (reflected(a, padding), reflected(b, padding));
    let taps = gaussian_taps();
    let rows = a.height() as usize - 2 * RADIUS;
    let columns = a.width() as usize - 2 * RADIUS;
    // One sum a row, added up in the order of the rows: the same bits on any number of threads.
    let sums: Vec<f64> = (0..rows).into_par_iter().map(|y| ssim_row(&a, &b, y, &taps)).collect();
    Ok(sums.iter().sum::<f64>() / (rows * columns * 3) as f64)
}

/// Mean Euclidean distance in the ab plane of CIE Lab between `predicted` and `truth`, in Lab units, one `[a, b]` a
/// pixel.
///
/// # Errors
///
/// Planes of different lengths, or without pixels.
pub fn mean_ab_error(predicted: &[[f32; 2]], truth: &[[f32; 2]]) -> Result<f64> {
    if predicted.len() != truth.len() || truth.is_empty() {
        let counts = format!("{} and {} pixels", predicted.len(), truth.len());
        return Err(Error::input("ab planes that cannot be compared", counts, "give two pictures of one size"));
    }
    let distance = |(p, t): (&[f32; 2], &[f32; 2])| {
        let (da, db) = (f64::from(p[0]) - f64::from(t[0]), f64::from(p[1]) - f64::from(t[1]));
        (da * da + db * db).sqrt()
    };
    Ok(predicted.iter().zip(truth).map(distance).sum::<f64>() / truth.len() as f64)
}

/// Sum of the local similarities over the windows whose top row is `y`.
///
/// The channels stay interleaved: the vertical filter is the same for each value of a row, and the horizontal one reads
/// every third. Both pictures' means, squares and product go through the separable window together.
fn ssim_row(a: &RgbImage, b: &RgbImage, y: usize, taps: &[f64; WINDOW]) -> f64 {
    let stride = 3 * a.width() as usize;
    let mut vertical = [(); 5].map(|()| vec![0.0f64; stride]);
    for (k, &tap) in taps.iter().enumerate() {
        let row = (y + k) * stride..(y + k + 1) * stride;
        let [mean_a, mean_b, square_a, square_b, product] = &mut vertical;
        let values = a.as_raw()[row.clone()].iter().zip(&b.as_raw()[row]);
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
        let mut out = vec![0.0f64; stride - 6 * RADIUS];
        for (k, &tap) in taps.iter().enumerate() {
            out.iter_mut().zip(&row[3 * k..]).for_each(|(out, &value)| *out += tap * value);
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
fn reflected(picture: &RgbImage, padding: usize) -> Cow<'_, RgbImage> {
    if padding == 0 {
        return Cow::Borrowed(picture);
    }
    let (width, height) = picture.dimensions();
    let mirror = |i: u32, n: u32| {
        let i = (i64::from(i) - padding as i64).rem_euclid(2 * i64::from(n)) as u32;
        i.min(2 * n - 1 - i)
    };
    let both = 2 * padding as u32;
    let pixel = |x, y| *picture.get_pixel(mirror(x, width), mirror(y, height));
    Cow::Owned(RgbImage::from_fn(width + both, height + both, pixel))
}

fn same_size(a: &RgbImage, b: &RgbImage) -> Result<()> {
    if a.dimensions() == b.dimensions() && !a.is_empty() {
        return Ok(());
    }
    let sizes = format!("{} x {} and {} x {}", a.width(), a.height(), b.width(), b.height());
    Err(Error::input("pictures that cannot be compared", sizes, "give two pictures of one size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Golden values from scikit-image 0.26.0:
    //
    //   def picture(h, w, k):
    //       y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    //       return ((7*x + 3*y + 40*c + k*((x*y + 13*c) % 23)) % 256).astype(np.uint8)
    //   def near(a):
    //       return np.clip(a.astype(int) + (np.arange(a.size).reshape(a.shape)*37) % 29 - 14, 0, 255).astype(np.uint8)
    //   peak_signal_noise_ratio(a, b, data_range=255)
    //   structural_similarity(a, b, gaussian_weights=True, use_sample_covariance=False, data_range=255, channel_axis=2)
    //
    // with a = picture(h, w, 1) and b = picture(h, w, 3) or near(a); pictures below 11 pixels with win_size=1, which
    // leaves the window as it is and drops the crop.

    fn picture(h: u32, w: u32, k: u32) -> RgbImage {
        let value = |x: u32, y: u32, c: u32| ((7 * x + 3 * y + 40 * c + k * ((x * y + 13 * c) % 23)) % 256) as u8;
        RgbImage::from_fn(w, h, |x, y| image::Rgb([0, 1, 2].map(|c| value(x, y, c))))
    }

    fn near(a: &RgbImage) -> RgbImage {
        let mut b = a.clone();
        for (i, value) in b.iter_mut().enumerate() {
            *value = (i32::from(*value) + (i as i32 * 37) % 29 - 14).clamp(0, 255) as u8;
        }
        b
    }

    /// Both sides compute in f64; only the order of the sums differs.
    const TOLERANCE: f64 = 1e-9;

    #[test]
    fn psnr_and_ssim_agree_with_scikit_image() {
        let golden = [
            (11, 11, [20.509166176670433, 0.7523512463366919], [29.72690818208125, 0.8570379324717127]),
            (12, 17, [17.850303488442464, 0.7559572097465895], [29.717392962311973, 0.8602870694057394]),
            (24, 31, [11.105462171378317, 0.4321531743280418], [29.81772040006215, 0.8883786196477944]),
            (40, 16, [12.025350845726678, 0.5254605653567633], [29.74496884649969, 0.8661155707075726]),
        ];
        for (h, w, far, close) in golden {
            let a = picture(h, w, 1);
            for (b, [want_psnr, want_ssim]) in [(picture(h, w, 3), far), (near(&a), close)] {
                let (got_psnr, got_ssim) = (psnr(&a, &b).unwrap(), ssim(&a, &b).unwrap());
                assert!((got_psnr - want_psnr).abs() < TOLERANCE, "{h}x{w}: PSNR {got_psnr}, want {want_psnr}");
                assert!((got_ssim - want_ssim).abs() < TOLERANCE, "{h}x{w}: SSIM {got_ssim}, want {want_ssim}");
            }
        }
    }

    #[test]
    fn ssim_of_small_pictures_agrees_with_scikit_image_without_its_crop() {
        let golden = [
            (1, 1, 0.9975172784993714),
            (1, 40, 0.8434041231665863),
            (7, 5, 0.8174217682862234),
            (10, 32, 0.8768260549857195),
        ];
        for (h, w, want) in golden {
            let a = picture(h, w, 1);
            let got = ssim(&a, &near(&a)).unwrap();
            assert!((got - want).abs() < TOLERANCE, "{h}x{w}: SSIM {got}, want {want}");
        }
    }

    #[test]
    fn equal_pictures_have_infinite_psnr_and_ssim_one() {
        for (h, w) in [(1, 1), (5, 40), (30, 30)] {
            let a = picture(h, w, 2);
            assert_eq!(psnr(&a, &a).unwrap(), f64::INFINITY);
            assert!((ssim(&a, &a).unwrap() - 1.0).abs() < TOLERANCE);
        }
    }

    #[test]
    fn pictures_of_different_or_no_size_are_refused() {
        for (a, b) in [(picture(4, 5, 1), picture(5, 4, 1)), (RgbImage::new(0, 3), RgbImage::new(0, 3))] {
            assert_eq!(psnr(&a, &b).unwrap_err().exit_code(), 2);
            assert_eq!(ssim(&a, &b).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn ssim_has_the_same_bits_on_any_number_of_threads() {
        let (a, b) = (picture(97, 64, 1), picture(97, 64, 3));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| ssim(&a, &b).unwrap().to_bits())
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn the_ab_error_is_the_mean_distance() {
        assert_eq!(mean_ab_error(&[[3.0, 4.0], [0.0, -1.0]], &[[0.0, 0.0], [0.0, 1.0]]).unwrap(), 3.5);
        assert!(mean_ab_error(&[], &[]).is_err());
        assert!(mean_ab_error(&[[0.0, 0.0]], &[]).is_err());
    }
}
