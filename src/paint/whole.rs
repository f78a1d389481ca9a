//! Images of any size that lie in memory.

use crate::error::Result;
use crate::imaging::pixels::Pixels;
use crate::paint::canvas::{Canvas, paint_each};
use crate::paint::painter::{Look, Painter, goes_by_rows};
use crate::paint::plan::{PANEL, Plan, Tiling};
use crate::paint::strips::{StripPainter, Strips};

/// Sides up to which a picture in memory is painted in one go where overlaps would cost.
const WHOLE: usize = 1024;
/// Sides of tiles that cost nothing: what a classifier of full resolution outputs, a number a bin for each pixel,
/// fits memory then.
const FREE: usize = 256;

/// Rows that go through a network at a time which takes an image from top to bottom.
const ROWS: usize = 64;

/// Paints a source of any size that lies in memory, values 0..1: `[height, width, bands]` 0..1.
///
/// # Errors
/// Whatever the network reports.
pub fn paint(painter: &dyn Painter, source: &Pixels, look: &Look) -> Result<Pixels> {
    let framing = painter.framing();
    if source.width.max(source.height) > WHOLE && goes_by_rows(painter, look) {
        return paint_strips(painter, source, look, &Tiling::by_rows(&framing, PANEL, ROWS));
    }
    let tile = match source.width.max(source.height) {
        _ if framing.reach == 0 => FREE,
        ..=WHOLE => WHOLE,
        _ => Tiling::TILE,
    };
    paint_by(painter, source, look, &Tiling::new(&framing, tile))
}

fn paint_strips(painter: &dyn Painter, source: &Pixels, look: &Look, tiling: &Tiling) -> Result<Pixels> {
    let plan = Strips::new(painter.framing(), source.size(), tiling, tiling.rows.unwrap_or(ROWS));
    let mut painting = StripPainter::new(painter, &plan, *look, false);
    let mut picture = Pixels::new(source.width, source.height, painter.bands());
    for strip in plan.strips() {
        painting.paint(&strip, source.part(strip.source), None, |area, painted, _| {
            picture.put([area.x, area.y], &painted);
            Ok(())
        })?;
    }
    Ok(picture)
}

fn paint_by(painter: &dyn Painter, source: &Pixels, look: &Look, tiling: &Tiling) -> Result<Pixels> {
    let plan = Plan::new(painter.framing(), [source.width, source.height], tiling);
    let mut canvas = Canvas::new(&plan, painter.bands()).asking(painter, look);
    let mut picture = Pixels::new(source.width, source.height, painter.bands());
    for band in plan.bands() {
        canvas.paint(
            &band,
            &source.part(band.source),
            None,
            &mut |pieces| {
                paint_each(pieces, &|piece| painter.paint(&piece.to_tensor(painter.device())?, look)?.to_vec())
            },
            &mut |area, painted| {
                picture.put([area.x, area.y], &painted);
                Ok(())
            },
        )?;
    }
    Ok(picture)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
