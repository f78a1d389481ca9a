//! Losses that are a mean over all elements: against a target tensor, or against one value.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::activation::sigmoid;
use crate::engine::ops::vector_math::{exp, ln_1p, sum_of};
use crate::engine::primitives::{expect_shape, same_shape};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&MEAN_LOSS, &MEAN_LOSS_GRAD];

/// Elements of a partial sum, on both devices.
const BLOCK: usize = 4096;

/// The mean of f(x, t) over all elements, y `[1]`: x and t of one shape, whatever it is.
///
/// As an op it takes x and t; [`MeanLoss::against`] takes x alone, against a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeanLoss {
    /// `|x - t|`; its gradient is 0 where both are equal, and NaN where either is.
    L1,
    /// `(x - t)^2`.
    SquaredError,
    /// `-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x))` for logits x and t in 0..1, in the form
    /// `max(x, 0) - x t + log1p(e^-|x|)`, which does not overflow and keeps its digits where the logit is confident and
    /// right (at x = 30 and t = 1 the loss is 9e-14). The gradient to x is `sigmoid(x) - t`; t has none.
    BceWithLogits,
}

impl MeanLoss {
    /// This loss against the same target for all elements.
    pub fn against(self, target: f32) -> Against {
        Against { loss: self, target }
    }

    /// The kernels' number of this loss.
    fn code(self) -> u32 {
        match self {
            MeanLoss::L1 => 0,
            MeanLoss::SquaredError => 1,
            MeanLoss::BceWithLogits => 2,
        }
    }

    fn mean(self, x: &Tensor, t: &Target<'_>) -> Result<Tensor> {
        let y = Tensor::empty(x.device(), &[1])?;
        y.device().launch(&MEAN_LOSS, &Params::new(self, x, t), &[x, t.or(x)], &[], &[&y])?;
        Ok(y)
    }

    fn gradient(self, x: &Tensor, t: &Target<'_>, dy: &Tensor, dx: &Tensor) -> Result<()> {
        dx.device().launch(&MEAN_LOSS_GRAD, &Params::new(self, x, t), &[x, t.or(x), dy], &[], &[dx])
    }
}

/// A [`MeanLoss`] of x against a constant target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Against {
    /// Which loss.
    pub loss: MeanLoss,
    /// The target; 0..1 for a binary cross-entropy.
    pub target: f32,
}

/// What x is held against.
enum Target<'a> {
    Each(&'a Tensor),
    All(f32),
}

impl<'a> Target<'a> {
    /// The tensor, or, as something must be bound, `x`.
    fn or(&self, x: &'a Tensor) -> &'a Tensor {
        match self {
            Target::Each(t) => t,
            Target::All(_) => x,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    blocks: u32,
    kind: u32,
    constant: u32,
    value: f32,
}

impl Params {
    fn new(loss: MeanLoss, x: &Tensor, t: &Target<'_>) -> Self {
        let (constant, value) = match *t {
            Target::Each(_) => (0, 0.0),
            Target::All(value) => (1, value),
        };
        let blocks = x.len().div_ceil(BLOCK) as u32;
        Params { len: x.len() as u32, blocks, kind: loss.code(), constant, value }
    }
}

static MEAN_LOSS: Kernel<Params> = Kernel {
    name: "mean_loss",
    bodies: &[Body::proved(kernel_text!("mean_loss"), &|p, _| {
        let flops = 4.0 * f64::from(p.len);
        if p.blocks == 1 {
            return Plan { dispatches: vec![Dispatch::new("whole", [1, 1, 1])], scratch: Vec::new(), flops };
        }
        let partials = Dispatch::new("partials", linear_grid(p.blocks as usize, 1));
        let dispatches = vec![partials, Dispatch::new("combine", [1, 1, 1])];
        Plan { dispatches, scratch: vec![p.blocks as usize], flops }
    })],
    twin: &mean_loss_twin,
};

fn mean_loss_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, t], [], [y]) = args.split()?;
    y[0] = match p.kind {
        0 => mean(p, x, t, |x, t| (x - t).abs()),
        1 => mean(p, x, t, |x, t| (x - t) * (x - t)),
        _ => mean(p, x, t, |x, t| linear_part(x, t) + ln_1p(exp(-x.abs()))),
    };
    Ok(())
}

/// `max(x, 0) - x t`: for t of 1 exactly 0 at any x above 0, and for t of 0 at any below.
#[inline(always)]
fn linear_part(x: f32, t: f32) -> f32 {
    // A comparison, not max(): a NaN stays one, and training notices it.
    if x < 0.0 { -x * t } else { x * (1.0 - t) }
}

#[inline(always)]
fn mean(p: &Params, x: &[f32], t: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> f32 {
    let value = p.value;
    let block_sum = |i| {
        let x = blocks::block(x, BLOCK, i);
        f64::from(match p.constant {
            1 => sum_of(x, x, |x, _| f(x, value)),
            _ => sum_of(x, blocks::block(t, BLOCK, i), &f),
        })
    };
    let sums = blocks::collect(x.len().div_ceil(BLOCK), block_sum);
    (sums.iter().sum::<f64>() / f64::from(p.len)) as f32
}

static MEAN_LOSS_GRAD: Kernel<Params> = Kernel {
    name: "mean_loss_grad",
    bodies: &[Body::proved(kernel_text!("mean_loss_grad"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &mean_loss_grad_twin,
};

fn mean_loss_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, t, dy], [], [dx]) = args.split()?;
    let scale = dy[0] / p.len as f32;
    match p.kind {
        // signum() has no zero; of a NaN it is a NaN.
        0 => slopes(p, x, t, dx, |x, t| scale * if x == t { 0.0 } else { (x - t).signum() }),
        1 => slopes(p, x, t, dx, |x, t| scale * (2.0 * (x - t))),
        _ => slopes(p, x, t, dx, |x, t| scale * (sigmoid(x) - t)),
    }
    Ok(())
}

#[inline(always)]
fn slopes(p: &Params, x: &[f32], t: &[f32], dx: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let (constant, value) = (p.constant == 1, p.value);
    blocks::zip((dx, BLOCK), (x, BLOCK), (t, BLOCK), |_, dx, x, t| {
        dx.iter_mut().zip(x).zip(t).for_each(|((dx, x), t)| *dx = f(*x, if constant { value } else { *t }));
    });
}

impl Op for MeanLoss {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, t] = inputs else { return Err(crate::engine::op::arity("mean_loss", 2, inputs)) };
        same_shape(x, t)?;
        let y = self.mean(x, &Target::Each(t))?;
        Ok(Forward { y, saved: vec![(*x).clone(), (*t).clone()] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (saved, dy) = (grad.saved, grad.dy);
        let (x, t) = (&saved[0], &saved[1]);
        expect_shape("a gradient", dy, &[1])?;
        same_shape(x, t)?;
        if grad.needs(0) {
            let dx = grad.out(0, x.shape())?;
            self.gradient(x, &Target::Each(t), dy, &dx)?;
        }
        if grad.needs(1) {
            crate::ensure!(
                *self != MeanLoss::BceWithLogits,
                Error::input("the target of a binary cross-entropy has no gradient", "bce_with_logits", "detach it")
            );
            // The other two are symmetric.
            let dt = grad.out(1, t.shape())?;
            self.gradient(t, &Target::Each(x), dy, &dt)?;
        }
        Ok(())
    }
}

impl Op for Against {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("mean_loss", 1, inputs)) };
        crate::ensure!(
            self.loss != MeanLoss::BceWithLogits || (0.0..=1.0).contains(&self.target),
            Error::input("the target of a binary cross-entropy lies in 0..1", self.target, "clamp it")
        );
        Ok(Forward { y: self.loss.mean(x, &Target::All(self.target))?, saved: vec![(*x).clone()] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        expect_shape("a gradient", grad.dy, &[1])?;
        let (x, dx) = (&grad.saved[0], grad.out(0, grad.saved[0].shape())?);
        self.loss.gradient(x, &Target::All(self.target), grad.dy, &dx)
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 3001], 1)?;
    let t = crate::engine::self_test::seeded(device, &[3, 3001], 2)?;
    let mut outputs = crate::engine::self_test::run_op(&MeanLoss::L1, &[&x, &t])?;
    outputs.extend(crate::engine::self_test::run_op(&MeanLoss::SquaredError, &[&x, &t])?);
    outputs.extend(crate::engine::self_test::run_op(&MeanLoss::BceWithLogits.against(0.9), &[&x])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, devices};

    fn formula(loss: MeanLoss, x: f64, t: f64) -> f64 {
        match loss {
            MeanLoss::L1 => (x - t).abs(),
            MeanLoss::SquaredError => (x - t).powi(2),
            MeanLoss::BceWithLogits => t * (-x).exp().ln_1p() + (1.0 - t) * x.exp().ln_1p(),
        }
    }

    const ALL: [MeanLoss; 3] = [MeanLoss::L1, MeanLoss::SquaredError, MeanLoss::BceWithLogits];
    const SHAPES: [[usize; 2]; 3] = [[1, 1], [3, 17], [5, 1001]];

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
        let count = values.len() as f64;
        vec![values.sum::<f64>() / count]
    }

    /// Away from the kink of |x - t| for |t| below 6.
    fn far(x: f32) -> f32 {
        x + 6.0 * x.signum()
    }

    #[test]
    fn losses_against_a_tensor_match_their_reference() {
        for loss in ALL {
            for shape in SHAPES {
                let bce = loss == MeanLoss::BceWithLogits;
                let check = Check::new(&[&shape, &shape])
                    .map(0, move |x| if loss == MeanLoss::L1 { far(x) } else { 2.0 * x })
                    .map(1, move |t| if bce { (0.5 + 0.2 * t).clamp(0.0, 1.0) } else { t })
                    .reference(move |x| mean(x[0].iter().zip(&x[1]).map(|(&x, &t)| formula(loss, x, t))));
                let check = if bce { check.no_grad(1) } else { check };
                check.run(&loss);
            }
        }
    }

    #[test]
    fn losses_against_a_constant_match_their_reference() {
        for loss in ALL {
            for (shape, target) in SHAPES.into_iter().zip([0.0, 1.0, 0.9]) {
                Check::new(&[&shape])
                    .map(0, |x| far(x) / 2.0)
                    .reference(move |x| mean(x[0].iter().map(|&x| formula(loss, x, f64::from(target)))))
                    .run(&loss.against(target));
            }
        }
    }

    #[test]
    fn huge_logits_give_finite_losses_and_gradients() {
        for device in devices() {
            let x = Tensor::new(&device, &[4], &[1e30, -1e30, 200.0, -200.0]).unwrap();
            let t = Tensor::new(&device, &[4], &[1.0, 0.0, 0.0, 1.0]).unwrap();
            let forward = MeanLoss::BceWithLogits.forward(&[&x, &t]).unwrap();
            assert_eq!(forward.y.item().unwrap(), 100.0, "{}", device.name());
            let dy = Tensor::full(&device, &[1], 4.0).unwrap();
            let mut backward = Backward::new(&dy, &forward.saved, &[true, false], vec![None; 2]);
            MeanLoss::BceWithLogits.backward(&mut backward).unwrap();
            let dx = backward.into_grads()[0].clone().unwrap().to_vec().unwrap();
            assert_eq!(dx, [0.0, 0.0, 1.0, -1.0], "{}", device.name());
        }
    }

    /// The gradient of x for dy = 1.
    fn gradient(loss: MeanLoss, x: &Tensor, t: &Tensor) -> Vec<f32> {
        let forward = loss.forward(&[x, t]).unwrap();
        let dy = Tensor::full(x.device(), &[1], 1.0).unwrap();
        let mut backward = Backward::new(&dy, &forward.saved, &[true, false], vec![None; 2]);
        loss.backward(&mut backward).unwrap();
        backward.into_grads()[0].clone().unwrap().to_vec().unwrap()
    }

    #[test]
    fn a_confident_logit_on_the_right_side_keeps_a_loss_with_all_its_digits() {
        for device in devices() {
            for x in [0.0f32, 0.3, 2.0, 6.0, 12.0, 17.0, 20.0, 40.0, 80.0] {
                for (x, t) in [(x, 1.0), (-x, 0.0)] {
                    let tensors = [x, t].map(|v| Tensor::full(&device, &[1], v).unwrap());
                    let expected = (-f64::from(x.abs())).exp().ln_1p();
                    for y in [
                        MeanLoss::BceWithLogits.forward(&[&tensors[0], &tensors[1]]),
                        MeanLoss::BceWithLogits.against(t).forward(&[&tensors[0]]),
                    ] {
                        let y = f64::from(y.unwrap().y.item().unwrap());
                        // WGSL's exp may be off by 3 + 2 |x| units in the last place.
                        let allowed = (8.0 + 2.0 * f64::from(x.abs())) * 2f64.powi(-23) * expected;
                        assert!((y - expected).abs() <= allowed, "{}: x = {x}: {y}, not {expected}", device.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_nan_passes_into_losses_and_gradients() {
        for device in devices() {
            for loss in ALL {
                for (x, t) in [([f32::NAN, 0.5], [0.25, 0.25]), ([0.5, 0.5], [f32::NAN, 0.25])] {
                    let [x, t] = [x, t].map(|v| Tensor::new(&device, &[2], &v).unwrap());
                    let y = loss.forward(&[&x, &t]).unwrap().y.item().unwrap();
                    let dx = gradient(loss, &x, &t);
                    let passed = y.is_nan() && dx[0].is_nan() && dx[1].is_finite();
                    assert!(passed, "{}: {loss:?}: {y}, {dx:?}", device.name());
                }
            }
            // Equal infinities are equal values.
            let inf = Tensor::full(&device, &[1], f32::INFINITY).unwrap();
            assert_eq!(gradient(MeanLoss::L1, &inf, &inf), [0.0], "{}", device.name());
        }
    }

    #[test]
    fn a_transposed_target_is_refused_with_both_shapes() {
        let device = Device::cpu();
        let [x, t] = [[4, 3], [3, 4]].map(|shape| Tensor::full(&device, &shape, 1.0).unwrap());
        for loss in ALL {
            let message = loss.forward(&[&x, &t]).err().unwrap().to_string();
            assert!(message.contains("[4, 3]") && message.contains("[3, 4]"), "{message}");
        }
    }

    #[test]
    fn equal_values_have_no_l1_gradient() {
        for device in devices() {
            let x = Tensor::full(&device, &[3], 0.25).unwrap();
            let forward = MeanLoss::L1.against(0.25).forward(&[&x]).unwrap();
            let dy = Tensor::full(&device, &[1], 1.0).unwrap();
            let mut backward = Backward::new(&dy, &forward.saved, &[true], vec![None]);
            MeanLoss::L1.against(0.25).backward(&mut backward).unwrap();
            assert_eq!(backward.into_grads()[0].clone().unwrap().to_vec().unwrap(), [0.0; 3], "{}", device.name());
        }
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        let device = Device::cpu();
        let x = Tensor::full(&device, &[4], 1.0).unwrap();
        let t = Tensor::full(&device, &[3], 1.0).unwrap();
        assert_eq!(MeanLoss::L1.forward(&[&x, &t]).err().unwrap().exit_code(), 2);
        assert_eq!(MeanLoss::BceWithLogits.against(1.05).forward(&[&x]).err().unwrap().exit_code(), 2);
    }
}
