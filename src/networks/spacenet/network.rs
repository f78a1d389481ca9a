//! SpaceNet's satellite GAN: any bands to any others, grey to RGB or RGB to multispectral.
//!
//! After "Artificial Colorization of Grayscale Satellite Imagery via GANs" (CosmiQ Works, 2017): a generator at full
//! resolution whose layers read a learned mean of the two layers before, and a discriminator that judges whole windows.
//! Values are in -1..1.

use crate::engine::nn::layer::{activate, conv_specs, convolve, convolve_transposed, dense, dense_specs, report};
use crate::engine::nn::{Bound, Init, ParamKind, ParamSpec, Parameters, WeightFile};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::ops::convex_mix::ConvexMix;
use crate::engine::ops::max_pool2d::MaxPool2d;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::common::{from_signed, kernel_channels, scaled, to_signed};
use crate::paint::painter::{self, Framing, Look};

/// Sides of the windows that the discriminator judges are multiples of this: it halves them five times. The generator
/// takes any size.
pub const STRIDE: usize = 32;
/// Side of the windows in the published training.
pub const SIZE: usize = 64;
/// Pixels on each side of a pixel that its colour depends on: nine kernels of 3x3.
pub const REACH: usize = LAYERS * 3;

/// Outer layers of the generator.
pub(super) const LAYERS: usize = 3;
const WIDTH: usize = 64;
const CONVS: [usize; 5] = [64, 128, 256, 512, 1024];
/// Side of the kernels that see neighbours.
const KERNEL: usize = 3;

/// The generator `g`: pictures `[N, H, W, bands_in]` to `[N, H, W, bands_out]`, both in -1..1.
///
/// Layer k of three reads `x_k = a_k h_(k-1) + (1 - a_k) h_(k-2)` with `a_k` the sigmoid of a learned number, and h_0
/// and h_-1 two separate 1x1 convolutions of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generator {
    /// Bands of the input.
    pub bands_in: usize,
    /// Channels of all layers.
    pub width: usize,
    /// Bands of the output.
    pub bands_out: usize,
}

impl Generator {
    /// The published network at a channel multiplier of `width`.
    pub fn new(bands_in: usize, bands_out: usize, width: f64) -> Self {
        Generator { bands_in, width: scaled(WIDTH, width), bands_out }
    }

    /// The channel multiplier, but for the rounding of its channels.
    pub fn multiplier(&self) -> f64 {
        self.width as f64 / WIDTH as f64
    }

    /// The network whose weights a file holds, read off the tensors' shapes.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let [bands_in, width] = kernel_channels(file, "g.in0")?;
        let [_, bands_out] = kernel_channels(file, "g.out")?;
        Ok(Generator { bands_in, width, bands_out })
    }

    /// Runs the network on x `[N, H, W, bands_in]` of any size.
    ///
    /// # Errors
    /// Other bands, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, x: &Var) -> Result<Var> {
        let tape = bound.tape();
        let mut before = conv(bound, "g.in1", x, conv2d::Activation::None)?;
        let mut last = conv(bound, "g.in0", x, conv2d::Activation::None)?;
        for k in 1..=LAYERS {
            let name = |part: &str| format!("g.layer{k}.{part}");
            let _layer = bound.layer(&name("mix"));
            let mut x = tape.apply(ConvexMix, &[&last, &before, &bound.var(&name("mix"))?])?;
            report(bound, &name("mix"), "convex mix", &last, &x)?;
            for part in ["conv1", "conv2"] {
                x = conv(bound, &name(part), &x, conv2d::Activation::None)?;
            }
            let deconv = ConvTranspose2d { stride: 1, activation: conv2d::Activation::Relu };
            before = std::mem::replace(&mut last, convolve_transposed(bound, &name("deconv"), deconv, &x)?);
        }
        let x = conv(bound, "g.out", &last, conv2d::Activation::None)?;
        activate(bound, "g.out", Activation::Tanh, &x)
    }
}

impl painter::Generator for Generator {
    const NAME: &'static str = "spacenet";

    fn framing(&self) -> Framing {
        Framing { stride: 1, halo: 0, reach: REACH, window: None, margin: 0 }
    }

    fn source_bands(&self) -> usize {
        self.bands_in
    }

    fn bands(&self) -> usize {
        self.bands_out
    }

    /// `g.in0.weight` to `g.out.bias`.
    fn param_specs(&self) -> Vec<ParamSpec> {
        let width = self.width;
        let mut specs = Vec::new();
        for name in ["g.in0", "g.in1"] {
            specs.extend(conv_specs(name, 1, self.bands_in, width));
        }
        for k in 1..=LAYERS {
            let (name, init) = (format!("g.layer{k}.mix"), Init::Constant(0.0));
            specs.push(ParamSpec { name, shape: vec![1], kind: ParamKind::Vector, init });
            for part in ["conv1", "conv2", "deconv"] {
                specs.extend(conv_specs(&format!("g.layer{k}.{part}"), KERNEL, width, width));
            }
        }
        specs.extend(conv_specs("g.out", 1, width, self.bands_out));
        specs
    }

    fn paint(&self, parameters: &Parameters, source: &Tensor, _: &Look) -> Result<Tensor> {
        let tape = Tape::inference();
        let bound = parameters.bind(&tape, false);
        from_signed(self.forward(&bound, &tape.constant(to_signed(source)?))?.value())
    }
}

/// The discriminator `d`: windows `[N, size, size, bands]` in -1..1 to one logit each, `[N, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discriminator {
    /// Bands of what it judges.
    pub bands: usize,
    /// Channels after each convolution.
    pub convs: [usize; 5],
    /// Side of the windows, a multiple of [`STRIDE`].
    pub size: usize,
}

impl Discriminator {
    /// The published network at a channel multiplier of `width`, for windows of `size` pixels a side.
    pub fn new(bands: usize, width: f64, size: usize) -> Self {
        Discriminator { bands, convs: CONVS.map(|c| scaled(c, width)), size }
    }

    /// The network whose weights a file holds.
    ///
    /// # Errors
    /// Tensors that are missing or have shapes that do not belong together.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let [bands, _] = kernel_channels(file, &conv_name(1))?;
        let mut convs = CONVS;
        for (k, channels) in convs.iter_mut().enumerate() {
            [_, *channels] = kernel_channels(file, &conv_name(k + 1))?;
        }
        let shape = &file.require("d.out.weight")?.shape;
        let side = |inputs: usize| (1..=inputs).find(|side| side * side * convs[4] >= inputs).unwrap_or(1);
        match shape[..] {
            [inputs, 1] if inputs > 0 && side(inputs).pow(2) * convs[4] == inputs => {
                Ok(Discriminator { bands, convs, size: side(inputs) * STRIDE })
            }
            _ => Err(Error::input(
                format!("tensor d.out.weight has shape {shape:?}, which fits no square window"),
                file.source(),
                "use weights that huetape wrote for this model",
            )),
        }
    }

    /// The parameters: `d.conv1.weight` to `d.out.bias`.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut channels = self.bands;
        for (k, &out) in self.convs.iter().enumerate() {
            specs.extend(conv_specs(&conv_name(k + 1), KERNEL, channels, out));
            channels = out;
        }
        let inputs = channels * (self.size / STRIDE).pow(2);
        specs.extend(dense_specs("d.out", inputs, 1));
        specs
    }

    /// Judges windows.
    ///
    /// # Errors
    /// Another size, other bands, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, picture: &Var) -> Result<Var> {
        let mut x = picture.clone();
        for k in 1..=self.convs.len() {
            x = conv(bound, &conv_name(k), &x, conv2d::Activation::Relu)?;
            let name = format!("d.pool{k}");
            let _layer = bound.layer(&name);
            let pooled = bound.tape().apply(MaxPool2d, &[&x])?;
            report(bound, &name, "max pooling 2x2", &x, &pooled)?;
            x = pooled;
        }
        dense(bound, "d.out", &x)
    }
}

fn conv_name(k: usize) -> String {
    format!("d.conv{k}")
}

/// A convolution of stride 1 that keeps the size.
fn conv(bound: &Bound<'_>, name: &str, x: &Var, activation: conv2d::Activation) -> Result<Var> {
    convolve(bound, name, Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation }, x)
}

#[cfg(test)]
mod tests {
    use super::painter::Generator as _;
    use super::*;
    use crate::engine::device::Device;
    use crate::random::{Rng, Stream};

    fn count(specs: &[ParamSpec]) -> usize {
        specs.iter().map(ParamSpec::len).sum()
    }

    #[test]
    fn the_published_networks_have_their_parameters() {
        // Two 1x1 to 64, three layers of three 3x3 64 to 64 and a mix, 1x1 to 3; with biases.
        let generator = 2 * (64 + 64) + 3 * (3 * (9 * 64 * 64 + 64) + 1) + (64 * 3 + 3);
        assert_eq!(count(&Generator::new(1, 3, 1.0).param_specs()), generator);
        let convs: usize = [3, 64, 128, 256, 512].iter().zip(CONVS).map(|(i, o)| (9 * i + 1) * o).sum();
        assert_eq!(count(&Discriminator::new(3, 1.0, 64).param_specs()), convs + 2 * 2 * 1024 + 1);
    }

    #[test]
    fn every_layer_has_its_name() {
        let names: Vec<String> = Generator::new(1, 3, 0.1).param_specs().into_iter().map(|spec| spec.name).collect();
        for name in [
            "g.in0.weight",
            "g.in1.bias",
            "g.layer1.mix",
            "g.layer3.conv2.weight",
            "g.layer2.deconv.bias",
            "g.out.bias",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        let names: Vec<String> =
            Discriminator::new(3, 0.1, 64).param_specs().into_iter().map(|spec| spec.name).collect();
        assert_eq!((names.len(), &*names[8], &*names[10]), (12, "d.conv5.weight", "d.out.weight"));
    }

    #[test]
    fn a_pair_is_read_back_from_its_weights() {
        let (generator, discriminator) = (Generator::new(3, 8, 0.1), Discriminator::new(8, 0.05, 96));
        let state = |specs| Parameters::new(&Device::cpu(), specs, 1, false).unwrap().state().unwrap();
        let mut tensors = state(generator.param_specs());
        tensors.extend(state(discriminator.param_specs()));
        let file = WeightFile::from_tensors("memory", tensors.clone());
        assert_eq!(Generator::of(&file).unwrap(), generator);
        assert_eq!(Discriminator::of(&file).unwrap(), discriminator);
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name == "d.out.weight") {
            tensor.shape = vec![7, 1];
        }
        let error = Discriminator::of(&WeightFile::from_tensors("memory", tensors)).unwrap_err();
        assert!(error.to_string().contains("d.out.weight has shape [7, 1]"), "{error}");
    }

    fn painted(generator: &Generator, parameters: &Parameters, side: usize, source: &[f32]) -> Vec<f32> {
        let source = Tensor::new(parameters.device(), &[1, side, side, generator.bands_in], source).unwrap();
        generator.paint(parameters, &source, &Look::default()).unwrap().to_vec().unwrap()
    }

    #[test]
    fn a_pixel_changes_the_picture_within_its_reach_alone() {
        let generator = Generator::new(1, 2, 0.1);
        let parameters = Parameters::new(&Device::cpu(), generator.param_specs(), 1, false).unwrap();
        let (side, middle) = (2 * REACH + 5, REACH + 2);
        let rng = Rng::new(1, Stream::Test, 0);
        let mut source: Vec<f32> = (0..(side * side) as u64).map(|i| rng.uniform(i)).collect();
        let before = painted(&generator, &parameters, side, &source);
        source[middle * side + middle] += 0.5;
        let after = painted(&generator, &parameters, side, &source);
        let far = (0..side * side)
            .filter(|i| before[2 * i..2 * i + 2] != after[2 * i..2 * i + 2])
            .map(|i| (i % side).abs_diff(middle).max((i / side).abs_diff(middle)))
            .max();
        assert_eq!(far, Some(REACH));
    }

    #[test]
    fn the_discriminator_gives_each_window_one_logit() {
        let discriminator = Discriminator::new(4, 0.02, 64);
        let device = Device::cpu();
        let parameters = Parameters::new(&device, discriminator.param_specs(), 1, false).unwrap();
        let tape = Tape::inference();
        let window = |side: usize| tape.constant(Tensor::full(&device, &[2, side, side, 4], 0.5).unwrap());
        let bound = parameters.bind(&tape, false);
        assert_eq!(discriminator.forward(&bound, &window(64)).unwrap().value().shape(), [2, 1]);
        assert_eq!(discriminator.forward(&bound, &window(32)).err().unwrap().exit_code(), 2);
    }
}
