//! The learner of the classification networks: soft-encoded colours, the rebalanced cross-entropy, Adam.

use super::session::{Learner, Update};
use crate::color::{BinSpec, Bins, Smoothing, SoftEncoder, class_weights, prior, smooth};
use crate::data::Batch;
use crate::data::stats::Survey;
use crate::device::{Device, PendingRead};
use crate::error::{Error, Result};
use crate::models::classifier::{Classifier, bins_and_prior};
use crate::models::colournet;
use crate::models::painter::Painter;
use crate::nn::{Norm, Optimizer, OptimizerKind, StateTensor, WeightFile};
use crate::ops::rebalanced_cross_entropy::RebalancedCrossEntropy;
use crate::ops::soft_encode::soft_encode;
use crate::ops::{elementwise, lab};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::path::PathBuf;

/// Added to a probability before its logarithm, as in the published loss.
const EPS: f32 = 1e-4;

/// How a classifier learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassificationConfig {
    /// Which rule updates the weights.
    pub optimizer: OptimizerKind,
    /// Decoupled decay of kernels.
    pub weight_decay: f64,
    /// Penalty on the kernels' squares.
    pub l2: f64,
    /// Share of the uniform prior in the class weights, 0..1.
    pub lambda: f32,
    /// Width of the soft encoding, ab units.
    pub sigma: f32,
}

/// What a classifier starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Weights to start from; they bring their bins and their prior.
    pub init: Option<PathBuf>,
    /// Channel multiplier; with `init`, one that the weights must have.
    pub width: Option<f64>,
    /// How bins are chosen where no weights bring them.
    pub bins: BinSpec,
    /// Side of a grid cell, ab units.
    pub bin_width: u32,
    /// How the prior is smoothed.
    pub smoothing: Smoothing,
    /// Seed of the weights and of K-means.
    pub seed: u64,
    /// How it learns.
    pub learning: ClassificationConfig,
}

impl Start {
    /// A ColourNet for training on what `survey` found in the data, or on from the weights in `init`.
    ///
    /// # Errors
    /// Weights that cannot be read or are of another width; fewer colours than bins; no memory.
    pub fn colournet(&self, device: &Device, survey: &Survey, init: Option<&WeightFile>) -> Result<Classification> {
        let sigma = self.learning.sigma;
        let make = |network, bins: &Bins, prior| {
            Classifier::new(device, network, colournet::UPSAMPLE, bins, prior, self.seed, true)
        };
        let classifier = match init {
            Some(file) => {
                let (bins, prior) = bins_and_prior(file)?;
                let network = colournet::network_of(file)?;
                if let Some(width) = self.width.filter(|&width| colournet::network(width, bins.len()) != network) {
                    return Err(Error::input(
                        "the weights are of another width",
                        format!("--width {width} with {}", file.source()),
                        "leave --width out: the file says it",
                    ));
                }
                let classifier = make(network, &bins, prior)?;
                classifier.load(file)?;
                classifier
            }
            None => {
                let bins = self.bins.bins(&survey.histogram, self.bin_width, self.seed)?;
                let counted = prior(&SoftEncoder::new(&bins, sigma), &survey.sample);
                let smoothed = smooth(&counted, &bins, f64::from(sigma), self.smoothing);
                let network = colournet::network(self.width.unwrap_or(1.0), bins.len());
                make(network, &bins, smoothed.iter().map(|&p| p as f32).collect())?
            }
        };
        Classification::new(classifier, &self.learning)
    }
}

/// A classifier under training.
pub struct Classification {
    classifier: Classifier,
    optimizer: Optimizer,
    class_weights: Tensor,
    sigma: f32,
}

impl Classification {
    /// A learner over `classifier`, which must have been made for training.
    ///
    /// # Errors
    /// A prior that is no distribution; no memory.
    pub fn new(classifier: Classifier, config: &ClassificationConfig) -> Result<Self> {
        let device = classifier.bins.device();
        let weights = class_weights(&classifier.prior, config.lambda)?;
        let class_weights = Tensor::new(device, &[weights.len()], &weights)?;
        let optimizer = Optimizer::new(config.optimizer, config.l2, config.weight_decay, &classifier.parameters)?;
        Ok(Classification { classifier, optimizer, class_weights, sigma: config.sigma })
    }

    /// The network with its weights.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The loss of a batch as a value on `tape`.
    fn loss(&self, tape: &Tape, batch: &Batch, norm: Norm) -> Result<Var> {
        let device = self.classifier.bins.device();
        let grey = batch.source_on(device)?;
        let (_, ab) = lab::split(&batch.target_on(device)?)?;
        let encoding = soft_encode(&ab, &self.classifier.bins, self.sigma)?;
        let bound = self.classifier.parameters.bind(tape, norm == Norm::Training);
        let input = tape.constant(Classifier::input(&grey)?);
        let logits = self.classifier.network.forward(&bound, input, norm)?;
        let op = RebalancedCrossEntropy {
            index: encoding.index,
            weight: encoding.weight,
            class_weights: self.class_weights.clone(),
            factor: self.classifier.upsample,
            eps: EPS,
        };
        tape.apply(op, &[&logits])
    }
}

impl Learner for Classification {
    fn losses(&self) -> &'static [(&'static str, &'static str)] {
        &[("loss", "Loss")]
    }

    fn step(&mut self, batch: &Batch, update: &Update) -> Result<Vec<PendingRead>> {
        let tape = Tape::new();
        let loss = self.loss(&tape, batch, Norm::Training)?;
        let value = loss.value().clone();
        tape.backward(loss)?;
        if let Some(penalty) = self.optimizer.penalty(&self.classifier.parameters)? {
            elementwise::accumulate(&penalty, &value)?;
        }
        self.optimizer.step(&self.classifier.parameters, update.step, update.lr)?;
        Ok(vec![value.device().start_read(&value)?])
    }

    fn validation_loss(&self, batch: &Batch) -> Result<f64> {
        Ok(f64::from(self.loss(&Tape::inference(), batch, Norm::Running)?.value().item()?))
    }

    fn painter(&self) -> &dyn Painter {
        &self.classifier
    }

    fn state(&self) -> Result<Vec<StateTensor>> {
        let mut state = self.classifier.state()?;
        state.extend(self.optimizer.state(&self.classifier.parameters)?);
        Ok(state)
    }

    fn load(&mut self, file: &WeightFile) -> Result<()> {
        self.classifier.load(file)?;
        self.optimizer.load(&self.classifier.parameters, file)
    }
}
