//! SICGAN: the colours of a picture from its lightness and edges, patch by patch, by a GAN that one picture is enough
//! for.
//!
//! A generator of five convolutions sees 11x11 pixels around each; it reads where the patch has edges and which place
//! in the patch a pixel has, and puts out a and b. A discriminator judges the a and b of whole patches. Both work on ab
//! / 110.

use crate::engine::device::Device;
use crate::engine::nn::layer::{activate, conv_specs, convolve, dense, dense_specs, report};
use crate::engine::nn::{Bound, ParamSpec, Parameters, StateTensor, WeightFile};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use crate::engine::ops::concat::Concat;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::ops::elementwise::Scale;
use crate::engine::ops::pad::Slice;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::edge_features::edge_features;
use crate::imaging::ops::lab;
use crate::networks::common::{kernel_channels, scaled};
use crate::paint::painter::{self, Framing, Look};

/// Side of the published patches, pixels.
pub const PATCH: usize = 128;
/// Pixels around a patch that its edges are taken from.
pub const HALO: usize = 1;
/// Bands of the pictures that come out: sRGB.
pub const BANDS: usize = 3;

/// What ab is divided by, to lie in -1..1.
pub(super) const AB_RANGE: f32 = 110.0;
/// L / 100, Sobel magnitude, Laplacian, x / p, y / p.
const FEATURES: usize = 5;
/// Side of all kernels.
const KERNEL: usize = 3;
const GENERATOR: [usize; 4] = [64, 128, 128, 64];
const DISCRIMINATOR: [usize; 3] = [64, 128, 256];
/// Slope of the discriminator's leaky ReLU.
const LEAKY_SLOPE: f32 = 0.2;
/// A weight file's tensor `[1]` that holds the side of the patches; [`PATCH`] where there is none.
const PATCH_TENSOR: &str = "patch";
/// Longest side that is taken for one: numbers up to it are exact as f32.
const LARGEST_PATCH: f32 = 65_536.0;

/// The generator `g`: features `[N, p, p, 5]` to ab / 110 `[N, p, p, 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// Side p of the patches, pixels.
    pub patch: usize,
    /// Channels after each convolution; the last, to ab, not counted.
    pub convs: [usize; 4],
}

impl Generator {
    /// The published network at a channel multiplier of `width`, for patches of this side.
    pub fn new(width: f64, patch: usize) -> Self {
        Generator { patch, convs: GENERATOR.map(|c| scaled(c, width)) }
    }

    /// The channel multiplier, but for the rounding of its channels.
    pub fn width(&self) -> f64 {
        self.convs[1] as f64 / GENERATOR[1] as f64
    }

    /// The network whose weights a file holds, read off the tensors' shapes.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes; a side that is none.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let mut network = Generator::new(1.0, PATCH);
        for (k, channels) in network.convs.iter_mut().enumerate() {
            [_, *channels] = kernel_channels(file, &g_conv(k + 1))?;
        }
        if file.get(PATCH_TENSOR).is_some() {
            let patch = file.expect(PATCH_TENSOR, &[1])?[0];
            if patch.fract() != 0.0 || !(1.0..=LARGEST_PATCH).contains(&patch) {
                let what = format!("tensor {PATCH_TENSOR} holds {patch}");
                return Err(Error::input(what, file.source(), "use a whole number of pixels"));
            }
            network.patch = patch as usize;
        }
        Ok(network)
    }

    /// What the network reads of patches `[N, p + 2, p + 2, 1]` of lightness, L / 100: the patch itself, its Sobel
    /// magnitude and its Laplacian (see [`edge_features`]), and the column and the row of each pixel over p, 0 up to
    /// but not including 1.
    ///
    /// The pixel around the patch is that of the picture, so that edges at its rim are those of the picture.
    ///
    /// # Errors
    /// Another size, and whatever a launch reports.
    pub fn features(&self, lightness: &Tensor) -> Result<Tensor> {
        let tape = Tape::inference();
        let n = lightness.nhwc()?[0];
        let centre = tape.constant(self.inner(lightness)?);
        let edges = tape.constant(self.inner(&edge_features(lightness)?)?);
        let places = tape.constant(self.places(n, lightness.device())?);
        let of_picture = tape.apply(Concat, &[&centre, &edges])?;
        Ok(tape.apply(Concat, &[&of_picture, &places])?.value().clone())
    }

    /// x `[N, p + 2, p + 2, C]` without its outermost pixels.
    fn inner(&self, x: &Tensor) -> Result<Tensor> {
        let (patch, [_, height, width, channels]) = (self.patch, x.nhwc()?);
        crate::ensure!(
            [height, width] == [patch + 2 * HALO; 2],
            Error::input(
                format!("this network takes patches of {patch}x{patch} with a pixel around"),
                format!("{width}x{height}"),
                "cut the picture into such patches"
            )
        );
        let tape = Tape::inference();
        let part = Slice { first: [HALO, HALO, 0], size: [patch, patch, channels] };
        Ok(tape.apply(part, &[&tape.constant(x.clone())])?.value().clone())
    }

    /// Column / p and row / p of every pixel, `[N, p, p, 2]`.
    fn places(&self, n: usize, device: &Device) -> Result<Tensor> {
        let patch = self.patch;
        let of_one = (0..patch * patch).flat_map(|i| [i % patch, i / patch]).map(|v| v as f32 / patch as f32);
        let places: Vec<f32> = of_one.collect::<Vec<_>>().repeat(n);
        Tensor::new(device, &[n, patch, patch, 2], &places)
    }

    /// Runs the network on features `[N, H, W, 5]`: ab / 110, `[N, H, W, 2]`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, features: &Var) -> Result<Var> {
        let mut x = features.clone();
        for k in 1..=self.convs.len() {
            x = conv(bound, &g_conv(k), &x, 1, conv2d::Activation::Relu)?;
        }
        x = conv(bound, &g_conv(self.convs.len() + 1), &x, 1, conv2d::Activation::None)?;
        activate(bound, &g_conv(self.convs.len() + 1), Activation::Tanh, &x)
    }
}

impl painter::Generator for Generator {
    const NAME: &'static str = "sicgan";

    fn framing(&self) -> Framing {
        // Half a window is shared.
        let reach = self.patch - self.patch / 2;
        Framing { stride: 1, halo: HALO, reach, window: Some(self.patch), margin: 0 }
    }

    fn source_bands(&self) -> usize {
        1
    }

    fn bands(&self) -> usize {
        BANDS
    }

    fn keeps_lightness(&self) -> bool {
        true
    }

    /// `g.conv1.weight` to `g.conv5.bias`.
    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut channels = FEATURES;
        for (k, out) in self.convs.into_iter().chain([2]).enumerate() {
            specs.extend(conv_specs(&g_conv(k + 1), KERNEL, channels, out));
            channels = out;
        }
        specs
    }

    fn settings(&self) -> Vec<StateTensor> {
        let patch = || StateTensor { name: PATCH_TENSOR.to_owned(), shape: vec![1], data: vec![self.patch as f32] };
        if self.patch == PATCH { Vec::new() } else { vec![patch()] }
    }

    fn paint(&self, parameters: &Parameters, source: &Tensor, _: &Look) -> Result<Tensor> {
        let tape = Tape::inference();
        let bound = parameters.bind(&tape, false);
        let (grey, lightness) = painter::bands_and_lightness(source, 1)?;
        let made = self.forward(&bound, &tape.constant(self.features(&grey)?))?;
        let ab = tape.apply(Scale(AB_RANGE), &[&made])?;
        lab::join(&self.inner(&lightness)?, ab.value())
    }
}

/// The discriminator `d`: ab / 110 `[N, H, W, 2]` to a logit for each patch, `[N, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Discriminator {
    /// Channels after each convolution.
    pub convs: [usize; 3],
}

impl Discriminator {
    /// The published network at a channel multiplier of `width`.
    pub fn new(width: f64) -> Self {
        Discriminator { convs: DISCRIMINATOR.map(|c| scaled(c, width)) }
    }

    /// The network whose weights a file holds.
    ///
    /// # Errors
    /// Tensors that are missing or have other numbers of axes.
    pub fn of(file: &WeightFile) -> Result<Self> {
        let mut network = Discriminator::new(1.0);
        for (k, channels) in network.convs.iter_mut().enumerate() {
            [_, *channels] = kernel_channels(file, &d_conv(k + 1))?;
        }
        Ok(network)
    }

    /// The parameters: `d.conv1.weight` to `d.out.bias`.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut channels = 2;
        for (k, out) in self.convs.into_iter().enumerate() {
            specs.extend(conv_specs(&d_conv(k + 1), KERNEL, channels, out));
            channels = out;
        }
        specs.extend(dense_specs("d.out", channels, 1));
        specs
    }

    /// Judges the ab / 110 of patches, `[N, H, W, 2]`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, ab: &Var) -> Result<Var> {
        let mut x = ab.clone();
        for k in 1..=self.convs.len() {
            x = conv(bound, &d_conv(k), &x, 2, conv2d::Activation::None)?;
            x = activate(bound, &d_conv(k), Activation::LeakyRelu { slope: LEAKY_SLOPE }, &x)?;
        }
        let _layer = bound.layer("d.pool");
        let pooled = bound.tape().apply(AdaptiveAvgPool2d { output: [1, 1] }, &[&x])?;
        report(bound, "d.pool", "average pooling", &x, &pooled)?;
        dense(bound, "d.out", &pooled)
    }
}

/// ab / 110 `[N, H, W, 2]` of pictures `[N, H, W, 3]` sRGB, 0..1.
///
/// # Errors
/// Whatever a launch reports.
pub fn scaled_ab(srgb: &Tensor) -> Result<Tensor> {
    let tape = Tape::inference();
    let (_, ab) = lab::split(srgb)?;
    Ok(tape.apply(Scale(1.0 / AB_RANGE), &[&tape.constant(ab)])?.value().clone())
}

fn conv(bound: &Bound<'_>, name: &str, x: &Var, stride: usize, activation: conv2d::Activation) -> Result<Var> {
    convolve(bound, name, Conv2d { stride, dilation: 1, padding: Padding::Same, activation }, x)
}

pub(super) fn g_conv(k: usize) -> String {
    format!("g.conv{k}")
}

fn d_conv(k: usize) -> String {
    format!("d.conv{k}")
}

#[cfg(test)]
mod tests {
    use super::painter::Generator as _;
    use super::painter::Painter as _;
    use super::painter::Trained;
    use super::*;
    use crate::imaging::color::{lab_to_srgb, srgb_to_lab};
    use crate::imaging::pixels::Pixels;
    use approx::abs_diff_eq;

    fn fresh(specs: Vec<ParamSpec>) -> Parameters {
        Parameters::new(&Device::cpu(), specs, 1, false).unwrap()
    }

    #[test]
    fn the_published_networks_have_their_layers() {
        let (g, d) = (Generator::new(1.0, PATCH).param_specs(), Discriminator::new(1.0).param_specs());
        let count = |specs: &[ParamSpec]| specs.iter().map(ParamSpec::len).sum::<usize>();
        // 9 c_in c_out + c_out for each convolution, by hand.
        assert_eq!(count(&g), 2_944 + 73_856 + 147_584 + 73_792 + 1_154);
        assert_eq!(count(&d), 1_216 + 73_856 + 295_168 + 257);
        for name in ["g.conv1.weight", "g.conv5.bias", "d.conv3.weight", "d.out.weight", "d.out.bias"] {
            assert!(g.iter().chain(&d).any(|spec| spec.name == name), "{name}");
        }
    }

    #[test]
    fn a_network_is_read_back_from_its_weights() {
        let (generator, discriminator) = (Generator::new(0.1, 48), Discriminator::new(0.2));
        let state = |specs| fresh(specs).state().unwrap();
        let mut tensors = state(generator.param_specs());
        tensors.extend(state(discriminator.param_specs()));
        let without = WeightFile::from_tensors("memory", tensors.clone());
        assert_eq!(Generator::of(&without).unwrap().patch, PATCH);
        assert_eq!(Discriminator::of(&without).unwrap(), discriminator);
        tensors.extend(generator.settings());
        assert_eq!(Generator::of(&WeightFile::from_tensors("memory", tensors.clone())).unwrap(), generator);
        for side in [0.0, 12.5, -8.0, f32::NAN] {
            tensors.last_mut().unwrap().data[0] = side;
            let error = Generator::of(&WeightFile::from_tensors("w.safetensors", tensors.clone())).unwrap_err();
            assert!(error.to_string().contains("w.safetensors"), "{error}");
        }
        assert!(Generator::new(1.0, PATCH).settings().is_empty());
    }

    #[test]
    fn features_are_lightness_edges_and_the_place_in_the_patch() {
        let generator = Generator::new(0.1, 4);
        // A slope of 0.01 a column and 0.02 a row: Sobel adds up eight times each, the Laplacian nothing.
        let slope: Vec<f32> = (0..72).map(|i| 0.1 + 0.01 * (i % 6) as f32 + 0.02 * (i / 6 % 6) as f32).collect();
        let slope = Tensor::new(&Device::cpu(), &[2, 6, 6, 1], &slope).unwrap();
        let features = generator.features(&slope).unwrap();
        assert_eq!(features.shape(), [2, 4, 4, 5]);
        for (i, pixel) in features.to_vec().unwrap().chunks(5).enumerate() {
            let (column, row) = ((i % 4) as f32, (i / 4 % 4) as f32);
            let lightness = 0.1 + 0.01 * (column + 1.0) + 0.02 * (row + 1.0);
            let want = [lightness, 0.08f32.hypot(0.16), 0.0, column / 4.0, row / 4.0];
            // Sums of six values below 1, each rounded to 2^-25.
            assert!(
                pixel.iter().zip(want).all(|(got, want)| abs_diff_eq!(*got, want, epsilon = 1e-6)),
                "{pixel:?} {want:?}"
            );
        }
        let error = generator.features(&Tensor::full(&Device::cpu(), &[1, 6, 7, 1], 0.5).unwrap()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("7x6"), "{error}");
    }

    /// With kernels of nothing the output is tanh of the last bias, everywhere.
    #[test]
    fn a_picture_of_any_size_keeps_its_lightness_and_gets_the_networks_colour() {
        let network = Generator::new(0.1, 8);
        let parameters = fresh(network.param_specs());
        for spec in parameters.specs().to_vec() {
            parameters.get(&spec.name).unwrap().write(&vec![0.0; spec.len()]).unwrap();
        }
        parameters.get("g.conv5.bias").unwrap().write(&[0.1f32.atanh(), (-0.05f32).atanh()]).unwrap();
        let trained = Trained { network, parameters };
        assert_eq!(trained.framing(), Framing { stride: 1, halo: 1, reach: 4, window: Some(8), margin: 0 });
        for (width, height) in [(8, 8), (21, 13), (3, 30), (1, 1)] {
            let values: Vec<f32> = (0..width * height).map(|i| 0.3 + (i * 37 % 101) as f32 / 250.0).collect();
            let source = Pixels { width, height, bands: 1, values };
            let picture = crate::paint::whole::paint(&trained, &source, &Look::default()).unwrap();
            for (grey, rgb) in source.values.iter().zip(picture.values.as_chunks::<3>().0) {
                let want = lab_to_srgb([100.0 * grey, 11.0, -5.5]);
                // Windows are blended in sRGB, all of one colour: a few roundings.
                assert!(
                    rgb.iter().zip(want).all(|(got, want)| abs_diff_eq!(*got, want, epsilon = 1e-5)),
                    "{rgb:?} {want:?}"
                );
            }
        }
    }

    #[test]
    fn the_discriminator_gives_a_logit_for_each_patch_of_any_size() {
        let discriminator = Discriminator::new(0.1);
        let parameters = fresh(discriminator.param_specs());
        for side in [1, 7, 32] {
            let tape = Tape::inference();
            let ab = tape.constant(Tensor::full(parameters.device(), &[3, side, side, 2], 0.1).unwrap());
            let logits = discriminator.forward(&parameters.bind(&tape, false), &ab).unwrap();
            assert_eq!(logits.value().shape(), [3, 1]);
        }
    }

    #[test]
    fn targets_are_ab_over_110() {
        let srgb = [0.8, 0.2, 0.1, 0.3, 0.6, 0.9];
        let got = scaled_ab(&Tensor::new(&Device::cpu(), &[1, 1, 2, 3], &srgb).unwrap()).unwrap();
        let want = srgb.as_chunks::<3>().0.iter().flat_map(|rgb| srgb_to_lab(*rgb)[1..].to_vec());
        for (got, want) in got.to_vec().unwrap().into_iter().zip(want) {
            assert!(abs_diff_eq!(got, want / 110.0, epsilon = 1e-6), "{got} {want}");
        }
    }
}
