//! Synthetic scenes: an optical, a multispectral and a SAR image of one invented piece of land.
//!
//! All come from the same land-cover map. The optical one has natural colours, mild texture and relief; the
//! multispectral one near infrared as well, in which what grows is bright, the denser the brighter, and water is black.
//! The SAR one has a mean backscatter per cover (by roughness and moisture, which say nothing of optical brightness), a
//! texture per cover, bright edges and shadows of woods, strong point scatterers in towns, and multiplicative speckle:
//! an L-look intensity is gamma distributed with shape L and mean 1 (Goodman 1976).

mod map;
mod noise;

use map::Map;
use noise::{Draws, Fractal, blur, hashed};

use rayon::prelude::*;

pub use map::{Cover, Ground};

use crate::random::{Rng, Stream, unit};

/// The salts of `hashed` for rendering; the map's are below.
const PARCEL_COLOUR: u32 = 101;
const PARCEL_ECHO: u32 = 102;
const POINT_ECHO: u32 = 103;

/// Backscatter shown as black and as white, in dB.
const SHOWN_DB: [f32; 2] = [-25.0, 5.0];

/// A synthetic scene of `size` x `size` pixels of about ten metres.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Pixels along a side.
    pub size: usize,
    /// The land cover, `[size, size]`.
    pub ground: Vec<Ground>,
    rng: Rng,
    speckle: Rng,
}

/// How a cover looks to both sensors.
struct Look {
    /// sRGB, and near infrared on the same scale.
    bands: [f32; 4],
    /// Relative change of brightness from pixel to pixel.
    grain: f32,
    /// Mean backscatter in dB.
    echo: f32,
    /// Backscatter texture in dB, at the scale of a few pixels.
    rough: f32,
}

fn look(cover: Cover) -> Look {
    let look = |rgb: [u8; 3], infrared: u8, grain, echo, rough| {
        let [red, green, blue] = rgb;
        Look { bands: [red, green, blue, infrared].map(f32::from), grain, echo, rough }
    };
    match cover {
        Cover::Water => look([38, 64, 86], 10, 0.02, -22.0, 0.4),
        Cover::Forest => look([42, 72, 40], 150, 0.30, -7.5, 2.6),
        Cover::Meadow => look([112, 150, 74], 196, 0.07, -12.0, 0.8),
        Cover::Wheat => look([206, 182, 118], 164, 0.04, -14.5, 0.3),
        Cover::Maize => look([74, 122, 54], 216, 0.08, -8.5, 0.5),
        Cover::Rapeseed => look([206, 192, 76], 204, 0.05, -5.0, 0.8),
        Cover::Soil => look([146, 110, 82], 128, 0.07, -17.0, 0.8),
        Cover::Road => look([158, 155, 150], 96, 0.03, -19.5, 0.3),
        Cover::Garden => look([104, 124, 78], 168, 0.14, -6.5, 1.5),
        Cover::RedRoof => look([172, 94, 72], 118, 0.08, -1.0, 2.0),
        Cover::GreyRoof => look([164, 160, 160], 108, 0.06, -1.0, 2.0),
    }
}

impl Scene {
    /// Scene number `index` of `seed`: always the same one.
    pub fn new(seed: u64, index: u32, size: usize) -> Self {
        let rng = Rng::new(seed, Stream::Scene, index);
        let map = Map::new(rng, size);
        let ground = (0..size * size).into_par_iter().map(|i| map.ground(i % size, i / size)).collect();
        Scene { size, ground, rng, speckle: Rng::new(seed, Stream::Speckle, index) }
    }

    /// The optical image, 8-bit sRGB `[size, size, 3]`.
    pub fn optical(&self) -> Vec<u8> {
        self.reflected(3)
    }

    /// The optical image and near infrared, 8-bit `[size, size, 4]`: what satellites with four bands see.
    pub fn multispectral(&self) -> Vec<u8> {
        self.reflected(4)
    }

    /// The light that comes back in the first `bands` of red, green, blue and near infrared.
    fn reflected(&self, bands: usize) -> Vec<u8> {
        let size = self.size;
        let mut draws = Draws::new(self.rng, 2);
        let relief = Fractal::new(&mut draws, size, 90.0, 3);
        let patches = Fractal::new(&mut draws, size, 24.0, 3);
        let grain = Fractal::new(&mut draws, size, 3.0, 2);
        let colour = |i: usize| {
            let ground = self.ground[i];
            let (column, row) = (i % size, i / size);
            let (x, y) = (column as f32, row as f32);
            let Look { bands, grain: strength, .. } = look(ground.cover);
            let [light, warm, _, _] = hashed(&self.rng, PARCEL_COLOUR, ground.parcel).map(|v| 2.0 * v - 1.0);
            let mut shade = 1.0 + strength * grain.at(x, y);
            let mut tint = 0.02 * relief.at(x, y);
            // Water is level and has no parcels.
            if ground.cover != Cover::Water {
                // Light comes from the upper left: slopes that face it are brighter.
                let slope = relief.at(x + 3.0, y + 3.0) - relief.at(x, y);
                shade *= 1.0 + 0.5 * slope + 0.06 * patches.at(x, y) + 0.07 * light;
                tint = 0.035 * warm;
            }
            if self.in_shadow(column, row) {
                shade *= 0.72;
            }
            let [red, green, blue, infrared] = bands;
            // A parcel that grows well is less yellow, and brighter in the infrared.
            [
                red * (1.0 + tint) * shade,
                green * shade,
                blue * (1.0 - tint) * shade,
                infrared * (1.0 - 2.0 * tint) * shade,
            ]
        };
        let colours: Vec<[f32; 4]> = (0..size * size).into_par_iter().map(colour).collect();
        let plane = |band: usize| {
            let mut plane: Vec<f32> = colours.iter().map(|colour| colour[band]).collect();
            blur(&mut plane, size);
            plane
        };
        let planes: Vec<Vec<f32>> = (0..bands).map(plane).collect();
        let values = (0..bands * size * size).map(|i| planes[i % bands][i / bands]);
        values.map(|value| (value + 0.5).clamp(0.0, 255.0) as u8).collect()
    }

    /// The SAR image with speckle of `looks` looks (1 to 4), 8 bit `[size, size]`: backscatter in dB from -25 (black)
    /// to 5 (white).
    ///
    /// # Panics
    /// If `looks` is not within 1 to 4.
    pub fn sar(&self, looks: usize) -> Vec<u8> {
        assert!((1..=4).contains(&looks), "1 to 4 looks, not {looks}");
        let [black, white] = SHOWN_DB;
        let shown = |(i, echo): (usize, &f32)| {
            let db = 10.0 * (echo * self.speckle(i, looks)).max(1e-9).log10();
            ((db - black) / (white - black) * 255.0 + 0.5).clamp(0.0, 255.0) as u8
        };
        self.backscatter().par_iter().enumerate().map(shown).collect()
    }

    /// The mean backscatter intensity (linear, 1 = 0 dB) before speckle, `[size, size]`.
    pub fn backscatter(&self) -> Vec<f32> {
        let size = self.size;
        let mut draws = Draws::new(self.rng, 3);
        let moisture = Fractal::new(&mut draws, size, 60.0, 2);
        let rough = Fractal::new(&mut draws, size, 7.0, 2);
        let mut echo: Vec<f32> = (0..size * size)
            .into_par_iter()
            .map(|i| {
                let (x, y) = (i % size, i / size);
                let ground = self.ground[i];
                let look = look(ground.cover);
                let [deviation, ..] = hashed(&self.rng, PARCEL_ECHO, ground.parcel);
                let mut db = look.echo + look.rough * rough.at(x as f32, y as f32);
                if ground.cover != Cover::Water {
                    db += 0.6 * moisture.at(x as f32, y as f32) + 1.2 * (deviation - 0.5);
                }
                if ground.cover == Cover::Maize {
                    // Rows, five pixels apart.
                    db += 2.2 * (ground.across * std::f32::consts::TAU / 5.0).sin();
                }
                if matches!(ground.cover, Cover::RedRoof | Cover::GreyRoof) {
                    // Walls and street form corner reflectors here and there.
                    let [strong, height, ..] = hashed(&self.rng, POINT_ECHO, i as u32);
                    if strong < 0.12 {
                        db += 5.0 + 8.0 * height;
                    }
                }
                10f32.powf((db + self.edge_echo(x, y)) / 10.0)
            })
            .collect();
        blur(&mut echo, size);
        echo
    }

    /// A factor of mean 1, gamma distributed with shape `looks`: the mean of `looks` exponentials.
    fn speckle(&self, index: usize, looks: usize) -> f32 {
        let words = self.speckle.block(index as u64);
        // A sum of logarithms is the logarithm of the product; 1 - u >= 2^-24, so that four of them do not underflow.
        let product: f32 = words[..looks].iter().map(|word| 1.0 - unit(*word)).product();
        -product.ln() / looks as f32
    }

    /// Whether a wood to the upper left keeps the sun off an open pixel.
    fn in_shadow(&self, x: usize, y: usize) -> bool {
        self.is_open(x, y) && x > 0 && y > 0 && self.is_wood(x - 1, y - 1)
    }

    /// What the radar, looking from left to right, adds at the edge of a wood, in dB: its near side echoes the more,
    /// and behind it lies shadow.
    fn edge_echo(&self, x: usize, y: usize) -> f32 {
        if x == 0 {
            0.0
        } else if self.is_wood(x, y) && !self.is_wood(x - 1, y) {
            3.0
        } else if self.is_open(x, y) && self.is_wood(x - 1, y) {
            -5.0
        } else {
            0.0
        }
    }

    fn is_wood(&self, x: usize, y: usize) -> bool {
        self.ground[y * self.size + x].cover == Cover::Forest
    }

    fn is_open(&self, x: usize, y: usize) -> bool {
        !matches!(self.ground[y * self.size + x].cover, Cover::Forest | Cover::RedRoof | Cover::GreyRoof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::color::luma;
    use approx::abs_diff_eq;
    use std::collections::BTreeMap;

    #[test]
    fn a_scene_is_the_same_every_time_and_unlike_the_next() {
        let (scene, again, next) = (Scene::new(1, 0, 96), Scene::new(1, 0, 96), Scene::new(1, 1, 96));
        assert_eq!((scene.optical(), scene.sar(4)), (again.optical(), again.sar(4)));
        assert_ne!(scene.optical(), next.optical());
        assert_ne!(scene.sar(4), next.sar(4));
        assert_ne!(scene.optical(), Scene::new(2, 0, 96).optical());
    }

    #[test]
    fn the_scenes_hold_every_land_cover() {
        let mut shares: BTreeMap<Cover, usize> = BTreeMap::new();
        for index in 0..12 {
            Scene::new(0, index, 128).ground.iter().for_each(|g| *shares.entry(g.cover).or_default() += 1);
        }
        assert_eq!(shares.len(), 11, "{shares:?}");
        let total: usize = shares.values().sum();
        for (cover, count) in shares {
            assert!(count * 200 > total && count * 2 < total, "{cover:?} has {count} of {total} pixels");
        }
    }

    #[test]
    fn near_infrared_tells_what_grows_from_what_does_not() {
        let (mut growing, mut bare, mut water) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..8 {
            let scene = Scene::new(0, index, 96);
            let (spectral, optical) = (scene.multispectral(), scene.optical());
            assert!(spectral.chunks(4).zip(optical.chunks(3)).all(|(four, three)| four[..3] == *three));
            for (pixel, ground) in spectral.chunks(4).zip(&scene.ground) {
                // (infrared - red) / (infrared + red): the vegetation index.
                let [red, infrared] = [0, 3].map(|band| f32::from(pixel[band]));
                match ground.cover {
                    Cover::Forest | Cover::Meadow | Cover::Maize => &mut growing,
                    Cover::Road | Cover::RedRoof | Cover::GreyRoof | Cover::Soil => &mut bare,
                    Cover::Water => &mut water,
                    _ => continue,
                }
                .push((infrared - red) / (infrared + red).max(1.0));
            }
        }
        let median = |values: &mut Vec<f32>| {
            values.sort_by(f32::total_cmp);
            values[values.len() / 2]
        };
        let [growing, bare, water] = [&mut growing, &mut bare, &mut water].map(median);
        assert!(growing > 0.25 && bare.abs() < 0.25 && water < -0.4, "{growing} {bare} {water}");
    }

    #[test]
    fn speckle_is_gamma_distributed_with_its_looks() {
        let scene = Scene::new(0, 0, 8);
        for looks in 1..=4 {
            let n = 100_000;
            let (mut mean, mut square) = (0.0, 0.0);
            for i in 0..n {
                let value = f64::from(scene.speckle(i, looks));
                mean += value / n as f64;
                square += value * value / n as f64;
            }
            let variance = square - mean * mean;
            // Mean 1 and variance 1 / L. Five standard errors: of the mean sqrt(1 / (L n)), and of the variance
            // sqrt((6 / L + 2) / n) / L, the gamma's excess kurtosis being 6 / L.
            let (l, n) = (looks as f64, n as f64);
            assert!(abs_diff_eq!(mean, 1.0, epsilon = 5.0 / (l * n).sqrt()), "{looks} looks: mean {mean}");
            assert!(
                abs_diff_eq!(variance, 1.0 / l, epsilon = 5.0 * ((6.0 / l + 2.0) / n).sqrt() / l),
                "{looks} looks: {variance}"
            );
        }
    }

    #[test]
    fn backscatter_says_nothing_of_optical_brightness() {
        let (mut n, mut sum, mut squares, mut product) = (0.0, [0.0f64; 2], [0.0f64; 2], 0.0);
        for index in 0..8 {
            let scene = Scene::new(0, index, 128);
            for (echo, rgb) in scene.backscatter().iter().zip(scene.optical().as_chunks::<3>().0) {
                let pair = [10.0 * f64::from(*echo).log10(), f64::from(luma(rgb.map(f32::from)))];
                n += 1.0;
                sum = [sum[0] + pair[0], sum[1] + pair[1]];
                squares = [squares[0] + pair[0] * pair[0], squares[1] + pair[1] * pair[1]];
                product += pair[0] * pair[1];
            }
        }
        let variance = [0, 1].map(|k| squares[k] - sum[k] * sum[k] / n);
        let correlation = (product - sum[0] * sum[1] / n) / (variance[0] * variance[1]).sqrt();
        // A tenth of the variance explained, at most.
        assert!(correlation.abs() < 0.3, "{correlation}");
    }

    #[test]
    fn covers_differ_in_backscatter_by_more_than_their_parcels_do() {
        let mut echoes: BTreeMap<Cover, Vec<f32>> = BTreeMap::new();
        for index in 0..8 {
            let scene = Scene::new(0, index, 128);
            for (echo, ground) in scene.backscatter().iter().zip(&scene.ground) {
                echoes.entry(ground.cover).or_default().push(10.0 * echo.log10());
            }
        }
        let median = |cover| {
            let mut values = echoes[&cover].clone();
            values.sort_by(f32::total_cmp);
            values[values.len() / 2]
        };
        // Parcels of one cover deviate by 0.6 dB. Maize and woods are alike in level, and differ in texture.
        let order =
            [Cover::Water, Cover::Soil, Cover::Wheat, Cover::Meadow, Cover::Maize, Cover::Rapeseed, Cover::RedRoof];
        for pair in order.windows(2) {
            assert!(median(pair[1]) - median(pair[0]) > 1.2, "{pair:?}: {} {}", median(pair[0]), median(pair[1]));
        }
        let spread = |cover| {
            let values = &echoes[&cover];
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
        };
        assert!(spread(Cover::Forest) > 1.2 * spread(Cover::Meadow));
    }

    #[test]
    fn any_size_works_even_one_pixel() {
        for size in [1, 2, 7, 300] {
            let scene = Scene::new(4, 2, size);
            assert_eq!((scene.optical().len(), scene.sar(1).len()), (3 * size * size, size * size));
        }
    }

    #[test]
    #[should_panic(expected = "1 to 4 looks")]
    fn more_looks_than_words_of_a_block_are_refused() {
        Scene::new(0, 0, 2).sar(5);
    }
}
