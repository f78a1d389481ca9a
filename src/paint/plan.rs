//! Which pieces of a picture go through a network, in which order, and how much each counts where they overlap.

use crate::imaging::pixels::Area;
use crate::paint::painter::Framing;
use std::ops::Range;

/// How a picture is cut into pieces. Only the first two change what comes out, and they too by no more than rounding
/// where `overlap` is at least the network's reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Side of what is kept of a piece, a multiple of the stride. Without effect on a network that works by windows.
    pub tile: usize,
    /// Pixels that a piece goes beyond what is kept of it on each side, a multiple of the stride; at the picture's
    /// border none. Of windows: pixels that a window shares with its neighbour, at most about half a side.
    pub overlap: usize,
    /// Columns that are painted from top to bottom before the next ones: what is read at a time, and of windows what a
    /// [`crate::paint::canvas::Canvas`] holds, goes with it, and not with the width of the picture. A multiple of
    /// `tile` and of `align`.
    pub panel: usize,
    /// What is finished begins and ends at multiples of this or at the picture's border.
    pub align: usize,
    /// Rows that go through a network at a time which takes an image from top to bottom, and so does no work twice but
    /// at the sides of panels; without effect on others. `None`: by tiles.
    pub rows: Option<usize>,
}

/// Columns of the panels of a scene, at most and about.
pub(super) const PANEL: usize = 4096;
/// Pixels of a panel's row of tiles, about: with the overlaps, what is read at a time.
const PANEL_PIXELS: usize = 512 * PANEL;
/// Sides of a scene's tiles are multiples of this, and so the tiles of the file that they are written to.
const GRID: usize = 64;
/// Sides of the tiles of that file, at most, and of what windows make: a canvas holds a row of them.
const FILE_TILE: usize = 512;
const FILE_TILE_OF_WINDOWS: usize = 256;

impl Tiling {
    /// The tiles of scenes unless something else is known: larger ones waste less on their overlaps, and need more
    /// memory.
    pub const TILE: usize = 512;

    /// Tiles of about `tile` pixels a side that overlap by the network's reach, in one panel.
    pub fn new(framing: &Framing, tile: usize) -> Self {
        let tile = tile.max(1).next_multiple_of(framing.stride);
        Tiling { tile, overlap: overlap_of(framing, None), panel: usize::MAX, align: 1, rows: None }
    }

    /// Tiles and panels of a scene of any size that is written to a file with tiles of `align` pixels a side. `tile` is
    /// rounded up to a multiple of 64; `overlap` is the network's reach unless it is given.
    pub fn of_scene(framing: &Framing, tile: usize, overlap: Option<usize>) -> Self {
        let tile = tile.max(1).next_multiple_of(GRID).next_multiple_of(framing.stride);
        let (panel, align) = match framing.window {
            Some(_) => (PANEL, FILE_TILE_OF_WINDOWS),
            None => {
                let columns = PANEL.min(PANEL_PIXELS / tile);
                ((columns / tile).max(1) * tile, (1 << tile.trailing_zeros()).min(FILE_TILE))
            }
        };
        Tiling { tile, overlap: overlap_of(framing, overlap), panel, align, rows: None }
    }

    /// Panels of at most about `panel` columns of a scene of any size, `rows` of which go through the network at a
    /// time: for one that takes an image from top to bottom.
    pub fn by_rows(framing: &Framing, panel: usize, rows: usize) -> Self {
        let panel = (panel / FILE_TILE).max(1) * FILE_TILE;
        let tiling = Tiling::new(framing, FILE_TILE);
        Tiling { panel, align: FILE_TILE, rows: Some(rows.next_multiple_of(framing.stride)), ..tiling }
    }

    /// Pixels a side of what goes through the network in one go.
    pub fn piece(&self, framing: &Framing) -> usize {
        framing.window.unwrap_or(self.tile + 2 * self.overlap) + 2 * framing.halo
    }
}

/// What pieces overlap by, where `wanted` is asked for.
fn overlap_of(framing: &Framing, wanted: Option<usize>) -> usize {
    let overlap = wanted.unwrap_or(framing.reach);
    match framing.window {
        Some(side) => overlap.min(side - side / 2),
        None => overlap.next_multiple_of(framing.stride),
    }
}

/// One axis of a piece: what goes through the network, and what is used of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// First place that goes through the network, of a picture that is continued where it is too small; below 0 in the
    /// margin.
    pub origin: isize,
    /// How many do.
    pub len: usize,
    /// First place of those that are used.
    pub first: usize,
    /// How much each counts from there on: over all spans of an axis, 1 at every place. Of a tile all are 1.
    pub weights: Vec<f32>,
}

impl Span {
    pub fn end(&self) -> isize {
        self.origin + self.len as isize
    }

    /// The places that are used.
    pub fn used(&self) -> Range<usize> {
        self.first..self.first + self.weights.len()
    }
}

/// Spans that are used next to each other, and see `overlap` places more on either side.
fn tiles(len: usize, stride: usize, tile: usize, overlap: usize) -> Vec<Span> {
    let full = len.next_multiple_of(stride);
    let span = |first: usize| {
        let end = (first + tile).min(full);
        let origin = first.saturating_sub(overlap);
        let weights = vec![1.0; end.min(len) - first];
        Span { origin: origin as isize, len: (end + overlap).min(full) - origin, first, weights }
    };
    (0..len).step_by(tile.min(full)).map(span).collect()
}

/// Spans of `side` places that share `shared` with the next, from `margin` before the picture, the last one flush with
/// the end of as many behind it.
fn windows(len: usize, side: usize, shared: usize, margin: usize) -> Vec<Span> {
    let full = (len + 2 * margin).max(side);
    let last = full - side;
    let origins: Vec<usize> = (0..last).step_by((side - shared).max(1)).chain([last]).collect();
    let mut total = vec![0.0f32; full];
    for &origin in &origins {
        (0..side).for_each(|i| total[origin + i] += taper(i, side, shared, [origin, full]));
    }
    let span = |origin: usize| {
        // Places count from the margin's beginning here, and from the picture's in what comes out.
        let used = origin.max(margin)..(origin + side).min(margin + len);
        let weight = |place: usize| taper(place - origin, side, shared, [origin, full]) / total[place];
        let weights = used.clone().map(weight).collect();
        Span { origin: origin as isize - margin as isize, len: side, first: used.start - margin, weights }
    };
    origins.into_iter().map(span).collect()
}

/// Weight of place `i` of a window at `origin`: it rises and falls over the places that are shared, at most half a
/// side, but not at the picture's border.
fn taper(i: usize, side: usize, shared: usize, [origin, len]: [usize; 2]) -> f32 {
    let over = (shared as f32).min(side as f32 / 2.0);
    let rise = if origin == 0 { 1.0 } else { (i as f32 + 0.5) / over };
    let fall = if origin + side == len { 1.0 } else { (side as f32 - 0.5 - i as f32) / over };
    rise.min(fall).min(1.0)
}

/// A row of pieces within a panel: what is read at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// What is read of the picture, the target within it.
    pub source: Area,
    /// What is finished once the band is painted; of windows it may have no rows.
    pub target: Area,
    /// Which spans across.
    pub(super) pieces: Range<usize>,
    /// Which span down.
    pub(super) row: usize,
}

impl Band {
    /// How many pieces go through the network.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }
}

/// The pieces of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) halo: usize,
    pub(super) margin: usize,
    /// Whether pieces are windows, which overlap in what is used of them.
    pub(super) blended: bool,
    /// Width and height.
    pub(super) size: [usize; 2],
    pub(super) across: Vec<Span>,
    pub(super) down: Vec<Span>,
    panel: usize,
    align: usize,
}

impl Plan {
    /// The pieces of a picture of a width and a height, of which neither is zero.
    pub fn new(framing: Framing, size: [usize; 2], tiling: &Tiling) -> Self {
        let spans = |len| match framing.window {
            Some(side) => windows(len, side, tiling.overlap.min(side - side / 2), framing.margin),
            None => tiles(len, framing.stride, tiling.tile, tiling.overlap),
        };
        let [across, down] = size.map(spans);
        let blended = framing.window.is_some();
        let (halo, margin, panel) = (framing.halo, framing.margin, tiling.panel.min(size[0]));
        Plan { halo, margin, blended, size, across, down, panel, align: tiling.align }
    }

    /// The bands in the order in which they are painted: panel by panel, each from the top.
    pub fn bands(&self) -> Vec<Band> {
        let [width, height] = self.size;
        let mut bands = Vec::new();
        for left in (0..width).step_by(self.panel) {
            let panel = left..(left + self.panel).min(width);
            let pieces = self.pieces_in(&panel);
            let (first, last) = (&self.across[pieces.start], &self.across[pieces.end - 1]);
            let columns = self.reading(first.origin..last.end(), width);
            let mut done = 0;
            for (row, span) in self.down.iter().enumerate() {
                let next = self.down.get(row + 1);
                let end = next.map_or(height, |next| (next.first / self.align * self.align).max(done));
                let rows = self.reading(span.origin..span.end(), height);
                bands.push(Band {
                    source: Area::of(columns.clone(), rows.start.min(done)..rows.end),
                    target: Area::of(panel.clone(), done..end),
                    pieces: pieces.clone(),
                    row,
                });
                done = end;
            }
        }
        bands
    }

    /// Pixels that go through the network over those of the picture: how much work is done for each pixel.
    pub fn redundancy(&self) -> f64 {
        let across =
            |pieces: Range<usize>| self.across[pieces].iter().map(|span| span.len + 2 * self.halo).sum::<usize>();
        let panels = (0..self.size[0]).step_by(self.panel);
        let columns: usize =
            panels.map(|left| across(self.pieces_in(&(left..(left + self.panel).min(self.size[0]))))).sum();
        let rows: usize = self.down.iter().map(|span| span.len + 2 * self.halo).sum();
        (columns * rows) as f64 / (self.size[0] * self.size[1]) as f64
    }

    /// Pieces in all bands.
    pub fn pieces(&self) -> usize {
        let panels = (0..self.size[0]).step_by(self.panel);
        let across: usize =
            panels.map(|left| self.pieces_in(&(left..(left + self.panel).min(self.size[0]))).len()).sum();
        across * self.down.len()
    }

    /// The spans across that are used within a panel.
    fn pieces_in(&self, panel: &Range<usize>) -> Range<usize> {
        let start = self.across.partition_point(|span| span.used().end <= panel.start);
        start..self.across.partition_point(|span| span.first < panel.end)
    }

    /// The places of the picture that painting `span` needs, those that are mirrored into its halo and the margin among
    /// them.
    fn reading(&self, span: Range<isize>, len: usize) -> Range<usize> {
        let within = |place: isize| place.clamp(0, len as isize) as usize;
        within(span.start - self.halo as isize)..within(span.end + self.halo as isize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    fn origins(spans: &[Span]) -> Vec<(isize, usize)> {
        spans.iter().map(|span| (span.origin, span.len)).collect()
    }

    #[test]
    fn windows_share_what_they_overlap_by_and_the_last_one_is_flush() {
        assert_eq!(origins(&windows(37, 16, 8, 0)), [(0, 16), (8, 16), (16, 16), (21, 16)]);
        assert_eq!(origins(&windows(37, 16, 4, 0)), [(0, 16), (12, 16), (21, 16)]);
        assert_eq!(origins(&windows(37, 16, 0, 0)), [(0, 16), (16, 16), (21, 16)]);
        assert_eq!(origins(&windows(16, 16, 8, 0)), [(0, 16)]);
        assert_eq!(origins(&windows(9, 16, 4, 0)), [(0, 16)]);
        // Two of three windows over the places that only they share, rising and falling.
        let spans = windows(40, 16, 4, 0);
        let weights: Vec<f32> = spans[..2].iter().map(|span| span.weights[13 - span.first]).collect();
        assert_eq!(weights, [0.625, 0.375]);
    }

    #[test]
    fn a_tiling_gives_windows_what_they_share_and_no_more_than_half() {
        let framing = Framing { stride: 16, halo: 0, reach: 4, window: Some(16), margin: 0 };
        let of = |overlap| Tiling::of_scene(&framing, 512, overlap);
        let overlaps = [None, Some(0), Some(5), Some(40)].map(|overlap| of(overlap).overlap);
        assert_eq!((overlaps, Tiling::new(&framing, 512).overlap), ([4, 0, 5, 8], 4));
        // 256 pixels by windows of 16, 12 apart: 21 of them each way.
        let plan = |overlap| Plan::new(framing, [256, 256], &of(overlap));
        assert_eq!((plan(None).pieces(), plan(Some(8)).pieces()), (21 * 21, 31 * 31));
        assert!(abs_diff_eq!(plan(None).redundancy(), (21.0 * 16.0 / 256.0f64).powi(2), epsilon = 1e-12));
    }

    #[test]
    fn with_a_margin_windows_begin_before_the_picture_and_end_behind_it() {
        assert_eq!(origins(&windows(37, 16, 8, 2)), [(-2, 16), (6, 16), (14, 16), (22, 16), (23, 16)]);
        assert_eq!(origins(&windows(16, 16, 8, 3)), [(-3, 16), (3, 16)]);
        assert_eq!(origins(&windows(12, 16, 8, 2)), [(-2, 16)]);
        assert_eq!(origins(&windows(1, 16, 8, 2)), [(-2, 16)]);
        let used: Vec<_> = windows(16, 16, 8, 3).iter().map(Span::used).collect();
        assert_eq!(used, [0..13, 3..16]);
    }

    #[test]
    fn tiles_start_at_multiples_of_the_stride_and_stay_within_the_continued_picture() {
        assert_eq!(origins(&tiles(45, 8, 16, 8)), [(0, 24), (8, 32), (24, 24)]);
        assert_eq!(origins(&tiles(45, 8, 64, 8)), [(0, 48)]);
        let used: Vec<_> = tiles(45, 8, 16, 8).iter().map(Span::used).collect();
        assert_eq!(used, [0..16, 16..32, 32..45]);
    }

    #[test]
    fn the_tiles_of_a_scene_fit_its_panels_and_those_of_its_file() {
        let framing = Framing { stride: 8, halo: 0, reach: 183, window: None, margin: 0 };
        let of = |tile| Tiling::of_scene(&framing, tile, None);
        assert_eq!(of(512), Tiling { tile: 512, overlap: 184, panel: 4096, align: 512, rows: None });
        assert_eq!(of(1000), Tiling { tile: 1024, overlap: 184, panel: 2048, align: 512, rows: None });
        assert_eq!(of(130), Tiling { tile: 192, overlap: 184, panel: 4032, align: 64, rows: None });
        assert_eq!(of(5000).panel, 5056);
        assert_eq!(Tiling::of_scene(&framing, 512, Some(3)).overlap, 8);
        assert_eq!(of(512).piece(&framing), 512 + 2 * 184);
        let windows = Framing { stride: 1, halo: 1, reach: 50, window: Some(100), margin: 0 };
        assert_eq!((Tiling::of_scene(&windows, 512, None).align, of(512).align), (256, 512));
        assert_eq!(Tiling::of_scene(&windows, 512, None).piece(&windows), 102);
    }

    #[test]
    fn weights_are_one_in_sum_at_every_place() {
        for len in [1, 7, 16, 17, 24, 61] {
            let cuts = [[16, 8, 0], [5, 3, 0], [16, 8, 3], [16, 4, 0], [16, 5, 3], [16, 0, 0], [5, 1, 2]];
            let blended = cuts.map(|[side, shared, margin]| windows(len, side, shared, margin));
            for spans in blended.into_iter().chain([tiles(len, 4, 8, 4)]) {
                let mut sums = vec![0.0f32; len];
                for span in &spans {
                    span.used().zip(&span.weights).for_each(|(place, weight)| sums[place] += weight);
                }
                // Up to three quotients, each rounded.
                assert!(sums.iter().all(|sum| abs_diff_eq!(*sum, 1.0, epsilon = 1e-6)), "{len}: {sums:?}");
            }
        }
    }

    #[test]
    fn bands_hand_out_every_pixel_once_and_aligned() {
        for (window, margin, align) in [(None, 0, 8), (Some(20), 0, 16), (Some(20), 4, 16), (Some(6), 0, 64)] {
            let framing = Framing { stride: 2, halo: 1, reach: 3, window, margin };
            let tiling = Tiling { panel: 64, align, ..Tiling::new(&framing, 32) };
            let plan = Plan::new(framing, [150, 83], &tiling);
            let mut seen = vec![0; 150 * 83];
            for band in plan.bands() {
                for y in band.target.rows() {
                    band.target.columns().for_each(|x| seen[y * 150 + x] += 1);
                }
                assert!(band.target.x.is_multiple_of(64) && band.target.y.is_multiple_of(align), "{band:?}");
                let Area { x, y, .. } = band.source;
                assert!(x <= band.target.x && y <= band.target.y, "{band:?}");
                let ends = |area: Area| (area.columns().end, area.rows().end);
                let ((read_x, read_y), (done_x, done_y)) = (ends(band.source), ends(band.target));
                assert!(done_x <= read_x && read_x <= 150 && done_y <= read_y && read_y <= 83, "{band:?}");
            }
            assert!(seen.iter().all(|times| *times == 1), "{window:?}");
            assert_eq!(plan.pieces(), plan.bands().iter().map(Band::pieces).sum::<usize>());
        }
    }
}
