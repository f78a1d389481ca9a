//! Sums over all elements of a tensor, in an order that its length alone fixes.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SUM, &SPREAD];

/// Elements of a partial sum, on both devices.
const BLOCK: usize = 4096;

/// Sums that a block's twin keeps side by side, to fill a vector register or four.
const LANES: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    len: u32,
    blocks: u32,
    squared: u32,
    scale: f32,
}

static SUM: Kernel<SumParams> = Kernel {
    name: "sum",
    bodies: &[Body::proved(kernel_text!("sum"), &|p, _| Plan {
        dispatches: vec![
            Dispatch::new("partials", linear_grid(p.blocks as usize, 1)),
            Dispatch::new("combine", [1, 1, 1]),
        ],
        scratch: vec![p.blocks as usize],
        flops: 2.0 * f64::from(p.len),
    })],
    twin: &sum_twin,
};

/// The sum of `value` of every element of a block.
fn block_sum(x: &[f32], value: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let rows = x.chunks_exact(LANES);
    let rest: f64 = rows.remainder().iter().map(|&x| f64::from(value(x))).sum();
    for row in rows {
        lanes.iter_mut().zip(row).for_each(|(lane, &x)| *lane += value(x));
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + rest
}

fn sum_twin(p: &SumParams, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let sums: Vec<f64> = match p.squared {
        1 => blocks::collect(x.len().div_ceil(BLOCK), |i| block_sum(blocks::block(x, BLOCK, i), |x| x * x)),
        _ => blocks::collect(x.len().div_ceil(BLOCK), |i| block_sum(blocks::block(x, BLOCK, i), |x| x)),
    };
    y[0] = (f64::from(p.scale) * sums.iter().sum::<f64>()) as f32;
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SpreadParams {
    len: u32,
    factor: f32,
}

static SPREAD: Kernel<SpreadParams> = Kernel {
    name: "spread",
    bodies: &[Body::proved(kernel_text!("spread"), &|p, _| Plan::linear(p.len as usize))],
    twin: &spread_twin,
};

fn spread_twin(p: &SpreadParams, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    y.fill(p.factor * x[0]);
    Ok(())
}

fn reduce(x: &Tensor, squared: bool, scale: f32) -> Result<Tensor> {
    let y = Tensor::empty(x.device(), &[1])?;
    let (len, blocks) = (x.len() as u32, x.len().div_ceil(BLOCK) as u32);
    let params = SumParams { len, blocks, squared: u32::from(squared), scale };
    x.device().launch(&SUM, &params, &[x], &[], &[&y])?;
    Ok(y)
}

/// The sum of all elements, (1).
///
/// # Errors
/// Whatever the launch reports.
pub fn sum(x: &Tensor) -> Result<Tensor> {
    reduce(x, false, 1.0)
}

/// The sum of the squares of all elements, (1).
///
/// # Errors
/// Whatever the launch reports.
pub fn sum_squares(x: &Tensor) -> Result<Tensor> {
    reduce(x, true, 1.0)
}

/// The mean of all elements, any shape to (1). `dx = dy / len`.
pub struct Mean;

impl Op for Mean {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("mean", 1, inputs)) };
        let y = reduce(x, false, 1.0 / x.len() as f32)?;
        // For the shape of the gradient: its elements are not read.
        Ok(Forward { y, saved: vec![(*x).clone()] })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Shape
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let (saved, dy) = (grad.saved, grad.dy);
        expect_shape("a gradient", dy, &[1])?;
        let dx = grad.out(0, saved[0].shape())?;
        let params = SpreadParams { len: dx.len() as u32, factor: 1.0 / dx.len() as f32 };
        dx.device().launch(&SPREAD, &params, &[dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 3001], 1)?;
    let mut outputs = crate::engine::self_test::run_op(&Mean, &[&x])?;
    outputs.extend([sum(&x)?, sum_squares(&x)?]);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::{Check, devices};

    #[test]
    fn mean_matches_its_reference() {
        for shape in [[1usize, 1], [3, 17], [5, 1001]] {
            Check::new(&[&shape])
                .map(0, |x| x + 1.0)
                .reference(|x| vec![x[0].iter().sum::<f64>() / x[0].len() as f64])
                .run(&Mean);
        }
    }

    #[test]
    fn sums_match_f64_at_lengths_around_a_block() {
        for device in devices() {
            for len in [1, 15, 255, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 77] {
                let x = seeded(&device, &[len], 3).unwrap();
                let wide: Vec<f64> = x.to_vec().unwrap().iter().map(|&v| f64::from(v)).collect();
                let squares: f64 = wide.iter().map(|v| v * v).sum();
                let cases = [
                    (sum(&x), wide.iter().sum::<f64>(), wide.iter().map(|v| v.abs()).sum::<f64>()),
                    (sum_squares(&x), squares, squares),
                ];
                for (got, expected, magnitude) in cases {
                    let got = f64::from(got.unwrap().item().unwrap());
                    // At most 16 additions an invocation, 8 levels, and again: 48 roundings of the sum of magnitudes.
                    let allowed = 48.0 * 2f64.powi(-24) * magnitude;
                    assert!((got - expected).abs() <= allowed, "{}: {got}, not {expected}, of {len}", device.name());
                }
            }
        }
    }
}
