//! The launches of the loss and its gradient, and their twins.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Dispatch, GpuInfo, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::ops::bilinear_tap::{Tap, reach};
use crate::engine::ops::vector_math::{ln, softmax_row, sum_of};
use crate::error::Result;
use crate::imaging::ops::soft_encode::NEIGHBOURS;
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&REBALANCED_CROSS_ENTROPY, &REBALANCED_CROSS_ENTROPY_GRAD];

/// Invocations in a workgroup; `GROUP` in `kernels/lib/group_reduce.wgsl`.
const GROUP: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub n: u32,
    pub h: u32,
    pub w: u32,
    pub q: u32,
    pub factor: u32,
    pub eps: f32,
}

impl Params {
    /// n, h, w, q and factor.
    fn sizes(&self) -> [usize; 5] {
        [self.n, self.h, self.w, self.q, self.factor].map(|size| size as usize)
    }
}

pub(super) static REBALANCED_CROSS_ENTROPY: Kernel<Params> = Kernel {
    name: "rebalanced_cross_entropy",
    bodies: &[Body::proved(kernel_text!("rebalanced_cross_entropy"), &plan)],
    twin: &rebalanced_cross_entropy_twin,
};

fn plan(p: &Params, _: &GpuInfo) -> Plan {
    let [n, h, w, q, factor] = p.sizes();
    let (rows, pixels) = (n * h * w, n * h * w * factor * factor);
    Plan {
        dispatches: vec![
            Dispatch::new("probabilities", linear_grid(rows, 1)),
            Dispatch::new("pixels", linear_grid(pixels, GROUP)),
            Dispatch::new("total", [1, 1, 1]),
        ],
        scratch: vec![pixels.div_ceil(GROUP)],
        flops: 10.0 * (rows * q) as f64 + 100.0 * pixels as f64,
    }
}

fn rebalanced_cross_entropy_twin(p: &Params, args: Args) -> Result<()> {
    let ([logits, index, weight, class_weights], [], [loss, probability, slope]) = args.split()?;
    let [n, h, w, q, factor] = p.sizes();
    blocks::map((probability, w * q), (logits, w * q), |_, probability, logits| {
        probability.chunks_exact_mut(q).zip(logits.chunks_exact(q)).for_each(|(p, x)| softmax_row(x, p));
    });

    let [height, width] = [h * factor, w * factor];
    let columns: Vec<Tap> = (0..width).map(|x| Tap::new(x, factor, w)).collect();
    let (index, _) = index.as_chunks::<NEIGHBOURS>();
    let (weight, _) = weight.as_chunks::<NEIGHBOURS>();
    let (slope, _) = slope.as_chunks_mut::<NEIGHBOURS>();
    let pixels = (n * height * width) as f32;
    let row_of = |image: usize, y: usize| &probability[(image * h + y) * w * q..][..w * q];
    let sums: Vec<f64> = slope
        .par_chunks_mut(width)
        .zip(index.par_chunks(width))
        .zip(weight.par_chunks(width))
        .enumerate()
        .map(|(row, ((slope, index), weight))| {
            let y = Tap::new(row % height, factor, h);
            let [upper, lower] = [y.first, y.second].map(|y| row_of(row / height, y));
            let mut sum = 0.0;
            for (((slope, index), weight), x) in slope.iter_mut().zip(index).zip(weight).zip(&columns) {
                let class_weight = class_weights[bin(index[0], q)];
                let mut term = 0.0;
                for k in 0..NEIGHBOURS {
                    let (first, second) = (x.first * q + bin(index[k], q), x.second * q + bin(index[k], q));
                    let above = mix(upper[first], upper[second], x.share);
                    let below = mix(lower[first], lower[second], x.share);
                    let zhat = mix(above, below, y.share) + p.eps;
                    // A bin that does not exist shows in the loss.
                    let exists = (0.0..q as f32).contains(&index[k]);
                    let weight = if exists { weight[k] } else { f32::NAN };
                    term -= weight * ln(zhat);
                    slope[k] = -class_weight * weight / (zhat * pixels);
                }
                sum += f64::from(class_weight * term);
            }
            sum
        })
        .collect();
    loss[0] = (sums.iter().sum::<f64>() / (n * height * width) as f64) as f32;
    Ok(())
}

/// The bin that an element of an encoding names, held within those that there are.
#[inline(always)]
fn bin(index: f32, bins: usize) -> usize {
    (index as usize).min(bins - 1)
}

#[inline(always)]
fn mix(first: f32, second: f32, share: f32) -> f32 {
    first * (1.0 - share) + second * share
}

pub(super) static REBALANCED_CROSS_ENTROPY_GRAD: Kernel<Params> = Kernel {
    name: "rebalanced_cross_entropy_grad",
    bodies: &[Body::proved(kernel_text!("rebalanced_cross_entropy_grad"), &|p, _| {
        let [n, h, w, q, factor] = p.sizes();
        // Every invocation of a workgroup goes through every entry.
        let entries = 4 * factor * factor * NEIGHBOURS;
        Plan::single(linear_grid(n * h * w, 1), (n * h * w) as f64 * (2 * GROUP * entries + 8 * q) as f64)
    })],
    twin: &rebalanced_cross_entropy_grad_twin,
};

fn rebalanced_cross_entropy_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([probability, index, slope, dy], [], [dlogits]) = args.split()?;
    let [_, h, w, q, factor] = p.sizes();
    let [height, width] = [h * factor, w * factor];
    let columns: Vec<Tap> = (0..width).map(|x| Tap::new(x, factor, w)).collect();
    let (index, _) = index.as_chunks::<NEIGHBOURS>();
    let (slope, _) = slope.as_chunks::<NEIGHBOURS>();
    blocks::map((dlogits, w * q), (probability, w * q), |row, dlogits, p| {
        // One row of low-resolution pixels gathers from all full-size rows that it has a share in.
        dlogits.fill(0.0);
        for y in reach(row % h, factor, h) {
            let share = Tap::new(y, factor, h).share_of(row % h);
            let start = (row / h * height + y) * width;
            let pixels = index[start..][..width].iter().zip(&slope[start..][..width]);
            for ((index, slope), x) in pixels.zip(&columns) {
                for (&index, &slope) in index.iter().zip(slope) {
                    let part = share * slope;
                    dlogits[x.first * q + bin(index, q)] += (1.0 - x.share) * part;
                    dlogits[x.second * q + bin(index, q)] += x.share * part;
                }
            }
        }
        for (dp, p) in dlogits.chunks_exact_mut(q).zip(p.chunks_exact(q)) {
            let mean = sum_of(p, dp, |p, dp| p * dp);
            dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = dy[0] * p * (*dp - mean));
        }
    });
    Ok(())
}
