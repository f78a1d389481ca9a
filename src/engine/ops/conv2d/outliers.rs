//! Which tiles of Winograd's filtering hold values that its roundings would carry to outputs that do not read them.
//!
//! A tile's transforms mix all of its 36 input pixels and take them apart again, up to roundings of some 4e-6 of the
//! largest. That is nothing beside outputs whose own 3x3 pixels are about as large. It is much beside those of a window
//! of pixels that are all far smaller; and a NaN or an infinity cannot be taken out again at all.

use crate::engine::ops::conv2d::transform::LANES;
use crate::engine::ops::gemm::with_wide_vectors;
use rayon::prelude::*;

/// How many times larger than the largest pixel that an output reads a pixel of its tile may be: roundings of 4e-6 of
/// it are then 1e-3 of what the output reads, the tolerance of a sum of 9 * 64 products.
const RATIO: f32 = 256.0;

/// All bits but the sign: of these, larger ones are larger magnitudes, infinity is above all numbers and NaN above
/// infinity.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// Pixels that one rayon task works on.
const BLOCK: usize = 256;

/// The bits of the largest magnitude of each pixel of `x`, whose channels are a multiple of [`LANES`].
pub fn peaks(x: &[f32], channels: usize, peaks: &mut [u32]) {
    peaks.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK * channels)).for_each(|(peaks, x)| {
        with_wide_vectors(
            #[inline(always)]
            || {
                for (peak, x) in peaks.iter_mut().zip(x.chunks_exact(channels)) {
                    let mut lanes = [0u32; LANES];
                    for x in x.as_chunks::<LANES>().0 {
                        for (lane, x) in lanes.iter_mut().zip(x) {
                            *lane = (*lane).max(x.to_bits() & MAGNITUDE);
                        }
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

/// Whether a tile of pixels, `None` outside the image, has to be filtered directly.
///
/// Outputs that read zeros only do not count: they are right to 4e-6 of the tile's largest value.
pub fn uneven(tile: &[Option<usize>; 36], peaks: &[u32]) -> bool {
    let peaks = tile.map(|pixel| pixel.map_or(0, |pixel| peaks[pixel]));
    if even(&peaks) {
        return false;
    }
    let most = peaks.iter().fold(0, |most, peak| most.max(*peak));
    let least = (0..16).filter_map(|output| {
        let first = output / 4 * 6 + output % 4;
        let window = (0..9).map(|tap| peaks[first + tap / 3 * 6 + tap % 3]).fold(0, u32::max);
        (window > 0).then_some(window)
    });
    !within(least.min().unwrap_or(most), most)
}
