//! The cross-entropy of a softmax over classes.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op, arity};
use crate::engine::ops::arithmetic::Arithmetic;
use crate::engine::ops::sum_axes::sum_middle;
use crate::engine::ops::vector_math::{exp, largest, ln, sum_of};
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&CROSS_ENTROPY, &CROSS_ENTROPY_GRAD];

/// The most classes Q: no invocation then runs longer loops than drivers allow.
pub const MOST_CLASSES: usize = 1 << 20;

/// The mean over rows of `-sum over c of t[c] log softmax(x)[c]`, y `[1]`, of logits x `[.., Q]`: finite for any finite
/// x.
///
/// `dx = dy / rows * (softmax(x) sum t - t)`. The target t has no gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossEntropy {
    /// t is a class a row, of shape `[..]` (`[1]` for a single row): whole numbers in 0..Q, as [`class_tensor`] makes
    /// them from checked numbers. The op reads no values on the host: another number there makes the loss and the
    /// gradient of its row NaN.
    Classes,
    /// t `[.., Q]` is a share for each class; usually a row adds up to 1.
    Shares,
}

/// The target of [`CrossEntropy::Classes`]: a tensor of `shape`, one class in `0..classes` a row of the logits.
///
/// # Errors
/// A class out of range, another number of classes than `shape` has elements, and no memory.
pub fn class_tensor(device: &Device, shape: &[usize], numbers: &[usize], classes: usize) -> Result<Tensor> {
    for (i, number) in numbers.iter().enumerate() {
        crate::ensure!(
            *number < classes,
            Error::input(format!("a class beyond the last of {classes}"), number, format!("check class number {i}"))
        );
    }
    crate::ensure!(
        shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)) == Some(numbers.len()),
        Error::input(format!("{} classes for a tensor of", numbers.len()), format!("{shape:?}"), "give each row one")
            .of(ErrorKind::Shape)
    );
    // Whole numbers up to 2^24 are exact, and an op takes fewer classes.
    Tensor::new(device, shape, &numbers.iter().map(|&number| number as f32).collect::<Vec<_>>())
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    channels: u32,
    soft: u32,
    /// WGSL has no literal for it.
    not_a_number: f32,
}

static CROSS_ENTROPY: Kernel<Params> = Kernel {
    name: "cross_entropy",
    bodies: &[Body::proved(kernel_text!("cross_entropy"), &|p, _| {
        Plan::single(linear_grid(p.rows as usize, 1), 20.0 * f64::from(p.rows) * f64::from(p.channels))
    })],
    twin: &cross_entropy_twin,
};

fn cross_entropy_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, t], [], [losses, stats]) = args.split()?;
    let channels = p.channels as usize;
    let rows = losses.par_iter_mut().zip(stats.par_chunks_exact_mut(3)).zip(x.par_chunks_exact(channels)).enumerate();
    rows.with_min_len(((1 << 12) / channels).max(1)).for_each(|(row, ((loss, stats), x))| {
        let peak = largest(x);
        let exponentials = sum_of(x, x, |x, _| exp(x - peak));
        let log_sum = ln(exponentials);
        let targets;
        (*loss, targets) = match p.soft {
            1 => {
                let t = &t[row * channels..][..channels];
                // Nothing times the infinite loss of an impossible class is nothing.
                let each = |x: f32, t: f32| if t != 0.0 { t * (log_sum - (x - peak)) } else { 0.0 };
                (sum_of(x, t, each), sum_of(t, t, |t, _| t))
            }
            _ => match class(t[row], channels) {
                Some(class) => (log_sum - (x[class] - peak), 1.0),
                None => (p.not_a_number, p.not_a_number),
            },
        };
        stats.copy_from_slice(&[peak, exponentials, targets]);
    });
    Ok(())
}

/// The class that a number stands for, if it is one of `0..classes`.
fn class(number: f32, classes: usize) -> Option<usize> {
    (number >= 0.0 && number < classes as f32 && number.fract() == 0.0).then_some(number as usize)
}

static CROSS_ENTROPY_GRAD: Kernel<Params> = Kernel {
    name: "cross_entropy_grad",
    bodies: &[Body::proved(kernel_text!("cross_entropy_grad"), &|p, _| {
        Plan::linear(p.rows as usize * p.channels as usize).each(6.0)
    })],
    twin: &cross_entropy_grad_twin,
};

fn cross_entropy_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, t, stats, dy], [], [dx]) = args.split()?;
    let channels = p.channels as usize;
    let scale = dy[0] / p.rows as f32;
    let rows = dx.par_chunks_exact_mut(channels).zip(x.par_chunks_exact(channels)).enumerate();
    rows.with_min_len(((1 << 12) / channels).max(1)).for_each(|(row, (dx, x))| {
        let &[peak, exponentials, targets] = &stats[3 * row..][..3] else { return };
        let slope = |x: f32, share: f32| scale * (exp(x - peak) / exponentials * targets - share);
        if p.soft == 1 {
            let t = &t[row * channels..][..channels];
            dx.iter_mut().zip(x).zip(t).for_each(|((dx, x), t)| *dx = slope(*x, *t));
        } else {
            dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = slope(*x, 0.0));
            if let Some(class) = class(t[row], channels) {
                dx[class] = slope(x[class], 1.0);
            }
        }
    });
    Ok(())
}

impl CrossEntropy {
    fn params(self, x: &Tensor) -> Params {
        let channels = x.shape().last().copied().unwrap_or(1);
        let soft = u32::from(self == CrossEntropy::Shares);
        Params { rows: (x.len() / channels) as u32, channels: channels as u32, soft, not_a_number: f32::NAN }
    }
}

impl Op for CrossEntropy {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, t] = inputs else { return Err(arity("cross_entropy", 2, inputs)) };
        let params = self.params(x);
        let rows = &x.shape()[..x.shape().len().saturating_sub(1)];
        let fits = match self {
            CrossEntropy::Shares => t.shape() == x.shape(),
            CrossEntropy::Classes => t.shape() == if rows.is_empty() { &[1] } else { rows },
        };
        crate::ensure!(
            fits,
            Error::input(
                "the target of a cross-entropy fits its logits: a class a row, or a share for each logit",
                format!("{:?} and {:?}", x.shape(), t.shape()),
                "check the shapes, and whether it is classes or shares"
            )
            .of(ErrorKind::Shape)
        );
        crate::ensure!(
            params.channels as usize <= MOST_CLASSES,
            Error::input(format!("over {MOST_CLASSES} classes"), format!("{:?}", x.shape()), "take fewer")
                .of(ErrorKind::Shape)
        );
        let losses = Tensor::empty(x.device(), &[params.rows as usize])?;
        let stats = Tensor::empty(x.device(), &[params.rows as usize, 3])?;
        x.device().launch(&CROSS_ENTROPY, &params, &[x, t], &[], &[&losses, &stats])?;
        let (sum, y) = (Tensor::empty(x.device(), &[1])?, Tensor::empty(x.device(), &[1])?);
        sum_middle(&losses, 1, 1, &sum)?;
        crate::engine::primitives::axpby(1.0 / params.rows as f32, &sum, 0.0, &sum, &y)?;
        Ok(Forward { y, saved: vec![(*x).clone(), (*t).clone(), stats] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        crate::ensure!(
            !grad.needs(1),
            Error::input("the target of a cross-entropy has no gradient", "cross_entropy", "detach it")
        );
        if !grad.needs(0) {
            return Ok(());
        }
        let (saved, dy) = (grad.saved, grad.dy);
        let (x, t, stats) = (&saved[0], &saved[1], &saved[2]);
        let dx = grad.out(0, x.shape())?;
        x.device().launch(&CROSS_ENTROPY_GRAD, &self.params(x), &[x, t, stats, dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    use crate::engine::self_test::seeded;
    let x = seeded(device, &[3, 5, 77], 1)?;
    let classes: Vec<usize> = (0..15).map(|i| 5 * i).collect();
    let shares = Tensor::empty(device, x.shape())?;
    let t = seeded(device, x.shape(), 2)?;
    Arithmetic::Multiply.run(0.01, &t, &t, &shares)?;
    let mut outputs = Vec::new();
    for (op, t) in
        [(CrossEntropy::Classes, class_tensor(device, &[3, 5], &classes, 77)?), (CrossEntropy::Shares, shares)]
    {
        let forward = op.forward(&[&x, &t])?;
        let dy = Tensor::full(device, &[1], 1.0)?;
        let mut backward = Backward::new(&dy, &forward.saved, &[true, false], vec![None, None]);
        op.backward(&mut backward)?;
        outputs.push(forward.y);
        outputs.extend(backward.into_grads().into_iter().flatten());
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tape::Tape;
    use crate::engine::testing::check::{Check, cases, devices};
    use proptest::prelude::*;

    /// Straight from the definition; f64 holds what these logits make of it.
    fn reference(x: &[f64], channels: usize, share: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let rows = x.len() / channels;
        let of_row = |row: usize| -> f64 {
            let x = &x[row * channels..][..channels];
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            (0..channels).map(|c| -share(row, c) * (x[c].exp() / sum).ln()).sum()
        };
        vec![(0..rows).map(of_row).sum::<f64>() / rows as f64]
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn both_targets_match_the_reference_on_odd_shapes(n in 1usize..4, w in 1usize..5, q in 1usize..200) {
            Check::new(&[&[n, w, q], &[n, w]])
                .map(0, |x| 3.0 * x)
                // Any class, with the last among them.
                .map(1, move |t| (t.abs() * q as f32).min(q as f32 - 1.0).floor())
                .no_grad(1)
                .reference(move |x| {
                    let classes = x[1].clone();
                    reference(&x[0], q, |row, c| if classes[row] == c as f64 { 1.0 } else { 0.0 })
                })
                .run(&CrossEntropy::Classes);
            Check::new(&[&[n, w, q], &[n, w, q]])
                .map(0, |x| 3.0 * x)
                .map(1, |t| if t < 0.0 { 0.0 } else { 0.1 * t })
                .no_grad(1)
                .reference(move |x| reference(&x[0], q, |row, c| x[1][row * q + c]))
                .run(&CrossEntropy::Shares);
        }
    }

    fn loss_and_gradient(op: CrossEntropy, x: &Tensor, t: &Tensor) -> (f32, Vec<f32>) {
        let tape = Tape::new();
        let leaf = tape.leaf(x.clone());
        let y = tape.apply(op, &[&leaf, &tape.constant(t.clone())]).unwrap();
        let loss = y.value().item().unwrap();
        (loss, tape.backward(y).unwrap().get(&leaf).unwrap().to_vec().unwrap())
    }

    #[test]
    fn huge_logits_give_finite_losses_and_gradients() {
        for device in devices() {
            let x = Tensor::new(&device, &[2, 2], &[1e4, -1e4, 3e38, 0.0]).unwrap();
            let t = class_tensor(&device, &[2], &[1, 0], 2).unwrap();
            let (loss, gradient) = loss_and_gradient(CrossEntropy::Classes, &x, &t);
            assert_eq!(loss, 1e4, "{}", device.name());
            for (got, expected) in gradient.iter().zip([0.5, -0.5, 0.0, 0.0]) {
                assert!((got - expected).abs() < 1e-7, "{}: {gradient:?}", device.name());
            }
        }
    }

    #[test]
    fn a_class_that_is_none_shows_in_the_loss_and_in_its_row_alone() {
        for device in devices() {
            for wrong in [-1.0, 3.0, 1.5, f32::NAN] {
                let x = Tensor::full(&device, &[2, 3], 1.0).unwrap();
                let t = Tensor::new(&device, &[2], &[2.0, wrong]).unwrap();
                let (loss, gradient) = loss_and_gradient(CrossEntropy::Classes, &x, &t);
                let spoilt: Vec<bool> = gradient.iter().map(|g| g.is_nan()).collect();
                assert!(loss.is_nan(), "{}: {wrong} gives {loss}", device.name());
                assert_eq!(spoilt, [false, false, false, true, true, true], "{}: {wrong}", device.name());
            }
        }
    }

    #[test]
    fn long_rows_and_many_rows_are_whole() {
        for device in devices() {
            for shape in [[1, MOST_CLASSES], [crate::engine::device::MAX_GROUPS as usize + 2, 1]] {
                let x = Tensor::full(&device, &shape, 3.0).unwrap();
                let t = class_tensor(&device, &shape[..1], &vec![0; shape[0]], shape[1]).unwrap();
                let y = CrossEntropy::Classes.forward(&[&x, &t]).unwrap().y.item().unwrap();
                let expected = (shape[1] as f32).ln();
                assert!((y - expected).abs() < 1e-5, "{}: {y}, not {expected}", device.name());
            }
        }
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        let device = Device::cpu();
        let tensor = |shape: &[usize]| Tensor::full(&device, shape, 0.0).unwrap();
        let x = tensor(&[2, 3]);
        for (op, t) in [
            (CrossEntropy::Classes, tensor(&[3])),
            (CrossEntropy::Classes, tensor(&[2, 3])),
            (CrossEntropy::Shares, tensor(&[3, 2])),
        ] {
            let error = op.forward(&[&x, &t]).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Shape);
            assert!(error.to_string().contains("[2, 3]"), "{error}");
        }
        assert!(CrossEntropy::Classes.forward(&[&tensor(&[3]), &tensor(&[1])]).is_ok());
        assert_eq!(class_tensor(&device, &[2], &[1, 3], 3).err().unwrap().exit_code(), 2);
        assert_eq!(class_tensor(&device, &[3], &[1, 2], 3).err().unwrap().kind(), ErrorKind::Shape);
        let tape = Tape::new();
        let (x, t) = (tape.leaf(x), tape.leaf(tensor(&[2, 3])));
        let y = tape.apply(CrossEntropy::Shares, &[&x, &t]).unwrap();
        assert_eq!(tape.backward(y).err().unwrap().exit_code(), 2);
    }
}
