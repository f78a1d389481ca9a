//! The learner of adversarial pairs: a generator that colours and a discriminator that tells its pictures from real
//! ones.
//!
//! What the pairs share is here: two sets of parameters, two optimisers, frozen and detached parts, the order of
//! updates. What differs is a [`Game`].

use crate::dataset::loader::Batch;
use crate::engine::device::{Device, PendingRead, View};
use crate::engine::nn::{
    Bound, Optimizer, OptimizerKind, ParamSpec, Parameters, RAW, StateTensor, StateView, WeightFile,
};
use crate::engine::ops::elementwise::{Add, AddScaled};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::primitives;
use crate::engine::tape::{Keeping, Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::networks::common::{keeping, optimizer, step};
use crate::networks::distance::Distances;
use crate::networks::freeze::Freeze;
use crate::networks::recipe::Setup;
use crate::paint::painter::{Generator, Painter, Trained};
use crate::train::health;
use crate::train::learner::{Learner, Update};

/// How both networks of a pair learn.
#[derive(Debug, Clone, PartialEq)]
pub struct AdversarialConfig {
    /// Which rule updates the weights of both networks.
    pub optimizer: OptimizerKind,
    /// Decoupled decay of kernels.
    pub weight_decay: f64,
    /// Penalty on the squares of the generator's kernels.
    pub l2: f64,
    /// Penalty on the squares of the discriminator's kernels.
    pub d_l2: f64,
    /// The discriminator's learning rate as a multiple of the generator's.
    pub lr_ratio: f64,
    /// What the generator learns by beside its game.
    pub distances: Distances,
    /// What an update leaves of the average of the generator's weights, which is what inference uses; `None` for the
    /// weights as they are.
    pub ema: Option<f64>,
    /// Parameters that do not learn.
    pub freeze: Freeze,
    /// Seed of the weights and of all that is drawn.
    pub seed: u64,
    /// What is kept of a step for the gradients.
    pub keeping: Keeping,
    /// Whether both will learn: then gradients and the optimisers' moments lie beside the weights.
    pub training: bool,
}

impl AdversarialConfig {
    /// What filled settings say.
    ///
    /// # Errors
    /// An unknown rule.
    pub fn of(setup: &Setup<'_>) -> Result<Self> {
        let settings = setup.settings;
        let l2 = settings.l2.unwrap_or_default();
        let lr_ratio = match (settings.lr_d, settings.lr) {
            (Some(lr_d), Some(lr)) => lr_d / lr,
            _ => 1.0,
        };
        Ok(AdversarialConfig {
            optimizer: settings.rule()?,
            weight_decay: settings.weight_decay.unwrap_or_default(),
            l2,
            d_l2: settings.d_l2.unwrap_or(l2),
            lr_ratio,
            distances: Distances::of(settings),
            ema: settings.ema,
            freeze: Freeze::of(settings.freeze.as_deref()),
            seed: settings.seed.unwrap_or_default(),
            keeping: keeping(settings)?,
            training: setup.training,
        })
    }
}

/// Which network steps when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Both gradients are taken from the same forward passes, then both networks step.
    Together,
    /// The discriminator steps first, on pictures that are nothing but data to it; the same pictures are then judged by
    /// the new one, through which, frozen, the generator learns.
    Alternating,
}

/// What a discriminator's answers are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The discriminator's loss on real pictures.
    Real,
    /// The discriminator's loss on made ones.
    Made,
    /// The generator's loss: that its pictures pass for real.
    Wanted,
}

/// The truth of a claim, 0..1.
pub enum Truth {
    /// The same for every logit.
    All(f32),
    /// One for each logit, of their shape.
    Each(Tensor),
}

/// What the names of a discriminator's parameters begin with: inference needs none of them.
pub const DISCRIMINATOR: &str = "d.";

/// Whether a file has a discriminator; weights that are passed on have none, and a new one learns beside them.
pub fn has_discriminator(file: &WeightFile) -> bool {
    file.names().any(|name| name.starts_with(DISCRIMINATOR))
}

/// The end of every pair's losses: what its health is judged by.
pub const VITALS: [(&str, &str); 2] = [(health::D_GAP, ""), (health::COPY, "")];

/// What differs between adversarial pairs.
pub trait Game {
    /// The network that makes pictures.
    type Generator: Generator + Clone;

    /// Names of the losses in `metrics.jsonl`, with the title of a chart each: the generator's, the discriminator's,
    /// the mean distance between made and real pictures, and [`VITALS`].
    const LOSSES: [(&'static str, &'static str); 5];

    /// Which network steps when.
    const ORDER: Order;

    /// The distance between a made picture and the real one.
    const DISTANCE: MeanLoss;

    /// The discriminator's parameters, whose names begin with [`DISCRIMINATOR`].
    fn discriminator_specs(&self) -> Vec<ParamSpec>;

    /// What both networks read of the sources of a batch.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn source(&self, generator: &Self::Generator, source: &Tensor) -> Result<Tensor>;

    /// What the generator should make of a batch, as the discriminator sees it.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn target(&self, batch: &Batch, device: &Device) -> Result<Tensor>;

    /// What the generator makes; without an `update`, as it is put to work.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn generate(&self, network: &Self::Generator, g: &Bound<'_>, source: &Var, update: Option<&Update>) -> Result<Var>;

    /// As [`Learner::calibration`].
    fn calibration(&self, _step: u64, _steps: u64, _validation: bool) -> usize {
        0
    }

    /// Runs the generator for its statistics alone, see [`Norm::Estimate`](crate::engine::nn::Norm::Estimate).
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn estimate(&self, _: &Self::Generator, _: &Bound<'_>, _source: &Var, _number: u32) -> Result<()> {
        Ok(())
    }

    /// The discriminator's logits for pictures, made or real.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn judge(&self, d: &Bound<'_>, source: &Var, picture: &Var) -> Result<Var>;

    /// Whether the discriminator can judge pictures of this size.
    fn judges(&self, _picture: &Tensor) -> bool {
        true
    }

    /// What the discriminator gets to see in its own step instead of a picture.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn disguise(&self, _tape: &Tape, picture: &Var, _claim: Claim, _update: &Update) -> Result<Var> {
        Ok(picture.clone())
    }

    /// What logits are held against.
    ///
    /// # Errors
    /// No memory.
    fn truth(&self, claim: Claim, _logits: &Tensor, _update: &Update) -> Result<Truth> {
        Ok(Truth::All(if claim == Claim::Made { 0.0 } else { 1.0 }))
    }

    /// The least that the discriminator's targets let its loss be, without penalties.
    fn least_d_loss(&self) -> f32 {
        0.0
    }

    /// Weight of the distance in the generator's loss.
    fn distance_weight(&self, update: &Update) -> f32;

    /// What a generator that copies its input would make of `source`, of the shape of its pictures.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn copied(&self, source: &Tensor) -> Result<Tensor>;
}

/// A pair under training.
pub struct Adversarial<G: Game> {
    device: Device,
    game: G,
    pub(super) g: Trained<G::Generator>,
    /// The average of the generator's weights, and what an update leaves of it.
    averaged: Option<(Trained<G::Generator>, f64)>,
    d: Parameters,
    g_optimizer: Optimizer,
    d_optimizer: Optimizer,
    lr_ratio: f64,
    distances: Distances,
    keeping: Keeping,
}

impl<G: Game> Adversarial<G> {
    /// A learner over fresh weights.
    ///
    /// # Errors
    /// No memory.
    pub fn new(device: &Device, game: G, generator: G::Generator, config: &AdversarialConfig) -> Result<Self> {
        let g = Parameters::new(device, generator.param_specs(), config.seed, config.training)?;
        // Another seed: parameters draw by their number within a network, and both begin at 0.
        let d = Parameters::new(device, game.discriminator_specs(), !config.seed, config.training)?;
        config.freeze.check(&[&g, &d])?;
        let [g, d] = [g, d].map(|parameters| parameters.freezing(|name| config.freeze.holds(name)));
        let (g, d) = (Trained { network: generator, parameters: g? }, d?);
        let averaged = match config.ema.filter(|_| config.training) {
            Some(decay) => Some((Trained { network: g.network.clone(), parameters: g.parameters.copied()? }, decay)),
            None => None,
        };
        let optimizer = |l2, parameters| optimizer(config.optimizer, l2, config.weight_decay, parameters);
        Ok(Adversarial {
            device: device.clone(),
            game,
            g_optimizer: optimizer(config.l2, &g.parameters)?,
            d_optimizer: optimizer(config.d_l2, &d)?,
            g,
            averaged,
            d,
            lr_ratio: config.lr_ratio,
            distances: config.distances,
            keeping: config.keeping,
        })
    }

    /// Takes over the weights of both networks, and nothing of their optimisers. An average begins with them. A
    /// discriminator that the file has nothing of stays as it is.
    ///
    /// # Errors
    /// Tensors that are missing or do not fit.
    pub fn load_weights(&self, file: &WeightFile) -> Result<()> {
        self.g.parameters.load(file)?;
        if let Some((averaged, _)) = &self.averaged {
            averaged.parameters.load(file)?;
        }
        if has_discriminator(file) { self.d.load(file) } else { Ok(()) }
    }

    /// The generator as inference has it.
    fn shown(&self) -> &Trained<G::Generator> {
        self.averaged.as_ref().map_or(&self.g, |(averaged, _)| averaged)
    }

    /// The binary cross-entropy of logits against the truth of a claim, a mean.
    fn claim(&self, tape: &Tape, claim: Claim, logits: &Var, update: &Update) -> Result<Var> {
        match self.game.truth(claim, logits.value(), update)? {
            Truth::All(truth) => tape.apply(MeanLoss::BceWithLogits.against(truth), &[logits]),
            Truth::Each(truth) => tape.apply(MeanLoss::BceWithLogits, &[logits, &tape.constant(truth)]),
        }
    }

    /// The discriminator's loss, how far it is from telling real pictures from made ones, and its gradients.
    fn d_loss(&self, tape: &Tape, d: &Bound<'_>, on: [&Var; 2], update: &Update) -> Result<Var> {
        let parts = [self.claim(tape, Claim::Real, on[0], update)?, self.claim(tape, Claim::Made, on[1], update)?];
        let loss = tape.apply(Add, &[&parts[0], &parts[1]])?;
        let walk = |loss: &Var| tape.backward_to(&self.d_optimizer.scaled(tape, loss.clone())?, &d.leaves()).map(drop);
        let alone = self.device.ranks().alone();
        let done = if alone { walk(&loss) } else { self.d.sum_parts(&update.share, &parts, walk) };
        done.map(|()| loss)
    }

    /// The generator's loss: how far its pictures are from passing for real, and, weighted, from the truth. `distance`
    /// is the mean over pixels of `pair`, made and real.
    fn g_loss(&self, tape: &Tape, on_made: &Var, pair: [&Var; 2], distance: &Var, update: &Update) -> Result<Var> {
        let wanted = self.claim(tape, Claim::Wanted, on_made, update)?;
        match self.game.distance_weight(update) {
            0.0 => Ok(wanted),
            weight => {
                let distance = self.distances.apply(tape, G::DISTANCE, pair, distance)?;
                tape.apply(AddScaled(weight), &[&wanted, &distance])
            }
        }
    }

    /// The discriminator's loss above its least, and the mean distance of made pictures from their source.
    fn vitals(&self, d_loss: &Tensor, made: &Var, source: &Var) -> Result<[Tensor; 2]> {
        let tape = Tape::inference();
        let gap = match self.game.least_d_loss() {
            // The loss itself, if no penalty will be added where it lies.
            0.0 if !self.d_optimizer.penalizes() => d_loss.clone(),
            least => primitives::affine(d_loss, 1.0, -least)?,
        };
        let copied = tape.constant(self.game.copied(source.value())?);
        let copy = tape.apply(G::DISTANCE, &[&tape.detach(made), &copied])?;
        Ok([gap, copy.value().clone()])
    }

    fn step_g(&self, update: &Update, loss: &Tensor) -> Result<()> {
        self.g.parameters.sum_gradients(&update.share)?;
        let done = step(&self.g.parameters, &self.g_optimizer, update, update.lr, loss)?;
        match &self.averaged {
            Some((averaged, decay)) if done => averaged.parameters.follow(&self.g.parameters, *decay, update.step),
            _ => Ok(()),
        }
    }

    fn step_d(&self, update: &Update, loss: &Tensor) -> Result<()> {
        step(&self.d, &self.d_optimizer, update, update.lr * self.lr_ratio, loss).map(drop)
    }
}

impl<G: Game> Learner for Adversarial<G> {
    fn losses(&self) -> &'static [(&'static str, &'static str)] {
        &G::LOSSES
    }

    fn step(&mut self, batch: &Batch, update: &Update) -> Result<Vec<PendingRead>> {
        let tape = Tape::keeping(self.keeping);
        let game = &self.game;
        let (g, d) = (self.g.parameters.bind(&tape, true), self.d.bind(&tape, true));
        let scope = self.device.layer("data");
        let source = tape.constant(game.source(&self.g.network, &batch.source_on(&self.device)?)?);
        let real = tape.constant(game.target(batch, &self.device)?);
        drop(scope);
        let made = game.generate(&self.g.network, &g, &source, Some(update))?;
        // What has no name of its own.
        let _scope = self.device.layer("loss");
        let distance = tape.apply(G::DISTANCE, &[&made, &real])?;
        // Real and made one after the other: together they would share the statistics of batch norm.
        let on_real = game.judge(&d, &source, &game.disguise(&tape, &real, Claim::Real, update)?)?;
        let (g_loss, d_loss, vitals);
        match G::ORDER {
            Order::Together => {
                let on_made = game.judge(&d, &source, &made)?;
                d_loss = self.d_loss(&tape, &d, [&on_real, &on_made], update)?;
                g_loss = self.g_loss(&tape, &on_made, [&made, &real], &distance, update)?;
                tape.backward_to(&self.g_optimizer.scaled(&tape, g_loss.clone())?, &g.leaves())?;
                vitals = self.vitals(d_loss.value(), &made, &source)?;
                self.step_d(update, d_loss.value())?;
            }
            Order::Alternating => {
                let detached = tape.detach(&made);
                let on_made = game.judge(&d, &source, &game.disguise(&tape, &detached, Claim::Made, update)?)?;
                d_loss = self.d_loss(&tape, &d, [&on_real, &on_made], update)?;
                vitals = self.vitals(d_loss.value(), &made, &source)?;
                self.step_d(update, d_loss.value())?;
                let frozen = self.d.bind(&tape, false);
                let on_made = game.judge(&frozen, &source, &made)?;
                g_loss = self.g_loss(&tape, &on_made, [&made, &real], &distance, update)?;
                tape.backward_to(&self.g_optimizer.scaled(&tape, g_loss.clone())?, &g.leaves())?;
            }
        }
        self.step_g(update, g_loss.value())?;
        let losses = [g_loss, d_loss, distance];
        let values: Vec<&View> = losses.iter().map(Var::value).chain(&vitals).map(|value| &**value).collect();
        self.device.start_reads(&values)
    }

    /// The mean distance from the target, as the generator is put to work.
    fn validation_loss(&self, batch: &Batch) -> Result<f64> {
        let (tape, g) = (Tape::inference(), self.shown());
        let bound = g.parameters.bind(&tape, false);
        let source = tape.constant(self.game.source(&g.network, &batch.source_on(&self.device)?)?);
        let made = self.game.generate(&g.network, &bound, &source, None)?;
        let target = tape.constant(self.game.target(batch, &self.device)?);
        Ok(f64::from(tape.apply(G::DISTANCE, &[&made, &target])?.value().item()?))
    }

    fn calibration(&self, step: u64, steps: u64, validation: bool) -> usize {
        self.game.calibration(step, steps, validation)
    }

    fn calibrate(&self, batch: &Batch, number: u32) -> Result<()> {
        let source = self.game.source(&self.g.network, &batch.source_on(&self.device)?)?;
        // What learns, for a training that goes on under these statistics, and what is shown, by weights of its own.
        for g in std::iter::once(&self.g).chain(self.averaged.as_ref().map(|(averaged, _)| averaged)) {
            let tape = Tape::inference();
            let bound = g.parameters.bind(&tape, false);
            self.game.estimate(&g.network, &bound, &tape.constant(source.clone()), number)?;
        }
        Ok(())
    }

    fn painter(&self) -> &dyn Painter {
        self.shown()
    }

    fn networks(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("generator", &self.g.parameters), ("discriminator", &self.d)]
    }

    fn run(&self, source: &Tensor, update: Option<&Update>) -> Result<()> {
        let tape = Tape::inference();
        let (g, d) = (self.g.parameters.bind(&tape, false), self.d.bind(&tape, false));
        let source = tape.constant(self.game.source(&self.g.network, source)?);
        let made = self.game.generate(&self.g.network, &g, &source, update)?;
        if self.game.judges(made.value()) {
            self.game.judge(&d, &source, &made)?;
        }
        Ok(())
    }

    fn state_views(&self) -> Result<Vec<StateView>> {
        // Whoever reads the file for inference finds an average under the plain names.
        let mut state = self.shown().parameters.state_views("")?;
        let raw = self.averaged.as_ref().map(|_| self.g.parameters.state_views(RAW)).transpose()?;
        state.extend(raw.into_iter().flatten());
        state.extend(self.g_optimizer.state_views(&self.g.parameters)?);
        state.extend(self.d.state_views("")?);
        state.extend(self.d_optimizer.state_views(&self.d)?);
        state.extend(self.g.network.settings().into_iter().map(StateView::from));
        Ok(state)
    }

    fn settings(&self) -> Vec<StateTensor> {
        self.g.network.settings()
    }

    fn load(&mut self, file: &WeightFile) -> Result<()> {
        self.load_weights(file)?;
        if self.averaged.is_some() {
            self.g.parameters.load_as(RAW, file)?;
        }
        self.g_optimizer.load(&self.g.parameters, file)?;
        self.d_optimizer.load(&self.d, file)
    }
}
