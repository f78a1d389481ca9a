//! The largest of each window of 2x2 pixels.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&MAX_POOL2D, &MAX_POOL2D_GRAD];

/// The sizes of the large picture; `len` counts what is written.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    height: u32,
    width: u32,
    channels: u32,
}

impl Params {
    fn new(len: usize, [_, height, width, channels]: [usize; 4]) -> Self {
        Params { len: len as u32, height: height as u32, width: width as u32, channels: channels as u32 }
    }

    /// Elements of a row of the large picture and of the small one.
    fn row_lens(&self) -> (usize, usize) {
        let channels = self.channels as usize;
        (self.width as usize * channels, self.width as usize / 2 * channels)
    }

    /// Where the two rows of row `index` of all small pictures start in the large ones.
    fn rows(&self, index: usize) -> [usize; 2] {
        let (large, _) = self.row_lens();
        let (picture, row) = (index / (self.height as usize / 2), index % (self.height as usize / 2));
        let first = (picture * self.height as usize + 2 * row) * large;
        [first, first + large]
    }
}

static MAX_POOL2D: Kernel<Params> = Kernel {
    name: "max_pool2d",
    bodies: &[Body::proved(kernel_text!("max_pool2d"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &max_pool2d_twin,
};

fn max_pool2d_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (channels, (large, small)) = (p.channels as usize, p.row_lens());
    blocks::write((y, small), |index, y| {
        let [above, below] = p.rows(index).map(|start| x[start..start + large].chunks_exact(2 * channels));
        for ((y, above), below) in y.chunks_exact_mut(channels).zip(above).zip(below) {
            for (c, y) in y.iter_mut().enumerate() {
                *y = larger(larger(above[c], above[c + channels]), larger(below[c], below[c + channels]));
            }
        }
    });
    Ok(())
}

/// The larger of two; not `max`: a NaN stays one, and training notices it.
fn larger(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

static MAX_POOL2D_GRAD: Kernel<Params> = Kernel {
    name: "max_pool2d_grad",
    bodies: &[Body::proved(kernel_text!("max_pool2d_grad"), &|p, _| Plan::linear(p.len as usize))],
    twin: &max_pool2d_grad_twin,
};

fn max_pool2d_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, dy], [], [dx]) = args.split()?;
    let (channels, (large, small)) = (p.channels as usize, p.row_lens());
    let (picture, tall) = (p.height as usize * large, p.height as usize / 2);
    blocks::write((dx, picture), |n, dx| {
        dx.fill(0.0);
        for index in n * tall..(n + 1) * tall {
            let [above, below] = p.rows(index);
            for (i, &dy) in dy[index * small..(index + 1) * small].iter().enumerate() {
                let left = 2 * (i / channels) * channels + i % channels;
                let window = [above + left, above + left + channels, below + left, below + left + channels];
                // As `larger`, and of equals the first.
                let beats = |a: f32, b: f32| (a > b || a.is_nan()) && !b.is_nan();
                let largest = window.into_iter().reduce(|best, at| if beats(x[at], x[best]) { at } else { best });
                dx[largest.unwrap_or(window[0]) - n * picture] = dy;
            }
        }
    });
    Ok(())
}

/// x `[N, H, W, C]` to y `[N, H / 2, W / 2, C]`, sizes rounded down: the largest of each 2x2 window, as TensorFlow's
/// "valid".
///
/// dy goes to the largest pixel of the window; of equals, to the first in row order. A NaN is above all numbers: it is
/// the output, and gets the gradient.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d;

impl Op for MaxPool2d {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("max_pool2d", 1, inputs)) };
        let [n, height, width, channels] = x.nhwc()?;
        crate::ensure!(
            height >= 2 && width >= 2,
            Error::input("2x2 pooling needs pictures of 2x2 pixels", format!("{:?}", x.shape()), "take larger ones")
        );
        let y = Tensor::empty(x.device(), &[n, height / 2, width / 2, channels])?;
        y.device().launch(&MAX_POOL2D, &Params::new(y.len(), x.nhwc()?), &[x], &[], &[&y])?;
        Ok(Forward { y, saved: vec![(*x).clone()] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let x = &grad.saved[0];
        let [n, height, width, channels] = x.nhwc()?;
        expect_shape("a gradient", grad.dy, &[n, height / 2, width / 2, channels])?;
        let dx = grad.out(0, x.shape())?;
        dx.device().launch(&MAX_POOL2D_GRAD, &Params::new(x.len(), x.nhwc()?), &[x, grad.dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    crate::engine::self_test::run_op(&MaxPool2d, &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases, devices};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn pooling_matches_its_reference_on_odd_shapes(n in 1usize..3, h in 2usize..8, w in 2usize..9, c in 1usize..5) {
            Check::new(&[&[n, h, w, c]])
                .reference(move |x| {
                    let mut y = Vec::new();
                    for at in 0..n * (h / 2) * (w / 2) * c {
                        let (k, j, line) = (at % c, at / c % (w / 2), at / c / (w / 2));
                        let (i, picture) = (line % (h / 2), line / (h / 2));
                        let pixel = |di, dj| x[0][((picture * h + 2 * i + di) * w + 2 * j + dj) * c + k];
                        y.push(pixel(0, 0).max(pixel(0, 1)).max(pixel(1, 0)).max(pixel(1, 1)));
                    }
                    y
                })
                .run(&MaxPool2d);
        }
    }

    #[test]
    fn of_equals_the_first_gets_the_gradient_and_the_rest_of_an_odd_size_none() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 3, 3, 1], &[1.0, 2.0, 9.0, 2.0, 2.0, 9.0, 9.0, 9.0, 9.0]).unwrap();
            let forward = MaxPool2d.forward(&[&x]).unwrap();
            assert_eq!(forward.y.to_vec().unwrap(), [2.0]);
            let dy = Tensor::full(&device, &[1, 1, 1, 1], 5.0).unwrap();
            let mut backward = Backward::new(&dy, &forward.saved, &[true], vec![None]);
            MaxPool2d.backward(&mut backward).unwrap();
            let dx = backward.into_grads()[0].clone().unwrap().to_vec().unwrap();
            assert_eq!(dx, [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{}", device.name());
        }
    }

    #[test]
    fn a_nan_passes_and_gets_the_gradient() {
        for device in devices() {
            for place in 0..4 {
                // A window with one NaN, one with none, and one with two.
                let mut values = [1.0, 7.0, 2.0, -4.0, 3.0, 9.0, 0.5, 8.0, -2.0, 4.0, f32::NAN, f32::NAN];
                values[[0, 1, 6, 7][place]] = f32::NAN;
                let x = Tensor::new(&device, &[1, 2, 6, 1], &values).unwrap();
                let forward = MaxPool2d.forward(&[&x]).unwrap();
                let y = forward.y.to_vec().unwrap();
                assert!(y[0].is_nan() && y[1] == 4.0 && y[2].is_nan(), "{}: {y:?}", device.name());
                let dy = Tensor::new(&device, &[1, 1, 3, 1], &[5.0, 6.0, 7.0]).unwrap();
                let mut backward = Backward::new(&dy, &forward.saved, &[true], vec![None]);
                MaxPool2d.backward(&mut backward).unwrap();
                let dx = backward.into_grads()[0].clone().unwrap().to_vec().unwrap();
                let mut expected = [0.0; 12];
                expected[[0, 1, 6, 7][place]] = 5.0;
                (expected[9], expected[10]) = (6.0, 7.0);
                assert_eq!(dx, expected, "{}", device.name());
            }
        }
    }

    #[test]
    fn a_picture_below_a_window_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 1, 4, 1], 1.0).unwrap();
        assert_eq!(MaxPool2d.forward(&[&x]).err().unwrap().exit_code(), 2);
    }
}
