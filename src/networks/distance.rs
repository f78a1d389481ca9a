//! Distances between made and real images beyond the mean over pixels.

use crate::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use crate::engine::ops::arithmetic::Arithmetic;
use crate::engine::ops::elementwise::{Add, Scale};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::ops::pad::Slice;
use crate::engine::tape::{Tape, Var};
use crate::error::Result;
use crate::train::settings::table::Settings;

/// What a made image's distance from the real one is, beyond the mean over pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distances {
    /// Scales that the distance is the mean over, each of half the size of the one before; 1 for the pixels alone.
    pub scales: usize,
    /// Weight of the distance of gradients beside it.
    pub gradient: f32,
}

impl Default for Distances {
    fn default() -> Self {
        Distances { scales: 1, gradient: 0.0 }
    }
}

impl Distances {
    /// What settings say.
    pub fn of(settings: &Settings) -> Self {
        let Distances { scales, gradient } = Distances::default();
        Distances {
            scales: settings.l1_scales.unwrap_or(scales),
            gradient: settings.gradient_share.unwrap_or(gradient),
        }
    }

    /// The distance of `pair`, made and real, where `plain` is the mean over pixels.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn apply(self, tape: &Tape, distance: MeanLoss, pair: [&Var; 2], plain: &Var) -> Result<Var> {
        let whole = over_scales(tape, distance, pair, plain, self.scales)?;
        match self.gradient {
            0.0 => Ok(whole),
            share => {
                let edges = of_gradients(tape, pair[0], pair[1])?;
                tape.apply(Add, &[&whole, &tape.apply(Scale(share), &[&edges])?])
            }
        }
    }
}

/// `(1 / N) sum_k d(P_k made, P_k real)` over k = 0 .. N - 1: d is the mean distance, P_k the mean over squares of 2^k
/// pixels, as far as there are such. `plain` is the term of k = 0.
///
/// # Errors
/// Whatever a launch reports.
pub fn over_scales(
    tape: &Tape,
    distance: MeanLoss,
    [made, real]: [&Var; 2],
    plain: &Var,
    scales: usize,
) -> Result<Var> {
    let (mut made, mut real, mut sum) = (made.clone(), real.clone(), plain.clone());
    let mut terms = 1;
    while terms < scales {
        let [_, height, width, _] = made.value().nhwc()?;
        if height.min(width) < 2 {
            break;
        }
        let pool = || AdaptiveAvgPool2d { output: [height / 2, width / 2] };
        (made, real) = (tape.apply(pool(), &[&made])?, tape.apply(pool(), &[&real])?);
        sum = tape.apply(Add, &[&sum, &tape.apply(distance, &[&made, &real])?])?;
        terms += 1;
    }
    if terms == 1 { Ok(sum) } else { tape.apply(Scale(1.0 / terms as f32), &[&sum]) }
}

/// `mean |dx(made - real)| + mean |dy(made - real)|`, differences of neighbours along rows and columns: edges that are
/// missing, blurred or out of place. Images have at least two rows and columns.
///
/// # Errors
/// Smaller images, and whatever a launch reports.
pub fn of_gradients(tape: &Tape, made: &Var, real: &Var) -> Result<Var> {
    let error = tape.apply(Arithmetic::Subtract, &[made, real])?;
    let [_, height, width, channels] = error.value().nhwc()?;
    let along = |[down, right]: [usize; 2]| {
        let size = [height.saturating_sub(down), width.saturating_sub(right), channels];
        let [next, this] = [[down, right, 0], [0, 0, 0]].map(|first| tape.apply(Slice { first, size }, &[&error]));
        let difference = tape.apply(Arithmetic::Subtract, &[&next?, &this?])?;
        tape.apply(MeanLoss::L1.against(0.0), &[&difference])
    };
    tape.apply(Add, &[&along([0, 1])?, &along([1, 0])?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seeded::seeded;
    use crate::engine::testing::check::devices;

    const SHAPE: [usize; 4] = [2, 8, 12, 3];

    fn at(values: &[f64], width: usize, [n, y, x, c]: [usize; 4], height: usize) -> f64 {
        values[((n * height + y) * width + x) * 3 + c]
    }

    fn halved(values: &[f64], height: usize, width: usize) -> Vec<f64> {
        let mean = |[n, y, x, c]: [usize; 4]| {
            let four = [[0, 0], [0, 1], [1, 0], [1, 1]];
            four.iter().map(|[i, j]| at(values, width, [n, 2 * y + i, 2 * x + j, c], height)).sum::<f64>() / 4.0
        };
        let (h, w) = (height / 2, width / 2);
        (0..2 * h * w * 3).map(|i| mean([i / (3 * h * w), i / (3 * w) % h, i / 3 % w, i % 3])).collect()
    }

    /// Both distances in f64: three scales, and gradients.
    fn reference(made: &[f64], real: &[f64]) -> [f64; 2] {
        let l1 = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64;
        let half = |v: &[f64]| halved(v, 8, 12);
        let quarter = |v: &[f64]| halved(&half(v), 4, 6);
        let scales = (l1(made, real) + l1(&half(made), &half(real)) + l1(&quarter(made), &quarter(real))) / 3.0;
        let error: Vec<f64> = made.iter().zip(real).map(|(a, b)| a - b).collect();
        let mut sums = [[0.0; 2]; 2];
        for i in 0..error.len() {
            let place @ [n, y, x, c] = [i / 288, i / 36 % 8, i / 3 % 12, i % 3];
            for (axis, next, inside) in [(0, [n, y, x + 1, c], x < 11), (1, [n, y + 1, x, c], y < 7)] {
                if inside {
                    sums[axis][0] += (at(&error, 12, next, 8) - at(&error, 12, place, 8)).abs();
                    sums[axis][1] += 1.0;
                }
            }
        }
        [scales, sums[0][0] / sums[0][1] + sums[1][0] / sums[1][1]]
    }

    #[test]
    fn distances_and_their_gradients_are_those_of_the_formulas() {
        for device in devices() {
            let [made, real] = [1, 2].map(|seed| seeded(&device, &SHAPE, seed).unwrap());
            let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<_>>();
            let (x, t) = (wide(made.to_vec().unwrap()), wide(real.to_vec().unwrap()));
            for which in 0..2 {
                let tape = Tape::new();
                let (made, real) = (tape.leaf(made.clone()), tape.constant(real.clone()));
                let loss = if which == 0 {
                    let plain = tape.apply(MeanLoss::L1, &[&made, &real]).unwrap();
                    over_scales(&tape, MeanLoss::L1, [&made, &real], &plain, 3).unwrap()
                } else {
                    of_gradients(&tape, &made, &real).unwrap()
                };
                let expected = reference(&x, &t)[which];
                let found = f64::from(loss.value().item().unwrap());
                assert!((found - expected).abs() < 1e-5 * expected, "{}: {found} {expected}", device.name());
                let gradients = tape.backward(loss).unwrap();
                let gradient = wide(gradients.get(&made).unwrap().to_vec().unwrap());
                // Differences of absolute values have kinks: a step that is small beside the values of the seed.
                let h = 1e-6;
                for i in (0..x.len()).step_by(37) {
                    let moved = |by: f64| {
                        let mut x = x.clone();
                        x[i] += by;
                        reference(&x, &t)[which]
                    };
                    let slope = (moved(h) - moved(-h)) / (2.0 * h);
                    assert!((gradient[i] - slope).abs() < 1e-6, "{}: {i} {} {slope}", device.name(), gradient[i]);
                }
            }
        }
    }

    #[test]
    fn one_scale_is_the_plain_distance_and_scales_end_at_a_pixel() {
        let device = crate::engine::device::Device::cpu();
        let tape = Tape::inference();
        let [made, real] = [1, 2].map(|seed| tape.constant(seeded(&device, &[1, 4, 4, 1], seed).unwrap()));
        let plain = tape.apply(MeanLoss::L1, &[&made, &real]).unwrap();
        let over =
            |scales| over_scales(&tape, MeanLoss::L1, [&made, &real], &plain, scales).unwrap().value().item().unwrap();
        assert_eq!(over(1).to_bits(), plain.value().item().unwrap().to_bits());
        assert_ne!(over(2), over(3));
        assert_eq!(over(3), over(9));
    }
}
