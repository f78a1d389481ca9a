//! A chain of layers: its parameters and its forward pass.

use crate::engine::nn::layer::{
    Norm, batch_norm, batch_norm_specs, bias_spec, convolve, kernel_spec, upsample_nearest,
};
use crate::engine::nn::{Bound, Init, ParamSpec};
use crate::engine::ops::conv2d::{Activation, Conv2d, Padding};
use crate::engine::tape::Var;
use crate::error::Result;

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
}

impl Layer {
    fn forward(&self, bound: &Bound<'_>, x: &Var, norm: Norm) -> Result<Var> {
        match self {
            &Layer::Conv { ref name, stride, dilation, padding, activation, .. } => {
                convolve(bound, name, Conv2d { stride, dilation, padding, activation }, x)
            }
            Layer::BatchNorm { name } => batch_norm(bound, name, x, norm),
            Layer::UpsampleNearest { factor } => upsample_nearest(bound, *factor, x),
        }
    }
}
