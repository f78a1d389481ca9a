//! Product, difference and quotient of two tensors; their sum is [`Add`](crate::engine::ops::elementwise::Add).

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, arity};
use crate::engine::ops::sum_axes::sum_middle;
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&ARITHMETIC];

/// `y = a op b`, element by element, of the shape of a.
///
/// b has the shape of a, or that of its innermost axes (such as `[C]` for a of `[N, H, W, C]`), or a single element: it
/// then repeats, and its gradient is the sum over all that it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `y = a b`. `da = dy b`, `db = dy a`.
    Multiply,
    /// `y = a - b`. `da = dy`, `db = -dy`.
    Subtract,
    /// `y = a / b`. `da = dy / b`, `db = -dy y / b`. Infinite or NaN where b is 0.
    Divide,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    period: u32,
    kind: u32,
    factor: f32,
}

static ARITHMETIC: Kernel<Params> = Kernel {
    name: "arithmetic",
    bodies: &[Body::proved(kernel_text!("arithmetic"), &|p, _| Plan::linear(p.len as usize).each(2.0))],
    twin: &arithmetic_twin,
};

fn arithmetic_twin(p: &Params, args: Args) -> Result<()> {
    let ([a, b], [], [y]) = args.split()?;
    let factor = p.factor;
    match p.kind {
        0 => map(a, b, y, move |a, b| factor * (a * b)),
        1 => map(a, b, y, move |a, b| factor * (a - b)),
        _ => map(a, b, y, move |a, b| factor * (a / b)),
    }
    Ok(())
}

#[inline(always)]
fn map(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync) {
    if let &[b] = b {
        blocks::map((y, BLOCK), (a, BLOCK), |_, y, a| {
            y.iter_mut().zip(a).for_each(move |(y, a)| *y = f(*a, b));
        });
    } else if b.len() == a.len() {
        blocks::zip((y, BLOCK), (a, BLOCK), (b, BLOCK), |_, y, a, b| {
            y.iter_mut().zip(a).zip(b).for_each(move |((y, a), b)| *y = f(*a, *b));
        });
    } else {
        // Whole periods to each task.
        let block = (BLOCK / b.len()).max(1) * b.len();
        blocks::map((y, block), (a, block), |_, y, a| {
            for (y, a) in y.chunks_exact_mut(b.len()).zip(a.chunks_exact(b.len())) {
                y.iter_mut().zip(a).zip(b).for_each(move |((y, a), b)| *y = f(*a, *b));
            }
        });
    }
}

impl Arithmetic {
    /// `y = factor * (a op b)`; b repeats.
    pub(super) fn run(self, factor: f32, a: &Tensor, b: &Tensor, y: &Tensor) -> Result<()> {
        let kind = match self {
            Arithmetic::Multiply => 0,
            Arithmetic::Subtract => 1,
            Arithmetic::Divide => 2,
        };
        let params = Params { len: a.len() as u32, period: b.len() as u32, kind, factor };
        y.device().launch(&ARITHMETIC, &params, &[a, b], &[], &[y])
    }
}

impl Op for Arithmetic {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [a, b] = inputs else { return Err(arity("arithmetic", 2, inputs)) };
        crate::ensure!(
            b.len() == 1 || a.shape().ends_with(b.shape()),
            Error::input(
                "the second tensor has neither the shape of the first nor that of its innermost axes",
                format!("{:?} and {:?}", a.shape(), b.shape()),
                "give both one shape"
            )
            .of(ErrorKind::Shape)
        );
        let y = Tensor::empty(a.device(), a.shape())?;
        self.run(1.0, a, b, &y)?;
        // What the gradient of b is made of, and b.
        let factor = match self {
            Arithmetic::Multiply => (*a).clone(),
            Arithmetic::Subtract => (*b).clone(),
            Arithmetic::Divide => y.clone(),
        };
        Ok(Forward { y, saved: vec![factor, (*b).clone()] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (saved, dy) = (grad.saved, grad.dy);
        let (factor, b) = (&saved[0], &saved[1]);
        if grad.needs(0) {
            match self {
                Arithmetic::Subtract => grad.pass(0, dy.clone())?,
                _ => self.run(1.0, dy, b, &grad.out(0, dy.shape())?)?,
            }
        }
        if grad.needs(1) {
            let db = grad.out(1, b.shape())?;
            // One value for each element of a, which are summed where b repeats.
            let whole = if b.len() == dy.len() { db.clone() } else { Tensor::empty(dy.device(), dy.shape())? };
            match self {
                Arithmetic::Multiply => self.run(1.0, dy, factor, &whole)?,
                Arithmetic::Subtract => crate::engine::primitives::axpby(-1.0, dy, 0.0, dy, &whole)?,
                Arithmetic::Divide => {
                    let quotient = Tensor::empty(dy.device(), dy.shape())?;
                    self.run(-1.0, dy, b, &quotient)?;
                    Arithmetic::Multiply.run(1.0, &quotient, factor, &whole)?;
                }
            }
            if b.len() != dy.len() {
                sum_middle(&whole, 1, b.len(), &db)?;
            }
        }
        Ok(())
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    use crate::engine::self_test::{run_op, seeded};
    let (a, b) = (seeded(device, &[3, 301], 1)?, seeded(device, &[3, 301], 2)?);
    let mut outputs = run_op(&Arithmetic::Multiply, &[&a, &b])?;
    outputs.extend(run_op(&Arithmetic::Subtract, &[&a, &seeded(device, &[301], 3)?])?);
    // A divisor that is nowhere near 0.
    outputs.extend(run_op(&Arithmetic::Divide, &[&a, &Tensor::full(device, &[3, 301], 1.7)?])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tape::Tape;
    use crate::engine::testing::check::{Check, devices};

    const ALL: [Arithmetic; 3] = [Arithmetic::Multiply, Arithmetic::Subtract, Arithmetic::Divide];

    fn formula(op: Arithmetic, a: f64, b: f64) -> f64 {
        match op {
            Arithmetic::Multiply => a * b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Divide => a / b,
        }
    }

    #[test]
    fn all_match_their_references_whether_or_not_the_second_tensor_repeats() {
        let shapes: [(&[usize], &[usize]); 6] = [
            (&[1], &[1]),
            (&[7, 5], &[7, 5]),
            (&[3, 257], &[3, 257]),
            (&[2, 3, 5], &[5]),
            (&[2, 3, 5], &[3, 5]),
            (&[4, 333], &[1]),
        ];
        for op in ALL {
            for (a, b) in shapes {
                Check::new(&[a, b])
                    // Away from 0, which a quotient cannot be near.
                    .map(1, |b| b + b.signum())
                    .reference(move |x| {
                        x[0].iter().zip(x[1].iter().cycle()).map(|(&a, &b)| formula(op, a, b)).collect()
                    })
                    .run(&op);
            }
        }
    }

    #[test]
    fn a_tensor_times_itself_has_twice_itself_as_its_gradient() {
        for device in devices() {
            let tape = Tape::new();
            let x = tape.leaf(Tensor::new(&device, &[3], &[1.0, -2.0, 0.5]).unwrap());
            let y = tape.apply(Arithmetic::Multiply, &[&x, &x]).unwrap();
            assert_eq!(y.value().to_vec().unwrap(), [1.0, 4.0, 0.25]);
            let gradients = tape.backward(y).unwrap();
            assert_eq!(gradients.get(&x).unwrap().to_vec().unwrap(), [2.0, -4.0, 1.0], "{}", device.name());
        }
    }

    #[test]
    fn other_shapes_are_refused_with_both() {
        let tensor = |shape: &[usize]| Tensor::full(&Device::cpu(), shape, 1.0).unwrap();
        for (a, b) in [(&[2, 3][..], &[3, 2][..]), (&[6], &[2, 3]), (&[2, 3], &[2]), (&[2], &[4])] {
            let error = Arithmetic::Multiply.forward(&[&tensor(a), &tensor(b)]).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Shape);
            assert!(error.to_string().contains(&format!("{a:?} and {b:?}")), "{error}");
        }
    }
}
