//! The learner of the classification networks: soft-encoded colours, the rebalanced cross-entropy, Adam.

use crate::dataset::loader::Batch;
use crate::dataset::stats::Survey;
use crate::engine::device::{Device, PendingRead, View};
use crate::engine::nn::{Norm, Optimizer, OptimizerKind, ParamKind, Parameters, RAW, StateView, WeightFile};
use crate::engine::ops::elementwise::{Add, Scale};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::tape::{Keeping, Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::color::{BinSpec, Bins, Smoothing, SoftEncoder, class_weights, prior, smooth};
use crate::imaging::ops::lab;
use crate::imaging::ops::rebalanced_cross_entropy::RebalancedCrossEntropy;
use crate::imaging::ops::soft_encode::soft_encode;
use crate::networks::classifier::network::{Architecture, Classifier, centre};
use crate::networks::common::{check_bands, descend, optimizer};
use crate::networks::freeze::Freeze;
use crate::paint::painter::Painter;
use crate::train::learner::{Learner, Update};

/// Added to a probability before its logarithm, as in the published loss.
const EPS: f32 = 1e-4;
/// Images that the statistics of averaged weights are taken from.
const CALIBRATION: usize = 48;

/// How a classifier learns.
#[derive(Debug, Clone, PartialEq)]
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
    /// Weight of the lightness's mean distance in the loss of a network that predicts it.
    pub lambda_l: f32,
    /// What an update leaves of the average of the weights, which is what inference uses; `None` for the weights as
    /// they are.
    pub ema: Option<f64>,
    /// Parameters that do not learn.
    pub freeze: Freeze,
    /// What is kept of a step for the gradients.
    pub keeping: Keeping,
    /// Whether it will learn: then gradients and the optimiser's moments lie beside the weights.
    pub training: bool,
}

/// What a classifier starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Which network.
    pub architecture: &'static Architecture,
    /// Channel multiplier; with weights, one that the weights must have.
    pub width: Option<f64>,
    /// How bins are chosen where no weights bring them.
    pub bins: BinSpec,
    /// Side of a grid cell, ab units.
    pub bin_width: u32,
    /// How the prior is smoothed.
    pub smoothing: Smoothing,
    /// Whether the network predicts lightness too; weights that do go on doing so.
    pub predict_lightness: bool,
    /// Seed of the weights and of K-means.
    pub seed: u64,
    /// How it learns.
    pub learning: ClassificationConfig,
}

impl Start {
    /// A classifier for training on what `survey` found in the data, or on from the weights `init`.
    ///
    /// # Errors
    /// Weights that cannot be read, or are of another network or width; fewer colours than bins; no memory.
    pub fn learner(&self, device: &Device, survey: &Survey, init: Option<&WeightFile>) -> Result<Classification> {
        let bands = survey.stats.source_bands();
        if let Some(file) = init {
            let learner = self.with_weights(device, file)?;
            check_bands(learner.classifier.source_bands(), bands, file)?;
            return Ok(learner);
        }
        let sigma = self.learning.sigma;
        let bins = self.bins.bins(&survey.histogram, self.bin_width, self.seed)?;
        let counted = prior(&SoftEncoder::new(&bins, sigma), &survey.sample);
        let smoothed = smooth(&counted, &bins, f64::from(sigma), self.smoothing);
        self.fresh(device, bands, &bins, smoothed.iter().map(|&p| p as f32).collect())
    }

    /// A classifier of fresh weights whose bins come from no data: `bins` colours on a lattice, all as frequent.
    ///
    /// # Errors
    /// No memory.
    pub fn on_lattice(&self, device: &Device, bins: usize) -> Result<Classification> {
        self.fresh(device, 1, &Bins::lattice(bins), vec![1.0 / bins as f32; bins])
    }

    /// Fresh weights of a network that reads `bands` bands.
    fn fresh(&self, device: &Device, bands: usize, bins: &Bins, prior: Vec<f32>) -> Result<Classification> {
        let (architecture, training) = (self.architecture, self.learning.training);
        let layers = (architecture.layers)(self.width.unwrap_or(1.0), bins.len());
        let layers = if bands == 1 { layers } else { layers.reading(bands) };
        let classifier = Classifier::of_layers(device, architecture, layers, bins, prior, self.seed, training)?;
        self.learning(classifier)
    }

    fn learning(&self, classifier: Classifier) -> Result<Classification> {
        let classifier = if self.predict_lightness { classifier.predicting_lightness()? } else { classifier };
        Classification::new(classifier, &self.learning)
    }

    /// A classifier on from given weights, with their bins and their prior.
    ///
    /// # Errors
    /// Weights that are of another width, or do not fit; no memory.
    pub fn with_weights(&self, device: &Device, file: &WeightFile) -> Result<Classification> {
        let classifier = Classifier::read(device, self.architecture, file, self.learning.training)?;
        let fits = |&width: &f64| {
            let layers = (self.architecture.layers)(width, classifier.prior.len());
            layers.reading(classifier.source_bands()).param_specs() == classifier.network.param_specs()
        };
        if let Some(width) = self.width.filter(|width| !fits(width)) {
            return Err(Error::input(
                "the weights are of another width",
                format!("⟨width⟩ {width} with {}", file.source()),
                "leave ⟨width⟩ out: the file says it",
            ));
        }
        self.learning(classifier)
    }
}

/// A classifier under training.
pub struct Classification {
    classifier: Classifier,
    /// The average of its weights, and what an update leaves of it.
    averaged: Option<(Classifier, f64)>,
    optimizer: Optimizer,
    class_weights: Tensor,
    sigma: f32,
    lambda_l: f32,
    keeping: Keeping,
}

/// The loss of a batch.
struct Loss {
    /// The weighted sum.
    whole: Var,
    /// Of a network that predicts lightness, the mean distance of L / 100.
    lightness: Option<Var>,
}

impl Classification {
    /// A learner over `classifier`, which must have been made for training if it is to learn.
    ///
    /// # Errors
    /// A prior that is no distribution; no memory.
    pub fn new(mut classifier: Classifier, config: &ClassificationConfig) -> Result<Self> {
        config.freeze.check(&[&classifier.parameters])?;
        classifier.parameters = classifier.parameters.freezing(|name| config.freeze.holds(name))?.learning_at_once();
        let device = classifier.bins.device();
        let weights = class_weights(&classifier.prior, config.lambda)?;
        let class_weights = Tensor::new(device, &[weights.len()], &weights)?;
        let optimizer = optimizer(config.optimizer, config.l2, config.weight_decay, &classifier.parameters)?;
        let averaged = match config.ema.filter(|_| config.training) {
            Some(decay) => Some((classifier.copied()?, decay)),
            None => None,
        };
        let &ClassificationConfig { sigma, lambda_l, keeping, .. } = config;
        Ok(Classification { classifier, averaged, optimizer, class_weights, sigma, lambda_l, keeping })
    }

    /// The network as inference has it.
    fn shown(&self) -> &Classifier {
        self.averaged.as_ref().map_or(&self.classifier, |(averaged, _)| averaged)
    }

    /// The network with its weights.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The loss of a batch as a value on `tape`.
    fn loss(&self, classifier: &Classifier, tape: &Tape, batch: &Batch, norm: Norm) -> Result<Loss> {
        let device = classifier.bins.device();
        let scope = device.layer("targets");
        let grey = batch.source_on(device)?;
        // The pixels that the network gives colours.
        let target = centre(&batch.target_on(device)?, classifier.framing().halo)?;
        let (input, ab) = lab::split(&target)?;
        let encoding = soft_encode(&ab, &classifier.bins, self.sigma)?;
        drop(scope);
        let (logits, predicted) = classifier.logits_and_lightness(tape, &grey, norm)?;
        let _scope = device.layer("loss");
        let op = RebalancedCrossEntropy {
            index: encoding.index,
            weight: encoding.weight,
            class_weights: self.class_weights.clone(),
            factor: classifier.architecture.upsample,
            eps: EPS,
        };
        let colours = tape.apply(op, &[&logits])?;
        let Some(predicted) = predicted else { return Ok(Loss { whole: colours, lightness: None }) };
        let lightness = tape.constant(Classifier::lightness_of(&input)?);
        let distance = tape.apply(MeanLoss::L1, &[&predicted, &lightness])?;
        let weighted = tape.apply(Scale(self.lambda_l), &[&distance])?;
        Ok(Loss { whole: tape.apply(Add, &[&colours, &weighted])?, lightness: Some(distance) })
    }
}

impl Learner for Classification {
    fn losses(&self) -> &'static [(&'static str, &'static str)] {
        match self.classifier.lightness {
            Some(_) => &[("loss", "Loss"), ("lightness", "Mean distance of the lightness (L1)")],
            None => &[("loss", "Loss")],
        }
    }

    fn step(&mut self, batch: &Batch, update: &Update) -> Result<Vec<PendingRead>> {
        let tape = Tape::keeping(self.keeping);
        let Loss { whole, lightness } = self.loss(&self.classifier, &tape, batch, Norm::Training)?;
        let value = whole.value().clone();
        let _scope = value.device().layer("loss");
        let lightness = lightness.map(|loss| loss.value().clone());
        let done = descend(&self.classifier.parameters, &self.optimizer, update, tape, whole)?;
        if let Some((averaged, decay)) = self.averaged.as_ref().filter(|_| done) {
            averaged.parameters.follow(&self.classifier.parameters, *decay, update.step)?;
        }
        let losses: Vec<&View> = [Some(&value), lightness.as_ref()].into_iter().flatten().map(|loss| &**loss).collect();
        value.device().start_reads(&losses)
    }

    fn validation_loss(&self, batch: &Batch) -> Result<f64> {
        Ok(f64::from(self.loss(self.shown(), &Tape::inference(), batch, Norm::Running)?.whole.value().item()?))
    }

    /// Averaged weights make other values than any that the running statistics have seen: theirs are taken anew before
    /// they are judged, and averaged in between.
    fn calibration(&self, _step: u64, _steps: u64, validation: bool) -> usize {
        let statistics = |(averaged, _): &(Classifier, f64)| {
            averaged.parameters.specs().iter().any(|spec| spec.kind == ParamKind::Statistic)
        };
        if validation && self.averaged.as_ref().is_some_and(statistics) { CALIBRATION } else { 0 }
    }

    fn calibrate(&self, batch: &Batch, number: u32) -> Result<()> {
        let Some((averaged, _)) = &self.averaged else { return Ok(()) };
        let grey = batch.source_on(averaged.bins.device())?;
        averaged.logits(&Tape::inference(), &grey, Norm::Estimate { number }).map(drop)
    }

    fn painter(&self) -> &dyn Painter {
        self.shown()
    }

    fn networks(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("network", &self.classifier.parameters)]
    }

    fn run(&self, source: &Tensor, update: Option<&Update>) -> Result<()> {
        let norm = if update.is_some() { Norm::Training } else { Norm::Running };
        self.classifier.logits_and_lightness(&Tape::inference(), source, norm).map(drop)
    }

    fn state_views(&self) -> Result<Vec<StateView>> {
        // Whoever reads the file for inference finds the average under the plain names.
        let mut state = self.shown().state_views()?;
        if self.averaged.is_some() {
            state.extend(self.classifier.parameters.state_views(RAW)?);
        }
        state.extend(self.optimizer.state_views(&self.classifier.parameters)?);
        Ok(state)
    }

    fn load(&mut self, file: &WeightFile) -> Result<()> {
        match &self.averaged {
            Some((averaged, _)) => {
                averaged.load(file)?;
                self.classifier.parameters.load_as(RAW, file)?;
            }
            None => self.classifier.load(file)?,
        }
        self.optimizer.load(&self.classifier.parameters, file)
    }
}
