//! Errors of colours, on images of three bands.

use crate::error::{Error, Result};
use crate::imaging::color::{Bins, SoftEncoder, delta_e_76, delta_e_2000, srgb8_to_lab_f64};
use crate::imaging::quality::image8::Image8;
use rayon::prelude::*;

/// The largest ab distance of the curve whose area is [`Measure::AbAuc`](crate::imaging::quality::Measure::AbAuc).
pub const AUC_REACH: usize = 150;

/// Width of the soft encoding, of which only the nearest bin is asked for: it does not matter.
const SIGMA: f32 = 5.0;

/// Weights of pixels against how often their true colours occur.
///
/// Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 3.1: `1 / p`, eq. 4 with lambda 0, of the bin
/// nearest to the true colour.
#[derive(Debug, Clone)]
pub struct Rebalance {
    encoder: SoftEncoder,
    /// One a bin.
    weights: Vec<f64>,
}

impl Rebalance {
    /// Weights from the prior of each bin; a bin without one weighs as the rarest that has one.
    ///
    /// # Errors
    /// Another number of priors than bins, or no prior above 0.
    pub fn new(bins: &Bins, prior: &[f32]) -> Result<Self> {
        let rarest = prior.iter().copied().filter(|p| *p > 0.0).fold(f32::INFINITY, f32::min);
        crate::ensure!(
            prior.len() == bins.len() && rarest.is_finite(),
            Error::input("the prior is none of these bins", "prior", "use weights of a classification model")
        );
        let weights = prior.iter().map(|p| 1.0 / f64::from(p.max(rarest))).collect();
        Ok(Rebalance { encoder: SoftEncoder::new(bins, SIGMA), weights })
    }

    fn weight(&self, ab: [f32; 2]) -> f64 {
        self.weights[self.encoder.most_likely(ab) as usize]
    }
}

/// Mean errors of the colours of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ColourErrors {
    pub delta_e_76: f64,
    pub delta_e_2000: f64,
    /// Distance in the ab plane.
    pub ab: f64,
    /// With F(t) the share of pixels within ab distance t, the area under F from 0 to 150, over 150: Zhang et al.,
    /// section 3.1, by trapezoids between whole t.
    pub auc: f64,
    /// The same of weighted pixels; NaN without weights.
    pub auc_rebalanced: f64,
}

/// Sums over pixels.
#[derive(Debug, Clone)]
struct Sums {
    delta_e_76: f64,
    delta_e_2000: f64,
    ab: f64,
    curve: Curve,
    rebalanced: Curve,
}

/// Weights of pixels by the least whole distance that they lie within; in the last place, those beyond all.
#[derive(Debug, Clone)]
struct Curve([f64; AUC_REACH + 2]);

impl Curve {
    fn add(&mut self, distance: f64, weight: f64) {
        self.0[(distance.ceil() as usize).min(AUC_REACH + 1)] += weight;
    }

    fn merge(&mut self, other: &Curve) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, weight)| *sum += weight);
    }

    fn area(&self) -> f64 {
        let total: f64 = self.0.iter().sum();
        let (mut within, mut area) = (0.0, 0.0);
        for (t, weight) in self.0[..=AUC_REACH].iter().enumerate() {
            let before = within;
            within += weight;
            area += if t == 0 { 0.0 } else { (before + within) / 2.0 };
        }
        area / total / AUC_REACH as f64
    }
}

impl Sums {
    fn new() -> Self {
        let curve = Curve([0.0; AUC_REACH + 2]);
        Sums { delta_e_76: 0.0, delta_e_2000: 0.0, ab: 0.0, curve: curve.clone(), rebalanced: curve }
    }

    fn add(&mut self, made: &[u8], truth: &[u8], rebalance: Option<&Rebalance>) {
        let [made, truth] = [made, truth].map(|rgb| srgb8_to_lab_f64([rgb[0], rgb[1], rgb[2]]));
        self.delta_e_76 += delta_e_76(made, truth);
        self.delta_e_2000 += delta_e_2000(made, truth);
        let ab = (made[1] - truth[1]).hypot(made[2] - truth[2]);
        self.ab += ab;
        self.curve.add(ab, 1.0);
        if let Some(rebalance) = rebalance {
            self.rebalanced.add(ab, rebalance.weight([truth[1] as f32, truth[2] as f32]));
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.delta_e_76 += other.delta_e_76;
        self.delta_e_2000 += other.delta_e_2000;
        self.ab += other.ab;
        self.curve.merge(&other.curve);
        self.rebalanced.merge(&other.rebalanced);
    }
}

/// Rows whose sums are held before they are added up: bounds the memory, and is fixed so that the bits are.
const ROWS_AT_ONCE: usize = 256;

impl ColourErrors {
    pub fn of(made: &Image8, truth: &Image8, rebalance: Option<&Rebalance>) -> Result<Self> {
        made.check_like(truth)?;
        check_colours(made)?;
        let row = 3 * made.width;
        let mut all = Sums::new();
        let bands = made.samples.chunks(ROWS_AT_ONCE * row).zip(truth.samples.chunks(ROWS_AT_ONCE * row));
        for (made, truth) in bands {
            let rows = made.par_chunks_exact(row).zip(truth.par_chunks_exact(row));
            let sums: Vec<Sums> = rows
                .map(|(made, truth)| {
                    let mut sums = Sums::new();
                    let pixels = made.chunks_exact(3).zip(truth.chunks_exact(3));
                    pixels.for_each(|(made, truth)| sums.add(made, truth, rebalance));
                    sums
                })
                .collect();
            sums.iter().for_each(|sums| all.merge(sums));
        }
        let pixels = (made.width * made.height) as f64;
        Ok(ColourErrors {
            delta_e_76: all.delta_e_76 / pixels,
            delta_e_2000: all.delta_e_2000 / pixels,
            ab: all.ab / pixels,
            auc: all.curve.area(),
            auc_rebalanced: if rebalance.is_some() { all.rebalanced.area() } else { f64::NAN },
        })
    }
}

/// Mean distance in the ab plane of CIE Lab.
///
/// # Errors
/// Images of different sizes, or of other than three bands.
pub fn ab_error(made: &Image8, truth: &Image8) -> Result<f64> {
    Ok(ColourErrors::of(made, truth, None)?.ab)
}

/// Colourfulness of an image, 0 for grey, about 33 for moderately and 82 for highly colourful photographs.
///
/// Hasler, Suesstrunk, "Measuring Colourfulness in Natural Images", SPIE 5007, 2003, the measure M(3): with `rg = R -
/// G` and `yb = (R + G) / 2 - B`, samples 0..255, the length of their standard deviations plus 0.3 times that of their
/// means.
///
/// # Errors
/// An image of other than three bands.
pub fn colourfulness(picture: &Image8) -> Result<f64> {
    check_colours(picture)?;
    // rg and twice yb, with their squares: integers, exact in any order.
    let of = |rgb: &[u8]| {
        let [r, g, b] = [0, 1, 2].map(|k| i64::from(rgb[k]));
        let (rg, yb) = (r - g, r + g - 2 * b);
        [rg, yb, rg * rg, yb * yb]
    };
    let add = |a: [i64; 4], b: [i64; 4]| std::array::from_fn(|k| a[k] + b[k]);
    let sums = picture.samples.par_chunks_exact(3).map(of).reduce(|| [0; 4], add).map(|sum| sum as f64);
    let pixels = (picture.width * picture.height) as f64;
    let [rg, yb, rg_2, yb_2] = sums.map(|sum| sum / pixels);
    let (yb, yb_2) = (yb / 2.0, yb_2 / 4.0);
    let variances = (rg_2 - rg * rg).max(0.0) + (yb_2 - yb * yb).max(0.0);
    Ok(variances.sqrt() + 0.3 * rg.hypot(yb))
}

fn check_colours(picture: &Image8) -> Result<()> {
    crate::ensure!(
        picture.bands == 3,
        Error::input("an image of other than three bands has no colours", picture.bands, "give an RGB image")
    );
    Ok(())
}
