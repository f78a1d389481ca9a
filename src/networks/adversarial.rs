//! The learner of adversarial pairs: a generator that colours and a discriminator that tells its pictures from real
//! ones.
//!
//! What the pairs share is here: two sets of parameters, two optimisers, frozen and detached parts, the order of
//! updates. What differs is a [`Game`].

use crate::dataset::loader::Batch;
use crate::engine::device::{Device, PendingRead, View};
use crate::engine::nn::{Bound, Optimizer, OptimizerKind, Parameters, RAW, StateTensor, StateView, WeightFile};
use crate::engine::ops::elementwise::{Add, AddScaled};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::primitives;
use crate::engine::tape::{Keeping, Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::networks::common::{descend, keeping, optimizer, step};
use crate::networks::distance::Distances;
use crate::networks::freeze::Freeze;
use crate::networks::game::{Claim, Game, Order, Truth, has_discriminator};
use crate::networks::recipe::Setup;
use crate::paint::painter::{Generator, Painter, Trained};
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
        let g = Trained { network: generator, parameters: g?.learning_at_once() };
        // Together, the generator learns through the discriminator that is not updated yet.
        let d = if G::ORDER == Order::Alternating { d?.learning_at_once() } else { d? };
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

    /// The discriminator's loss, how far it is from telling real pictures from made ones, and the parts of which it is
    /// the sum.
    fn d_loss(&self, tape: &Tape, on: [&Var; 2], update: &Update) -> Result<(Var, [Var; 2])> {
        let parts = [self.claim(tape, Claim::Real, on[0], update)?, self.claim(tape, Claim::Made, on[1], update)?];
        Ok((tape.apply(Add, &[&parts[0], &parts[1]])?, parts))
    }

    /// Gradients of the discriminator's loss, beside its parameters.
    fn walk_d(&self, tape: &Tape, d: &Bound<'_>, (loss, parts): &(Var, [Var; 2]), update: &Update) -> Result<()> {
        let walk = |loss: &Var| tape.backward_to(&self.d_optimizer.scaled(tape, loss.clone())?, &d.leaves()).map(drop);
        if self.device.ranks().alone() { walk(loss) } else { self.d.sum_parts(&update.share, parts, walk) }
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

    fn step_g(&self, update: &Update, tape: Tape, loss: Var) -> Result<()> {
        let done = descend(&self.g.parameters, &self.g_optimizer, update, tape, loss)?;
        match &self.averaged {
            Some((averaged, decay)) if done => averaged.parameters.follow(&self.g.parameters, *decay, update.step),
            _ => Ok(()),
        }
    }

    /// The same update with the discriminator's learning rate.
    fn update_d(&self, update: &Update) -> Update {
        Update { lr: update.lr * self.lr_ratio, ..*update }
    }

    fn step_d(&self, update: &Update, loss: &Tensor) -> Result<()> {
        step(&self.d, &self.d_optimizer, &self.update_d(update), loss).map(drop)
    }
}

impl<G: Game> Learner for Adversarial<G> {
    fn losses(&self) -> &'static [(&'static str, &'static str)] {
        &G::LOSSES
    }

    fn step(&mut self, batch: &Batch, update: &Update) -> Result<Vec<PendingRead>> {
        let tape = Tape::keeping(self.keeping);
        let game = &self.game;
        // Where the discriminator steps first, what it needs for that is let go then.
        let own = Tape::keeping(self.keeping);
        let d_tape = if G::ORDER == Order::Together { &tape } else { &own };
        let (g, d) = (self.g.parameters.bind(&tape, true), self.d.bind(d_tape, true));
        let scope = self.device.layer("data");
        let source = tape.constant(game.source(&self.g.network, &batch.source_on(&self.device)?)?);
        let real = tape.constant(game.target(batch, &self.device)?);
        drop(scope);
        let made = game.generate(&self.g.network, &g, &source, Some(update))?;
        // What has no name of its own.
        let _scope = self.device.layer("loss");
        let distance = tape.apply(G::DISTANCE, &[&made, &real])?;
        // Real and made one after the other: together they would share the statistics of batch norm.
        let [shown, shown_real] = [&source, &real].map(|var| d_tape.constant(var.value().clone()));
        let on_real = game.judge(&d, &shown, &game.disguise(d_tape, &shown_real, Claim::Real, update)?)?;
        let (g_loss, d_loss, vitals);
        match G::ORDER {
            Order::Together => {
                let on_made = game.judge(&d, &source, &made)?;
                let of_d = self.d_loss(d_tape, [&on_real, &on_made], update)?;
                self.walk_d(d_tape, &d, &of_d, update)?;
                d_loss = of_d.0;
                g_loss = self.g_loss(&tape, &on_made, [&made, &real], &distance, update)?;
                self.step_g(update, tape, g_loss.clone())?;
                vitals = self.vitals(d_loss.value(), &made, &source)?;
                self.step_d(update, d_loss.value())?;
            }
            Order::Alternating => {
                let detached = d_tape.constant(made.value().clone());
                let on_made = game.judge(&d, &shown, &game.disguise(d_tape, &detached, Claim::Made, update)?)?;
                let of_d = self.d_loss(d_tape, [&on_real, &on_made], update)?;
                vitals = self.vitals(of_d.0.value(), &made, &source)?;
                if self.device.ranks().alone() {
                    let loss = of_d.0.clone();
                    descend(&self.d, &self.d_optimizer, &self.update_d(update), own, loss)?;
                } else {
                    self.walk_d(d_tape, &d, &of_d, update)?;
                    self.step_d(update, of_d.0.value())?;
                    drop((own, d));
                }
                d_loss = of_d.0;
                let frozen = self.d.bind(&tape, false);
                let on_made = game.judge(&frozen, &source, &made)?;
                g_loss = self.g_loss(&tape, &on_made, [&made, &real], &distance, update)?;
                self.step_g(update, tape, g_loss.clone())?;
            }
        }
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
