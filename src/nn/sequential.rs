//! A chain of layers: its parameters, its forward pass, and a table of its shapes.

use super::layer::{Norm, batch_norm, batch_norm_specs, bias_spec, kernel_spec};
use super::{Bound, Init, ParamSpec};
use crate::error::Result;
use crate::ops::conv2d::{Activation, Conv2d, Padding};
use crate::ops::upsample_nearest::UpsampleNearest;
use crate::tape::Var;

/// One layer of a chain.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// `NAME.weight` `[k, k, c_in, c_out]`, `NAME.bias` `[c_out]`, and an activation.
    Conv {
        /// Prefix of its parameters.
        name: String,
        /// Kernel height and width.
        kernel: usize,
        /// Channels out.
        out: usize,
        /// Step between output pixels, in input pixels.
        stride: usize,
        /// Step between taps, in input pixels.
        dilation: usize,
        /// Same or valid.
        padding: Padding,
        /// What follows the bias.
        activation: Activation,
    },
    /// `NAME.gamma`, `NAME.beta`, `NAME.mean`, `NAME.var`, each `[C]`; momentum 0.99, eps 1e-3.
    BatchNorm {
        /// Prefix of its parameters.
        name: String,
    },
    /// Each pixel repeated `factor` times along both axes.
    UpsampleNearest {
        /// How often.
        factor: usize,
    },
}

/// A line of the summary: a layer and what comes out of it.
#[derive(Debug, Clone)]
pub struct LayerShape {
    /// Name of its parameters, or of what it does.
    pub name: String,
    /// E.g. `conv 3x3/2 d1 relu`.
    pub kind: String,
    /// Height, width, channels of its output.
    pub output: [usize; 3],
    /// Parameters that are trained.
    pub trainable: usize,
    /// Parameters that are not: running statistics.
    pub fixed: usize,
}

/// Layers in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    /// Channels of the input.
    pub channels_in: usize,
    /// In order.
    pub layers: Vec<Layer>,
}

impl Sequential {
    /// The parameters of all layers, in order.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut channels = self.channels_in;
        let mut specs = Vec::new();
        for layer in &self.layers {
            match layer {
                Layer::Conv { name, kernel, out, .. } => {
                    let init = Init::HeNormal { fan_in: kernel * kernel * channels };
                    specs.push(kernel_spec(name, *kernel, channels, *out, init));
                    specs.push(bias_spec(name, *out));
                    channels = *out;
                }
                Layer::BatchNorm { name } => specs.extend(batch_norm_specs(name, channels)),
                Layer::UpsampleNearest { .. } => {}
            }
        }
        specs
    }

    /// Runs the chain on `x` `[N, H, W, channels_in]`.
    ///
    /// # Errors
    /// Shapes that do not fit, and whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, x: Var, norm: Norm) -> Result<Var> {
        let mut x = x;
        for layer in &self.layers {
            x = layer.forward(bound, &x, norm)?;
        }
        Ok(x)
    }

    /// What each layer puts out for an input of `height` x `width`.
    pub fn shapes(&self, height: usize, width: usize) -> Vec<LayerShape> {
        let (mut h, mut w, mut c) = (height, width, self.channels_in);
        let mut table = Vec::new();
        for layer in &self.layers {
            let (name, kind, trainable, fixed);
            match layer {
                Layer::Conv { name: prefix, kernel, out, stride, dilation, padding, activation } => {
                    trainable = kernel * kernel * c * out + out;
                    let span = (kernel - 1) * dilation;
                    (h, w) = match padding {
                        Padding::Same => (h.div_ceil(*stride), w.div_ceil(*stride)),
                        Padding::Valid => {
                            (h.saturating_sub(span).div_ceil(*stride), w.saturating_sub(span).div_ceil(*stride))
                        }
                    };
                    c = *out;
                    let relu = if *activation == Activation::Relu { ", relu" } else { "" };
                    let stride = if *stride > 1 { format!("/{stride}") } else { String::new() };
                    let dilation = if *dilation > 1 { format!(" d{dilation}") } else { String::new() };
                    kind = format!("conv {kernel}x{kernel}{stride}{dilation}{relu}");
                    (name, fixed) = (prefix.clone(), 0);
                }
                Layer::BatchNorm { name: prefix } => {
                    (name, kind, trainable, fixed) = (prefix.clone(), "batch norm".to_owned(), 2 * c, 2 * c);
                }
                Layer::UpsampleNearest { factor } => {
                    (h, w) = (h * factor, w * factor);
                    (name, kind, trainable, fixed) = ("upsample".to_owned(), format!("nearest x{factor}"), 0, 0);
                }
            }
            table.push(LayerShape { name, kind, output: [h, w, c], trainable, fixed });
        }
        table
    }
}

impl Layer {
    fn forward(&self, bound: &Bound<'_>, x: &Var, norm: Norm) -> Result<Var> {
        let tape = bound.tape();
        match self {
            &Layer::Conv { ref name, stride, dilation, padding, activation, .. } => {
                let weight = bound.var(&format!("{name}.weight"))?;
                let bias = bound.var(&format!("{name}.bias"))?;
                tape.apply(Conv2d { stride, dilation, padding, activation }, &[x, &weight, &bias])
            }
            Layer::BatchNorm { name } => batch_norm(bound, name, x, norm),
            Layer::UpsampleNearest { factor } => tape.apply(UpsampleNearest { factor: *factor }, &[x]),
        }
    }
}
