//! The discriminator of pix2pix: patches of 70x70 pixels, real or made.

use crate::engine::nn::layer::{batch_norm_specs, batch_norm_then, bias_spec, convolve, kernel_spec, rectify};
use crate::engine::nn::{Bound, Norm, ParamSpec, WeightFile};
use crate::engine::ops::batch_norm::{After, Rectifier};
use crate::engine::ops::concat::Concat;
use crate::engine::ops::conv2d::{Conv2d, Padding};
use crate::engine::tape::Var;
use crate::error::Result;
use crate::networks::common::{kernel_channels, scaled};
use crate::networks::game::has_discriminator;
use crate::networks::pix2pix::network::{BANDS, Generator, INIT, norm};
use crate::networks::pix2pix::up::{KERNEL, halving};

const PATCH: [usize; 4] = [64, 128, 256, 512];

/// The discriminator `d`: source `[N, H, W, channels_in]` and picture `[N, H, W, 3]` to a logit for each patch, `[N, H
/// / 8 - 2, W / 8 - 2, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Discriminator {
    /// Channels of the source.
    pub channels_in: usize,
    /// Channels after each convolution; the last, to logits, not counted.
    pub convs: [usize; 4],
    /// Slope of the leaky ReLU, above 0.
    pub slope: f32,
    /// Whether the first convolution has a bias, as in its authors' PyTorch program.
    pub first_bias: bool,
}

impl Discriminator {
    /// The published network at a channel multiplier of `width`.
    pub fn new(channels_in: usize, width: f64, slope: f32) -> Self {
        Discriminator { channels_in, convs: PATCH.map(|c| scaled(c, width)), slope, first_bias: false }
    }

    /// The network whose weights a file holds, beside `generator`; of a file without one, that of the generator's
    /// width.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes.
    pub fn of(file: &WeightFile, generator: &Generator) -> Result<Self> {
        let mut network = Discriminator::new(generator.channels_in, 1.0, generator.slope);
        if !has_discriminator(file) {
            // The layers of both have the same channels.
            network.convs.copy_from_slice(&generator.down[..PATCH.len()]);
            return Ok(network);
        }
        for (k, channels) in network.convs.iter_mut().enumerate() {
            [_, *channels] = kernel_channels(file, &conv(k + 1))?;
        }
        network.first_bias = file.get(&format!("{}.bias", conv(1))).is_some();
        Ok(network)
    }

    /// The parameters: `d.conv1.weight` to `d.out.bias`.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut channels = self.channels_in + BANDS;
        for (k, &out) in self.convs.iter().enumerate() {
            let name = conv(k + 1);
            specs.push(kernel_spec(&name, KERNEL, channels, out, INIT));
            if k > 0 {
                specs.extend(batch_norm_specs(&norm(&name), out));
            } else if self.first_bias {
                specs.push(bias_spec(&name, out));
            }
            channels = out;
        }
        specs.push(kernel_spec("d.out", KERNEL, channels, 1, INIT));
        specs.push(bias_spec("d.out", 1));
        specs
    }

    /// Judges pictures that belong to `source`, both in -1..1, by the batch's own statistics, which move the running
    /// ones.
    ///
    /// # Errors
    /// Shapes that do not fit together, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, source: &Var, picture: &Var) -> Result<Var> {
        let tape = bound.tape();
        let rectifier = Rectifier::LeakyRelu { slope: self.slope };
        let padded = Conv2d { stride: 1, padding: Padding::Around(1), ..halving() };
        let join = || {
            let _layer = bound.layer("d.join");
            tape.apply(Concat, &[source, picture])
        };
        let mut x = join()?;
        for k in 1..=self.convs.len() {
            let name = conv(k);
            let _layer = bound.layer(&name);
            x = convolve(bound, &name, if k < self.convs.len() { halving() } else { padded }, &x)?;
            x = match k {
                1 => rectify(bound, &name, rectifier, &x)?,
                _ => batch_norm_then(bound, &name, &x, Norm::Training, After { dropout: None, rectifier }, None)?,
            };
        }
        convolve(bound, "d.out", padded, &x)
    }
}

fn conv(k: usize) -> String {
    format!("d.conv{k}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::Parameters;
    use crate::engine::tape::Tape;
    use crate::engine::tensor::Tensor;

    #[test]
    fn the_discriminator_judges_patches() {
        let discriminator = Discriminator::new(1, 0.01, 0.3);
        let device = Device::cpu();
        let parameters = Parameters::new(&device, discriminator.param_specs(), 1, false).unwrap();
        let tape = Tape::inference();
        let constant = |channels| tape.constant(Tensor::full(&device, &[2, 256, 256, channels], 0.5).unwrap());
        let bound = parameters.bind(&tape, false);
        let logits = discriminator.forward(&bound, &constant(1), &constant(3)).unwrap();
        assert_eq!(logits.value().shape(), [2, 30, 30, 1]);
    }
}
