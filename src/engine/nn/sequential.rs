//! A chain of layers: its parameters and its forward pass.

use crate::engine::nn::layer::{
    Norm, batch_norm, batch_norm_specs, conv_specs, convolve, convolve_transposed, dense, dense_specs, report,
    upsample_nearest,
};
use crate::engine::nn::{Bound, Form, ParamSpec};
use crate::engine::op::Op;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::Conv2d;
use crate::engine::ops::pad::ZeroPad;
use crate::engine::tape::Var;
use crate::error::Result;
use std::sync::Arc;

/// One layer of a chain: the parameters that it needs, and what it does with them. Any type can be one.
///
/// ```
/// use huetape::engine::device::Device;
/// use huetape::engine::nn::{Bound, ConvLayer, Init, Layer, Norm, ParamKind, ParamSpec, Parameters, Sequential};
/// use huetape::engine::ops::arithmetic::Arithmetic;
/// use huetape::engine::tape::{Tape, Var};
/// use huetape::engine::tensor::Tensor;
///
/// /// Each channel times a factor that is learned.
/// struct Gain(String);
///
/// impl Layer for Gain {
///     fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
///         let (shape, kind, init) = (vec![channels], ParamKind::Vector, Init::Constant(1.0));
///         vec![ParamSpec { name: format!("{}.factor", self.0), shape, kind, init }]
///     }
///
///     fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> huetape::Result<Var> {
///         let factor = bound.var(&format!("{}.factor", self.0))?;
///         bound.tape().apply(Arithmetic::Multiply, &[x, &factor])
///     }
/// }
///
/// let network = Sequential::new(3).then(ConvLayer::same("conv", 3, 8).relu()).then(Gain("gain".into()));
/// let device = Device::cpu();
/// let parameters = Parameters::new(&device, network.param_specs(), 0, false)?;
/// assert_eq!(parameters.get("gain.factor")?.shape(), [8]);
/// let tape = Tape::inference();
/// let x = tape.constant(Tensor::full(&device, &[1, 4, 4, 3], 0.5)?);
/// let y = network.forward(&parameters.bind(&tape, false), x, Norm::Running)?;
/// assert_eq!(y.value().shape(), [1, 4, 4, 8]);
/// # Ok::<(), huetape::Error>(())
/// ```
pub trait Layer: Send + Sync {
    /// Its parameters, for an input with `channels` channels (the size of the last axis). Without a definition: none.
    fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
        let _ = channels;
        Vec::new()
    }

    /// Channels of its output, for an input with `channels` of them. Without a definition: as many.
    fn channels_out(&self, channels: usize) -> usize {
        channels
    }

    /// Runs it on `x`, with its parameters in `bound`; `norm` says which statistics a normalisation uses, and so
    /// whether it is training.
    ///
    /// # Errors
    /// Shapes that do not fit, and whatever a launch reports.
    fn forward(&self, bound: &Bound<'_>, x: &Var, norm: Norm) -> Result<Var>;

    /// What it is, for the formats of other programs. Without a definition: nothing that they know.
    fn form(&self) -> Form {
        Form::Other
    }
}

/// Layers in a row.
#[derive(Clone)]
pub struct Sequential {
    channels_in: usize,
    layers: Vec<Arc<dyn Layer>>,
}

impl Sequential {
    /// A chain without layers, for inputs with `channels_in` channels.
    pub fn new(channels_in: usize) -> Self {
        Sequential { channels_in, layers: Vec::new() }
    }

    /// The same chain for inputs with `channels_in` channels.
    #[must_use]
    pub fn reading(self, channels_in: usize) -> Self {
        Sequential { channels_in, ..self }
    }

    /// The layers, in order.
    pub(super) fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// Channels of the input.
    pub fn channels_in(&self) -> usize {
        self.channels_in
    }

    /// The chain with one more layer at its end.
    #[must_use]
    pub fn then(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// The parameters of all layers, in order.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut channels = self.channels_in;
        let mut specs = Vec::new();
        for layer in &self.layers {
            specs.extend(layer.param_specs(channels));
            channels = layer.channels_out(channels);
        }
        specs
    }

    /// Channels that the last layer reads.
    pub fn channels_before_last(&self) -> usize {
        let before = &self.layers[..self.layers.len().saturating_sub(1)];
        before.iter().fold(self.channels_in, |channels, layer| layer.channels_out(channels))
    }

    /// Channels of the output.
    pub fn channels_out(&self) -> usize {
        self.layers.iter().fold(self.channels_in, |channels, layer| layer.channels_out(channels))
    }

    /// What the layers are, in order.
    pub fn forms(&self) -> Vec<Form> {
        self.layers.iter().map(|layer| layer.form()).collect()
    }

    /// Runs the chain on `x` `[N, H, W, channels_in]`, or whatever the first layer takes.
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

    /// As [`Sequential::forward`], with what the last layer read before what it made.
    ///
    /// # Errors
    /// As [`Sequential::forward`].
    pub fn forward_by_features(&self, bound: &Bound<'_>, x: Var, norm: Norm) -> Result<(Var, Var)> {
        let mut x = x;
        let Some((last, before)) = self.layers.split_last() else { return Ok((x.clone(), x)) };
        for layer in before {
            x = layer.forward(bound, &x, norm)?;
        }
        let y = last.forward(bound, &x, norm)?;
        Ok((x, y))
    }
}

/// A convolution: `NAME.weight` `[k, k, c_in, c_out]`, `NAME.bias` `[c_out]`, and an activation.
#[derive(Debug, Clone)]
pub struct ConvLayer {
    /// Prefix of its parameters.
    pub name: String,
    /// Kernel height and width, in pixels.
    pub kernel: usize,
    /// Channels out.
    pub out: usize,
    /// Stride, dilation, padding and activation.
    pub op: Conv2d,
}

impl ConvLayer {
    /// The layer `name` with a kernel of `kernel` by `kernel` pixels and `out` channels out, by [`Conv2d::same`].
    pub fn same(name: impl Into<String>, kernel: usize, out: usize) -> Self {
        ConvLayer { name: name.into(), kernel, out, op: Conv2d::same() }
    }

    /// As [`ConvLayer::same`], with [`Conv2d::valid`].
    pub fn valid(name: impl Into<String>, kernel: usize, out: usize) -> Self {
        ConvLayer { op: Conv2d::valid(), ..ConvLayer::same(name, kernel, out) }
    }

    /// The same with `stride` input pixels from one output pixel to the next.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        ConvLayer { op: self.op.stride(stride), ..self }
    }

    /// The same with `dilation` input pixels from one tap of the kernel to the next.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        ConvLayer { op: self.op.dilation(dilation), ..self }
    }

    /// The same with a ReLU after the bias.
    #[must_use]
    pub fn relu(self) -> Self {
        ConvLayer { op: self.op.relu(), ..self }
    }
}

impl Layer for ConvLayer {
    fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
        conv_specs(&self.name, self.kernel, channels, self.out).into()
    }

    fn channels_out(&self, _: usize) -> usize {
        self.out
    }

    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        convolve(bound, &self.name, self.op, x)
    }

    fn form(&self) -> Form {
        Form::Conv { name: self.name.clone(), op: self.op }
    }
}

/// A transposed convolution: `NAME.weight` `[k, k, c_in, c_out]`, `NAME.bias` `[c_out]`, and an activation.
#[derive(Debug, Clone)]
pub struct ConvTransposeLayer {
    /// Prefix of its parameters.
    pub name: String,
    /// Kernel height and width, in pixels.
    pub kernel: usize,
    /// Channels out.
    pub out: usize,
    /// Stride and activation.
    pub op: ConvTranspose2d,
}

impl Layer for ConvTransposeLayer {
    fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
        conv_specs(&self.name, self.kernel, channels, self.out).into()
    }

    fn channels_out(&self, _: usize) -> usize {
        self.out
    }

    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        convolve_transposed(bound, &self.name, self.op, x)
    }

    fn form(&self) -> Form {
        Form::ConvTranspose { name: self.name.clone(), op: self.op }
    }
}

/// Zeros around each image.
#[derive(Debug, Clone)]
pub struct ZeroPadLayer(pub ZeroPad);

impl Layer for ZeroPadLayer {
    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        bound.tape().apply(self.0, &[x])
    }

    fn form(&self) -> Form {
        Form::ZeroPad(self.0)
    }
}

/// A dense layer of x `[N, channels]`: `NAME.weight` `[channels, out]`, `NAME.bias` `[out]`.
#[derive(Debug, Clone)]
pub struct DenseLayer {
    /// Prefix of its parameters.
    pub name: String,
    /// Channels out.
    pub out: usize,
}

impl DenseLayer {
    /// The layer `name` with `out` channels out.
    pub fn new(name: impl Into<String>, out: usize) -> Self {
        DenseLayer { name: name.into(), out }
    }
}

impl Layer for DenseLayer {
    fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
        dense_specs(&self.name, channels, self.out).into()
    }

    fn channels_out(&self, _: usize) -> usize {
        self.out
    }

    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        dense(bound, &self.name, x)
    }
}

/// Batch norm: `NAME.gamma`, `NAME.beta`, `NAME.mean`, `NAME.var`, each `[C]`; momentum 0.99, eps 1e-3.
#[derive(Debug, Clone)]
pub struct BatchNormLayer {
    /// Prefix of its parameters.
    pub name: String,
}

impl BatchNormLayer {
    /// The layer `name`.
    pub fn new(name: impl Into<String>) -> Self {
        BatchNormLayer { name: name.into() }
    }
}

impl Layer for BatchNormLayer {
    fn param_specs(&self, channels: usize) -> Vec<ParamSpec> {
        batch_norm_specs(&self.name, channels).into()
    }

    fn forward(&self, bound: &Bound<'_>, x: &Var, norm: Norm) -> Result<Var> {
        batch_norm(bound, &self.name, x, norm)
    }

    fn form(&self) -> Form {
        Form::BatchNorm { name: self.name.clone() }
    }
}

/// Each pixel repeated `factor` times along both axes.
#[derive(Debug, Clone)]
pub struct UpsampleLayer {
    /// How often.
    pub factor: usize,
}

impl Layer for UpsampleLayer {
    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        upsample_nearest(bound, "upsample", self.factor, x)
    }

    fn form(&self) -> Form {
        Form::Nearest { factor: self.factor }
    }
}

/// Any op of one input without parameters that keeps the number of channels: pooling, an activation, one of your own.
#[derive(Clone)]
pub struct OpLayer {
    name: String,
    op: Arc<dyn Op + Send + Sync>,
}

impl OpLayer {
    /// `op` as a layer, by `name` to whoever watches.
    pub fn new(name: impl Into<String>, op: impl Op + 'static) -> Self {
        OpLayer { name: name.into(), op: Arc::new(op) }
    }
}

impl Layer for OpLayer {
    fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
        let _layer = bound.layer(&self.name);
        let y = bound.tape().apply(self.op.clone(), &[x])?;
        report(bound, &self.name, "op", x, &y)?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::Parameters;
    use crate::engine::ops::activation::Activation;
    use crate::engine::tape::Tape;
    use crate::engine::tensor::Tensor;

    /// A layer that is none of the engine's: it doubles its channels.
    struct Doubled;

    impl Layer for Doubled {
        fn channels_out(&self, channels: usize) -> usize {
            2 * channels
        }

        fn forward(&self, bound: &Bound<'_>, x: &Var, _: Norm) -> Result<Var> {
            bound.tape().apply(crate::engine::ops::concat::Concat, &[x, x])
        }
    }

    #[test]
    fn layers_of_any_type_stand_in_a_row_and_each_knows_its_channels() {
        let network = Sequential::new(2)
            .then(ConvLayer::same("a", 3, 4).stride(2).relu())
            .then(Doubled)
            .then(BatchNormLayer::new("n"))
            .then(UpsampleLayer { factor: 2 })
            .then(OpLayer::new("tanh", Activation::Tanh))
            .then(ConvLayer::valid("b", 3, 5));
        assert_eq!(network.channels_out(), 5);
        let device = Device::cpu();
        let parameters = Parameters::new(&device, network.param_specs(), 0, false).unwrap();
        let names: Vec<&str> = parameters.specs().iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["a.weight", "a.bias", "n.gamma", "n.beta", "n.mean", "n.var", "b.weight", "b.bias"]);
        assert_eq!(parameters.get("b.weight").unwrap().shape(), [3, 3, 8, 5]);
        let tape = Tape::inference();
        let x = tape.constant(Tensor::full(&device, &[1, 6, 8, 2], 0.5).unwrap());
        let y = network.forward(&parameters.bind(&tape, false), x, Norm::Running).unwrap();
        assert_eq!(y.value().shape(), [1, 4, 6, 5]);
    }

    #[test]
    fn a_dense_layer_takes_as_many_channels_as_the_one_before_makes() {
        let network = Sequential::new(3).then(DenseLayer::new("a", 7)).then(DenseLayer::new("b", 2));
        let shapes: Vec<Vec<usize>> = network.param_specs().into_iter().map(|spec| spec.shape).collect();
        assert_eq!(shapes, [vec![3, 7], vec![7], vec![7, 2], vec![2]]);
    }
}
