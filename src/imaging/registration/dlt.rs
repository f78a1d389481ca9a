//! The direct linear transform with normalised points, and its refinement to least squares in the target.
//!
//! Hartley and Zisserman, "Multiple View Geometry in Computer Vision", 2nd edition, 2004: algorithm 4.2 and section
//! 4.5.

use nalgebra::{DMatrix, SMatrix, SVector};

use crate::imaging::registration::homography::{Homography, product};
use crate::imaging::registration::points::PointPair;

/// The second smallest singular value over the largest, below which other homographies fit the points just as well.
const RANK: f64 = 1e-5;
/// Steps of the refinement; it takes three or four where the points are good.
const MOST_STEPS: usize = 30;

/// A shift and a scale that put the mean of points to the origin and their mean distance from it to the square root of
/// 2.
struct Normaliser {
    centre: [f64; 2],
    scale: f64,
}

impl Normaliser {
    fn new(points: impl Iterator<Item = [f64; 2]> + Clone) -> Option<Self> {
        let n = points.clone().count() as f64;
        let centre = [0, 1].map(|i| points.clone().map(|p| p[i]).sum::<f64>() / n);
        let distance = points.map(|p| (p[0] - centre[0]).hypot(p[1] - centre[1])).sum::<f64>() / n;
        (distance > 0.0).then(|| Normaliser { centre, scale: std::f64::consts::SQRT_2 / distance })
    }

    fn apply(&self, point: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|i| (point[i] - self.centre[i]) * self.scale)
    }

    fn matrix(&self) -> [[f64; 3]; 3] {
        let Normaliser { centre: [x, y], scale: s } = *self;
        [[s, 0.0, -s * x], [0.0, s, -s * y], [0.0, 0.0, 1.0]]
    }

    fn inverse(&self) -> [[f64; 3]; 3] {
        let Normaliser { centre: [x, y], scale: s } = *self;
        [[1.0 / s, 0.0, x], [0.0, 1.0 / s, y], [0.0, 0.0, 1.0]]
    }
}

/// Whether [`fit`] goes on from the least algebraic error to the least squared distance in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    Linear,
    Refined,
}

/// The homography that maps the sources to the targets best; `None` if the pairs, 4 or more, determine none.
pub(super) fn fit(pairs: &[PointPair], effort: Effort) -> Option<Homography> {
    let source = Normaliser::new(pairs.iter().map(|pair| pair.source))?;
    let target = Normaliser::new(pairs.iter().map(|pair| pair.target))?;
    let normalised: Vec<PointPair> = pairs
        .iter()
        .map(|pair| PointPair { source: source.apply(pair.source), target: target.apply(pair.target) })
        .collect();
    let mut h = linear(&normalised)?;
    if effort == Effort::Refined {
        h = refine(h, &normalised);
    }
    Homography::new(product(&target.inverse(), &product(&h, &source.matrix())))
}

/// The matrix, its last element 1, with the least algebraic error: the last right singular vector of two equations a
/// pair.
fn linear(pairs: &[PointPair]) -> Option<[[f64; 3]; 3]> {
    // Nine rows at least, so that all nine singular vectors are there.
    let mut a = DMatrix::zeros((2 * pairs.len()).max(9), 9);
    for (i, PointPair { source: [x, y], target: [u, v] }) in pairs.iter().enumerate() {
        let rows = [[*x, *y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, -u], [0.0, 0.0, 0.0, *x, *y, 1.0, -v * x, -v * y, -v]];
        for (k, row) in rows.iter().enumerate() {
            row.iter().enumerate().for_each(|(column, value)| a[(2 * i + k, column)] = *value);
        }
    }
    // Five times the rounding is what nalgebra itself iterates to; it takes some dozen sweeps, so that this many mean
    // no end.
    let svd = a.try_svd(false, true, 5.0 * f64::EPSILON, 10_000)?;
    let (values, vectors) = (svd.singular_values, svd.v_t?);
    let last = vectors.row(8);
    // The origin is the mean of the sources: its weight is the mean of theirs, and not zero where all lie on one side.
    if values[7] <= RANK * values[0] || last[8].abs() < 1e-9 {
        return None;
    }
    Some([0, 1, 2].map(|row| [0, 1, 2].map(|column| last[3 * row + column] / last[8])))
}

/// Levenberg and Marquardt's way from `h` to the least sum of squared distances in the target.
fn refine(mut h: [[f64; 3]; 3], pairs: &[PointPair]) -> [[f64; 3]; 3] {
    let (mut damping, mut cost) = (1e-4, cost_of(&h, pairs));
    for _ in 0..MOST_STEPS {
        let (mut normal, mut right) = (SMatrix::<f64, 8, 8>::zeros(), SVector::<f64, 8>::zeros());
        for PointPair { source: [x, y], target } in pairs {
            let [u, v, w] = h.map(|row| row[0] * x + row[1] * y + row[2]);
            let (u, v, x, y, one) = (u / w, v / w, x / w, y / w, 1.0 / w);
            let rows = [[x, y, one, 0.0, 0.0, 0.0, -u * x, -u * y], [0.0, 0.0, 0.0, x, y, one, -v * x, -v * y]];
            for (row, residual) in rows.into_iter().zip([target[0] - u, target[1] - v]) {
                let row = SVector::<f64, 8>::from(row);
                normal += row * row.transpose();
                right += row * residual;
            }
        }
        (0..8).for_each(|i| normal[(i, i)] *= 1.0 + damping);
        let Some(factor) = normal.cholesky() else { break };
        let step = factor.solve(&right);
        let mut moved = h;
        (0..8).for_each(|i| moved[i / 3][i % 3] += step[i]);
        let after = cost_of(&moved, pairs);
        if after < cost {
            let settled = cost - after <= 1e-12 * cost;
            (h, cost, damping) = (moved, after, damping * 0.1);
            if settled {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e6 {
                break;
            }
        }
    }
    h
}

/// The sum of squared distances in the target; infinite if a point lies beyond the horizon.
fn cost_of(h: &[[f64; 3]; 3], pairs: &[PointPair]) -> f64 {
    let square = |PointPair { source: [x, y], target }: &PointPair| {
        let [u, v, w] = h.map(|row| row[0] * x + row[1] * y + row[2]);
        if w > 0.0 { (u / w - target[0]).powi(2) + (v / w - target[1]).powi(2) } else { f64::INFINITY }
    };
    pairs.iter().map(square).sum()
}
