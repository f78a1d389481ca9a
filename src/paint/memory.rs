//! Which tile fits a device's memory.

use crate::engine::device::Device;
use crate::error::Result;
use crate::imaging::pixels::Pixels;
use crate::paint::painter::{Look, Painter};
use crate::paint::plan::Tiling;

/// Sides of the pieces that are painted to learn what a pixel takes.
const PROBES: [usize; 2] = [128, 256];
/// The largest tile where memory is known: beyond it overlaps are no longer what costs.
const LARGEST: usize = 2048;
/// The smallest one, below which overlaps are nearly all that is painted.
const SMALLEST: usize = 64;
/// Buffers are handed out up to an eighth larger than they need be.
const ROUNDING: f64 = 1.125;

/// What painting takes, in bytes, as a function of the pixels of a piece: a part that does not depend on them, and one
/// a pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Need {
    fixed: f64,
    per_pixel: f64,
}

impl Need {
    /// The line through two measurements of (pixels, bytes).
    fn through([(x0, y0), (x1, y1)]: [(f64, f64); 2]) -> Self {
        let per_pixel = ((y1 - y0) / (x1 - x0)).max(0.0);
        Need { fixed: (y0.max(y1) - per_pixel * x1).max(0.0), per_pixel }
    }

    fn at(&self, pixels: f64) -> f64 {
        self.fixed + self.per_pixel * pixels
    }
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
    let live = device.memory().live_bytes as f64;
    let limit = device.max_elements() as f64 * 4.0;
    let fits = |tile: usize| {
        let piece = Tiling::of_scene(&framing, tile, overlap).piece(&framing);
        let pixels: f64 = size
            .map(|side| piece.min(side.next_multiple_of(framing.stride) + 2 * framing.halo) as f64)
            .iter()
            .product();
        let within_cap = cap.is_none_or(|cap| live + ROUNDING * peak.at(pixels) <= cap as f64);
        within_cap && ROUNDING * largest.at(pixels) <= limit
    };
    let mut tile = if cap.is_some() { LARGEST } else { Tiling::TILE };
    while tile > SMALLEST && !fits(tile) {
        tile /= 2;
    }
    Ok(tile)
}

/// What painting a piece takes at its peak, and the largest single buffer of it.
fn needs(painter: &dyn Painter, look: &Look) -> Result<[Need; 2]> {
    let device = painter.device();
    let measure = |side: usize| -> Result<[(f64, f64); 2]> {
        let side = side + 2 * painter.framing().halo;
        let before = device.memory().live_bytes;
        device.reset_peak();
        paint_grey(painter, device, side, look)?;
        let memory = device.memory();
        let pixels = (side * side) as f64;
        Ok([memory.peak_bytes.saturating_sub(before), memory.largest_bytes].map(|bytes| (pixels, bytes as f64)))
    };
    let [small, large] = [measure(PROBES[0])?, measure(PROBES[1])?];
    Ok([Need::through([small[0], large[0]]), Need::through([small[1], large[1]])])
}

fn paint_grey(painter: &dyn Painter, device: &Device, side: usize, look: &Look) -> Result<()> {
    let mut piece = Pixels::new(side, side, painter.source_bands());
    piece.values.fill(0.5);
    painter.paint(&piece.to_tensor(device)?, look)?;
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
            paint_grey(&painter, painter.device(), side, &look).unwrap();
            tile
        });
        assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2] && sizes[2] >= SMALLEST, "{sizes:?}");
        // A scene that is smaller than its tile takes no more than itself.
        assert_eq!(best(&painter(Some(3 << 20)), [40, 40]), 2048);
    }

    #[test]
    fn needs_grow_along_the_line_through_what_was_measured() {
        let need = Need::through([(10.0, 120.0), (30.0, 160.0)]);
        assert_eq!((need.fixed, need.per_pixel, need.at(100.0)), (100.0, 2.0, 300.0));
        // Less for more pixels: what is kept is the larger one.
        assert_eq!(Need::through([(10.0, 120.0), (30.0, 100.0)]), Need { fixed: 120.0, per_pixel: 0.0 });
    }
}
