//! The filtering of a picture: transforms, products, and the outputs put where they belong.

use crate::engine::blocks::{self, Apart};
use crate::engine::ops::conv2d::finish::Finish;
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
    /// `y = finish(correlation of x with w)`.
    pub fn run(&self, x: &[f32], w: &[f32], finish: Finish<'_>, y: &mut [f32]) {
        let (bands, group) = (self.bands(), self.group_bands());
        let row = self.output.size[1] * self.output.channels;
        let (width, channels) = (self.input.size[1], self.input.channels);
        // The largest magnitude of each input pixel, as far as `known` rows of all pictures.
        let mut peaks = vec![0; self.pictures * self.input.size[0] * width];
        let mut known = 0;
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            // Just before they are read anyway.
            let needed = self.input_rows(bands.end - 1).end.max(known);
            let pixels = known * width..needed * width;
            outliers::peaks(&x[pixels.start * channels..], channels, &mut peaks[pixels]);
            known = needed;
            let transformed = (bands.len() * self.band_tiles()).div_ceil(BLOCK) * block_len(self.input.depth());
            with_scratch(transformed, |transformed| {
                self.transform_inputs(x, bands.clone(), DEPTH, transformed);
                self.multiply(w, transformed, bands.clone(), finish, y);
            });
            let rows = self.band_start(bands.start) * row..self.band_start(bands.end) * row;
            self.redo_uneven(x, w, &peaks, bands, finish, &mut y[rows]);
        }
    }

    /// Makes the outputs of uneven tiles anew, directly: see [`outliers`]. `y` begins with the first row of `bands`.
    fn redo_uneven(&self, x: &[f32], w: &[f32], peaks: &[u32], bands: Range<usize>, finish: Finish<'_>, y: &mut [f32]) {
        let even = |band: usize| {
            let rows = self.input_rows(band);
            outliers::even(&peaks[rows.start * self.input.size[1]..rows.end * self.input.size[1]])
        };
        let uneven_bands = blocks::collect(bands.len(), |i| !even(bands.start + i));
        if !uneven_bands.contains(&true) {
            return;
        }
        let grids = self.input.grids * self.input.grids;
        let sources = |tile: usize| (0..grids).map(|grid| self.sources(tile, grid)).collect::<Vec<_>>();
        let tiles = self.band_tiles();
        let uneven = blocks::collect(bands.len() * tiles, |i| {
            uneven_bands[i / tiles] && outliers::uneven(&sources(bands.start * tiles + i), self.taps, peaks)
        });
        let Image { size: [_, width], channels, .. } = self.output;
        let first_row = self.band_start(bands.start);
        blocks::write((y, width * channels), |row, y| {
            for (ox, y) in y.chunks_exact_mut(channels).enumerate() {
                let (tile, grid, place) = self.tile_of(first_row + row, ox);
                if uneven[tile - bands.start * tiles] {
                    let first = place / self.step() * SIDE + place % self.step();
                    self.direct(x, w, &sources(tile), grid, first, y);
                    finish.apply(channels, y);
                }
            }
        });
    }

    /// Of grid `grid` the outputs whose first tap lies on place `first` of the pixels of each grid, by the definition.
    fn direct(
        &self,
        x: &[f32],
        w: &[f32],
        sources: &[[Option<usize>; POINTS]],
        grid: usize,
        first: usize,
        sums: &mut [f32],
    ) {
        let [c, o] = [self.input.channels, self.output.channels];
        sums.fill(0.0);
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

    /// Writes the outputs of `bands` where they belong in `y`, the outputs of all bands.
    fn multiply(&self, w: &[f32], transformed: &[f32], bands: Range<usize>, finish: Finish<'_>, y: &mut [f32]) {
        let channels = self.output.depth();
        let tiles = bands.start * self.band_tiles()..bands.end * self.band_tiles();
        let (blocks, slabs) = (tiles.len().div_ceil(BLOCK), channels.div_ceil(SLAB));
        // No more than leaves every core something to do.
        let together = (blocks * slabs / (4 * rayon::current_num_threads())).clamp(1, TOGETHER);
        let group = together * block_len(self.input.depth());
        let y = Apart::new(y);
        blocks::each(blocks.div_ceil(together) * slabs, &|task| {
            let (transformed, first) = (&transformed[task / slabs * group..], task % slabs * SLAB);
            let from = tiles.start + task / slabs * together * BLOCK;
            let tiles = from..tiles.end.min(from + together * BLOCK);
            if channels - first < SLAB {
                self.multiply_blocks::<LANES>(w, first, transformed, tiles, finish, &y);
            } else {
                self.multiply_blocks::<SLAB>(w, first, transformed, tiles, finish, &y);
            }
        });
    }

    /// The 36 products of blocks of tiles with the weights of the N output channels from `first` on, and of them the
    /// outputs in `y`.
    fn multiply_blocks<const N: usize>(
        &self,
        w: &[f32],
        first: usize,
        transformed: &[f32],
        tiles: Range<usize>,
        finish: Finish<'_>,
        y: &Apart<'_>,
    ) {
        let channels = self.input.depth();
        let [block_len, a_len, b_len] = [block_len(channels), point_len(channels), DEPTH * N + GAP];
        // Of a point of a block.
        let product_len = BLOCK * N + GAP;
        let blocks = tiles.len().div_ceil(BLOCK);
        let tiles_of = |block: usize| tiles.start + block * BLOCK..tiles.end.min(tiles.start + (block + 1) * BLOCK);
        with_scratch(POINTS * (b_len + blocks * product_len), |scratch| {
            let (weights, products) = scratch.split_at_mut(POINTS * b_len);
            for start in (0..channels).step_by(DEPTH) {
                let depth = start..channels.min(start + DEPTH);
                self.transform_weights(w, depth.clone(), first..first + N, weights);
                let steps = POINTS * blocks;
                for step in 0..steps {
                    let (point, block) = (step / blocks, step % blocks);
                    let at = |step: usize, start: usize| {
                        &transformed[step % blocks * block_len + step / blocks * a_len + start * BLOCK..]
                    };
                    let a = at(step, start);
                    let ahead = if step + 1 < steps { at(step + 1, start) } else { at(0, depth.end % channels) };
                    let tiles = tiles_of(block).len();
                    let b = &weights[point * b_len..][..depth.len() * N];
                    let product = &mut products[(block * POINTS + point) * product_len..][..tiles * N];
                    let row = |tile: usize| (tile, &a[tile * DEPTH..][..depth.len()]);
                    // Of the next weights, not sooner: they would be gone again.
                    if let Some(part) = step.checked_sub(steps / 2) {
                        let next = depth.end..channels.min(depth.end + DEPTH);
                        self.hint(w, next, first..first + N, [part, steps - steps / 2]);
                    }
                    panel_product::<N>(tiles, row, b, start > 0, product, ahead);
                }
            }
            for (block, products) in products.chunks_exact(POINTS * product_len).enumerate() {
                let tiles = tiles_of(block);
                match self.taps {
                    2 => self.write_outputs::<5>(products, tiles, first..first + N, finish, y, two::outputs),
                    3 => self.write_outputs::<4>(products, tiles, first..first + N, finish, y, three::outputs),
                    _ => self.write_outputs::<3>(products, tiles, first..first + N, finish, y, four::outputs),
                }
            }
        });
    }

    /// Writes the finished outputs of some tiles of a block, the channels `slab`, from their products.
    #[allow(unsafe_code, reason = "tasks write to pixels that lie between those of others, see `Apart`")]
    fn write_outputs<const M: usize>(
        &self,
        products: &[f32],
        tiles: Range<usize>,
        slab: Range<usize>,
        finish: Finish<'_>,
        y: &Apart<'_>,
        transform: impl Fn(&[Lanes; SIDE]) -> [Lanes; M],
    ) {
        assert_eq!(M, self.step());
        let point_len = products.len() / POINTS;
        let channels = self.output.channels;
        let (grid, first, width) = (slab.start / channels, slab.start % channels, slab.len());
        with_wide_vectors(
            #[inline(always)]
            || {
                let mut rows = ROWS;
                for (i, tile) in tiles.enumerate() {
                    let [rows_at, columns_at] = self.target_axes::<M>(tile, grid);
                    for c in (0..width).step_by(LANES) {
                        two_sided(
                            &mut rows,
                            #[inline(always)]
                            |point: usize| lanes(&products[point * point_len + i * width + c..]),
                            &transform,
                            #[inline(always)]
                            |place: usize, values: &Lanes| {
                                if let (Some(row), Some(column)) = (rows_at[place / M], columns_at[place % M]) {
                                    let mut values = *values;
                                    finish.apply_to_part(first + c, &mut values);
                                    // SAFETY: tasks differ in tiles or in channels; M is the side of a tile, so
                                    // that no two of them make one pixel.
                                    unsafe { y.write((row + column) * channels + first + c, &values) };
                                }
                            },
                        );
                    }
                }
            },
        );
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
