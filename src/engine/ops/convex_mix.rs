//! A mean of two tensors with a learned weight.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::activation::sigmoid;
use crate::engine::ops::vector_math::sum_of;
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&CONVEX_MIX, &CONVEX_MIX_GRAD];

/// Elements of a partial sum, on both devices.
const BLOCK: usize = 4096;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
}

static CONVEX_MIX: Kernel<Params> = Kernel {
    name: "convex_mix",
    bodies: &[Body::proved(kernel_text!("convex_mix"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &convex_mix_twin,
};

fn convex_mix_twin(_: &Params, args: Args) -> Result<()> {
    let ([x, z, s], [], [y]) = args.split()?;
    let (a, b) = (sigmoid(s[0]), sigmoid(-s[0]));
    blocks::zip((y, BLOCK), (x, BLOCK), (z, BLOCK), |_, y, x, z| {
        y.iter_mut().zip(x).zip(z).for_each(|((y, x), z)| *y = a * x + b * z);
    });
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GradParams {
    len: u32,
    blocks: u32,
}

static CONVEX_MIX_GRAD: Kernel<GradParams> = Kernel {
    name: "convex_mix_grad",
    bodies: &[Body::proved(kernel_text!("convex_mix_grad"), &|p, _| Plan {
        dispatches: vec![
            Dispatch::new("partials", linear_grid(p.blocks as usize, 1)),
            Dispatch::new("combine", [1, 1, 1]),
        ],
        scratch: vec![p.blocks as usize],
        flops: 4.0 * f64::from(p.len),
    })],
    twin: &convex_mix_grad_twin,
};

fn convex_mix_grad_twin(_: &GradParams, args: Args) -> Result<()> {
    let ([x, z, s, dy], [], [dx, dz, ds]) = args.split()?;
    let (a, b) = (sigmoid(s[0]), sigmoid(-s[0]));
    let mut sums = vec![0.0; x.len().div_ceil(BLOCK)];
    let inputs = x.chunks(BLOCK).zip(z.chunks(BLOCK)).zip(dy.chunks(BLOCK));
    let outputs = dx.chunks_mut(BLOCK).zip(dz.chunks_mut(BLOCK)).zip(&mut sums);
    blocks::share(inputs.zip(outputs), |_, (((x, z), dy), ((dx, dz), sum))| {
        // dz holds x - z until the sum is made.
        dz.iter_mut().zip(x).zip(z).for_each(|((d, x), z)| *d = x - z);
        *sum = f64::from(sum_of(dy, dz, |dy, d| dy * d));
        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = a * dy);
        dz.iter_mut().zip(dy).for_each(|(dz, dy)| *dz = b * dy);
    });
    ds[0] = (f64::from(a * b) * sums.iter().sum::<f64>()) as f32;
    Ok(())
}

/// `y = a x + (1 - a) z` with `a = sigmoid(s)`: x and z of one shape, s of one element.
///
/// `dx = a dy`, `dz = (1 - a) dy`, `ds = a (1 - a) sum dy (x - z)`.
#[derive(Debug, Clone, Copy)]
pub struct ConvexMix;

impl Op for ConvexMix {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, z, s] = inputs else { return Err(crate::engine::op::arity("convex_mix", 3, inputs)) };
        same_shape(x, z)?;
        crate::ensure!(
            s.len() == 1,
            Error::input("a mix has one weight", format!("{:?}", s.shape()), "pass a tensor of one element")
        );
        let y = Tensor::empty(x.device(), x.shape())?;
        y.device().launch(&CONVEX_MIX, &Params { len: y.len() as u32 }, &[x, z, s], &[], &[&y])?;
        Ok(Forward { y, saved: vec![(*x).clone(), (*z).clone(), (*s).clone()] })
    }

    fn saves(&self, i: usize) -> Saves {
        // x, z and their share.
        if i == 2 { Saves::Exact } else { Saves::Activations }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (saved, dy) = (grad.saved, grad.dy);
        same_shape(dy, &saved[0])?;
        same_shape(dy, &saved[1])?;
        // The kernel makes all three; what nobody asked for goes.
        let mut place = |i: usize| match grad.needs(i) {
            true => grad.out(i, saved[i].shape()),
            false => Tensor::empty(dy.device(), saved[i].shape()),
        };
        let (dx, dz, ds) = (place(0)?, place(1)?, place(2)?);
        let params = GradParams { len: dy.len() as u32, blocks: dy.len().div_ceil(BLOCK) as u32 };
        let (x, z, s) = (&saved[0], &saved[1], &saved[2]);
        dy.device().launch(&CONVEX_MIX_GRAD, &params, &[x, z, s, dy], &[], &[&dx, &dz, &ds])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301], 1)?;
    let z = crate::engine::self_test::seeded(device, &[3, 301], 2)?;
    let s = Tensor::full(device, &[1], 0.5)?;
    crate::engine::self_test::run_op(&ConvexMix, &[&x, &z, &s])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, Tolerance, cases};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn mixes_match_their_reference(n in 1usize..4, len in 1usize..3000, shift in -6i32..6) {
            Check::new(&[&[n, len], &[n, len], &[1]])
                .map(2, move |s| 0.1 * s + shift as f32)
                .reference(|x| {
                    let a = 1.0 / (1.0 + (-x[2][0]).exp());
                    x[0].iter().zip(&x[1]).map(|(x, z)| a * x + (1.0 - a) * z).collect()
                })
                // Sums of some thousand products that may cancel against each other.
                .grad_tolerance(Tolerance::OfLargest(1e-4))
                .run(&ConvexMix);
        }
    }

    #[test]
    fn more_than_one_weight_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[2], 1.0).unwrap();
        assert_eq!(ConvexMix.forward(&[&x, &x, &x]).err().unwrap().exit_code(), 2);
    }
}
