//! Softmax over the last axis.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::gemm::with_wide_vectors;
use crate::engine::ops::vector_math::{softmax_row, sum_of};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SOFTMAX, &SOFTMAX_GRAD];

/// Elements of a row that one workgroup takes where a row is cut into blocks; `BLOCK` in the kernels.
const ROW_BLOCK: usize = 1 << 14;
/// Rows of more elements are cut: an invocation of a workgroup of 64 would loop for too long.
const WHOLE_ROW: u32 = 1 << 18;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    channels: u32,
    blocks: u32,
}

impl Params {
    fn of(x: &Tensor) -> Self {
        let channels = x.shape().last().copied().unwrap_or(1);
        let blocks = channels.div_ceil(ROW_BLOCK) as u32;
        Params { rows: (x.len() / channels) as u32, channels: channels as u32, blocks }
    }

    /// Elements that one rayon task works on: whole rows, about 16 Ki elements.
    fn block(&self) -> usize {
        let channels = self.channels as usize;
        ((1 << 14) / channels).max(1) * channels
    }
}

/// A workgroup a row, or, of long rows, one a block in each of the dispatches `cut`, of which each but the last leaves
/// a value a block.
fn row_plan(p: &Params, cut: &[&'static str], flops_each: f64) -> Plan {
    let flops = flops_each * f64::from(p.rows) * f64::from(p.channels);
    if p.channels <= WHOLE_ROW {
        return Plan::single(linear_grid(p.rows as usize, 1), flops);
    }
    let blocks = p.rows as usize * p.blocks as usize;
    let groups = linear_grid(blocks, 1);
    let dispatches = cut.iter().map(|&entry| Dispatch::new(entry, groups)).collect();
    Plan { dispatches, scratch: vec![blocks; cut.len() - 1], flops }
}

static SOFTMAX: Kernel<Params> = Kernel {
    name: "softmax",
    bodies: &[Body::proved(kernel_text!("softmax"), &|p, _| row_plan(p, &["peaks", "sums", "apply"], 20.0))],
    twin: &softmax_twin,
};

fn softmax_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (channels, block) = (p.channels as usize, p.block());
    blocks::map((y, block), (x, block), |_, y, x| {
        with_wide_vectors(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    softmax_row(x, y);
                }
            },
        );
    });
    Ok(())
}

static SOFTMAX_GRAD: Kernel<Params> = Kernel {
    name: "softmax_grad",
    bodies: &[Body::proved(kernel_text!("softmax_grad"), &|p, _| row_plan(p, &["sums", "apply"], 4.0))],
    twin: &softmax_grad_twin,
};

fn softmax_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([y, dy], [], [dx]) = args.split()?;
    let (channels, block) = (p.channels as usize, p.block());
    blocks::zip((dx, block), (y, block), (dy, block), |_, dx, y, dy| {
        let rows = dx.chunks_exact_mut(channels).zip(y.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for ((dx, y), dy) in rows {
            let sum = sum_of(y, dy, |y, dy| y * dy);
            dx.iter_mut().zip(y).zip(dy).for_each(|((dx, y), dy)| *dx = y * (dy - sum));
        }
    });
    Ok(())
}

/// `y = exp(x - max x) / sum exp(x - max x)` over the last axis, any shape: finite for any finite x.
/// `dx = y * (dy - sum dy * y)`.
pub struct Softmax;

impl Op for Softmax {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("softmax", 1, inputs)) };
        let y = Tensor::empty(x.device(), x.shape())?;
        y.device().launch(&SOFTMAX, &Params::of(x), &[x], &[], &[&y])?;
        Ok(Forward { saved: vec![y.clone()], y })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let (saved, dy) = (grad.saved, grad.dy);
        same_shape(dy, &saved[0])?;
        let dx = grad.out(0, dy.shape())?;
        dx.device().launch(&SOFTMAX_GRAD, &Params::of(dy), &[&saved[0], dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 5, 77], 1)?;
    crate::engine::self_test::run_op(&Softmax, &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases, devices};
    use proptest::prelude::*;

    fn reference(x: &[f64], channels: usize) -> Vec<f64> {
        let mut y = Vec::new();
        for row in x.chunks(channels) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
            y.extend(row.iter().map(|x| (x - largest).exp() / sum));
        }
        y
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn softmax_matches_its_reference_on_odd_shapes(n in 1usize..4, w in 1usize..5, c in 1usize..200) {
            Check::new(&[&[n, w, c]]).map(0, |x| 3.0 * x).reference(move |x| reference(&x[0], c)).run(&Softmax);
        }
    }

    #[test]
    fn huge_logits_stay_finite_and_sum_to_one() {
        for device in devices() {
            let x = Tensor::new(&device, &[2, 3], &[1e4, 1e4, -1e4, -3e4, -3e4, -3e4]).unwrap();
            let y = Softmax.forward(&[&x]).unwrap().y.to_vec().unwrap();
            for (y, expected) in y.iter().zip([0.5, 0.5, 0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]) {
                // A division or two of rounding.
                assert!((y - expected).abs() < 1e-6, "{}: {y}, not {expected}", device.name());
            }
        }
    }

    #[test]
    fn every_row_is_reached_where_the_grid_folds() {
        let rows = crate::engine::device::MAX_GROUPS as usize + 2;
        for device in devices() {
            let x = Tensor::full(&device, &[rows, 1], 3.0).unwrap();
            let y = Softmax.forward(&[&x]).unwrap().y.to_vec().unwrap();
            assert!(y.iter().all(|&y| y == 1.0), "{}", device.name());
        }
    }
}
