//! The task: which of eight figures is on a small grey picture?
//!
//! Place, size, angle, contrast, shading and noise of each picture are drawn at random, so that no two are alike and as
//! many can be made as are wanted.

use huetape::random::{Rng, Stream};

/// Pixels along a side of a picture.
pub const SIZE: usize = 16;
/// The figures; a label is a place in this list.
pub const NAMES: [&str; 8] = ["disc", "ring", "square", "frame", "triangle", "cross", "bar", "two bars"];
/// Standard deviation of the noise, beside a contrast of 0.7 to 1.
const NOISE: f32 = 0.2;
/// The first random number for pixels; those before are for the figure.
const PIXELS: u64 = 64;

/// Pictures and what is on them.
pub struct Figures {
    /// `[N, SIZE, SIZE, 1]`, values about 0.
    pub pixels: Vec<f32>,
    /// `[N]`, places in [`NAMES`].
    pub labels: Vec<usize>,
}

impl Figures {
    /// Pictures number `first..first + count` of those that `seed` stands for.
    pub fn new(seed: u64, first: u32, count: u32) -> Self {
        let mut figures = Figures { pixels: Vec::new(), labels: Vec::new() };
        for number in first..first + count {
            let rng = Rng::new(seed, Stream::Scene, number);
            let label = rng.below(0, NAMES.len());
            figures.labels.push(label);
            figures.pixels.extend(picture(label, &rng));
        }
        figures
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of picture `i`.
    pub fn picture(&self, i: usize) -> &[f32] {
        &self.pixels[i * SIZE * SIZE..][..SIZE * SIZE]
    }
}

/// One picture of the figure `label`, `[SIZE, SIZE]`.
fn picture(label: usize, rng: &Rng) -> impl Iterator<Item = f32> {
    let within = |index, low: f32, high: f32| low + (high - low) * rng.uniform(index);
    let middle = 0.5 * (SIZE as f32 - 1.0);
    let (centre_x, centre_y) = (middle + within(1, -1.5, 1.5), middle + within(2, -1.5, 1.5));
    let radius = within(3, 4.5, 6.5);
    let (sin, cos) = within(4, -0.4, 0.4).sin_cos();
    let contrast = within(5, 0.7, 1.0) * if rng.uniform(6) < 0.5 { -1.0 } else { 1.0 };
    let (shade_x, shade_y) = (within(7, -0.5, 0.5), within(8, -0.5, 0.5));
    let rng = *rng;
    (0..SIZE * SIZE).map(move |pixel| {
        let (x, y) = ((pixel % SIZE) as f32, (pixel / SIZE) as f32);
        let (dx, dy) = ((x - centre_x) / radius, (y - centre_y) / radius);
        let distance = radius * distance(label, cos * dx + sin * dy, cos * dy - sin * dx);
        let figure = contrast * (0.5 - distance).clamp(0.0, 1.0);
        let shade = (shade_x * (x - middle) + shade_y * (y - middle)) / middle;
        figure + shade + NOISE * rng.normal(PIXELS + pixel as u64)
    })
}

/// About how far (x, y) lies outside the figure (inside: below 0), which fits in the unit circle or a little more.
fn distance(label: usize, x: f32, y: f32) -> f32 {
    let radius = x.hypot(y);
    let (x, y, lower) = (x.abs(), y.abs(), y);
    let side = x.max(y);
    match NAMES[label] {
        "disc" => radius - 0.9,
        "ring" => (radius - 0.7).abs() - 0.25,
        "square" => side - 0.8,
        "frame" => (side - 0.65).abs() - 0.22,
        // Equilateral, its lower side level: two sides by their normals at 30 degrees, made one by symmetry.
        "triangle" => lower.max(0.866 * x - 0.5 * lower) - 0.5,
        "cross" => (x - 1.0).max(y - 0.3).min((x - 0.3).max(y - 1.0)),
        "bar" => (x - 1.0).max(y - 0.4),
        _ => (x - 1.0).max((y - 0.55).abs() - 0.25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_depends_on_its_seed_and_number_alone_and_every_figure_comes_up() {
        let all = Figures::new(3, 0, 200);
        let later = Figures::new(3, 150, 50);
        assert_eq!((all.picture(160), all.labels[160]), (later.picture(10), later.labels[10]));
        assert_ne!(all.picture(0), Figures::new(4, 0, 1).picture(0));
        assert!((0..NAMES.len()).all(|label| all.labels.contains(&label)));
    }

    #[test]
    fn every_two_figures_differ_in_an_eighth_of_their_area_or_more() {
        let at = |i: usize| (i as f32 - 20.0) / 16.0;
        let inside = |label, i: usize| distance(label, at(i % 41), at(i / 41)) < 0.0;
        for (a, b) in (0..NAMES.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let union = (0..41 * 41).filter(|&i| inside(a, i) || inside(b, i)).count();
            let common = (0..41 * 41).filter(|&i| inside(a, i) && inside(b, i)).count();
            assert!(8 * common <= 7 * union, "{} and {}: {common} of {union}", NAMES[a], NAMES[b]);
        }
    }
}
