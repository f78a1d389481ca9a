//! Points that determine no homography, and why.

use crate::error::Error;
use crate::imaging::registration::points::PointPair;

/// Why a set of points is refused; [`Refusal::at`] makes it an [`Error`].
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    what: String,
    remedy: String,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Refusal { what: what.into(), remedy: remedy.into() }
    }

    /// The error for points that come from `subject`, a file.
    pub fn at(self, subject: impl std::fmt::Display) -> Error {
        Error::input(self.what, subject, self.remedy)
    }
}

/// Three points lie on a line if the one between is off it by less than this share of the distance of the others: a
/// pixel in a thousand, what rounding to whole pixels does.
const LINE: f64 = 1e-3;
const SPREAD: &str = "spread the points over the whole image";

/// The points of one side.
fn sides(pairs: &[PointPair]) -> [(&'static str, Vec<[f64; 2]>); 2] {
    [
        ("source", pairs.iter().map(|pair| pair.source).collect()),
        ("target", pairs.iter().map(|pair| pair.target).collect()),
    ]
}

/// What is wrong with a set of points at first sight.
pub(super) fn check(pairs: &[PointPair]) -> Result<(), Refusal> {
    if pairs.len() < 4 {
        let what = format!("a homography needs at least 4 point pairs, and there are {}", pairs.len());
        return Err(Refusal::new(what, "add more"));
    }
    if let Some(i) = pairs.iter().position(|pair| pair.source.iter().chain(&pair.target).any(|v| !v.is_finite())) {
        return Err(Refusal::new(
            format!("pair {} holds a place that is not finite", i + 1),
            "mend it or take it away",
        ));
    }
    for (side, points) in sides(pairs) {
        let mut distinct = points.clone();
        distinct.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        distinct.dedup();
        if distinct.len() < 4 {
            let what = format!("points coincide: only {} of the {side} points are different", distinct.len());
            return Err(Refusal::new(what, "4 different places or more are needed"));
        }
        if flatness(&points) < LINE {
            return Err(Refusal::new(format!("all {side} points lie on a line"), SPREAD));
        }
        if let Ok(four) = <[[f64; 2]; 4]>::try_from(points.as_slice())
            && let Some([a, b, c]) = triples().into_iter().find(|triple| on_a_line(triple.map(|i| four[i])))
        {
            let what = format!("the {side} points of pairs {}, {} and {} lie on a line", a + 1, b + 1, c + 1);
            return Err(Refusal::new(what, "no three of four may; move one, or add more pairs"));
        }
    }
    Ok(())
}

/// The reason where no four of a set determine a homography, though nothing is wrong at first sight.
pub(super) fn no_four() -> Refusal {
    Refusal::new(
        "of any four points, three lie on a line or the order around differs between source and target",
        SPREAD,
    )
}

/// The reason where points agree that do not determine the homography.
pub(super) fn undetermined(agreeing: usize) -> Refusal {
    let what = format!("the {agreeing} points that agree lie so nearly on a line that they determine no homography");
    Refusal::new(what, SPREAD)
}

/// What four pairs are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Four {
    /// They determine a homography.
    Fine,
    /// Three points lie on a line.
    Line,
    /// The points are passed in another order around in the target, neither the same nor the opposite: the homography
    /// would put the horizon between them.
    Crossed,
}

pub(super) fn judge(four: &[PointPair; 4]) -> Four {
    let mut turned = 0;
    for triple in triples() {
        let (source, target) = (triple.map(|i| four[i].source), triple.map(|i| four[i].target));
        if on_a_line(source) || on_a_line(target) {
            return Four::Line;
        }
        turned += usize::from((area(source) > 0.0) != (area(target) > 0.0));
    }
    if matches!(turned, 0 | 4) { Four::Fine } else { Four::Crossed }
}

fn triples() -> [[usize; 3]; 4] {
    [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]
}

/// Twice the area of a triangle, with the sign of its order around.
fn area([a, b, c]: [[f64; 2]; 3]) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn on_a_line(points: [[f64; 2]; 3]) -> bool {
    let square = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    let [a, b, c] = points;
    let longest = square(a, b).max(square(a, c)).max(square(b, c));
    // The area is the longest side times the height over it.
    area(points).abs() <= LINE * longest
}

/// The spread of points across their main direction as a share of that along it: 0 on a line, 1 for a round cloud.
pub(super) fn flatness(points: &[[f64; 2]]) -> f64 {
    let n = points.len() as f64;
    let mean = [0, 1].map(|i| points.iter().map(|p| p[i]).sum::<f64>() / n);
    let moment = |i: usize, k: usize| points.iter().map(|p| (p[i] - mean[i]) * (p[k] - mean[k])).sum::<f64>() / n;
    let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
    // The eigenvalues of the covariance are its half trace, more and less this.
    let apart = (0.25 * (xx - yy).powi(2) + xy * xy).sqrt();
    let largest = 0.5 * (xx + yy) + apart;
    // The determinant over the larger: the difference would lose the digits of a small one.
    let smallest = ((xx * yy - xy * xy) / largest).max(0.0);
    if largest > 0.0 { (smallest / largest).sqrt() } else { 0.0 }
}
