//! The leaky ReLU with a slope that each channel learns.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::conv2d;
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&PRELU, &PRELU_GRAD];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    channels: u32,
}

impl Params {
    /// Elements of the blocks of rows that a twin works on.
    fn block(&self) -> usize {
        let channels = self.channels as usize;
        (BLOCK / channels).max(1) * channels
    }
}

static PRELU: Kernel<Params> = Kernel {
    name: "prelu",
    bodies: &[Body::proved(kernel_text!("prelu"), &|p, _| Plan::linear(p.len as usize).each(2.0))],
    twin: &prelu_twin,
};

fn prelu_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, a], [], [y]) = args.split()?;
    blocks::map((y, p.block()), (x, p.block()), |_, y, x| {
        for (y, x) in y.chunks_exact_mut(a.len()).zip(x.chunks_exact(a.len())) {
            y.iter_mut().zip(x).zip(a).for_each(|((y, &x), &a)| *y = if x < 0.0 { a * x } else { x });
        }
    });
    Ok(())
}

static PRELU_GRAD: Kernel<Params> = Kernel {
    name: "prelu_grad",
    bodies: &[Body::proved(kernel_text!("prelu_grad"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &prelu_grad_twin,
};

fn prelu_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, a, dy], [], [dx, share]) = args.split()?;
    let block = p.block();
    let outputs = dx.chunks_mut(block).zip(share.chunks_mut(block));
    blocks::share(x.chunks(block).zip(dy.chunks(block)).zip(outputs), |_, ((x, dy), (dx, share))| {
        for (i, ((x, dy), (dx, share))) in x.iter().zip(dy).zip(dx.iter_mut().zip(share)).enumerate() {
            (*dx, *share) = if *x < 0.0 { (a[i % a.len()] * dy, x * dy) } else { (*dy, 0.0) };
        }
    });
    Ok(())
}

/// x `[N, H, W, C]` and a `[C]` to `y = x` where x >= 0, else `a x` (He, Zhang, Ren, Sun, "Delving Deep into
/// Rectifiers", 2015, eq. 1; a starts at 0.25).
///
/// `dx = dy` or `a dy`; da is the sum of `x dy` over the pixels where x < 0.
#[derive(Debug, Clone, Copy)]
pub struct PRelu;

impl Op for PRelu {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, a] = inputs else { return Err(crate::engine::op::arity("prelu", 2, inputs)) };
        let channels = x.nhwc()?[3];
        crate::ensure!(
            a.shape() == [channels],
            Error::input(
                format!("slopes of shape [{channels}] are needed"),
                format!("{:?}", a.shape()),
                "give each channel one"
            )
        );
        let y = Tensor::empty(x.device(), x.shape())?;
        y.device().launch(&PRELU, &params(&y, a), &[x, a], &[], &[&y])?;
        Ok(Forward { y, saved: vec![(*x).clone(), (*a).clone()] })
    }

    fn saves(&self, i: usize) -> Saves {
        // x and the slopes.
        if i == 1 { Saves::Exact } else { Saves::Activations }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (saved, dy) = (grad.saved, grad.dy);
        let (x, a) = (&saved[0], &saved[1]);
        same_shape(dy, x)?;
        let device = dy.device();
        let dx = if grad.needs(0) { grad.out(0, x.shape())? } else { Tensor::empty(device, x.shape())? };
        let share = Tensor::empty(device, x.shape())?;
        device.launch(&PRELU_GRAD, &params(x, a), &[x, a, dy], &[], &[&dx, &share])?;
        if grad.needs(1) {
            let da = grad.out(1, a.shape())?;
            conv2d::bias_gradient(&share, &da)?;
        }
        Ok(())
    }
}

fn params(x: &Tensor, a: &Tensor) -> Params {
    Params { len: x.len() as u32, channels: a.len() as u32 }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 9, 5, 7], 1)?;
    let a = crate::engine::self_test::seeded(device, &[7], 2)?;
    crate::engine::self_test::run_op(&PRelu, &[&x, &a])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn prelu_matches_its_reference_on_odd_shapes(n in 1usize..3, h in 1usize..20, w in 1usize..9, c in 1usize..9) {
            Check::new(&[&[n, h, w, c], &[c]])
                // Away from the kink at 0.
                .map(0, |x| if x.abs() < 0.01 { x + 0.1 } else { x })
                .reference(move |x| {
                    let slope = |i: usize| if x[0][i] < 0.0 { x[1][i % c] } else { 1.0 };
                    (0..x[0].len()).map(|i| slope(i) * x[0][i]).collect()
                })
                .run(&PRelu);
        }
    }

    #[test]
    fn another_number_of_slopes_is_refused() {
        let device = Device::cpu();
        let x = Tensor::full(&device, &[1, 2, 2, 3], 1.0).unwrap();
        let a = Tensor::full(&device, &[2], 1.0).unwrap();
        assert_eq!(PRelu.forward(&[&x, &a]).err().unwrap().exit_code(), 2);
    }
}
