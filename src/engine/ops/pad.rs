//! Zeros around a picture, and parts of it: pixels or channels.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&PAD];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    size: [u32; 3],
    out_size: [u32; 3],
    offset: [i32; 3],
}

static PAD: Kernel<Params> = Kernel {
    name: "pad",
    bodies: &[Body::proved(kernel_text!("pad"), &|p, _| Plan::linear(p.len as usize).each(0.0))],
    twin: &pad_twin,
};

fn pad_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let [height, width, channels] = p.size.map(|v| v as usize);
    let [tall, wide, deep] = p.out_size.map(|v| v as usize);
    let [top, left, first] = p.offset.map(|v| v as isize);
    /// Where output `0..out` meets input `0..size`, which lies `offset` after its start: the first place in both, and
    /// how many.
    fn overlap(offset: isize, size: usize, out: usize) -> (usize, usize, usize) {
        let (start, end) = (offset.max(0), (offset + size as isize).min(out as isize));
        (start as usize, (start - offset) as usize, (end - start).max(0) as usize)
    }
    let (y_column, x_column, columns) = overlap(left, width, wide);
    let (y_channel, x_channel, run) = overlap(first, channels, deep);
    blocks::write((y, wide * deep), |line, y| {
        let row = (line % tall) as isize - top;
        if row < 0 || row >= height as isize {
            y.fill(0.0);
            return;
        }
        let x = &x[(line / tall * height + row as usize) * width * channels..][..width * channels];
        if channels == deep && run == deep {
            // Whole pixels: one run.
            let (before, rest) = y.split_at_mut(y_column * deep);
            let (within, after) = rest.split_at_mut(columns * deep);
            before.fill(0.0);
            within.copy_from_slice(&x[x_column * deep..][..columns * deep]);
            after.fill(0.0);
            return;
        }
        if columns < wide || run < deep {
            y.fill(0.0);
        }
        for i in 0..columns {
            let from = (x_column + i) * channels + x_channel;
            y[(y_column + i) * deep + y_channel..][..run].copy_from_slice(&x[from..from + run]);
        }
    });
    Ok(())
}

/// Writes y, of any height, width and channels: x (H, W, C) lies `offset` after its start, what is beyond x is 0 and
/// what is beyond y is left out.
pub(crate) fn place(x: &Tensor, offset: [isize; 3], y: &Tensor) -> Result<()> {
    let ([n, size @ ..], [out_n, out_size @ ..]) = (x.nhwc()?, y.nhwc()?);
    // The kernel counts rows, columns and channels with 32 bits and a sign.
    let small = |v: usize| v < 1 << 30;
    crate::ensure!(
        n == out_n
            && size.into_iter().chain(out_size).all(small)
            && offset.into_iter().all(|v| small(v.unsigned_abs())),
        Error::input(
            format!("pictures cannot be placed {offset:?} pixels and channels after the start"),
            format!("{:?} in {:?}", x.shape(), y.shape()),
            "use smaller sizes"
        )
    );
    let params = Params {
        len: y.len() as u32,
        size: size.map(|v| v as u32),
        out_size: out_size.map(|v| v as u32),
        offset: offset.map(|v| v as i32),
    };
    y.device().launch(&PAD, &params, &[x], &[], &[y])
}

/// Zeros around each picture: x `[N, H, W, C]` to y `[N, top + H + bottom, left + W + right, C]`. dx is the middle of
/// dy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroPad {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl ZeroPad {
    /// As many rows and columns on all four sides.
    pub fn all(pixels: usize) -> Self {
        ZeroPad { top: pixels, bottom: pixels, left: pixels, right: pixels }
    }
}

impl Op for ZeroPad {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("zero_pad", 1, inputs)) };
        let [n, h, w, c] = x.nhwc()?;
        let side = |before: usize, size: usize, after: usize| {
            before.checked_add(size)?.checked_add(after).filter(|&side| side < 1 << 30)
        };
        let (Some(tall), Some(wide)) = (side(self.top, h, self.bottom), side(self.left, w, self.right)) else {
            let padding = format!("{self:?} around {:?}", x.shape());
            return Err(Error::input("the padding is too large", padding, "use fewer rows and columns of zeros"));
        };
        let y = Tensor::empty(x.device(), &[n, tall, wide, c])?;
        place(x, [self.top as isize, self.left as isize, 0], &y)?;
        Ok(Forward { y, saved: vec![] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let [n, h, w, c] = grad.dy.nhwc()?;
        let inner = |side: usize, before: usize, after: usize| side.checked_sub(before)?.checked_sub(after);
        let (Some(h), Some(w)) = (inner(h, self.top, self.bottom), inner(w, self.left, self.right)) else {
            let shape = format!("{:?} under {self:?}", grad.dy.shape());
            return Err(Error::input("a gradient is smaller than its padding", shape, "check the shapes"));
        };
        let dx = grad.out(0, &[n, h, w, c])?;
        place(grad.dy, [-(self.top as isize), -(self.left as isize), 0], &dx)
    }
}

/// A part of each picture: x `[N, H, W, C]` to y `[N, h, w, c]`, from `first` on along height, width and channels.
/// dx is dy with zeros around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// First row, column and channel.
    pub first: [usize; 3],
    /// Number of rows, columns and channels.
    pub size: [usize; 3],
}

impl Slice {
    /// Channels `first .. first + count` of pictures like `x`, all pixels.
    ///
    /// # Errors
    /// Another number of axes.
    pub fn channels(x: &Tensor, first: usize, count: usize) -> Result<Self> {
        let [_, h, w, _] = x.nhwc()?;
        Ok(Slice { first: [0, 0, first], size: [h, w, count] })
    }
}

impl Op for Slice {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("slice", 1, inputs)) };
        let [n, whole @ ..] = x.nhwc()?;
        let ([top, left, channel], [h, w, c]) = (self.first, self.size);
        crate::ensure!(
            (0..3).all(|axis| {
                let end = self.first[axis].checked_add(self.size[axis]);
                end.is_some_and(|end| end <= whole[axis])
            }),
            Error::input(
                format!(
                    "a part of {h}x{w} pixels and {c} channels from [{top}, {left}, {channel}] on leaves the picture"
                ),
                format!("{:?}", x.shape()),
                "take a smaller part"
            )
        );
        let y = Tensor::empty(x.device(), &[n, h, w, c])?;
        place(x, self.first.map(|v| -(v as isize)), &y)?;
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
        let ([h, w, c], x) = (self.size, &grad.saved[0]);
        expect_shape("a gradient", grad.dy, &[x.nhwc()?[0], h, w, c])?;
        let dx = grad.out(0, x.shape())?;
        place(grad.dy, self.first.map(|v| v as isize), &dx)
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    let mut outputs = crate::engine::self_test::run_op(&ZeroPad { top: 1, bottom: 2, left: 3, right: 0 }, &[&x])?;
    outputs.extend(crate::engine::self_test::run_op(&Slice { first: [1, 2, 1], size: [3, 4, 2] }, &[&x])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn padding_matches_its_reference_on_odd_shapes(
            x in (1usize..3, 1usize..5, 1usize..6, 1usize..5),
            pad in (0usize..3, 0usize..3, 0usize..3, 0usize..3)
        ) {
            let (n, h, w, c) = x;
            let (top, bottom, left, right) = pad;
            Check::new(&[&[n, h, w, c]])
                .reference(move |x| {
                    let (tall, wide) = (top + h + bottom, left + w + right);
                    let mut y = vec![0.0; n * tall * wide * c];
                    for (at, &v) in x[0].iter().enumerate() {
                        let (k, j, i, picture) = (at % c, at / c % w, at / c / w % h, at / c / w / h);
                        y[((picture * tall + i + top) * wide + j + left) * c + k] = v;
                    }
                    y
                })
                .run(&ZeroPad { top, bottom, left, right });
        }

        #[test]
        fn slices_match_their_reference_on_odd_shapes(
            first in (0usize..3, 0usize..3, 0usize..3), size in (1usize..4, 1usize..4, 1usize..5), rest in 0usize..2
        ) {
            let (h, w, c) = (first.0 + size.0 + rest, first.1 + size.1, first.2 + size.2 + rest);
            Check::new(&[&[2, h, w, c]])
                .reference(move |x| {
                    let mut y = Vec::new();
                    for picture in 0..2 {
                        for i in first.0..first.0 + size.0 {
                            for j in first.1..first.1 + size.1 {
                                let pixel = ((picture * h + i) * w + j) * c + first.2;
                                y.extend_from_slice(&x[0][pixel..pixel + size.2]);
                            }
                        }
                    }
                    y
                })
                .run(&Slice { first: [first.0, first.1, first.2], size: [size.0, size.1, size.2] });
        }
    }

    #[test]
    fn a_part_beyond_the_picture_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 2, 2, 3], 1.0).unwrap();
        let error = Slice::channels(&x, 2, 2).unwrap().forward(&[&x]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("[1, 2, 2, 3]"), "{error}");
    }
}
