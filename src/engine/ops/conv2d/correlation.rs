//! Sums over taps: what a convolution is, and its input gradient too, which sorts its pixels by the taps that reach
//! them.
//!
//! Each tap's weights are a matrix, by which rows of channels are multiplied where they lie in the picture.

use crate::engine::blocks;
use crate::engine::ops::conv2d::finish::Finish;
use crate::engine::ops::conv2d::geometry::{Geometry, Layout};
use crate::engine::ops::conv2d::transpose;
use crate::engine::ops::gemm::{are_on_lines, panel_product, with_scratch, with_wide_vectors};
use std::ops::Range;

/// Outputs of a grid that one task makes, whole rows or a part of a long one: enough to spread the packing of the
/// weights over, few enough that what they read stays in a second-level cache.
const BLOCK: usize = 512;
/// Input channels that one product reads: their weights for 64 outputs take two thirds of a first-level cache.
const DEPTH: usize = 128;
/// With fewer input channels, the pixels under all taps are gathered to longer rows first.
const SHORT: usize = 16;
/// With so few outputs, one product makes those of all taps, which are added then.
const FEW: usize = 4;
/// Most columns of such a product.
const COLUMNS: usize = 64;

/// The pixels that the taps of a convolution reach, `step` pixels apart.
struct Grid {
    /// Row and column of the first pixel.
    first: [usize; 2],
    taps: Vec<Tap>,
}

/// The pixel in row i and column j of a grid reads input pixel (i stride + y, j stride + x) under this tap, if that
/// lies within the picture.
struct Tap {
    /// Which of the weights' Kh Kw matrices.
    index: usize,
    y: isize,
    x: isize,
}

/// Pixels of one row of a grid.
#[derive(Clone, Copy)]
struct Run {
    picture: usize,
    /// Row of the grid, and column of the first pixel.
    row: usize,
    column: usize,
    /// Place of its first pixel among those that are made together.
    start: usize,
    len: usize,
}

/// `y = finish(sum over taps of x under the tap times the tap's weights)`.
pub struct Correlation {
    input: [usize; 2],
    channels_in: usize,
    output: [usize; 2],
    channels_out: usize,
    grids: Vec<Grid>,
    /// Output pixels from one of a grid to the next, and input pixels between those that they read.
    step: usize,
    stride: usize,
    /// Whether the matrix of a tap is (channels_out, channels_in), not (channels_in, channels_out).
    transposed: bool,
}

impl Correlation {
    /// The forward pass.
    pub fn forward(g: &Geometry, layout: Layout) -> Correlation {
        let offset = |k: u32, pad: u32| (k * g.dilation) as isize - pad as isize;
        let taps = (0..g.kh * g.kw).map(|tap| Tap {
            index: tap as usize,
            y: offset(tap / g.kw, g.pad_top),
            x: offset(tap % g.kw, g.pad_left),
        });
        Correlation {
            input: [g.h as usize, g.w as usize],
            channels_in: g.c as usize,
            output: [g.ho as usize, g.wo as usize],
            channels_out: g.o as usize,
            grids: vec![Grid { first: [0, 0], taps: taps.collect() }],
            step: 1,
            stride: g.stride as usize,
            transposed: layout == Layout::Hwoi,
        }
    }

    /// The input gradient: pixels that are equal modulo the stride are reached by the same taps.
    pub fn input_gradient(g: &Geometry, layout: Layout) -> Correlation {
        let step = g.stride as usize;
        let grids = (0..step * step).map(|grid| {
            let first = [grid / step, grid % step];
            // Before the division by the stride.
            let offset = |k: u32, pad: u32, first: usize| first as isize + pad as isize - (k * g.dilation) as isize;
            let taps = (0..g.kh * g.kw).filter_map(|tap| {
                let y = offset(tap / g.kw, g.pad_top, first[0]);
                let x = offset(tap % g.kw, g.pad_left, first[1]);
                let step = step as isize;
                (y % step == 0 && x % step == 0).then_some(Tap { index: tap as usize, y: y / step, x: x / step })
            });
            Grid { first, taps: taps.collect() }
        });
        Correlation {
            input: [g.ho as usize, g.wo as usize],
            channels_in: g.o as usize,
            output: [g.h as usize, g.w as usize],
            channels_out: g.c as usize,
            grids: grids.collect(),
            step,
            stride: 1,
            transposed: layout == Layout::Hwio,
        }
    }

    /// Runs it.
    pub fn run(&self, x: &[f32], w: &[f32], finish: Finish<'_>, y: &mut [f32]) {
        // Wide panels are a tenth faster, unless much of the last one stays empty.
        let few = self.columns();
        let columns = few.unwrap_or(self.channels_out);
        let padded = |panel: usize| columns.next_multiple_of(panel);
        if columns <= 16 {
            self.run_by::<16>(few.is_some(), x, w, finish, y);
        } else if 10 * padded(64) <= 11 * padded(32) {
            self.run_by::<64>(few.is_some(), x, w, finish, y);
        } else {
            self.run_by::<32>(few.is_some(), x, w, finish, y);
        }
    }

    /// The outputs of all taps of a grid, where one product makes them.
    fn columns(&self) -> Option<usize> {
        let taps = self.grids.iter().map(|grid| grid.taps.len()).max()?;
        let columns = taps * self.channels_out;
        let fits = self.channels_out <= FEW && columns <= COLUMNS;
        (fits && self.channels_in >= SHORT && self.stride == 1).then_some(columns)
    }

    /// [`Correlation::run`] by panels of N output channels, or of N columns of `few`.
    fn run_by<const N: usize>(&self, few: bool, x: &[f32], w: &[f32], finish: Finish<'_>, y: &mut [f32]) {
        let row = self.output[1] * self.channels_out;
        let rows = (BLOCK * self.step * self.step / self.output[1]).next_multiple_of(self.step).max(self.step);
        let panels = self.channels_out.div_ceil(N);
        blocks::write((y, rows * row), |block, y| {
            let rows = block * rows..block * rows + y.len() / row;
            // A product of few outputs makes those of all taps of whole rows.
            let longest = if few { usize::MAX } else { BLOCK };
            let parts = self.grids.iter().map(|grid| (grid, self.runs(grid, rows.clone(), longest)));
            let parts: Vec<(&Grid, Vec<Run>)> =
                parts.flat_map(|(grid, parts)| parts.into_iter().map(move |runs| (grid, runs))).collect();
            let pixels = |runs: &[Run]| runs.last().map_or(0, |run| run.start + run.len);
            let sum_up = |mut rest: &mut [f32]| {
                let mut tasks = Vec::with_capacity(parts.len() * panels);
                for (grid, runs) in &parts {
                    for panel in 0..panels {
                        let (sums, after) = rest.split_at_mut(pixels(runs) * N);
                        tasks.push((grid, runs, panel, sums));
                        rest = after;
                    }
                }
                blocks::share(tasks, |_, (grid, runs, panel, sums)| match few {
                    true => self.sum_up_few::<N>(&grid.taps, runs, x, w, sums),
                    false => self.sum_up::<N>(grid, runs, panel * N, x, w, sums),
                });
            };
            if self.channels_out == N && self.step == 1 && are_on_lines(y) {
                // Sums lie as outputs do.
                sum_up(y);
            } else {
                with_scratch(y.len() / self.channels_out * panels * N, |sums| {
                    sum_up(sums);
                    let mut sums = &*sums;
                    for (grid, runs) in &parts {
                        let (here, after) = sums.split_at(pixels(runs) * panels * N);
                        self.scatter::<N>(grid, runs, rows.start, here, y);
                        sums = after;
                    }
                });
            }
            finish.apply(self.channels_out, y);
        });
    }

    /// The pixels of `grid` in the rows `rows` of output, counted over all pictures: one list of all runs, or of rows
    /// longer than `longest` a list for each part of each row.
    fn runs(&self, grid: &Grid, rows: Range<usize>, longest: usize) -> Vec<Vec<Run>> {
        let len = self.output[1].saturating_sub(grid.first[1]).div_ceil(self.step);
        let mut runs = Vec::new();
        for at in rows {
            let (picture, y) = (at / self.output[0], at % self.output[0]);
            if y % self.step == grid.first[0] {
                runs.push(Run { picture, row: y / self.step, column: 0, start: runs.len() * len, len });
            }
        }
        if len <= longest {
            return vec![runs];
        }
        // Parts of about one length.
        let longest = len.div_ceil(len.div_ceil(longest));
        let columns = || (0..len).step_by(longest);
        let part = |run: Run, column| Run { column, start: 0, len: longest.min(len - column), ..run };
        runs.into_iter().flat_map(|run| columns().map(move |column| vec![part(run, column)])).collect()
    }

    /// Puts sums `(panels, pixels, N)` where they belong in `y`, whose first row is `first_row`.
    fn scatter<const N: usize>(&self, grid: &Grid, runs: &[Run], first_row: usize, sums: &[f32], y: &mut [f32]) {
        let Some(pixels) = runs.last().map(|run| run.start + run.len) else { return };
        for run in runs {
            let row = run.picture * self.output[0] + run.row * self.step + grid.first[0] - first_row;
            for i in 0..run.len {
                let pixel = row * self.output[1] + (run.column + i) * self.step + grid.first[1];
                let y = &mut y[pixel * self.channels_out..][..self.channels_out];
                for (panel, y) in y.chunks_mut(N).enumerate() {
                    let sums = &sums[(panel * pixels + run.start + i) * N..][..N];
                    match y {
                        // Too few to call a function for.
                        [_] | [_, _] | [_, _, _] => y.iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum),
                        y => y.copy_from_slice(&sums[..y.len()]),
                    }
                }
            }
        }
    }

    /// The sums of the pixels `runs` for the N output channels from `first` on: `(pixels, N)`.
    fn sum_up<const N: usize>(&self, grid: &Grid, runs: &[Run], first: usize, x: &[f32], w: &[f32], sums: &mut [f32]) {
        let outputs = first..self.channels_out.min(first + N);
        let pixels = sums.len() / N;
        sums.fill(0.0);
        if self.channels_in < SHORT {
            for taps in grid.taps.chunks(DEPTH / self.channels_in) {
                self.sum_up_gathered::<N>(taps, runs, outputs.clone(), x, w, sums);
            }
            return;
        }
        let mut rows = Vec::with_capacity(pixels);
        with_scratch(N * DEPTH, |scratch| {
            for start in (0..self.channels_in).step_by(DEPTH) {
                let channels = start..self.channels_in.min(start + DEPTH);
                for tap in &grid.taps {
                    rows.clear();
                    self.each_pixel(tap, runs, |pixel, source| {
                        rows.push((pixel, &x[source * self.channels_in + start..][..channels.len()]));
                    });
                    // In small pictures some taps reach nothing but the zeros outside.
                    if !rows.is_empty() {
                        let weights = self.panel::<N>(w, tap.index, channels.clone(), outputs.clone(), scratch);
                        products::<N>(&rows, weights, sums);
                    }
                }
            }
        });
    }

    /// The sums of a grid with few outputs: of each input pixel the products with the weights of all taps, side by
    /// side, and of each pixel of the grid the sum of those that its taps find.
    fn sum_up_few<const N: usize>(&self, taps: &[Tap], runs: &[Run], x: &[f32], w: &[f32], sums: &mut [f32]) {
        let ([height, width], channels) = (self.input, self.channels_in);
        let reached = |tap: &Tap, run: &Run| run.row.checked_add_signed(tap.y).filter(|&y| y < height);
        sums.fill(0.0);
        let mut weights = vec![0.0; channels * N];
        for (i, tap) in taps.iter().enumerate() {
            let w = &w[tap.index * channels * self.channels_out..][..channels * self.channels_out];
            for (c, row) in weights.chunks_exact_mut(N).enumerate() {
                for (o, to) in row[i * self.channels_out..][..self.channels_out].iter_mut().enumerate() {
                    *to = w[if self.transposed { o * channels + c } else { c * self.channels_out + o }];
                }
            }
        }
        for runs in runs.chunk_by(|a, b| a.picture == b.picture) {
            let rows = || runs.iter().flat_map(|run| taps.iter().filter_map(move |tap| reached(tap, run)));
            let (Some(first), Some(last)) = (rows().min(), rows().max()) else { continue };
            let start = (runs[0].picture * height + first) * width;
            let pixels = (last + 1 - first) * width;
            let x = x[start * channels..][..pixels * channels].chunks_exact(channels);
            let x: Vec<(usize, &[f32])> = x.enumerate().collect();
            // Of the last pixel's last tap as many are read as of any other's.
            with_scratch(pixels * N + FEW, |found| {
                found.fill(0.0);
                products::<N>(&x, &weights, found);
                for (i, tap) in taps.iter().enumerate() {
                    self.each_pixel(tap, runs, |pixel, source| {
                        let sum = &mut sums[pixel * N..][..FEW];
                        // Beyond the outputs they are other taps', and nobody asks for their sums.
                        let found = &found[(source - start) * N + i * self.channels_out..][..FEW];
                        sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
                    });
                }
            });
        }
    }

    /// Adds the sums over `taps`, whose pixels are gathered first.
    fn sum_up_gathered<const N: usize>(
        &self,
        taps: &[Tap],
        runs: &[Run],
        outputs: Range<usize>,
        x: &[f32],
        w: &[f32],
        sums: &mut [f32],
    ) {
        let pixels = sums.len() / N;
        let depth = taps.len() * self.channels_in;
        with_scratch((N + pixels) * depth, |scratch| {
            let (weights, gathered) = scratch.split_at_mut(N * depth);
            gathered.fill(0.0);
            for ((i, tap), weights) in taps.iter().enumerate().zip(weights.chunks_exact_mut(N * self.channels_in)) {
                self.pack::<N>(w, tap.index, 0..self.channels_in, outputs.clone(), weights);
                self.each_pixel(tap, runs, |pixel, source| {
                    let at = pixel * depth + i * self.channels_in;
                    let source = &x[source * self.channels_in..][..self.channels_in];
                    gathered[at..at + self.channels_in].iter_mut().zip(source).for_each(|(to, from)| *to = *from);
                });
            }
            let rows: Vec<(usize, &[f32])> = gathered.chunks_exact(depth).enumerate().collect();
            products::<N>(&rows, weights, sums);
        });
    }

    /// Calls `f` with each pixel, as its place among those of `runs`, whose tap lies within the picture, and the input
    /// pixel there.
    #[inline(always)]
    fn each_pixel(&self, tap: &Tap, runs: &[Run], mut f: impl FnMut(usize, usize)) {
        let [height, width] = self.input;
        for run in runs {
            let Some(y) = (run.row * self.stride).checked_add_signed(tap.y).filter(|&y| y < height) else { continue };
            let row = (run.picture * height + y) * width;
            // Column of the input under the first pixel, perhaps outside of the picture.
            let first = (run.column * self.stride) as isize + tap.x;
            let before = first.min(0).unsigned_abs().div_ceil(self.stride);
            let within = width.saturating_add_signed(-first).div_ceil(self.stride).min(run.len);
            for i in before..within {
                f(run.start + i, (row + i * self.stride).wrapping_add_signed(first));
            }
        }
    }

    /// The weights of one tap as `(channels, N)`: as they lie, or packed into `scratch`.
    fn panel<'a, const N: usize>(
        &self,
        w: &'a [f32],
        tap: usize,
        channels: Range<usize>,
        outputs: Range<usize>,
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        if self.channels_out == N && !self.transposed {
            let start = (tap * self.channels_in + channels.start) * N;
            return &w[start..start + channels.len() * N];
        }
        let panel = &mut scratch[..channels.len() * N];
        self.pack::<N>(w, tap, channels, outputs, panel);
        panel
    }

    /// Writes the weights of one tap as `(channels, N)`, with zeros where the outputs are fewer.
    fn pack<const N: usize>(
        &self,
        w: &[f32],
        tap: usize,
        channels: Range<usize>,
        outputs: Range<usize>,
        panel: &mut [f32],
    ) {
        let w = &w[tap * self.channels_in * self.channels_out..][..self.channels_in * self.channels_out];
        if outputs.len() < N {
            panel.fill(0.0);
        }
        let pitch = self.channels_in;
        let whole = outputs.len().is_multiple_of(transpose::ROWS) && channels.len().is_multiple_of(transpose::COLUMNS);
        if self.transposed && whole {
            pack_transposed(&w[outputs.start * pitch..outputs.end * pitch], pitch, channels, panel, N);
        } else if self.transposed {
            for (i, o) in outputs.enumerate() {
                let w = &w[o * self.channels_in..][channels.clone()];
                panel.chunks_exact_mut(N).zip(w).for_each(|(row, w)| row[i] = *w);
            }
        } else {
            for (row, c) in panel.chunks_exact_mut(N).zip(channels) {
                row[..outputs.len()].copy_from_slice(&w[c * self.channels_out..][outputs.clone()]);
            }
        }
    }
}

/// Writes the channels `channels` of matrix rows, of which `w` holds `pitch` values each, as `(channels, n)`: multiples
/// of what is transposed at once. One for panels of all widths, for it is long.
fn pack_transposed(w: &[f32], pitch: usize, channels: Range<usize>, panel: &mut [f32], n: usize) {
    use transpose::{COLUMNS, ROWS, transpose};
    let (mut rows, mut columns) = ([[0.0; COLUMNS]; ROWS], [[0.0; ROWS]; COLUMNS]);
    with_wide_vectors(
        #[inline(always)]
        || {
            for (first, w) in (0..n).step_by(ROWS).zip(w.chunks_exact(ROWS * pitch)) {
                for (c, panel) in channels.clone().step_by(COLUMNS).zip(panel.chunks_exact_mut(COLUMNS * n)) {
                    for (i, row) in rows.iter_mut().enumerate() {
                        row.copy_from_slice(&w[i * pitch + c..][..COLUMNS]);
                    }
                    transpose(&mut rows, &mut columns);
                    for (panel, column) in panel.chunks_exact_mut(n).zip(&columns) {
                        panel[first..first + ROWS].copy_from_slice(column);
                    }
                }
            }
        },
    );
}

/// Adds to the sums `(pixels, N)` the products of rows, each with the pixel that it is of, and weights `(k, N)`. One
/// for all, which the compiler then has once.
fn products<const N: usize>(rows: &[(usize, &[f32])], weights: &[f32], sums: &mut [f32]) {
    panel_product::<N>(rows.len(), |i| rows[i], weights, true, sums, &[]);
}
