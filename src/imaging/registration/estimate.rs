//! From point pairs, some of them wrong, to a homography.

use crate::imaging::registration::degenerate::{self, Four, Refusal};
use crate::imaging::registration::dlt::{Effort, fit};
use crate::imaging::registration::homography::Homography;
use crate::imaging::registration::points::PointPair;
use crate::random::{Rng, Stream};

/// Sets of four points tried at most: with 85 % of wrong pairs, one of right ones is missed once in 10,000 times.
const MOST_TRIES: u32 = 20_000;
/// How sure the search wants to be that one of its sets held right pairs only.
const MISSED: f64 = 1e-4;
/// Rounds of fitting to what agrees, each with what agreed after the one before.
const MOST_ROUNDS: usize = 20;

/// Points that agree and spread less than this across their main direction, as a share of that along it, leave the
/// homography beside their line to the noise.
const MIN_FLATNESS: f64 = 3e-3;

/// How [`estimate`] works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Pairs agree with a homography up to this distance in target pixels.
    pub threshold: f64,
    /// Of the choice of points to try.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { threshold: 3.0, seed: 0 }
    }
}

/// A homography and how the pairs agree with it.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// From source to target.
    pub homography: Homography,
    /// Of each pair, the distance in target pixels between where the source point goes and the target point; infinite
    /// beyond the horizon.
    pub residuals: Vec<f64>,
    /// Of each pair, whether the homography was fitted to it.
    pub inliers: Vec<bool>,
}

impl Estimate {
    fn new(homography: Homography, pairs: &[PointPair], threshold: f64) -> Self {
        let residuals: Vec<f64> = pairs.iter().map(|pair| residual(&homography, pair)).collect();
        let inliers = residuals.iter().map(|residual| *residual <= threshold).collect();
        Estimate { homography, residuals, inliers }
    }

    /// How many pairs the homography was fitted to.
    pub fn agreeing(&self) -> usize {
        self.inliers.iter().filter(|inlier| **inlier).count()
    }

    /// The residuals of the pairs that it was fitted to, ascending.
    pub fn agreeing_residuals(&self) -> Vec<f64> {
        let chosen = self.residuals.iter().zip(&self.inliers).filter(|(_, inlier)| **inlier);
        let mut residuals: Vec<f64> = chosen.map(|(residual, _)| *residual).collect();
        residuals.sort_by(f64::total_cmp);
        residuals
    }

    /// The square root of the mean squared residual of the pairs that it was fitted to.
    pub fn rmse(&self) -> f64 {
        let residuals = self.agreeing_residuals();
        (residuals.iter().map(|v| v * v).sum::<f64>() / residuals.len().max(1) as f64).sqrt()
    }

    /// The median residual of the pairs that it was fitted to.
    pub fn median(&self) -> f64 {
        let residuals = self.agreeing_residuals();
        let middle = residuals.len() / 2;
        if residuals.len().is_multiple_of(2) && middle > 0 {
            0.5 * (residuals[middle - 1] + residuals[middle])
        } else {
            residuals.get(middle).copied().unwrap_or(0.0)
        }
    }

    /// The largest residual of the pairs that it was fitted to.
    pub fn largest(&self) -> f64 {
        self.agreeing_residuals().last().copied().unwrap_or(0.0)
    }
}

/// The homography that maps the sources to the targets, pairs that disagree with the others left out.
///
/// Four pairs are met exactly. Of more, sets of four are drawn (Fischler and Bolles' RANSAC, 1981), judged by the
/// squared distances of all pairs, each at most the threshold's (Torr and Zisserman's MSAC, 2000), and each new best
/// one is refitted to what agrees with it (Chum, Matas and Kittler's local optimisation, 2003) by least squares in the
/// target.
///
/// # Errors
/// Fewer than 4 pairs, points that coincide or lie on a line, four pairs in another order around, or pairs that do not
/// agree any better than random ones would.
pub fn estimate(pairs: &[PointPair], settings: &Settings) -> Result<Estimate, Refusal> {
    degenerate::check(pairs)?;
    if let Ok(four) = <&[PointPair; 4]>::try_from(pairs) {
        if degenerate::judge(four) == Four::Crossed {
            return Err(Refusal::new(
                "the four points are passed in another order around in the target than in the source",
                "check that they are paired rightly, or add more pairs",
            ));
        }
        let homography = fit(pairs, Effort::Linear).ok_or_else(|| degenerate::undetermined(4))?;
        return Ok(Estimate { inliers: vec![true; 4], ..Estimate::new(homography, pairs, 0.0) });
    }
    let found = search(pairs, settings)?;
    let agreeing = pick(pairs, &found.inliers);
    if agreeing.len() < 5 || false_alarms(&agreeing, pairs.len(), found.largest()) >= 1.0 {
        let (most, n, threshold) = (agreeing.len(), pairs.len(), settings.threshold);
        return Err(Refusal::new(
            format!(
                "no homography fits the points: at most {most} of {n} agree within {threshold} pixels, as by chance"
            ),
            "check that they are paired rightly, or raise ⟨threshold⟩",
        ));
    }
    // Each set of four that was tried determined its homography; those that agree may still crowd around a line.
    let sides: [fn(&PointPair) -> [f64; 2]; 2] = [|pair| pair.source, |pair| pair.target];
    let flattest = sides.map(|side| degenerate::flatness(&agreeing.iter().map(side).collect::<Vec<_>>()));
    if flattest.iter().any(|flatness| *flatness < MIN_FLATNESS) {
        return Err(degenerate::undetermined(agreeing.len()));
    }
    Ok(found)
}

fn search(pairs: &[PointPair], settings: &Settings) -> Result<Estimate, Refusal> {
    let mut best: Option<(f64, Estimate)> = None;
    let mut needed = f64::from(MOST_TRIES);
    let mut tried = 0.0;
    for number in 0..MOST_TRIES {
        if tried >= needed {
            break;
        }
        let four = draw(&Rng::new(settings.seed, Stream::Consensus, number), pairs.len()).map(|i| pairs[i]);
        let verdict = degenerate::judge(&four);
        // Four right pairs may lie on a line: such a set says nothing of whether right ones have been drawn.
        tried += if verdict == Four::Line { 0.0 } else { 1.0 };
        let fitted = if verdict == Four::Fine { fit(&four, Effort::Linear) } else { None };
        let Some(homography) = fitted else { continue };
        let found = Estimate::new(homography, pairs, settings.threshold);
        let cost = cost(&found, settings.threshold);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            let (cost, found) = polish(cost, found, pairs, settings.threshold);
            let right = found.agreeing() as f64 / pairs.len() as f64;
            needed = (MISSED.ln() / (-right.powi(4)).ln_1p()).max(1.0);
            best = Some((cost, found));
        }
    }
    best.map(|(_, found)| found).ok_or_else(degenerate::no_four)
}

/// Four different numbers below `n`, which is at least 4.
fn draw(rng: &Rng, n: usize) -> [usize; 4] {
    let mut chosen = [usize::MAX; 4];
    let mut index = 0;
    for i in 0..4 {
        while chosen[i] == usize::MAX {
            let candidate = rng.below(index, n);
            index += 1;
            if !chosen[..i].contains(&candidate) {
                chosen[i] = candidate;
            }
        }
    }
    chosen
}

/// Fits again to what agrees, as long as that lowers the cost.
fn polish(mut cost_now: f64, mut found: Estimate, pairs: &[PointPair], threshold: f64) -> (f64, Estimate) {
    for _ in 0..MOST_ROUNDS {
        let agreeing = pick(pairs, &found.inliers);
        let refit = if agreeing.len() >= 4 { fit(&agreeing, Effort::Refined) } else { None };
        let Some(next) = refit.map(|homography| Estimate::new(homography, pairs, threshold)) else { break };
        let after = cost(&next, threshold);
        if after >= cost_now {
            break;
        }
        (cost_now, found) = (after, next);
    }
    (cost_now, found)
}

fn residual(homography: &Homography, pair: &PointPair) -> f64 {
    homography.map(pair.source).map_or(f64::INFINITY, |[x, y]| (x - pair.target[0]).hypot(y - pair.target[1]))
}

fn cost(found: &Estimate, threshold: f64) -> f64 {
    found.residuals.iter().map(|residual| residual.min(threshold).powi(2)).sum()
}

fn pick(pairs: &[PointPair], inliers: &[bool]) -> Vec<PointPair> {
    pairs.iter().zip(inliers).filter(|(_, inlier)| **inlier).map(|(pair, _)| *pair).collect()
}

/// How many homographies through four of `n` random pairs one expects with as many others as close as `largest`; the
/// number of false alarms of Moisan and Stival, "A probabilistic criterion to detect rigid point matches", 2004.
fn false_alarms(agreeing: &[PointPair], n: usize, largest: f64) -> f64 {
    let bounds = |i: usize| {
        let (low, high) = agreeing.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), pair| {
            (low.min(pair.target[i]), high.max(pair.target[i]))
        });
        high - low
    };
    let by_chance = (std::f64::consts::PI * largest * largest / (bounds(0) * bounds(1))).min(1.0);
    let ln_choose = |n: usize, k: usize| (0..k).map(|i| ((n - i) as f64 / (k - i) as f64).ln()).sum::<f64>();
    let k = agreeing.len();
    // Every four of every k of the n, for each k.
    let sets = ((n - 4) as f64).ln() + ln_choose(n, k) + ln_choose(k, 4);
    (sets + (k - 4) as f64 * by_chance.ln()).exp()
}
