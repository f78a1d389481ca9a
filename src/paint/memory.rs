//! Which tile, or which panel, fits a device's memory.

use crate::engine::device::Device;
use crate::error::Result;
use crate::imaging::pixels::Pixels;
use crate::paint::painter::{Look, Painter, goes_by_rows};
use crate::paint::plan::{PANEL, Tiling};
use crate::paint::strips::{StripPainter, Strips};

/// Sides of the pieces that are painted to learn what a pixel takes.
const PROBES: [usize; 2] = [128, 256];
/// The largest tile where memory is known: beyond it overlaps are no longer what costs.
const LARGEST: usize = 2048;
/// The smallest one, below which overlaps are nearly all that is painted.
const SMALLEST: usize = 64;
/// Rows that go through a network at a time on a GPU: many where memory allows, for larger products.
const GPU_ROWS: [usize; 2] = [64, 16];
/// The same on the CPU, where 64 are no faster.
const CPU_ROWS: [usize; 2] = [32, 16];
/// Columns of the panels that are painted to learn what a column takes, and their rows: enough for every layer to hold
/// what it holds in a long image.
const PROBE_PANELS: [usize; 2] = [64, 128];
const PROBE_ROWS: usize = 640;
/// The narrowest panel where memory is short.
const NARROWEST: usize = 512;
/// Buffers are handed out up to an eighth larger than they need be.
const ROUNDING: f64 = 1.125;

/// What painting takes, in bytes, as a function of the pixels of a piece or of the columns of a panel: a part that does
/// not depend on them, and one for each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Need {
    fixed: f64,
    each: f64,
}

impl Need {
    /// The line through two measurements of (pixels or columns, bytes).
    fn through([(x0, y0), (x1, y1)]: [(f64, f64); 2]) -> Self {
        let each = ((y1 - y0) / (x1 - x0)).max(0.0);
        Need { fixed: (y0.max(y1) - each * x1).max(0.0), each }
    }

    fn at(&self, count: f64) -> f64 {
        self.fixed + self.each * count
    }
}

/// How a scene of `width` x `height` pixels is best painted. A network that takes it from top to bottom does so unless
/// it is one tile, or a `tile` or an `overlap` is given: in panels as wide as the device's cap on memory allows, at
/// most some 4096 columns. Any other network goes by tiles, see [`best_tile`].
///
/// Small pieces are painted to learn what a pixel takes, unless there is nothing to be learnt.
///
/// # Errors
/// Whatever painting them reports.
pub fn best_tiling(
    painter: &dyn Painter,
    size: [usize; 2],
    tile: Option<usize>,
    overlap: Option<usize>,
    look: &Look,
) -> Result<Tiling> {
    let framing = painter.framing();
    let one_tile = size.into_iter().all(|side| side <= Tiling::TILE);
    if !one_tile && tile.is_none() && overlap.is_none() && goes_by_rows(painter, look) {
        return best_panels(painter, size, look);
    }
    let tile = tile.map_or_else(|| best_tile(painter, size, overlap, look), Ok)?;
    Ok(Tiling::of_scene(&framing, tile, overlap))
}

/// Panels and rows for a network that takes a scene from top to bottom.
fn best_panels(painter: &dyn Painter, size: [usize; 2], look: &Look) -> Result<Tiling> {
    let (device, framing) = (painter.device(), painter.framing());
    let cap = device.memory().cap_bytes;
    let [many, few] = if device.is_gpu() { GPU_ROWS } else { CPU_ROWS };
    let wanted = Tiling::by_rows(&framing, PANEL, many);
    if cap.is_none() && !device.is_gpu() {
        return Ok(wanted);
    }
    for rows in [many, few] {
        let [peak, largest] = needs_by_rows(painter, rows, look)?;
        let fits = |tiling: &Tiling| {
            let columns = size[0].min(tiling.panel + 2 * tiling.overlap) as f64;
            within_limits(device, [peak.at(columns), largest.at(columns)])
        };
        let panels = (0..).map(|halvings| PANEL >> halvings).take_while(|&panel| panel >= NARROWEST);
        let fitting = panels.map(|panel| Tiling::by_rows(&framing, panel, rows)).find(fits);
        // Of a narrow panel more goes through the network than of one with fewer rows at a time.
        if let Some(tiling) = fitting.filter(|tiling| rows == few || 2 * tiling.panel >= PANEL) {
            return Ok(tiling);
        }
    }
    Ok(Tiling::by_rows(&framing, NARROWEST, few))
}

/// Whether a peak of so many bytes, and a buffer of so many, can be had.
fn within_limits(device: &Device, [peak, largest]: [f64; 2]) -> bool {
    let memory = device.memory();
    let within = |cap: u64| memory.live_bytes as f64 + ROUNDING * peak <= cap as f64;
    memory.cap_bytes.is_none_or(within) && ROUNDING * largest <= device.max_elements() as f64 * 4.0
}

/// As [`needs`], of a panel, by its columns.
fn needs_by_rows(painter: &dyn Painter, rows: usize, look: &Look) -> Result<[Need; 2]> {
    let framing = painter.framing();
    needs_of(painter.device(), PROBE_PANELS, |columns| {
        let size = [columns, PROBE_ROWS];
        let plan = Strips::new(framing, size, &Tiling::by_rows(&framing, PANEL, rows), rows);
        let mut painting = StripPainter::new(painter, &plan, *look, false);
        for strip in plan.strips() {
            let source = grey(strip.source.width, strip.source.height, painter.source_bands());
            painting.paint(&strip, source, None, |_, _, _| Ok(()))?;
        }
        Ok(columns as f64)
    })
}

/// The side of the tiles by which a scene of `width` x `height` pixels is best painted: as large as the device's cap on
/// memory allows; where there is none, [`Tiling::TILE`] or what a binding of a GPU holds.
///
/// Two small pieces are painted to learn what a pixel takes, unless there is nothing to be learnt.
///
/// # Errors
/// Whatever painting them reports.
pub fn best_tile(painter: &dyn Painter, size: [usize; 2], overlap: Option<usize>, look: &Look) -> Result<usize> {
    let (device, framing) = (painter.device(), painter.framing());
    let cap = device.memory().cap_bytes;
    if framing.window.is_some() || cap.is_none() && !device.is_gpu() {
        return Ok(Tiling::TILE);
    }
    let [peak, largest] = needs(painter, look)?;
    let fits = |tile: usize| {
        let piece = Tiling::of_scene(&framing, tile, overlap).piece(&framing);
        let pixels: f64 = size
            .map(|side| piece.min(side.next_multiple_of(framing.stride) + 2 * framing.halo) as f64)
            .iter()
            .product();
        within_limits(device, [peak.at(pixels), largest.at(pixels)])
    };
    let mut tile = if cap.is_some() { LARGEST } else { Tiling::TILE };
    while tile > SMALLEST && !fits(tile) {
        tile /= 2;
    }
    Ok(tile)
}

/// What painting a piece takes at its peak, and the largest single buffer of it, by its pixels.
fn needs(painter: &dyn Painter, look: &Look) -> Result<[Need; 2]> {
    needs_of(painter.device(), PROBES, |side| {
        let side = side + 2 * painter.framing().halo;
        paint_grey(painter, side, look)?;
        Ok((side * side) as f64)
    })
}

/// What two runs take at their peak, and the largest single buffer of them, by the size that `run` returns.
fn needs_of(device: &Device, sizes: [usize; 2], run: impl Fn(usize) -> Result<f64>) -> Result<[Need; 2]> {
    let measure = |size: usize| -> Result<[(f64, f64); 2]> {
        let before = device.memory().live_bytes;
        device.reset_peak();
        let size = run(size)?;
        let memory = device.memory();
        Ok([memory.peak_bytes.saturating_sub(before), memory.largest_bytes].map(|bytes| (size, bytes as f64)))
    };
    let [small, large] = [measure(sizes[0])?, measure(sizes[1])?];
    Ok([Need::through([small[0], large[0]]), Need::through([small[1], large[1]])])
}

fn grey(width: usize, height: usize, bands: usize) -> Pixels {
    let mut image = Pixels::new(width, height, bands);
    image.values.fill(0.5);
    image
}

fn paint_grey(painter: &dyn Painter, side: usize, look: &Look) -> Result<()> {
    painter.paint(&grey(side, side, painter.source_bands()).to_tensor(painter.device())?, look)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::color::Bins;
    use crate::networks::classifier::network::Classifier;
    use crate::networks::window8;

    fn painter(cap: Option<u64>) -> Classifier {
        let bins = Bins { centres: vec![[-20.0, 10.0], [30.0, 0.0], [5.0, -40.0]] };
        let device = Device::cpu();
        device.set_memory_cap(cap);
        Classifier::new(&device, &window8::network::ARCHITECTURE, 1.0, &bins, vec![0.2, 0.3, 0.5], 3, false).unwrap()
    }

    #[test]
    fn the_largest_tile_that_fits_the_cap_is_taken_and_fits() {
        let look = Look::default();
        let best = |painter: &Classifier, size| best_tile(painter, size, None, &look).unwrap();
        assert_eq!(best(&painter(None), [9000, 9000]), Tiling::TILE);
        assert_eq!(best(&painter(Some(8 << 30)), [9000, 9000]), 2048);
        let sizes = [20u64, 8, 3].map(|mib| {
            let painter = painter(Some(mib << 20));
            let tile = best(&painter, [9000, 9000]);
            let side = Tiling::of_scene(&painter.framing(), tile, None).piece(&painter.framing());
            paint_grey(&painter, side, &look).unwrap();
            tile
        });
        assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2] && sizes[2] >= SMALLEST, "{sizes:?}");
        // A scene that is smaller than its tile takes no more than itself.
        assert_eq!(best(&painter(Some(3 << 20)), [40, 40]), 2048);
    }

    #[test]
    fn panels_get_narrower_where_memory_is_short_and_fit() {
        let look = Look::default();
        let device = Device::cpu();
        let bins = Bins { centres: vec![[-20.0, 10.0], [30.0, 0.0], [5.0, -40.0]] };
        let (architecture, prior) = (&crate::networks::colournet::network::ARCHITECTURE, vec![0.2, 0.3, 0.5]);
        let painter = Classifier::new(&device, architecture, 0.05, &bins, prior, 3, false).unwrap();
        let mut tried = Vec::new();
        for cap in [None, Some(200 << 20), Some(15 << 20), Some(7 << 20)] {
            device.set_memory_cap(None);
            device.trim().unwrap();
            device.set_memory_cap(cap.map(|cap| cap + device.memory().live_bytes));
            let tiling = best_tiling(&painter, [9000, 9000], None, None, &look);
            let Tiling { panel, rows, .. } = tiling.unwrap();
            let framing = painter.framing();
            let size = [panel + 2 * framing.reach, 1000];
            let plan = Strips::new(framing, size, &Tiling::by_rows(&framing, panel, rows.unwrap()), rows.unwrap());
            let mut painting = StripPainter::new(&painter, &plan, look, false);
            for strip in plan.strips().iter().filter(|strip| strip.source.x == 0) {
                let source = grey(strip.source.width, strip.source.height, 1);
                painting.paint(strip, source, None, |_, _, _| Ok(())).unwrap();
            }
            tried.push((panel, rows.unwrap()));
        }
        assert_eq!(tried[..2], [(4096, 32); 2]);
        assert!(tried.is_sorted_by(|a, b| a.0 >= b.0) && tried[3].0 < 4096, "{tried:?}");
        // An image of one tile goes in one go; so does what is asked for.
        device.set_memory_cap(None);
        let tiles = |size, tile| best_tiling(&painter, size, tile, None, &look).unwrap().rows.is_none();
        assert!(tiles([512, 300], None) && tiles([9000, 9000], Some(256)) && !tiles([513, 20], None));
    }

    #[test]
    fn needs_grow_along_the_line_through_what_was_measured() {
        let need = Need::through([(10.0, 120.0), (30.0, 160.0)]);
        assert_eq!((need.fixed, need.each, need.at(100.0)), (100.0, 2.0, 300.0));
        // Less for more pixels: what is kept is the larger one.
        assert_eq!(Need::through([(10.0, 120.0), (30.0, 100.0)]), Need { fixed: 120.0, each: 0.0 });
    }
}
