//! The rectifier on its own; convolutions have it fused.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&RELU, &RELU_GRAD];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
}

static RELU: Kernel<Params> = Kernel {
    name: "relu",
    bodies: &[Body::proved(kernel_text!("relu"), &|p, _| Plan::linear(p.len as usize))],
    twin: &relu_twin,
};

fn relu_twin(_: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| {
        // Not max(): a NaN stays one, and training notices it.
        y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x < 0.0 { 0.0 } else { *x });
    });
    Ok(())
}

static RELU_GRAD: Kernel<Params> = Kernel {
    name: "relu_grad",
    bodies: &[Body::proved(kernel_text!("relu_grad"), &|p, _| Plan::linear(p.len as usize))],
    twin: &relu_grad_twin,
};

fn relu_grad_twin(_: &Params, args: Args) -> Result<()> {
    let ([y, dy], [], [dx]) = args.split()?;
    blocks::zip((dx, BLOCK), (y, BLOCK), (dy, BLOCK), |_, dx, y, dy| {
        // Both are read before the comparison: a branch that decides whether to read keeps the loop scalar.
        dx.iter_mut().zip(y).zip(dy).for_each(|((dx, &y), &dy)| *dx = if y > 0.0 { dy } else { 0.0 });
    });
    Ok(())
}

/// `y = max(x, 0)`, any shape. `dx = dy` where `y > 0`, else 0.
pub struct Relu;

impl Op for Relu {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("relu", 1, inputs)) };
        let y = Tensor::empty(x.device(), x.shape())?;
        y.device().launch(&RELU, &Params { len: y.len() as u32 }, &[x], &[], &[&y])?;
        // The output says where the input was positive, and the next layer keeps it anyway.
        Ok(Forward { saved: vec![y.clone()], y })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Activations
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        same_shape(grad.dy, &grad.saved[0])?;
        let (y, dx) = (&grad.saved[0], grad.out(0, grad.dy.shape())?);
        dx.device().launch(&RELU_GRAD, &Params { len: dx.len() as u32 }, &[y, grad.dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301], 1)?;
    crate::engine::self_test::run_op(&Relu, &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::Check;

    #[test]
    fn relu_lets_a_nan_through_on_the_cpu() {
        let x = Tensor::new(&Device::cpu(), &[3], &[f32::NAN, -1.0, 1.0]).unwrap();
        let y = Relu.forward(&[&x]).unwrap().y.to_vec().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0]);
    }

    #[test]
    fn relu_matches_its_reference() {
        for shape in [[1usize, 1], [7, 5], [3, 257]] {
            Check::new(&[&shape])
                // Away from the kink at 0.
                .map(0, |x| if x.abs() < 0.01 { x + 0.1 } else { x })
                .reference(|x| x[0].iter().map(|v| v.max(0.0)).collect())
                .run(&Relu);
        }
    }
}
