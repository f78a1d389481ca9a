//! The likely displacement between a source and its target.
//!
//! Radar and optics agree on where borders are and which way they run, if on little else. Each pixel is described by
//! how strong its gradient is along eight directions, the sign left out, smoothed and normalised (channel features of
//! orientated gradients: Ye, Bruzzone, Shan, Bovolo, Zhu, "Fast and Robust Matching for Multimodal Remote Sensing Image
//! Registration", TGRS 2019). The displacement is where these descriptions are most alike.

use crate::imaging::picture::{Picture, Reading};

/// Shifts are sought this far in every direction, in pixels.
const REACH: usize = 8;

/// Largest side of the four parts of an image, in pixels: more changes little and takes its time.
const PART: usize = 320;

/// Smallest side of a part: below, chance decides.
const SMALLEST_PART: usize = 64;

/// Every how many pixels descriptions are compared; they are smooth, so that neighbours say much the same.
const STRIDE: usize = 4;

/// Directions of gradients, over half a turn.
const DIRECTIONS: usize = 8;

/// How many of the four parts of an image must find the same shift, within [`SAME`] pixels.
const AGREEING: usize = 3;

/// How far apart two shifts may be to count as the same, in pixels in x and in y.
const SAME: i32 = 1;

/// A likely displacement: what is at (x, y) in the source is at (x + dx, y + dy) in the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Pixels to the right, -8..8.
    pub dx: f32,
    /// Pixels down, -8..8.
    pub dy: f32,
    /// The share of the image's four parts that agree, 0.75 or 1.
    pub confidence: f32,
}

/// Where `target` lies beside `source` (of the same size, read by `reading`), if most parts of the image agree on it.
///
/// Each quarter of the image is matched by itself: chance gives each another answer. `None` where the quarters
/// disagree, where there is nothing to hold on to, and where the image is smaller than 128 pixels.
pub fn likely_shift(source: &Picture, reading: Reading, target: &Picture) -> Option<Shift> {
    let quarter = [source.info.width / 2, source.info.height / 2];
    let side = quarter.map(|half| half.min(PART));
    if side.iter().any(|s| *s < SMALLEST_PART) {
        return None;
    }
    let found: Vec<(i32, i32)> = [(0, 0), (1, 0), (0, 1), (1, 1)]
        .into_iter()
        .filter_map(|(i, j)| {
            let origin = [i * quarter[0] + (quarter[0] - side[0]) / 2, j * quarter[1] + (quarter[1] - side[1]) / 2];
            let from = Features::of(source, reading, origin, side);
            let to = Features::of(target, Reading::Grey { band: None }, origin, side);
            best_shift(&from, &to)
        })
        .collect();
    let near = |x: &(i32, i32), y: &(i32, i32)| (x.0 - y.0).abs() <= SAME && (x.1 - y.1).abs() <= SAME;
    let agreeing = |with: &(i32, i32)| found.iter().filter(|other| near(with, other)).copied().collect::<Vec<_>>();
    let group = found.iter().map(agreeing).reduce(|x, y| if y.len() > x.len() { y } else { x })?;
    let n = group.len() as f32;
    (group.len() >= AGREEING).then(|| Shift {
        dx: group.iter().map(|s| s.0 as f32).sum::<f32>() / n,
        dy: group.iter().map(|s| s.1 as f32).sum::<f32>() / n,
        confidence: n / 4.0,
    })
}

/// `[height, width, DIRECTIONS]`: gradient strength per direction, of length 1 per pixel where there is any.
struct Features {
    values: Vec<[f32; DIRECTIONS]>,
    width: usize,
    height: usize,
}

impl Features {
    fn of(picture: &Picture, reading: Reading, origin: [usize; 2], [width, height]: [usize; 2]) -> Self {
        let band = if let Reading::Grey { band } = reading { band } else { None };
        // Speckle multiplies: under a logarithm it has the same strength everywhere. Floats may hold anything.
        let level = |v: f32| if v.is_finite() { (v.max(0.0) + 0.02).ln() } else { 0.0 };
        let grey = (0..width * height)
            .map(|i| level(picture.grey(origin[0] + i % width, origin[1] + i / width, band)))
            .collect();
        let grey = blurred(grey, width);
        let direction: [(f32, f32); DIRECTIONS] =
            std::array::from_fn(|k| (std::f32::consts::PI * k as f32 / DIRECTIONS as f32).sin_cos());
        let mut channels = vec![vec![0.0; width * height]; DIRECTIONS];
        for y in 1..height - 1 {
            for x in 1..width - 1 {
                let i = y * width + x;
                let (gx, gy) = (grey[i + 1] - grey[i - 1], grey[i + width] - grey[i - width]);
                for (channel, (sin, cos)) in channels.iter_mut().zip(direction) {
                    channel[i] = (gx * cos + gy * sin).abs();
                }
            }
        }
        let channels: Vec<Vec<f32>> = channels.into_iter().map(|channel| blurred(channel, width)).collect();
        let values = (0..width * height)
            .map(|i| {
                let value: [f32; DIRECTIONS] = std::array::from_fn(|k| channels[k][i]);
                let length = value.iter().map(|v| v * v).sum::<f32>().sqrt();
                // Flat ground has noise for directions, and counts for little.
                value.map(|v| v / (length + 0.01))
            })
            .collect();
        Features { values, width, height }
    }
}

/// The shift within the reach at which the features differ least; `None` at the border of the search, where the best
/// place may lie beyond.
fn best_shift(from: &Features, to: &Features) -> Option<(i32, i32)> {
    let reach = REACH as i32;
    let mut best = (f32::INFINITY, (0, 0));
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let difference = difference(from, to, dx, dy);
            if difference < best.0 {
                best = (difference, (dx, dy));
            }
        }
    }
    let (_, (dx, dy)) = best;
    (best.0.is_finite() && dx.abs() < reach && dy.abs() < reach).then_some((dx, dy))
}

/// Sum of squared differences over the part of `from` that every shift of the search keeps inside.
fn difference(from: &Features, to: &Features, dx: i32, dy: i32) -> f32 {
    let (width, height) = (from.width, from.height);
    let mut sum = 0.0;
    for y in (REACH..height - REACH).step_by(STRIDE) {
        let other = (y as i32 + dy) as usize * width;
        // One sum a row keeps f32 accurate.
        let mut row = [0.0; DIRECTIONS];
        for x in (REACH..width - REACH).step_by(STRIDE) {
            let (u, v) = (&from.values[y * width + x], &to.values[other + (x as i32 + dx) as usize]);
            for k in 0..DIRECTIONS {
                row[k] += (u[k] - v[k]) * (u[k] - v[k]);
            }
        }
        sum += row.iter().sum::<f32>();
    }
    sum
}

/// Two passes of (1 1 1 1 1) / 5 both ways, close to a Gaussian of 2 pixels; borders are repeated.
fn blurred(mut values: Vec<f32>, width: usize) -> Vec<f32> {
    let height = values.len() / width;
    let mut across = vec![0.0; values.len()];
    let mut line = vec![0.0; width + 4];
    for _ in 0..2 {
        for (row, out) in values.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
            line[..2].fill(row[0]);
            line[2..width + 2].copy_from_slice(row);
            line[width + 2..].fill(row[width - 1]);
            for (value, taps) in out.iter_mut().zip(line.windows(5)) {
                *value = taps.iter().sum::<f32>() / 5.0;
            }
        }
        for (y, out) in values.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for k in y..y + 5 {
                let from = k.saturating_sub(2).min(height - 1) * width;
                for (value, tap) in out.iter_mut().zip(&across[from..from + width]) {
                    *value += tap / 5.0;
                }
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    #[test]
    fn blurring_keeps_a_constant_and_spreads_a_point_evenly() {
        assert!(blurred(vec![3.0; 6 * 4], 6).iter().all(|v| abs_diff_eq!(*v, 3.0, epsilon = 1e-5)));
        let mut point = vec![0.0; 21 * 19];
        point[9 * 21 + 10] = 1.0;
        let spread = blurred(point, 21);
        let total: f32 = spread.iter().sum();
        // The middle of the twice-applied box is 5/25 in each direction, and 4 pixels away it is 1/25.
        assert!(
            abs_diff_eq!(total, 1.0, epsilon = 1e-5) && abs_diff_eq!(spread[9 * 21 + 10], 0.04, epsilon = 1e-6),
            "{total}"
        );
        assert!(
            abs_diff_eq!(spread[9 * 21 + 14], spread[5 * 21 + 10], epsilon = 1e-7)
                && abs_diff_eq!(spread[9 * 21 + 14], 0.008, epsilon = 1e-6)
        );
        assert_eq!(spread[9 * 21 + 15], 0.0);
    }
}
