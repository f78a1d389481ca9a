//! pix2pix: SAR or grey to colour by a conditional GAN.
//!
//! After Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, with
//! the layers and defaults of TensorFlow's tutorial: a U-Net of eight halvings, and a discriminator that judges patches
//! of 70x70 pixels. Pictures are in -1..1.
//!
//! Training pictures that cannot be halved eight times have a U-Net of fewer halvings, without the innermost layers.

use crate::engine::nn::layer::{
    activate, batch_norm_as_shift, batch_norm_specs, batch_norm_then, bias_spec, convolve, kernel_spec, rectify,
};
use crate::engine::nn::{Bound, Init, Norm, ParamSpec, Parameters, StateTensor, WeightFile};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::batch_norm::{After, Rectifier};
use crate::engine::ops::perturb::{Draw, Dropout};
use crate::engine::ops::relu::Relu;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::networks::common::{from_signed, kernel_channels, repeated, scaled, to_signed};
use crate::networks::pix2pix::up::{KERNEL, Up, halving};
use crate::paint::painter::{self, Framing, Look};

/// Side of the published training pictures: they are halved eight times.
pub const SIDE: usize = 256;
/// Sides of training pictures must be multiples of this; the more often they can be halved, up to eight times, the
/// deeper the network is.
pub const STRIDE: usize = 1 << LEAST_DEPTH;
/// Bands of the pictures that come out: sRGB.
pub const BANDS: usize = 3;
/// Slope of the leaky ReLU in the published program (the paper has 0.2).
pub const LEAKY_SLOPE: f32 = 0.3;
/// Share of values that dropout takes in the published network.
pub const DROPOUT: f32 = 0.5;
/// Tensors `[1]` of a weight file that say what shapes do not: the slope of the leaky ReLU, the share that dropout
/// takes, the side of the training pictures. Where there is none, the published value holds.
pub(super) const SLOPE_TENSOR: &str = "leaky_slope";
const DROPOUT_TENSOR: &str = "dropout";
pub(super) const SIDE_TENSOR: &str = "side";
/// Where a weight file says how many bands of the source are read, where that is more than one.
pub(super) const BANDS_TENSOR: &str = "source_bands";
/// Pixels along the border of a window where the zeros that its layers pad with are seen: a pale line.
const MARGIN: usize = 16;

/// Windows share this part of their side with the next. Half, as other programs have it, takes four times the work for
/// each pixel of a scene; a quarter less than half of that, and no seam shows either (docs/scenes.md).
const SHARED: usize = 4;

/// Channels after each halving, and after each doubling, of the published network. One of fewer halvings leaves out the
/// innermost.
pub(super) const DOWN: [usize; 8] = [64, 128, 256, 512, 512, 512, 512, 512];
const UP: [usize; 7] = [512, 512, 512, 512, 256, 128, 64];
/// Halvings at least, and after which upward layers have no dropout: the innermost three of eight have it.
pub(super) const LEAST_DEPTH: usize = 5;
pub(super) const INIT: Init = Init::Normal(0.02);

/// Shorter side of the pictures that crops of `size` are cut from by chance: 286 for 256.
pub fn enlarged(size: usize) -> usize {
    (size * 286 + 128) / 256
}

/// How often pictures of a side are halved.
fn depth(side: usize) -> usize {
    (side.trailing_zeros() as usize).clamp(LEAST_DEPTH, DOWN.len())
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
    /// Images of the whole batch before the first one here, for dropout.
    pub first: usize,
}

/// The U-Net `g`: pictures `[N, H, W, channels_in]` to `[N, H, W, 3]`, both in -1..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// Channels of the input: the bands of the source, or one band repeated.
    pub channels_in: usize,
    /// Bands of the source.
    pub source_bands: usize,
    /// Channels after each halving.
    pub down: Vec<usize>,
    /// Channels after each doubling, before the skip joins; the last, to colours, not counted.
    pub up: Vec<usize>,
    /// How each doubling is done, the last one to colours too.
    pub up_by: Up,
    /// Slope of the leaky ReLU, above 0.
    pub slope: f32,
    /// Share of values that dropout takes, 0 up to but not including 1: in training, and at work under [`Norm::Batch`].
    pub dropout: f32,
    /// Side of the pictures that it was trained on, which can be halved as often as it halves: inference is on windows
    /// of that side.
    pub side: usize,
    /// Whether it is laid out as in its authors' PyTorch program: the innermost halving has no batch norm and is
    /// followed by a ReLU, and what skips passes a ReLU too. A file is known to be so by having no such batch norm.
    pub rectified: bool,
    /// Whether the innermost batch norm saw one value per channel in each batch of the training: batches of one picture
    /// that is halved down to a pixel.
    pub one_value: bool,
}

impl Generator {
    /// The published network at a channel multiplier of `width`.
    pub fn new(channels_in: usize, width: f64, slope: f32) -> Self {
        Generator::of_side(SIDE, channels_in, width, slope)
    }

    /// The same for training pictures of another side, of fewer halvings where those are smaller.
    pub fn of_side(side: usize, channels_in: usize, width: f64, slope: f32) -> Self {
        let left_out = DOWN.len() - depth(side);
        let down = DOWN[..depth(side)].iter().map(|c| scaled(*c, width)).collect();
        let up = UP[left_out..].iter().map(|c| scaled(*c, width)).collect();
        let (source_bands, up_by) = (1, Up::Transposed);
        let (rectified, one_value) = (false, false);
        Generator { channels_in, source_bands, down, up, up_by, slope, dropout: DROPOUT, side, rectified, one_value }
    }

    /// Sides of what it paints are multiples of this.
    pub fn stride(&self) -> usize {
        1 << self.down.len()
    }

    /// The network whose weights a file holds, read off the tensors' shapes.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes; a slope that is none.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let halvings = (1..=DOWN.len()).take_while(|k| file.get(&format!("{}.weight", down(*k))).is_some()).count();
        let mut network = Generator::of_side(1 << halvings, 1, 1.0, LEAKY_SLOPE);
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
        let whole = |v: f32| v > 0.0 && v < 65536.0 && (v as usize).is_multiple_of(network.stride());
        let side = setting(SIDE_TENSOR, &whole, "use a side that can be halved as often")?;
        let bands = setting(BANDS_TENSOR, &|v| v == 1.0 || v as usize == network.channels_in, "use 1 or its channels")?;
        network.source_bands = bands.map_or(1, |bands| bands as usize);
        network.slope = slope.unwrap_or(network.slope);
        network.dropout = dropout.unwrap_or(network.dropout);
        network.side = side.map_or(network.side, |side| side as usize);
        let innermost = file.get(&format!("{}.var", norm(&down(network.down.len()))));
        network.rectified = innermost.is_none();
        network.one_value = innermost.is_some_and(|var| saw_one_value(&var.data));
        Ok(network)
    }

    /// Runs the network on x `[N, H, W, channels_in]`, H and W multiples of [`Generator::stride`].
    ///
    /// The innermost batch norm sees one value per channel of each picture of 256x256. In batches of one such picture
    /// that is the mean itself, and beta comes out; under running statistics it must come out too.
    ///
    /// # Errors
    /// Another size, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, x: &Var, pass: Pass) -> Result<Var> {
        let [_, height, width, _] = x.value().nhwc()?;
        crate::ensure!(
            height.is_multiple_of(self.stride()) && width.is_multiple_of(self.stride()),
            Error::input(
                format!("this network takes pictures whose sides are multiples of {}", self.stride()),
                format!("{width}x{height}"),
                "continue the picture to the next multiple"
            )
        );
        let tape = bound.tape();
        let innermost = norm(&down(self.down.len()));
        let shift_only = pass.norm == Norm::Running && self.one_value;
        let mut x = x.clone();
        let mut skips = Vec::new();
        for k in 1..=self.down.len() {
            let name = down(k);
            let _layer = bound.layer(&name);
            x = convolve(bound, &name, halving(), &x)?;
            let rectifier = match self.rectified && k == self.down.len() {
                true => Rectifier::Relu,
                false => Rectifier::LeakyRelu { slope: self.slope },
            };
            let after = After { dropout: None, rectifier };
            x = if k == self.down.len() && shift_only {
                rectify(bound, &name, rectifier, &batch_norm_as_shift(bound, &innermost, &x)?)?
            } else if self.has_norm(k) {
                batch_norm_then(bound, &name, &x, pass.norm, after, None)?
            } else {
                rectify(bound, &name, rectifier, &x)?
            };
            skips.push(x.clone());
        }
        skips.pop();
        for k in 1..=self.up.len() {
            let name = up(k);
            let _layer = bound.layer(&name);
            x = self.up_by.run(bound, &name, &x)?;
            let [_, height, width, channels] = x.value().nhwc()?;
            let first = (pass.first * height * width * channels) as u64;
            let draw = Draw { seed: pass.seed, step: pass.step, layer: k as u32, first };
            let dropout = Dropout { rate: pass.dropout, draw };
            let dropout = Some(dropout).filter(|dropout| self.drops(k) && dropout.rate > 0.0);
            let after = After { dropout, rectifier: Rectifier::Relu };
            let rectified = |skip: Var| if self.rectified { tape.apply(Relu, &[&skip]) } else { Ok(skip) };
            let skip = skips.pop().map(rectified).transpose()?;
            x = batch_norm_then(bound, &name, &x, pass.norm, after, skip.as_ref())?;
        }
        x = self.up_by.run(bound, "g.out", &x)?;
        activate(bound, "g.out", Activation::Tanh, &x)
    }

    /// Whether batch norm follows the k-th halving.
    pub(super) fn has_norm(&self, k: usize) -> bool {
        k > 1 && !(self.rectified && k == self.down.len())
    }

    /// Whether dropout follows the k-th doubling. In the authors' program the innermost has none.
    fn drops(&self, k: usize) -> bool {
        let (count, left_out) = (self.down.len() - LEAST_DEPTH, usize::from(self.rectified));
        (1 + left_out..=count + left_out).contains(&k)
    }

    /// The network's input from sources `[N, H, W, source_bands]` 0..1: -1..1, a single band repeated to `channels_in`
    /// channels.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn input(&self, source: &Tensor) -> Result<Tensor> {
        let signed = to_signed(source)?;
        if self.source_bands > 1 { Ok(signed) } else { repeated(&signed, self.channels_in) }
    }
}

impl painter::Generator for Generator {
    const NAME: &'static str = "pix2pix";

    fn framing(&self) -> Framing {
        // The published network paints windows as they are.
        let margin = if self.up_by == Up::Resize { MARGIN.min(self.side / 8) } else { 0 };
        Framing { stride: self.stride(), halo: 0, reach: self.side / SHARED, window: Some(self.side), margin }
    }

    fn source_bands(&self) -> usize {
        self.source_bands
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
            if self.has_norm(k + 1) {
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
        let settings = [(SLOPE_TENSOR, self.slope), (DROPOUT_TENSOR, self.dropout), (SIDE_TENSOR, self.side as f32)];
        let bands = Some((BANDS_TENSOR, self.source_bands as f32)).filter(|_| self.source_bands > 1);
        let tensor =
            |(name, value): (&str, f32)| StateTensor { name: name.to_owned(), shape: vec![1], data: vec![value] };
        settings.into_iter().chain(bands).map(tensor).collect()
    }

    fn paint(&self, parameters: &Parameters, source: &Tensor, look: &Look) -> Result<Tensor> {
        let tape = Tape::inference();
        let bound = parameters.bind(&tape, false);
        // The published program runs on the batch's statistics and leaves dropout on.
        let dropout = if look.norm == Norm::Running { 0.0 } else { self.dropout };
        let pass = Pass { norm: look.norm, dropout, seed: 0, step: 0, first: 0 };
        from_signed(self.forward(&bound, &tape.constant(self.input(source)?), pass)?.value())
    }
}

/// What the running variances of a batch norm say that saw one value per channel in every batch: each variance was 0,
/// and the running ones have decayed from 1 to one and the same number.
fn saw_one_value(variances: &[f32]) -> bool {
    variances.iter().all(|&v| v == variances[0] && v < 1.0)
}

pub(super) fn down(k: usize) -> String {
    format!("g.down{k}")
}

pub(super) fn up(k: usize) -> String {
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
    fn smaller_pictures_have_fewer_halvings_and_bands_are_read_back() {
        let small = Generator { source_bands: 2, ..Generator::of_side(96, 2, 0.02, 0.3) };
        assert_eq!((small.down.len(), small.up.len(), small.stride()), (5, 4, 32));
        assert_eq!(
            [32, 64, 128, 192, 512, 768].map(|side| Generator::of_side(side, 1, 1.0, 0.3).down.len()),
            [5, 6, 7, 6, 8, 8]
        );
        assert_eq!(Generator::of_side(64, 1, 1.0, 0.3).up, [512, 512, 256, 128, 64]);
        let parameters = Parameters::new(&Device::cpu(), small.param_specs(), 1, false).unwrap();
        let mut tensors = parameters.state().unwrap();
        tensors.extend(small.settings());
        assert_eq!(Generator::of(&WeightFile::from_tensors("memory", tensors)).unwrap(), small);
        let source = Tensor::full(parameters.device(), &[1, 96, 32, 2], 0.5).unwrap();
        assert_eq!(small.paint(&parameters, &source, &Look::default()).unwrap().shape(), [1, 96, 32, 3]);
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
        let mut generator = Generator::new(1, 0.01, 0.3);
        let parameters = Parameters::new(&Device::cpu(), generator.param_specs(), 1, false).unwrap();
        let rng = Rng::new(1, Stream::Test, 0);
        let grey: Vec<f32> = (0..65536).map(|i| rng.uniform(i)).collect();
        let grey = Tensor::new(parameters.device(), &[1, 256, 256, 1], &grey).unwrap();
        let set = |name: &str, values: &[f32]| parameters.get(name).unwrap().write(values).unwrap();
        let mut picture = || {
            let mut tensors = parameters.state().unwrap();
            tensors.extend(generator.settings());
            generator = Generator::of(&WeightFile::from_tensors("memory", tensors)).unwrap();
            generator.paint(&parameters, &grey, &Look::default()).unwrap().to_vec().unwrap()
        };

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
