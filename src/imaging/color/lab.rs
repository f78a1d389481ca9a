//! sRGB (IEC 61966-2-1) to CIE Lab (CIE 15:2004) under D65 and back.
//!
//! linear RGB = the sRGB transfer function undone; XYZ = [`RGB_TO_XYZ`] · linear RGB; with `f(t) = t^(1/3)` above
//! `(6/29)^3` and `t / (3 (6/29)^2) + 4/29` below: `L = 116 f(Y/Yn) - 16`, `a = 500 (f(X/Xn) - f(Y/Yn))`,
//! `b = 200 (f(Y/Yn) - f(Z/Zn))`.

use std::sync::OnceLock;

/// Linear RGB to XYZ, rows X, Y, Z.
pub const RGB_TO_XYZ: [[f64; 3]; 3] =
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]];

/// The reference white D65 as X, Y, Z.
pub const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

/// XYZ to linear RGB: the inverse of [`RGB_TO_XYZ`] in f64, not a rounded table, so that a round trip closes.
pub const XYZ_TO_RGB: [[f64; 3]; 3] = inverse(RGB_TO_XYZ);

/// The linear part of `f` ends at this value of `f` (6/29) and at its cube on the input side.
const DELTA: f64 = 6.0 / 29.0;

/// Inverse of a 3x3 matrix by its adjugate.
const fn inverse(m: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let mut cofactor = [[0.0; 3]; 3];
    let mut i = 0;
    while i < 3 {
        let mut j = 0;
        while j < 3 {
            let (i1, i2, j1, j2) = ((i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3);
            cofactor[i][j] = m[i1][j1] * m[i2][j2] - m[i1][j2] * m[i2][j1];
            j += 1;
        }
        i += 1;
    }
    let determinant = m[0][0] * cofactor[0][0] + m[0][1] * cofactor[0][1] + m[0][2] * cofactor[0][2];
    let mut out = [[0.0; 3]; 3];
    let mut i = 0;
    while i < 3 {
        let mut j = 0;
        while j < 3 {
            out[i][j] = cofactor[j][i] / determinant;
            j += 1;
        }
        i += 1;
    }
    out
}

/// The same conversions in one float type: f32 for images, f64 for references.
macro_rules! conversions {
    ($float:ty, $to_linear:ident, $to_lab:ident, $from_linear:ident, $to_srgb:ident) => {
        /// One sRGB component (0..1) to linear light (0..1).
        #[inline]
        pub fn $to_linear(value: $float) -> $float {
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        }

        /// Linear RGB (0..1) to Lab.
        #[inline]
        fn $from_linear(rgb: [$float; 3]) -> [$float; 3] {
            let f = |row: usize| {
                let m = RGB_TO_XYZ[row];
                let t = (m[0] as $float * rgb[0] + m[1] as $float * rgb[1] + m[2] as $float * rgb[2])
                    / WHITE[row] as $float;
                if t > (DELTA * DELTA * DELTA) as $float {
                    t.cbrt()
                } else {
                    t / (3.0 * DELTA * DELTA) as $float + (4.0 / 29.0) as $float
                }
            };
            let (fx, fy, fz) = (f(0), f(1), f(2));
            [116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)]
        }

        /// sRGB (each 0..1) to Lab (L 0..100, a and b about -110..110).
        #[inline]
        pub fn $to_lab(rgb: [$float; 3]) -> [$float; 3] {
            $from_linear(rgb.map($to_linear))
        }

        /// Lab to sRGB, each component clamped to 0..1 (not every Lab colour is an sRGB colour).
        #[inline]
        pub fn $to_srgb(lab: [$float; 3]) -> [$float; 3] {
            let fy = (lab[0] + 16.0) / 116.0;
            let inverse_f = |f: $float, white: f64| {
                let t = if f > DELTA as $float {
                    f * f * f
                } else {
                    (3.0 * DELTA * DELTA) as $float * (f - (4.0 / 29.0) as $float)
                };
                t * white as $float
            };
            let x = inverse_f(fy + lab[1] / 500.0, WHITE[0]);
            let y = inverse_f(fy, WHITE[1]);
            let z = inverse_f(fy - lab[2] / 200.0, WHITE[2]);
            XYZ_TO_RGB.map(|m| {
                let linear = (m[0] as $float * x + m[1] as $float * y + m[2] as $float * z).clamp(0.0, 1.0);
                let value = if linear <= 0.0031308 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
                value.clamp(0.0, 1.0)
            })
        }
    };
}

conversions!(f32, srgb_to_linear, srgb_to_lab, linear_to_lab, lab_to_srgb);
conversions!(f64, srgb_to_linear_f64, srgb_to_lab_f64, linear_to_lab_f64, lab_to_srgb_f64);

/// Linear light of each 8-bit sRGB value.
fn linear_table() -> &'static [f32; 256] {
    static TABLE: OnceLock<[f32; 256]> = OnceLock::new();
    TABLE.get_or_init(|| std::array::from_fn(|value| srgb_to_linear(value as f32 / 255.0)))
}

/// 8-bit sRGB to Lab, the same bits as [`srgb_to_lab`] of `value / 255` at a third of its time.
#[inline]
pub fn srgb8_to_lab(rgb: [u8; 3]) -> [f32; 3] {
    let table = linear_table();
    linear_to_lab(rgb.map(|value| table[usize::from(value)]))
}

/// As [`srgb8_to_lab`] in f64, the same bits as [`srgb_to_lab_f64`] of `value / 255`.
#[inline]
pub fn srgb8_to_lab_f64(rgb: [u8; 3]) -> [f64; 3] {
    static TABLE: OnceLock<[f64; 256]> = OnceLock::new();
    let table = TABLE.get_or_init(|| std::array::from_fn(|value| srgb_to_linear_f64(value as f64 / 255.0)));
    linear_to_lab_f64(rgb.map(|value| table[usize::from(value)]))
}

/// Rec. 601 luma of sRGB components, in their own unit: `0.299 R + 0.587 G + 0.114 B`.
#[inline]
pub fn luma(rgb: [f32; 3]) -> f32 {
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    /// Primaries under this matrix and white, as published for it (e.g. by scikit-image's `rgb2lab`, two decimals).
    #[test]
    fn the_primaries_have_their_published_lab_values() {
        let cases = [
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 255, 0], [87.74, -86.18, 83.18]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
        ];
        for (rgb, expected) in cases {
            let lab = srgb8_to_lab(rgb);
            for (value, want) in lab.iter().zip(expected) {
                // Half a unit of the second decimal, and as much again for the rounding of the published matrix.
                assert!(abs_diff_eq!(*value, want, epsilon = 0.011), "{rgb:?}: {lab:?}, not {expected:?}");
            }
        }
    }

    #[test]
    fn the_matrices_are_inverses_of_each_other() {
        for (i, row) in RGB_TO_XYZ.iter().enumerate() {
            let product: [f64; 3] =
                std::array::from_fn(|j| row.iter().zip(&XYZ_TO_RGB).map(|(m, inverse)| m * inverse[j]).sum());
            for (j, value) in product.iter().enumerate() {
                let want = if i == j { 1.0 } else { 0.0 };
                assert!(abs_diff_eq!(*value, want, epsilon = 1e-14), "({i}, {j}): {value}");
            }
        }
    }

    #[test]
    fn lab_and_back_returns_every_colour() {
        let rng = Rng::new(1, Stream::Test, 0);
        for i in 0..20_000u64 {
            let rgb = [rng.uniform(3 * i), rng.uniform(3 * i + 1), rng.uniform(3 * i + 2)];
            let wide = rgb.map(f64::from);
            let back = lab_to_srgb(srgb_to_lab(rgb));
            let back_wide = lab_to_srgb_f64(srgb_to_lab_f64(wide));
            for c in 0..3 {
                // Near black the inverse is steep (slope 12.92 / 903): f32 rounding of L grows to a few 1e-6.
                assert!(abs_diff_eq!(back[c], rgb[c], epsilon = 2e-5), "{rgb:?} became {back:?}");
                // The sRGB thresholds meet to 1e-8 only; elsewhere f64 is exact to 1e-13.
                assert!(abs_diff_eq!(back_wide[c], wide[c], epsilon = 1e-7), "{wide:?} became {back_wide:?}");
            }
        }
    }

    #[test]
    fn f32_follows_f64() {
        let rng = Rng::new(2, Stream::Test, 0);
        for i in 0..20_000u64 {
            let rgb = [rng.uniform(3 * i), rng.uniform(3 * i + 1), rng.uniform(3 * i + 2)];
            let (lab, wide) = (srgb_to_lab(rgb), srgb_to_lab_f64(rgb.map(f64::from)));
            for c in 0..3 {
                // b is 200 times, a 500 times a difference of values near 1 with a few ulps of 6e-8 each.
                assert!(abs_diff_eq!(f64::from(lab[c]), wide[c], epsilon = 2e-4), "{rgb:?}: {lab:?}, {wide:?}");
            }
        }
    }

    #[test]
    fn eight_bit_pictures_take_the_bits_of_the_float_path() {
        for value in 0..=255u8 {
            let rgb = [value, value.wrapping_mul(7), 255 - value];
            assert_eq!(srgb8_to_lab(rgb), srgb_to_lab(rgb.map(|v| f32::from(v) / 255.0)));
            assert_eq!(srgb8_to_lab_f64(rgb), srgb_to_lab_f64(rgb.map(|v| f64::from(v) / 255.0)));
        }
    }

    #[test]
    fn colours_outside_srgb_are_clamped() {
        for lab in [[50.0, 110.0, 110.0], [120.0, 0.0, 0.0], [-10.0, -110.0, 50.0]] {
            assert!(lab_to_srgb(lab).iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn luma_keeps_white_and_weighs_green_most() {
        assert_abs_diff_eq!(luma([1.0; 3]), 1.0, epsilon = 1e-6);
        assert_abs_diff_eq!(luma([0.0, 1.0, 0.0]), 0.587, epsilon = 1e-7);
    }
}
