//! Exponential, logarithm and square, element by element.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, arity};
use crate::engine::ops::arithmetic::Arithmetic;
use crate::engine::ops::vector_math;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&POINTWISE];

/// `y = f(x)` for a tensor of any shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointwise {
    /// `y = e^x`. `dx = dy y`.
    Exp,
    /// The natural logarithm: minus infinity at 0, NaN below. `dx = dy / x`.
    Log,
    /// `y = x^2`. `dx = 2 dy x`.
    Square,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    kind: u32,
}

static POINTWISE: Kernel<Params> = Kernel {
    name: "pointwise",
    bodies: &[Body::proved(kernel_text!("pointwise"), &|p, _| Plan::linear(p.len as usize))],
    twin: &pointwise_twin,
};

fn pointwise_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    match p.kind {
        0 => map(x, y, exp),
        1 => map(x, y, log),
        _ => map(x, y, |x| x * x),
    }
    Ok(())
}

#[inline(always)]
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Send + Sync) {
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| {
        y.iter_mut().zip(x).for_each(move |(y, x)| *y = f(*x));
    });
}

/// `e^x` to 0 and to infinity.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Half of it is within the range of the fast one wherever the result is a number.
    let half = vector_math::exp(0.5 * x);
    if x.abs() > 80.0 { half * half } else { vector_math::exp(x) }
}

/// `ln x` of any x.
#[inline(always)]
fn log(x: f32) -> f32 {
    const UP: f32 = (1u32 << 24) as f32;
    // The fast one knows normal numbers alone.
    let subnormal = x < f32::MIN_POSITIVE;
    let shift = if subnormal { 24.0 * std::f32::consts::LN_2 } else { 0.0 };
    let normal = vector_math::ln(if subnormal { UP * x } else { x }) - shift;
    let beyond = if x == 0.0 { f32::NEG_INFINITY } else { f32::NAN };
    let positive = if x == f32::INFINITY { x } else { normal };
    if x > 0.0 { positive } else { beyond }
}

impl Op for Pointwise {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(arity("pointwise", 1, inputs)) };
        let y = Tensor::empty(x.device(), x.shape())?;
        let kind = match self {
            Pointwise::Exp => 0,
            Pointwise::Log => 1,
            Pointwise::Square => 2,
        };
        y.device().launch(&POINTWISE, &Params { len: y.len() as u32, kind }, &[x], &[], &[&y])?;
        let saved = if *self == Pointwise::Exp { y.clone() } else { (*x).clone() };
        Ok(Forward { y, saved: vec![saved] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let (saved, dy) = (&grad.saved[0], grad.dy);
        let dx = grad.out(0, dy.shape())?;
        match self {
            Pointwise::Exp => Arithmetic::Multiply.run(1.0, dy, saved, &dx),
            Pointwise::Log => Arithmetic::Divide.run(1.0, dy, saved, &dx),
            Pointwise::Square => Arithmetic::Multiply.run(2.0, dy, saved, &dx),
        }
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    use crate::engine::self_test::{run_op, seeded};
    let x = seeded(device, &[3, 301], 1)?;
    let mut outputs = run_op(&Pointwise::Exp, &[&x])?;
    outputs.extend(run_op(&Pointwise::Square, &[&x])?);
    // Above 0.
    outputs.extend(run_op(&Pointwise::Log, &[&outputs[0].clone()])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, devices};

    type Formula = fn(f64) -> f64;
    const ALL: [(Pointwise, Formula); 3] =
        [(Pointwise::Exp, f64::exp), (Pointwise::Log, f64::ln), (Pointwise::Square, |x| x * x)];

    #[test]
    fn all_match_their_references() {
        for (op, formula) in ALL {
            for shape in [[1usize, 1], [7, 5], [3, 257]] {
                Check::new(&[&shape])
                    .map(0, move |x| if op == Pointwise::Log { x.abs() + 0.1 } else { x })
                    .reference(move |x| x[0].iter().map(|&x| formula(x)).collect())
                    .run(&op);
            }
        }
    }

    #[test]
    fn values_are_right_from_the_smallest_to_the_largest() {
        let x: Vec<f32> =
            [0.0, 1e-30, 1e-6, 0.5, 1.0, 1.0001, 9.0, 79.0, 81.0, 86.0, 3e18].iter().flat_map(|&v| [v, -v]).collect();
        for device in devices() {
            for (op, formula) in ALL {
                // Drivers differ in what the logarithm of nothing is.
                let within = |x: f32| op != Pointwise::Log || x > 0.0;
                let x: Vec<f32> = x.iter().copied().filter(|&x| within(x)).collect();
                let tensor = Tensor::new(&device, &[x.len()], &x).unwrap();
                let y = op.forward(&[&tensor]).unwrap().y.to_vec().unwrap();
                for (x, y) in x.into_iter().zip(y) {
                    let expected = formula(f64::from(x));
                    if expected > f64::from(f32::MAX) {
                        assert_eq!(y, f32::INFINITY, "{}: {op:?}({x})", device.name());
                        continue;
                    }
                    // WGSL's exp may be off by 3 + 2 |x| ulp, its log by 3 and absolutely by 2^-21 around 1; subnormal
                    // numbers may be 0.
                    let ulps = if op == Pointwise::Exp { 4.0 + 2.0 * f64::from(x.abs().min(104.0)) } else { 4.0 };
                    let near_one = if op == Pointwise::Log { 2f64.powi(-21) } else { 0.0 };
                    let allowed = ulps * 2f64.powi(-23) * expected.abs() + near_one + 1.2e-38;
                    let off = (f64::from(y) - expected).abs();
                    assert!(off <= allowed, "{}: {op:?}({x}) = {y}, not {expected}", device.name());
                }
            }
        }
    }

    #[test]
    fn the_twins_are_right_at_the_ends_of_the_range() {
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(1e30), f32::INFINITY);
        assert!((f64::from(exp(88.7)) / f64::from(88.7f32).exp() - 1.0).abs() < 1e-6);
        assert!(exp(f32::NAN).is_nan() && log(f32::NAN).is_nan() && log(-1.0).is_nan());
        assert_eq!((log(0.0), log(f32::INFINITY)), (f32::NEG_INFINITY, f32::INFINITY));
        for subnormal in [1e-45f32, 3e-42, 1.1e-38] {
            let expected = f64::from(subnormal).ln();
            assert!((f64::from(log(subnormal)) / expected - 1.0).abs() < 1e-6, "{subnormal}");
        }
    }
}
