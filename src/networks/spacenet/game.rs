//! How SpaceNet's satellite GAN learns: by turns, the generator close to the truth at first and freer later.

use crate::dataset::loader::Batch;
use crate::engine::device::Device;
use crate::engine::nn::{Bound, ParamSpec, WeightFile};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::tape::Var;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::adversarial::{Adversarial, AdversarialConfig};
use crate::networks::common::{repeated, to_signed};
use crate::networks::game::{Game, Order, VITALS, has_discriminator};
use crate::networks::spacenet::network::{Discriminator, Generator};
use crate::train::learner::Update;

/// Share of the weight of the mean squared error that is left from half of the training on.
const LEFT: f64 = 0.1;

/// What a pair starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Channel multiplier (1.0); with weights, one that the weights must have.
    pub width: Option<f64>,
    /// Side of the windows, a multiple of [`STRIDE`](crate::networks::spacenet::network::STRIDE).
    pub size: usize,
    /// Weight of the mean squared error in the generator's loss at the first update.
    pub lambda_mse: f32,
    /// How it learns.
    pub learning: AdversarialConfig,
}

impl Start {
    /// A pair for training on data of these bands in and out, or on from the weights `init`.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn learner(
        &self,
        device: &Device,
        [bands_in, bands_out]: [usize; 2],
        init: Option<&WeightFile>,
    ) -> Result<Adversarial<Spacenet>> {
        let size = self.size;
        let of_width =
            |width: f64| (Generator::new(bands_in, bands_out, width), Discriminator::new(bands_out, width, size));
        let Some(file) = init else { return self.pair(device, of_width(self.width.unwrap_or(1.0))) };
        let generator = Generator::of(file)?;
        let discriminator = match has_discriminator(file) {
            true => Discriminator::of(file)?,
            false => Discriminator::new(bands_out, generator.multiplier(), size),
        };
        let refuse = |what: String, with: &str, remedy: &str| {
            Err(Error::input(what, format!("{with} with {}", file.source()), remedy))
        };
        if (generator.bands_in, generator.bands_out) != (bands_in, bands_out) {
            let what = format!(
                "the weights make {} bands of {}, the data have {bands_out} and {bands_in}",
                generator.bands_out, generator.bands_in
            );
            return refuse(what, "⟨source⟩ and ⟨target⟩", "use pictures of the same bands");
        }
        if discriminator.size != size {
            let what = format!("the weights judge windows of {side}x{side}", side = discriminator.size);
            return refuse(what, &format!("⟨size⟩ {size}"), &format!("use ⟨size⟩ {}", discriminator.size));
        }
        if let Some(width) = self.width.filter(|width| of_width(*width) != (generator, discriminator)) {
            let what = "the weights are of another width".to_owned();
            return refuse(what, &format!("⟨width⟩ {width}"), "leave the flag out: the file says it");
        }
        let pair = self.pair(device, (generator, discriminator))?;
        pair.load_weights(file)?;
        Ok(pair)
    }

    fn pair(
        &self,
        device: &Device,
        (generator, discriminator): (Generator, Discriminator),
    ) -> Result<Adversarial<Spacenet>> {
        let game = Spacenet { discriminator, lambda_mse: self.lambda_mse };
        Adversarial::new(device, game, generator, &self.learning)
    }
}

/// The losses: `d = BCE(1, D(y)) + BCE(0, D(G(x)))`, beside the penalty on its kernels, and, by the discriminator after
/// its step, `g = BCE(1, D(G(x))) + lambda(t) mean (y - G(x))^2`. D does not see the source.
pub struct Spacenet {
    discriminator: Discriminator,
    lambda_mse: f32,
}

impl Game for Spacenet {
    type Generator = Generator;

    const LOSSES: [(&'static str, &'static str); 5] = [
        ("g_loss", "Generator's loss"),
        ("d_loss", "Discriminator's loss"),
        ("mse", "Mean squared error"),
        VITALS[0],
        VITALS[1],
    ];
    const ORDER: Order = Order::Alternating;
    const DISTANCE: MeanLoss = MeanLoss::SquaredError;

    fn discriminator_specs(&self) -> Vec<ParamSpec> {
        self.discriminator.param_specs()
    }

    fn source(&self, _: &Generator, source: &Tensor) -> Result<Tensor> {
        to_signed(source)
    }

    fn target(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        to_signed(&batch.target_on(device)?)
    }

    fn generate(&self, network: &Generator, g: &Bound<'_>, source: &Var, _: Option<&Update>) -> Result<Var> {
        network.forward(g, source)
    }

    fn judge(&self, d: &Bound<'_>, _: &Var, picture: &Var) -> Result<Var> {
        self.discriminator.forward(d, picture)
    }

    fn judges(&self, picture: &Tensor) -> bool {
        picture.shape()[1..3] == [self.discriminator.size; 2]
    }

    /// The source's bands, again and again.
    fn copied(&self, source: &Tensor) -> Result<Tensor> {
        repeated(source, self.discriminator.bands)
    }

    /// Falls on a straight line to a tenth over the first half of the training, and stays there.
    fn distance_weight(&self, update: &Update) -> f32 {
        let gone = (2.0 * (update.step - 1) as f64 / update.steps as f64).min(1.0);
        (f64::from(self.lambda_mse) * (1.0 - (1.0 - LEFT) * gone)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::OptimizerKind;
    use crate::engine::ranks::Share;
    use crate::engine::tape::Keeping;
    use crate::networks::distance::Distances;
    use crate::networks::freeze::Freeze;
    use crate::train::learner::Learner;

    fn start(width: Option<f64>, size: usize) -> Start {
        let optimizer = OptimizerKind::Sgd { momentum: 0.9 };
        let learning = AdversarialConfig {
            optimizer,
            weight_decay: 0.0,
            l2: 0.0,
            d_l2: 1e-4,
            lr_ratio: 1.0,
            distances: Distances::default(),
            ema: None,
            freeze: Freeze::default(),
            seed: 1,
            keeping: Keeping::default(),
            training: true,
        };
        Start { width, size, lambda_mse: 100.0, learning }
    }

    #[test]
    fn the_weight_of_the_error_falls_to_a_tenth_by_half_of_the_training() {
        let game = Spacenet { discriminator: Discriminator::new(3, 0.1, 32), lambda_mse: 100.0 };
        let at = |step| game.distance_weight(&Update { step, steps: 200, lr: 0.0, share: Share::default() });
        assert_eq!([at(1), at(51), at(101), at(102), at(200)], [100.0, 55.0, 10.0, 10.0, 10.0]);
    }

    #[test]
    fn weights_go_on_where_bands_size_and_width_are_theirs() {
        let device = Device::cpu();
        let learner = start(Some(0.05), 32).learner(&device, [3, 4], None).unwrap();
        let file = WeightFile::from_tensors("w.safetensors", learner.state().unwrap());
        let again = start(None, 32).learner(&device, [3, 4], Some(&file)).unwrap();
        let weights = |learner: &Adversarial<Spacenet>| learner.g.parameters.state().unwrap();
        assert_eq!(weights(&again), weights(&learner));
        let cases = [
            (start(None, 32), [1, 3], "the weights make 4 bands of 3, the data have 3 and 1"),
            (start(None, 64), [3, 4], "use size 32"),
            (start(Some(1.0), 32), [3, 4], "width 1 with w.safetensors"),
        ];
        for (start, bands, expected) in cases {
            let error = start.learner(&device, bands, Some(&file)).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
