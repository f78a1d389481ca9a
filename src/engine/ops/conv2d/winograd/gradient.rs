//! The gradient of the weights.

use crate::engine::ops::conv2d::winograd::tiles::{
    BLOCK, DEPTH, GAP, POINTS, SIDE, SLAB, Winograd, block_len, point_len,
};
use crate::engine::ops::conv2d::winograd::transform::{LANES, Lanes, ROWS, four, lanes, three, two, two_sided};
use crate::engine::ops::gemm::{column_product, with_scratch, with_wide_vectors};
use rayon::prelude::*;
use std::ops::Range;

impl Winograd {
    /// The gradient of the weights: the adjoint of each step, `dw = G^T (sum over tiles of (B^T d B) * (A dz A^T)) G`.
    ///
    /// For a filtering of the forward pass.
    pub fn weight_gradient(&self, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        // The side whose channels are the rows of a tap's matrix, and that of its columns.
        let sides = [self.input, self.output];
        let [rows, columns] = if self.transposed { [sides[1], sides[0]] } else { sides };
        // A task makes DEPTH x SLAB channels: its parts of dw, by tap, then by row.
        let across = columns.depth().div_ceil(SLAB);
        let taps = self.taps * self.taps;
        let mut tasks: Vec<Vec<&mut [f32]>> =
            (0..rows.depth().div_ceil(DEPTH) * across).map(|_| Vec::with_capacity(taps * DEPTH)).collect();
        let mut matrices: Vec<_> = dw.chunks_exact_mut(rows.channels * columns.channels).map(Some).collect();
        for tap in 0..taps {
            for grid in 0..self.input.grids * self.input.grids {
                let Some(matrix) = matrices[self.matrix(tap, grid)].take() else { continue };
                // Where the rows and columns of this grid begin among those of all.
                let [first_row, first_column] =
                    [rows, columns].map(|side| if side.grids > 1 { grid * side.channels } else { 0 });
                for (i, row) in (first_row..).zip(matrix.chunks_exact_mut(columns.channels)) {
                    let tasks = &mut tasks[i / DEPTH * across + first_column / SLAB..];
                    row.chunks_mut(SLAB).zip(tasks).for_each(|(part, task)| task.push(part));
                }
            }
        }
        let (bands, group) = (self.bands(), self.group_bands());
        let [a_len, b_len] = [rows, columns].map(|side| block_len(side.depth()));
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let tiles = bands.len() * self.band_tiles();
            let blocks = tiles.div_ceil(BLOCK);
            with_scratch(blocks * (a_len + b_len), |scratch| {
                let (a, b) = scratch.split_at_mut(blocks * a_len);
                if self.transposed {
                    self.transform_gradients(dz, bands.clone(), DEPTH, a);
                    self.transform_inputs(x, bands.clone(), SLAB, b);
                } else {
                    self.transform_inputs(x, bands.clone(), DEPTH, a);
                    self.transform_gradients(dz, bands.clone(), SLAB, b);
                }
                tasks.par_iter_mut().enumerate().for_each(|(task, parts)| {
                    let [row, column] = [task / across * DEPTH, task % across * SLAB];
                    let part = |point: usize, block: usize| {
                        let a = &a[block * a_len + point * point_len(rows.depth()) + row * BLOCK..];
                        let b = &b[block * b_len + point * point_len(columns.depth()) + column * BLOCK..];
                        (BLOCK.min(tiles - block * BLOCK), a, b)
                    };
                    let sum = Sum { rows: parts.len() / taps, columns: parts[0].len(), add: first > 0 };
                    sum.of(blocks, part, |products| match self.taps {
                        2 => sum.write(products, parts, two::weights_adjoint),
                        3 => sum.write(products, parts, three::weights_adjoint),
                        _ => sum.write(products, parts, four::weights_adjoint),
                    });
                });
            });
        }
    }

    /// Writes `A dz A^T` of every tile: `(tiles / BLOCK, POINTS, channels / width, BLOCK, width)`, rounded up.
    fn transform_gradients(&self, dz: &[f32], bands: Range<usize>, width: usize, transformed: &mut [f32]) {
        let dz = (dz, self.output);
        match self.taps {
            2 => {
                let pixels = |tile: usize, _| self.targets::<25>(tile);
                self.transform_tiles(bands, dz, width, pixels, two::outputs_adjoint, transformed);
            }
            3 => {
                let pixels = |tile: usize, _| self.targets::<16>(tile);
                self.transform_tiles(bands, dz, width, pixels, three::outputs_adjoint, transformed);
            }
            _ => {
                let pixels = |tile: usize, _| self.targets::<9>(tile);
                self.transform_tiles(bands, dz, width, pixels, four::outputs_adjoint, transformed);
            }
        }
    }
}

/// The part of dw that some channels of either side make.
#[derive(Clone, Copy)]
struct Sum {
    rows: usize,
    columns: usize,
    /// Whether it is added to what is there.
    add: bool,
}

impl Sum {
    /// Calls `write` with the products of all points. `part(point, block)` gives the number of tiles of a block, and
    /// what was transformed of both sides.
    fn of<'a>(
        self,
        blocks: usize,
        part: impl Fn(usize, usize) -> (usize, &'a [f32], &'a [f32]),
        write: impl FnOnce(&[f32]),
    ) {
        let point_len = self.rows * SLAB + GAP;
        with_scratch(POINTS * point_len, |products| {
            for (point, product) in products.chunks_exact_mut(point_len).enumerate() {
                for block in 0..blocks {
                    let (tiles, a, b) = part(point, block);
                    let (a, b) = (&a[..tiles * DEPTH], &b[..tiles * SLAB]);
                    column_product::<DEPTH, SLAB>([self.rows, self.columns], a, b, block > 0, product);
                }
            }
            write(products);
        });
    }

    /// Transforms the products of all points into `parts`, the rows by tap, then by channel.
    fn write<const R: usize>(
        self,
        products: &[f32],
        parts: &mut [&mut [f32]],
        transform: impl Fn(&[Lanes; SIDE]) -> [Lanes; R],
    ) {
        let point_len = products.len() / POINTS;
        with_wide_vectors(
            #[inline(always)]
            || {
                let mut square = ROWS;
                for row in 0..self.rows {
                    for c in (0..self.columns).step_by(LANES) {
                        two_sided(
                            &mut square,
                            #[inline(always)]
                            |point: usize| lanes(&products[point * point_len + row * SLAB + c..]),
                            &transform,
                            #[inline(always)]
                            |tap: usize, sum: &Lanes| {
                                let part = &mut parts[tap * self.rows + row][c..c + LANES];
                                if self.add {
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
    }
}
