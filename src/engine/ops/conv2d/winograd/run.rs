//! The filtering of a picture: transforms, products, and the outputs put where they belong.

use crate::engine::blocks;
use crate::engine::ops::conv2d::correlation::Finishing;
use crate::engine::ops::conv2d::winograd::outliers;
use crate::engine::ops::conv2d::winograd::tiles::{
    BLOCK, DEPTH, GAP, Image, POINTS, SIDE, SLAB, Winograd, block_len, point_len,
};
use crate::engine::ops::conv2d::winograd::transform::{
    LANES, Lanes, ROWS, four, input_transform, lanes, pixel, three, two, two_sided,
};
use crate::engine::ops::gemm::{panel_product, with_scratch, with_wide_vectors};
use crate::engine::ops::vector_math::sum_of;
use std::ops::Range;

impl Winograd {
    /// `y = finish(correlation of x with w)`; `finish` gets runs of the output's channels, one pixel or several.
    pub fn run(&self, x: &[f32], w: &[f32], finish: Finishing<'_>, y: &mut [f32]) {
        let (bands, group) = (self.bands(), self.group_bands());
        let row = self.output.size[1] * self.output.channels;
        let (width, channels) = (self.input.size[1], self.input.channels);
        // The largest magnitude of each input pixel, as far as `known` rows of all pictures.
        let mut peaks = vec![0; self.pictures * self.input.size[0] * width];
        let mut known = 0;
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let rows = self.band_start(bands.start) * row..self.band_start(bands.end) * row;
            // Just before they are read anyway.
            let needed = self.input_rows(bands.end - 1).end.max(known);
            let pixels = known * width..needed * width;
            outliers::peaks(&x[pixels.start * channels..], channels, &mut peaks[pixels]);
            known = needed;
            let tiles = bands.len() * self.band_tiles();
            let transformed = tiles.div_ceil(BLOCK) * block_len(self.input.depth());
            with_scratch(transformed + tiles * self.tile() * self.output.depth(), |scratch| {
                let (transformed, outputs) = scratch.split_at_mut(transformed);
                self.transform_inputs(x, bands.clone(), DEPTH, transformed);
                self.multiply(w, transformed, outputs);
                self.redo_uneven(x, w, &peaks, bands.clone(), outputs);
                self.scatter(bands, outputs, finish, &mut y[rows]);
            });
        }
    }

    /// Makes the outputs of uneven tiles anew, directly: see [`outliers`].
    fn redo_uneven(&self, x: &[f32], w: &[f32], peaks: &[u32], bands: Range<usize>, outputs: &mut [f32]) {
        let even = |band: usize| {
            let rows = self.input_rows(band);
            outliers::even(&peaks[rows.start * self.input.size[1]..rows.end * self.input.size[1]])
        };
        let uneven = blocks::collect(bands.len(), |i| !even(bands.start + i));
        if !uneven.contains(&true) {
            return;
        }
        let (step, depth) = (self.step(), self.output.depth());
        blocks::write((outputs, BLOCK * self.tile() * depth), |block, outputs| {
            let tiles = outputs.len() / (self.tile() * depth);
            for i in 0..tiles {
                let tile = bands.start * self.band_tiles() + block * BLOCK + i;
                if !uneven[tile / self.band_tiles() - bands.start] {
                    continue;
                }
                let grids = self.input.grids * self.input.grids;
                let sources: Vec<[Option<usize>; POINTS]> = (0..grids).map(|grid| self.sources(tile, grid)).collect();
                if !outliers::uneven(&sources, self.taps, peaks) {
                    continue;
                }
                for place in 0..self.tile() {
                    let sums = self.direct(x, w, &sources, place / step * SIDE + place % step);
                    // As `multiply` lays them out.
                    for (slab, sums) in sums.chunks(SLAB).enumerate() {
                        let at = self.tile() * (tiles * slab * SLAB + i * sums.len()) + place * sums.len();
                        outputs[at..at + sums.len()].copy_from_slice(sums);
                    }
                }
            }
        });
    }

    /// The outputs whose first tap lies on place `first` of the pixels of each grid, by the definition.
    fn direct(&self, x: &[f32], w: &[f32], sources: &[[Option<usize>; POINTS]], first: usize) -> Vec<f32> {
        let [c, o] = [self.input.channels, self.output.channels];
        let mut sums = vec![0.0; self.output.depth()];
        for (grid, sums) in (0..).zip(sums.chunks_exact_mut(o)) {
            for (tap, (source, pixels)) in
                (0..self.taps * self.taps).flat_map(|tap| sources.iter().enumerate().map(move |source| (tap, source)))
            {
                let Some(pixel) = pixels[first + tap / self.taps * SIDE + tap % self.taps] else { continue };
                let x = &x[pixel * c..][..c];
                let w = &w[self.matrix(tap, grid + source) * c * o..][..c * o];
                if self.transposed {
                    for (sum, w) in sums.iter_mut().zip(w.chunks_exact(c)) {
                        *sum += sum_of(x, w, |x, w| x * w);
                    }
                } else {
                    for (x, w) in x.iter().zip(w.chunks_exact(o)) {
                        sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += x * w);
                    }
                }
            }
        }
        sums
    }

    /// Writes `B^T d B` of every tile: `(tiles / BLOCK, POINTS, channels / width, BLOCK, width)`, rounded up.
    pub(super) fn transform_inputs(&self, x: &[f32], bands: Range<usize>, width: usize, transformed: &mut [f32]) {
        let sources = |tile: usize, grid: usize| self.sources(tile, grid);
        self.transform_tiles(bands, (x, self.input), width, sources, input_transform, transformed);
    }

    /// Writes the transform of the S x S pixels of every tile of `bands`: `(tiles / BLOCK, POINTS, channels / width,
    /// BLOCK, width)`, rounded up; `width` divides DEPTH. `pixels` has those of a tile on one of the image's grids, as
    /// places in x.
    pub(super) fn transform_tiles<const S: usize, const PIXELS: usize>(
        &self,
        bands: Range<usize>,
        (x, image): (&[f32], Image),
        width: usize,
        pixels: impl Fn(usize, usize) -> [Option<usize>; PIXELS] + Sync,
        transform: impl Fn(&[Lanes; S]) -> [Lanes; SIDE] + Sync,
        transformed: &mut [f32],
    ) {
        let tiles = bands.start * self.band_tiles()..bands.end * self.band_tiles();
        let planes = Planes { block: block_len(image.depth()), point: point_len(image.depth()), depth: image.depth() };
        planes.write(transformed, &|block, part, planes| {
            let first = tiles.start + block * BLOCK;
            let mut rows = ROWS;
            for tile in first..tiles.end.min(first + BLOCK) {
                for grid in 0..image.grids * image.grids {
                    let of_grid = grid * image.channels..(grid + 1) * image.channels;
                    let channels = part.start.max(of_grid.start)..part.end.min(of_grid.end);
                    if channels.is_empty() {
                        continue;
                    }
                    let pixels = pixels(tile, grid);
                    with_wide_vectors(
                        #[inline(always)]
                        || {
                            for at in channels.step_by(LANES) {
                                let start = at / width * width;
                                let offset = (start - part.start) * BLOCK + (tile - first) * width + at - start;
                                two_sided(
                                    &mut rows,
                                    #[inline(always)]
                                    |i: usize| pixel(x, image.channels, pixels[i], at - of_grid.start),
                                    &transform,
                                    #[inline(always)]
                                    |point: usize, value: &Lanes| {
                                        planes[point][offset..offset + LANES].copy_from_slice(value);
                                    },
                                );
                            }
                        },
                    );
                }
            }
        });
    }

    /// Writes the outputs of every tile: `(tiles / BLOCK, channels / SLAB, BLOCK, outputs of a tile, SLAB)`, where the
    /// last block and slab are what is left.
    fn multiply(&self, w: &[f32], transformed: &[f32], outputs: &mut [f32]) {
        let (channels, block) = (self.output.depth(), BLOCK * self.tile());
        let (blocks, slabs) = (outputs.len().div_ceil(block * channels), channels.div_ceil(SLAB));
        // No more than leaves every core something to do.
        let together = (blocks * slabs / (4 * rayon::current_num_threads())).clamp(1, TOGETHER);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        tasks.resize_with(blocks.div_ceil(together) * slabs, Vec::new);
        for (i, outputs) in outputs.chunks_mut(block * channels).enumerate() {
            let tasks = &mut tasks[i / together * slabs..];
            let slabs = outputs.chunks_mut(outputs.len() / channels * SLAB);
            tasks.iter_mut().zip(slabs).for_each(|(task, outputs)| task.push(outputs));
        }
        let group = together * block_len(self.input.depth());
        blocks::share(tasks, |task, outputs| {
            let (transformed, first) = (&transformed[task / slabs * group..], task % slabs * SLAB);
            if channels - first < SLAB {
                self.multiply_blocks::<LANES>(w, first, transformed, outputs);
            } else {
                self.multiply_blocks::<SLAB>(w, first, transformed, outputs);
            }
        });
    }

    /// The 36 products of blocks of tiles with the weights of the N output channels from `first` on, and the transform
    /// of their results.
    fn multiply_blocks<const N: usize>(
        &self,
        w: &[f32],
        first: usize,
        transformed: &[f32],
        mut outputs: Vec<&mut [f32]>,
    ) {
        let channels = self.input.depth();
        let [block_len, a_len, b_len] = [block_len(channels), point_len(channels), DEPTH * N + GAP];
        // Of a point of a block.
        let product_len = BLOCK * N + GAP;
        let blocks = outputs.len();
        with_scratch(POINTS * (b_len + blocks * product_len), |scratch| {
            let (weights, products) = scratch.split_at_mut(POINTS * b_len);
            for start in (0..channels).step_by(DEPTH) {
                let depth = start..channels.min(start + DEPTH);
                self.transform_weights(w, depth.clone(), first..first + N, weights);
                for step in 0..POINTS * blocks {
                    let (point, block) = (step / blocks, step % blocks);
                    let at = |step: usize, start: usize| {
                        &transformed[step % blocks * block_len + step / blocks * a_len + start * BLOCK..]
                    };
                    let a = at(step, start);
                    let ahead =
                        if step + 1 < POINTS * blocks { at(step + 1, start) } else { at(0, depth.end % channels) };
                    let tiles = outputs[block].len() / (self.tile() * N);
                    let b = &weights[point * b_len..][..depth.len() * N];
                    let product = &mut products[(block * POINTS + point) * product_len..][..tiles * N];
                    let row = |tile: usize| (tile, &a[tile * DEPTH..][..depth.len()]);
                    panel_product::<N>(tiles, row, b, start > 0, product, ahead);
                }
            }
            for (outputs, products) in outputs.iter_mut().zip(products.chunks_exact(POINTS * product_len)) {
                match self.taps {
                    2 => transform_outputs::<5>(N, products, outputs, two::outputs),
                    3 => transform_outputs::<4>(N, products, outputs, three::outputs),
                    _ => transform_outputs::<3>(N, products, outputs, four::outputs),
                }
            }
        });
    }

    /// Puts the tiles of `bands` where they belong in `y`, whose first row is that of the first band.
    fn scatter(&self, bands: Range<usize>, outputs: &[f32], finish: Finishing<'_>, y: &mut [f32]) {
        let Image { size: [height, width], channels, grids, pad } = self.output;
        let (step, output_step, depth) = (self.step(), self.output_step(), self.output.depth());
        let first_row = self.band_start(bands.start);
        let tiles = bands.len() * self.band_tiles();
        let place = |at: usize, pad: usize| ((at + pad) / output_step, (at + pad) % output_step);
        blocks::write((y, width * channels), |row, y| {
            let (picture, oy) = ((first_row + row) / height, (first_row + row) % height);
            let (grid_y, phase_y) = place(oy, pad[0]);
            let band = picture * self.tile_rows() + grid_y / step - bands.start;
            // For the copies, which are calls otherwise.
            with_wide_vectors(
                #[inline(always)]
                || {
                    for (ox, y) in y.chunks_exact_mut(channels).enumerate() {
                        let (grid_x, phase_x) = place(ox, pad[1]);
                        // A grid has tiles of its own, or channels.
                        let (phase, grid) = match grids {
                            1 => (phase_y * self.dilation + phase_x, 0),
                            _ => (0, phase_y * grids + phase_x),
                        };
                        let tile = band * self.band_tiles() + phase * self.tile_columns() + grid_x / step;
                        let place = step * (grid_y % step) + grid_x % step;
                        let block = tile / BLOCK * BLOCK;
                        let block_tiles = BLOCK.min(tiles - block);
                        for (slab, y) in (grid * channels / SLAB..).zip(y.chunks_mut(SLAB)) {
                            let start = self.tile() * (block * depth + block_tiles * slab * SLAB);
                            let at = start + ((tile - block) * self.tile() + place) * y.len();
                            let from = &outputs[at..at + y.len()];
                            match (y.as_mut_array::<SLAB>(), from.as_array()) {
                                (Some(y), Some(from)) => *y = *from,
                                _ => y.copy_from_slice(from),
                            }
                        }
                    }
                },
            );
            finish(y);
        });
    }
}

/// Blocks of tiles that one task multiplies, at most, with weights that are transformed once: their sums stay in a
/// second-level cache of 1 MiB beside them.
const TOGETHER: usize = 2;

/// How transformed tiles lie: by block, then by point, then by channels.
struct Planes {
    /// Elements of a block of tiles.
    block: usize,
    /// Elements of a point of a block.
    point: usize,
    /// Channels.
    depth: usize,
}

/// Channels of a block of tiles that one thread transforms: small images have one block alone.
const PART: usize = 2 * DEPTH;

type WritePart<'f> = &'f (dyn Fn(usize, Range<usize>, &mut [&mut [f32]]) + Sync);

impl Planes {
    /// Calls `f` with each block of tiles, each part of the channels and what is written there, by point.
    fn write(&self, transformed: &mut [f32], f: WritePart) {
        let parts = self.depth.div_ceil(PART);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        for block in transformed.chunks_mut(self.block) {
            let first = tasks.len();
            tasks.resize_with(first + parts, || Vec::with_capacity(POINTS));
            for plane in block.chunks_exact_mut(self.point) {
                tasks[first..].iter_mut().zip(plane.chunks_mut(PART * BLOCK)).for_each(|(task, part)| task.push(part));
            }
        }
        blocks::share(&mut tasks, |task, planes| {
            let start = task % parts * PART;
            f(task / parts, start..self.depth.min(start + PART), planes);
        });
    }
}

/// Writes the M x M outputs of each tile, `width` channels each, from its products.
fn transform_outputs<const M: usize>(
    width: usize,
    products: &[f32],
    outputs: &mut [f32],
    transform: impl Fn(&[Lanes; SIDE]) -> [Lanes; M],
) {
    let point_len = products.len() / POINTS;
    with_wide_vectors(
        #[inline(always)]
        || {
            let mut rows = ROWS;
            for (tile, outputs) in outputs.chunks_exact_mut(M * M * width).enumerate() {
                for c in (0..width).step_by(LANES) {
                    two_sided(
                        &mut rows,
                        #[inline(always)]
                        |point: usize| lanes(&products[point * point_len + tile * width + c..]),
                        &transform,
                        #[inline(always)]
                        |place: usize, values: &Lanes| outputs[place * width + c..][..LANES].copy_from_slice(values),
                    );
                }
            }
        },
    );
}
