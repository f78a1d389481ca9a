//! What a validation finds: the loss, the figures that people know, and the score that chooses the weights.

use crate::dataset::loader::{Batch, BatchMaker};
use crate::error::Result;
use crate::imaging::codec::save::to_u8;
use crate::imaging::quality::{Image8, Judge, Measure};
use crate::train::health::is_pair;
use crate::train::learner::Learner;
use crate::train::samples::predict;

/// Images that one validation looks at, at most: it must stay cheap beside the training between two.
pub const PICTURES: u64 = 8;

/// The figures that are written down, where they make sense, with their names in `metrics.jsonl`.
const FIGURES: [(Measure, &str); 3] =
    [(Measure::AbError, "val_ab_error"), (Measure::Psnr, "val_psnr"), (Measure::Ssim, "val_ssim")];

/// What a validation finds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Validation {
    /// Mean loss.
    pub loss: f64,
    /// Names and means of the figures.
    pub figures: Vec<(&'static str, f64)>,
    /// The lower the better; the loss, or of an adversarial pair its [`score_of_pair`]. An f32 value as a checkpoint
    /// stores it: a run that goes on compares the same numbers.
    pub score: f64,
}

/// Which of `all` images a validation looks at, from 1: spread evenly over the files in name order.
fn chosen(all: u64) -> impl Iterator<Item = u64> {
    let count = all.min(PICTURES);
    (0..count).map(move |i| 1 + i * all / count)
}

/// Validates on the centre crops that `maker` makes, one a batch, of `all` images; `plain` makes the same ones without
/// what lies around them.
///
/// # Errors
/// An image that cannot be read any more, a launch that fails.
pub(super) fn validate(learner: &dyn Learner, maker: &BatchMaker, plain: &BatchMaker, all: u64) -> Result<Validation> {
    let count = chosen(all).count() as f64;
    let (mut loss, mut sums, mut detail) = (0.0, [0.0; FIGURES.len()], [0.0; 2]);
    for step in chosen(all) {
        loss += learner.validation_loss(&maker.batch(step)?)?;
        let [made, truth] = made_and_truth(learner, &plain.batch(step)?)?;
        let scores = Judge { truth: &truth, copy: None, rebalance: None }.scores(&made)?;
        for (sum, (measure, _)) in sums.iter_mut().zip(FIGURES) {
            *sum += scores.get(measure).unwrap_or(f64::NAN) / count;
        }
        detail[0] += detail_of(&made);
        detail[1] += detail_of(&truth);
    }
    let loss = f64::from((loss / count) as f32);
    let figures = FIGURES.into_iter().zip(sums).filter(|(_, mean)| mean.is_finite());
    let score = if is_pair(learner.losses()) { score_of_pair(loss, detail) } else { loss };
    Ok(Validation { loss, figures: figures.map(|((_, name), mean)| (name, mean)).collect(), score })
}

fn made_and_truth(learner: &dyn Learner, batch: &Batch) -> Result<[Image8; 2]> {
    let picture = |values: &[f32]| Image8::new(batch.size, batch.size, learner.painter().bands(), to_u8(values));
    Ok([picture(&predict(learner, batch)?)?, picture(&batch.target)?])
}

/// Of a pair, the distance from the truth alone is least for a blur. It counts for more the more the detail differs
/// from that of the truth, either way: times 1 + |ln(made / true)|.
fn score_of_pair(loss: f64, [made, truth]: [f64; 2]) -> f64 {
    let ratio = if truth > 0.0 { made.max(1e-3 * truth) / truth } else { 1.0 };
    f64::from((loss * (1.0 + ratio.ln().abs())) as f32)
}

/// Mean difference between a sample and its neighbours to the right and below.
fn detail_of(image: &Image8) -> f64 {
    let (width, bands) = (image.width(), image.bands());
    let samples = image.samples();
    let row = width * bands;
    let apart = |i: usize, j: usize| f64::from(samples[i].abs_diff(samples[j]));
    let across = (0..samples.len()).filter(|i| i % row + bands < row).map(|i| apart(i, i + bands));
    let down = (0..samples.len().saturating_sub(row)).map(|i| apart(i, i + row));
    let (sum, count) = across.chain(down).fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_spread_evenly() {
        assert_eq!(chosen(3).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(chosen(52).collect::<Vec<_>>(), [1, 7, 14, 20, 27, 33, 40, 46]);
    }

    #[test]
    fn detail_is_the_difference_of_neighbours() {
        let of = |samples: &[u8], width, height, bands| {
            detail_of(&Image8::new(width, height, bands, samples.to_vec()).unwrap())
        };
        assert_eq!(of(&[10, 20, 10, 20], 2, 2, 1), 5.0);
        assert_eq!(of(&[7; 12], 2, 2, 3), 0.0);
        // The bands of a pixel are no neighbours.
        assert_eq!(of(&[0, 100, 0, 100], 2, 1, 2), 0.0);
        assert_eq!(of(&[5], 1, 1, 1), 0.0);
    }

    #[test]
    fn a_blur_that_is_a_little_nearer_to_the_truth_is_not_the_best() {
        let (blurred, sharp) = (score_of_pair(0.100, [2.0, 8.0]), score_of_pair(0.115, [7.0, 8.0]));
        assert!(sharp < blurred, "{sharp} {blurred}");
        let noisy = score_of_pair(0.115, [24.0, 8.0]);
        assert!(sharp < noisy, "{sharp} {noisy}");
        assert_eq!(score_of_pair(0.5, [0.0, 0.0]), 0.5);
        assert!(score_of_pair(0.5, [0.0, 1.0]).is_finite());
    }
}
