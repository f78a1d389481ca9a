//! Layers in a graph, with the weights of a file.

use crate::engine::nn::layer::EPS;
use crate::engine::nn::{Form, WeightFile};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::ops::pad::ZeroPad;
use crate::error::{Error, Result};
use crate::exchange::axes::permuted;
use crate::exchange::onnx::graph::{Attribute, Graph, Value};

/// A graph with the weights of its layers.
pub struct Layers<'a> {
    /// The graph.
    pub graph: &'a mut Graph,
    /// The weights, known to be whole.
    pub weights: &'a WeightFile,
}

/// Padding before and after an axis of a convolution padded "same", of images whose sides are multiples of
/// the stride.
fn same_pads(kernel: usize, stride: usize, dilation: usize) -> [i64; 2] {
    let total = ((kernel - 1) * dilation + 1).saturating_sub(stride);
    [total / 2, total - total / 2].map(|pixels| pixels as i64)
}

impl Layers<'_> {
    /// A kernel `NAME.weight` in another order of its axes, and the name of its bias where it has one.
    fn kernel(&mut self, name: &str, order: [usize; 4]) -> Result<([usize; 4], Vec<Value>)> {
        let weight = self.weights.require(&format!("{name}.weight"))?;
        let &[kh, kw, c_in, c_out] = &weight.shape[..] else {
            let what = format!("tensor {name}.weight has shape {:?}, not [kh, kw, c_in, c_out]", weight.shape);
            return Err(Error::input(what, self.weights.source(), "use weights that huetape wrote for this model"));
        };
        let shape = [kh, kw, c_in, c_out];
        let (sizes, values) = permuted(shape, &weight.data, order);
        let mut inputs = vec![self.graph.named(&weight.name, &sizes, &values)];
        if let Some(bias) = self.weights.get(&format!("{name}.bias")) {
            inputs.push(self.graph.named(&bias.name, &bias.shape, &bias.data));
        }
        Ok((shape, inputs))
    }

    /// The convolution `name`, with its bias where it has one.
    ///
    /// # Errors
    /// No such weights.
    pub fn conv(&mut self, name: &str, op: Conv2d, x: &Value) -> Result<Value> {
        let ([kh, kw, ..], inputs) = self.kernel(name, [3, 2, 0, 1])?;
        let same = |kernel| same_pads(kernel, op.stride, op.dilation);
        let ([top, bottom], [left, right]) = match op.padding {
            Padding::Same => (same(kh), same(kw)),
            Padding::Valid => ([0; 2], [0; 2]),
            Padding::Rows { top, bottom } => ([top as i64, bottom as i64], same(kw)),
            Padding::Around(zeros) => ([zeros as i64; 2], [zeros as i64; 2]),
        };
        let attributes = [
            Attribute::Ints("kernel_shape", vec![kh as i64, kw as i64]),
            Attribute::Ints("strides", vec![op.stride as i64; 2]),
            Attribute::Ints("dilations", vec![op.dilation as i64; 2]),
            Attribute::Ints("pads", vec![top, left, bottom, right]),
        ];
        let inputs: Vec<&Value> = [x].into_iter().chain(&inputs).collect();
        let y = self.graph.node("Conv", &inputs, attributes);
        Ok(self.fused(op.activation, y))
    }

    /// The transposed convolution `name`, with its bias where it has one.
    ///
    /// # Errors
    /// No such weights; a kernel smaller than the stride, which ONNX pads otherwise.
    pub fn conv_transposed(&mut self, name: &str, op: ConvTranspose2d, x: &Value) -> Result<Value> {
        let ([kh, kw, ..], inputs) = self.kernel(name, [2, 3, 0, 1])?;
        crate::ensure!(
            kh.min(kw) >= op.stride,
            Error::input(
                format!("layer {name} has gaps between its kernels"),
                self.weights.source(),
                "use a larger kernel"
            )
        );
        let ([top, bottom], [left, right]) = (same_pads(kh, op.stride, 1), same_pads(kw, op.stride, 1));
        let attributes = [
            Attribute::Ints("kernel_shape", vec![kh as i64, kw as i64]),
            Attribute::Ints("strides", vec![op.stride as i64; 2]),
            Attribute::Ints("pads", vec![top, left, bottom, right]),
        ];
        let inputs: Vec<&Value> = [x].into_iter().chain(&inputs).collect();
        let y = self.graph.node("ConvTranspose", &inputs, attributes);
        Ok(self.fused(op.activation, y))
    }

    fn fused(&mut self, activation: conv2d::Activation, y: Value) -> Value {
        match activation {
            conv2d::Activation::None => y,
            conv2d::Activation::Relu => self.graph.plain("Relu", [&y]),
        }
    }

    /// Batch norm by the running statistics.
    ///
    /// # Errors
    /// No such weights.
    pub fn batch_norm(&mut self, name: &str, x: &Value) -> Result<Value> {
        let gamma = self.weights.require(&format!("{name}.gamma"))?.data.clone();
        self.normalised(name, &gamma, x)
    }

    /// What batch norm makes of one value a channel: beta, whatever x is.
    ///
    /// # Errors
    /// No such weights.
    pub fn batch_norm_as_shift(&mut self, name: &str, x: &Value) -> Result<Value> {
        let channels = self.weights.require(&format!("{name}.beta"))?.data.len();
        self.normalised(name, &vec![0.0; channels], x)
    }

    fn normalised(&mut self, name: &str, gamma: &[f32], x: &Value) -> Result<Value> {
        let mut inputs = vec![x.clone(), self.graph.named(&format!("{name}.gamma"), &[gamma.len()], gamma)];
        for part in ["beta", "mean", "var"] {
            let tensor = self.weights.require(&format!("{name}.{part}"))?;
            inputs.push(self.graph.named(&tensor.name, &tensor.shape, &tensor.data));
        }
        let inputs: Vec<&Value> = inputs.iter().collect();
        Ok(self.graph.node("BatchNormalization", &inputs, [Attribute::Float("epsilon", EPS)]))
    }

    /// An activation.
    pub fn activate(&mut self, activation: Activation, x: &Value) -> Value {
        match activation {
            Activation::LeakyRelu { slope } => self.graph.node("LeakyRelu", &[x], [Attribute::Float("alpha", slope)]),
            Activation::Elu { alpha } => self.graph.node("Elu", &[x], [Attribute::Float("alpha", alpha)]),
            Activation::Tanh => self.graph.plain("Tanh", [x]),
            Activation::Sigmoid => self.graph.plain("Sigmoid", [x]),
        }
    }

    /// Each pixel `factor` times along both axes.
    pub fn repeated(&mut self, factor: usize, x: &Value) -> Value {
        let scales = self.graph.constant(&[4], &[1.0, 1.0, factor as f32, factor as f32]);
        let attributes = [
            Attribute::Text("mode", "nearest"),
            Attribute::Text("coordinate_transformation_mode", "asymmetric"),
            Attribute::Text("nearest_mode", "floor"),
        ];
        self.graph.node("Resize", &[x, &Value::none(), &scales], attributes)
    }

    /// Zeros around an image.
    pub fn zero_padded(&mut self, pad: ZeroPad, x: &Value) -> Value {
        let [top, bottom, left, right] = [pad.top, pad.bottom, pad.left, pad.right].map(|pixels| pixels as i64);
        let pads = self.graph.integers(&[0, 0, top, left, 0, 0, bottom, right]);
        self.graph.node("Pad", &[x, &pads], [Attribute::Text("mode", "constant")])
    }

    /// A layer of a row of them.
    ///
    /// # Errors
    /// A layer that does not say what it is; no such weights.
    pub fn layer(&mut self, form: &Form, x: &Value) -> Result<Value> {
        match form {
            Form::Conv { name, op } => self.conv(name, *op, x),
            Form::ConvTranspose { name, op } => self.conv_transposed(name, *op, x),
            Form::BatchNorm { name } => self.batch_norm(name, x),
            Form::Nearest { factor } => Ok(self.repeated(*factor, x)),
            Form::ZeroPad(pad) => Ok(self.zero_padded(*pad, x)),
            Form::Other => Err(Error::input(
                "a layer does not say what it is",
                self.weights.source(),
                "use a network of layers that huetape knows",
            )),
        }
    }
}

/// Enlarged bilinearly, half-pixel centres and clamped edges.
pub fn enlarged(graph: &mut Graph, x: &Value, factor: usize) -> Value {
    if factor == 1 {
        return x.clone();
    }
    let scales = graph.constant(&[4], &[1.0, 1.0, factor as f32, factor as f32]);
    let attributes =
        [Attribute::Text("mode", "linear"), Attribute::Text("coordinate_transformation_mode", "half_pixel")];
    graph.node("Resize", &[x, &Value::none(), &scales], attributes)
}
