//! Two tensors side by side along the channels.

use crate::engine::op::{Backward, Forward, Op, Saves};

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::ops::pad;
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&CONCAT];

/// Pixels that one rayon task works on.
const BLOCK: usize = 1024;
/// Elements that one task copies of a single pixel.
const COPY: usize = 1 << 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    a_channels: u32,
    b_channels: u32,
}

static CONCAT: Kernel<Params> = Kernel {
    name: "concat",
    bodies: &[Body::proved(kernel_text!("concat"), &|p, _| Plan::linear(p.len as usize).each(0.0))],
    twin: &concat_twin,
};

fn concat_twin(p: &Params, args: Args) -> Result<()> {
    let ([a, b], [], [y]) = args.split()?;
    let (a_channels, b_channels) = (p.a_channels as usize, p.b_channels as usize);
    let channels = a_channels + b_channels;
    if a.len() == a_channels {
        let (first, second) = y.split_at_mut(a_channels);
        for (y, x) in [(first, a), (second, b)] {
            blocks::map((y, COPY), (x, COPY), |_, y, x| y.copy_from_slice(x));
        }
        return Ok(());
    }
    blocks::zip((y, BLOCK * channels), (a, BLOCK * a_channels), (b, BLOCK * b_channels), |_, y, a, b| {
        let pixels = y.chunks_exact_mut(channels).zip(a.chunks_exact(a_channels)).zip(b.chunks_exact(b_channels));
        for ((y, a), b) in pixels {
            y[..a_channels].copy_from_slice(a);
            y[a_channels..].copy_from_slice(b);
        }
    });
    Ok(())
}

/// a `[N, H, W, A]` and b `[N, H, W, B]` to y `[N, H, W, A + B]`, a first. da and db are the parts of dy.
///
/// [`Slice`](pad::Slice) takes the parts out again.
#[derive(Debug, Clone, Copy)]
pub struct Concat;

impl Op for Concat {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [a, b] = inputs else { return Err(crate::engine::op::arity("concat", 2, inputs)) };
        let ([n, h, w, a_channels], b_shape @ [.., b_channels]) = (a.nhwc()?, b.nhwc()?);
        crate::ensure!(
            b_shape[..3] == [n, h, w],
            Error::input(
                "tensors side by side need the same pictures and pixels",
                format!("{:?} and {:?}", a.shape(), b.shape()),
                "check the sizes"
            )
        );
        let y = Tensor::empty(a.device(), &[n, h, w, a_channels + b_channels])?;
        let params = Params { len: y.len() as u32, a_channels: a_channels as u32, b_channels: b_channels as u32 };
        y.device().launch(&CONCAT, &params, &[a, b], &[], &[&y])?;
        // For the shapes of the gradients: their elements are not read.
        Ok(Forward { y, saved: vec![(*a).clone(), (*b).clone()] })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Shape
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let [a, b] = [&grad.saved[0], &grad.saved[1]];
        let ([n, h, w, a_channels], [.., b_channels]) = (a.nhwc()?, b.nhwc()?);
        expect_shape("a gradient", grad.dy, &[n, h, w, a_channels + b_channels])?;
        let mut first = 0;
        for (i, part) in grad.saved.iter().enumerate() {
            if grad.needs(i) {
                let d = grad.out(i, part.shape())?;
                pad::place(grad.dy, [0, 0, -first], &d)?;
            }
            first += part.nhwc()?[3] as isize;
        }
        Ok(())
    }
}

/// One image `[1, G, W, C]` above another `[1, H, W, C]`: `[1, G + H, W, C]`.
///
/// # Errors
/// Several images, of other widths or channels, and whatever the launch reports.
pub fn below(above: &Tensor, image: &Tensor) -> Result<Tensor> {
    let ([n, above_height, width, channels], [one, height, ..]) = (above.nhwc()?, image.nhwc()?);
    crate::ensure!(
        [n, one] == [1, 1] && image.nhwc()?[2..] == [width, channels],
        Error::input(
            "images above each other need the same width and channels, and be one each",
            format!("{:?} and {:?}", above.shape(), image.shape()),
            "check the sizes"
        )
    );
    // Row by row in memory: two runs of elements.
    let [above, image] = [above, image].map(|part| part.reshape(&[1, 1, 1, part.len()]));
    let y = Concat.forward(&[&above?, &image?])?.y;
    y.reshape(&[1, above_height + height, width, channels])
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let a = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    let b = crate::engine::self_test::seeded(device, &[2, 5, 7, 2], 2)?;
    crate::engine::self_test::run_op(&Concat, &[&a, &b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    fn check(pixels: [usize; 3], a: usize, b: usize) {
        let [n, h, w] = pixels;
        Check::new(&[&[n, h, w, a], &[n, h, w, b]])
            .reference(move |x| {
                x[0].chunks(a).zip(x[1].chunks(b)).flat_map(|(left, right)| [left, right].concat()).collect()
            })
            .run(&Concat);
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn channels_side_by_side_match_their_reference(
            n in 1usize..3, h in 1usize..5, w in 1usize..6, a in 1usize..6, b in 1usize..6
        ) {
            check([n, h, w], a, b);
        }
    }

    #[test]
    fn more_pixels_than_a_block_match_their_reference() {
        check([1, 33, 32], 2, 1);
    }

    #[test]
    fn pictures_of_another_size_are_refused() {
        let device = Device::cpu();
        let a = Tensor::full(&device, &[1, 2, 3, 1], 1.0).unwrap();
        let b = Tensor::full(&device, &[1, 3, 2, 1], 1.0).unwrap();
        assert_eq!(Concat.forward(&[&a, &b]).err().unwrap().exit_code(), 2);
    }
}
