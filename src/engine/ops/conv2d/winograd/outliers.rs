//! Which tiles of Winograd's filtering hold values that its roundings would carry to outputs that do not read them.
//!
//! A tile's transforms mix all of its 36 input pixels and take them apart again, up to roundings of some 4e-6 of the
//! largest. That is nothing beside outputs whose own 3x3 pixels are about as large. It is much beside those of a window
//! of pixels that are all far smaller; and a NaN or an infinity cannot be taken out again at all.

use crate::engine::blocks;
use crate::engine::ops::conv2d::winograd::tiles::{POINTS, SIDE};
use crate::engine::ops::gemm::with_wide_vectors;

/// How many times larger than the largest pixel that an output reads a pixel of its tile may be: roundings of 4e-6 of
/// it are then 1e-3 of what the output reads, the tolerance of a sum of 9 * 64 products.
const RATIO: f32 = 256.0;

/// All bits but the sign: of these, larger ones are larger magnitudes, infinity is above all numbers and NaN above
/// infinity.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// Channels that are looked at together. With 16 the compiler makes vectors of values that lie 16 apart, by gathers.
const WIDE: usize = 64;

/// Pixels that one rayon task works on.
const BLOCK: usize = 256;

/// The bits of the largest magnitude of each pixel of `x`.
pub fn peaks(x: &[f32], channels: usize, peaks: &mut [u32]) {
    blocks::share(peaks.chunks_mut(BLOCK).zip(x.chunks(BLOCK * channels)), |_, (peaks, x)| {
        with_wide_vectors(
            #[inline(always)]
            || {
                for (peak, x) in peaks.iter_mut().zip(x.chunks_exact(channels)) {
                    let (wide, rest) = x.as_chunks::<WIDE>();
                    let mut lanes = [0u32; WIDE];
                    for x in wide {
                        for (lane, x) in lanes.iter_mut().zip(x) {
                            *lane = (*lane).max(x.to_bits() & MAGNITUDE);
                        }
                    }
                    for (lane, x) in lanes.iter_mut().zip(rest) {
                        *lane = (*lane).max(x.to_bits() & MAGNITUDE);
                    }
                    *peak = lanes.iter().fold(0, |most, lane| most.max(*lane));
                }
            },
        );
    });
}

/// Whether no pixel is too large beside any other; pixels of zeros do not count.
pub fn even(peaks: &[u32]) -> bool {
    // Less one, so that zero is above all.
    let (least, most) = peaks
        .iter()
        .fold((u32::MAX, 0), |(least, most): (u32, u32), peak| (least.min(peak.wrapping_sub(1)), most.max(*peak)));
    within(least.wrapping_add(1), most)
}

fn within(least: u32, most: u32) -> bool {
    let most = f32::from_bits(most);
    most.is_finite() && most <= RATIO * f32::from_bits(least)
}

/// Whether a tile has to be filtered directly: the pixels of each of its grids, `None` outside the image, under a
/// kernel of `taps` a side.
///
/// Outputs that read zeros only do not count: they are right to 4e-6 of the tile's largest value.
pub fn uneven(grids: &[[Option<usize>; POINTS]], taps: usize, peaks: &[u32]) -> bool {
    let mut tile = [0; POINTS];
    for (i, peak) in tile.iter_mut().enumerate() {
        *peak = grids.iter().filter_map(|pixels| pixels[i]).map(|pixel| peaks[pixel]).fold(0, u32::max);
    }
    if even(&tile) {
        return false;
    }
    let most = tile.iter().fold(0, |most, peak| most.max(*peak));
    let step = SIDE + 1 - taps;
    let least = (0..step * step).filter_map(|output| {
        let first = output / step * SIDE + output % step;
        let window = (0..taps * taps).map(|tap| tile[first + tap / taps * SIDE + tap % taps]).fold(0, u32::max);
        (window > 0).then_some(window)
    });
    !within(least.min().unwrap_or(most), most)
}
