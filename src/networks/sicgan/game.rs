//! How SICGAN learns: the discriminator first, on noisy patches and against noisy labels; then the generator, by the
//! new one.

use crate::dataset::loader::Batch;
use crate::engine::device::Device;
use crate::engine::nn::{Bound, ParamSpec, WeightFile};
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::ops::perturb::{Draw, GaussianNoise};
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::adversarial::{Adversarial, AdversarialConfig};
use crate::networks::game::{Claim, Game, Order, Truth, VITALS, has_discriminator};
use crate::networks::sicgan::network::{self as sicgan, Discriminator, Generator};
use crate::random::{Rng, Stream};
use crate::train::learner::Update;

/// What keeps the discriminator from being too sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation at the first step of what is added to the discriminator's pictures (ab / 110) in its own
    /// step; it falls linearly and would reach 0 after the last step.
    pub sigma: f32,
    /// How far a patch's label lies at most from the middle of its range, see [`Sicgan`].
    pub label: f32,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { sigma: 0.1, label: 0.05 }
    }
}

/// What a pair starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Channel multiplier (1.0); with weights, one that the weights must have.
    pub width: Option<f64>,
    /// Side of the patches in pixels; weights to start from may have seen others.
    pub patch: usize,
    /// Weight of the mean distance from the target in the generator's loss.
    pub lambda_l1: f32,
    /// What keeps the discriminator from being too sure.
    pub noise: Noise,
    /// How it learns.
    pub learning: AdversarialConfig,
}

impl Start {
    /// A pair for training, or on from the weights `init`.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn learner(&self, device: &Device, init: Option<&WeightFile>) -> Result<Adversarial<Sicgan>> {
        let named = |width| (Generator::new(width, self.patch), Discriminator::new(width));
        let Some(file) = init else { return self.pair(device, named(self.width.unwrap_or(1.0))) };
        let generator = Generator { patch: self.patch, ..Generator::of(file)? };
        let discriminator =
            if has_discriminator(file) { Discriminator::of(file)? } else { Discriminator::new(generator.width()) };
        let of_file = (generator, discriminator);
        if let Some(width) = self.width.filter(|&width| named(width) != of_file) {
            return Err(Error::input(
                "the weights are of another width",
                format!("⟨width⟩ {width} with {}", file.source()),
                "leave the flag out: the file says it",
            ));
        }
        let pair = self.pair(device, of_file)?;
        pair.load_weights(file)?;
        Ok(pair)
    }

    fn pair(&self, device: &Device, networks: (Generator, Discriminator)) -> Result<Adversarial<Sicgan>> {
        let (generator, discriminator) = networks;
        let game = Sicgan { discriminator, lambda_l1: self.lambda_l1, noise: self.noise, seed: self.learning.seed };
        Adversarial::new(device, game, generator, &self.learning)
    }
}

/// The losses of SICGAN: `d = BCE(0.9 + u, D(y + e)) + BCE(v, D(G(x) + e))` and
/// `g = BCE(1 + w, D(G(x))) + lambda mean |y - G(x)|`, means over patches.
///
/// For each patch u and w are uniform in -label..label, v in 0..2 label, and targets are kept within 0..1; for each
/// value e is normal of a standard deviation that falls from sigma to 0. All of them are functions of seed and step.
pub struct Sicgan {
    discriminator: Discriminator,
    lambda_l1: f32,
    noise: Noise,
    seed: u64,
}

/// Tells draws of one step apart.
fn number(claim: Claim) -> u32 {
    match claim {
        Claim::Real => 0,
        Claim::Made => 1,
        Claim::Wanted => 2,
    }
}

/// The label of a claim, of which what is drawn lies on both sides.
fn middle(claim: Claim, noise: Noise) -> f32 {
    match claim {
        Claim::Real => 0.9,
        Claim::Made => noise.label,
        Claim::Wanted => 1.0,
    }
}

impl Sicgan {
    /// Standard deviation of the noise on the discriminator's pictures.
    fn sigma(&self, update: &Update) -> f32 {
        self.noise.sigma * (1.0 - (update.step - 1) as f32 / update.steps as f32)
    }

    /// The labels of `n` patches, 0..1, those of the share of a batch.
    fn labels(&self, claim: Claim, n: usize, update: &Update) -> Vec<f32> {
        let rng = Rng::new(self.seed, Stream::Label, update.step as u32);
        let middle = middle(claim, self.noise);
        // Each claim draws from indices of its own.
        let before = update.share.first * (n / update.share.images);
        let first = (u64::from(number(claim)) << 32) + before as u64;
        let off = |i: u64| self.noise.label * (2.0 * rng.uniform(first + i) - 1.0);
        (0..n as u64).map(|i| (middle + off(i)).clamp(0.0, 1.0)).collect()
    }
}

impl Game for Sicgan {
    type Generator = Generator;

    const LOSSES: [(&'static str, &'static str); 5] = [
        ("g_loss", "Generator's loss"),
        ("d_loss", "Discriminator's loss"),
        ("l1", "Mean distance of ab / 110 (L1)"),
        VITALS[0],
        VITALS[1],
    ];
    const ORDER: Order = Order::Alternating;
    const DISTANCE: MeanLoss = MeanLoss::L1;

    fn discriminator_specs(&self) -> Vec<ParamSpec> {
        self.discriminator.param_specs()
    }

    fn source(&self, generator: &Generator, source: &Tensor) -> Result<Tensor> {
        generator.features(source)
    }

    fn target(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        sicgan::scaled_ab(&batch.target_on(device)?)
    }

    fn generate(&self, network: &Generator, g: &Bound<'_>, source: &Var, _: Option<&Update>) -> Result<Var> {
        network.forward(g, source)
    }

    fn judge(&self, d: &Bound<'_>, _: &Var, picture: &Var) -> Result<Var> {
        self.discriminator.forward(d, picture)
    }

    fn disguise(&self, tape: &Tape, picture: &Var, claim: Claim, update: &Update) -> Result<Var> {
        let [_, height, width, channels] = picture.value().nhwc()?;
        let first = (update.share.first * height * width * channels) as u64;
        let draw = Draw { seed: self.seed, step: update.step as u32, layer: number(claim), first };
        match self.sigma(update) {
            0.0 => Ok(picture.clone()),
            sigma => tape.apply(GaussianNoise { sigma, draw }, &[picture]),
        }
    }

    fn truth(&self, claim: Claim, logits: &Tensor, update: &Update) -> Result<Truth> {
        let labels = self.labels(claim, logits.len(), update);
        Ok(Truth::Each(Tensor::new(logits.device(), logits.shape(), &labels)?))
    }

    /// The entropies of the labels' middles.
    fn least_d_loss(&self) -> f32 {
        let entropy = |p: f32| [p, 1.0 - p].iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum::<f32>();
        entropy(middle(Claim::Real, self.noise)) + entropy(middle(Claim::Made, self.noise))
    }

    fn distance_weight(&self, _: &Update) -> f32 {
        self.lambda_l1
    }

    /// A picture without colour.
    fn copied(&self, source: &Tensor) -> Result<Tensor> {
        let [n, height, width, _] = source.nhwc()?;
        Tensor::full(source.device(), &[n, height, width, 2], 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ranks::Share;
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    fn game(noise: Noise) -> Sicgan {
        Sicgan { discriminator: Discriminator::new(0.1), lambda_l1: 0.0, noise, seed: 9 }
    }

    fn update(step: u64) -> Update {
        Update { step, steps: 10, lr: 0.0, share: Share::default() }
    }

    #[test]
    fn labels_lie_in_their_ranges_and_each_step_and_claim_draws_its_own() {
        let game = game(Noise::default());
        let labels = |claim, step| game.labels(claim, 4000, &update(step));
        for (claim, low, high) in [(Claim::Real, 0.85, 0.95), (Claim::Made, 0.0, 0.1), (Claim::Wanted, 0.95, 1.0)] {
            let labels = labels(claim, 1);
            let [least, most] = [f32::min, f32::max].map(|f| labels.iter().copied().reduce(f).unwrap());
            // The ends are reached but for a hundredth of the range.
            assert!((low..low + 1e-3).contains(&least), "{claim:?}: {least}");
            assert!((high - 1e-3..high + 1e-6).contains(&most), "{claim:?}: {most}");
        }
        // What lies above 1 is cut: half of them.
        let cut = labels(Claim::Wanted, 1).iter().filter(|&&label| label == 1.0).count();
        // Five standard deviations of a binomial count: 5 * sqrt(4000 / 4).
        assert!(cut.abs_diff(2000) < 158, "{cut}");
        assert_ne!(labels(Claim::Real, 1), labels(Claim::Real, 2));
        let off = |claim, middle: f32| labels(claim, 1).iter().map(|label| label - middle).collect::<Vec<_>>();
        assert_ne!(off(Claim::Real, 0.9), off(Claim::Made, 0.05));
        assert_eq!(labels(Claim::Made, 3), labels(Claim::Made, 3));
    }

    #[test]
    fn without_noise_the_labels_are_their_middles() {
        let game = game(Noise { sigma: 0.0, label: 0.0 });
        let label = |claim| game.labels(claim, 1, &update(1))[0];
        assert_eq!([Claim::Real, Claim::Made, Claim::Wanted].map(label), [0.9, 0.0, 1.0]);
    }

    #[test]
    fn the_least_loss_of_the_discriminator_is_that_of_the_labels_middles() {
        let bce = |target: f32, p: f32| -target * p.ln() - (1.0 - target) * (1.0 - p).ln();
        let game = game(Noise::default());
        let mean = |claim, p| game.labels(claim, 4000, &update(1)).iter().map(|&t| bce(t, p)).sum::<f32>() / 4000.0;
        let loss = |real, made| mean(Claim::Real, real) + mean(Claim::Made, made);
        // A loss is the mean label times the logit, 2.2 and 2.9, and more: five standard errors of both means.
        assert_abs_diff_eq!(
            loss(0.9, 0.05),
            game.least_d_loss(),
            epsilon = 5.0 * 0.05 / 12_000f32.sqrt() * (2.2 + 2.95)
        );
        assert!(loss(0.8, 0.05) > game.least_d_loss() && loss(0.9, 0.1) > game.least_d_loss());
        let silent = Sicgan { noise: Noise { sigma: 0.0, label: 0.0 }, ..game };
        assert_abs_diff_eq!(silent.least_d_loss(), 0.325_083, epsilon = 1e-6);
    }

    #[test]
    fn noise_on_pictures_falls_from_its_start_to_nothing() {
        let game = game(Noise::default());
        let sigma = |step| game.sigma(&update(step));
        assert_eq!(sigma(1), 0.1);
        assert!(abs_diff_eq!(sigma(6), 0.05, epsilon = 1e-7) && abs_diff_eq!(sigma(10), 0.01, epsilon = 1e-7));
    }

    #[test]
    fn real_and_made_pictures_get_noise_of_their_own() {
        let (game, tape) = (game(Noise::default()), Tape::inference());
        let grey = tape.constant(Tensor::full(&Device::cpu(), &[2, 4, 4, 2], 0.0).unwrap());
        let seen = |claim, step| game.disguise(&tape, &grey, claim, &update(step)).unwrap().value().to_vec().unwrap();
        assert_ne!(seen(Claim::Real, 1), seen(Claim::Made, 1));
        assert_ne!(seen(Claim::Real, 1), seen(Claim::Real, 2));
        assert_eq!(seen(Claim::Real, 1), seen(Claim::Real, 1));
    }
}
