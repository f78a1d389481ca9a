//! Painted pieces, cut to what is used of them or blended where they overlap.

use crate::engine::blocks;
use crate::engine::nn::Norm;
use crate::error::Result;
use crate::imaging::pixels::{Area, Pixels, mirrored};
use crate::paint::painter::{Look, Painter};
use crate::paint::plan::{Band, Plan, Span};
use std::sync::OnceLock;

/// Pixels of the windows that are painted side by side on the CPU: four of 256 x 256. They keep two cores busy where a
/// layer has little to do for both, and more cores where layers are small. Each takes its memory.
const TOGETHER: usize = 4 * 256 * 256;

/// `[height, width, bands]` of each of some pieces.
pub type PaintedPieces = Vec<Vec<f32>>;

/// Where the pieces of a [`Plan`] come together, in the order of [`Plan::bands`]. Of windows, which are blended, it
/// holds the unfinished rows of one panel; tiles need not wait for one another.
#[derive(Debug)]
pub struct Canvas<'a> {
    plan: &'a Plan,
    /// Values a pixel.
    bands: usize,
    /// The rows of windows from the top of the current band's target on.
    rows: Vec<f32>,
    /// Pieces that are asked for at a time.
    together: usize,
}

/// A piece of a band that has data.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    plan: &'a Plan,
    source: &'a Pixels,
    /// Where the source begins.
    first: [usize; 2],
    across: &'a Span,
    down: &'a Span,
}

impl<'a> Canvas<'a> {
    /// A canvas for pixels of `bands` values, that asks for one piece at a time.
    pub fn new(plan: &'a Plan, bands: usize) -> Self {
        Canvas { plan, bands, rows: Vec::new(), together: 1 }
    }

    /// The same canvas, that asks for as many pieces at a time as the painter's device paints well side by side.
    #[must_use]
    pub fn asking(self, painter: &dyn Painter, look: &Look) -> Self {
        let device = painter.device();
        // A GPU is busy with one; tiles are large; under a cap memory is counted by one piece; and a batch norm by the
        // statistics of what it is given writes to some that all pieces share.
        let one = device.is_gpu() || device.memory().cap_bytes.is_some() || look.norm != Norm::Running;
        let most = painter.framing().window.filter(|_| !one).map_or(1, |side| TOGETHER / (side * side));
        Canvas { together: most.clamp(1, 4), ..self }
    }

    /// Paints a band and hands out to `finished` what is finished with it: tiles, or of windows the band's target.
    ///
    /// `source` are the pixels of the band's source, and `valid` says which of them have data; a piece without any is
    /// left unpainted, zeros. `paint` makes `[height, width, bands]` of each of some pieces.
    ///
    /// # Errors
    /// Those of `paint` and `finished`.
    pub fn paint(
        &mut self,
        band: &Band,
        source: &Pixels,
        valid: Option<&[bool]>,
        paint: &mut dyn FnMut(&[Piece<'_>]) -> Result<PaintedPieces>,
        finished: &mut dyn FnMut(Area, Pixels) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan;
        let (target, down) = (band.target, &plan.down[band.row]);
        if plan.blended {
            let rows = (down.used().end - target.y).max(target.height);
            self.rows.resize(rows * target.width * self.bands, 0.0);
        }
        for spans in plan.across[band.pieces.clone()].chunks(self.together) {
            let pieces: Vec<_> = spans.iter().map(|across| plan.piece(band, source, valid, across)).collect();
            let mut painted = paint(&pieces.iter().flatten().copied().collect::<Vec<_>>())?.into_iter();
            for (across, piece) in spans.iter().zip(&pieces) {
                let (area, painted) = (plan.used_of(band, across), piece.and_then(|_| painted.next()));
                if !plan.blended {
                    finished(area, self.tile(area, [across, down], painted.as_deref()))?;
                } else if let Some(painted) = painted {
                    self.add(target, area, [across, down], &painted);
                }
            }
        }
        if plan.blended && target.height > 0 {
            let unfinished = self.rows.split_off(target.height * target.width * self.bands);
            let values = std::mem::replace(&mut self.rows, unfinished);
            finished(target, Pixels { width: target.width, height: target.height, bands: self.bands, values })?;
        }
        Ok(())
    }

    /// What is used of a painted piece; zeros where it was not painted.
    fn tile(&self, area: Area, [across, down]: [&Span; 2], painted: Option<&[f32]>) -> Pixels {
        let mut tile = Pixels::new(area.width, area.height, self.bands);
        let Some(painted) = painted else { return tile };
        for (y, to) in area.rows().zip(tile.values.chunks_exact_mut(area.width * self.bands)) {
            let first = place(down, y) * across.len + place(across, area.x);
            to.copy_from_slice(&painted[first * self.bands..][..to.len()]);
        }
        tile
    }

    /// Adds what is used of a painted piece by its weights.
    fn add(&mut self, target: Area, area: Area, [across, down]: [&Span; 2], painted: &[f32]) {
        let bands = self.bands;
        let weights = &across.weights[area.x - across.first..][..area.width];
        let row_len = target.width * bands;
        let rows = &mut self.rows[(area.y - target.y) * row_len..][..area.height * row_len];
        blocks::write((rows, row_len), |i, row| {
            let (y, weight_down) = (area.y + i, down.weights[i]);
            let from = &painted[(place(down, y) * across.len + place(across, area.x)) * bands..];
            let to = &mut row[(area.x - target.x) * bands..];
            for ((to, from), weight_across) in to.chunks_exact_mut(bands).zip(from.chunks_exact(bands)).zip(weights) {
                let weight = weight_down * weight_across;
                to.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
            }
        });
    }
}

impl Plan {
    /// The pieces of a band with data, in the order in which [`Canvas::paint`] asks for them.
    pub(super) fn pieces_of<'a>(
        &'a self,
        band: &'a Band,
        source: &'a Pixels,
        valid: Option<&'a [bool]>,
    ) -> impl Iterator<Item = Piece<'a>> {
        self.across[band.pieces.clone()].iter().filter_map(move |across| self.piece(band, source, valid, across))
    }

    /// A piece of a band, where it has data.
    fn piece<'a>(
        &'a self,
        band: &Band,
        source: &'a Pixels,
        valid: Option<&[bool]>,
        across: &'a Span,
    ) -> Option<Piece<'a>> {
        let first = [band.source.x, band.source.y];
        let piece = Piece { plan: self, source, first, across, down: &self.down[band.row] };
        has_data(valid, band.source, self.used_of(band, across)).then_some(piece)
    }

    /// What is used of a piece of a band.
    fn used_of(&self, band: &Band, across: &Span) -> Area {
        let target = band.target;
        let columns = across.first.max(target.x)..across.used().end.min(target.x + target.width);
        Area::of(columns, self.down[band.row].used())
    }
}

impl Piece<'_> {
    /// Pixels that the network paints of it.
    pub fn painted(&self) -> usize {
        self.across.len * self.down.len
    }

    /// What the network reads for it, its halo on each side: mirrored at the picture's border, and continued by the
    /// edge where the picture is smaller than what is painted.
    pub fn pixels(&self) -> Pixels {
        let Piece { plan, source, first, across, down } = *self;
        let halo = plan.halo as isize;
        let places = |span: &Span, spans: &[Span], len: usize, first: usize| -> Vec<usize> {
            let full = spans.last().map_or(len, |last| last.end() as usize - plan.margin);
            let place = |i| mirrored(i, full).min(len - 1) - first;
            (span.origin - halo..span.end() + halo).map(place).collect()
        };
        let columns = places(across, &plan.across, plan.size[0], first[0]);
        let rows = places(down, &plan.down, plan.size[1], first[1]);
        let mut values = Vec::with_capacity(columns.len() * rows.len() * source.bands);
        for row in &rows {
            for column in &columns {
                values
                    .extend_from_slice(&source.values[(row * source.width + column) * source.bands..][..source.bands]);
            }
        }
        Pixels { width: columns.len(), height: rows.len(), bands: source.bands, values }
    }
}

/// What `paint` makes of the pixels of each piece, side by side.
///
/// # Errors
/// Those of `paint`.
pub fn paint_each(pieces: &[Piece<'_>], paint: &(dyn Fn(Pixels) -> Result<Vec<f32>> + Sync)) -> Result<PaintedPieces> {
    let painted: Vec<OnceLock<_>> = pieces.iter().map(|_| OnceLock::new()).collect();
    let paint = |i: usize| drop(painted[i].set(paint(pieces[i].pixels())));
    match pieces.len() {
        // On this thread: a GPU's launches belong together.
        1 => paint(0),
        count => blocks::each(count, &paint),
    }
    painted.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// Where a place that is used of a span lies within it.
fn place(span: &Span, at: usize) -> usize {
    (at as isize - span.origin) as usize
}

/// Whether a pixel of `area` has data, by a mask of `outer`.
fn has_data(valid: Option<&[bool]>, outer: Area, area: Area) -> bool {
    let row = |y: usize| (y - outer.y) * outer.width + area.x - outer.x;
    valid.is_none_or(|valid| area.rows().any(|y| valid[row(y)..][..area.width].contains(&true)))
}
