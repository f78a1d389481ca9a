//! Where a full-size pixel reads in a bilinear enlargement by a whole factor: half-pixel centres, edges clamped. The
//! Rust side of `kernels/lib/bilinear_tap.wgsl`.
//!
//! Full-size coordinate x, 0..n*factor, lies at `(x + 1/2) / factor - 1/2` on the low-resolution axis of n elements,
//! clamped to 0..=n-1.

use std::ops::Range;

/// The two low-resolution neighbours of a full-size coordinate (equal at the far edge) and the share of the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    pub first: usize,
    pub second: usize,
    pub share: f32,
}

impl Tap {
    /// The tap of full-size coordinate `x` on an axis of `n` low-resolution elements.
    pub fn new(x: usize, factor: usize, n: usize) -> Tap {
        // In units of 1 / (2 factor), which is exact.
        let place = (2 * x + 1).saturating_sub(factor).min(2 * factor * (n - 1));
        let first = place / (2 * factor);
        Tap { first, second: (first + 1).min(n - 1), share: (place % (2 * factor)) as f32 / (2 * factor) as f32 }
    }

    /// The share of low-resolution element `i`.
    pub fn share_of(&self, i: usize) -> f32 {
        match i {
            _ if i == self.first => 1.0 - self.share,
            _ if i == self.second => self.share,
            _ => 0.0,
        }
    }
}

/// The full-size coordinates that low-resolution element `i` can have a share in.
pub fn reach(i: usize, factor: usize, n: usize) -> Range<usize> {
    let margin = factor / 2;
    (i * factor).saturating_sub(margin)..((i + 1) * factor + margin).min(n * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_follow_the_formula_and_lie_within_reach() {
        for (factor, n) in [(1, 1), (1, 4), (2, 3), (3, 1), (3, 5), (4, 4), (5, 2)] {
            for x in 0..factor * n {
                let place = ((x as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (n - 1) as f64);
                let tap = Tap::new(x, factor, n);
                assert_eq!((tap.first, tap.second), (place as usize, (place as usize + 1).min(n - 1)));
                assert!((f64::from(tap.share) - place.fract()).abs() < 1e-6);
                for i in 0..n {
                    let share = (1.0 - (place - i as f64).abs()).max(0.0);
                    assert!((f64::from(tap.share_of(i)) - share).abs() < 1e-6, "x {x}, i {i} of {n}, times {factor}");
                    assert!(share == 0.0 || reach(i, factor, n).contains(&x), "x {x}, i {i} of {n}, times {factor}");
                }
            }
        }
    }
}
