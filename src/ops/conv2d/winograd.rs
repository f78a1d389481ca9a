//! Winograd's minimal filtering F(4x4, 3x3) for 3x3 convolutions of stride 1: 36 multiplications for 16 outputs, not 144.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of 4x4 outputs is
//! `A^T ((G w G^T) * (B^T d B)) A` of its 6x6 inputs d; summed over channels, each of the 36 products becomes a matrix product
//! of tiles x channels by channels x outputs. A dilation of d is d x d interleaved grids of dilation 1.
//!
//! Rounding grows with the constants of the transforms, to some 1e-5 of the largest output.

use super::Geometry;
use crate::ops::gemm::{Matrix, sgemm, with_scratch};
use rayon::prelude::*;
use std::ops::Range;

/// Values that the transforms work on at once.
const LANES: usize = 16;
type Lanes = [f32; LANES];
/// Products a tile.
const POINTS: usize = 36;
/// Outputs a tile.
const TILE: usize = 16;
/// Tiles for which one task transforms its slab of weights.
const CHUNK: usize = 256;
/// Tiles that one product works on.
const BLOCK: usize = 64;
/// Output channels that one task makes.
const SLAB: usize = 128;
/// Elements of the transformed input that are held at once, roughly.
const GROUP_ELEMENTS: usize = 1 << 22;

/// A 3x3 correlation of stride 1 from `channels_in` to `channels_out`.
pub struct Winograd {
    pictures: usize,
    input: [usize; 2],
    output: [usize; 2],
    channels_in: usize,
    channels_out: usize,
    /// Input rows and columns before the first window; may pass the picture's border on either side.
    pad: [usize; 2],
    dilation: usize,
    /// Whether the weights are read as the input gradient does: taps reversed, `(channels_out, channels_in)` within a tap.
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

    /// Enough channels to outweigh the transforms (and to keep their rounding below that of the sums), and tiles that are mostly
    /// filled.
    fn if_faster(self, g: &Geometry) -> Option<Winograd> {
        let lanes = |channels: usize| channels >= 64 && channels.is_multiple_of(LANES);
        let [height, width] = self.output;
        let tiles = self.pictures * self.tile_rows() * self.band_tiles();
        let fits = [g.kh, g.kw, g.stride] == [3, 3, 1] && lanes(self.channels_in) && lanes(self.channels_out);
        (fits && tiles >= 16 && 2 * tiles * TILE <= 3 * self.pictures * height * width).then_some(self)
    }

    /// Rows of tiles of each grid.
    fn tile_rows(&self) -> usize {
        self.output[0].div_ceil(self.dilation).div_ceil(4)
    }

    /// Columns of tiles of each grid.
    fn tile_columns(&self) -> usize {
        self.output[1].div_ceil(self.dilation).div_ceil(4)
    }

    /// Tiles of one row of all grids of a picture, which make `4 * dilation` rows of output: a band.
    fn band_tiles(&self) -> usize {
        self.dilation * self.dilation * self.tile_columns()
    }

    /// First output row of band `band`, counted over all pictures.
    fn band_start(&self, band: usize) -> usize {
        let (picture, row) = (band / self.tile_rows(), band % self.tile_rows());
        picture * self.output[0] + (4 * self.dilation * row).min(self.output[0])
    }

    /// `y = finish(correlation of x with w)`; `finish` gets runs of `channels_out` values, one pixel or several.
    pub fn run(&self, x: &[f32], w: &[f32], finish: impl Fn(&mut [f32]) + Sync, y: &mut [f32]) {
        let bands = self.pictures * self.tile_rows();
        let group = (GROUP_ELEMENTS / (POINTS * self.channels_in)).max(CHUNK).div_ceil(self.band_tiles());
        let row = self.output[1] * self.channels_out;
        for first in (0..bands).step_by(group) {
            let bands = first..bands.min(first + group);
            let rows = self.band_start(bands.start) * row..self.band_start(bands.end) * row;
            let tiles = bands.len() * self.band_tiles();
            with_scratch(tiles * (POINTS * self.channels_in + TILE * self.channels_out), |scratch| {
                let (transformed, outputs) = scratch.split_at_mut(tiles * POINTS * self.channels_in);
                self.transform_inputs(x, bands.clone(), transformed);
                self.multiply(w, transformed, outputs);
                self.scatter(bands, outputs, &finish, &mut y[rows]);
            });
        }
    }

    /// Writes `B^T d B` of every tile: `(tiles / BLOCK, POINTS, BLOCK, channels_in)`, the last block with the tiles that are left.
    fn transform_inputs(&self, x: &[f32], bands: Range<usize>, transformed: &mut [f32]) {
        let channels = self.channels_in;
        transformed.par_chunks_mut(BLOCK * POINTS * channels).enumerate().for_each(|(block, transformed)| {
            let count = transformed.len() / (POINTS * channels);
            for i in 0..count {
                let tile = bands.start * self.band_tiles() + block * BLOCK + i;
                let sources = self.sources(tile);
                for c in (0..channels).step_by(LANES) {
                    let mut d = [[[0.0; LANES]; 6]; 6];
                    for (d, source) in d.iter_mut().flatten().zip(&sources) {
                        if let Some(pixel) = source {
                            d.copy_from_slice(&x[pixel * channels + c..][..LANES]);
                        }
                    }
                    let rows = d.map(|row| input_transform(&row));
                    for column in 0..6 {
                        let line = input_transform(&rows.each_ref().map(|row| row[column]));
                        for (row, values) in line.iter().enumerate() {
                            let at = ((6 * row + column) * count + i) * channels + c;
                            transformed[at..at + LANES].copy_from_slice(values);
                        }
                    }
                }
            }
        });
    }

    /// The 6x6 input pixels of a tile, `None` outside the picture.
    fn sources(&self, tile: usize) -> [Option<usize>; POINTS] {
        let (band, in_band) = (tile / self.band_tiles(), tile % self.band_tiles());
        let (picture, tile_row) = (band / self.tile_rows(), band % self.tile_rows());
        let (phase, tile_column) = (in_band / self.tile_columns(), in_band % self.tile_columns());
        let place = |tile: usize, phase: usize, k: usize, axis: usize| {
            let at = ((4 * tile + k) * self.dilation + phase).checked_sub(self.pad[axis])?;
            (at < self.input[axis]).then_some(at)
        };
        std::array::from_fn(|i| {
            let y = place(tile_row, phase / self.dilation, i / 6, 0)?;
            let x = place(tile_column, phase % self.dilation, i % 6, 1)?;
            Some((picture * self.input[0] + y) * self.input[1] + x)
        })
    }

    /// Writes the outputs of every tile: `(tiles / CHUNK, channels_out / SLAB, CHUNK, TILE, SLAB)`, where the last chunk and slab
    /// are what is left.
    fn multiply(&self, w: &[f32], transformed: &[f32], outputs: &mut [f32]) {
        let chunks = outputs.par_chunks_mut(CHUNK * TILE * self.channels_out);
        chunks.zip(transformed.par_chunks(CHUNK * POINTS * self.channels_in)).for_each(|(outputs, transformed)| {
            let tiles = outputs.len() / (TILE * self.channels_out);
            outputs.par_chunks_mut(tiles * TILE * SLAB).enumerate().for_each(|(slab, outputs)| {
                let slab = slab * SLAB..self.channels_out.min((slab + 1) * SLAB);
                let weights = POINTS * self.channels_in * slab.len();
                with_scratch(weights + POINTS * BLOCK * slab.len(), |scratch| {
                    let (weights, products) = scratch.split_at_mut(weights);
                    self.transform_weights(w, slab.clone(), weights);
                    let blocks = transformed.chunks(BLOCK * POINTS * self.channels_in);
                    for (transformed, outputs) in blocks.zip(outputs.chunks_mut(BLOCK * TILE * slab.len())) {
                        self.multiply_block(slab.len(), transformed, weights, products, outputs);
                    }
                });
            });
        });
    }

    /// The 36 products of one block of tiles with one slab of weights, and the transform of their results.
    fn multiply_block(
        &self,
        slab: usize,
        transformed: &[f32],
        weights: &[f32],
        products: &mut [f32],
        outputs: &mut [f32],
    ) {
        let depth = self.channels_in;
        let tiles = outputs.len() / (TILE * slab);
        let points = transformed.chunks_exact(tiles * depth).zip(weights.chunks_exact(depth * slab));
        for ((a, b), product) in points.zip(products.chunks_exact_mut(tiles * slab)) {
            let b = if self.adjoint { Matrix::transposed(b, depth) } else { Matrix::rows(b, slab) };
            sgemm([tiles, depth, slab], Matrix::rows(a, depth), b, 0.0, product, slab);
        }
        for (tile, outputs) in outputs.chunks_exact_mut(TILE * slab).enumerate() {
            for c in (0..slab).step_by(LANES) {
                let load = |point: usize| lanes(&products[(point * tiles + tile) * slab + c..]);
                let rows: [[Lanes; 4]; 6] =
                    std::array::from_fn(|row| output_transform(&std::array::from_fn(|column| load(6 * row + column))));
                for column in 0..4 {
                    let line = output_transform(&rows.each_ref().map(|row| row[column]));
                    for (row, values) in line.iter().enumerate() {
                        outputs[(4 * row + column) * slab + c..][..LANES].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Writes `G w G^T` of the output channels `slab`: `(POINTS, channels_in, slab)`, or `(POINTS, slab, channels_in)` for the
    /// adjoint, which lies in the weights that way.
    fn transform_weights(&self, w: &[f32], slab: Range<usize>, weights: &mut [f32]) {
        // Within a tap, w has rows of `pitch` values, of which `rows` x `columns` are wanted.
        let (rows, columns, pitch) = if self.adjoint {
            (slab, 0..self.channels_in, self.channels_in)
        } else {
            (0..self.channels_in, slab, self.channels_out)
        };
        let tap_len = self.channels_in * self.channels_out;
        for (i, row) in rows.clone().enumerate() {
            for c in columns.clone().step_by(LANES) {
                let tap = |tap: usize| lanes(&w[if self.adjoint { 8 - tap } else { tap } * tap_len + row * pitch + c..]);
                let lines: [[Lanes; 6]; 3] =
                    std::array::from_fn(|y| weight_transform(&std::array::from_fn(|x| tap(3 * y + x))));
                for column in 0..6 {
                    let line = weight_transform(&lines.each_ref().map(|line| line[column]));
                    for (y, values) in line.iter().enumerate() {
                        let at = ((6 * y + column) * rows.len() + i) * columns.len() + c - columns.start;
                        weights[at..at + LANES].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Puts the tiles of `bands` where they belong in `y`, whose first row is that of the first band.
    fn scatter(&self, bands: Range<usize>, outputs: &[f32], finish: &(impl Fn(&mut [f32]) + Sync), y: &mut [f32]) {
        let channels = self.channels_out;
        let first_row = self.band_start(bands.start);
        let tiles = bands.len() * self.band_tiles();
        y.par_chunks_mut(self.output[1] * channels).enumerate().for_each(|(row, y)| {
            let (picture, oy) = ((first_row + row) / self.output[0], (first_row + row) % self.output[0]);
            let (grid_y, phase_y) = (oy / self.dilation, oy % self.dilation);
            let band = picture * self.tile_rows() + grid_y / 4 - bands.start;
            for (ox, y) in y.chunks_exact_mut(channels).enumerate() {
                let (grid_x, phase_x) = (ox / self.dilation, ox % self.dilation);
                let phase = phase_y * self.dilation + phase_x;
                let tile = (band * self.dilation * self.dilation + phase) * self.tile_columns() + grid_x / 4;
                let place = 4 * (grid_y % 4) + grid_x % 4;
                let chunk = tile / CHUNK * CHUNK;
                let chunk_tiles = CHUNK.min(tiles - chunk);
                for (slab, y) in y.chunks_mut(SLAB).enumerate() {
                    let start = TILE * (chunk * channels + chunk_tiles * slab * SLAB);
                    y.copy_from_slice(&outputs[start + ((tile - chunk) * TILE + place) * y.len()..][..y.len()]);
                }
            }
            finish(y);
        });
    }
}

fn lanes(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&values[..LANES]);
    lanes
}

/// `B^T d` along one axis.
#[inline]
fn input_transform(d: &[Lanes; 6]) -> [Lanes; 6] {
    let mut t = [[0.0; LANES]; 6];
    for l in 0..LANES {
        let even = d[4][l] - 4.0 * d[2][l];
        let odd = d[3][l] - 4.0 * d[1][l];
        let even_half = d[4][l] - d[2][l];
        let odd_half = 2.0 * (d[3][l] - d[1][l]);
        t[0][l] = 4.0 * d[0][l] - 5.0 * d[2][l] + d[4][l];
        t[1][l] = even + odd;
        t[2][l] = even - odd;
        t[3][l] = even_half + odd_half;
        t[4][l] = even_half - odd_half;
        t[5][l] = 4.0 * d[1][l] - 5.0 * d[3][l] + d[5][l];
    }
    t
}

/// `G w` along one axis.
#[inline]
fn weight_transform(w: &[Lanes; 3]) -> [Lanes; 6] {
    let mut t = [[0.0; LANES]; 6];
    for l in 0..LANES {
        let sum = (w[0][l] + w[2][l]) * (-1.0 / 6.0);
        let middle = w[1][l] * (1.0 / 6.0);
        let sum_half = w[0][l] * (1.0 / 24.0) + w[2][l] * (1.0 / 6.0);
        let middle_half = w[1][l] * (1.0 / 12.0);
        t[0][l] = 0.25 * w[0][l];
        t[1][l] = sum - middle;
        t[2][l] = sum + middle;
        t[3][l] = sum_half + middle_half;
        t[4][l] = sum_half - middle_half;
        t[5][l] = w[2][l];
    }
    t
}

/// `A^T m` along one axis.
#[inline]
fn output_transform(m: &[Lanes; 6]) -> [Lanes; 4] {
    let mut t = [[0.0; LANES]; 4];
    for l in 0..LANES {
        let (sum, difference) = (m[1][l] + m[2][l], m[1][l] - m[2][l]);
        let (sum_2, difference_2) = (m[3][l] + m[4][l], m[3][l] - m[4][l]);
        t[0][l] = m[0][l] + sum + sum_2;
        t[1][l] = difference + 2.0 * difference_2;
        t[2][l] = sum + 4.0 * sum_2;
        t[3][l] = difference + 8.0 * difference_2 + m[5][l];
    }
    t
}
