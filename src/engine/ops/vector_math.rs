//! `exp`, `ln`, `exp2`, `log2` and row reductions for twins, written so that the compiler makes vector code of them.
//!
//! The standard library's `exp` and `ln` are calls, which keeps a loop scalar; these are straight-line arithmetic
//! without branches or tables. Reductions add in [`LANES`] partial sums, a fixed order on every machine; the last bits
//! of `exp2` and `log2` go by whether it rounds products and sums once.

use crate::engine::ops::gemm::Vectors;
use std::f32::consts::{LN_2, LOG2_E, SQRT_2};

/// Partial results that a row reduction keeps.
pub const LANES: usize = 8;

/// `LN_2` in two parts; the first has nine bits, so that its product with an exponent is exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;

/// `e^x` to 2 units in the last place from where it is a normal number up to x = 88: 0 below (x < -87.34), the value at
/// 88 above; NaN stays NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; the Taylor series of `e^r` to the seventh power is good to 6e-9 there.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    /// The logarithm of the smallest normal number, rounded up.
    const SMALLEST: f32 = -87.33654;
    let tiny = x < SMALLEST;
    // Comparisons, not `clamp`: a NaN must pass.
    let x = if tiny { SMALLEST } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + term;
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let value = series * f32::from_bits(exponent << 23);
    if tiny { 0.0 } else { value }
}

/// `ln(1 + x)` for 0 <= x <= 1 to 3 units in the last place, also where x is too small to be seen in 1 + x; NaN stays
/// NaN.
///
/// `ln(1 + x) = 2 atanh(s)` with `s = x / (2 + x)`, at most 1/3; the series to `s^17` is good to 1e-10 of it there.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let s2 = s * s;
    let mut series = 1.0 / 17.0;
    for term in [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0] {
        series = series * s2 + term;
    }
    2.0 * s + 2.0 * s * s2 * series
}

/// `ln x` to 3 units in the last place (absolutely 1e-7 near 1) for normal positive x.
///
/// Zero and subnormals give about -88, infinity and NaN give NaN, negative values nothing of use.
///
/// `x = 2^n m` with m in sqrt(1/2) .. sqrt(2), and `ln m = 2 atanh(s)`, `s = (m - 1) / (m + 1)`, whose series to `s^9`
/// is good to 1e-9 there.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let (n, s) = exponent_and_ratio(x);
    let s2 = s * s;
    let series = s * (2.0 + s2 * (2.0 / 3.0 + s2 * (2.0 / 5.0 + s2 * (2.0 / 7.0 + s2 * (2.0 / 9.0)))));
    // Not the other way round: a NaN must pass.
    if x < f32::INFINITY { n * LN_2 + series } else { f32::NAN }
}

/// `2^x` for x <= 0 to 2 units in the last place where that is a normal number: the smallest of them below; NaN stays
/// NaN. With the products and sums that `vectors` have.
///
/// `x = n + r` with `|r| <= 1/2`; the Taylor series of `2^r` to the seventh power is good to 6e-9 there.
#[inline(always)]
pub fn exp2(x: f32, vectors: Vectors) -> f32 {
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    // A comparison, not `max`: a NaN must pass.
    let x = if x < -126.0 { -126.0 } else { x };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let mut series = POWERS[0];
    for term in &POWERS[1..] {
        series = vectors.multiply_add(series, r, *term);
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

/// `(ln 2)^k / k!` for k from 7 to 0.
const POWERS: [f32; 8] = {
    let mut powers = [1.0; 8];
    let (mut k, mut power) = (1, 1.0);
    while k < 8 {
        power *= std::f64::consts::LN_2 / k as f64;
        powers[7 - k] = power as f32;
        k += 1;
    }
    powers
};

/// The binary logarithm to 3 units in the last place (absolutely 1e-7 near 1) for normal positive x, with the products
/// and sums that `vectors` have.
///
/// Zero and subnormals give about -127, all else (negative values, infinity, NaN) nothing of use.
#[inline(always)]
pub fn log2(x: f32, vectors: Vectors) -> f32 {
    let (n, s) = exponent_and_ratio(x);
    let s2 = s * s;
    let mut series = 2.0 / 9.0 * LOG2_E;
    for term in [2.0 / 7.0 * LOG2_E, 2.0 / 5.0 * LOG2_E, 2.0 / 3.0 * LOG2_E, 2.0 * LOG2_E] {
        series = vectors.multiply_add(series, s2, term);
    }
    vectors.multiply_add(s, series, n)
}

/// n and `(m - 1) / (m + 1)` of `x = 2^n m`, m in sqrt(1/2) .. sqrt(2).
#[inline(always)]
fn exponent_and_ratio(x: f32) -> (f32, f32) {
    const HALF_SQRT: u32 = (SQRT_2 / 2.0).to_bits();
    // Exponent and mantissa relative to sqrt(1/2), so that the mantissa lies around 1.
    let shifted = x.to_bits().wrapping_sub(HALF_SQRT);
    let n = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff) + HALF_SQRT);
    (n, (m - 1.0) / (m + 1.0))
}

/// The sum of [`LANES`] partial sums.
#[inline(always)]
pub fn total(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The largest element; NaNs are passed over.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        lanes = std::array::from_fn(|lane| if block[lane] > lanes[lane] { block[lane] } else { lanes[lane] });
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of `f(x[i], y[i])` over two rows of one length.
#[inline(always)]
pub fn sum_of(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    total(lanes) + x_rest.iter().zip(y_rest).map(|(&x, &y)| f(x, y)).sum::<f32>()
}

/// `p = e^x / sum e^x` over one row.
#[inline(always)]
pub fn softmax_row(x: &[f32], p: &mut [f32]) {
    let peak = largest(x);
    p.iter_mut().zip(x).for_each(|(p, &x)| *p = exp(x - peak));
    let scale = 1.0 / sum_of(p, p, |p, _| p);
    p.iter_mut().for_each(|p| *p *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of f32's relative rounding error, 2^-24.
    fn ulps(got: f32, expected: f64) -> f64 {
        ((f64::from(got) - expected) / expected).abs() * 2f64.powi(24)
    }

    #[test]
    fn exp_is_right_over_its_range_and_zero_below() {
        for i in 0..=200_000 {
            let x = -87.33654 + 175.33654 * i as f32 / 200_000.0;
            assert!(ulps(exp(x), f64::from(x).exp()) < 4.0, "exp({x}) = {}", exp(x));
        }
        for x in [-87.337, -88.0, -104.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "exp({x})");
        }
        assert_eq!((exp(0.0), exp(1e30)), (1.0, exp(88.0)));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_1p_keeps_its_digits_for_small_numbers() {
        for i in 0..=200_000 {
            // 1 down to e^-87.
            let x = (-87.0 * i as f32 / 200_000.0).exp();
            assert!(ulps(ln_1p(x), f64::from(x).ln_1p()) < 6.0, "ln_1p({x}) = {}", ln_1p(x));
        }
        assert_eq!(ln_1p(0.0), 0.0);
        assert!(ln_1p(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_right_for_every_exponent_and_beside_one() {
        for i in 0..200_000u32 {
            // Steps of a prime number of bit patterns from the smallest normal number on.
            let x = f32::from_bits(0x0080_0000 + i * 10_631);
            let (got, expected) = (f64::from(ln(x)), f64::from(x).ln());
            assert!((got - expected).abs() < 3.6e-7 * expected.abs() + 1e-8, "ln({x}) = {got}");
        }
        for i in 0..2000 {
            let x = 0.9 + 1e-4 * i as f32;
            let expected = f64::from(x).ln();
            assert!((f64::from(ln(x)) - expected).abs() <= 3.6e-7 * expected.abs(), "ln({x})");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(0.0) < -87.0 && ln(f32::NAN).is_nan());
    }

    #[test]
    fn powers_of_two_and_binary_logarithms_are_right_with_all_vectors() {
        for vectors in [Vectors::Avx2, Vectors::Baseline] {
            for i in 0..=200_000 {
                let x = -126.0 * i as f32 / 200_000.0;
                assert!(ulps(exp2(x, vectors), f64::from(x).exp2()) < 4.0, "2^{x} = {}", exp2(x, vectors));
                let x = f32::from_bits(0x0080_0000 + i * 10_631);
                let (got, expected) = (f64::from(log2(x, vectors)), f64::from(x).log2());
                assert!((got - expected).abs() < 3.6e-7 * expected.abs() + 1e-8, "log2({x}) = {got}");
            }
            assert_eq!((exp2(-1e30, vectors), exp2(0.0, vectors), log2(1.0, vectors)), (2f32.powi(-126), 1.0, 0.0));
            assert!(exp2(f32::NAN, vectors).is_nan() && log2(0.0, vectors) < -126.0);
        }
    }

    #[test]
    fn a_softmax_row_is_right_at_every_length_and_a_nan_spoils_all_of_it() {
        for len in [1, 2, 7, 8, 9, 31] {
            let x: Vec<f32> = (0..len).map(|i| 40.0 * ((i * i) as f32).sin()).collect();
            let weights: Vec<f64> = x.iter().map(|&x| f64::from(x).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut p = vec![0.0; len];
            softmax_row(&x, &mut p);
            p.iter().zip(weights).for_each(|(&p, w)| assert!((f64::from(p) - w / sum).abs() < 4e-7, "{len}: {p}"));
        }
        let mut p = vec![0.0; 9];
        let mut x = vec![1.0; 9];
        x[3] = f32::NAN;
        softmax_row(&x, &mut p);
        assert!(p.iter().all(|p| p.is_nan()));
    }
}
