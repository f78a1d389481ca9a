//! The dense layer: a matrix product with a bias, run as a convolution of 1x1 pixels.

use crate::engine::device::{AnyKernel, Device};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::conv2d::{self, Activation, Geometry, Layout, Padding};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// None of its own: it runs those of [`conv2d`].
pub const KERNELS: &[&dyn AnyKernel] = &[];

/// `y = x w + b`: x `[N, K]`, or of any other shape with N first and K elements for each; w `[K, O]`, b `[O]`; y `[N,
/// O]`.
///
/// `dx = dy w^T`, `dw = x^T dy`, db is the sum of dy over N.
#[derive(Debug, Clone, Copy)]
pub struct Dense;

/// N pictures of one pixel, K channels in and O out.
fn geometry(x: &Tensor, w: &Tensor) -> Result<Geometry> {
    let n = x.shape().first().copied().unwrap_or(1);
    let &[k, o] = w.shape() else {
        return Err(Error::input("a dense layer takes weights [K, O]", format!("{:?}", w.shape()), "reshape them"));
    };
    crate::ensure!(
        n.checked_mul(k) == Some(x.len()),
        Error::input(
            format!("the weights read {k} values, the input has {} for each of {n}", x.len() / n.max(1)),
            format!("{:?} and {:?}", x.shape(), w.shape()),
            "give both the same number"
        )
    );
    Geometry::new(&[n, 1, 1, k], &[1, 1, k, o], 1, 1, Padding::Same)
}

impl Op for Dense {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let (x, w, b) = conv2d::with_bias("dense", inputs)?;
        let geometry = geometry(x, w)?;
        conv2d::check_bias(b, geometry.o)?;
        let y = Tensor::empty(x.device(), &[geometry.n as usize, geometry.o as usize])?;
        conv2d::forward(&geometry, Layout::Hwio, Activation::None, x, w, b, &y)?;
        Ok(Forward { y, saved: vec![(*x).clone(), (*w).clone()] })
    }

    fn saves(&self, i: usize) -> Saves {
        // x and w.
        if i == 1 { Saves::Exact } else { Saves::Activations }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (saved, dy) = (grad.saved, grad.dy);
        let (x, w) = (&saved[0], &saved[1]);
        let geometry = geometry(x, w)?;
        expect_shape("a gradient", dy, &[geometry.n as usize, geometry.o as usize])?;
        if grad.needs(2) {
            let db = grad.out(2, &[geometry.o as usize])?;
            conv2d::bias_gradient(&dy.reshape(&geometry.output_shape())?, &db)?;
        }
        if grad.needs(1) {
            let dw = grad.out(1, w.shape())?;
            conv2d::weight_gradient(&geometry, Layout::Hwio, x, dy, &dw)?;
        }
        if grad.needs(0) {
            let dx = grad.out(0, x.shape())?;
            conv2d::input_gradient(&geometry, Layout::Hwio, Activation::None, dy, w, None, &dx)?;
        }
        Ok(())
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[5, 12], 1)?;
    let w = crate::engine::self_test::seeded(device, &[12, 3], 2)?;
    let b = crate::engine::self_test::seeded(device, &[3], 3)?;
    crate::engine::self_test::run_op(&Dense, &[&x, &w, &b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, Tolerance, cases};
    use proptest::prelude::*;

    fn check(x: &[usize], k: usize, o: usize) {
        let n = x[0];
        Check::new(&[x, &[k, o], &[o]])
            .reference(move |x| {
                let product = |row: usize, column: usize| -> f64 {
                    (0..k).map(|i| x[0][row * k + i] * x[1][i * o + column]).sum::<f64>() + x[2][column]
                };
                (0..n * o).map(|i| product(i / o, i % o)).collect()
            })
            .tolerance(Tolerance::Dot(k + 1))
            .grad_tolerance(Tolerance::Dot(n.max(o)))
            .run(&Dense);
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn dense_layers_match_their_reference(n in 1usize..20, k in 1usize..40, o in 1usize..12) {
            check(&[n, k], k, o);
        }
    }

    #[test]
    fn pictures_are_read_as_rows() {
        check(&[3, 2, 2, 64], 256, 1);
    }

    #[test]
    fn sizes_that_differ_are_refused() {
        let device = Device::cpu();
        let tensor = |shape: &[usize]| Tensor::full(&device, shape, 1.0).unwrap();
        let error = |x: &[usize], w: &[usize], b: &[usize]| {
            let error = Dense.forward(&[&tensor(x), &tensor(w), &tensor(b)]).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(error(&[2, 5], &[4, 3], &[3]).contains("read 4 values, the input has 5"));
        assert!(error(&[2, 4], &[4, 3], &[2]).contains("[3]"));
        assert!(error(&[2, 4], &[4], &[4]).contains("[K, O]"));
    }
}
