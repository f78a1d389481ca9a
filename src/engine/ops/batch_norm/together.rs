//! Batch norm in training over the images of several processes.

use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::batch_norm::op::{BatchNormInference, BatchNormTrain};
use crate::engine::primitives;
use crate::engine::ranks::Ranks;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// As [`BatchNormTrain`], by the mean and variance of the batches of all processes together. Each process has the
/// gradient of its own mean loss; the loss that counts is the mean of those, each weighted by its rows.
///
/// Statistics and sums of the processes are exchanged in f64 and added in the order of the ranks. By what comes of it,
/// x is normalised as by fixed statistics; what its gradient has beyond theirs is added.
pub struct BatchNormTogether {
    /// What it is in one process.
    pub alone: BatchNormTrain,
    /// Which processes.
    pub ranks: Ranks,
}

/// What the processes have, one after the other: rows, and two numbers a channel.
struct Parts {
    channels: usize,
    all: Vec<f64>,
}

impl Parts {
    fn exchange(ranks: &Ranks, rows: usize, [first, second]: [&Tensor; 2]) -> Result<Parts> {
        let (first, second) = (first.to_vec()?, second.to_vec()?);
        let mut mine = vec![rows as f64];
        mine.extend(first.iter().chain(&second).map(|&value| f64::from(value)));
        Ok(Parts { channels: first.len(), all: ranks.gather(&mine)? })
    }

    /// Of each process its share of all rows, and the numbers of channel `c`.
    fn of(&self, c: usize) -> impl Iterator<Item = (f64, f64, f64)> {
        let (channels, length) = (self.channels, 1 + 2 * self.channels);
        let parts = self.all.chunks_exact(length);
        let rows: f64 = parts.clone().map(|part| part[0]).sum();
        parts.map(move |part| (part[0] / rows, part[1 + c], part[1 + channels + c]))
    }

    /// Mean and variance of a channel over all rows: Chan, Golub, LeVeque, "Algorithms for Computing the Sample
    /// Variance", 1983, eq. 2.1.
    fn moments(&self, c: usize) -> [f32; 2] {
        let mean: f64 = self.of(c).map(|(share, mean, _)| share * mean).sum();
        let about = |(share, part, var): (f64, f64, f64)| share * (var + (part - mean).powi(2));
        let variance = self.of(c).map(about).sum::<f64>() as f32;
        [mean as f32, if variance.is_finite() { variance } else { f32::NAN }]
    }

    /// The sums of both numbers of a channel, weighted by the shares.
    fn sums(&self, c: usize) -> [f64; 2] {
        let add =
            |sum: [f64; 2], (share, first, second): (f64, f64, f64)| [sum[0] + share * first, sum[1] + share * second];
        self.of(c).fold([0.0; 2], add)
    }
}

/// Rows of x.
fn rows_of(x: &Tensor, channels: usize) -> usize {
    x.len() / channels.max(1)
}

impl BatchNormTogether {
    /// Moves the running statistics towards those of a batch.
    fn follow(&self, mean: &[f32], variance: &[f32]) -> Result<()> {
        let BatchNormTrain { running_mean, running_var, pooled, momentum, .. } = &self.alone;
        let (old, new, between) = (*momentum, 1.0 - momentum, f32::from(u8::from(*pooled)));
        let (mut means, mut variances) = (running_mean.to_vec()?, running_var.to_vec()?);
        let running = means.iter_mut().zip(&mut variances);
        for ((running_mean, running_var), (mean, variance)) in running.zip(mean.iter().zip(variance)) {
            let off = mean - *running_mean;
            *running_var = old * *running_var + new * (variance + between * old * off * off);
            *running_mean = old * *running_mean + new * mean;
        }
        running_mean.write(&means)?;
        running_var.write(&variances)
    }
}

impl Op for BatchNormTogether {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, gamma, _] = inputs else { return Err(crate::engine::op::arity("batch_norm", 3, inputs)) };
        let (device, eps) = (x.device(), self.alone.eps);
        let [mean, var] = [Tensor::full(device, gamma.shape(), 0.0)?, Tensor::full(device, gamma.shape(), 0.0)?];
        // Running statistics of which nothing stays are those of this process's batch.
        let (running_mean, running_var) = (mean.clone(), var.clone());
        let own = BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.0, eps };
        own.forward(inputs)?;
        let parts = Parts::exchange(&self.ranks, rows_of(x, mean.len()), [&mean, &var])?;
        let (means, variances): (Vec<f32>, Vec<f32>) =
            (0..mean.len()).map(|c| parts.moments(c)).map(|[mean, variance]| (mean, variance)).unzip();
        mean.write(&means)?;
        var.write(&variances)?;
        self.follow(&means, &variances)?;
        let fixed = BatchNormInference { mean: mean.clone(), var: var.clone(), eps };
        let Forward { y, mut saved } = fixed.forward(inputs)?;
        saved.extend([(*x).clone(), (*gamma).clone(), mean, var]);
        Ok(Forward { y, saved })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (dy, eps) = (grad.dy, self.alone.eps);
        let Some((fixed, [x, gamma, mean, var])) = grad.saved.split_last_chunk::<4>() else { return Ok(()) };
        let mut place = |input: usize, shape: &[usize]| match grad.needs(input) {
            true => grad.out(input, shape),
            false => Tensor::empty(dy.device(), shape),
        };
        let [dx, dgamma, dbeta] = [place(0, x.shape())?, place(1, gamma.shape())?, place(2, gamma.shape())?];
        let places = [&dx, &dgamma, &dbeta].map(|place| Some(place.clone())).to_vec();
        let by_fixed = BatchNormInference { mean: mean.clone(), var: var.clone(), eps };
        // Those of gamma and beta are this process's: an optimiser's arenas are summed over the processes later.
        by_fixed.backward(&mut Backward::new(dy, fixed, &[true; 3], places))?;
        let rows = rows_of(x, gamma.len());
        let parts = Parts::exchange(&self.ranks, rows, [&dgamma, &dbeta])?;
        // A process with w of all rows has dy 1 / w times as large as the whole loss has it. The sums of all, weighted
        // by w, are those of the whole; divided by this process's rows, w times all, they are 1 / w times as large too.
        let mut slopes = Vec::with_capacity(gamma.len());
        let mut shifts = Vec::with_capacity(gamma.len());
        for ((c, gamma), var) in gamma.to_vec()?.into_iter().enumerate().zip(var.to_vec()?) {
            let outer = f64::from(gamma) / f64::from(var + eps).sqrt() / rows as f64;
            let [slope, shift] = parts.sums(c);
            slopes.push((-outer * slope) as f32);
            shifts.push((-outer * shift) as f32);
        }
        let [slope, shift] = [slopes, shifts].map(|values| Tensor::new(x.device(), gamma.shape(), &values));
        let through_batch = by_fixed.forward(&[x, &slope?, &shift?])?.y;
        primitives::accumulate(&through_batch, &dx)
    }
}
