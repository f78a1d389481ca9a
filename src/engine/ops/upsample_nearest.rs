//! Enlargement of pictures by a whole factor, by repetition.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&UPSAMPLE_NEAREST, &UPSAMPLE_NEAREST_GRAD];

/// The sizes of an enlargement: of `x`, and the factor. `len` counts what is written.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub len: u32,
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub factor: u32,
}

impl Params {
    /// Elements of a row of the small picture and of the large one.
    pub fn row_lens(&self) -> (usize, usize) {
        let small = self.width as usize * self.channels as usize;
        (small, small * self.factor as usize)
    }
}

static UPSAMPLE_NEAREST: Kernel<Params> = Kernel {
    name: "upsample_nearest",
    bodies: &[Body::proved(kernel_text!("upsample_nearest"), &|p, _| Plan::linear(p.len as usize).each(0.0))],
    twin: &upsample_nearest_twin,
};

fn upsample_nearest_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (factor, channels) = (p.factor as usize, p.channels as usize);
    let (small, large) = p.row_lens();
    // An input row makes `factor` equal output rows.
    blocks::map((y, factor * large), (x, small), |_, y, x| {
        let (first, others) = y.split_at_mut(large);
        for (y, x) in first.chunks_exact_mut(factor * channels).zip(x.chunks_exact(channels)) {
            y.chunks_exact_mut(channels).for_each(|y| y.copy_from_slice(x));
        }
        others.chunks_exact_mut(large).for_each(|row| row.copy_from_slice(first));
    });
    Ok(())
}

static UPSAMPLE_NEAREST_GRAD: Kernel<Params> = Kernel {
    name: "upsample_nearest_grad",
    bodies: &[Body::proved(kernel_text!("upsample_nearest_grad"), &|p, _| reduction_plan(p, 1.0))],
    twin: &upsample_nearest_grad_twin,
};

fn upsample_nearest_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([dy], [], [dx]) = args.split()?;
    let (factor, channels) = (p.factor as usize, p.channels as usize);
    let (small, large) = p.row_lens();
    blocks::map((dx, small), (dy, factor * large), |_, dx, dy| {
        dx.fill(0.0);
        for row in dy.chunks_exact(large) {
            for (dx, dy) in dx.chunks_exact_mut(channels).zip(row.chunks_exact(factor * channels)) {
                for dy in dy.chunks_exact(channels) {
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                }
            }
        }
    });
    Ok(())
}

/// Factors above this gather rows first and then columns: about (2 * 64)^2 outputs are enough for one invocation.
const WHOLE: u32 = 64;

/// The gradient of an enlargement, with `flops` for each element of the large picture.
pub(super) fn reduction_plan(p: &Params, flops: f64) -> Plan {
    let flops = flops * f64::from(p.len) * f64::from(p.factor).powi(2);
    if p.factor <= WHOLE {
        return Plan { flops, ..Plan::linear(p.len as usize) };
    }
    let rows = p.len as usize * p.factor as usize;
    let dispatch = |entry: &'static str, len| Dispatch::new(entry, linear_grid(len, 256));
    Plan { dispatches: vec![dispatch("across", rows), dispatch("down", p.len as usize)], scratch: vec![rows], flops }
}

/// Launches `kernel` from `x` to the picture `factor` times as large.
pub(super) fn enlarge(kernel: &'static Kernel<Params>, x: &Tensor, factor: usize) -> Result<Forward> {
    crate::ensure!(
        factor >= 1,
        Error::input("an enlargement needs a factor of at least 1", format!("{:?}", x.shape()), "use 1 or more")
    );
    let [n, height, width, channels] = x.nhwc()?;
    let too_large = || {
        let what = format!("an enlargement by {factor} is too large");
        Error::input(what, format!("{:?}", x.shape()), "use a smaller factor")
    };
    // Coordinates are doubled, with a sign.
    let enlarged = |size: usize| factor.checked_mul(size).filter(|&size| size < 1 << 29).ok_or_else(too_large);
    let y = Tensor::empty(x.device(), &[n, enlarged(height)?, enlarged(width)?, channels])?;
    x.device().launch(kernel, &params(y.len(), height, width, channels, factor), &[x], &[], &[&y])?;
    Ok(Forward { y, saved: vec![] })
}

/// Launches `kernel` from the gradient of the large picture to that of the small one.
pub(super) fn reduce_grad(kernel: &'static Kernel<Params>, grad: &mut Backward<'_>, factor: usize) -> Result<()> {
    if !grad.needs(0) {
        return Ok(());
    }
    let dy = grad.dy;
    let [n, height, width, channels] = dy.nhwc()?;
    crate::ensure!(
        height.is_multiple_of(factor) && width.is_multiple_of(factor),
        Error::input("a gradient of an enlarged picture is needed", format!("{:?}", dy.shape()), "check the shapes")
    );
    let (height, width) = (height / factor, width / factor);
    let dx = grad.out(0, &[n, height, width, channels])?;
    dx.device().launch(kernel, &params(dx.len(), height, width, channels, factor), &[dy], &[], &[&dx])
}

fn params(len: usize, height: usize, width: usize, channels: usize, factor: usize) -> Params {
    Params {
        len: len as u32,
        height: height as u32,
        width: width as u32,
        channels: channels as u32,
        factor: factor as u32,
    }
}

/// x (N, H, W, C) to y (N, kH, kW, C), every pixel k times along both axes. dx sums dy over a pixel's copies.
pub struct UpsampleNearest {
    /// k, at least 1.
    pub factor: usize,
}

impl Op for UpsampleNearest {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("upsample_nearest", 1, inputs)) };
        enlarge(&UPSAMPLE_NEAREST, x, self.factor)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        reduce_grad(&UPSAMPLE_NEAREST_GRAD, grad, self.factor)
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    crate::engine::self_test::run_op(&UpsampleNearest { factor: 2 }, &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn repetition_matches_its_reference_on_odd_shapes(
            n in 1usize..3, h in 1usize..6, w in 1usize..7, c in 1usize..6, factor in 1usize..4
        ) {
            Check::new(&[&[n, h, w, c]])
                .reference(move |x| {
                    let mut y = Vec::new();
                    for b in 0..n {
                        for i in 0..factor * h {
                            for j in 0..factor * w {
                                let pixel = ((b * h + i / factor) * w + j / factor) * c;
                                y.extend_from_slice(&x[0][pixel..pixel + c]);
                            }
                        }
                    }
                    y
                })
                .run(&UpsampleNearest { factor });
        }
    }

    #[test]
    fn a_factor_of_nothing_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 2, 2, 3], 1.0).unwrap();
        assert_eq!(UpsampleNearest { factor: 0 }.forward(&[&x]).err().unwrap().exit_code(), 2);
    }
}
