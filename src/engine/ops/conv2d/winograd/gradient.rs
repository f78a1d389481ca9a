//! The gradient of the weights.

use crate::engine::blocks;
use crate::engine::ops::by_halves::{Halves, add_halves, sum_by_halves};
use crate::engine::ops::conv2d::winograd::tiles::{
    BLOCK, COLUMNS, DEPTH, GAP, Image, POINTS, SIDE, SLAB, Winograd, block_len, point_len,
};
use crate::engine::ops::conv2d::winograd::transform::{LANES, Lanes, ROWS, four, lanes, three, two, two_sided};
use crate::engine::ops::gemm::{column_product, with_scratch, with_wide_vectors};
use std::ops::Range;

impl Winograd {
    /// The gradient of the weights: the adjoint of each step, `dw = G^T (sum over tiles of (B^T d B) * (A dz A^T)) G`,
    /// image by image, which are [added by halves](sum_by_halves).
    ///
    /// For a filtering of the forward pass.
    pub fn weight_gradient(&self, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        self.images_gradient(0..self.pictures, [x, dz], dw);
    }

    /// The part of `images`. As many as the memory for what is transformed holds are made at once; how many is not seen
    /// in the sum.
    fn images_gradient(&self, images: Range<usize>, [x, dz]: [&[f32]; 2], dw: &mut [f32]) {
        // Each image begins with a block of its own.
        let of_image = (self.tile_rows() * self.band_tiles()).next_multiple_of(BLOCK);
        let most = self.group_bands() * self.band_tiles();
        match images.len() {
            1 => self.image_gradient(images.start, [x, dz], dw),
            count if count * of_image <= most => self.group_gradient(images, [x, dz], dw),
            count => {
                let middle = images.start + count / 2;
                self.images_gradient(images.start..middle, [x, dz], dw);
                with_scratch(dw.len(), |other| {
                    self.images_gradient(middle..images.end, [x, dz], other);
                    add_halves(dw, other);
                });
            }
        }
    }

    /// The part of one image, by groups of its bands.
    fn image_gradient(&self, image: usize, [x, dz]: [&[f32]; 2], dw: &mut [f32]) {
        let (all, [a_len, b_len]) = (self.bands_of(image), self.block_lens());
        let mut tasks = self.tasks(dw);
        for first in all.clone().step_by(self.group_bands()) {
            let bands = first..all.end.min(first + self.group_bands());
            let tiles = bands.len() * self.band_tiles();
            let blocks = tiles.div_ceil(BLOCK);
            with_scratch(blocks * (a_len + b_len), |scratch| {
                let (a, b) = scratch.split_at_mut(blocks * a_len);
                self.transform_rows([x, dz], bands.clone(), a);
                self.transform_columns([x, dz], bands, b);
                blocks::share(&mut tasks, |task, parts| {
                    self.sum(blocks, self.part(task, tiles, [a, b]), first > all.start, parts);
                });
            });
        }
    }

    /// The part of some images.
    fn group_gradient(&self, images: Range<usize>, [x, dz]: [&[f32]; 2], dw: &mut [f32]) {
        let tiles = self.tile_rows() * self.band_tiles();
        let blocks = tiles.div_ceil(BLOCK);
        let [a_len, b_len] = self.block_lens().map(|len| blocks * len);
        with_scratch(images.len() * (a_len + b_len), |scratch| {
            let (a, b) = scratch.split_at_mut(images.len() * a_len);
            blocks::write((a, a_len), |i, a| self.transform_rows([x, dz], self.bands_of(images.start + i), a));
            blocks::write((b, b_len), |i, b| self.transform_columns([x, dz], self.bands_of(images.start + i), b));
            let (a, b) = (&*a, &*b);
            blocks::share(&mut self.tasks(dw), |task, parts| {
                let columns = parts[0].len();
                with_scratch(parts.len() * columns, |sum| {
                    let of_image = |i: usize, out: &mut [f32]| {
                        let mut parts: Vec<&mut [f32]> = out.chunks_exact_mut(columns).collect();
                        let sides = [&a[i * a_len..][..a_len], &b[i * b_len..][..b_len]];
                        self.sum(blocks, self.part(task, tiles, sides), false, &mut parts);
                    };
                    sum_by_halves(0..images.len(), Halves::InTurn, &of_image, sum);
                    parts.iter_mut().zip(sum.chunks_exact(columns)).for_each(|(part, sum)| part.copy_from_slice(sum));
                });
            });
        });
    }

    /// The side whose channels are the rows of a tap's matrix, and that of its columns.
    fn sides(&self) -> [Image; 2] {
        if self.transposed { [self.output, self.input] } else { [self.input, self.output] }
    }

    /// Elements of a block of either side.
    fn block_lens(&self) -> [usize; 2] {
        self.sides().map(|side| block_len(side.depth()))
    }

    /// Bands of an image.
    fn bands_of(&self, image: usize) -> Range<usize> {
        image * self.tile_rows()..(image + 1) * self.tile_rows()
    }

    /// Rows and columns that a task makes: fewer rows where some cores would have none, and columns of one grid.
    fn task_sizes(&self) -> [usize; 2] {
        let [rows, columns] = self.sides();
        let across = match columns.grids > 1 && !columns.channels.is_multiple_of(COLUMNS) {
            true => SLAB,
            false => COLUMNS,
        };
        let tasks = |of_task: usize| rows.depth().div_ceil(of_task) * columns.depth().div_ceil(across);
        let enough = |of_task: &usize| tasks(*of_task) >= rayon::current_num_threads();
        [[DEPTH, DEPTH / 2].into_iter().find(enough).unwrap_or(DEPTH / 4), across]
    }

    /// Each task's parts of dw, by tap, then by row.
    fn tasks<'a>(&self, dw: &'a mut [f32]) -> Vec<Vec<&'a mut [f32]>> {
        let ([rows, columns], [of_task, width]) = (self.sides(), self.task_sizes());
        let across = columns.depth().div_ceil(width);
        let taps = self.taps * self.taps;
        let mut tasks: Vec<Vec<&mut [f32]>> =
            (0..rows.depth().div_ceil(of_task) * across).map(|_| Vec::with_capacity(taps * of_task)).collect();
        let mut matrices: Vec<_> = dw.chunks_exact_mut(rows.channels * columns.channels).map(Some).collect();
        for tap in 0..taps {
            for grid in 0..self.input.grids * self.input.grids {
                let Some(matrix) = matrices[self.matrix(tap, grid)].take() else { continue };
                // Where the rows and columns of this grid begin among those of all.
                let [first_row, first_column] =
                    [rows, columns].map(|side| if side.grids > 1 { grid * side.channels } else { 0 });
                for (i, row) in (first_row..).zip(matrix.chunks_exact_mut(columns.channels)) {
                    let tasks = &mut tasks[i / of_task * across + first_column / width..];
                    row.chunks_mut(width).zip(tasks).for_each(|(part, task)| task.push(part));
                }
            }
        }
        tasks
    }

    /// What a task reads at a point in a block of `tiles` transformed tiles: the number of those in it, and both sides.
    fn part<'a>(
        &self,
        task: usize,
        tiles: usize,
        [a, b]: [&'a [f32]; 2],
    ) -> impl Fn(usize, usize) -> (usize, &'a [f32], &'a [f32]) + use<'a> {
        let ([rows, columns], [a_len, b_len]) = (self.sides().map(|side| side.depth()), self.block_lens());
        let [of_task, width] = self.task_sizes();
        let across = columns.div_ceil(width);
        let first = |at: usize, width: usize| at / width * width * BLOCK + at % width;
        let [row, column] = [first(task / across * of_task, DEPTH), first(task % across * width, COLUMNS)];
        move |point, block| {
            let a = &a[block * a_len + point * point_len(rows) + row..];
            let b = &b[block * b_len + point * point_len(columns) + column..];
            (BLOCK.min(tiles - block * BLOCK), a, b)
        }
    }

    /// Makes the parts of dw of a task, or adds them to what is there.
    fn sum<'a>(
        &self,
        blocks: usize,
        part: impl Fn(usize, usize) -> (usize, &'a [f32], &'a [f32]),
        add: bool,
        parts: &mut [&mut [f32]],
    ) {
        let sum = Sum { rows: parts.len() / (self.taps * self.taps), columns: parts[0].len(), add };
        sum.of(blocks, part, |products| match self.taps {
            2 => sum.write(products, parts, two::weights_adjoint),
            3 => sum.write(products, parts, three::weights_adjoint),
            _ => sum.write(products, parts, four::weights_adjoint),
        });
    }

    fn transform_rows(&self, [x, dz]: [&[f32]; 2], bands: Range<usize>, a: &mut [f32]) {
        match self.transposed {
            true => self.transform_gradients(dz, bands, DEPTH, a),
            false => self.transform_inputs(x, bands, DEPTH, a),
        }
    }

    fn transform_columns(&self, [x, dz]: [&[f32]; 2], bands: Range<usize>, b: &mut [f32]) {
        match self.transposed {
            true => self.transform_inputs(x, bands, COLUMNS, b),
            false => self.transform_gradients(dz, bands, COLUMNS, b),
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
        let point_len = self.rows * COLUMNS + GAP;
        with_scratch(POINTS * point_len, |products| {
            for (point, product) in products.chunks_exact_mut(point_len).enumerate() {
                for block in 0..blocks {
                    let (tiles, a, b) = part(point, block);
                    let (a, b) = (&a[..tiles * DEPTH], &b[..tiles * COLUMNS]);
                    let next = if block + 1 < blocks { (point, block + 1) } else { ((point + 1) % POINTS, 0) };
                    let (_, next_a, next_b) = part(next.0, next.1);
                    let sizes = [self.rows, self.columns];
                    column_product::<DEPTH, COLUMNS>(sizes, a, b, block > 0, (product, COLUMNS), [next_a, next_b]);
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
                            |point: usize| lanes(&products[point * point_len + row * COLUMNS + c..]),
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
