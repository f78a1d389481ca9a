//! Logits over bins to colours: the annealed mean of their softmax, fused with the bilinear enlargement.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::Op;
use crate::engine::ops::bilinear_tap::Tap;
use crate::engine::ops::gemm::{Vectors, with_vectors};
use crate::engine::ops::softmax::Softmax;
use crate::engine::ops::vector_math::{LANES, exp2, largest, log2, total};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::soft_encode::bin_count;
use rayon::prelude::*;
use std::f32::consts::LN_2;
use std::ops::Range;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&ANNEALED_MEAN];

/// Partial sums of the twin: a wide vector of them.
const WIDE: usize = 2 * LANES;
/// Pixels along each side of a workgroup.
const GROUP_SIDE: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    h: u32,
    w: u32,
    q: u32,
    factor: u32,
    sharpness: f32,
    first: u32,
    rows: u32,
}

static ANNEALED_MEAN: Kernel<Params> = Kernel {
    name: "annealed_mean",
    bodies: &[Body::proved(kernel_text!("annealed_mean"), &|p, _| {
        let width = p.w * p.factor;
        let flops = 30.0 * f64::from(p.n) * f64::from(width) * f64::from(p.rows) * f64::from(p.q);
        let squares = [width.div_ceil(GROUP_SIDE), p.rows.div_ceil(GROUP_SIDE), p.n];
        Plan::single(linear_grid(squares.map(|v| v as usize).iter().product(), 1), flops)
    })],
    twin: &annealed_mean_twin,
};

fn annealed_mean_twin(p: &Params, args: Args) -> Result<()> {
    let ([probability, bins], [], [ab, entropy]) = args.split()?;
    let [h, w, q, factor, first, rows] = [p.h, p.w, p.q, p.factor, p.first, p.rows].map(|size| size as usize);
    let width = w * factor;
    let columns: Vec<Tap> = (0..width).map(|x| Tap::new(x, factor, w)).collect();
    let (bins, _) = bins.as_chunks::<2>();
    // Rows padded to whole vectors with probabilities and centres of zero, which count for nothing.
    let padded = q.next_multiple_of(WIDE);
    let mut centres = [vec![0.0; padded], vec![0.0; padded]];
    for (q, bin) in bins.iter().enumerate() {
        (centres[0][q], centres[1][q]) = (bin[0], bin[1]);
    }

    let (ab, _) = ab.as_chunks_mut::<2>();
    ab.par_chunks_mut(width).zip(entropy.par_chunks_mut(width)).enumerate().for_each_init(
        || (vec![0.0; w * padded], vec![0.0; padded]),
        |(mixed, zhat), (row, (ab, entropy))| {
            let y = Tap::new(first + row % rows, factor, h);
            let [upper, lower] = [y.first, y.second].map(|y| &probability[(row / rows * h + y) * w * q..][..w * q]);
            with_vectors(
                #[inline(always)]
                |vectors| {
                    for ((mixed, upper), lower) in
                        mixed.chunks_exact_mut(padded).zip(upper.chunks_exact(q)).zip(lower.chunks_exact(q))
                    {
                        mix(&mut mixed[..q], upper, lower, y.share);
                    }
                    for ((ab, entropy), x) in ab.iter_mut().zip(entropy).zip(&columns) {
                        let [left, right] = [x.first, x.second].map(|x| &mixed[x * padded..][..padded]);
                        mix(zhat, left, right, x.share);
                        (*ab, *entropy) = anneal(zhat, &centres, p.sharpness, vectors);
                    }
                },
            );
        },
    );
    Ok(())
}

#[inline(always)]
fn mix(y: &mut [f32], first: &[f32], second: &[f32], share: f32) {
    y.iter_mut().zip(first).zip(second).for_each(|((y, first), second)| *y = (1.0 - share) * first + share * second);
}

/// Mean colour and entropy of one distribution; its length and that of the centres is a multiple of [`WIDE`].
#[inline(always)]
fn anneal(zhat: &[f32], centres: &[Vec<f32>; 2], sharpness: f32, vectors: Vectors) -> ([f32; 2], f32) {
    let (zhat, _) = zhat.as_chunks::<WIDE>();
    let [(a, _), (b, _)] = [&centres[0], &centres[1]].map(|centres| centres.as_chunks::<WIDE>());
    let mut peaks = [0.0; WIDE];
    for zhat in zhat {
        for lane in 0..WIDE {
            peaks[lane] = if zhat[lane] > peaks[lane] { zhat[lane] } else { peaks[lane] };
        }
    }
    let peak = log2(largest(&peaks), vectors);
    let [mut sums, mut sums_a, mut sums_b, mut bits] = [[0.0; WIDE]; 4];
    for ((zhat, a), b) in zhat.iter().zip(a).zip(b) {
        for lane in 0..WIDE {
            let z = zhat[lane];
            let log = log2(z, vectors);
            let power = exp2((log - peak) * sharpness, vectors);
            // A NaN has no weight either: its softmax is all NaN, and the mean 0 / 0.
            let weight = if z >= f32::MIN_POSITIVE { power } else { 0.0 };
            sums[lane] += weight;
            sums_a[lane] = vectors.multiply_add(weight, a[lane], sums_a[lane]);
            sums_b[lane] = vectors.multiply_add(weight, b[lane], sums_b[lane]);
            // The logarithm of zero is finite here.
            bits[lane] = vectors.multiply_add(z, log, bits[lane]);
        }
    }
    let sum = wide_total(sums);
    ([wide_total(sums_a) / sum, wide_total(sums_b) / sum], -wide_total(bits) * LN_2)
}

/// The sum of [`WIDE`] partial sums.
fn wide_total(lanes: [f32; WIDE]) -> f32 {
    total(std::array::from_fn(|lane| lanes[lane] + lanes[lane + LANES]))
}

/// What a classifier says of each full-size pixel.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// `[N, H, W, 2]`: a and b.
    pub ab: Tensor,
    /// `[N, H, W, 1]`: the entropy of the enlarged probabilities in nats, 0 (sure) to ln Q (no idea).
    pub entropy: Tensor,
}

/// Colours from low-resolution logits: `softmax(log(zhat) / T)` over the bins, times their centres.
///
/// `logits`: `[N, h, w, Q]`; `zhat` is their softmax enlarged `factor` times (1 or more), bilinear with half-pixel
/// centres and clamped edges, mixed pixel by pixel and never stored; `bins`: `[Q, 2]`, the centres. `temperature` T,
/// 0.0001 to 5, goes from the mode (towards 0) to the mean (1) and beyond, towards that of all bins; 0.38 in the
/// source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equation 5.
///
/// # Errors
/// Shapes that do not fit together, a temperature out of range, no memory, and whatever a launch reports.
pub fn annealed_mean(logits: &Tensor, bins: &Tensor, factor: usize, temperature: f32) -> Result<Decoded> {
    let rows = 0..logits.nhwc()?[1].saturating_mul(factor);
    annealed_mean_of_rows(logits, bins, factor, temperature, rows)
}

/// As [`annealed_mean`], of some rows of full-size pixels alone: `[N, rows, W, 2]` and `[N, rows, W, 1]`.
///
/// # Errors
/// Those of [`annealed_mean`], and rows that do not lie within the image.
pub fn annealed_mean_of_rows(
    logits: &Tensor,
    bins: &Tensor,
    factor: usize,
    temperature: f32,
    rows: Range<usize>,
) -> Result<Decoded> {
    let [n, h, w, q] = logits.nhwc()?;
    crate::ensure!(
        bin_count(bins)? == q,
        Error::input(
            format!("bin centres of shape [{q}, 2] are needed"),
            format!("{:?}", bins.shape()),
            "use the bins that the model was trained with"
        )
    );
    // Coordinates are doubled, with a sign.
    let enlarged = |size: usize| factor.checked_mul(size).filter(|&size| 0 < size && size < 1 << 29);
    let (Some(height), Some(width)) = (enlarged(h), enlarged(w)) else {
        let sizes = format!("factor {factor} of {:?}", logits.shape());
        return Err(Error::input(
            "an enlargement is by at least 1, to at most 2^29 pixels a side",
            sizes,
            "4 is usual",
        ));
    };
    // Below the first the mean has long been the mode. Above the second, probabilities that are too small for f32, and
    // so are 0, would have weights that count: e^-87 has 3e-8 at T = 5, but 0.99 at T = 10000.
    crate::ensure!(
        (1e-4..=5.0).contains(&temperature),
        Error::input(
            "the temperature must lie in 0.0001 to 5",
            format!("⟨temperature⟩ {temperature}"),
            "0.38 is the default"
        )
    );
    crate::ensure!(
        rows.start < rows.end && rows.end <= height,
        Error::input(
            format!("rows {} to {} are not among those of the enlarged image", rows.start, rows.end),
            format!("{height} rows"),
            "take fewer"
        )
    );
    let device = logits.device();
    let probability = Softmax.forward(&[logits])?.y;
    let ab = Tensor::empty(device, &[n, rows.len(), width, 2])?;
    let entropy = Tensor::empty(device, &[n, rows.len(), width, 1])?;
    let [n, h, w, q, factor, first, rows] = [n, h, w, q, factor, rows.start, rows.len()].map(|size| size as u32);
    let params = Params { n, h, w, q, factor, sharpness: 1.0 / temperature, first, rows };
    device.launch(&ANNEALED_MEAN, &params, &[&probability, bins], &[], &[&ab, &entropy])?;
    Ok(Decoded { ab, entropy })
}

/// A small run of the kernel.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let (logits, bins) = (
        crate::engine::self_test::seeded(device, &[2, 3, 5, 70], 1)?,
        crate::engine::self_test::seeded(device, &[70, 2], 2)?,
    );
    let Decoded { ab, entropy } = annealed_mean(&logits, &bins, 4, 0.38)?;
    Ok(vec![ab, entropy])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{cases, devices};
    use crate::random::{Rng, Stream};
    use proptest::prelude::*;

    fn logits(rows: usize, q: usize, spread: f32) -> Vec<f32> {
        let rng = Rng::new(31, Stream::Test, 0);
        (0..(rows * q) as u64).map(|i| spread * rng.normal(i)).collect()
    }

    fn centres(q: usize) -> Vec<f32> {
        let rng = Rng::new(32, Stream::Test, 0);
        (0..2 * q as u64).map(|i| 40.0 * rng.normal(i)).collect()
    }

    /// The formulas, pixel by pixel: a, b and the entropy of each.
    fn reference(
        logits: &[f32],
        bins: &[f32],
        [n, h, w, q]: [usize; 4],
        factor: usize,
        temperature: f64,
    ) -> Vec<[f64; 3]> {
        let axis = |x: usize, n: usize| {
            let place = ((x as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (n - 1) as f64);
            (0..n).map(move |i| (i, (1.0 - (place - i as f64).abs()).max(0.0))).filter(|(_, share)| *share > 0.0)
        };
        let mut p = Vec::new();
        for row in logits.chunks(q) {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            p.extend(row.iter().map(|&x| f64::from(x).exp() / sum));
        }
        let mut decoded = Vec::new();
        for pixel in 0..n * h * w * factor * factor {
            let (width, height) = (w * factor, h * factor);
            let (image, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
            let mut zhat = vec![0.0; q];
            for (i, share_y) in axis(y, h) {
                for (j, share_x) in axis(x, w) {
                    for (k, zhat) in zhat.iter_mut().enumerate() {
                        *zhat += share_y * share_x * p[((image * h + i) * w + j) * q + k];
                    }
                }
            }
            let largest = zhat.iter().copied().fold(0.0, f64::max);
            let weights: Vec<f64> = zhat.iter().map(|z| (z / largest).powf(1.0 / temperature)).collect();
            let sum: f64 = weights.iter().sum();
            let mean = |axis: usize| {
                weights.iter().enumerate().map(|(k, w)| w * f64::from(bins[2 * k + axis])).sum::<f64>() / sum
            };
            let entropy = zhat.iter().filter(|z| **z > 0.0).map(|z| -z * z.ln()).sum();
            decoded.push([mean(0), mean(1), entropy]);
        }
        decoded
    }

    fn check(logits: &[f32], shape: [usize; 4], factor: usize, temperature: f32) {
        let bins = centres(shape[3]);
        let expected = reference(logits, &bins, shape, factor, f64::from(temperature));
        for device in devices() {
            let name = device.name();
            let logits = Tensor::new(&device, &shape, logits).unwrap();
            let bins = Tensor::new(&device, &[shape[3], 2], &bins).unwrap();
            let decoded = annealed_mean(&logits, &bins, factor, temperature).unwrap();
            let [n, h, w, _] = shape;
            assert_eq!(decoded.ab.shape(), [n, h * factor, w * factor, 2]);
            assert_eq!(decoded.entropy.shape(), [n, h * factor, w * factor, 1]);
            let (ab, entropy) = (decoded.ab.to_vec().unwrap(), decoded.entropy.to_vec().unwrap());
            // A weight is off by its exponent's rounding, and a centre is at most some 150 away from 0.
            let allowed = 150.0 * 2e-6 * f64::from((1.0 / temperature).max(1.0));
            for (pixel, expected) in expected.iter().enumerate() {
                for axis in 0..2 {
                    let got = f64::from(ab[2 * pixel + axis]);
                    let off = (got - expected[axis]).abs();
                    assert!(off <= allowed, "{name}: axis {axis} of pixel {pixel} is {got}, not {}", expected[axis]);
                }
                let got = f64::from(entropy[pixel]);
                assert!((got - expected[2]).abs() < 1e-5, "{name}: entropy {pixel} is {got}, not {}", expected[2]);
            }
        }
    }

    #[test]
    fn colours_and_entropy_match_the_formula() {
        check(&logits(2 * 3 * 4, 70, 2.0), [2, 3, 4, 70], 4, 0.38);
        check(&logits(5 * 7, 313, 1.0), [1, 5, 7, 313], 4, 0.38);
    }

    #[test]
    fn every_temperature_from_mode_to_flat_works() {
        for temperature in [0.01, 0.1, 1.0, 3.0] {
            check(&logits(12, 20, 3.0), [1, 3, 4, 20], 2, temperature);
        }
    }

    #[test]
    fn a_probability_of_zero_counts_for_nothing() {
        // Certain of one bin here and of another there: between them all others stay at zero.
        let mut logits = vec![-200.0; 4 * 9];
        for (row, bin) in [2, 2, 7, 0].into_iter().enumerate() {
            logits[row * 9 + bin] = 0.0;
        }
        for temperature in [0.38, 1.0, 5.0] {
            check(&logits, [1, 2, 2, 9], 4, temperature);
        }
    }

    proptest! {
        #![proptest_config(cases(10))]
        #[test]
        fn odd_sizes_and_factors_match(
            n in 1usize..3, h in 1usize..5, w in 1usize..5, q in 1usize..40, factor in 1usize..6,
        ) {
            check(&logits(n * h * w, q, 1.5), [n, h, w, q], factor, 0.38);
        }
    }

    #[test]
    fn thread_counts_give_the_same_bits() {
        let device = Device::cpu();
        let logits = Tensor::new(&device, &[1, 9, 7, 50], &logits(63, 50, 2.0)).unwrap();
        let bins = Tensor::new(&device, &[50, 2], &centres(50)).unwrap();
        let run = || annealed_mean(&logits, &bins, 4, 0.38).unwrap().ab.to_vec().unwrap();
        let first = run();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(run) == first, "{threads} threads");
        }
    }

    #[test]
    fn a_nan_among_the_logits_stays_one() {
        let device = Device::cpu();
        let mut values = logits(12, 20, 2.0);
        values[5] = f32::NAN;
        let logits = Tensor::new(&device, &[1, 3, 4, 20], &values).unwrap();
        let bins = Tensor::new(&device, &[20, 2], &centres(20)).unwrap();
        let Decoded { ab, entropy } = annealed_mean(&logits, &bins, 2, 0.38).unwrap();
        for values in [ab.to_vec().unwrap(), entropy.to_vec().unwrap()] {
            // The first pixel reads the first logits alone, the last one others.
            assert!(values[0].is_nan() && values[values.len() - 1].is_finite(), "{values:?}");
        }
    }

    #[test]
    fn some_rows_have_the_bits_that_they_have_among_all() {
        for device in devices() {
            let logits = Tensor::new(&device, &[2, 9, 7, 50], &logits(126, 50, 2.0)).unwrap();
            let bins = Tensor::new(&device, &[50, 2], &centres(50)).unwrap();
            let whole = annealed_mean(&logits, &bins, 4, 0.38).unwrap();
            for rows in [0..36, 4..13, 35..36] {
                let some = annealed_mean_of_rows(&logits, &bins, 4, 0.38, rows.clone()).unwrap();
                for (some, whole, values) in [(some.ab, &whole.ab, 2), (some.entropy, &whole.entropy, 1)] {
                    assert_eq!(some.shape(), [2, rows.len(), 28, values]);
                    let (some, whole) = (some.to_vec().unwrap(), whole.to_vec().unwrap());
                    let row = 28 * values;
                    for (some, whole) in some.chunks(rows.len() * row).zip(whole.chunks(36 * row)) {
                        assert!(some == &whole[rows.start * row..rows.end * row], "{}: rows {rows:?}", device.name());
                    }
                }
            }
            for rows in [0..37, 5..5] {
                assert_eq!(annealed_mean_of_rows(&logits, &bins, 4, 0.38, rows).unwrap_err().exit_code(), 2);
            }
        }
    }

    #[test]
    fn wrong_bins_factors_and_temperatures_are_refused() {
        let device = Device::cpu();
        let logits = Tensor::full(&device, &[1, 2, 2, 9], 0.0).unwrap();
        let [bins, too_few] = [9, 8].map(|q| Tensor::full(&device, &[q, 2], 1.0).unwrap());
        let refused = |bins: &Tensor, factor, temperature| {
            let error = annealed_mean(&logits, bins, factor, temperature).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        };
        refused(&too_few, 4, 0.38);
        refused(&bins, 0, 0.38);
        [0.0, -1.0, f32::NAN, f32::INFINITY, 5.1, 1e4].into_iter().for_each(|t| refused(&bins, 4, t));
        let message = annealed_mean(&logits, &bins, 4, 1e4).unwrap_err().to_string();
        assert!(message.contains("temperature") && message.contains("10000"), "{message}");
    }

    #[test]
    fn more_pictures_than_a_grid_has_workgroups_are_decoded_and_too_many_bins_are_refused() {
        let count = crate::engine::device::MAX_GROUPS as usize + 9;
        check(&logits(count, 2, 2.0), [count, 1, 1, 2], 1, 0.38);
        let device = Device::cpu();
        let logits = Tensor::full(&device, &[1, 1, 1, 10_001], 1.0).unwrap();
        let bins = Tensor::full(&device, &[10_001, 2], 1.0).unwrap();
        let error = annealed_mean(&logits, &bins, 1, 0.38).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}
