//! Activation functions that work element by element and whose gradient follows from their output.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::vector_math::exp;
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&ACTIVATION, &ACTIVATION_GRAD];

/// `y = f(x)` for a tensor of any shape; `dx = dy f'(x)`, where f' is written by y alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// x where x >= 0, else `slope * x` (Maas, Hannun, Ng, 2013); `f' = 1` or `slope`, which must be above 0.
    LeakyRelu {
        /// Slope of the negative side (Keras: 0.3).
        slope: f32,
    },
    /// x where x >= 0, else `alpha * (e^x - 1)` (Clevert, Unterthiner, Hochreiter, 2016, eq. 15); `f' = 1` or `y +
    /// alpha`.
    Elu {
        /// Minus the limit for small x, above 0 (usually 1).
        alpha: f32,
    },
    /// The hyperbolic tangent; `f' = 1 - y^2`.
    Tanh,
    /// `1 / (1 + e^-x)`; `f' = y (1 - y)`.
    Sigmoid,
}

impl Activation {
    /// The leaky ReLU in its other form: x where x >= 0, else `x / a`.
    pub fn leaky_relu_over(a: f32) -> Self {
        Activation::LeakyRelu { slope: 1.0 / a }
    }

    /// The kernels' number of this function, and its parameter.
    fn code(self) -> (u32, f32) {
        match self {
            Activation::LeakyRelu { slope } => (0, slope),
            Activation::Elu { alpha } => (1, alpha),
            Activation::Tanh => (2, 0.0),
            Activation::Sigmoid => (3, 0.0),
        }
    }
}

impl std::fmt::Display for Activation {
    /// `leaky relu 0.3`, `tanh`: as a summary of layers names it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Activation::LeakyRelu { slope } => write!(f, "leaky relu {slope}"),
            Activation::Elu { alpha } => write!(f, "elu {alpha}"),
            Activation::Tanh => f.write_str("tanh"),
            Activation::Sigmoid => f.write_str("sigmoid"),
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    kind: u32,
    a: f32,
    /// Whether the gradient of y is the sum of two tensors.
    summed: u32,
}

impl Params {
    fn new(activation: Activation, y: &Tensor) -> Self {
        let (kind, a) = activation.code();
        Params { len: y.len() as u32, kind, a, summed: 0 }
    }
}

static ACTIVATION: Kernel<Params> = Kernel {
    name: "activation",
    bodies: &[Body::proved(kernel_text!("activation"), &|p, _| Plan::linear(p.len as usize).each(2.0))],
    twin: &activation_twin,
};

// Comparisons are such that a NaN passes through all of these: training notices it.

fn activation_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let a = p.a;
    match p.kind {
        0 => map(x, y, move |x| if x < 0.0 { a * x } else { x }),
        1 => map(x, y, move |x| if x < 0.0 { a * exp_minus_one(x) } else { x }),
        2 => map(x, y, tanh),
        _ => map(x, y, sigmoid),
    }
    Ok(())
}

#[inline(always)]
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Send + Sync) {
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| {
        // `move`, so that each block has a copy of what `f` holds: no store can reach that, and the compiler makes
        // vector code.
        y.iter_mut().zip(x).for_each(move |(y, x)| *y = f(*x));
    });
}

/// `e^x - 1` for x <= 0: the series where the difference would cancel.
#[inline(always)]
fn exp_minus_one(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0)))));
    if x > -0.35 { series } else { exp(x) - 1.0 }
}

/// `tanh |x| = -m / (m + 2)` with `m = e^(-2 |x|) - 1`.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let m = exp_minus_one(-2.0 * x.abs());
    (if x < 0.0 { m } else { -m }) / (m + 2.0)
}

/// `1 / (1 + e^-x)` without overflow.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

static ACTIVATION_GRAD: Kernel<Params> = Kernel {
    name: "activation_grad",
    bodies: &[Body::proved(kernel_text!("activation_grad"), &|p, _| Plan::linear(p.len as usize).each(2.0))],
    twin: &activation_grad_twin,
};

fn activation_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([y, dy, more], [], [dx]) = args.split()?;
    let a = p.a;
    blocks::zip((dx, BLOCK), (dy, BLOCK), (more, BLOCK), |block, dx, dy, more| {
        let y = &y[block * BLOCK..];
        match p.summed {
            0 => dx.copy_from_slice(dy),
            _ => dx.iter_mut().zip(dy).zip(more).for_each(|((dx, dy), more)| *dx = dy + more),
        }
        match p.kind {
            0 => scale_by(y, dx, move |y| if y < 0.0 { a } else { 1.0 }),
            1 => scale_by(y, dx, move |y| if y < 0.0 { y + a } else { 1.0 }),
            2 => scale_by(y, dx, |y| (1.0 - y) * (1.0 + y)),
            _ => scale_by(y, dx, |y| y * (1.0 - y)),
        }
    });
    Ok(())
}

#[inline(always)]
fn scale_by(y: &[f32], dx: &mut [f32], slope: impl Fn(f32) -> f32 + Copy) {
    // `move` as above.
    dx.iter_mut().zip(y).for_each(move |(dx, y)| *dx *= slope(*y));
}

impl Op for Activation {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("activation", 1, inputs)) };
        if let Activation::LeakyRelu { slope: a } | Activation::Elu { alpha: a } = *self {
            // Otherwise the output would not tell on which side the input lay.
            crate::ensure!(
                a > 0.0 && a.is_finite(),
                Error::input("the negative side of an activation needs a parameter above 0", a, "use 0.01 to 1")
            );
        }
        let y = Tensor::empty(x.device(), x.shape())?;
        y.device().launch(&ACTIVATION, &Params::new(*self, &y), &[x], &[], &[&y])?;
        // The next layer keeps the output anyway.
        Ok(Forward { saved: vec![y.clone()], y })
    }

    fn saves(&self, _i: usize) -> Saves {
        match self {
            Activation::LeakyRelu { .. } => Saves::Activations,
            // Their slopes are what y lacks to a limit.
            Activation::Elu { .. } | Activation::Tanh | Activation::Sigmoid => Saves::Exact,
        }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        same_shape(grad.dy, &grad.saved[0])?;
        grad.more.map_or(Ok(()), |more| same_shape(more, grad.dy))?;
        let (y, dx) = (&grad.saved[0], grad.out(0, grad.dy.shape())?);
        let params = Params { summed: u32::from(grad.more.is_some()), ..Params::new(*self, &dx) };
        let (dy, more) = (grad.dy, grad.more.unwrap_or(grad.dy));
        dx.device().launch(&ACTIVATION_GRAD, &params, &[y, dy, more], &[], &[&dx])
    }

    fn adds(&self) -> bool {
        true
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301], 1)?;
    let mut outputs = Vec::new();
    for activation in
        [Activation::LeakyRelu { slope: 0.3 }, Activation::Elu { alpha: 1.0 }, Activation::Tanh, Activation::Sigmoid]
    {
        outputs.extend(crate::engine::self_test::run_op(&activation, &[&x])?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, devices};

    type Formula = fn(f64) -> f64;

    fn check(activation: Activation, f: Formula) {
        // No single element: where tanh is nearly 1, the rounding of y alone is a large share of 1 - y^2.
        for shape in [[1usize, 3], [7, 5], [3, 257]] {
            Check::new(&[&shape])
                // Over more of the range, and away from the kink at 0.
                .map(0, |x| 2.0 * if x.abs() < 0.01 { x + 0.1 } else { x })
                .reference(move |x| x[0].iter().map(|&v| f(v)).collect())
                .run(&activation);
        }
    }

    #[test]
    fn activations_match_their_references() {
        check(Activation::LeakyRelu { slope: 0.25 }, |x| if x < 0.0 { 0.25 * x } else { x });
        check(Activation::leaky_relu_over(5.5), |x| if x < 0.0 { x / 5.5 } else { x });
        check(Activation::Elu { alpha: 1.5 }, |x| if x < 0.0 { 1.5 * x.exp_m1() } else { x });
        check(Activation::Tanh, f64::tanh);
        check(Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
    }

    #[test]
    fn values_are_right_near_zero_and_far_out() {
        let x: Vec<f32> = [0.0, 1e-20, 1e-6, 3e-3, 0.17, 0.18, 0.35, 1.0, 9.0, 50.0, 1000.0, 3e38]
            .iter()
            .flat_map(|&v: &f32| [v, -v])
            .collect();
        let cases: [(Activation, Formula); 3] = [
            (Activation::Elu { alpha: 1.0 }, |x| if x < 0.0 { x.exp_m1() } else { x }),
            (Activation::Tanh, f64::tanh),
            (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        ];
        for device in devices() {
            for (activation, f) in cases {
                let tensor = Tensor::new(&device, &[x.len()], &x).unwrap();
                let y = activation.forward(&[&tensor]).unwrap().y.to_vec().unwrap();
                for (&x, y) in x.iter().zip(y) {
                    let expected = f(f64::from(x));
                    // A few roundings and WGSL's exp, which may be off by 3 + 2 |x| ulp; exponentials end at e^-87.
                    let ulps = 8.0 + 2.0 * f64::from(x.abs().min(88.0));
                    let allowed = ulps * 2f64.powi(-23) * expected.abs() + 1.7e-38;
                    let got = f64::from(y);
                    assert!((got - expected).abs() <= allowed, "{}: {activation:?}({x}) = {y}", device.name());
                }
            }
        }
    }

    #[test]
    fn a_nan_passes_through_on_the_cpu() {
        let x = Tensor::new(&Device::cpu(), &[1], &[f32::NAN]).unwrap();
        for activation in [
            Activation::LeakyRelu { slope: 0.3 },
            Activation::Elu { alpha: 1.0 },
            Activation::Tanh,
            Activation::Sigmoid,
        ] {
            assert!(activation.forward(&[&x]).unwrap().y.item().unwrap().is_nan(), "{activation:?}");
        }
    }

    #[test]
    fn a_negative_side_without_a_slope_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1], 1.0).unwrap();
        for activation in [Activation::LeakyRelu { slope: 0.0 }, Activation::Elu { alpha: -1.0 }] {
            assert_eq!(activation.forward(&[&x]).err().unwrap().exit_code(), 2);
        }
    }
}
