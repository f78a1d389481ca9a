//! A head beside the colours that predicts the lightness of the picture, for sources whose grey value is none, as SAR.
//!
//! `L / 100 = up(l(features)) + l.detail * (grey - smooth(grey))`: a 1x1 convolution of what the last layer reads,
//! enlarged to the image, and, where the network works at a part of the image's size, what the source has that no
//! enlargement can make, times a learned factor.

use crate::engine::nn::layer::{bias_spec, convolve, kernel_spec};
use crate::engine::nn::{Bound, Init, ParamKind, ParamSpec, WeightFile};
use crate::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use crate::engine::ops::arithmetic::Arithmetic;
use crate::engine::ops::conv2d::Conv2d;
use crate::engine::ops::elementwise::Add;
use crate::engine::ops::pad::Slice;
use crate::engine::ops::upsample_bilinear::UpsampleBilinear;
use crate::engine::tape::{Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::{Attribute, Value};
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::{Layers, enlarged};

/// The head's layer.
const NAME: &str = "l";
/// The factor of the detail, `[1]`; a file may have a head without it.
const DETAIL: &str = "l.detail";
/// A head that has learned nothing predicts half of the range.
const START: f32 = 0.5;

/// The head of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LightnessHead {
    /// How much smaller than the image the features are that it reads.
    upsample: usize,
    /// Whether the source's own detail is added.
    detail: bool,
}

impl LightnessHead {
    /// A head for features of an image's size over `upsample`.
    pub fn new(upsample: usize) -> Self {
        LightnessHead { upsample, detail: upsample > 1 }
    }

    /// The head whose weights a file holds; `None` where it holds none.
    pub fn of(file: &WeightFile, upsample: usize) -> Option<Self> {
        file.get(&format!("{NAME}.weight"))?;
        Some(LightnessHead { upsample, detail: file.get(DETAIL).is_some() })
    }

    /// Its parameters, for features of `channels` channels.
    pub fn param_specs(self, channels: usize) -> Vec<ParamSpec> {
        let bias = ParamSpec { init: Init::Constant(START), ..bias_spec(NAME, 1) };
        let mut specs = vec![kernel_spec(NAME, 1, channels, 1, Init::Constant(0.0)), bias];
        if self.detail {
            let (kind, init) = (ParamKind::Vector, Init::Constant(0.0));
            specs.push(ParamSpec { name: DETAIL.to_owned(), shape: vec![1], kind, init });
        }
        specs
    }

    /// L / 100 `[N, H, W, 1]` from features, and from the grey source `[N, H, W, 1]` 0..1 that they were made of. The
    /// features may have more pixels on each side than `size`, H and W over `upsample`; those are left out.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn predict(self, bound: &Bound<'_>, features: &Var, grey: &Tensor, size: [usize; 2]) -> Result<Var> {
        let tape = bound.tape();
        let mut y = convolve(bound, NAME, Conv2d::same(), features)?;
        let [_, height, width, _] = y.value().nhwc()?;
        if [height, width] != size {
            let first = [(height - size[0]) / 2, (width - size[1]) / 2, 0];
            y = tape.apply(Slice { first, size: [size[0], size[1], 1] }, &[&y])?;
        }
        if self.upsample > 1 {
            y = tape.apply(UpsampleBilinear { factor: self.upsample }, &[&y])?;
        }
        if self.detail {
            let detail = tape.apply(Arithmetic::Multiply, &[&self.detail(tape, grey)?, &bound.var(DETAIL)?])?;
            y = tape.apply(Add, &[&y, &detail])?;
        }
        Ok(y)
    }

    /// As [`LightnessHead::predict`], in a graph; features have `border` pixels on each side that are left out.
    #[cfg(feature = "convert")]
    pub(super) fn onnx(self, layers: &mut Layers<'_>, features: &Value, grey: &Value, border: usize) -> Result<Value> {
        let mut y = layers.conv(NAME, Conv2d::same(), features)?;
        let graph = &mut *layers.graph;
        if border > 0 {
            let ends = [border as i64, -(border as i64)].map(|place| graph.integers(&[place; 2]));
            let axes = graph.integers(&[2, 3]);
            y = graph.plain("Slice", [&y, &ends[0], &ends[1], &axes]);
        }
        y = enlarged(graph, &y, self.upsample);
        if self.detail {
            let sides = || vec![self.upsample as i64; 2];
            let pool = [Attribute::Ints("kernel_shape", sides()), Attribute::Ints("strides", sides())];
            let small = graph.node("AveragePool", &[grey], pool);
            let smooth = enlarged(graph, &small, self.upsample);
            let detail = graph.plain("Sub", [grey, &smooth]);
            let detail = graph.scaled(&detail, layers.weights.expect(DETAIL, &[1])?[0]);
            y = graph.plain("Add", [&y, &detail]);
        }
        Ok(y)
    }

    /// What is left of a source without what can be made by enlargement.
    fn detail(self, tape: &Tape, grey: &Tensor) -> Result<Var> {
        let [_, height, width, _] = grey.nhwc()?;
        let x = tape.constant(grey.clone());
        let pool = AdaptiveAvgPool2d { output: [height / self.upsample, width / self.upsample] };
        let smooth = tape.apply(UpsampleBilinear { factor: self.upsample }, &[&tape.apply(pool, &[&x])?])?;
        tape.apply(Arithmetic::Subtract, &[&x, &smooth])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::Parameters;
    use crate::engine::ops::mean_loss::MeanLoss;
    use crate::engine::seeded::seeded;
    use crate::engine::testing::check::devices;

    const CHANNELS: usize = 5;

    /// Head, features of 2x3 pixels, a source of 8x12.
    fn head(device: &crate::engine::device::Device) -> (LightnessHead, Parameters, Tensor, Tensor) {
        let head = LightnessHead::new(4);
        let parameters = Parameters::new(device, head.param_specs(CHANNELS), 1, true).unwrap();
        parameters.get("l.weight").unwrap().write(&[0.3, -0.2, 0.5, 0.1, -0.4]).unwrap();
        parameters.get("l.detail").unwrap().write(&[0.7]).unwrap();
        let features = seeded(device, &[1, 2, 3, CHANNELS], 3).unwrap();
        (head, parameters, features, seeded(device, &[1, 8, 12, 1], 4).unwrap())
    }

    /// `[8, 12]` from `[2, 3]`: half-pixel centres, edges clamped.
    fn enlarged(small: &[f64]) -> Vec<f64> {
        let at = |i: usize, len: usize| {
            let place = ((i as f64 + 0.5) / 4.0 - 0.5).clamp(0.0, (len - 1) as f64);
            let low = place.floor() as usize;
            (low, (low + 1).min(len - 1), place - place.floor())
        };
        let value = |(y, x): (usize, usize)| {
            let ((top, bottom, down), (left, right, along)) = (at(y, 2), at(x, 3));
            let row = |r: usize| small[r * 3 + left] * (1.0 - along) + small[r * 3 + right] * along;
            row(top) * (1.0 - down) + row(bottom) * down
        };
        (0..96).map(|i| value((i / 12, i % 12))).collect()
    }

    /// The formula in f64, at given parameters.
    fn reference(features: &[f64], grey: &[f64], weight: &[f64], bias: f64, gain: f64) -> Vec<f64> {
        let dot = |pixel: &[f64]| bias + pixel.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>();
        let small: Vec<f64> = features.chunks_exact(CHANNELS).map(dot).collect();
        let mean = |cell: usize| {
            let pixels = (0..16).map(|i| (cell / 3 * 4 + i / 4) * 12 + cell % 3 * 4 + i % 4);
            pixels.map(|pixel| grey[pixel]).sum::<f64>() / 16.0
        };
        let smooth = enlarged(&(0..6).map(mean).collect::<Vec<_>>());
        let large = enlarged(&small);
        (0..96).map(|i| large[i] + gain * (grey[i] - smooth[i])).collect()
    }

    #[test]
    fn the_prediction_and_its_gradients_are_those_of_the_formula() {
        for device in devices() {
            let (head, parameters, features, grey) = head(&device);
            let wide = |tensor: &Tensor| tensor.to_vec().unwrap().into_iter().map(f64::from).collect::<Vec<_>>();
            let weight = wide(&parameters.get("l.weight").unwrap());
            let truth: Vec<f64> = wide(&seeded(&device, &[1, 8, 12, 1], 5).unwrap());
            let at = |weight: &[f64], bias, gain| reference(&wide(&features), &wide(&grey), weight, bias, gain);
            let loss = |made: Vec<f64>| made.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 96.0;

            let tape = Tape::new();
            let bound = parameters.bind(&tape, true);
            let made = head.predict(&bound, &tape.constant(features.clone()), &grey, [2, 3]).unwrap();
            for (made, expected) in wide(made.value()).into_iter().zip(at(&weight, 0.5, 0.7)) {
                assert!((made - expected).abs() < 1e-5, "{}: {made} {expected}", device.name());
            }
            let target = tape.constant(seeded(&device, &[1, 8, 12, 1], 5).unwrap());
            let loss_of_made = tape.apply(MeanLoss::SquaredError, &[&made, &target]).unwrap();
            tape.backward(loss_of_made).unwrap();
            let h = 1e-4;
            let gradient = |name: &str| wide(&parameters.gradient(name).unwrap().unwrap());
            let near = |found: f64, slope: f64, what: &str| {
                assert!(
                    (found - slope).abs() < 1e-4 * (1.0 + slope.abs()),
                    "{}: {what} {found} {slope}",
                    device.name()
                );
            };
            for k in 0..CHANNELS {
                let moved = |by: f64| {
                    let mut weight = weight.clone();
                    weight[k] += by;
                    loss(at(&weight, 0.5, 0.7))
                };
                near(gradient("l.weight")[k], (moved(h) - moved(-h)) / (2.0 * h), "weight");
            }
            let bias = |by: f64| loss(at(&weight, 0.5 + by, 0.7));
            near(gradient("l.bias")[0], (bias(h) - bias(-h)) / (2.0 * h), "bias");
            let gain = |by: f64| loss(at(&weight, 0.5, 0.7 + by));
            near(gradient("l.detail")[0], (gain(h) - gain(-h)) / (2.0 * h), "detail");
        }
    }

    #[test]
    fn features_beyond_the_coloured_pixels_are_left_out() {
        let device = crate::engine::device::Device::cpu();
        let head = LightnessHead::new(1);
        let parameters = Parameters::new(&device, head.param_specs(1), 1, false).unwrap();
        parameters.get("l.weight").unwrap().write(&[2.0]).unwrap();
        let tape = Tape::inference();
        let values: Vec<f32> = (0..20).map(|v| v as f32).collect();
        let features = tape.constant(Tensor::new(&device, &[1, 4, 5, 1], &values).unwrap());
        let grey = Tensor::full(&device, &[1, 20, 21, 1], 0.0).unwrap();
        let made = head.predict(&parameters.bind(&tape, false), &features, &grey, [2, 3]).unwrap();
        assert_eq!(made.value().to_vec().unwrap(), [12.5, 14.5, 16.5, 22.5, 24.5, 26.5]);
    }
}
