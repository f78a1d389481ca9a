//! One training of one network, and what came of it.

use crate::figures::{Figures, NAMES, SIZE};
use crate::network::{Network, Pass};
use huetape::engine::device::Device;
use huetape::engine::nn::{Optimizer, OptimizerKind, Parameters};
use huetape::engine::tape::Tape;
use huetape::engine::tensor::Tensor;
use huetape::imaging::ops::rebalanced_cross_entropy::RebalancedCrossEntropy;
use huetape::random::{Rng, Stream};
use huetape::train::schedule::LrSchedule;
use huetape::{Error, Result};

/// Pictures to learn from.
pub const TRAINING: u32 = 2048;
/// Others to be judged by.
pub const TEST: u32 = 1024;
/// Pictures an update.
pub const BATCH: usize = 32;
/// Updates in which each picture comes once.
pub const EPOCH: u32 = TRAINING / BATCH as u32;
/// Pictures of one pass of an evaluation.
const EVALUATED: usize = 256;
/// Of Adam at the start, the same for all; it falls along half a cosine.
pub const LEARNING_RATE: f64 = 3e-3;
const ADAM: OptimizerKind = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/// How well a network does on some pictures, in evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of pictures whose likeliest class is the right one, percent.
    pub accuracy: f64,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The loss of each update, as it was minimised.
    pub losses: Vec<f64>,
    /// After each epoch and after the last update: the update's number and the score on the test pictures.
    pub tests: Vec<(u32, Score)>,
    /// The score on the training pictures at the end.
    pub train: Score,
}

/// The pictures of one seed.
pub struct Data {
    training: Figures,
    test: Figures,
}

impl Data {
    /// Makes them.
    pub fn new(seed: u64) -> Self {
        Data { training: Figures::new(seed, 0, TRAINING), test: Figures::new(seed, TRAINING, TEST) }
    }
}

/// Trains `network` for `steps` updates. `seed` sets its start, the order of the pictures and all random slopes.
///
/// # Errors
/// A loss that is not finite, and whatever a launch reports.
pub fn train(device: &Device, network: Network, data: &Data, seed: u64, steps: u32) -> Result<Outcome> {
    let parameters = Parameters::new(device, network.param_specs(), seed, true)?;
    let optimizer = Optimizer::new(ADAM, 0.0, 0.0, &parameters)?;
    let mut outcome = Outcome { losses: Vec::new(), tests: Vec::new(), train: Score { loss: 0.0, accuracy: 0.0 } };
    let mut pending = Vec::new();
    let mut order = Vec::new();
    for step in 1..=steps {
        let place = ((step - 1) % EPOCH) as usize * BATCH;
        if place == 0 {
            order = Rng::new(seed, Stream::Shuffle, (step - 1) / EPOCH).permutation(data.training.len());
        }
        let batch = Batch::new(device, &data.training, &order[place..place + BATCH])?;
        let tape = Tape::new();
        let bound = parameters.bind(&tape, true);
        let logits = network.forward(&bound, &tape.constant(batch.pictures), Pass::Training { seed, step })?;
        let loss = tape.apply(batch.cross_entropy, &[&logits])?;
        drop((bound, logits));
        pending.push(loss.value().clone());
        tape.backward(loss)?;
        let lr = LrSchedule::Cosine.lr_at(u64::from(step), u64::from(steps), LEARNING_RATE);
        optimizer.step(&parameters, u64::from(step), lr)?;
        if step % EPOCH == 0 || step == steps {
            // Read once an epoch: a GPU need not wait for the host after every update.
            for loss in pending.drain(..) {
                outcome.losses.push(f64::from(loss.item()?));
            }
            if outcome.losses.iter().any(|loss| !loss.is_finite()) {
                let subject = format!("{}, seed {seed}, before update {step}", network.activation.name());
                return Err(Error::failed("the loss is not finite", subject, "try other --steps, and report this"));
            }
            outcome.tests.push((step, evaluate(device, network, &parameters, &data.test)?));
        }
    }
    outcome.train = evaluate(device, network, &parameters, &data.training)?;
    Ok(outcome)
}

/// Some pictures on the device, and the loss that holds logits against their labels.
struct Batch {
    pictures: Tensor,
    cross_entropy: RebalancedCrossEntropy,
}

impl Batch {
    fn new(device: &Device, figures: &Figures, chosen: &[usize]) -> Result<Self> {
        let pixels: Vec<f32> = chosen.iter().flat_map(|&i| figures.picture(i)).copied().collect();
        // The plain softmax cross-entropy: all weight on one bin, all classes alike, and logits of the target's size.
        let index: Vec<f32> = chosen.iter().flat_map(|&i| [figures.labels[i] as f32, 0.0, 0.0, 0.0, 0.0]).collect();
        let weight = [1.0, 0.0, 0.0, 0.0, 0.0].repeat(chosen.len());
        let target = [chosen.len(), 1, 1, 5];
        Ok(Batch {
            pictures: Tensor::new(device, &[chosen.len(), SIZE, SIZE, 1], &pixels)?,
            cross_entropy: RebalancedCrossEntropy {
                index: Tensor::new(device, &target, &index)?,
                weight: Tensor::new(device, &target, &weight)?,
                class_weights: Tensor::full(device, &[NAMES.len()], 1.0)?,
                factor: 1,
                eps: 1e-7,
            },
        })
    }
}

fn evaluate(device: &Device, network: Network, parameters: &Parameters, figures: &Figures) -> Result<Score> {
    let (mut loss, mut right) = (0.0, 0);
    for first in (0..figures.len()).step_by(EVALUATED) {
        let count = EVALUATED.min(figures.len() - first);
        let pixels = &figures.pixels[first * SIZE * SIZE..][..count * SIZE * SIZE];
        let tape = Tape::inference();
        let pictures = tape.constant(Tensor::new(device, &[count, SIZE, SIZE, 1], pixels)?);
        let logits = network.forward(&parameters.bind(&tape, false), &pictures, Pass::Evaluation)?;
        for (logits, &label) in logits.value().to_vec()?.chunks(NAMES.len()).zip(&figures.labels[first..]) {
            let (of_picture, is_right) = cross_entropy(logits, label);
            loss += of_picture;
            right += usize::from(is_right);
        }
    }
    let count = figures.len() as f64;
    Ok(Score { loss: loss / count, accuracy: 100.0 * right as f64 / count })
}

/// The cross-entropy of one picture's logits in nats, and whether the largest is that of `label`.
fn cross_entropy(logits: &[f32], label: usize) -> (f64, bool) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (sum.ln() - f64::from(logits[label] - largest), logits[label] == largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Activation;

    #[test]
    fn a_training_learns_and_repeats_bit_for_bit() {
        let data = Data { training: Figures::new(1, 0, TRAINING), test: Figures::new(1, TRAINING, 256) };
        let network = Network { activation: Activation::RRelu, batch_norm: true };
        let run = || train(&Device::cpu(), network, &data, 1, EPOCH + 1).unwrap();
        let outcome = run();
        assert_eq!(outcome, run());
        assert_eq!(outcome.tests.iter().map(|test| test.0).collect::<Vec<_>>(), [EPOCH, EPOCH + 1]);
        // Chance is ln 8 = 2.08 nats.
        assert!(outcome.losses[EPOCH as usize] < 1.8, "{:?}", outcome.losses);
    }

    #[test]
    fn the_loss_that_is_trained_is_the_one_that_is_judged() {
        let device = Device::cpu();
        let figures = Figures::new(2, 0, 6);
        let logits: Vec<f32> = (0..6 * NAMES.len() as u64).map(|i| Rng::new(2, Stream::Test, 0).normal(i)).collect();
        let batch = Batch::new(&device, &figures, &[5, 0, 3, 1, 4, 2]).unwrap();
        let tape = Tape::inference();
        let input = tape.constant(Tensor::new(&device, &[6, 1, 1, NAMES.len()], &logits).unwrap());
        let trained = tape.apply(batch.cross_entropy, &[&input]).unwrap().value().item().unwrap();
        let rows = logits.chunks(NAMES.len()).zip([5, 0, 3, 1, 4, 2]);
        let judged = rows.map(|(row, i)| cross_entropy(row, figures.labels[i]).0).sum::<f64>() / 6.0;
        // eps = 1e-7 beside probabilities of at least 1e-3, and f32.
        assert!((f64::from(trained) - judged).abs() < 1e-4, "{trained} and {judged}");
    }
}
