//! A chain of layers over one image from top to bottom: some rows at a time, and the result is that of all at once.
//!
//! Each layer keeps the rows that its next output still reads, so that no row is computed twice and memory goes with
//! the image's width alone.

use crate::engine::nn::layer::convolve;
use crate::engine::nn::window::{Window, some_rows};
use crate::engine::nn::{Bound, Form, Layer, Norm, Parameters, Sequential};
use crate::engine::ops::conv2d::{Conv2d, Padding};
use crate::engine::ops::pad::ZeroPad;
use crate::engine::tape::Var;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// How the rows that a layer makes come of those that it reads.
enum Reading {
    /// Each row makes this many, by itself.
    Each(usize),
    /// A convolution whose kernel reaches over `reach` rows, `top` of them above the first one of the image. It makes
    /// rows in multiples of `block`, and no fewer than `least` at a time.
    Under { name: String, op: Conv2d, reach: usize, top: usize, block: usize, least: usize },
    /// A row makes `factor` rows, to which `around` rows on either side add something.
    Around { factor: usize, around: usize },
    /// Zeros around the image.
    Padded(ZeroPad),
}

impl Reading {
    /// How a layer reads an image of a height and a width, and the size of what it makes; `None` where that is not
    /// known.
    fn of(form: Form, parameters: &Parameters, [height, width]: [usize; 2]) -> Result<Option<(Reading, [usize; 2])>> {
        let kernel = |name: &str| Ok::<Vec<usize>, Error>(parameters.get(&format!("{name}.weight"))?.shape().to_vec());
        Ok(match form {
            Form::BatchNorm { .. } => Some((Reading::Each(1), [height, width])),
            Form::Nearest { factor } => Some((Reading::Each(factor), [height * factor, width * factor])),
            Form::Conv { name, op } => {
                let kernel = kernel(&name)?;
                let reach = (kernel[0] - 1) * op.dilation + 1;
                if op.padding != Padding::Same && height < reach {
                    return Ok(None);
                }
                let [_, made, across, _] = op.output_shape(&[1, height, width, kernel[2]], &kernel)?;
                let top = match op.padding {
                    Padding::Same => ((made - 1) * op.stride + reach).saturating_sub(height) / 2,
                    Padding::Valid => 0,
                    Padding::Rows { .. } | Padding::Around(_) => return Ok(None),
                };
                let block_of = |rows: usize| op.row_block(&[1, rows, width, kernel[2]], &kernel);
                let (mut block, mut least) = (1, 1);
                if let Some(rows) = block_of(height)? {
                    // So many that each part goes the way of the whole.
                    let goes =
                        |first: usize| (first..first + rows).all(|part| block_of(part).is_ok_and(|b| b.is_some()));
                    least = (rows..=height).step_by(rows).find(|&first| goes(first)).unwrap_or(height);
                    block = rows;
                }
                Some((Reading::Under { name, op, reach, top, block, least }, [made, across]))
            }
            Form::ConvTranspose { name, op } => {
                let around = kernel(&name)?[0].div_ceil(op.stride);
                Some((Reading::Around { factor: op.stride, around }, [height * op.stride, width * op.stride]))
            }
            Form::ZeroPad(pad) => {
                Some((Reading::Padded(pad), [height + pad.top + pad.bottom, width + pad.left + pad.right]))
            }
            Form::Other => None,
        })
    }

    /// The first row that output row `row` reads.
    fn first_read(&self, row: usize) -> usize {
        match self {
            Reading::Each(factor) => row / factor,
            Reading::Under { op, top, .. } => (row * op.stride).saturating_sub(*top),
            Reading::Around { factor, around } => (row / factor).saturating_sub(*around),
            Reading::Padded(pad) => row.saturating_sub(pad.top),
        }
    }

    /// Rows that are made at a time, where about `wanted` are.
    fn at_a_time(&self, wanted: usize) -> usize {
        match self {
            Reading::Each(factor) | Reading::Around { factor, .. } => wanted.next_multiple_of(*factor),
            Reading::Under { block, least, .. } => wanted.max(*least).next_multiple_of(*block),
            Reading::Padded(_) => usize::MAX / 2,
        }
    }

    /// Rows that can be made of the first `come` rows, some to come, where `total` are made of all of them.
    fn ready(&self, come: usize, total: usize) -> usize {
        match self {
            Reading::Each(factor) => come * factor,
            Reading::Under { op, reach, top, block, least, .. } => {
                let ready = (come + top).checked_sub(*reach).map_or(0, |rest| rest / op.stride + 1).min(total);
                let held = if *least > 1 { ready.min(total.saturating_sub(*least)) } else { ready };
                held / block * block
            }
            Reading::Around { factor, around } => come.saturating_sub(*around) * factor,
            Reading::Padded(pad) => come + pad.top,
        }
    }
}

/// One layer on its way down.
struct Stage {
    layer: Arc<dyn Layer>,
    reading: Reading,
    /// Rows of the whole image that it reads, and of the one that it makes.
    height: [usize; 2],
    /// Rows that it makes at a time, about.
    most: usize,
    window: Window,
    made: usize,
}

impl Stage {
    /// The rows that it makes next, if any can be made of those that have come.
    fn next(&self) -> Option<Range<usize>> {
        let [height, total] = self.height;
        let come = self.window.end();
        let ready = if come == height { total } else { self.reading.ready(come, total) };
        let least = if let Reading::Under { least, .. } = self.reading { least } else { 1 };
        if ready <= self.made || ready < total && ready - self.made < least {
            return None;
        }
        // What comes late, at the end, goes on in parts too; the last of them is not a small one.
        let end = if ready - self.made < 2 * self.most { ready } else { self.made + self.most };
        Some(self.made..end)
    }

    /// Makes these rows, which are the next ones of `to`, and lets go of those that it no longer reads.
    fn make(&mut self, bound: &Bound<'_>, rows: Range<usize>, to: &mut Window) -> Result<()> {
        self.write(bound, rows.clone(), to)?;
        let [height, total] = self.height;
        self.made = rows.end;
        self.window.forget(if rows.end == total { height } else { self.reading.first_read(rows.end) })
    }

    fn write(&self, bound: &Bound<'_>, rows: Range<usize>, to: &mut Window) -> Result<()> {
        let (tape, [height, total]) = (bound.tape(), self.height);
        let constant = |first, end| Ok::<Var, Error>(tape.constant(self.window.rows(first, end)?));
        let plain = |x: &Var| self.layer.forward(bound, x, Norm::Running);
        let first = self.reading.first_read(rows.start);
        let come = self.window.end();
        match &self.reading {
            Reading::Each(factor) => to.push(plain(&constant(first, rows.end.div_ceil(*factor))?)?.value().clone()),
            Reading::Under { name, op, reach, top, .. } => {
                // Counted from the first row of zeros above the image.
                let read = rows.start * op.stride..(rows.end - 1) * op.stride + reach;
                let end = read.end - top;
                let padding = match op.padding {
                    Padding::Valid => Padding::Valid,
                    _ => Padding::Rows { top: top.saturating_sub(read.start), bottom: end.saturating_sub(height) },
                };
                let op = Conv2d { padding, ..*op };
                let x = self.window.rows(first, end.min(height))?;
                if bound.watched().is_some() {
                    return to.push(convolve(bound, name, op, &tape.constant(x))?.value().clone());
                }
                let weight = bound.tensor(&format!("{name}.weight"))?;
                let bias = bound.optional(&format!("{name}.bias"))?;
                let _layer = bound.layer(name);
                let shape = op.output_shape(x.shape(), weight.shape())?;
                to.push_written(x.device(), shape, |y| op.write(&x, &weight, bias.as_ref().map(Var::value), y))
            }
            Reading::Around { factor, around } => {
                let end = (rows.end / factor + around).min(come);
                let y = plain(&constant(first, end)?)?;
                to.push(some_rows(y.value(), rows.start - first * factor, rows.len())?)
            }
            Reading::Padded(pad) => {
                let top = if rows.start == 0 { pad.top } else { 0 };
                let bottom = if rows.end == total { pad.bottom } else { 0 };
                let end = (rows.end - pad.top).min(height);
                let y = tape.apply(ZeroPad { top, bottom, ..*pad }, &[&constant(first, end)?])?;
                to.push(y.value().clone())
            }
        }
    }
}

/// A chain on its way down an image.
pub struct Rows {
    before: Vec<Stage>,
    last: Arc<dyn Layer>,
}

impl Sequential {
    /// The chain for one image of a height and a width, of which about `rows` rows come at a time, under running
    /// statistics. `None` where a layer is of a kind that is not known, or the last one is no convolution of single
    /// pixels.
    ///
    /// # Errors
    /// Parameters that are missing.
    pub fn by_rows(&self, parameters: &Parameters, size: [usize; 2], rows: usize) -> Result<Option<Rows>> {
        let Some((last, before)) = self.layers().split_last() else { return Ok(None) };
        let mut stages = Vec::new();
        let mut read = size;
        for layer in before {
            let Some((reading, made)) = Reading::of(layer.form(), parameters, read)? else { return Ok(None) };
            let most = reading.at_a_time((made[0] * rows).div_ceil(size[0].max(1)));
            let (layer, window, height) = (layer.clone(), Window::default(), [read[0], made[0]]);
            stages.push(Stage { layer, reading, height, most, window, made: 0 });
            read = made;
        }
        Ok(match Reading::of(last.form(), parameters, read)? {
            Some((Reading::Under { op, reach: 1, .. }, _)) if op.stride == 1 => {
                Some(Rows { before: stages, last: last.clone() })
            }
            _ => None,
        })
    }
}

impl Rows {
    /// Rows of the whole output.
    pub fn height(&self) -> Option<usize> {
        self.before.last().map(|stage| stage.height[1])
    }

    /// Takes the next rows `[1, h, W, channels_in]`, and hands on to `made` what the last layer has read and made of
    /// them, part by part, as far as it can be made.
    ///
    /// # Errors
    /// Shapes that do not fit, whatever a launch reports, and those of `made`.
    pub fn push(
        &mut self,
        bound: &Bound<'_>,
        x: Tensor,
        made: &mut dyn FnMut([Tensor; 2]) -> Result<()>,
    ) -> Result<()> {
        let last = &self.last;
        let mut finish = |features: Tensor| {
            let y = last.forward(bound, &bound.tape().constant(features.clone()), Norm::Running)?;
            made([features, y.value().clone()])
        };
        match self.before.first_mut() {
            Some(first) => first.window.push(x)?,
            None => return finish(x),
        }
        down(&mut self.before, bound, &mut finish)
    }
}

/// Lets what has come to the first of `stages` go through them, each part as far down as it comes before the next one
/// is made.
fn down(stages: &mut [Stage], bound: &Bound<'_>, finish: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
    let Some((stage, below)) = stages.split_first_mut() else { return Ok(()) };
    while let Some(rows) = stage.next() {
        if let Some(next) = below.first_mut() {
            stage.make(bound, rows, &mut next.window)?;
            down(below, bound, finish)?;
        } else {
            let mut made = Window::default();
            stage.make(bound, rows, &mut made)?;
            finish(made.rows(0, made.end())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::{BatchNormLayer, ConvLayer, ConvTransposeLayer, OpLayer, UpsampleLayer, ZeroPadLayer};
    use crate::engine::ops::activation::Activation;
    use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
    use crate::engine::ops::conv2d;
    use crate::engine::seeded::seeded;
    use crate::engine::tape::Tape;
    use crate::engine::testing::check::devices;

    /// Every kind of layer, and convolutions wide enough for Winograd's tiles.
    fn chain() -> Sequential {
        let before = ZeroPad { top: 1, left: 1, bottom: 0, right: 0 };
        let doubling = ConvTranspose2d { stride: 2, activation: conv2d::Activation::Relu };
        Sequential::new(3)
            .then(ConvLayer::same("a", 3, 64).relu())
            .then(ConvLayer::same("b", 3, 64).stride(2))
            .then(BatchNormLayer::new("n"))
            .then(ConvLayer::same("c", 3, 64).dilation(2))
            .then(ConvLayer::same("d", 3, 64).relu())
            // Whose kernel passes rows over.
            .then(ConvLayer::same("i", 1, 64).stride(3))
            .then(ZeroPadLayer(before))
            .then(ConvLayer::valid("e", 3, 8).stride(2))
            .then(ConvTransposeLayer { name: "f".into(), kernel: 4, out: 8, op: doubling })
            .then(UpsampleLayer { factor: 2 })
            .then(ConvLayer::same("g", 5, 6))
            .then(ConvLayer::same("h", 1, 4))
    }

    /// What the chain makes of an image `step` rows at a time, and at once: what its last layer reads, and its result.
    fn by_rows_and_at_once(device: &Device, [height, width]: [usize; 2], step: usize) -> [[Tensor; 2]; 2] {
        let network = chain();
        let parameters = Parameters::new(device, network.param_specs(), 5, false).unwrap();
        let image = seeded(device, &[1, height, width, 3], 2).unwrap();
        let tape = Tape::inference();
        let bound = parameters.bind(&tape, false);
        let whole = network.forward_by_features(&bound, tape.constant(image.clone()), Norm::Running).unwrap();
        let whole = [whole.0, whole.1].map(|var| var.value().clone());
        let mut rows = network.by_rows(&parameters, [height, width], step).unwrap().unwrap();
        assert_eq!(rows.height(), Some(whole[1].shape()[1]));
        let mut made = [Window::default(), Window::default()];
        for top in (0..height).step_by(step) {
            let part = some_rows(&image, top, step.min(height - top)).unwrap();
            let mut take = |parts: [Tensor; 2]| made.iter_mut().zip(parts).try_for_each(|(made, part)| made.push(part));
            rows.push(&bound, part, &mut take).unwrap();
        }
        [made.map(|made| made.rows(0, made.end()).unwrap()), whole]
    }

    #[test]
    fn rows_some_at_a_time_become_the_bits_of_all_at_once() {
        for size in [[83, 40], [41, 33], [9, 40]] {
            for step in [1, 7, 20, size[0]] {
                let [made, whole] = by_rows_and_at_once(&Device::cpu(), size, step);
                for (made, whole) in made.iter().zip(&whole) {
                    assert_eq!(made.shape(), whole.shape());
                    let same = made.to_vec().unwrap() == whole.to_vec().unwrap();
                    assert!(same, "{size:?}, {step} rows at a time");
                }
            }
        }
    }

    #[test]
    fn rows_of_a_gpu_are_those_of_all_at_once_to_rounding() {
        for device in devices() {
            let [made, whole] = by_rows_and_at_once(&device, [83, 40], 20);
            for (made, whole) in made.iter().zip(&whole) {
                assert_eq!(made.shape(), whole.shape());
                let (made, whole) = (made.to_vec().unwrap(), whole.to_vec().unwrap());
                let largest = whole.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for (i, (made, whole)) in made.iter().zip(&whole).enumerate() {
                    let off = (made - whole).abs();
                    assert!(off <= 1e-3 * largest, "{}: {made} for {whole} at {i}", device.name());
                }
            }
        }
    }

    #[test]
    fn a_chain_with_a_layer_that_sees_more_does_not_go_by_rows() {
        let tanh = || OpLayer::new("tanh", Activation::Tanh);
        let known = Sequential::new(2).then(ConvLayer::same("a", 3, 4)).then(ConvLayer::same("b", 1, 4));
        let chains = [
            (known.clone(), true),
            (known.clone().then(tanh()), false),
            (Sequential::new(2).then(tanh()).then(ConvLayer::same("a", 1, 4)), false),
            (known.then(ConvLayer::same("c", 3, 4)), false),
            (Sequential::new(2), false),
        ];
        for (i, (chain, by_rows)) in chains.into_iter().enumerate() {
            let parameters = Parameters::new(&Device::cpu(), chain.param_specs(), 1, false).unwrap();
            assert_eq!(chain.by_rows(&parameters, [20, 20], 8).unwrap().is_some(), by_rows, "{i}");
        }
    }
}
