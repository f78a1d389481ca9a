//! The gradient of the weights by Winograd's filtering.

use crate::engine::blocks;
use crate::engine::ops::conv2d::transform::{LANES, lanes, load, output_adjoint, two_sided, weight_adjoint};
use crate::engine::ops::conv2d::winograd::{BLOCK, DEPTH, GAP, POINTS, TILE, Winograd, block_len};
use crate::engine::ops::gemm::{Matrix, sgemm, with_scratch, with_wide_vectors};
use rayon::prelude::*;
use std::ops::Range;

impl Winograd {
    /// The gradient of the weights: the adjoint of each step, `dw = G^T (sum over tiles of (B^T d B) * (A dz A^T)) G`.
    pub fn weight_gradient(&self, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        let [c, o] = [self.channels_in, self.channels_out];
        // For each input channel its row of outputs under each tap.
        let mut rows: Vec<Vec<&mut [f32]>> = (0..c).map(|_| Vec::with_capacity(9)).collect();
        for tap in dw.chunks_exact_mut(c * o) {
            rows.iter_mut().zip(tap.chunks_exact_mut(o)).for_each(|(row, part)| row.push(part));
        }
        let bands = self.pictures * self.tile_rows();
        let group = self.group_bands();
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let tiles = bands.len() * self.band_tiles();
            let blocks = tiles.div_ceil(BLOCK);
            let point_len = DEPTH * o + GAP;
            with_scratch(blocks * (block_len(c) + block_len(o)) + POINTS * point_len, |scratch| {
                let (a, scratch) = scratch.split_at_mut(blocks * block_len(c));
                let (b, products) = scratch.split_at_mut(blocks * block_len(o));
                self.transform_inputs(x, bands.clone(), a);
                self.transform_gradients(dz, bands.clone(), b);
                for (slab, rows) in rows.chunks_mut(DEPTH).enumerate() {
                    blocks::write((products, point_len), |point, product| {
                        for block in 0..blocks {
                            let a = &a[block * block_len(c) + point * (BLOCK * c + GAP) + slab * DEPTH * BLOCK..];
                            let b = &b[block * block_len(o) + point * (BLOCK * o + GAP)..];
                            let sizes = [rows.len(), BLOCK.min(tiles - block * BLOCK), o];
                            let beta = if block == 0 { 0.0 } else { 1.0 };
                            sgemm(sizes, Matrix::transposed(a, rows.len()), Matrix::rows(b, o), beta, product, o);
                        }
                    });
                    rows.par_iter_mut().enumerate().for_each(|(row, taps)| {
                        with_wide_vectors(
                            #[inline(always)]
                            || {
                                for c in (0..o).step_by(LANES) {
                                    let mut d = [[[0.0; LANES]; 6]; 6];
                                    for (point, d) in d.as_flattened_mut().iter_mut().enumerate() {
                                        *d = lanes(&products[point * point_len + row * o + c..]);
                                    }
                                    let sums = two_sided(&d, weight_adjoint);
                                    for (tap, sum) in taps.iter_mut().zip(sums.iter().flatten()) {
                                        let tap = &mut tap[c..c + LANES];
                                        if first == 0 {
                                            tap.copy_from_slice(sum);
                                        } else {
                                            tap.iter_mut().zip(sum).for_each(|(tap, sum)| *tap += sum);
                                        }
                                    }
                                }
                            },
                        );
                    });
                }
            });
        }
    }

    /// Writes `A dz A^T` of every tile: `(tiles / BLOCK, POINTS, BLOCK, channels_out)`, rounded up.
    fn transform_gradients(&self, dz: &[f32], bands: Range<usize>, transformed: &mut [f32]) {
        self.transform_tiles(bands, self.channels_out, self.channels_out, transformed, |tile| {
            let targets = self.targets(tile);
            #[inline(always)]
            move |c| {
                let d = load::<4>(dz, self.channels_out, &targets, c);
                two_sided(&d, output_adjoint)
            }
        });
    }

    /// The 4x4 output pixels of a tile, `None` outside the picture.
    fn targets(&self, tile: usize) -> [Option<usize>; TILE] {
        let (picture, first, phase) = self.place(tile);
        let at = |axis: usize, k: usize| {
            let at = (first[axis] + k) * self.dilation + phase[axis];
            (at < self.output[axis]).then_some(at)
        };
        std::array::from_fn(|i| Some((picture * self.output[0] + at(0, i / 4)?) * self.output[1] + at(1, i % 4)?))
    }
}
