//! Transposed convolution: the input gradient of a convolution, run forwards.

use crate::engine::device::{AnyKernel, Device};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::conv2d::{self, Activation, Geometry, Layout, Padding};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// None of its own: it runs those of [`conv2d`].
pub const KERNELS: &[&dyn AnyKernel] = &[];

/// `y[n, i, j, o] = act(b[o] + sum of x[n, p, q, c] w[ky, kx, c, o] over p s + ky - top = i, q s + kx - left = j and
/// c)`.
///
/// Inputs x `[N, H, W, C]`, w `[Kh, Kw, C, O]` and, where there is a bias, b `[O]`; output y `[N, s H, s W, O]`. The
/// padding is TensorFlow's "same": `top = max(Kh - s, 0) / 2`, rounded down. The convolution whose input gradient this
/// is reads pictures of O channels and makes C, so its weights are w with the last two axes exchanged. With `dz = dy
/// act'(y)`, `dx` is that convolution of dz, and `dw` its weight gradient for input dz and output gradient x.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose2d {
    /// Output pixels from one input pixel to the next, s.
    pub stride: usize,
    /// What follows the bias.
    pub activation: Activation,
}

impl ConvTranspose2d {
    /// `[N, s H, s W, O]` for x `[N, H, W, C]` and w `[Kh, Kw, C, O]`.
    ///
    /// # Errors
    /// Shapes that do not fit together.
    pub fn output_shape(&self, x: &[usize], w: &[usize]) -> Result<[usize; 4]> {
        Ok(self.geometry(x, w)?.input_shape())
    }

    /// That of the convolution which takes y to x.
    fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        let (&[n, height, width, c], &[kh, kw, channels, o]) = (x, w) else {
            return Err(Error::input(
                "a transposed convolution takes pictures [N, H, W, C] and weights [Kh, Kw, C, O]",
                format!("{x:?} and {w:?}"),
                "reshape them",
            ));
        };
        crate::ensure!(
            c == channels,
            Error::input(
                format!("the weights read {channels} channels, the pictures have {c}"),
                format!("{x:?} and {w:?}"),
                "give both the same number"
            )
        );
        let enlarged = |size: usize| {
            size.checked_mul(self.stride).ok_or_else(|| {
                let sizes = format!("{x:?}, stride {}", self.stride);
                Error::input("a transposed convolution that is too large", sizes, "use a smaller stride")
            })
        };
        let y = [n, enlarged(height)?, enlarged(width)?, o];
        Geometry::new(&y, &[kh, kw, o, c], self.stride, 1, Padding::Same)
    }
}

impl Op for ConvTranspose2d {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let (x, w, b) = conv2d::with_bias("conv_transpose2d", inputs)?;
        let geometry = self.geometry(x.shape(), w.shape())?;
        conv2d::check_bias(b, geometry.c)?;
        let y = Tensor::empty(x.device(), &geometry.input_shape())?;
        conv2d::input_gradient(&geometry, Layout::Hwoi, self.activation, x, w, b, &y)?;
        let mut saved = vec![(*x).clone(), (*w).clone()];
        if self.activation == Activation::Relu {
            saved.push(y.clone());
        }
        Ok(Forward { y, saved })
    }

    fn saves(&self, i: usize) -> Saves {
        // x, w and, for the rectifier, y.
        if i == 1 { Saves::Exact } else { Saves::Activations }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let saved = grad.saved;
        let (x, w) = (&saved[0], &saved[1]);
        let geometry = self.geometry(x.shape(), w.shape())?;
        expect_shape("a gradient", grad.dy, &geometry.input_shape())?;
        let dz = conv2d::before_activation(grad, saved.get(2))?;
        if grad.needs(1) {
            let dw = grad.out(1, w.shape())?;
            conv2d::weight_gradient(&geometry, Layout::Hwoi, &dz, x, &dw)?;
        }
        if grad.needs(0) {
            let dx = grad.out(0, x.shape())?;
            conv2d::forward(&geometry, Layout::Hwoi, Activation::None, &dz, w, None, &dx)?;
        }
        Ok(())
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 4, 6], 1)?;
    let w = crate::engine::self_test::seeded(device, &[4, 4, 6, 3], 2)?;
    let b = crate::engine::self_test::seeded(device, &[3], 3)?;
    crate::engine::self_test::run_op(&ConvTranspose2d { stride: 2, activation: Activation::Relu }, &[&x, &w, &b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, Tolerance, cases};
    use proptest::prelude::*;
    use std::cell::Cell;

    /// The definition as a scatter: every input pixel adds its weights to the output pixels it reaches.
    fn reference(stride: usize, relu: bool, x: [usize; 4], w: [usize; 4], inputs: &[Vec<f64>]) -> Vec<f64> {
        let ([n, height, width, c], [kh, kw, _, o]) = (x, w);
        let (tall, wide) = (height * stride, width * stride);
        let (top, left) = (kh.saturating_sub(stride) / 2, kw.saturating_sub(stride) / 2);
        let mut y = vec![0.0; n * tall * wide * o];
        if let Some(bias) = inputs.get(2) {
            y.iter_mut().enumerate().for_each(|(i, y)| *y = bias[i % o]);
        }
        for pixel in 0..n * height * width {
            let (picture, p, q) = (pixel / (height * width), pixel / width % height, pixel % width);
            for tap in 0..kh * kw {
                let (i, j) = (p * stride + tap / kw, q * stride + tap % kw);
                if i < top || j < left || i - top >= tall || j - left >= wide {
                    continue;
                }
                let target = ((picture * tall + i - top) * wide + j - left) * o;
                for channel in 0..c {
                    for output in 0..o {
                        y[target + output] +=
                            inputs[0][pixel * c + channel] * inputs[1][(tap * c + channel) * o + output];
                    }
                }
            }
        }
        y.into_iter().map(|y: f64| if relu { y.max(0.0) } else { y }).collect()
    }

    fn check(stride: usize, relu: bool, x: [usize; 4], w: [usize; 4]) {
        let activation = if relu { Activation::Relu } else { Activation::None };
        let products = w[0] * w[1] * w[2];
        let longest = (w[0] * w[1] * w[3]).max(x[0] * x[1] * x[2]);
        let index = Cell::new(0);
        Check::new(&[&x, &w, &[w[3]]])
            .map(2, |v| {
                // Behind a ReLU, channels lie far above or far below the kink, in turn.
                let far = if relu { 8.0 * (products as f32).sqrt() } else { 0.0 };
                index.set(index.get() + 1);
                if index.get() % 2 == 1 { v + far } else { v - far }
            })
            .reference(move |inputs| reference(stride, relu, x, w, inputs))
            .tolerance(Tolerance::Dot(products))
            .grad_tolerance(Tolerance::Dot(longest))
            .run(&ConvTranspose2d { stride, activation });
    }

    #[test]
    fn transposed_convolutions_match_their_reference() {
        check(2, false, [1, 4, 5, 8], [4, 4, 8, 4]);
        check(2, true, [2, 3, 3, 5], [4, 4, 5, 3]);
        check(1, true, [1, 6, 5, 4], [3, 3, 4, 4]);
        check(1, false, [1, 5, 4, 3], [3, 3, 3, 1]);
        check(3, false, [1, 3, 2, 1], [2, 5, 1, 2]);
    }

    #[test]
    fn many_blocks_of_pixels_and_slabs_of_weights_match_their_reference() {
        check(2, false, [1, 24, 23, 2], [4, 4, 2, 3]);
        check(1, false, [1, 4, 5, 90], [3, 3, 90, 4]);
    }

    #[test]
    fn without_a_bias_it_matches_its_reference() {
        let (x, w) = ([1, 3, 4, 4], [4, 4, 4, 8]);
        Check::new(&[&x, &w])
            .reference(move |inputs| reference(2, false, x, w, inputs))
            .tolerance(Tolerance::Dot(64))
            .grad_tolerance(Tolerance::Dot(128))
            .run(&ConvTranspose2d { stride: 2, activation: Activation::None });
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn transposed_convolutions_of_any_geometry_match_their_reference(
            size in (1usize..3, 1usize..6, 1usize..6),
            kernel in (1usize..5, 1usize..5),
            channels in (1usize..7, 1usize..7),
            stride in 1usize..4,
            relu in any::<bool>(),
        ) {
            check(stride, relu, [size.0, size.1, size.2, channels.0], [kernel.0, kernel.1, channels.0, channels.1]);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_that_name_them() {
        let device = Device::cpu();
        let tensor = |shape: &[usize]| Tensor::full(&device, shape, 0.0).unwrap();
        let message = |stride: usize, x: &[usize], w: &[usize], b: &[usize]| {
            let op = ConvTranspose2d { stride, activation: Activation::None };
            let error = op.forward(&[&tensor(x), &tensor(w), &tensor(b)]).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(message(2, &[1, 4, 4, 3], &[4, 4, 2, 8], &[8]).contains("read 2 channels, the pictures have 3"));
        assert!(message(2, &[1, 4, 4, 2], &[4, 4, 2, 8], &[2]).contains("a bias of shape [8]"));
        assert!(message(2, &[4, 4, 2], &[4, 4, 2, 8], &[8]).contains("[N, H, W, C]"));
        assert!(message(0, &[1, 4, 4, 2], &[4, 4, 2, 8], &[8]).contains("stride 0"));
    }
}
