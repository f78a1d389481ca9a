//! What differs between adversarial pairs: their networks, what the discriminator sees, what it is held against.

use crate::dataset::loader::Batch;
use crate::engine::device::Device;
use crate::engine::nn::{Bound, ParamSpec, WeightFile};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::paint::painter::Generator;
use crate::train::health;
use crate::train::learner::Update;

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

    /// As [`Learner::calibration`](crate::train::learner::Learner::calibration).
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
