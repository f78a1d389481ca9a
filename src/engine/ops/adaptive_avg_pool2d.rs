//! Means over windows that divide a picture of any size into a given number of parts.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Dispatch, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::ops::Range;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&ADAPTIVE_AVG_POOL2D, &ADAPTIVE_AVG_POOL2D_GRAD];

/// The sizes of both pictures; `len` counts what is written.
/// Pixels, or sums, that one invocation adds up at most where a window is shared by several; `SPAN` in the kernel.
const SPAN: usize = 1 << 14;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    images: u32,
    height: u32,
    width: u32,
    channels: u32,
    out_height: u32,
    out_width: u32,
    segments: u32,
    parts: u32,
}

impl Params {
    fn new(len: usize, [images, height, width, channels]: [usize; 4], output: [usize; 2]) -> Self {
        let [len, images, height, width, channels] = [len, images, height, width, channels].map(|v| v as u32);
        let [out_height, out_width] = output.map(|v| v as u32);
        let sizes = Params { len, images, height, width, channels, out_height, out_width, segments: 1, parts: 1 };
        let [rows, columns] = sizes.largest_window();
        let segments = columns.div_ceil(SPAN);
        Params { segments: segments as u32, parts: (rows * segments).div_ceil(SPAN) as u32, ..sizes }
    }

    /// Rows and columns that a window has at most.
    fn largest_window(&self) -> [usize; 2] {
        let most = |size: u32, windows: u32| (size.div_ceil(windows) as usize + 1).min(size as usize);
        [most(self.height, self.out_height), most(self.width, self.out_width)]
    }

    /// Windows, along each axis, that a pixel lies in at most.
    fn most_holders(&self) -> [usize; 2] {
        let most = |size: u32, windows: u32| (windows.div_ceil(size) as usize + 1).min(windows as usize);
        [most(self.height, self.out_height), most(self.width, self.out_width)]
    }

    /// `len` counted in other axes than those of the output: N, the rows and columns given, C.
    fn elements(&self, rows: u32, columns: u32) -> usize {
        self.images as usize * rows as usize * columns as usize * self.channels as usize
    }
}

/// Window `i` of `windows` over `size` pixels; neighbours overlap where the division leaves a rest.
fn window(i: usize, size: u32, windows: u32) -> Range<usize> {
    let (size, windows) = (size as usize, windows as usize);
    i * size / windows..((i + 1) * size).div_ceil(windows)
}

static ADAPTIVE_AVG_POOL2D: Kernel<Params> = Kernel {
    name: "adaptive_avg_pool2d",
    bodies: &[Body::proved(kernel_text!("adaptive_avg_pool2d"), &|p, _| forward_plan(p))],
    twin: &adaptive_avg_pool2d_twin,
};

fn forward_plan(p: &Params) -> Plan {
    let flops = f64::from(p.len) * mean_pixels(p);
    let [rows, columns] = p.largest_window();
    if rows * (columns + 1) <= SPAN {
        return Plan { flops, ..Plan::linear(p.len as usize) };
    }
    let segments = p.elements(p.height, p.out_width) * p.segments as usize;
    let parts = p.len as usize * p.parts as usize;
    shared_plan([("segments", segments), ("parts", parts), ("combine", p.len as usize)], flops)
}

/// One dispatch after the other, each of so many elements; all but the last go to a scratch of their own.
fn shared_plan<const N: usize>(steps: [(&'static str, usize); N], flops: f64) -> Plan {
    Plan {
        dispatches: steps.iter().map(|&(entry, len)| Dispatch::new(entry, linear_grid(len, 256))).collect(),
        scratch: steps[..N - 1].iter().map(|&(_, len)| len).collect(),
        flops,
    }
}

/// Pixels of a window, on average.
fn mean_pixels(p: &Params) -> f64 {
    f64::from(p.height) / f64::from(p.out_height) * f64::from(p.width) / f64::from(p.out_width)
}

fn adaptive_avg_pool2d_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let [width, channels, tall, wide] = [p.width, p.channels, p.out_height, p.out_width].map(|v| v as usize);
    blocks::write((y, channels), |pixel, y| {
        let (picture, i, j) = (pixel / (tall * wide), pixel / wide % tall, pixel % wide);
        let (rows, columns) = (window(i, p.height, p.out_height), window(j, p.width, p.out_width));
        let pixels = (rows.len() * columns.len()) as f32;
        let mut row_sum = vec![0.0; channels];
        y.fill(0.0);
        for row in rows {
            // A row at a time: the rounding error grows with the number of rows and of columns, not of pixels.
            row_sum.fill(0.0);
            let line = (picture * p.height as usize + row) * width;
            for x in x[(line + columns.start) * channels..(line + columns.end) * channels].chunks_exact(channels) {
                row_sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
            }
            y.iter_mut().zip(&row_sum).for_each(|(y, sum)| *y += sum);
        }
        y.iter_mut().for_each(|y| *y /= pixels);
    });
    Ok(())
}

static ADAPTIVE_AVG_POOL2D_GRAD: Kernel<Params> = Kernel {
    name: "adaptive_avg_pool2d_grad",
    bodies: &[Body::proved(kernel_text!("adaptive_avg_pool2d_grad"), &|p, _| gradient_plan(p))],
    twin: &adaptive_avg_pool2d_grad_twin,
};

fn gradient_plan(p: &Params) -> Plan {
    let [tall, wide] = p.most_holders();
    let flops = f64::from(p.len) * (tall * wide) as f64;
    if tall * (wide + 1) <= SPAN {
        return Plan { flops, ..Plan::linear(p.len as usize) };
    }
    shared_plan([("across", p.elements(p.out_height, p.width)), ("down", p.len as usize)], flops)
}

fn adaptive_avg_pool2d_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([dy], [], [dx]) = args.split()?;
    let [height, width, channels, tall, wide] =
        [p.height, p.width, p.channels, p.out_height, p.out_width].map(|v| v as usize);
    blocks::write((dx, width * channels), |line, dx| {
        let (picture, row) = (line / height, line % height);
        dx.fill(0.0);
        // The windows that hold a pixel are those of its own window the other way round.
        for i in window(row, p.out_height, p.height) {
            for (column, dx) in dx.chunks_exact_mut(channels).enumerate() {
                for j in window(column, p.out_width, p.width) {
                    let pixels = window(i, p.height, p.out_height).len() * window(j, p.width, p.out_width).len();
                    let dy = &dy[((picture * tall + i) * wide + j) * channels..][..channels];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy / pixels as f32);
                }
            }
        }
    });
    Ok(())
}

/// x `[N, H, W, C]` to y `[N, Ho, Wo, C]`: y(i, j) is the mean over rows `floor(i H / Ho) .. ceil((i + 1) H / Ho)` and
/// columns likewise, as PyTorch's `AdaptiveAvgPool2d`. For an output of 1x1 it is the mean over each picture.
///
/// dx is dy over the window's pixels, added up where windows overlap.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveAvgPool2d {
    /// Ho and Wo, at least 1.
    pub output: [usize; 2],
}

impl Op for AdaptiveAvgPool2d {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("adaptive_avg_pool2d", 1, inputs)) };
        let shape @ [n, _, _, channels] = x.nhwc()?;
        let [tall, wide] = self.output;
        crate::ensure!(
            tall > 0 && wide > 0,
            Error::input("pooling needs an output of at least 1x1", format!("{tall}x{wide}"), "use 1 or more")
        );
        let [_, height, width, _] = shape;
        // Places of windows are multiplied in 32 bits, and no sum of the gradient is longer than an invocation may
        // loop.
        let fits = |size: usize, windows: usize| {
            let product = (size + 1).checked_mul(windows.saturating_add(1));
            product.is_some_and(|product| product <= u32::MAX as usize) && windows / size < 2 * SPAN
        };
        crate::ensure!(
            fits(height, tall) && fits(width, wide),
            Error::input(
                format!("pooling to {tall}x{wide} is beyond what this operation can index"),
                format!("{:?}", x.shape()),
                "pool to fewer windows, or from a smaller image"
            )
        );
        let y = Tensor::empty(x.device(), &[n, tall, wide, channels])?;
        let params = Params::new(y.len(), shape, self.output);
        y.device().launch(&ADAPTIVE_AVG_POOL2D, &params, &[x], &[], &[&y])?;
        // For the shape of the gradient: its elements are not read.
        Ok(Forward { y, saved: vec![(*x).clone()] })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Shape
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let shape = grad.saved[0].nhwc()?;
        let [tall, wide] = self.output;
        expect_shape("a gradient", grad.dy, &[shape[0], tall, wide, shape[3]])?;
        let dx = grad.out(0, &shape)?;
        let params = Params::new(dx.len(), shape, self.output);
        dx.device().launch(&ADAPTIVE_AVG_POOL2D_GRAD, &params, &[grad.dy], &[], &[&dx])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    let mut outputs = crate::engine::self_test::run_op(&AdaptiveAvgPool2d { output: [1, 1] }, &[&x])?;
    outputs.extend(crate::engine::self_test::run_op(&AdaptiveAvgPool2d { output: [3, 2] }, &[&x])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    fn reference(x: &[f64], [n, h, w, c]: [usize; 4], [tall, wide]: [usize; 2]) -> Vec<f64> {
        let mut y = Vec::new();
        for at in 0..n * tall * wide * c {
            let (k, j, i, picture) = (at % c, at / c % wide, at / c / wide % tall, at / c / wide / tall);
            let inside = |at: usize, part: usize, size: usize, parts: usize| {
                at * parts < (part + 1) * size && (at + 1) * parts > part * size
            };
            let (mut sum, mut count) = (0.0, 0.0);
            for row in (0..h).filter(|&row| inside(row, i, h, tall)) {
                for column in (0..w).filter(|&column| inside(column, j, w, wide)) {
                    sum += x[((picture * h + row) * w + column) * c + k];
                    count += 1.0;
                }
            }
            y.push(sum / count);
        }
        y
    }

    proptest! {
        #![proptest_config(cases(12))]
        #[test]
        fn pooling_matches_its_reference_on_odd_shapes(
            x in (1usize..3, 1usize..8, 1usize..9, 1usize..5), tall in 1usize..5, wide in 1usize..5
        ) {
            let shape = [x.0, x.1, x.2, x.3];
            Check::new(&[&shape])
                .reference(move |x| reference(&x[0], shape, [tall, wide]))
                .run(&AdaptiveAvgPool2d { output: [tall, wide] });
        }
    }

    #[test]
    fn the_mean_over_a_picture_matches_its_reference() {
        let shape = [2, 16, 17, 5];
        Check::new(&[&shape])
            // A mean that does not cancel.
            .map(0, |x| x + 1.0)
            .reference(move |x| reference(&x[0], shape, [1, 1]))
            .run(&AdaptiveAvgPool2d { output: [1, 1] });
    }

    #[test]
    fn an_output_of_nothing_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 2, 2, 3], 1.0).unwrap();
        assert_eq!(AdaptiveAvgPool2d { output: [0, 1] }.forward(&[&x]).err().unwrap().exit_code(), 2);
    }
}
