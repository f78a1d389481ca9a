//! The launches of batch norm and their twins.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Constants, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::error::Result;
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&STATS, &NORMALIZE, &RUNNING, &PARAMS_GRAD, &INPUT_GRAD];

/// Elements of the blocks of rows that a twin works on, by the number of channels alone: 64 KiB, so that a second
/// reading comes from the cache, and where channels are few no more rows than an f32 sum takes without losing digits.
fn twin_block(channels: usize) -> usize {
    ((1 << 14) / channels).clamp(1, 1024) * channels
}

// Mean and variance.

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct StatsParams {
    pub rows: u32,
    pub channels: u32,
    pub block_rows: u32,
    pub blocks: u32,
}

pub(super) static STATS: Kernel<StatsParams> = Kernel {
    name: "batch_norm_stats",
    bodies: &[Body::proved(kernel_text!("batch_norm_stats"), &|p, _| column_plan(p)).with_variants(TILES)],
    twin: &stats_twin,
};

/// Channels of a workgroup of a reduction over rows: the fewest that hold them all, 64 at most.
const TILES: &[&Constants] = &[&[("CHANNELS", 4.0)], &[("CHANNELS", 16.0)], &[("CHANNELS", 64.0)]];

impl StatsParams {
    pub fn new(rows: usize, channels: usize) -> Self {
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
    let tiles = (p.channels as usize).div_ceil(tile);
    // A narrow tile: the more invocations share a channel's blocks, if there are more than invocations.
    let few = p.blocks as usize <= 256 / tile;
    let (combine_tile, combine_constants) = if few { (tile, constants) } else { (4, TILES[0]) };
    let elements = p.rows as usize * p.channels as usize;
    Plan {
        dispatches: vec![
            Dispatch::new("partials", linear_grid(p.blocks as usize * tiles, 1)).with(constants),
            Dispatch::new("combine", linear_grid(p.channels as usize, combine_tile)).with(combine_constants),
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
pub(super) struct NormalizeParams {
    pub len: u32,
    pub channels: u32,
    pub eps: f32,
}

pub(super) static NORMALIZE: Kernel<NormalizeParams> = Kernel {
    name: "batch_norm",
    bodies: &[Body::proved(kernel_text!("batch_norm"), &|p, _| Plan::linear(p.len as usize).each(4.0))],
    twin: &normalize_twin,
};

fn normalize_twin(p: &NormalizeParams, args: Args) -> Result<()> {
    let ([x, gamma, beta, mean, variance], [], [y]) = args.split()?;
    let channels = p.channels as usize;
    let scale: Vec<f32> =
        gamma.iter().zip(variance).map(|(gamma, variance)| gamma / (variance + p.eps).sqrt()).collect();
    let block = twin_block(channels);
    blocks::map((y, block), (x, block), |_, y, x| {
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
pub(super) struct RunningParams {
    pub channels: u32,
    pub momentum: f32,
    /// 1 to count what the means of batches differ by, 0 to leave it out.
    pub between: f32,
}

pub(super) static RUNNING: Kernel<RunningParams> = Kernel {
    name: "batch_norm_running",
    bodies: &[Body::proved(kernel_text!("batch_norm_running"), &|p, _| Plan::linear(p.channels as usize).each(6.0))],
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
pub(super) struct ParamsGradParams {
    pub sums: StatsParams,
    pub eps: f32,
}

pub(super) static PARAMS_GRAD: Kernel<ParamsGradParams> = Kernel {
    name: "batch_norm_params_grad",
    bodies: &[Body::proved(kernel_text!("batch_norm_params_grad"), &|p: &ParamsGradParams, _| column_plan(&p.sums))
        .with_variants(TILES)],
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
pub(super) struct InputGradParams {
    pub len: u32,
    pub channels: u32,
    pub eps: f32,
    /// 1 where mean and variance are the batch's own, 0 where they are fixed.
    pub through_batch: f32,
}

pub(super) static INPUT_GRAD: Kernel<InputGradParams> = Kernel {
    name: "batch_norm_input_grad",
    bodies: &[Body::proved(kernel_text!("batch_norm_input_grad"), &|p, _| Plan::linear(p.len as usize).each(9.0))],
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
    blocks::zip((dx, block), (x, block), (dy, block), |_, dx, x, dy| {
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
