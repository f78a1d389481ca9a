//! What layers are made of, wherever they stand: in a row or in a network with branches.

use crate::engine::nn::{Bound, Init, ParamKind, ParamSpec};
use crate::engine::op::Op;
use crate::engine::ops::activation::Activation;
use crate::engine::ops::batch_norm::{After, BatchNormInference, BatchNormTogether, BatchNormTrain, Rectifier};
use crate::engine::ops::concat::Concat;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d};
use crate::engine::ops::dense::Dense;
use crate::engine::ops::relu::Relu;
use crate::engine::ops::upsample_nearest::UpsampleNearest;
use crate::engine::ranks::Ranks;
use crate::engine::tape::Var;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// Batch norm as Keras has it by default.
const MOMENTUM: f32 = 0.99;
/// What is added to a variance before its root is taken.
pub const EPS: f32 = 1e-3;

/// `NAME.weight` `[k, k, c_in, c_out]` of a convolution, plain or transposed.
pub fn kernel_spec(name: &str, size: usize, c_in: usize, c_out: usize, init: Init) -> ParamSpec {
    let shape = vec![size, size, c_in, c_out];
    ParamSpec { name: format!("{name}.weight"), shape, kind: ParamKind::Kernel, init }
}

/// `NAME.bias` `[c_out]`, zero.
pub fn bias_spec(name: &str, c_out: usize) -> ParamSpec {
    let (name, init) = (format!("{name}.bias"), Init::Constant(0.0));
    ParamSpec { name, shape: vec![c_out], kind: ParamKind::Vector, init }
}

/// Kernel, He-normal, and bias, zero, of a convolution whose kernel is `size` pixels a side.
pub fn conv_specs(name: &str, size: usize, c_in: usize, c_out: usize) -> [ParamSpec; 2] {
    [kernel_spec(name, size, c_in, c_out, Init::HeNormal { fan_in: size * size * c_in }), bias_spec(name, c_out)]
}

/// `NAME.weight` `[inputs, outputs]`, He-normal, and `NAME.bias`, zero, of a dense layer.
pub fn dense_specs(name: &str, inputs: usize, outputs: usize) -> [ParamSpec; 2] {
    let (weight, init) = (format!("{name}.weight"), Init::HeNormal { fan_in: inputs });
    [ParamSpec { name: weight, shape: vec![inputs, outputs], kind: ParamKind::Kernel, init }, bias_spec(name, outputs)]
}

/// `NAME.gamma`, `NAME.beta`, `NAME.mean`, `NAME.var`, each `[channels]`: the identity at the start.
pub fn batch_norm_specs(name: &str, channels: usize) -> [ParamSpec; 4] {
    let parts = [
        ("gamma", ParamKind::Vector, 1.0),
        ("beta", ParamKind::Vector, 0.0),
        ("mean", ParamKind::Statistic, 0.0),
        ("var", ParamKind::Statistic, 1.0),
    ];
    parts.map(|(part, kind, start)| ParamSpec {
        name: format!("{name}.{part}"),
        shape: vec![channels],
        kind,
        init: Init::Constant(start),
    })
}

/// Tells whoever watches that the layer `name` made y of x. For what has no function here: pooling, joining.
///
/// # Errors
/// Whatever the watch reports.
pub fn report(bound: &Bound<'_>, name: &str, kind: &str, x: &Var, y: &Var) -> Result<()> {
    bound.watched().map_or(Ok(()), |watch| watch.layer(name, kind, x.value(), y.value()))
}

/// The convolution `name` of x `[N, H, W, C]`, with its bias where it has one. A ReLU that is fused with it runs by
/// itself under a watch, which then sees what comes before.
///
/// # Errors
/// No such parameters, shapes that do not fit, and whatever a launch reports.
pub fn convolve(bound: &Bound<'_>, name: &str, op: Conv2d, x: &Var) -> Result<Var> {
    let run = |activation| weighted(bound, name, Conv2d { activation, ..op }, x);
    let kind = |kernel: String| {
        let stride = if op.stride > 1 { format!("/{}", op.stride) } else { String::new() };
        let dilation = if op.dilation > 1 { format!(" d{}", op.dilation) } else { String::new() };
        format!("conv {kernel}{stride}{dilation}")
    };
    watched_convolution(bound, name, op.activation, x, run, kind)
}

/// As [`convolve`], transposed.
///
/// # Errors
/// As [`convolve`].
pub fn convolve_transposed(bound: &Bound<'_>, name: &str, op: ConvTranspose2d, x: &Var) -> Result<Var> {
    let run = |activation| weighted(bound, name, ConvTranspose2d { activation, ..op }, x);
    let kind = |kernel: String| {
        let stride = if op.stride > 1 { format!("/{}", op.stride) } else { String::new() };
        format!("transposed conv {kernel}{stride}")
    };
    watched_convolution(bound, name, op.activation, x, run, kind)
}

fn watched_convolution(
    bound: &Bound<'_>,
    name: &str,
    activation: conv2d::Activation,
    x: &Var,
    run: impl Fn(conv2d::Activation) -> Result<Var>,
    kind: impl Fn(String) -> String,
) -> Result<Var> {
    let _layer = bound.layer(name);
    let Some(watch) = bound.watched() else { return run(activation) };
    let weight = bound.tensor(&format!("{name}.weight"))?;
    let kernel = format!("{}x{}", weight.shape()[0], weight.shape()[1]);
    let y = run(conv2d::Activation::None)?;
    watch.layer(name, &kind(kernel), x.value(), y.value())?;
    match activation {
        conv2d::Activation::None => Ok(y),
        conv2d::Activation::Relu => relu(bound, name, &y),
    }
}

/// The dense layer `name` of x `[N, ...]`, with its bias where it has one.
///
/// # Errors
/// As [`convolve`].
pub fn dense(bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
    let _layer = bound.layer(name);
    let y = weighted(bound, name, Dense, x)?;
    report(bound, name, "dense", x, &y)?;
    Ok(y)
}

/// An op on x and on a layer's weight and, where it has one, bias.
fn weighted(bound: &Bound<'_>, name: &str, op: impl Op + 'static, x: &Var) -> Result<Var> {
    let weight = bound.var(&format!("{name}.weight"))?;
    match bound.optional(&format!("{name}.bias"))? {
        Some(bias) => bound.tape().apply(op, &[x, &weight, &bias]),
        None => bound.tape().apply(op, &[x, &weight]),
    }
}

/// The activation of the layer `name`.
///
/// # Errors
/// Whatever a launch reports.
pub fn activate(bound: &Bound<'_>, name: &str, op: Activation, x: &Var) -> Result<Var> {
    activated(bound, name, || op.to_string(), op, x)
}

/// As [`activate`], for the rectifier.
///
/// # Errors
/// Whatever a launch reports.
pub fn relu(bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
    activated(bound, name, || "relu".to_owned(), Relu, x)
}

/// As [`activate`], for what may follow a batch norm.
///
/// # Errors
/// Whatever a launch reports.
pub fn rectify(bound: &Bound<'_>, name: &str, rectifier: Rectifier, x: &Var) -> Result<Var> {
    match rectifier {
        Rectifier::None => Ok(x.clone()),
        Rectifier::Relu => relu(bound, name, x),
        Rectifier::LeakyRelu { slope } => activate(bound, name, Activation::LeakyRelu { slope }, x),
    }
}

fn activated(bound: &Bound<'_>, name: &str, kind: impl Fn() -> String, op: impl Op + 'static, x: &Var) -> Result<Var> {
    let _layer = bound.layer(name);
    let y = bound.tape().apply(op, &[x])?;
    if let Some(watch) = bound.watched() {
        watch.activation(name, &kind(), x.value(), y.value())?;
    }
    Ok(y)
}

/// Each pixel of x repeated `factor` times along both axes, as the layer `name`.
///
/// # Errors
/// Whatever a launch reports.
pub fn upsample_nearest(bound: &Bound<'_>, name: &str, factor: usize, x: &Var) -> Result<Var> {
    let _layer = bound.layer(name);
    let y = bound.tape().apply(UpsampleNearest { factor }, &[x])?;
    report(bound, name, &format!("nearest x{factor}"), x, &y)?;
    Ok(y)
}

/// Which statistics batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The batch's own, which move the running ones: training.
    Training,
    /// The batch's own; the running ones stay.
    Batch,
    /// The batch's own, while the running ones become those over all batches together: this is number `number`, from 1,
    /// and the first one replaces what was.
    ///
    /// The running variance of a training is the mean of the variances *within* batches. A batch of one picture leaves
    /// out what pictures differ in from each other; in the inner layers, of few pixels, that is most of it. Running
    /// statistics then divide by too little, and the values of a picture unlike the average leave the range that the
    /// following layers know: it comes out dark, flat or in one wrong colour.
    Estimate {
        /// Of the batch.
        number: u32,
    },
    /// The running ones.
    Running,
}

/// Batch norm of x `[N, H, W, C]` with momentum 0.99 and eps 1e-3. Where several processes train, the batch is that of
/// all together.
///
/// # Errors
/// No such parameters, another number of channels, and whatever a launch reports.
pub fn batch_norm(bound: &Bound<'_>, name: &str, x: &Var, norm: Norm) -> Result<Var> {
    let y = normalize(bound, name, x, norm, After::default(), None)?;
    report(bound, name, "batch norm", x, &y)?;
    Ok(y)
}

/// As [`batch_norm`], by the name `NAME.bn` of the layer `name`, with what follows it: dropout, a rectifier, and the
/// channels of `skip` beside the result. All of it runs in the same launches; under a watch each part runs by itself,
/// which then sees what lies between, and
/// where several processes train.
///
/// # Errors
/// As [`batch_norm`]; a skip of other pixels.
pub fn batch_norm_then(
    bound: &Bound<'_>,
    name: &str,
    x: &Var,
    norm: Norm,
    after: After,
    skip: Option<&Var>,
) -> Result<Var> {
    let of_norm = format!("{name}.bn");
    // The launches that do all draw for a whole batch.
    let whole = after.dropout.is_none_or(|dropout| dropout.draw.first == 0);
    if whole && bound.watched().is_none() && !goes_over_all(x.value().device().ranks(), norm) {
        return normalize(bound, &of_norm, x, norm, after, skip);
    }
    let tape = bound.tape();
    let mut y = batch_norm(bound, &of_norm, x, norm)?;
    if let Some(dropout) = after.dropout {
        y = tape.apply(dropout, &[&y])?;
    }
    y = rectify(bound, name, after.rectifier, &y)?;
    skip.map_or(Ok(y.clone()), |skip| tape.apply(Concat, &[&y, skip]))
}

/// Whether a batch norm goes over the images of several processes; what follows it then runs by itself. What is painted
/// is one process's affair.
fn goes_over_all(ranks: &Ranks, norm: Norm) -> bool {
    !ranks.alone() && matches!(norm, Norm::Training | Norm::Estimate { .. })
}

fn normalize(bound: &Bound<'_>, name: &str, x: &Var, norm: Norm, after: After, skip: Option<&Var>) -> Result<Var> {
    let _layer = bound.layer(name);
    let gamma = bound.var(&format!("{name}.gamma"))?;
    let beta = bound.var(&format!("{name}.beta"))?;
    let mean = bound.tensor(&format!("{name}.mean"))?;
    let var = bound.tensor(&format!("{name}.var"))?;
    let ranks = gamma.value().device().ranks();
    let inputs: Vec<&Var> = [x, &gamma, &beta].into_iter().chain(skip).collect();
    let by_batch = |momentum, pooled| {
        let (running_mean, running_var) = (mean.clone(), var.clone());
        let op = BatchNormTrain { running_mean, running_var, pooled, momentum, eps: EPS };
        match goes_over_all(ranks, norm) {
            true => bound.tape().apply(BatchNormTogether { alone: op, ranks: ranks.clone() }, &[x, &gamma, &beta]),
            false => bound.tape().apply(op.followed_by(after), &inputs),
        }
    };
    match norm {
        Norm::Training => by_batch(MOMENTUM, false),
        // All of what was, nothing of what is.
        Norm::Batch => by_batch(1.0, false),
        // One value a channel has no variance, and is to be known by that.
        Norm::Estimate { number } => {
            by_batch(1.0 - 1.0 / number as f32, ranks.size() * x.value().len() > gamma.value().len())
        }
        Norm::Running => {
            let (mean, var) = (mean.clone(), var.clone());
            let op = BatchNormInference { mean, var, eps: EPS };
            bound.tape().apply(op.followed_by(after), &inputs)
        }
    }
}

/// What [`batch_norm`] makes of one value per channel in training, whatever it is: beta. Under running statistics it
/// divides by the root of eps, a variance of nothing, and blows up 31 times what differs from the running mean.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_as_shift(bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
    let _layer = bound.layer(name);
    let (tape, beta) = (bound.tape(), bound.var(&format!("{name}.beta"))?);
    let gamma = Tensor::full(x.value().device(), beta.value().shape(), 0.0)?;
    let [mean, var] = ["mean", "var"].map(|part| bound.tensor(&format!("{name}.{part}")));
    let y = tape.apply(BatchNormInference { mean: mean?, var: var?, eps: EPS }, &[x, &tape.constant(gamma), &beta])?;
    report(bound, name, "batch norm", x, &y)?;
    Ok(y)
}
