//! The Q bin centres in the ab plane that a classifier chooses from.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::imaging::color::lab::srgb8_to_lab;
use crate::random::{Rng, Stream};

/// The ab plane as the histogram and the lookup tables see it: `-AB_REACH <= a, b < AB_REACH`.
///
/// Every sRGB colour lies well inside (a within -87..99, b within -108..95).
pub const AB_REACH: i32 = 128;

/// Cells along one side of the plane.
const SIDE: usize = 2 * AB_REACH as usize;

/// Lloyd's algorithm stops here when the assignment has not come to rest before.
const KMEANS_ITERATIONS: usize = 200;
/// Points whose nearest centres one task finds.
const AT_ONCE: usize = 256;

/// How many pixels fall into each cell of one ab unit: all that the bins need to know of a training set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbHistogram {
    counts: Vec<u64>,
}

impl Default for AbHistogram {
    fn default() -> Self {
        AbHistogram { counts: vec![0; SIDE * SIDE] }
    }
}

impl AbHistogram {
    /// Counts one colour. Values outside [`AB_REACH`] go to the nearest cell.
    #[inline]
    pub fn add(&mut self, ab: [f32; 2]) {
        let cell = |v: f32| (v.floor() as i32).clamp(-AB_REACH, AB_REACH - 1) + AB_REACH;
        self.counts[cell(ab[0]) as usize * SIDE + cell(ab[1]) as usize] += 1;
    }

    /// Adds the counts of another histogram; integers, so the order of merging does not matter.
    pub fn merge(&mut self, other: &AbHistogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// What [`AbHistogram::counts`] are the counts of; cells that are missing are empty.
    pub(crate) fn of_counts(mut counts: Vec<u64>) -> Self {
        counts.resize(SIDE * SIDE, 0);
        AbHistogram { counts }
    }

    /// The counts of all cells, by a then b.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The cells that are not empty, by a then b: the lower corner `[floor(a), floor(b)]` and the count.
    pub fn occupied(&self) -> impl Iterator<Item = ([i32; 2], u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| ([(index / SIDE) as i32 - AB_REACH, (index % SIDE) as i32 - AB_REACH], *count))
    }
}

/// The Q colour bins of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// Centres `[a, b]`, by a and then b unless they were read from a file.
    pub centres: Vec<[f32; 2]>,
}

impl Bins {
    /// `count` colours on a square lattice over the ab plane, -110..110: for what needs bins and has no data.
    pub fn lattice(count: usize) -> Bins {
        let side = (1..=count).find(|side| side * side >= count).unwrap_or(1);
        let place = |i: usize| 220.0 * (i as f32 + 0.5) / side as f32 - 110.0;
        Bins { centres: (0..count).map(|i| [place(i / side), place(i % side)]).collect() }
    }

    /// Centres of the `width`-wide cells (`floor(ab / width)`) that the histogram occupies.
    ///
    /// A centre is the middle of its cell. The published code takes the corner, which moves every colour by half a
    /// cell.
    pub fn grid(histogram: &AbHistogram, width: u32) -> Result<Bins> {
        check_width(width)?;
        let cells = histogram.occupied().map(|(corner, _)| corner.map(|v| v.div_euclid(width as i32)));
        Ok(Self::of_cells(cells.collect(), width))
    }

    /// Centres of the `width`-wide cells that any 8-bit sRGB colour touches: 268 at width 10.
    ///
    /// Looks at all 2^24 colours, which takes some tenths of a second.
    pub fn gamut(width: u32) -> Result<Bins> {
        check_width(width)?;
        let histogram = (0..=255u8)
            .into_par_iter()
            .fold(AbHistogram::default, |mut histogram, r| {
                for g in 0..=255 {
                    for b in 0..=255 {
                        let lab = srgb8_to_lab([r, g, b]);
                        histogram.add([lab[1], lab[2]]);
                    }
                }
                histogram
            })
            .reduce(AbHistogram::default, |mut left, right| {
                left.merge(&right);
                left
            });
        Self::grid(&histogram, width)
    }

    /// K-means over the histogram (each cell of one unit stands at its middle with its count as weight).
    ///
    /// k-means++ seeding (Arthur and Vassilvitskii 2007) from `seed`, then Lloyd's iterations; a cluster that runs
    /// empty moves to the cell that adds most to the squared error. Fails when there are fewer occupied cells than `k`.
    pub fn kmeans(histogram: &AbHistogram, k: usize, seed: u64) -> Result<Bins> {
        let points: Vec<([f64; 2], f64)> =
            histogram.occupied().map(|(corner, count)| (corner.map(|v| f64::from(v) + 0.5), count as f64)).collect();
        if k == 0 || k > points.len() {
            return Err(Error::input(
                format!("the training images have {} distinct ab values", points.len()),
                format!("⟨bins⟩ kmeans:{k}"),
                format!("ask for 1 to {} bins, or use ⟨bins⟩ grid", points.len()),
            ));
        }
        let mut centres = seed_centres(&points, k, &Rng::new(seed, Stream::Bins, 0));
        let mut assigned = vec![usize::MAX; points.len()];
        for _ in 0..KMEANS_ITERATIONS {
            let mut nearest = vec![(0, 0.0); points.len()];
            let blocks = nearest.chunks_mut(AT_ONCE).zip(points.chunks(AT_ONCE));
            blocks::share(blocks, |_, (nearest, points)| {
                nearest.iter_mut().zip(points).for_each(|(nearest, (ab, _))| *nearest = nearest_centre(&centres, *ab));
            });
            let moved = nearest.iter().zip(&assigned).any(|((index, _), old)| index != old);
            assigned = nearest.iter().map(|(index, _)| *index).collect();
            if !moved {
                break;
            }
            update_centres(&points, &nearest, &mut assigned, &mut centres);
        }
        let mut centres: Vec<[f32; 2]> = centres.iter().map(|c| c.map(|v| v as f32)).collect();
        centres.sort_by(|x, y| x[0].total_cmp(&y[0]).then(x[1].total_cmp(&y[1])));
        Ok(Bins { centres })
    }

    /// Q.
    pub fn len(&self) -> usize {
        self.centres.len()
    }

    /// Whether there is no bin at all.
    pub fn is_empty(&self) -> bool {
        self.centres.is_empty()
    }

    /// Sorted, distinct cells to centres.
    fn of_cells(mut cells: Vec<[i32; 2]>, width: u32) -> Bins {
        cells.sort_unstable();
        cells.dedup();
        let middle = |v: i32| (f64::from(v) * f64::from(width) + f64::from(width) / 2.0) as f32;
        Bins { centres: cells.into_iter().map(|cell| cell.map(middle)).collect() }
    }
}

fn check_width(width: u32) -> Result<()> {
    crate::ensure!(
        (1..=AB_REACH as u32).contains(&width),
        Error::input(format!("a bin is {width} wide"), "⟨bin-width⟩", format!("use 1 to {AB_REACH}; 10 is usual"))
    );
    Ok(())
}

fn squared_distance(x: [f64; 2], y: [f64; 2]) -> f64 {
    (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2)
}

/// The nearest centre (the lowest index of equals) and its squared distance.
fn nearest_centre(centres: &[[f64; 2]], ab: [f64; 2]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (index, centre) in centres.iter().enumerate() {
        let distance = squared_distance(*centre, ab);
        if distance < best.1 {
            best = (index, distance);
        }
    }
    best
}

/// k-means++: each next centre is a point drawn with probability proportional to weight times squared distance.
fn seed_centres(points: &[([f64; 2], f64)], k: usize, rng: &Rng) -> Vec<[f64; 2]> {
    let mut centres = Vec::with_capacity(k);
    // Before the first centre every point counts by its weight alone.
    let mut distances = vec![1.0; points.len()];
    for draw in 0..k as u64 {
        let total: f64 = points.iter().zip(&distances).map(|((_, weight), d)| weight * d).sum();
        let mut left = f64::from(rng.uniform(draw)) * total;
        // Rounding may leave a rest at the end: the last point that is not yet a centre takes it.
        let mut chosen = 0;
        for (index, ((_, weight), distance)) in points.iter().zip(&distances).enumerate() {
            if *distance > 0.0 {
                chosen = index;
                left -= weight * distance;
                if left < 0.0 {
                    break;
                }
            }
        }
        let centre = points[chosen].0;
        for ((ab, _), distance) in points.iter().zip(&mut distances) {
            let new = squared_distance(*ab, centre);
            *distance = if draw == 0 { new } else { distance.min(new) };
        }
        centres.push(centre);
    }
    centres
}

/// Moves each centre to the weighted mean of its points, and an empty one to the point with the largest error.
fn update_centres(
    points: &[([f64; 2], f64)],
    nearest: &[(usize, f64)],
    assigned: &mut [usize],
    centres: &mut [[f64; 2]],
) {
    let mut sums = vec![[0.0f64; 3]; centres.len()];
    for ((ab, weight), (index, _)) in points.iter().zip(nearest) {
        let sum = &mut sums[*index];
        *sum = [sum[0] + weight * ab[0], sum[1] + weight * ab[1], sum[2] + weight];
    }
    let mut errors: Vec<f64> = points.iter().zip(nearest).map(|((_, weight), (_, d))| weight * d).collect();
    for (index, (centre, sum)) in centres.iter_mut().zip(&sums).enumerate() {
        if sum[2] > 0.0 {
            *centre = [sum[0] / sum[2], sum[1] / sum[2]];
            continue;
        }
        let worst = (0..errors.len()).fold(0, |best, i| if errors[i] > errors[best] { i } else { best });
        *centre = points[worst].0;
        errors[worst] = 0.0;
        assigned[worst] = index;
    }
}

/// How to choose the bins: the text of `bins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BinSpec {
    /// The grid cells that the training images occupy: `grid`.
    Grid,
    /// The grid cells that any 8-bit sRGB colour touches: `gamut`.
    Gamut,
    /// K-means with this many centres (at least 1): `kmeans:K`.
    KMeans(usize),
}

impl BinSpec {
    /// Makes the bins. `width` (whole ab units) is read by the grids, `seed` by K-means, the histogram by `grid` and
    /// `kmeans`.
    pub fn bins(self, histogram: &AbHistogram, width: u32, seed: u64) -> Result<Bins> {
        match self {
            BinSpec::Grid => Bins::grid(histogram, width),
            BinSpec::Gamut => Bins::gamut(width),
            BinSpec::KMeans(k) => Bins::kmeans(histogram, k, seed),
        }
    }
}

impl FromStr for BinSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let spec = match text {
            "grid" => Some(BinSpec::Grid),
            "gamut" => Some(BinSpec::Gamut),
            _ => text.strip_prefix("kmeans:").and_then(|k| k.parse().ok()).filter(|k| *k > 0).map(BinSpec::KMeans),
        };
        spec.ok_or_else(|| {
            Error::input(
                "no such choice of colour bins",
                format!("⟨bins⟩ {text}"),
                "use grid, gamut, or kmeans:K with K of 1 or more",
            )
        })
    }
}

impl fmt::Display for BinSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BinSpec::Grid => f.write_str("grid"),
            BinSpec::Gamut => f.write_str("gamut"),
            BinSpec::KMeans(k) => write!(f, "kmeans:{k}"),
        }
    }
}

impl TryFrom<String> for BinSpec {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<BinSpec> for String {
    fn from(spec: BinSpec) -> String {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    fn histogram_of(colours: &[[f32; 2]]) -> AbHistogram {
        let mut histogram = AbHistogram::default();
        colours.iter().for_each(|ab| histogram.add(*ab));
        histogram
    }

    #[test]
    fn grid_centres_lie_in_the_middle_of_occupied_cells_by_a_then_b() {
        let histogram = histogram_of(&[[12.0, -0.1], [-0.1, 3.0], [12.5, 9.9], [19.9, 0.0], [-3.0, 9.0]]);
        assert_eq!(Bins::grid(&histogram, 10).unwrap().centres, [[-5.0, 5.0], [15.0, -5.0], [15.0, 5.0]]);
        assert_eq!(Bins::grid(&histogram, 5).unwrap().centres[0], [-2.5, 2.5]);
    }

    #[test]
    fn the_gamut_has_268_bins_of_width_10() {
        assert_eq!(Bins::gamut(10).unwrap().len(), 268);
    }

    #[test]
    fn a_bin_width_of_zero_is_refused() {
        let error = Bins::grid(&AbHistogram::default(), 0).unwrap_err();
        assert!(error.to_string().contains("bin-width"), "{error}");
    }

    /// Three groups of colours far apart, with spreads of a few units.
    fn three_groups() -> AbHistogram {
        let rng = Rng::new(5, Stream::Test, 0);
        let middles = [[-50.0, 20.0], [40.0, 60.0], [10.0, -70.0]];
        let mut histogram = AbHistogram::default();
        for i in 0..3000u64 {
            let middle = middles[(i % 3) as usize];
            histogram.add([middle[0] + 3.0 * rng.normal(2 * i), middle[1] + 3.0 * rng.normal(2 * i + 1)]);
        }
        histogram
    }

    #[test]
    fn kmeans_finds_the_groups() {
        let bins = Bins::kmeans(&three_groups(), 3, 0).unwrap();
        for (centre, want) in bins.centres.iter().zip([[-50.0, 20.0], [10.0, -70.0], [40.0, 60.0]]) {
            // Five standard errors of a mean of 1000 values with spread 3.
            assert!(
                abs_diff_eq!(centre[0], want[0], epsilon = 0.5) && abs_diff_eq!(centre[1], want[1], epsilon = 0.5),
                "{:?}",
                bins.centres
            );
        }
    }

    #[test]
    fn kmeans_gives_the_same_distinct_centres_for_the_same_seed() {
        let histogram = three_groups();
        let bins = Bins::kmeans(&histogram, 40, 9).unwrap();
        assert_eq!(bins, Bins::kmeans(&histogram, 40, 9).unwrap());
        assert_eq!(bins.len(), 40);
        assert!(bins.centres.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", bins.centres);
    }

    #[test]
    fn kmeans_at_a_local_optimum_has_every_centre_at_the_mean_of_its_points() {
        let histogram = three_groups();
        let bins = Bins::kmeans(&histogram, 12, 4).unwrap();
        let centres: Vec<[f64; 2]> = bins.centres.iter().map(|c| c.map(f64::from)).collect();
        let mut sums = vec![[0.0; 3]; 12];
        for (corner, count) in histogram.occupied() {
            let ab = corner.map(|v| f64::from(v) + 0.5);
            let sum = &mut sums[nearest_centre(&centres, ab).0];
            *sum = [sum[0] + ab[0] * count as f64, sum[1] + ab[1] * count as f64, sum[2] + count as f64];
        }
        for (centre, sum) in centres.iter().zip(&sums) {
            // f32 rounding of the stored centre.
            assert!(abs_diff_eq!(sum[0] / sum[2], centre[0], epsilon = 1e-4), "{centre:?}, {sum:?}");
        }
    }

    #[test]
    fn an_empty_cluster_moves_to_the_worst_point() {
        let points = [([0.0, 0.0], 1.0), ([1.0, 0.0], 1.0), ([9.0, 0.0], 1.0)];
        let mut centres = vec![[0.0, 0.0], [100.0, 100.0]];
        let nearest: Vec<_> = points.iter().map(|(ab, _)| nearest_centre(&centres, *ab)).collect();
        let mut assigned = vec![0; 3];
        update_centres(&points, &nearest, &mut assigned, &mut centres);
        assert_eq!(centres[1], [9.0, 0.0]);
        assert_eq!(assigned, [0, 0, 1]);
    }

    #[test]
    fn more_clusters_than_colours_are_refused() {
        let error = Bins::kmeans(&histogram_of(&[[0.0, 0.0], [5.0, 5.0]]), 3, 0).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("1 to 2 bins"), "{error}");
    }

    #[test]
    fn bin_specs_read_and_print_the_flag() {
        for text in ["grid", "gamut", "kmeans:274"] {
            assert_eq!(text.parse::<BinSpec>().unwrap().to_string(), text);
        }
        for text in ["kmeans:0", "kmeans:", "kmeans:-3", "kmeans", "", "Grid"] {
            let error = text.parse::<BinSpec>().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("bins {text}")), "{error}");
        }
    }
}
