//! Soft encoding: a colour as weights over its five nearest bins.

use crate::imaging::color::bins::{AB_REACH, Bins};

/// How many bins share a colour.
pub const NEIGHBOURS: usize = 5;

/// Side of a lookup cell in ab units: small enough for few candidates, large enough for a table of some 100 KB.
const CELL: usize = 4;

/// Lookup cells along one side of the ab plane.
const CELLS: usize = 2 * AB_REACH as usize / CELL;

/// The bins and the weights (sum 1, falling) of one colour, nearest first.
pub type SoftCode = ([u32; NEIGHBOURS], [f32; NEIGHBOURS]);

/// Finds the five nearest bins of a colour exactly, by a table of candidates per cell of the ab plane.
///
/// Let `far` be the fifth smallest, over the bins, of the largest distance from a bin to a point of the cell. Every
/// point of the cell then has five bins within `far`, so a bin whose smallest distance to the cell exceeds `far` is
/// never among a point's five nearest: leaving it out changes nothing.
#[derive(Debug, Clone)]
pub struct SoftEncoder {
    centres: Vec<[f32; 2]>,
    /// `-1 / (2 sigma^2)`.
    exponent: f32,
    /// Candidates of cell `i`, by index: `candidates[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    candidates: Vec<u32>,
    /// All bins, for colours outside the table.
    all: Vec<u32>,
}

impl SoftEncoder {
    /// An encoder over `bins` with Gaussian weights of `sigma` (ab units, above 0).
    pub fn new(bins: &Bins, sigma: f32) -> Self {
        let mut starts = vec![0];
        let mut candidates = Vec::new();
        let mut reach = Vec::with_capacity(bins.len());
        for cell in 0..CELLS * CELLS {
            let low = [cell / CELLS, cell % CELLS].map(|i| (i * CELL) as f64 - f64::from(AB_REACH));
            reach.clear();
            reach.extend(bins.centres.iter().map(|centre| distances_to_cell(low, centre.map(f64::from))));
            let mut largest: Vec<f64> = reach.iter().map(|(_, far)| *far).collect();
            // Fewer than five bins: all are neighbours.
            let far = if largest.len() > NEIGHBOURS {
                *largest.select_nth_unstable_by(NEIGHBOURS - 1, f64::total_cmp).1
            } else {
                f64::INFINITY
            };
            // The slack covers the rounding of f32 distances, which could let bins change places in `nearest`.
            let far = far * (1.0 + 1e-5) + 1e-3;
            candidates.extend((0u32..).zip(&reach).filter(|(_, (near, _))| *near <= far).map(|(index, _)| index));
            starts.push(candidates.len() as u32);
        }
        SoftEncoder {
            centres: bins.centres.clone(),
            exponent: -0.5 / (sigma * sigma),
            starts,
            candidates,
            all: (0..bins.len() as u32).collect(),
        }
    }

    /// Q.
    pub fn bins(&self) -> usize {
        self.centres.len()
    }

    /// The five nearest bins of `ab` with weights `exp(-d^2 / (2 sigma^2))`, normalised to sum 1.
    ///
    /// Nearest first; the lower index first where distances are equal. With fewer than five bins the places left over
    /// repeat the first bin with weight 0. `ab` is finite. The nearest bin's `d^2` is subtracted from all exponents,
    /// which cancels in the normalisation and keeps far colours from becoming 0 / 0.
    #[inline]
    pub fn encode(&self, ab: [f32; 2]) -> SoftCode {
        let (index, distance) = nearest(&self.centres, self.candidates_of(ab), ab);
        let mut weight = distance.map(|d| ((d - distance[0]) * self.exponent).exp());
        let sum: f32 = weight.iter().sum();
        weight.iter_mut().for_each(|w| *w /= sum);
        (index, weight)
    }

    /// The bin that `ab` most likely belongs to: the nearest, the lowest index of equals.
    #[inline]
    pub fn most_likely(&self, ab: [f32; 2]) -> u32 {
        nearest(&self.centres, self.candidates_of(ab), ab).0[0]
    }

    /// The bins that can be among the five nearest of `ab`, by index.
    #[inline]
    fn candidates_of(&self, ab: [f32; 2]) -> &[u32] {
        let reach = AB_REACH as f32;
        if ab.iter().all(|v| (-reach..reach).contains(v)) {
            let [a, b] = ab.map(|v| (v + reach) as usize / CELL);
            // `v + reach` may round up to the far border.
            let cell = a.min(CELLS - 1) * CELLS + b.min(CELLS - 1);
            &self.candidates[self.starts[cell] as usize..self.starts[cell + 1] as usize]
        } else {
            &self.all
        }
    }
}

/// Smallest and largest squared distance from `centre` to the cell whose lower corner is `low`.
fn distances_to_cell(low: [f64; 2], centre: [f64; 2]) -> (f64, f64) {
    let (mut near, mut far) = (0.0, 0.0);
    for axis in 0..2 {
        let (below, above) = (low[axis] - centre[axis], centre[axis] - (low[axis] + CELL as f64));
        near += below.max(above).max(0.0).powi(2);
        far += below.abs().max(above.abs()).powi(2);
    }
    (near, far)
}

/// The five nearest of `candidates` (ascending indices) with their squared distances; places left over repeat the first
/// index at an infinite distance.
#[inline]
fn nearest(centres: &[[f32; 2]], candidates: &[u32], ab: [f32; 2]) -> ([u32; NEIGHBOURS], [f32; NEIGHBOURS]) {
    let mut index = [u32::MAX; NEIGHBOURS];
    let mut distance = [f32::INFINITY; NEIGHBOURS];
    for &candidate in candidates {
        let centre = centres[candidate as usize];
        let (da, db) = (ab[0] - centre[0], ab[1] - centre[1]);
        let d = da * da + db * db;
        // Strictly less: of equals, the earlier index stays in front.
        if d < distance[NEIGHBOURS - 1] {
            let mut place = NEIGHBOURS - 1;
            while place > 0 && d < distance[place - 1] {
                (index[place], distance[place]) = (index[place - 1], distance[place - 1]);
                place -= 1;
            }
            (index[place], distance[place]) = (candidate, d);
        }
    }
    // No bin is nearer than infinity to a colour that is not finite.
    let first = if index[0] == u32::MAX { 0 } else { index[0] };
    (index.map(|i| if i == u32::MAX { first } else { i }), distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    /// All bins sorted by distance, then index, weights in f64.
    fn reference(bins: &Bins, sigma: f64, ab: [f32; 2]) -> (Vec<u32>, Vec<f64>) {
        let mut order: Vec<(f32, u32)> = (0u32..)
            .zip(&bins.centres)
            .map(|(i, c)| ((ab[0] - c[0]) * (ab[0] - c[0]) + (ab[1] - c[1]) * (ab[1] - c[1]), i))
            .collect();
        order.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
        order.truncate(NEIGHBOURS);
        let weights: Vec<f64> =
            order.iter().map(|(d, _)| (-f64::from(*d - order[0].0) / (2.0 * sigma * sigma)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (order.iter().map(|(_, i)| *i).collect(), weights.iter().map(|w| w / sum).collect())
    }

    fn assert_exact(bins: &Bins, points: impl Iterator<Item = [f32; 2]>) {
        let encoder = SoftEncoder::new(bins, 5.0);
        for ab in points {
            let (index, weight) = encoder.encode(ab);
            let (want_index, want_weight) = reference(bins, 5.0, ab);
            assert_eq!(index[..want_index.len()], want_index[..], "{ab:?}");
            for (w, want) in weight.iter().zip(&want_weight) {
                // A few roundings of exp, sum and quotient, each 6e-8.
                assert!(abs_diff_eq!(f64::from(*w), want, epsilon = 1e-6), "{ab:?}: {weight:?}, {want_weight:?}");
            }
            assert_eq!(encoder.most_likely(ab), want_index[0]);
        }
    }

    fn random_points(n: u64, half_width: f32) -> impl Iterator<Item = [f32; 2]> {
        let rng = Rng::new(3, Stream::Test, 1);
        (0..n).map(move |i| [2 * i, 2 * i + 1].map(|k| (2.0 * rng.uniform(k) - 1.0) * half_width))
    }

    #[test]
    fn the_table_finds_what_a_search_over_all_bins_finds() {
        let gamut = Bins::gamut(10).unwrap();
        assert_exact(&gamut, random_points(20_000, 128.0));
        // Outside the table, and far enough for plain exponents to underflow.
        assert_exact(&gamut, random_points(500, 1000.0));
        let scattered = Bins { centres: random_points(64, 100.0).collect() };
        assert_exact(&scattered, random_points(20_000, 128.0));
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        // Cell corners and edges of the grid: up to four bins at equal distance, and borders of lookup cells.
        let bins = Bins::gamut(10).unwrap();
        let corners = (-10..10).flat_map(|i| (-10..10).map(move |j| [i as f32 * 5.0, j as f32 * 5.0]));
        assert_exact(&bins, corners);
    }

    #[test]
    fn weights_sum_to_one_even_for_colours_far_from_every_bin() {
        let encoder = SoftEncoder::new(&Bins { centres: vec![[100.0, 90.0], [90.0, 90.0]] }, 5.0);
        let (index, weight) = encoder.encode([-100.0, -100.0]);
        assert_eq!(index[0], 1);
        assert!(abs_diff_eq!(weight.iter().sum::<f32>(), 1.0, epsilon = 1e-6), "{weight:?}");
    }

    #[test]
    fn fewer_bins_than_neighbours_leave_weights_of_zero() {
        let bins = Bins { centres: vec![[0.0, 0.0], [0.0, 8.0]] };
        let (index, weight) = SoftEncoder::new(&bins, 5.0).encode([0.0, 7.0]);
        assert_eq!(index, [1, 0, 1, 1, 1]);
        assert_eq!(weight[2..], [0.0; 3]);
        assert_abs_diff_eq!(weight[0] + weight[1], 1.0, epsilon = 1e-6);
    }
}
