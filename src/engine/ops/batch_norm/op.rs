//! The operations: batch norm in training and by fixed statistics.

use crate::engine::device::Device;
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::batch_norm::launch::{
    INPUT_GRAD, InputGradParams, NORMALIZE, NormalizeParams, PARAMS_GRAD, ParamsGradParams, RUNNING, RunningParams,
    STATS, StatsParams,
};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// Rows and channels of `x`, after a look at every tensor of (C).
fn sizes(x: &Tensor, per_channel: &[&Tensor]) -> Result<(usize, usize)> {
    let [n, h, w, c] = x.nhwc()?;
    for tensor in per_channel {
        crate::ensure!(
            tensor.shape() == [c],
            Error::input(
                "batch norm needs one value a channel",
                format!("{:?} beside {:?}", tensor.shape(), x.shape()),
                "check the width"
            )
        );
    }
    Ok((n * h * w, c))
}

fn normalize(x: &Tensor, gamma: &Tensor, beta: &Tensor, mean: &Tensor, var: &Tensor, eps: f32) -> Result<Forward> {
    let (_, channels) = sizes(x, &[gamma, beta, mean, var])?;
    let y = Tensor::empty(x.device(), x.shape())?;
    let params = NormalizeParams { len: x.len() as u32, channels: channels as u32, eps };
    x.device().launch(&NORMALIZE, &params, &[x, gamma, beta, mean, var], &[], &[&y])?;
    Ok(Forward { y, saved: vec![(*x).clone(), gamma.clone(), mean.clone(), var.clone()] })
}

/// The gradients of x, gamma and beta from what [`normalize`] saved.
fn gradients(grad: &mut Backward<'_>, eps: f32, through_batch: f32) -> Result<()> {
    let (saved, dy) = (grad.saved, grad.dy);
    let (x, gamma, mean, var) = (&saved[0], &saved[1], &saved[2], &saved[3]);
    let (rows, channels) = sizes(x, &[gamma, mean, var])?;
    same_shape(dy, x)?;
    let mut sum_for = |input: usize| match grad.needs(input) {
        true => grad.out(input, gamma.shape()),
        // dx needs the sums even where gamma and beta are frozen.
        false => Tensor::empty(x.device(), gamma.shape()),
    };
    let (dgamma, dbeta) = (sum_for(1)?, sum_for(2)?);
    let params = ParamsGradParams { sums: StatsParams::new(rows, channels), eps };
    x.device().launch(&PARAMS_GRAD, &params, &[x, dy, mean, var], &[], &[&dgamma, &dbeta])?;
    if grad.needs(0) {
        let dx = grad.out(0, x.shape())?;
        let params = InputGradParams { len: x.len() as u32, channels: channels as u32, eps, through_batch };
        x.device().launch(&INPUT_GRAD, &params, &[x, dy, gamma, mean, var, &dgamma, &dbeta], &[], &[&dx])?;
    }
    Ok(())
}

/// Batch norm in training: x (N, H, W, C), gamma (C), beta (C) by the mean and biased variance of the batch itself. A
/// channel whose variance passes f32 (values of some 1e19 and more) is NaN, its running variance too.
///
/// Forward also moves the running statistics: `running = momentum * running + (1 - momentum) * batch`. Pooled, the
/// variance gets `momentum * (1 - momentum) * (mean of the batch - running mean)^2` more (Chan, Golub, LeVeque, 1983,
/// eq. 2.1, by weights).
pub struct BatchNormTrain {
    /// Running mean (C), updated in place.
    pub running_mean: Tensor,
    /// Running biased variance (C), updated in place.
    pub running_var: Tensor,
    /// Whether the running variance is that over all that the batches held, or, as in Keras and PyTorch, the mean of
    /// the variances within them, which leaves out what their means differ by.
    pub pooled: bool,
    /// The share of the old running value that stays, 0..1 (Keras: 0.99).
    pub momentum: f32,
    /// Added to the variance (Keras: 1e-3).
    pub eps: f32,
}

impl Op for BatchNormTrain {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, gamma, beta] = inputs else { return Err(crate::engine::op::arity("batch_norm", 3, inputs)) };
        let (rows, channels) = sizes(x, &[gamma, beta, &self.running_mean, &self.running_var])?;
        let device = x.device();
        let (mean, var) = (Tensor::empty(device, &[channels])?, Tensor::empty(device, &[channels])?);
        device.launch(&STATS, &StatsParams::new(rows, channels), &[x], &[], &[&mean, &var])?;
        let between = f32::from(u8::from(self.pooled));
        let params = RunningParams { channels: channels as u32, momentum: self.momentum, between };
        device.launch(&RUNNING, &params, &[&mean, &var], &[&self.running_mean, &self.running_var], &[])?;
        normalize(x, gamma, beta, &mean, &var, self.eps)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        gradients(grad, self.eps, 1.0)
    }
}

/// Batch norm by fixed statistics: x (N, H, W, C), gamma (C), beta (C).
pub struct BatchNormInference {
    /// Mean (C).
    pub mean: Tensor,
    /// Variance (C).
    pub var: Tensor,
    /// Added to the variance (Keras: 1e-3).
    pub eps: f32,
}

impl Op for BatchNormInference {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, gamma, beta] = inputs else { return Err(crate::engine::op::arity("batch_norm", 3, inputs)) };
        normalize(x, gamma, beta, &self.mean, &self.var, self.eps)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        gradients(grad, self.eps, 0.0)
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 9, 11, 5], 1)?;
    let (gamma, beta) =
        (crate::engine::self_test::seeded(device, &[5], 2)?, crate::engine::self_test::seeded(device, &[5], 3)?);
    let (mean, var) = (crate::engine::self_test::seeded(device, &[5], 4)?, Tensor::full(device, &[5], 1.5)?);
    let (running_mean, running_var) = (mean.clone(), var.clone());
    let train = BatchNormTrain { running_mean, running_var, pooled: true, momentum: 0.9, eps: 1e-3 };
    let mut outputs = crate::engine::self_test::run_op(&train, &[&x, &gamma, &beta])?;
    let inference = BatchNormInference { mean: mean.clone(), var: var.clone(), eps: 1e-3 };
    outputs.extend(crate::engine::self_test::run_op(&inference, &[&x, &gamma, &beta])?);
    outputs.extend([mean, var]);
    Ok(outputs)
}
