//! The sum of two tensors, and scaling.

use crate::engine::op::{Backward, Forward, Op, arity};
use crate::engine::primitives::axpby;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// `y = a + b`, two tensors of one shape. `da = db = dy`.
pub struct Add;

impl Op for Add {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [a, b] = inputs else { return Err(arity("add", 2, inputs)) };
        let y = Tensor::empty(a.device(), a.shape())?;
        axpby(1.0, a, 1.0, b, &y)?;
        Ok(Forward { y, saved: vec![] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        for i in 0..2 {
            if grad.needs(i) {
                grad.pass(i, grad.dy.clone())?;
            }
        }
        Ok(())
    }
}

/// `y = a + factor * b`, two tensors of one shape. `da = dy`, `db = factor * dy`.
pub struct AddScaled(
    /// The factor.
    pub f32,
);

impl Op for AddScaled {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [a, b] = inputs else { return Err(arity("add_scaled", 2, inputs)) };
        let y = Tensor::empty(a.device(), a.shape())?;
        axpby(1.0, a, self.0, b, &y)?;
        Ok(Forward { y, saved: vec![] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if grad.needs(0) {
            grad.pass(0, grad.dy.clone())?;
        }
        if grad.needs(1) {
            let db = grad.out(1, grad.dy.shape())?;
            axpby(self.0, grad.dy, 0.0, grad.dy, &db)?;
        }
        Ok(())
    }
}

/// `y = factor * x`. `dx = factor * dy`.
pub struct Scale(
    /// The factor.
    pub f32,
);

impl Op for Scale {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(arity("scale", 1, inputs)) };
        let y = Tensor::empty(x.device(), x.shape())?;
        axpby(self.0, x, 0.0, x, &y)?;
        Ok(Forward { y, saved: vec![] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let dx = grad.out(0, grad.dy.shape())?;
        axpby(self.0, grad.dy, 0.0, grad.dy, &dx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::Check;

    #[test]
    fn add_and_scale_match_their_references() {
        Check::new(&[&[2, 3, 5], &[2, 3, 5]])
            .reference(|x| x[0].iter().zip(&x[1]).map(|(a, b)| a + b).collect())
            .run(&Add);
        Check::new(&[&[2, 3, 5], &[2, 3, 5]])
            .reference(|x| x[0].iter().zip(&x[1]).map(|(a, b)| a - 2.5 * b).collect())
            .run(&AddScaled(-2.5));
        Check::new(&[&[7, 11]]).reference(|x| x[0].iter().map(|a| -1.5 * a).collect()).run(&Scale(-1.5));
    }

    #[test]
    fn summands_of_different_shapes_are_refused() {
        let device = crate::engine::device::Device::cpu();
        let [a, b] = [[2, 3], [3, 2]].map(|shape| Tensor::full(&device, &shape, 1.0).unwrap());
        let message = Add.forward(&[&a, &b]).err().unwrap().to_string();
        assert!(message.contains("[2, 3]") && message.contains("[3, 2]"), "{message}");
    }
}
