//! Which convolutions are filtered by tiles, and which pixels a tile reads and makes.

use crate::engine::ops::conv2d::geometry::{Geometry, Layout};
use crate::engine::ops::conv2d::winograd::transform::LANES;
use std::ops::Range;

/// Pixels along a side of a tile's input.
pub const SIDE: usize = 6;
/// Products a tile.
pub const POINTS: usize = SIDE * SIDE;
/// Elements between the data of two points, more than a task reads beyond a point. Without them the 36 places that a
/// transform writes to lie a power of two apart and evict each other from the cache.
pub const GAP: usize = 80;
/// Tiles that one product works on.
pub const BLOCK: usize = 64;
/// Output channels that one task makes: its sums and its part of the weights stay in a second-level cache of 1 MiB.
pub const SLAB: usize = 2 * LANES;
/// Input channels whose weights are transformed at once, and most rows that one product of the weight gradient makes.
pub const DEPTH: usize = 64;
/// Most columns that it makes.
pub const COLUMNS: usize = 64;
/// Elements of the transformed input that are held at once, roughly.
const GROUP_ELEMENTS: usize = 1 << 20;

/// One side of a filtering: input or output.
#[derive(Clone, Copy)]
pub struct Image {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Channels of a pixel.
    pub channels: usize,
    /// Grids along each axis that the pixels are taken apart into: their channels lie one after the other.
    pub grids: usize,
    /// Rows and columns before the first pixel, from which grids and tiles are counted. May pass the border on either
    /// side.
    pub pad: [usize; 2],
}

impl Image {
    /// Channels of all grids.
    pub fn depth(&self) -> usize {
        self.grids * self.grids * self.channels
    }
}

/// A correlation of stride 1 of square kernels of 2, 3 or 4 taps a side.
pub struct Winograd {
    pub pictures: usize,
    pub input: Image,
    pub output: Image,
    /// Outputs of a grid along each axis.
    grid: [usize; 2],
    /// Taps along a side of the kernel.
    pub taps: usize,
    /// Grids of outputs along each axis, that read as many grids of the input each: not with grids of channels.
    pub dilation: usize,
    /// Whether the kernel is turned by half a circle, as the input gradient reads it.
    pub turned: bool,
    /// Whether the matrix of a tap is (outputs, inputs), not (inputs, outputs).
    pub transposed: bool,
}

impl Winograd {
    /// For the forward pass, where it is the faster way.
    pub fn forward(g: &Geometry, layout: Layout) -> Option<Winograd> {
        let (taps, grids) = taken_apart(g)?;
        let pad = [g.pad_top as usize, g.pad_left as usize];
        Winograd {
            pictures: g.n as usize,
            input: Image { size: [g.h as usize, g.w as usize], channels: g.c as usize, grids, pad },
            output: Image { size: [g.ho as usize, g.wo as usize], channels: g.o as usize, grids: 1, pad: [0; 2] },
            grid: [g.ho, g.wo].map(|size| (size as usize).div_ceil(g.dilation as usize)),
            taps,
            dilation: g.dilation as usize,
            turned: false,
            transposed: layout == Layout::Hwoi,
        }
        .if_faster()
    }

    /// For the input gradient, where it is the faster way.
    pub fn input_gradient(g: &Geometry, layout: Layout) -> Option<Winograd> {
        let (taps, grids) = taken_apart(g)?;
        let (size, pad) = ([g.h as usize, g.w as usize], [g.pad_top as usize, g.pad_left as usize]);
        let dilation = g.dilation as usize;
        // Of the taps, so that the first output of a grid reads up to its own place; what the padding took away from
        // the first outputs is outside the picture here.
        let reach = (taps - 1) * dilation;
        let (before, outside) = if grids > 1 {
            ([reach; 2], pad)
        } else {
            ([reach.checked_sub(pad[0])?, reach.checked_sub(pad[1])?], [0; 2])
        };
        Winograd {
            pictures: g.n as usize,
            input: Image { size: [g.ho as usize, g.wo as usize], channels: g.o as usize, grids: 1, pad: before },
            output: Image { size, channels: g.c as usize, grids, pad: outside },
            grid: [0, 1].map(|axis| (size[axis] + outside[axis]).div_ceil(grids * dilation)),
            taps,
            dilation,
            turned: true,
            transposed: layout == Layout::Hwio,
        }
        .if_faster()
    }

    /// Enough channels to outweigh the transforms (and to keep their rounding below that of the sums), and tiles that
    /// are mostly filled. By the tiles of one image, whatever it is computed with: an output has the same bits in any
    /// batch.
    fn if_faster(self) -> Option<Winograd> {
        let lanes = |image: &Image| image.channels >= 64 && image.channels.is_multiple_of(LANES);
        // A task's channels are of one grid.
        let whole = |image: &Image| image.grids == 1 || image.channels.is_multiple_of(SLAB);
        let [height, width] = self.output.size;
        let grids = self.output.grids * self.output.grids;
        let made = self.tile_rows() * self.band_tiles() * self.tile() * grids;
        let fits = [&self.input, &self.output].iter().all(|image| lanes(image) && whole(image));
        // Four grids of 2x2 taps save less than the 3x3 and 4x4 kernels do.
        let filled = if self.taps == 2 { 4 * made <= 5 * height * width } else { 2 * made <= 3 * height * width };
        (fits && made >= 16 * self.tile() * grids && filled).then_some(self)
    }

    /// Outputs along a side of a tile.
    pub fn step(&self) -> usize {
        SIDE + 1 - self.taps
    }

    /// Outputs of a tile.
    pub fn tile(&self) -> usize {
        self.step() * self.step()
    }

    /// Output pixels from one of a grid to the next.
    fn output_step(&self) -> usize {
        self.dilation * self.output.grids
    }

    /// Input pixels from one of a grid to the next.
    fn input_step(&self) -> usize {
        self.dilation * self.input.grids
    }

    /// Rows of output that a row of tiles makes, on all grids.
    pub fn band_rows(&self) -> usize {
        self.step() * self.output_step()
    }

    /// Rows of tiles of each grid.
    pub fn tile_rows(&self) -> usize {
        self.grid[0].div_ceil(self.step())
    }

    /// Columns of tiles of each grid.
    pub fn tile_columns(&self) -> usize {
        self.grid[1].div_ceil(self.step())
    }

    /// Tiles of one row of all grids of a picture, which make [`Self::band_rows`] rows of output: a band.
    pub fn band_tiles(&self) -> usize {
        self.dilation * self.dilation * self.tile_columns()
    }

    /// Bands of all pictures.
    pub fn bands(&self) -> usize {
        self.pictures * self.tile_rows()
    }

    /// Bands that are worked on at once, to bound the memory.
    pub fn group_bands(&self) -> usize {
        (GROUP_ELEMENTS / (POINTS * self.input.depth())).max(4 * BLOCK).div_ceil(self.band_tiles())
    }

    /// First output row of band `band`, counted over all pictures.
    pub fn band_start(&self, band: usize) -> usize {
        let (picture, row) = (band / self.tile_rows(), band % self.tile_rows());
        let height = self.output.size[0];
        picture * height + (self.band_rows() * row).saturating_sub(self.output.pad[0]).min(height)
    }

    /// The input rows, counted over all pictures, that a band reads.
    pub fn input_rows(&self, band: usize) -> Range<usize> {
        let (picture, row) = (band / self.tile_rows(), band % self.tile_rows());
        let height = self.input.size[0];
        let within = |row: usize| row.saturating_sub(self.input.pad[0]).min(height);
        let first = self.step() * self.input_step() * row;
        picture * height + within(first)..picture * height + within(first + SIDE * self.input_step())
    }

    /// The picture of a tile and, along each axis, its first output on its grid and the phase of that grid.
    fn place(&self, tile: usize) -> (usize, [usize; 2], [usize; 2]) {
        let (band, in_band) = (tile / self.band_tiles(), tile % self.band_tiles());
        let (picture, tile_row) = (band / self.tile_rows(), band % self.tile_rows());
        let (phase, tile_column) = (in_band / self.tile_columns(), in_band % self.tile_columns());
        let first = [tile_row, tile_column].map(|at| self.step() * at);
        (picture, first, [phase / self.dilation, phase % self.dilation])
    }

    /// The 6x6 input pixels of a tile on grid `grid` of the input's channels, `None` outside the picture.
    pub fn sources(&self, tile: usize, grid: usize) -> [Option<usize>; POINTS] {
        let (picture, first, mut phase) = self.place(tile);
        let Image { size, grids, pad, .. } = self.input;
        phase = [phase[0] + grid / grids, phase[1] + grid % grids];
        let at = |axis: usize, k: usize| {
            let at = ((first[axis] + k) * self.input_step() + phase[axis]).checked_sub(pad[axis])?;
            (at < size[axis]).then_some(at)
        };
        std::array::from_fn(|i| Some((picture * size[0] + at(0, i / SIDE)?) * size[1] + at(1, i % SIDE)?))
    }

    /// The output pixels of a tile, N of them, `None` outside the picture. For an output of one grid of channels.
    pub fn targets<const N: usize>(&self, tile: usize) -> [Option<usize>; N] {
        let [rows, columns] = self.target_axes::<5>(tile, 0);
        let step = self.step();
        std::array::from_fn(|i| Some(rows[i / step]? + columns[i % step]?))
    }

    /// Where the M rows of outputs of a tile on grid `grid` of the output's channels begin, and its columns: in pixels,
    /// `None` outside the picture. M is the side of a tile, or more.
    pub fn target_axes<const M: usize>(&self, tile: usize, grid: usize) -> [[Option<usize>; M]; 2] {
        let (picture, first, mut phase) = self.place(tile);
        let Image { size, grids, pad, .. } = self.output;
        phase = [phase[0] + grid / grids, phase[1] + grid % grids];
        let at = |axis: usize, k: usize| {
            let at = ((first[axis] + k) * self.output_step() + phase[axis]).checked_sub(pad[axis])?;
            (at < size[axis]).then_some(at)
        };
        [std::array::from_fn(|k| Some((picture * size[0] + at(0, k)?) * size[1])), std::array::from_fn(|k| at(1, k))]
    }

    /// Which tile, grid of the output's channels and place in the tile make a pixel of the output, whose row is counted
    /// over all pictures.
    pub fn tile_of(&self, row: usize, column: usize) -> (usize, usize, usize) {
        let Image { size: [height, _], grids, pad, .. } = self.output;
        let (picture, row) = (row / height, row % height);
        let place = |at: usize, pad: usize| ((at + pad) / self.output_step(), (at + pad) % self.output_step());
        let ((y, phase_y), (x, phase_x)) = (place(row, pad[0]), place(column, pad[1]));
        // A grid has tiles of its own, or channels.
        let (phase, grid) = match grids {
            1 => (phase_y * self.dilation + phase_x, 0),
            _ => (0, phase_y * grids + phase_x),
        };
        let band = picture * self.tile_rows() + y / self.step();
        let tile = band * self.band_tiles() + phase * self.tile_columns() + x / self.step();
        (tile, grid, self.step() * (y % self.step()) + x % self.step())
    }

    /// Which of the weights' matrices tap `tap` of the filtering is, on grid `grid` of the channels that are taken
    /// apart.
    pub fn matrix(&self, tap: usize, grid: usize) -> usize {
        let last = self.taps * self.taps - 1;
        let tap = if self.turned { last - tap } else { tap };
        let grids = self.input.grids * self.output.grids;
        let along = |tap: usize, grid: usize| tap * grids + grid;
        along(tap / self.taps, grid / grids) * self.taps * grids + along(tap % self.taps, grid % grids)
    }
}

/// Taps along a side of the kernels that are filtered, and grids along each axis that the pixels are taken apart into.
fn taken_apart(g: &Geometry) -> Option<(usize, usize)> {
    match ([g.kh, g.kw], g.stride, g.dilation) {
        ([3, 3], 1, _) => Some((3, 1)),
        ([4, 4], 1, _) => Some((4, 1)),
        ([4, 4], 2, 1) => Some((2, 2)),
        _ => None,
    }
}

/// Elements of one point of a block of tiles that is transformed: a whole number of DEPTH channels, for one length of
/// rows.
pub fn point_len(channels: usize) -> usize {
    BLOCK * channels.next_multiple_of(DEPTH) + GAP
}

/// Elements that a block of tiles takes when it is transformed.
pub fn block_len(channels: usize) -> usize {
    POINTS * point_len(channels)
}
