//! Elements in half precision, for what is kept and not computed with.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::ops::gemm::with_wide_vectors;
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&TO_F16, &FROM_F16];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Elements, of which a word holds two.
    len: u32,
}

static TO_F16: Kernel<Params> = Kernel {
    name: "to_f16",
    bodies: &[Body::proved(kernel_text!("to_f16"), &|p, _| Plan::linear(p.len.div_ceil(2) as usize).each(24.0))],
    twin: &to_f16_twin,
};

fn to_f16_twin(_: &Params, args: Args) -> Result<()> {
    let ([x], [], [words]) = args.split()?;
    blocks::map((words, BLOCK), (x, 2 * BLOCK), |_, words, x| {
        let (pairs, rest) = x.as_chunks();
        with_wide_vectors(
            #[inline(always)]
            || words.iter_mut().zip(pairs).for_each(|(word, &[first, second])| *word = packed(first, second)),
        );
        if let ([last], Some(word)) = (rest, words.last_mut()) {
            *word = packed(*last, 0.0);
        }
    });
    Ok(())
}

#[inline(always)]
fn packed(first: f32, second: f32) -> f32 {
    f32::from_bits(to_half(first) | to_half(second) << 16)
}

/// The bits of the f16 that is nearest to `x`, the even one of two, at most 65504 away from 0. A NaN stays one.
#[inline(always)]
fn to_half(x: f32) -> u32 {
    let bits = x.to_bits();
    let size = bits & 0x7fff_ffff;
    // 65504 at most.
    let limited = size.min(0x477f_e000);
    // From 2^-14 on: the exponent's bias changes by 112, and 13 bits are rounded away.
    let normal = limited.wrapping_sub(0x37ff_f001).wrapping_add(limited >> 13 & 1) >> 13;
    // Below, a step is 2^-24, which is one of f32 at 0.5.
    let small = (f32::from_bits(limited) + 0.5).to_bits() - 0.5f32.to_bits();
    let number = if limited < 0x3880_0000 { small } else { normal };
    bits >> 16 & 0x8000 | if size > 0x7f80_0000 { 0x7e00 } else { number }
}

static FROM_F16: Kernel<Params> = Kernel {
    name: "from_f16",
    bodies: &[Body::proved(kernel_text!("from_f16"), &|p, _| Plan::linear(p.len as usize).each(8.0))],
    twin: &from_f16_twin,
};

fn from_f16_twin(_: &Params, args: Args) -> Result<()> {
    let ([words], [], [y]) = args.split()?;
    blocks::map((y, 2 * BLOCK), (words, BLOCK), |_, y, words| {
        let (pairs, rest) = y.as_chunks_mut();
        with_wide_vectors(
            #[inline(always)]
            || {
                for (pair, word) in pairs.iter_mut().zip(words) {
                    *pair = [word.to_bits() & 0xffff, word.to_bits() >> 16].map(from_half);
                }
            },
        );
        if let ([last], Some(word)) = (rest, words.last()) {
            *last = from_half(word.to_bits() & 0xffff);
        }
    });
    Ok(())
}

/// The number whose bits as f16 are these; NaN for all that is not finite.
#[inline(always)]
fn from_half(bits: u32) -> f32 {
    let size = bits & 0x7fff;
    let normal = (size << 13) + 0x3800_0000;
    let small = (size as f32 * (1.0 / 16_777_216.0)).to_bits();
    let number = if size < 0x400 { small } else { normal };
    f32::from_bits((bits & 0x8000) << 16 | if size < 0x7c00 { number } else { 0x7fc0_0000 })
}

/// `x` in half the memory: two f16 a word, in a tensor whose elements are no numbers. Each is rounded to the nearest,
/// by 2^-11 of itself at most from 2^-14 to 65504 and by 2^-25 below; what is larger becomes 65504. A NaN stays one.
///
/// # Errors
/// No memory, and whatever the launch reports.
pub fn to_f16(x: &Tensor) -> Result<Tensor> {
    let words = Tensor::empty(x.device(), &[x.len().div_ceil(2)])?;
    x.device().launch(&TO_F16, &Params { len: x.len() as u32 }, &[x], &[], &[&words])?;
    Ok(words)
}

/// What [`to_f16`] has made of a tensor of shape `shape`, as f32.
///
/// # Errors
/// A shape of another size, no memory, and whatever the launch reports.
pub fn from_f16(words: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let y = Tensor::empty(words.device(), shape)?;
    expect_shape("words", words, &[y.len().div_ceil(2)])?;
    y.device().launch(&FROM_F16, &Params { len: y.len() as u32 }, &[words], &[], &[&y])?;
    Ok(y)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301], 1)?;
    Ok(vec![from_f16(&to_f16(&x)?, x.shape())?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;

    /// Each f16 there is, what lies between each two that follow each other and beside it, and more than the largest.
    fn values() -> Vec<f32> {
        let numbers: Vec<f32> = (0..0x7c00).map(|bits| half::f16::from_bits(bits).to_f32()).collect();
        let between = numbers.windows(2).flat_map(|pair| {
            let middle = f32::midpoint(pair[0], pair[1]);
            [middle.next_down(), middle, middle.next_up()]
        });
        let large = [65504.0, 65519.9, 65520.0, 1e9, f32::MAX, f32::INFINITY, f32::NAN];
        let mut values: Vec<f32> = between.chain(numbers.iter().copied()).chain(large).collect();
        values.extend(values.clone().iter().map(|value| -value));
        // An odd number of them.
        values.push(0.25);
        values
    }

    #[test]
    fn every_value_is_the_nearest_f16_on_every_device() {
        let values = values();
        assert!(!values.len().is_multiple_of(2));
        let nearest = |x: &f32| half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_f32();
        for device in devices() {
            let x = Tensor::new(&device, &[1, values.len()], &values).unwrap();
            let words = to_f16(&x).unwrap();
            assert_eq!(words.len(), values.len().div_ceil(2));
            let y = from_f16(&words, x.shape()).unwrap();
            assert_eq!(y.shape(), x.shape());
            for (x, y) in values.iter().zip(y.to_vec().unwrap()) {
                let expected = nearest(x);
                assert!(
                    y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan(),
                    "{x:e} is {y:e}, not {expected:e}, on {}",
                    device.name()
                );
            }
        }
    }
}
