//! Pieces put together: blended where they overlap, handed out row by row.

use super::plan::{Band, Plan, Span};
use super::{Pixels, mirrored};
use crate::error::Result;
use std::ops::Range;

/// Where the pieces of a [`Plan`] are put together, in the order of [`Plan::bands`]. It holds the unfinished rows of one panel.
#[derive(Debug)]
pub struct Canvas<'a> {
    plan: &'a Plan,
    /// Values a pixel.
    bands: usize,
    /// The rows from the top of the current band's target on.
    rows: Vec<f32>,
}

impl<'a> Canvas<'a> {
    /// A canvas for pixels of `bands` values.
    pub fn new(plan: &'a Plan, bands: usize) -> Self {
        Canvas { plan, bands, rows: Vec::new() }
    }

    /// Paints a band and hands out what is finished with it, the pixels of its target.
    ///
    /// `source` are the pixels of the band's source, and `valid` says which of them have data; a piece without any is left
    /// unpainted, zeros. `paint` makes `[height, width, bands]` of a piece, whose sides include the network's halo on each side.
    ///
    /// # Errors
    /// Those of `paint`.
    pub fn paint(
        &mut self,
        band: &Band,
        source: &Pixels,
        valid: Option<&[bool]>,
        mut paint: impl FnMut(Pixels) -> Result<Vec<f32>>,
    ) -> Result<Pixels> {
        let width = band.target.width;
        let down = &self.plan.down[band.row];
        let rows = (down.used().end - band.target.y).max(band.target.height);
        self.rows.resize(rows * width * self.bands, 0.0);
        for across in &self.plan.across[band.pieces.clone()] {
            let columns = across.first.max(band.target.x)..across.used().end.min(band.target.x + width);
            let seen = |x: usize, y: usize| (y - band.source.y) * source.width + x - band.source.x;
            if valid.is_none_or(|valid| {
                down.used().any(|y| valid[seen(columns.start, y)..][..columns.len()].contains(&true))
            }) {
                let painted = paint(self.piece(band, source, across, down))?;
                self.add(band, [across, down], columns, &painted);
            }
        }
        let unfinished = self.rows.split_off(band.target.height * width * self.bands);
        let values = std::mem::replace(&mut self.rows, unfinished);
        Ok(Pixels { width, height: band.target.height, bands: self.bands, values })
    }

    /// What the network reads for a piece: mirrored at the picture's border, and continued by the edge where the picture is
    /// smaller than what is painted.
    fn piece(&self, band: &Band, source: &Pixels, across: &Span, down: &Span) -> Pixels {
        let halo = self.plan.halo;
        let places = |span: &Span, spans: &[Span], len: usize, first: usize| -> Vec<usize> {
            let full = spans.last().map_or(len, Span::end);
            let place = |i| mirrored(i as isize - halo as isize, full).min(len - 1) - first;
            (span.origin..span.end() + 2 * halo).map(place).collect()
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

    /// Adds the columns `used` of a painted piece by their weights.
    fn add(&mut self, band: &Band, [across, down]: [&Span; 2], used: Range<usize>, painted: &[f32]) {
        let (bands, width) = (self.bands, band.target.width);
        let weights = &across.weights[used.start - across.first..][..used.len()];
        for (y, weight_down) in down.used().zip(&down.weights) {
            let from = &painted[((y - down.origin) * across.len + used.start - across.origin) * bands..];
            let to = &mut self.rows[((y - band.target.y) * width + used.start - band.target.x) * bands..];
            for ((to, from), weight_across) in to.chunks_exact_mut(bands).zip(from.chunks_exact(bands)).zip(weights) {
                let weight = weight_down * weight_across;
                to.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
}
