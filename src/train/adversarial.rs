//! The learner of adversarial pairs: a generator that colours and a discriminator that tells its pictures from real ones.

use super::session::Learner;
use crate::data::Batch;
use crate::device::{Device, PendingRead};
use crate::error::{Error, Result};
use crate::models::pix2pix::{self, Discriminator, Generator, Pass};
use crate::nn::{Optimizer, OptimizerKind, ParamSpec, Parameters, StateTensor, WeightFile};
use crate::ops::elementwise::{self, Add, Scale};
use crate::ops::mean_loss::MeanLoss;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::path::PathBuf;

/// How a pair learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdversarialConfig {
    /// Which rule updates the weights of both networks.
    pub optimizer: OptimizerKind,
    /// Decoupled decay of kernels.
    pub weight_decay: f64,
    /// Penalty on the kernels' squares.
    pub l2: f64,
    /// The discriminator's learning rate as a multiple of the generator's.
    pub lr_ratio: f64,
    /// Weight of the mean distance from the target in the generator's loss.
    pub lambda_l1: f32,
    /// Share of values that dropout takes, 0 up to but not including 1.
    pub dropout: f32,
    /// Seed of the weights and of dropout.
    pub seed: u64,
}

/// What a pair starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Weights of both networks to start from.
    pub init: Option<PathBuf>,
    /// Channel multiplier (1.0); with `init`, one that the weights must have.
    pub width: Option<f64>,
    /// Slope of the leaky ReLU; else that of the weights, else [`pix2pix::LEAKY_SLOPE`].
    pub leaky_slope: Option<f32>,
    /// Channels that the grey source is repeated to (1); with `init`, what the weights must read.
    pub input_channels: Option<usize>,
    /// How it learns.
    pub learning: AdversarialConfig,
}

impl Start {
    /// A pix2pix pair for training, or on from the weights in `init`.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn pix2pix(&self, device: &Device, init: Option<&WeightFile>) -> Result<Adversarial> {
        let Some(file) = init else {
            let width = self.width.unwrap_or(1.0);
            let slope = self.leaky_slope.unwrap_or(pix2pix::LEAKY_SLOPE);
            let channels = self.input_channels.unwrap_or(1);
            let generator = Generator::new(channels, width, slope);
            return Adversarial::new(device, generator, Discriminator::new(channels, width, slope), &self.learning);
        };
        let mut generator = Generator::of(file)?;
        generator.slope = self.leaky_slope.unwrap_or(generator.slope);
        let discriminator = Discriminator::of(file, &generator)?;
        let refuse = |what: &str, flag: String| {
            let remedy = "leave the flag out: the file says it";
            Err(Error::input(what, format!("{flag} with {}", file.source()), remedy))
        };
        if let Some(channels) = self.input_channels.filter(|&channels| channels != generator.channels_in) {
            return refuse("the weights read another number of channels", format!("--input-channels {channels}"));
        }
        let (channels, slope) = (generator.channels_in, generator.slope);
        let fits = |&width: &f64| {
            Generator::new(channels, width, slope) == generator
                && Discriminator::new(channels, width, slope) == discriminator
        };
        if let Some(width) = self.width.filter(|width| !fits(width)) {
            return refuse("the weights are of another width", format!("--width {width}"));
        }
        let pair = Adversarial::new(device, generator, discriminator, &self.learning)?;
        pair.g.parameters.load(file)?;
        pair.d.parameters.load(file)?;
        Ok(pair)
    }
}

/// The parameters of one of the two networks, and what updates them.
struct Player {
    parameters: Parameters,
    optimizer: Optimizer,
}

impl Player {
    fn new(device: &Device, specs: Vec<ParamSpec>, seed: u64, config: &AdversarialConfig) -> Result<Self> {
        let parameters = Parameters::new(device, specs, seed, true)?;
        let optimizer = Optimizer::new(config.optimizer, config.l2, config.weight_decay, &parameters)?;
        Ok(Player { parameters, optimizer })
    }

    /// One update by the gradients that are beside the parameters. `loss` gets the penalty on them added.
    fn step(&self, step: u64, lr: f64, loss: &Tensor) -> Result<()> {
        if let Some(penalty) = self.optimizer.penalty(&self.parameters)? {
            elementwise::accumulate(&penalty, loss)?;
        }
        self.optimizer.step(&self.parameters, step, lr)
    }

    fn state(&self) -> Result<Vec<StateTensor>> {
        let mut state = self.parameters.state()?;
        state.extend(self.optimizer.state(&self.parameters)?);
        Ok(state)
    }

    fn load(&self, file: &WeightFile) -> Result<()> {
        self.parameters.load(file)?;
        self.optimizer.load(&self.parameters, file)
    }
}

/// A pair under training: both networks step on each batch, by gradients of the same forward passes.
pub struct Adversarial {
    device: Device,
    generator: Generator,
    discriminator: Discriminator,
    g: Player,
    d: Player,
    config: AdversarialConfig,
}

/// The losses of a batch as values on a tape.
struct Losses {
    generator: Var,
    discriminator: Var,
    l1: Var,
}

impl Adversarial {
    /// A learner over fresh weights.
    ///
    /// # Errors
    /// No memory.
    pub fn new(
        device: &Device,
        generator: Generator,
        discriminator: Discriminator,
        config: &AdversarialConfig,
    ) -> Result<Self> {
        let g = Player::new(device, generator.param_specs(), config.seed, config)?;
        // Another seed: parameters draw by their number within a network, and both begin at 0.
        let d = Player::new(device, discriminator.param_specs(), !config.seed, config)?;
        Ok(Adversarial { device: device.clone(), generator, discriminator, g, d, config: *config })
    }

    /// The grey pictures of a batch, `[N, S, S, 1]` 0..1.
    fn grey(&self, batch: &Batch) -> Result<Tensor> {
        Tensor::new(&self.device, &[batch.n, batch.size, batch.size, 1], &batch.source)
    }

    /// What the generator should make of a batch, `[N, S, S, 3]` -1..1.
    fn target(&self, batch: &Batch) -> Result<Tensor> {
        let shape = [batch.n, batch.size, batch.size, pix2pix::BANDS];
        pix2pix::to_signed(&Tensor::new(&self.device, &shape, &batch.target)?)
    }
}

/// What either network is to lower:
/// `g = BCE(1, D(x, G(x))) + lambda mean |y - G(x)|` and `d = BCE(1, D(x, y)) + BCE(0, D(x, G(x)))`, means over logits.
fn losses(tape: &Tape, on_real: &Var, on_fake: &Var, fake: &Var, target: &Var, lambda_l1: f32) -> Result<Losses> {
    let bce = |logits: &Var, truth: f32| tape.apply(MeanLoss::BceWithLogits.against(truth), &[logits]);
    let l1 = tape.apply(MeanLoss::L1, &[fake, target])?;
    let weighted = tape.apply(Scale(lambda_l1), &[&l1])?;
    let generator = tape.apply(Add, &[&bce(on_fake, 1.0)?, &weighted])?;
    let discriminator = tape.apply(Add, &[&bce(on_real, 1.0)?, &bce(on_fake, 0.0)?])?;
    Ok(Losses { generator, discriminator, l1 })
}

impl Learner for Adversarial {
    fn loss_names(&self) -> &'static [&'static str] {
        &["g_loss", "d_loss", "l1"]
    }

    fn stride(&self) -> usize {
        pix2pix::STRIDE
    }

    fn step(&mut self, batch: &Batch, step: u64, lr: f64) -> Result<Vec<PendingRead>> {
        let tape = Tape::new();
        let (g, d) = (self.g.parameters.bind(&tape, true), self.d.parameters.bind(&tape, true));
        let source = tape.constant(self.generator.input(&self.grey(batch)?)?);
        let target = tape.constant(self.target(batch)?);
        let AdversarialConfig { dropout, seed, lambda_l1, lr_ratio, .. } = self.config;
        let pass = Pass::Training { dropout, seed, step: step as u32 };
        let fake = self.generator.forward(&g, &source, pass)?;
        // Real and fake one after the other: together they would share the statistics of batch norm.
        let on_real = self.discriminator.forward(&d, &source, &target)?;
        let on_fake = self.discriminator.forward(&d, &source, &fake)?;
        let losses = losses(&tape, &on_real, &on_fake, &fake, &target, lambda_l1)?;
        tape.backward_to(&losses.discriminator, &d.leaves())?;
        tape.backward_to(&losses.generator, &g.leaves())?;
        let [g_loss, d_loss, l1] = [&losses.generator, &losses.discriminator, &losses.l1].map(Var::value);
        self.g.step(step, lr, g_loss)?;
        self.d.step(step, lr * lr_ratio, d_loss)?;
        [g_loss, d_loss, l1].into_iter().map(|loss| self.device.start_read(loss)).collect()
    }

    /// The mean distance from the target, by running statistics.
    fn validation_loss(&self, batch: &Batch) -> Result<f64> {
        let tape = Tape::inference();
        let bound = self.g.parameters.bind(&tape, false);
        let source = tape.constant(self.generator.input(&self.grey(batch)?)?);
        let fake = self.generator.forward(&bound, &source, Pass::Inference)?;
        let l1 = tape.apply(MeanLoss::L1, &[&fake, &tape.constant(self.target(batch)?)])?;
        Ok(f64::from(l1.value().item()?))
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<f32>> {
        self.generator.colorize(&self.g.parameters, &self.grey(batch)?)?.to_vec()
    }

    fn state(&self) -> Result<Vec<StateTensor>> {
        let mut state = self.g.state()?;
        state.extend(self.d.state()?);
        state.push(self.generator.settings());
        Ok(state)
    }

    fn load(&mut self, file: &WeightFile) -> Result<()> {
        self.g.load(file)?;
        self.d.load(file)
    }
}
