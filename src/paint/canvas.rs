//! Painted pieces, cut to what is used of them or blended where they overlap.

use crate::imaging::pixels::Area;

use crate::error::Result;
use crate::imaging::pixels::{Pixels, mirrored};
use crate::paint::plan::{Band, Plan, Span};

/// Where the pieces of a [`Plan`] come together, in the order of [`Plan::bands`]. Of windows, which are blended, it
/// holds the unfinished rows of one panel; tiles need not wait for one another.
#[derive(Debug)]
pub struct Canvas<'a> {
    plan: &'a Plan,
    /// Values a pixel.
    bands: usize,
    /// The rows of windows from the top of the current band's target on.
    rows: Vec<f32>,
}

impl<'a> Canvas<'a> {
    /// A canvas for pixels of `bands` values.
    pub fn new(plan: &'a Plan, bands: usize) -> Self {
        Canvas { plan, bands, rows: Vec::new() }
    }

    /// Paints a band and hands out to `finished` what is finished with it: tiles, or of windows the band's target.
    ///
    /// `source` are the pixels of the band's source, and `valid` says which of them have data; a piece without any is
    /// left unpainted, zeros. `paint` makes `[height, width, bands]` of a piece, whose sides include the network's halo
    /// on each side.
    ///
    /// # Errors
    /// Those of `paint` and `finished`.
    pub fn paint(
        &mut self,
        band: &Band,
        source: &Pixels,
        valid: Option<&[bool]>,
        mut paint: impl FnMut(Pixels) -> Result<Vec<f32>>,
        mut finished: impl FnMut(Area, Pixels) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan;
        let (target, down) = (band.target, &plan.down[band.row]);
        if plan.blended {
            let rows = (down.used().end - target.y).max(target.height);
            self.rows.resize(rows * target.width * self.bands, 0.0);
        }
        for across in &plan.across[band.pieces.clone()] {
            let area = self.used_of(band, across);
            let piece = has_data(valid, band.source, area).then(|| self.piece(band, source, across, down));
            let painted = piece.map(&mut paint).transpose()?;
            if !plan.blended {
                finished(area, self.tile(area, [across, down], painted.as_deref()))?;
            } else if let Some(painted) = painted {
                self.add(target, area, [across, down], &painted);
            }
        }
        if plan.blended && target.height > 0 {
            let unfinished = self.rows.split_off(target.height * target.width * self.bands);
            let values = std::mem::replace(&mut self.rows, unfinished);
            finished(target, Pixels { width: target.width, height: target.height, bands: self.bands, values })?;
        }
        Ok(())
    }

    /// The pieces that [`Canvas::paint`] will ask for, one after the other: those of them that `wanted` holds for, by
    /// their number.
    pub fn pieces(
        &self,
        band: &Band,
        source: &Pixels,
        valid: Option<&[bool]>,
        wanted: impl Fn(usize) -> bool,
    ) -> impl Iterator<Item = Pixels> {
        let across = self.plan.across[band.pieces.clone()].iter();
        let with_data = across.filter(move |across| has_data(valid, band.source, self.used_of(band, across)));
        let mine = with_data.enumerate().filter(move |(number, _)| wanted(*number));
        mine.map(move |(_, across)| self.piece(band, source, across, &self.plan.down[band.row]))
    }

    /// What is used of a piece of a band.
    fn used_of(&self, band: &Band, across: &Span) -> Area {
        let target = band.target;
        let columns = across.first.max(target.x)..across.used().end.min(target.x + target.width);
        Area::of(columns, self.plan.down[band.row].used())
    }

    /// What the network reads for a piece: mirrored at the picture's border, and continued by the edge where the
    /// picture is smaller than what is painted.
    fn piece(&self, band: &Band, source: &Pixels, across: &Span, down: &Span) -> Pixels {
        let halo = self.plan.halo as isize;
        let places = |span: &Span, spans: &[Span], len: usize, first: usize| -> Vec<usize> {
            let full = spans.last().map_or(len, |last| last.end() as usize - self.plan.margin);
            let place = |i| mirrored(i, full).min(len - 1) - first;
            (span.origin - halo..span.end() + halo).map(place).collect()
        };
        let columns = places(across, &self.plan.across, self.plan.size[0], band.source.x);
        let rows = places(down, &self.plan.down, self.plan.size[1], band.source.y);
        let mut values = Vec::with_capacity(columns.len() * rows.len() * source.bands);
        for row in &rows {
            for column in &columns {
                values
                    .extend_from_slice(&source.values[(row * source.width + column) * source.bands..][..source.bands]);
            }
        }
        Pixels { width: columns.len(), height: rows.len(), bands: source.bands, values }
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
        for (y, weight_down) in area.rows().zip(&down.weights) {
            let from = &painted[(place(down, y) * across.len + place(across, area.x)) * bands..];
            let to = &mut self.rows[((y - target.y) * target.width + area.x - target.x) * bands..];
            for ((to, from), weight_across) in to.chunks_exact_mut(bands).zip(from.chunks_exact(bands)).zip(weights) {
                let weight = weight_down * weight_across;
                to.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
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
