//! pix2pix: SAR or grey to colour by a conditional GAN.
//!
//! After Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, with
//! the layers and defaults of TensorFlow's tutorial: a U-Net of eight halvings, and a discriminator that judges patches
//! of 70x70 pixels. Pictures are in -1..1.

use crate::engine::nn::layer::{
    activate, batch_norm, batch_norm_as_shift, batch_norm_specs, bias_spec, convolve, convolve_transposed, kernel_spec,
    relu, saw_one_value, upsample_nearest,
};
use crate::engine::nn::{Bound, Init, Norm, ParamSpec, Parameters, StateTensor, WeightFile};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::concat::Concat;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::ops::perturb::{Draw, Dropout};
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::common::{from_signed, kernel_channels, repeated, scaled, to_signed};
use crate::paint::painter::{self, Framing, Look};
use std::fmt;
use std::str::FromStr;

/// Height and width of an input must be multiples of this: it is halved eight times.
pub const STRIDE: usize = 256;
/// Bands of the pictures that come out: sRGB.
pub const BANDS: usize = 3;
/// Slope of the leaky ReLU in the published program (the paper has 0.2).
pub const LEAKY_SLOPE: f32 = 0.3;
/// Share of values that dropout takes in the published network.
pub const DROPOUT: f32 = 0.5;
/// Tensors `[1]` of a weight file that say what shapes do not: the slope of the leaky ReLU, the share that dropout
/// takes, the side of the training pictures. Where there is none, the published value holds.
const SLOPE_TENSOR: &str = "leaky_slope";
const DROPOUT_TENSOR: &str = "dropout";
const SIDE_TENSOR: &str = "side";

/// Side of the kernels of the published networks.
pub(super) const KERNEL: usize = 4;
/// Side of the kernels behind an enlargement, by which a weight file is known to have those.
const RESIZE_KERNEL: usize = 3;
/// Upward layers that have dropout.
const DROPOUTS: usize = 3;
const DOWN: [usize; 8] = [64, 128, 256, 512, 512, 512, 512, 512];
const UP: [usize; 7] = [512, 512, 512, 512, 256, 128, 64];
pub(super) const INIT: Init = Init::Normal(0.02);

/// Shorter side of the pictures that crops of `size` are cut from by chance: 286 for 256.
pub fn enlarged(size: usize) -> usize {
    (size * 286 + 128) / 256
}

/// How a generator runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Which statistics batch norm uses.
    pub norm: Norm,
    /// Share of values that dropout takes, 0 for none.
    pub dropout: f32,
    /// Seed of the run, for dropout.
    pub seed: u64,
    /// The update, for dropout.
    pub step: u32,
}

/// How the generator doubles height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// A transposed convolution, 4x4/2: the published network. Which of the kernel's weights meet differs between
    /// neighbouring pixels, which leaves a grid until training has evened it out.
    Transposed,
    /// Each pixel twice along both axes, then a 3x3 convolution: all pixels are made by the same weights.
    Resize,
}

impl Up {
    /// Side of the kernels.
    fn kernel(self) -> usize {
        match self {
            Up::Transposed => KERNEL,
            Up::Resize => RESIZE_KERNEL,
        }
    }

    /// The way whose kernels the layer `name` of a file has.
    fn of(file: &WeightFile, name: &str) -> Result<Self> {
        let weight = file.require(&format!("{name}.weight"))?;
        match weight.shape[..] {
            [KERNEL, KERNEL, ..] => Ok(Up::Transposed),
            [RESIZE_KERNEL, RESIZE_KERNEL, ..] => Ok(Up::Resize),
            _ => Err(Error::input(
                format!("tensor {name}.weight has shape {:?}, and no known way of doubling has that", weight.shape),
                file.source(),
                "use weights that huetape wrote for this model",
            )),
        }
    }

    /// The layer `name` on x `[N, H, W, C]`: `[N, 2 H, 2 W, C']`.
    fn run(self, bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
        match self {
            Up::Transposed => {
                let op = ConvTranspose2d { stride: 2, activation: conv2d::Activation::None };
                convolve_transposed(bound, name, op, x)
            }
            Up::Resize => {
                let larger = upsample_nearest(bound, &format!("{name}.resize"), 2, x)?;
                convolve(bound, name, Conv2d { stride: 1, ..halving() }, &larger)
            }
        }
    }
}

impl FromStr for Up {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "transposed" => Ok(Up::Transposed),
            "resize" => Ok(Up::Resize),
            _ => Err(Error::input("no such way of doubling", format!("⟨up⟩ {text}"), "use transposed or resize")),
        }
    }
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Up::Transposed => "transposed",
            Up::Resize => "resize",
        })
    }
}

/// The U-Net `g`: pictures `[N, H, W, channels_in]` to `[N, H, W, 3]`, both in -1..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels after each halving.
    pub down: [usize; 8],
    /// Channels after each doubling, before the skip joins; the last, to colours, not counted.
    pub up: [usize; 7],
    /// How each doubling is done, the last one to colours too.
    pub up_by: Up,
    /// Slope of the leaky ReLU, above 0.
    pub slope: f32,
    /// Share of values that dropout takes, 0 up to but not including 1: in training, and at work under [`Norm::Batch`].
    pub dropout: f32,
    /// Side of the pictures that it was trained on, a multiple of [`STRIDE`]: it is put to work on windows of that
    /// side.
    pub side: usize,
}

impl Generator {
    /// The published network at a channel multiplier of `width`.
    pub fn new(channels_in: usize, width: f64, slope: f32) -> Self {
        let (down, up) = (DOWN.map(|c| scaled(c, width)), UP.map(|c| scaled(c, width)));
        Generator { channels_in, down, up, up_by: Up::Transposed, slope, dropout: DROPOUT, side: STRIDE }
    }

    /// The network whose weights a file holds, read off the tensors' shapes.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes; a slope that is none.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let mut network = Generator::new(1, 1.0, LEAKY_SLOPE);
        for (k, channels) in network.down.iter_mut().enumerate() {
            let [c_in, c_out] = kernel_channels(file, &down(k + 1))?;
            *channels = c_out;
            if k == 0 {
                network.channels_in = c_in;
            }
        }
        for (k, channels) in network.up.iter_mut().enumerate() {
            [_, *channels] = kernel_channels(file, &up(k + 1))?;
        }
        network.up_by = Up::of(file, &up(1))?;
        let setting = |name: &str, fits: &dyn Fn(f32) -> bool, remedy: &str| -> Result<Option<f32>> {
            if file.get(name).is_none() {
                return Ok(None);
            }
            let value = file.expect(name, &[1])?[0];
            crate::ensure!(fits(value), Error::input(format!("tensor {name} holds {value}"), file.source(), remedy));
            Ok(Some(value))
        };
        let slope = setting(SLOPE_TENSOR, &|v| v > 0.0, "use a slope above 0")?;
        let dropout = setting(DROPOUT_TENSOR, &|v| (0.0..1.0).contains(&v), "use a share from 0 to below 1")?;
        let whole = |v: f32| v > 0.0 && v < 65536.0 && (v as usize).is_multiple_of(STRIDE);
        let side = setting(SIDE_TENSOR, &whole, "use a multiple of 256")?;
        network.slope = slope.unwrap_or(network.slope);
        network.dropout = dropout.unwrap_or(network.dropout);
        network.side = side.map_or(network.side, |side| side as usize);
        Ok(network)
    }

    /// Runs the network on x `[N, H, W, channels_in]`, H and W multiples of [`STRIDE`].
    ///
    /// The innermost batch norm sees one value per channel of each picture of 256x256. In batches of one such picture
    /// that is the mean itself, and beta comes out; under running statistics it must come out too, see
    /// [`saw_one_value`].
    ///
    /// # Errors
    /// Another size, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, x: &Var, pass: Pass) -> Result<Var> {
        let [_, height, width, _] = x.value().nhwc()?;
        crate::ensure!(
            height.is_multiple_of(STRIDE) && width.is_multiple_of(STRIDE),
            Error::input(
                format!("pix2pix takes pictures whose sides are multiples of {STRIDE}"),
                format!("{width}x{height}"),
                "continue the picture to the next multiple"
            )
        );
        let tape = bound.tape();
        let innermost = norm(&down(self.down.len()));
        let shift_only = pass.norm == Norm::Running && saw_one_value(bound, &innermost)?;
        let leaky = Activation::LeakyRelu { slope: self.slope };
        let mut x = x.clone();
        let mut skips = Vec::new();
        for k in 1..=self.down.len() {
            let name = down(k);
            x = convolve(bound, &name, halving(), &x)?;
            if k == self.down.len() && shift_only {
                x = batch_norm_as_shift(bound, &innermost, &x)?;
            } else if k > 1 {
                x = batch_norm(bound, &norm(&name), &x, pass.norm)?;
            }
            x = activate(bound, &name, leaky, &x)?;
            skips.push(x.clone());
        }
        skips.pop();
        for k in 1..=self.up.len() {
            let name = up(k);
            x = self.up_by.run(bound, &name, &x)?;
            x = batch_norm(bound, &norm(&name), &x, pass.norm)?;
            if k <= DROPOUTS && pass.dropout > 0.0 {
                let draw = Draw { seed: pass.seed, step: pass.step, layer: k as u32 };
                x = tape.apply(Dropout { rate: pass.dropout, draw }, &[&x])?;
            }
            x = relu(bound, &name, &x)?;
            if let Some(skip) = skips.pop() {
                x = tape.apply(Concat, &[&x, &skip])?;
            }
        }
        x = self.up_by.run(bound, "g.out", &x)?;
        activate(bound, "g.out", Activation::Tanh, &x)
    }

    /// The network's input from grey pictures `[N, H, W, 1]` 0..1: -1..1, repeated to `channels_in` channels.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn input(&self, grey: &Tensor) -> Result<Tensor> {
        repeated(&to_signed(grey)?, self.channels_in)
    }
}

impl painter::Generator for Generator {
    const NAME: &'static str = "pix2pix";

    fn framing(&self) -> Framing {
        Framing { stride: STRIDE, halo: 0, reach: 0, window: Some(self.side) }
    }

    fn source_bands(&self) -> usize {
        1
    }

    fn bands(&self) -> usize {
        BANDS
    }

    /// `g.down1.weight` to `g.out.bias`.
    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut channels = self.channels_in;
        for (k, &out) in self.down.iter().enumerate() {
            let name = down(k + 1);
            specs.push(kernel_spec(&name, KERNEL, channels, out, INIT));
            if k > 0 {
                specs.extend(batch_norm_specs(&norm(&name), out));
            }
            channels = out;
        }
        for (k, (&out, &skip)) in self.up.iter().zip(self.down.iter().rev().skip(1)).enumerate() {
            let name = up(k + 1);
            specs.push(kernel_spec(&name, self.up_by.kernel(), channels, out, INIT));
            specs.extend(batch_norm_specs(&norm(&name), out));
            channels = out + skip;
        }
        specs.push(kernel_spec("g.out", self.up_by.kernel(), channels, BANDS, INIT));
        specs.push(bias_spec("g.out", BANDS));
        specs
    }

    fn settings(&self) -> Vec<StateTensor> {
        [(SLOPE_TENSOR, self.slope), (DROPOUT_TENSOR, self.dropout), (SIDE_TENSOR, self.side as f32)]
            .map(|(name, value)| StateTensor { name: name.to_owned(), shape: vec![1], data: vec![value] })
            .to_vec()
    }

    fn paint(&self, parameters: &Parameters, source: &Tensor, look: &Look) -> Result<Tensor> {
        let tape = Tape::inference();
        let bound = parameters.bind(&tape, false);
        // The published program runs on the batch's statistics and leaves dropout on.
        let dropout = if look.norm == Norm::Running { 0.0 } else { self.dropout };
        let pass = Pass { norm: look.norm, dropout, seed: 0, step: 0 };
        from_signed(self.forward(&bound, &tape.constant(self.input(source)?), pass)?.value())
    }
}

pub(super) fn halving() -> Conv2d {
    Conv2d { stride: 2, dilation: 1, padding: Padding::Same, activation: conv2d::Activation::None }
}

fn down(k: usize) -> String {
    format!("g.down{k}")
}

fn up(k: usize) -> String {
    format!("g.up{k}")
}

pub(super) fn norm(layer: &str) -> String {
    format!("{layer}.bn")
}

#[cfg(test)]
mod tests {
    use super::painter::Generator as _;
    use super::*;
    use crate::engine::device::Device;
    use crate::networks::pix2pix::discriminator::Discriminator;
    use crate::random::{Rng, Stream};

    fn trained(specs: &[ParamSpec]) -> usize {
        specs.iter().filter(|spec| spec.kind.is_trained()).map(ParamSpec::len).sum()
    }

    #[test]
    fn the_published_networks_have_their_parameters() {
        assert_eq!(trained(&Generator::new(3, 1.0, LEAKY_SLOPE).param_specs()), 54_414_979);
        assert_eq!(trained(&Discriminator::new(3, 1.0, LEAKY_SLOPE).param_specs()), 2_768_641);
    }

    #[test]
    fn every_layer_has_its_name() {
        let names: Vec<String> = Generator::new(1, 0.01, 0.3).param_specs().into_iter().map(|spec| spec.name).collect();
        assert_eq!(names.iter().filter(|name| name.ends_with(".weight")).count(), 8 + 7 + 1);
        assert_eq!(names.iter().filter(|name| name.ends_with(".bn.var")).count(), 7 + 7);
        for name in ["g.down8.bn.gamma", "g.up1.bn.mean", "g.up7.weight", "g.out.bias"] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert!(!names.iter().any(|name| name == "g.down1.bn.gamma" || name == "g.up1.bias"));
    }

    #[test]
    fn a_network_is_read_back_from_its_weights() {
        let resizing = Generator { dropout: 0.25, side: 512, up_by: Up::Resize, ..Generator::new(3, 0.02, 0.2) };
        let generator = Generator { up_by: Up::Transposed, ..resizing.clone() };
        let discriminator = Discriminator::new(3, 0.05, 0.2);
        let state = |specs| Parameters::new(&Device::cpu(), specs, 1, false).unwrap().state().unwrap();
        let mut tensors = state(generator.param_specs());
        tensors.extend(state(discriminator.param_specs()));
        tensors.extend(generator.settings());
        let file = WeightFile::from_tensors("memory", tensors.clone());
        assert_eq!(Generator::of(&file).unwrap(), generator);
        assert_eq!(Discriminator::of(&file, &generator).unwrap(), discriminator);
        let mut others = state(resizing.param_specs());
        others.extend(resizing.settings());
        assert_eq!(Generator::of(&WeightFile::from_tensors("memory", others.clone())).unwrap(), resizing);
        let up1 = others.iter_mut().find(|tensor| tensor.name == "g.up1.weight").unwrap();
        up1.shape[..2].fill(5);
        let error = Generator::of(&WeightFile::from_tensors("odd.safetensors", others)).unwrap_err().to_string();
        assert!(error.contains("g.up1.weight") && error.contains("odd.safetensors"), "{error}");
        tensors.truncate(tensors.len() - generator.settings().len());
        let without = Generator::of(&WeightFile::from_tensors("memory", tensors)).unwrap();
        assert_eq!((without.slope, without.dropout, without.side), (LEAKY_SLOPE, DROPOUT, 256));
    }

    #[test]
    fn a_size_that_cannot_be_halved_eight_times_is_refused() {
        let generator = Generator::new(1, 0.01, 0.3);
        let parameters = Parameters::new(&Device::cpu(), generator.param_specs(), 1, false).unwrap();
        let grey = Tensor::full(parameters.device(), &[1, 256, 128, 1], 0.5).unwrap();
        let error = generator.paint(&parameters, &grey, &Look::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("128x256"), "{error}");
    }

    /// After many updates in batches of one, the innermost running variance is next to nothing: that must not blow up
    /// what differs from the running mean.
    #[test]
    fn the_innermost_batch_norm_puts_out_beta_when_it_saw_one_value_a_channel() {
        let generator = Generator::new(1, 0.01, 0.3);
        let parameters = Parameters::new(&Device::cpu(), generator.param_specs(), 1, false).unwrap();
        let rng = Rng::new(1, Stream::Test, 0);
        let grey: Vec<f32> = (0..65536).map(|i| rng.uniform(i)).collect();
        let grey = Tensor::new(parameters.device(), &[1, 256, 256, 1], &grey).unwrap();
        let set = |name: &str, values: &[f32]| parameters.get(name).unwrap().write(values).unwrap();
        let picture = || generator.paint(&parameters, &grey, &Look::default()).unwrap().to_vec().unwrap();

        // Fresh weights bring next to nothing down to the innermost layer.
        set("g.down8.bn.gamma", &[1e8; 4]);
        set("g.down8.bn.var", &[1e-8; 4]);
        set("g.down8.bn.beta", &[0.25, -0.5, 1.0, 0.0]);
        let alike = picture();
        // What a batch norm makes of any input when gamma is 0.
        set("g.down8.bn.var", &[1.0, 2.0, 3.0, 4.0]);
        let several = picture();
        set("g.down8.bn.gamma", &[0.0; 4]);
        let beta_alone = picture();
        assert!(alike == beta_alone);
        assert!(several != beta_alone);
    }
}
