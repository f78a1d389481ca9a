//! Winograd's minimal filtering F(4x4, 3x3) for 3x3 convolutions of stride 1: 36 multiplications for 16 outputs, not
//! 144.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of 4x4 outputs is
//! `A^T ((G w G^T) * (B^T d B)) A` of its 6x6 inputs d; summed over channels, each of the 36 products becomes a matrix
//! product of tiles x channels by channels x outputs. A dilation of d is d x d interleaved grids of dilation 1.
//!
//! Rounding grows with the constants of the transforms, to some 4e-6 of the largest value of a tile. Tiles in which
//! that would be seen in outputs which do not read the value, or that hold a NaN or an infinity, are filtered directly
//! (`outliers`).

use crate::engine::blocks;
use crate::engine::ops::conv2d::geometry::Geometry;
use crate::engine::ops::conv2d::outliers;
use crate::engine::ops::conv2d::transform::{
    LANES, Lanes, ROWS, input_transform, lanes, output_transform, pixel, two_sided, weight_transform,
};
use crate::engine::ops::gemm::{panel_product, with_scratch, with_wide_vectors};
use crate::engine::ops::vector_math::sum_of;
use rayon::prelude::*;
use std::ops::Range;

/// Products a tile.
pub(super) const POINTS: usize = 36;
/// Elements between the data of two points. Without them the 36 places that a transform writes to lie a power of two
/// apart and evict each other from the cache.
pub(super) const GAP: usize = 80;
/// Outputs a tile.
pub(super) const TILE: usize = 16;
/// Tiles that one product works on.
pub(super) const BLOCK: usize = 64;
/// Output channels that one task makes: its sums and its part of the weights stay in a second-level cache of 1 MiB.
pub(super) const SLAB: usize = 2 * LANES;
/// Input channels whose weights are transformed at once, and that one product of the weight gradient makes.
pub(super) const DEPTH: usize = 64;
/// Elements of the transformed input that are held at once, roughly.
const GROUP_ELEMENTS: usize = 1 << 20;

/// A 3x3 correlation of stride 1 from `channels_in` to `channels_out`.
pub struct Winograd {
    pub(super) pictures: usize,
    input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) channels_in: usize,
    pub(super) channels_out: usize,
    /// Input rows and columns before the first window; may pass the picture's border on either side.
    pad: [usize; 2],
    pub(super) dilation: usize,
    /// Whether w is read as the input gradient does: taps reversed, `(channels_out, channels_in)` within a tap.
    adjoint: bool,
}

impl Winograd {
    /// For the forward pass, where it is the faster way.
    pub fn forward(g: &Geometry) -> Option<Winograd> {
        Winograd {
            pictures: g.n as usize,
            input: [g.h as usize, g.w as usize],
            output: [g.ho as usize, g.wo as usize],
            channels_in: g.c as usize,
            channels_out: g.o as usize,
            pad: [g.pad_top as usize, g.pad_left as usize],
            dilation: g.dilation as usize,
            adjoint: false,
        }
        .if_faster(g)
    }

    /// For the input gradient, where it is the faster way.
    pub fn input_gradient(g: &Geometry) -> Option<Winograd> {
        let pad = |pad: u32| (2 * g.dilation).checked_sub(pad).map(|pad| pad as usize);
        Winograd {
            pictures: g.n as usize,
            input: [g.ho as usize, g.wo as usize],
            output: [g.h as usize, g.w as usize],
            channels_in: g.o as usize,
            channels_out: g.c as usize,
            pad: [pad(g.pad_top)?, pad(g.pad_left)?],
            dilation: g.dilation as usize,
            adjoint: true,
        }
        .if_faster(g)
    }

    /// Enough channels to outweigh the transforms (and to keep their rounding below that of the sums), and tiles that
    /// are mostly filled.
    fn if_faster(self, g: &Geometry) -> Option<Winograd> {
        let lanes = |channels: usize| channels >= 64 && channels.is_multiple_of(LANES);
        let [height, width] = self.output;
        let tiles = self.pictures * self.tile_rows() * self.band_tiles();
        let fits = [g.kh, g.kw, g.stride] == [3, 3, 1] && lanes(self.channels_in) && lanes(self.channels_out);
        (fits && tiles >= 16 && 2 * tiles * TILE <= 3 * self.pictures * height * width).then_some(self)
    }

    /// Rows of tiles of each grid.
    pub(super) fn tile_rows(&self) -> usize {
        self.output[0].div_ceil(self.dilation).div_ceil(4)
    }

    /// Columns of tiles of each grid.
    fn tile_columns(&self) -> usize {
        self.output[1].div_ceil(self.dilation).div_ceil(4)
    }

    /// Tiles of one row of all grids of a picture, which make `4 * dilation` rows of output: a band.
    pub(super) fn band_tiles(&self) -> usize {
        self.dilation * self.dilation * self.tile_columns()
    }

    /// Bands that are worked on at once, to bound the memory.
    pub(super) fn group_bands(&self) -> usize {
        (GROUP_ELEMENTS / (POINTS * self.channels_in)).max(4 * BLOCK).div_ceil(self.band_tiles())
    }

    /// First output row of band `band`, counted over all pictures.
    fn band_start(&self, band: usize) -> usize {
        let (picture, row) = (band / self.tile_rows(), band % self.tile_rows());
        picture * self.output[0] + (4 * self.dilation * row).min(self.output[0])
    }

    /// `y = finish(correlation of x with w)`; `finish` gets runs of `channels_out` values, one pixel or several.
    pub fn run(&self, x: &[f32], w: &[f32], finish: impl Fn(&mut [f32]) + Sync, y: &mut [f32]) {
        let bands = self.pictures * self.tile_rows();
        let group = self.group_bands();
        let row = self.output[1] * self.channels_out;
        // The largest magnitude of each input pixel, as far as `known` rows of all pictures.
        let mut peaks = vec![0; self.pictures * self.input[0] * self.input[1]];
        let mut known = 0;
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let rows = self.band_start(bands.start) * row..self.band_start(bands.end) * row;
            // Just before they are read anyway.
            let needed = self.input_rows(bands.end - 1).end.max(known);
            let pixels = known * self.input[1]..needed * self.input[1];
            outliers::peaks(&x[pixels.start * self.channels_in..], self.channels_in, &mut peaks[pixels]);
            known = needed;
            let tiles = bands.len() * self.band_tiles();
            let transformed = tiles.div_ceil(BLOCK) * block_len(self.channels_in);
            with_scratch(transformed + tiles * TILE * self.channels_out, |scratch| {
                let (transformed, outputs) = scratch.split_at_mut(transformed);
                self.transform_inputs(x, bands.clone(), transformed);
                self.multiply(w, transformed, outputs);
                self.redo_uneven(x, w, &peaks, bands.clone(), outputs);
                self.scatter(bands, outputs, &finish, &mut y[rows]);
            });
        }
    }

    /// The input rows, counted over all pictures, that a band reads.
    fn input_rows(&self, band: usize) -> Range<usize> {
        let (picture, row) = (band / self.tile_rows(), band % self.tile_rows());
        let within = |row: usize| row.saturating_sub(self.pad[0]).min(self.input[0]);
        let first = 4 * self.dilation * row;
        let start = picture * self.input[0];
        start + within(first)..start + within(first + 6 * self.dilation)
    }

    /// Makes the outputs of uneven tiles anew, directly: see [`outliers`].
    fn redo_uneven(&self, x: &[f32], w: &[f32], peaks: &[u32], bands: Range<usize>, outputs: &mut [f32]) {
        let even = |band: usize| {
            let rows = self.input_rows(band);
            outliers::even(&peaks[rows.start * self.input[1]..rows.end * self.input[1]])
        };
        let uneven: Vec<bool> = bands.clone().into_par_iter().map(|band| !even(band)).collect();
        if !uneven.contains(&true) {
            return;
        }
        blocks::write((outputs, BLOCK * TILE * self.channels_out), |block, outputs| {
            let tiles = outputs.len() / (TILE * self.channels_out);
            for i in 0..tiles {
                let tile = bands.start * self.band_tiles() + block * BLOCK + i;
                if !uneven[tile / self.band_tiles() - bands.start] {
                    continue;
                }
                let sources = self.sources(tile);
                if !outliers::uneven(&sources, peaks) {
                    continue;
                }
                for place in 0..TILE {
                    let first = place / 4 * 6 + place % 4;
                    let taps = std::array::from_fn(|tap| sources[first + tap / 3 * 6 + tap % 3]);
                    let sums = self.direct(x, w, taps);
                    // As `multiply` lays them out.
                    for (slab, sums) in sums.chunks(SLAB).enumerate() {
                        let at = TILE * tiles * slab * SLAB + (i * TILE + place) * sums.len();
                        outputs[at..at + sums.len()].copy_from_slice(sums);
                    }
                }
            }
        });
    }

    /// The output whose nine input pixels are `taps`, by the definition.
    fn direct(&self, x: &[f32], w: &[f32], taps: [Option<usize>; 9]) -> Vec<f32> {
        let [c, o] = [self.channels_in, self.channels_out];
        let mut sums = vec![0.0; o];
        for (tap, pixel) in taps.iter().enumerate() {
            let Some(pixel) = pixel else { continue };
            let x = &x[pixel * c..][..c];
            if self.adjoint {
                let w = &w[(8 - tap) * c * o..][..c * o];
                for (sum, w) in sums.iter_mut().zip(w.chunks_exact(c)) {
                    *sum += sum_of(x, w, |x, w| x * w);
                }
            } else {
                let w = &w[tap * c * o..][..c * o];
                for (x, w) in x.iter().zip(w.chunks_exact(o)) {
                    sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += x * w);
                }
            }
        }
        sums
    }

    /// Writes `B^T d B` of every tile: `(tiles / BLOCK, POINTS, channels_in / DEPTH, BLOCK, DEPTH)`, rounded up.
    pub(super) fn transform_inputs(&self, x: &[f32], bands: Range<usize>, transformed: &mut [f32]) {
        let x = (x, self.channels_in);
        self.transform_tiles(bands, x, DEPTH, |tile| self.sources(tile), input_transform, transformed);
    }

    /// Writes the transform of the S x S pixels of every tile of `bands`: `(tiles / BLOCK, POINTS, channels / width,
    /// BLOCK, width)`, rounded up. `pixels` has those of a tile, as places in x; `width` divides DEPTH.
    pub(super) fn transform_tiles<const S: usize, const PIXELS: usize>(
        &self,
        bands: Range<usize>,
        (x, channels): (&[f32], usize),
        width: usize,
        pixels: impl Fn(usize) -> [Option<usize>; PIXELS] + Sync,
        transform: impl Fn(&[Lanes; S]) -> [Lanes; 6] + Sync,
        transformed: &mut [f32],
    ) {
        let tiles = bands.start * self.band_tiles()..bands.end * self.band_tiles();
        blocks::write((transformed, block_len(channels)), |block, transformed| {
            let first = tiles.start + block * BLOCK;
            let mut rows = ROWS;
            for tile in first..tiles.end.min(first + BLOCK) {
                let pixels = pixels(tile);
                with_wide_vectors(
                    #[inline(always)]
                    || {
                        for c in (0..channels).step_by(LANES) {
                            let start = c / width * width;
                            let offset = start * BLOCK + (tile - first) * width + c - start;
                            two_sided(
                                &mut rows,
                                #[inline(always)]
                                |at: usize| pixel(x, channels, pixels[at], c),
                                &transform,
                                #[inline(always)]
                                |point: usize, value: &Lanes| {
                                    let at = point * point_len(channels) + offset;
                                    transformed[at..at + LANES].copy_from_slice(value);
                                },
                            );
                        }
                    },
                );
            }
        });
    }

    /// The picture of a tile and, along each axis, its first output on its grid and the phase of that grid.
    pub(super) fn place(&self, tile: usize) -> (usize, [usize; 2], [usize; 2]) {
        let (band, in_band) = (tile / self.band_tiles(), tile % self.band_tiles());
        let (picture, tile_row) = (band / self.tile_rows(), band % self.tile_rows());
        let (phase, tile_column) = (in_band / self.tile_columns(), in_band % self.tile_columns());
        (picture, [4 * tile_row, 4 * tile_column], [phase / self.dilation, phase % self.dilation])
    }

    /// The 6x6 input pixels of a tile, `None` outside the picture.
    fn sources(&self, tile: usize) -> [Option<usize>; POINTS] {
        let (picture, first, phase) = self.place(tile);
        let at = |axis: usize, k: usize| {
            let at = ((first[axis] + k) * self.dilation + phase[axis]).checked_sub(self.pad[axis])?;
            (at < self.input[axis]).then_some(at)
        };
        std::array::from_fn(|i| Some((picture * self.input[0] + at(0, i / 6)?) * self.input[1] + at(1, i % 6)?))
    }

    /// Writes the outputs of every tile: `(tiles / BLOCK, channels_out / SLAB, BLOCK, TILE, SLAB)`, where the last
    /// block and slab are what is left.
    fn multiply(&self, w: &[f32], transformed: &[f32], outputs: &mut [f32]) {
        let blocks = outputs.par_chunks_mut(BLOCK * TILE * self.channels_out);
        blocks.zip(transformed.par_chunks(block_len(self.channels_in))).for_each(|(outputs, transformed)| {
            let tiles = outputs.len() / (TILE * self.channels_out);
            blocks::write((outputs, tiles * TILE * SLAB), |slab, outputs| {
                let slab = slab * SLAB..self.channels_out.min((slab + 1) * SLAB);
                if slab.len() == SLAB {
                    self.multiply_block::<SLAB>(w, slab.start, transformed, outputs);
                } else {
                    self.multiply_block::<LANES>(w, slab.start, transformed, outputs);
                }
            });
        });
    }

    /// The 36 products of one block of tiles with the weights of the N output channels from `first` on, and the
    /// transform of their results.
    fn multiply_block<const N: usize>(&self, w: &[f32], first: usize, transformed: &[f32], outputs: &mut [f32]) {
        let tiles = outputs.len() / (TILE * N);
        let [a_len, b_len, product_len] = [transformed.len() / POINTS, DEPTH * N + GAP, tiles * N + GAP];
        with_scratch(POINTS * (b_len + product_len), |scratch| {
            let (weights, products) = scratch.split_at_mut(POINTS * b_len);
            for start in (0..self.channels_in).step_by(DEPTH) {
                let depth = start..self.channels_in.min(start + DEPTH);
                self.transform_weights(w, depth.clone(), first..first + N, weights);
                let points = transformed.chunks_exact(a_len).zip(weights.chunks_exact(b_len));
                for ((a, b), product) in points.zip(products.chunks_exact_mut(product_len)) {
                    let (b, product) = (&b[..depth.len() * N], &mut product[..tiles * N]);
                    let a = &a[start * BLOCK..];
                    let row = |tile: usize| (tile, &a[tile * DEPTH..][..depth.len()]);
                    panel_product::<N>(tiles, row, b, start > 0, product);
                }
            }
            with_wide_vectors(
                #[inline(always)]
                || {
                    let mut rows = ROWS;
                    for (tile, outputs) in outputs.chunks_exact_mut(TILE * N).enumerate() {
                        for c in (0..N).step_by(LANES) {
                            two_sided(
                                &mut rows,
                                #[inline(always)]
                                |point: usize| lanes(&products[point * product_len + tile * N + c..]),
                                output_transform,
                                #[inline(always)]
                                |place: usize, values: &Lanes| {
                                    outputs[place * N + c..][..LANES].copy_from_slice(values);
                                },
                            );
                        }
                    }
                },
            );
        });
    }

    /// Writes `G w G^T` of the input channels `depth` and output channels `slab`: `(POINTS, depth, slab)`.
    fn transform_weights(&self, w: &[f32], depth: Range<usize>, slab: Range<usize>, weights: &mut [f32]) {
        let point_len = weights.len() / POINTS;
        let tap_len = self.channels_in * self.channels_out;
        let width = slab.len();
        // The taps of some input channels, copied: their rows lie far apart, and a copy has many of them on their way
        // at once where the transform would wait for each.
        let mut taps = [[[0.0; SLAB]; LANES]; 9];
        for first in depth.clone().step_by(LANES) {
            for (tap, taps) in taps.iter_mut().enumerate() {
                if self.adjoint {
                    // Read by the other channel, with the taps reversed.
                    for c in 0..width {
                        let values = lanes(&w[(8 - tap) * tap_len + (slab.start + c) * self.channels_in + first..]);
                        taps.iter_mut().zip(values).for_each(|(taps, value)| taps[c] = value);
                    }
                } else {
                    for (i, taps) in taps.iter_mut().enumerate() {
                        let w = &w[tap * tap_len + (first + i) * self.channels_out + slab.start..][..width];
                        // By runs of a fixed length, which need no call.
                        let runs = taps.as_chunks_mut::<LANES>().0.iter_mut().zip(w.as_chunks().0);
                        runs.for_each(|(taps, w)| *taps = *w);
                    }
                }
            }
            with_wide_vectors(
                #[inline(always)]
                || {
                    let mut rows = ROWS;
                    for i in 0..LANES {
                        for c in (0..width).step_by(LANES) {
                            let at = (first - depth.start + i) * width + c;
                            two_sided(
                                &mut rows,
                                #[inline(always)]
                                |tap: usize| lanes(&taps[tap][i][c..]),
                                weight_transform,
                                #[inline(always)]
                                |point: usize, values: &Lanes| {
                                    weights[point * point_len + at..][..LANES].copy_from_slice(values);
                                },
                            );
                        }
                    }
                },
            );
        }
    }

    /// Puts the tiles of `bands` where they belong in `y`, whose first row is that of the first band.
    fn scatter(&self, bands: Range<usize>, outputs: &[f32], finish: &(impl Fn(&mut [f32]) + Sync), y: &mut [f32]) {
        let channels = self.channels_out;
        let first_row = self.band_start(bands.start);
        let tiles = bands.len() * self.band_tiles();
        blocks::write((y, self.output[1] * channels), |row, y| {
            let (picture, oy) = ((first_row + row) / self.output[0], (first_row + row) % self.output[0]);
            let (grid_y, phase_y) = (oy / self.dilation, oy % self.dilation);
            let band = picture * self.tile_rows() + grid_y / 4 - bands.start;
            for (ox, y) in y.chunks_exact_mut(channels).enumerate() {
                let (grid_x, phase_x) = (ox / self.dilation, ox % self.dilation);
                let phase = phase_y * self.dilation + phase_x;
                let tile = (band * self.dilation * self.dilation + phase) * self.tile_columns() + grid_x / 4;
                let place = 4 * (grid_y % 4) + grid_x % 4;
                let block = tile / BLOCK * BLOCK;
                let block_tiles = BLOCK.min(tiles - block);
                for (slab, y) in y.chunks_mut(SLAB).enumerate() {
                    let start = TILE * (block * channels + block_tiles * slab * SLAB);
                    y.copy_from_slice(&outputs[start + ((tile - block) * TILE + place) * y.len()..][..y.len()]);
                }
            }
            finish(y);
        });
    }
}

/// Elements of one point of a block of tiles that is transformed: a whole number of DEPTH channels, for one length of
/// rows.
pub(super) fn point_len(channels: usize) -> usize {
    BLOCK * channels.next_multiple_of(DEPTH) + GAP
}

/// Elements that a block of tiles takes when it is transformed.
pub(super) fn block_len(channels: usize) -> usize {
    POINTS * point_len(channels)
}
