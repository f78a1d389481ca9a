//! The weights of a filtering, as its products read them.

use crate::engine::ops::conv2d::transpose::transpose;
use crate::engine::ops::conv2d::winograd::tiles::{POINTS, SLAB, Winograd};
use crate::engine::ops::conv2d::winograd::transform::{LANES, Lanes, ROWS, four, lanes, three, two, two_sided};
use crate::engine::ops::gemm::{Near, prefetch, with_wide_vectors};
use std::ops::Range;

/// Some input channels of each tap, for the outputs of a slab. As many taps as the largest kernel has.
type Taps = [[[f32; SLAB]; LANES]; 16];

impl Winograd {
    /// Writes `G w G^T` of the input channels `depth` and output channels `slab`: `(POINTS, depth, slab)`.
    pub(super) fn transform_weights(&self, w: &[f32], depth: Range<usize>, slab: Range<usize>, weights: &mut [f32]) {
        let point_len = weights.len() / POINTS;
        let width = slab.len();
        let mut taps: Taps = [[[0.0; SLAB]; LANES]; 16];
        for first in depth.clone().step_by(LANES) {
            // For its copies, which are calls otherwise.
            with_wide_vectors(
                #[inline(always)]
                || self.gather(w, first, slab.clone(), &mut taps),
            );
            let weights = &mut weights[(first - depth.start) * width..];
            match self.taps {
                2 => transform(&taps, width, point_len, weights, two::weights),
                3 => transform(&taps, width, point_len, weights, three::weights),
                _ => transform(&taps, width, point_len, weights, four::weights),
            }
        }
    }

    /// Begins to bring part `part` of `parts` of the weights nearer that [`Self::transform_weights`] reads next.
    pub(super) fn hint(&self, w: &[f32], depth: Range<usize>, slab: Range<usize>, [part, parts]: [usize; 2]) {
        if depth.is_empty() {
            return;
        }
        let [c, o] = [self.input.channels, self.output.channels];
        let (grid, first, start) = (depth.start / c + slab.start / o, depth.start % c, slab.start % o);
        // Those of one grid.
        let depth = depth.start..depth.end.min(depth.start - first + c);
        // Of each tap's matrix: rows, elements of each, the first of them, and how far apart rows lie.
        let (rows, len, origin, pitch) = if self.transposed {
            (slab.len(), depth.len(), start * c + first, c)
        } else {
            (depth.len(), slab.len(), first * o + start, o)
        };
        let taps = self.taps * self.taps;
        let rows = taps * rows;
        for row in rows * part / parts..rows * (part + 1) / parts {
            let at = self.matrix(row % taps, grid) * c * o + origin + row / taps * pitch;
            w[at..at + len].iter().step_by(LANES).for_each(|line| prefetch(line, Near::Second));
        }
    }

    /// Copies the taps of the LANES input channels from `first` on: their rows lie far apart, and a copy has many of
    /// them on their way at once where a transform would wait for each.
    #[inline(always)]
    fn gather(&self, w: &[f32], first: usize, slab: Range<usize>, taps: &mut Taps) {
        let [c, o] = [self.input.channels, self.output.channels];
        // Neither LANES inputs nor a slab lie in more than one grid.
        let grid = first / c + slab.start / o;
        let (first, start) = (first % c, slab.start % o);
        for (tap, taps) in taps[..self.taps * self.taps].iter_mut().enumerate() {
            let w = &w[self.matrix(tap, grid) * c * o..][..c * o];
            if self.transposed {
                let mut rows = [[0.0; LANES]; SLAB];
                for (i, row) in rows[..slab.len()].iter_mut().enumerate() {
                    *row = lanes(&w[(start + i) * c + first..]);
                }
                transpose(&mut rows, taps);
            } else {
                for (i, taps) in taps.iter_mut().enumerate() {
                    let w = &w[(first + i) * o + start..][..slab.len()];
                    match w.as_array::<SLAB>() {
                        Some(w) => *taps = *w,
                        None => taps[..w.len()].copy_from_slice(w),
                    }
                }
            }
        }
    }
}

/// Writes the points of LANES input channels, `width` outputs each.
fn transform<const R: usize>(
    taps: &Taps,
    width: usize,
    point_len: usize,
    weights: &mut [f32],
    transform: impl Fn(&[Lanes; R]) -> [Lanes; 6],
) {
    with_wide_vectors(
        #[inline(always)]
        || {
            let mut rows = ROWS;
            for i in 0..LANES {
                for c in (0..width).step_by(LANES) {
                    two_sided(
                        &mut rows,
                        #[inline(always)]
                        |tap: usize| lanes(&taps[tap][i][c..]),
                        &transform,
                        #[inline(always)]
                        |point: usize, values: &Lanes| {
                            weights[point * point_len + i * width + c..][..LANES].copy_from_slice(values);
                        },
                    );
                }
            }
        },
    );
}
