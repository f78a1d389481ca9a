//! Batch normalisation over all axes but the last (Ioffe, Szegedy, "Batch Normalization", 2015, algorithms 1 and 2).
//!
//! With P = N H W rows, `x̂ = (x - mean) / sqrt(variance + eps)` and `y = gamma * x̂ + beta`:
//! `dbeta = sum dy`, `dgamma = sum dy * x̂`, and `dx = gamma / sqrt(variance + eps) * (dy - (dbeta + x̂ * dgamma) / P)`,
//! without the bracket's second term where the statistics are fixed.

use crate::engine::device::{AnyKernel, Args, Constants, Device, Dispatch, Kernel, Plan, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&STATS, &NORMALIZE, &RUNNING, &PARAMS_GRAD, &INPUT_GRAD];

/// Elements of the blocks of rows that a twin works on, by the number of channels alone: 64 KiB, so that a second reading
/// comes from the cache, and where channels are few no more rows than an f32 sum takes without losing digits.
fn twin_block(channels: usize) -> usize {
    ((1 << 14) / channels).clamp(1, 1024) * channels
}

// Mean and variance.

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct StatsParams {
    rows: u32,
    channels: u32,
    block_rows: u32,
    blocks: u32,
}

static STATS: Kernel<StatsParams> = Kernel {
    name: "batch_norm_stats",
    source: include_str!("../../../kernels/batch_norm_stats.wgsl"),
    trusted: true,
    variants: TILES,
    plan: &|p, _| column_plan(p),
    twin: &stats_twin,
};

/// Channels of a workgroup of a reduction over rows: the fewest that hold them all, 64 at most.
const TILES: &[&Constants] = &[&[("CHANNELS", 4.0)], &[("CHANNELS", 16.0)], &[("CHANNELS", 64.0)]];

impl StatsParams {
    fn new(rows: usize, channels: usize) -> Self {
        // Enough blocks to fill a GPU, no more than `combine` can join quickly.
        let block_rows = rows.div_ceil(4096).max(128);
        let blocks = rows.div_ceil(block_rows);
        let [rows, channels, block_rows, blocks] = [rows, channels, block_rows, blocks].map(|size| size as u32);
        StatsParams { rows, channels, block_rows, blocks }
    }
}

/// Partial results by blocks of rows into a scratch of (blocks, 2, C), then their combination.
fn column_plan(p: &StatsParams) -> Plan {
    let (tile, constants) = match p.channels {
        0..=4 => (4, TILES[0]),
        5..=16 => (16, TILES[1]),
        _ => (64, TILES[2]),
    };
    let tiles = p.channels.div_ceil(tile) as usize;
    let elements = p.rows as usize * p.channels as usize;
    Plan {
        dispatches: vec![
            Dispatch::new("partials", linear_grid(p.blocks as usize * tiles, 1)).with(constants),
            // A narrow tile: the more invocations share a channel's blocks.
            Dispatch::new("combine", linear_grid(p.channels as usize, 4)).with(TILES[0]),
        ],
        scratch: vec![p.blocks as usize * 2 * p.channels as usize],
        flops: 4.0 * elements as f64,
    }
}

/// A block's mean and sum of squares about it, by channel.
struct Moments {
    rows: f64,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    /// Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance", 1983, eq. 1.7: corrected two-pass.
    fn of(x: &[f32], channels: usize) -> Self {
        let rows = (x.len() / channels) as f32;
        let mut mean = vec![0.0; channels];
        for row in x.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
        }
        mean.iter_mut().for_each(|m| *m /= rows);
        // What rounding left in the mean, and the squares.
        let (mut rest, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        for row in x.chunks_exact(channels) {
            for (((x, mean), rest), square) in row.iter().zip(&mean).zip(&mut rest).zip(&mut squares) {
                let d = x - mean;
                *rest += d;
                *square += d * d;
            }
        }
        for ((mean, rest), square) in mean.iter_mut().zip(&rest).zip(&mut squares) {
            *mean += rest / rows;
            let about = *square - rest * rest / rows;
            // A comparison, not max(): what is too large for f32 is NaN and stays it.
            *square = if about < 0.0 { 0.0 } else { about };
        }
        Moments { rows: f64::from(rows), mean, squares }
    }
}

/// A variance of infinity would divide all values to 0 and pass for a quiet channel.
fn finite_or_nan(v: f32) -> f32 {
    if v.is_finite() { v } else { f32::NAN }
}

fn stats_twin(p: &StatsParams, args: Args) -> Result<()> {
    let ([x], [], [mean, variance]) = args.split()?;
    let channels = p.channels as usize;
    let block = twin_block(channels);
    let blocks: Vec<Moments> = x.par_chunks(block).map(|x| Moments::of(x, channels)).collect();
    let rows = f64::from(p.rows);
    for (c, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
        let center = blocks.iter().map(|b| b.rows * f64::from(b.mean[c])).sum::<f64>() / rows;
        let about = |b: &Moments| f64::from(b.squares[c]) + b.rows * (f64::from(b.mean[c]) - center).powi(2);
        *mean = center as f32;
        *variance = finite_or_nan((blocks.iter().map(about).sum::<f64>() / rows) as f32);
    }
    Ok(())
}

// The output.

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct NormalizeParams {
    len: u32,
    channels: u32,
    eps: f32,
}

static NORMALIZE: Kernel<NormalizeParams> = Kernel {
    name: "batch_norm",
    source: include_str!("../../../kernels/batch_norm.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| Plan::linear(p.len as usize),
    twin: &normalize_twin,
};

fn normalize_twin(p: &NormalizeParams, args: Args) -> Result<()> {
    let ([x, gamma, beta, mean, variance], [], [y]) = args.split()?;
    let channels = p.channels as usize;
    let scale: Vec<f32> =
        gamma.iter().zip(variance).map(|(gamma, variance)| gamma / (variance + p.eps).sqrt()).collect();
    let block = twin_block(channels);
    y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for ((((y, x), mean), scale), beta) in y.iter_mut().zip(x).zip(mean).zip(&scale).zip(beta) {
                *y = (x - mean) * scale + beta;
            }
        }
    });
    Ok(())
}

// Running statistics.

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RunningParams {
    channels: u32,
    momentum: f32,
    /// 1 to count what the means of batches differ by, 0 to leave it out.
    between: f32,
}

static RUNNING: Kernel<RunningParams> = Kernel {
    name: "batch_norm_running",
    source: include_str!("../../../kernels/batch_norm_running.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| Plan::linear(p.channels as usize),
    twin: &running_twin,
};

fn running_twin(p: &RunningParams, args: Args) -> Result<()> {
    let ([mean, variance], [running_mean, running_variance], []) = args.split()?;
    let (old, new) = (p.momentum, 1.0 - p.momentum);
    let running = running_mean.iter_mut().zip(running_variance);
    for ((mean, variance), (running_mean, running_variance)) in mean.iter().zip(variance).zip(running) {
        let off = mean - *running_mean;
        *running_variance = old * *running_variance + new * (variance + p.between * old * off * off);
        *running_mean = old * *running_mean + new * mean;
    }
    Ok(())
}

// Gradients.

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ParamsGradParams {
    sums: StatsParams,
    eps: f32,
}

static PARAMS_GRAD: Kernel<ParamsGradParams> = Kernel {
    name: "batch_norm_params_grad",
    source: include_str!("../../../kernels/batch_norm_params_grad.wgsl"),
    trusted: true,
    variants: TILES,
    plan: &|p, _| column_plan(&p.sums),
    twin: &params_grad_twin,
};

fn params_grad_twin(p: &ParamsGradParams, args: Args) -> Result<()> {
    let ([x, dy, mean, variance], [], [dgamma, dbeta]) = args.split()?;
    let channels = p.sums.channels as usize;
    let block = twin_block(channels);
    // Sums of dy and of dy * (x - mean).
    let block_sums = |(x, dy): (&[f32], &[f32])| {
        let (mut plain, mut centered) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
            for ((((x, dy), mean), plain), centered) in x.iter().zip(dy).zip(mean).zip(&mut plain).zip(&mut centered) {
                *plain += dy;
                *centered += dy * (x - mean);
            }
        }
        (plain, centered)
    };
    let blocks: Vec<_> = x.par_chunks(block).zip(dy.par_chunks(block)).map(block_sums).collect();
    for c in 0..channels {
        let plain: f64 = blocks.iter().map(|(plain, _)| f64::from(plain[c])).sum();
        let centered: f64 = blocks.iter().map(|(_, centered)| f64::from(centered[c])).sum();
        dbeta[c] = plain as f32;
        dgamma[c] = (centered / f64::from(variance[c] + p.eps).sqrt()) as f32;
    }
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct InputGradParams {
    len: u32,
    channels: u32,
    eps: f32,
    /// 1 where mean and variance are the batch's own, 0 where they are fixed.
    through_batch: f32,
}

static INPUT_GRAD: Kernel<InputGradParams> = Kernel {
    name: "batch_norm_input_grad",
    source: include_str!("../../../kernels/batch_norm_input_grad.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| Plan::linear(p.len as usize),
    twin: &input_grad_twin,
};

fn input_grad_twin(p: &InputGradParams, args: Args) -> Result<()> {
    let ([x, dy, gamma, mean, variance, dgamma, dbeta], [], [dx]) = args.split()?;
    let channels = p.channels as usize;
    let share = p.through_batch / (x.len() / channels) as f32;
    // dx = outer * (dy - constant - slope * (x - mean)), three numbers a channel.
    let scale: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + p.eps).sqrt()).collect();
    let outer: Vec<f32> = gamma.iter().zip(&scale).map(|(gamma, scale)| gamma * scale).collect();
    let slope: Vec<f32> = dgamma.iter().zip(&scale).map(|(dgamma, scale)| share * dgamma * scale).collect();
    let constant: Vec<f32> = dbeta.iter().map(|dbeta| share * dbeta).collect();
    let block = twin_block(channels);
    dx.par_chunks_mut(block).zip(x.par_chunks(block)).zip(dy.par_chunks(block)).for_each(|((dx, x), dy)| {
        let rows = dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for ((dx, x), dy) in rows {
            let values = dx.iter_mut().zip(x).zip(dy);
            let numbers = mean.iter().zip(&outer).zip(&slope).zip(&constant);
            for (((dx, x), dy), (((mean, outer), slope), constant)) in values.zip(numbers) {
                *dx = outer * (dy - constant - slope * (x - mean));
            }
        }
    });
    Ok(())
}

// The ops.

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

/// Batch norm in training: x (N, H, W, C), gamma (C), beta (C) by the mean and biased variance of the batch itself. A channel whose
/// variance passes f32 (values of some 1e19 and more) is NaN, its running variance too.
///
/// Forward also moves the running statistics: `running = momentum * running + (1 - momentum) * batch`. Pooled, the variance gets
/// `momentum * (1 - momentum) * (mean of the batch - running mean)^2` more (Chan, Golub, LeVeque, 1983, eq. 2.1, by weights).
pub struct BatchNormTrain {
    /// Running mean (C), updated in place.
    pub running_mean: Tensor,
    /// Running biased variance (C), updated in place.
    pub running_var: Tensor,
    /// Whether the running variance is that over all that the batches held, or, as in Keras and PyTorch, the mean of the variances
    /// within them, which leaves out what their means differ by.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases, devices};
    use proptest::prelude::*;

    const EPS: f32 = 1e-3;

    /// Mean and biased variance of channel `c` of (P, C).
    fn moments(x: &[f64], c: usize, channels: usize) -> (f64, f64) {
        let column: Vec<f64> = x.iter().skip(c).step_by(channels).copied().collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        (mean, column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / column.len() as f64)
    }

    fn reference(x: &[Vec<f64>], stats: impl Fn(usize) -> (f64, f64)) -> Vec<f64> {
        let channels = x[1].len();
        let value = |i: usize| {
            let c = i % channels;
            let (mean, var) = stats(c);
            x[1][c] * (x[0][i] - mean) / (var + f64::from(EPS)).sqrt() + x[2][c]
        };
        (0..x[0].len()).map(value).collect()
    }

    fn train(device: &Device, channels: usize) -> BatchNormTrain {
        let [running_mean, running_var] = [0.0, 1.0].map(|value| Tensor::full(device, &[channels], value).unwrap());
        BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.9, eps: EPS }
    }

    fn train_check(shape: [usize; 4]) -> Check {
        let c = shape[3];
        Check::new(&[&shape, &[c], &[c]]).map(0, |x| 2.0 * x + 3.0).reference(move |x| {
            let stats: Vec<_> = (0..c).map(|k| moments(&x[0], k, c)).collect();
            reference(x, |k| stats[k])
        })
    }

    fn check_train(shape: [usize; 4]) {
        train_check(shape).run_each(|device| train(device, shape[3]));
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn training_matches_its_reference_on_odd_shapes(n in 1usize..3, h in 2usize..9, w in 3usize..9, c in 1usize..9) {
            check_train([n, h, w, c]);
        }
    }

    #[test]
    fn training_matches_its_reference_over_several_blocks_and_channel_tiles() {
        check_train([2, 17, 9, 13]);
        check_train([1, 13, 11, 70]);
    }

    #[test]
    fn fixed_statistics_match_their_reference() {
        let (mean, var) = ([0.5f32, -1.0, 2.0], [0.3f32, 1.0, 4.0]);
        Check::new(&[&[2, 5, 7, 3], &[3], &[3]])
            .reference(move |x| reference(x, |c| (f64::from(mean[c]), f64::from(var[c]))))
            .run_each(|device| BatchNormInference {
                mean: Tensor::new(device, &[3], &mean).unwrap(),
                var: Tensor::new(device, &[3], &var).unwrap(),
                eps: EPS,
            });
    }

    #[test]
    fn the_variance_survives_a_mean_a_thousand_times_larger() {
        let (rows, channels) = (64 * 41, 3);
        let rng = crate::random::Rng::new(2, crate::random::Stream::Test, 0);
        let data: Vec<f32> = (0..(rows * channels) as u64).map(|i| 1000.0 + rng.normal(i)).collect();
        let wide: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
        for device in devices() {
            let x = Tensor::new(&device, &[1, 64, 41, channels], &data).unwrap();
            let ones = Tensor::full(&device, &[channels], 1.0).unwrap();
            let op = BatchNormTrain { momentum: 0.0, ..train(&device, channels) };
            op.forward(&[&x, &ones, &ones]).unwrap();
            let (mean, var) = (op.running_mean.to_vec().unwrap(), op.running_var.to_vec().unwrap());
            for c in 0..channels {
                let expected = moments(&wide, c, channels);
                // One rounding of the mean; the variance is built from differences that are exact to 2^-14 of 1.
                assert!((f64::from(mean[c]) - expected.0).abs() < 6.2e-5, "{}: {mean:?}", device.name());
                assert!((f64::from(var[c]) - expected.1).abs() < 1e-5 * expected.1, "{}: {var:?}", device.name());
            }
        }
    }

    #[test]
    fn a_variance_beyond_f32_shows_as_nan_in_its_channel_alone() {
        let rng = crate::random::Rng::new(4, crate::random::Stream::Test, 0);
        // Values whose squares are infinite, whose sum is, and ordinary ones.
        let scales = [1e31, 3e38, 1.0];
        let data: Vec<f32> = (0..300 * 3).map(|i| scales[i as usize % 3] * rng.uniform(i)).collect();
        let wide: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
        for device in devices() {
            let x = Tensor::new(&device, &[1, 300, 1, 3], &data).unwrap();
            let ones = Tensor::full(&device, &[3], 1.0).unwrap();
            let op = train(&device, 3);
            let y = op.forward(&[&x, &ones, &ones]).unwrap().y.to_vec().unwrap();
            let var = op.running_var.to_vec().unwrap();
            let expected = 0.9 + 0.1 * moments(&wide, 2, 3).1;
            assert!(var[0].is_nan() && var[1].is_nan(), "{}: {var:?}", device.name());
            assert!((f64::from(var[2]) - expected).abs() < 1e-5, "{}: {var:?}", device.name());
            let shows = y.chunks(3).all(|y| y[0].is_nan() && y[1].is_nan() && y[2].is_finite());
            assert!(shows, "{}", device.name());
        }
    }

    #[test]
    fn running_statistics_move_in_place_within_one_arena() {
        for device in devices() {
            // gamma, beta, mean and variance in one buffer, as a model keeps them.
            let arena = Tensor::full(&device, &[4 * 64], 1.0).unwrap();
            let [gamma, beta, mean, var] = [0, 64, 128, 192].map(|offset| arena.part(offset, &[2]).unwrap());
            let x = Tensor::new(&device, &[1, 1, 2, 2], &[1.0, -4.0, 3.0, -4.0]).unwrap();
            let (running_mean, running_var) = (mean.clone(), var.clone());
            let op = BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.75, eps: EPS };
            let y = op.forward(&[&x, &gamma, &beta]).unwrap().y.to_vec().unwrap();
            assert_eq!(mean.to_vec().unwrap(), [0.75 + 0.25 * 2.0, 0.75 - 0.25 * 4.0]);
            assert_eq!(var.to_vec().unwrap(), [0.75 + 0.25 * 1.0, 0.75]);
            // A channel of one value throughout is its beta.
            assert_eq!([y[1], y[3]], [1.0, 1.0]);
        }
    }

    #[test]
    fn the_pooled_variance_is_that_over_all_that_the_batches_held() {
        let momentum = 0.75;
        let batches = [[1.0f32, 3.0], [-2.0, 5.0], [10.0, 11.0]];
        for device in devices() {
            let [mean, var] = [0.0; 2].map(|value| Tensor::full(&device, &[1], value).unwrap());
            let one = Tensor::full(&device, &[1], 1.0).unwrap();
            for batch in batches {
                let op = BatchNormTrain {
                    running_mean: mean.clone(),
                    running_var: var.clone(),
                    pooled: true,
                    momentum,
                    eps: EPS,
                };
                op.forward(&[&Tensor::new(&device, &[1, 1, 2, 1], &batch).unwrap(), &one, &one]).unwrap();
            }
            // The averages start as of zeros, which keep the weight that the batches have not.
            let weighted = |f: &dyn Fn(f64) -> f64| {
                let weights = (0..3).map(|k| 0.25 * 0.75f64.powi(2 - k));
                weights.zip(batches).map(|(w, b)| w * (f(b[0].into()) + f(b[1].into())) / 2.0).sum::<f64>()
            };
            let expected = weighted(&|x| x * x) - weighted(&|x| x).powi(2);
            let found = f64::from(var.item().unwrap());
            // A dozen roundings of values up to 100.
            assert!((found - expected).abs() < 1e-4, "{}: {found}, expected {expected}", device.name());
        }
    }

    #[test]
    fn frozen_parameters_leave_the_input_gradient_right() {
        train_check([1, 3, 4, 2]).no_grad(1).no_grad(2).run_each(|device| train(device, 2));
    }

    #[test]
    fn a_parameter_of_another_width_is_refused() {
        let device = Device::cpu();
        let x = Tensor::full(&device, &[1, 2, 2, 3], 1.0).unwrap();
        let short = Tensor::full(&device, &[2], 1.0).unwrap();
        let error = train(&device, 3).forward(&[&x, &short, &short]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
    }
}
