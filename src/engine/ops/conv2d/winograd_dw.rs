//! The gradient of the weights by Winograd's filtering.

use crate::engine::ops::conv2d::transform::{LANES, Lanes, ROWS, lanes, output_adjoint, two_sided, weight_adjoint};
use crate::engine::ops::conv2d::winograd::{BLOCK, DEPTH, GAP, POINTS, SLAB, TILE, Winograd, block_len, point_len};
use crate::engine::ops::gemm::{column_product, with_scratch, with_wide_vectors};
use rayon::prelude::*;
use std::ops::Range;

impl Winograd {
    /// The gradient of the weights: the adjoint of each step, `dw = G^T (sum over tiles of (B^T d B) * (A dz A^T)) G`.
    pub fn weight_gradient(&self, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        let [c, o] = [self.channels_in, self.channels_out];
        // A task makes DEPTH x SLAB channels: its parts of dw, by tap, then by input channel.
        let columns = o.div_ceil(SLAB);
        let mut tasks: Vec<Vec<&mut [f32]>> =
            (0..c.div_ceil(DEPTH) * columns).map(|_| Vec::with_capacity(9 * DEPTH)).collect();
        for tap in dw.chunks_exact_mut(c * o) {
            for (i, row) in tap.chunks_exact_mut(o).enumerate() {
                let tasks = &mut tasks[i / DEPTH * columns..];
                row.chunks_mut(SLAB).zip(tasks).for_each(|(part, task)| task.push(part));
            }
        }
        let bands = self.pictures * self.tile_rows();
        let group = self.group_bands();
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let tiles = bands.len() * self.band_tiles();
            let blocks = tiles.div_ceil(BLOCK);
            with_scratch(blocks * (block_len(c) + block_len(o)), |scratch| {
                let (a, b) = scratch.split_at_mut(blocks * block_len(c));
                self.transform_inputs(x, bands.clone(), a);
                self.transform_gradients(dz, bands.clone(), b);
                tasks.par_iter_mut().enumerate().for_each(|(task, parts)| {
                    let [row, column] = [task / columns * DEPTH, task % columns * SLAB];
                    let part = |point: usize, block: usize| {
                        let a = &a[block * block_len(c) + point * point_len(c) + row * BLOCK..];
                        let b = &b[block * block_len(o) + point * point_len(o) + column * BLOCK..];
                        (BLOCK.min(tiles - block * BLOCK), a, b)
                    };
                    sum_tiles(blocks, part, first > 0, parts);
                });
            });
        }
    }

    /// Writes `A dz A^T` of every tile: `(tiles / BLOCK, POINTS, channels_out / SLAB, BLOCK, SLAB)`, rounded up.
    fn transform_gradients(&self, dz: &[f32], bands: Range<usize>, transformed: &mut [f32]) {
        let dz = (dz, self.channels_out);
        self.transform_tiles(bands, dz, SLAB, |tile| self.targets(tile), output_adjoint, transformed);
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

/// The part of dw that some channels of either side make: `parts` are its rows, by tap, then by input channel.
/// `part(point, block)` gives the number of tiles of a block, and what was transformed of both sides.
fn sum_tiles<'a>(
    blocks: usize,
    part: impl Fn(usize, usize) -> (usize, &'a [f32], &'a [f32]),
    add: bool,
    parts: &mut [&mut [f32]],
) {
    let [rows, columns] = [parts.len() / 9, parts[0].len()];
    let point_len = rows * SLAB + GAP;
    with_scratch(POINTS * point_len, |products| {
        for (point, product) in products.chunks_exact_mut(point_len).enumerate() {
            for block in 0..blocks {
                let (tiles, a, b) = part(point, block);
                let (a, b) = (&a[..tiles * DEPTH], &b[..tiles * SLAB]);
                column_product::<DEPTH, SLAB>([rows, columns], a, b, block > 0, product);
            }
        }
        with_wide_vectors(
            #[inline(always)]
            || {
                let mut square = ROWS;
                for row in 0..rows {
                    for c in (0..columns).step_by(LANES) {
                        two_sided(
                            &mut square,
                            #[inline(always)]
                            |point: usize| lanes(&products[point * point_len + row * SLAB + c..]),
                            weight_adjoint,
                            #[inline(always)]
                            |tap: usize, sum: &Lanes| {
                                let part = &mut parts[tap * rows + row][c..c + LANES];
                                if add {
                                    part.iter_mut().zip(sum).for_each(|(part, sum)| *part += sum);
                                } else {
                                    part.copy_from_slice(sum);
                                }
                            },
                        );
                    }
                }
            },
        );
    });
}
