//! What layers are made of, wherever they stand: in a row or in a network with branches.

use super::{Bound, Init, ParamKind, ParamSpec};
use crate::error::Result;
use crate::ops::batch_norm::{BatchNormInference, BatchNormTrain};
use crate::ops::elementwise;
use crate::tape::Var;
use crate::tensor::Tensor;

/// Batch norm as Keras has it by default.
const MOMENTUM: f32 = 0.99;
const EPS: f32 = 1e-3;

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

/// `NAME.between` `[channels]`: the running variance of the means of batches, for a batch norm that is trained on small batches.
///
/// The running variance is the mean of the variances *within* batches. A batch of one picture leaves out what pictures differ
/// in from each other; in the inner layers, of few pixels, that is most of it. Running statistics then divide by too little,
/// and the values of a picture unlike the average leave the range that the following layers know: it comes out dark, flat or
/// in one wrong colour. With the variance of the means added, the statistics are those of all pictures together.
pub fn between_spec(name: &str, channels: usize) -> ParamSpec {
    ParamSpec {
        name: format!("{name}.between"),
        shape: vec![channels],
        kind: ParamKind::OwnStatistic,
        init: Init::Constant(0.0),
    }
}

/// Which statistics batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The batch's own, which move the running ones: training.
    Training,
    /// The batch's own; the running ones stay.
    Batch,
    /// The running ones.
    Running,
}

/// Batch norm of x `[N, H, W, C]` with momentum 0.99 and eps 1e-3.
///
/// Where the network has `NAME.between`, see [`between_spec`], the running variance is that within and between batches.
///
/// # Errors
/// No such parameters, another number of channels, and whatever a launch reports.
pub fn batch_norm(bound: &Bound<'_>, name: &str, x: &Var, norm: Norm) -> Result<Var> {
    let gamma = bound.var(&format!("{name}.gamma"))?;
    let beta = bound.var(&format!("{name}.beta"))?;
    let mean = bound.tensor(&format!("{name}.mean"))?;
    let var = bound.tensor(&format!("{name}.var"))?;
    let between = bound.find(&format!("{name}.between"));
    let momentum = match norm {
        Norm::Training => MOMENTUM,
        // All of what was, nothing of what is.
        Norm::Batch => 1.0,
        Norm::Running => {
            let var = match between {
                Some(between) => sum(&var, &between)?,
                None => var,
            };
            return bound.tape().apply(BatchNormInference { mean, var, eps: EPS }, &[x, &gamma, &beta]);
        }
    };
    let op = BatchNormTrain { running_mean: mean, running_var: var, running_between: between, momentum, eps: EPS };
    bound.tape().apply(op, &[x, &gamma, &beta])
}

fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let y = Tensor::empty(a.device(), a.shape())?;
    elementwise::axpby(1.0, a, 1.0, b, &y)?;
    Ok(y)
}

/// Whether the batch norm saw one value per channel in every batch: then each variance was 0, and the running ones have decayed
/// from 1 to one and the same number.
///
/// # Errors
/// No such parameters, or a lost device.
pub fn saw_one_value(bound: &Bound<'_>, name: &str) -> Result<bool> {
    let var = bound.tensor(&format!("{name}.var"))?.to_vec()?;
    Ok(var[0] < 1.0 && var.iter().all(|&v| v == var[0]))
}

/// What [`batch_norm`] makes of one value per channel in training, whatever it is: beta. Under running statistics it divides
/// by the root of eps, a variance of nothing, and blows up 31 times what differs from the running mean.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_as_shift(bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
    let (tape, beta) = (bound.tape(), bound.var(&format!("{name}.beta"))?);
    let gamma = Tensor::full(x.value().device(), beta.value().shape(), 0.0)?;
    let [mean, var] = ["mean", "var"].map(|part| bound.tensor(&format!("{name}.{part}")));
    tape.apply(BatchNormInference { mean: mean?, var: var?, eps: EPS }, &[x, &tape.constant(gamma), &beta])
}
