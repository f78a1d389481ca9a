//! How pix2pix learns: both networks from the same forward passes, the generator also by its distance from the target.

use crate::dataset::loader::Batch;
use crate::engine::device::Device;
use crate::engine::nn::{Bound, Norm, ParamSpec, WeightFile};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::tape::Var;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::adversarial::{Adversarial, AdversarialConfig};
use crate::networks::common::{check_bands, repeated, to_signed};
use crate::networks::game::{Game, Order, VITALS};
use crate::networks::pix2pix::discriminator::Discriminator;
use crate::networks::pix2pix::network::{self as pix2pix, Generator, Pass};
use crate::networks::pix2pix::up::Up;
use crate::train::learner::Update;

/// What a pair starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Channel multiplier (1.0); with weights, one that the weights must have.
    pub width: Option<f64>,
    /// Slope of the leaky ReLU; else that of the weights, else [`pix2pix::LEAKY_SLOPE`].
    pub leaky_slope: Option<f32>,
    /// How the generator doubles height and width ([`Up::Transposed`]); with weights, a way that the weights must have.
    pub up: Option<Up>,
    /// Channels that the grey source is repeated to (1); with weights, what the weights must read.
    pub input_channels: Option<usize>,
    /// Bands of the sources (1, or with weights those that they read); several are not repeated.
    pub source_bands: Option<usize>,
    /// Weight of the mean distance from the target in the generator's loss.
    pub lambda_l1: f32,
    /// Share of values that dropout takes, 0 up to but not including 1.
    pub dropout: f32,
    /// Side of the training pictures.
    pub side: usize,
    /// Training pictures a batch.
    pub batch: usize,
    /// How it learns.
    pub learning: AdversarialConfig,
}

impl Start {
    /// A pair for training, or on from the weights `init`.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn learner(&self, device: &Device, init: Option<&WeightFile>) -> Result<Adversarial<Pix2pix>> {
        let Some(file) = init else {
            let width = self.width.unwrap_or(1.0);
            let slope = self.leaky_slope.unwrap_or(pix2pix::LEAKY_SLOPE);
            let source_bands = self.source_bands.unwrap_or(1);
            let channels = match (source_bands, self.input_channels) {
                (1, channels) => channels.unwrap_or(1),
                (bands, None | Some(1)) => bands,
                (bands, Some(channels)) => {
                    let what = format!("{bands} bands of the source are not repeated");
                    return Err(Error::input(what, format!("⟨input-channels⟩ {channels}"), "leave it out"));
                }
            };
            let up_by = self.up.unwrap_or(Up::Transposed);
            let generator = Generator { up_by, source_bands, ..Generator::of_side(self.side, channels, width, slope) };
            return self.pair(device, generator, Discriminator::new(channels, width, slope));
        };
        let mut generator = Generator::of(file)?;
        crate::ensure!(
            self.side.is_multiple_of(generator.stride()),
            Error::input(
                format!("the weights are of a network that halves {} times", generator.down.len()),
                format!("⟨size⟩ {} with {}", self.side, file.source()),
                format!("use a multiple of {}", generator.stride())
            )
        );
        check_bands(generator.source_bands, self.source_bands.unwrap_or(generator.source_bands), file)?;
        generator.slope = self.leaky_slope.unwrap_or(generator.slope);
        let discriminator = Discriminator::of(file, &generator)?;
        let refuse = |what: &str, flag: String| {
            let remedy = "leave the flag out: the file says it";
            Err(Error::input(what, format!("{flag} with {}", file.source()), remedy))
        };
        if let Some(channels) = self.input_channels.filter(|&channels| channels != generator.channels_in) {
            return refuse("the weights read another number of channels", format!("⟨input-channels⟩ {channels}"));
        }
        if let Some(up) = self.up.filter(|&up| up != generator.up_by) {
            return refuse("the weights double in another way", format!("⟨up⟩ {up}"));
        }
        let (channels, slope) = (generator.channels_in, generator.slope);
        let fits = |&width: &f64| {
            let like = Generator::of_side(generator.stride(), channels, width, slope);
            (&like.down, &like.up) == (&generator.down, &generator.up)
                && Discriminator::new(channels, width, slope).convs == discriminator.convs
        };
        if let Some(width) = self.width.filter(|width| !fits(width)) {
            return refuse("the weights are of another width", format!("⟨width⟩ {width}"));
        }
        let pair = self.pair(device, generator, discriminator)?;
        pair.load_weights(file)?;
        Ok(pair)
    }

    fn pair(
        &self,
        device: &Device,
        generator: Generator,
        discriminator: Discriminator,
    ) -> Result<Adversarial<Pix2pix>> {
        let game = Pix2pix { discriminator, lambda_l1: self.lambda_l1, seed: self.learning.seed };
        let one_value = (self.batch, self.side) == (1, generator.stride());
        let generator = Generator { dropout: self.dropout, side: self.side, one_value, ..generator };
        Adversarial::new(device, game, generator, &self.learning)
    }
}

/// The update after which the generator learns under its running statistics, as it will be put to work: its last
/// quarter begins. `None` for a training of fewer than [`LEAST_UPDATES`].
///
/// In batches of one picture, batch norm gives each picture the mean and variance of its own, and the layers behind it
/// never see one that is darker than others or of one kind of ground. Running statistics bring that difference back,
/// and a network that never met it paints wrong colours.
fn settles_after(steps: u64) -> Option<u64> {
    (steps >= LEAST_UPDATES).then_some(steps - steps / 4)
}

/// Updates of the shortest training whose statistics are taken anew and then learned with; a shorter one keeps them as
/// Keras would.
const LEAST_UPDATES: u64 = 100;
/// Pictures that the generator's statistics are taken from.
const CALIBRATION: usize = 48;

/// The losses of pix2pix: `g = BCE(1, D(x, G(x))) + lambda mean |y - G(x)|` and
/// `d = BCE(1, D(x, y)) + BCE(0, D(x, G(x)))`, means over logits.
pub struct Pix2pix {
    discriminator: Discriminator,
    lambda_l1: f32,
    seed: u64,
}

impl Game for Pix2pix {
    type Generator = Generator;

    const LOSSES: [(&'static str, &'static str); 5] = [
        ("g_loss", "Generator's loss"),
        ("d_loss", "Discriminator's loss"),
        ("l1", "Mean distance (L1)"),
        VITALS[0],
        VITALS[1],
    ];
    const ORDER: Order = Order::Together;
    const DISTANCE: MeanLoss = MeanLoss::L1;

    fn discriminator_specs(&self) -> Vec<ParamSpec> {
        self.discriminator.param_specs()
    }

    fn source(&self, generator: &Generator, source: &Tensor) -> Result<Tensor> {
        generator.input(source)
    }

    fn target(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        to_signed(&batch.target_on(device)?)
    }

    fn generate(&self, network: &Generator, g: &Bound<'_>, source: &Var, update: Option<&Update>) -> Result<Var> {
        let seed = self.seed;
        let pass = match update {
            Some(update) => {
                let settled = settles_after(update.steps).is_some_and(|step| update.step > step);
                let norm = if settled { Norm::Running } else { Norm::Training };
                Pass { norm, dropout: network.dropout, seed, step: update.step as u32, first: update.share.first }
            }
            None => Pass { norm: Norm::Running, dropout: 0.0, seed, step: 0, first: 0 },
        };
        network.forward(g, source, pass)
    }

    fn calibration(&self, step: u64, steps: u64, validation: bool) -> usize {
        match settles_after(steps) {
            Some(after) if step == after || (step < after && validation) => CALIBRATION,
            _ => 0,
        }
    }

    fn estimate(&self, network: &Generator, g: &Bound<'_>, source: &Var, number: u32) -> Result<()> {
        let pass = Pass { norm: Norm::Estimate { number }, dropout: 0.0, seed: self.seed, step: 0, first: 0 };
        network.forward(g, source, pass).map(drop)
    }

    fn judge(&self, d: &Bound<'_>, source: &Var, picture: &Var) -> Result<Var> {
        self.discriminator.forward(d, source, picture)
    }

    fn distance_weight(&self, _: &Update) -> f32 {
        self.lambda_l1
    }

    fn copied(&self, source: &Tensor) -> Result<Tensor> {
        repeated(source, pix2pix::BANDS)
    }
}
