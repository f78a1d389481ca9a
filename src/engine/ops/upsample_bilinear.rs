//! Enlargement of pictures by a whole factor, by linear interpolation.
//!
//! Output i of an axis of k H elements lies at `(i + 1/2) / k - 1/2` of the input, held within 0..H-1: half-pixel
//! centres, edges clamped, as `tf.image.resize` and Keras' `UpSampling2D` have it.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::upsample_nearest::{Params, enlarge, reduce_grad, reduction_plan};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&UPSAMPLE_BILINEAR, &UPSAMPLE_BILINEAR_GRAD];

static UPSAMPLE_BILINEAR: Kernel<Params> = Kernel {
    name: "upsample_bilinear",
    bodies: &[Body::proved(kernel_text!("upsample_bilinear"), &|p, _| Plan {
        flops: 9.0 * f64::from(p.len),
        ..Plan::linear(p.len as usize)
    })],
    twin: &upsample_bilinear_twin,
};

static UPSAMPLE_BILINEAR_GRAD: Kernel<Params> = Kernel {
    name: "upsample_bilinear_grad",
    bodies: &[Body::proved(kernel_text!("upsample_bilinear_grad"), &|p, _| reduction_plan(p, 8.0))],
    twin: &upsample_bilinear_grad_twin,
};

/// The input pixels on both sides of output pixel `at` and the share of the second.
fn neighbours(at: usize, size: usize, factor: usize) -> (usize, usize, f32) {
    // The place plus one in units of 1 / 2k: whole, so that the share is exact up to its one division.
    let place = 2 * at + 1 + factor;
    let cell = place / (2 * factor);
    (cell.max(1) - 1, cell.min(size - 1), (place % (2 * factor)) as f32 / (2 * factor) as f32)
}

fn mix(low: f32, high: f32, share: f32) -> f32 {
    low * (1.0 - share) + high * share
}

fn upsample_bilinear_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (factor, channels) = (p.factor as usize, p.channels as usize);
    let (height, width) = (p.height as usize, p.width as usize);
    let (small, large) = p.row_lens();
    // First down, for one small row; then along it.
    y.par_chunks_exact_mut(large).enumerate().for_each_init(
        || vec![0.0; small],
        |between, (row, y)| {
            let (low, high, share) = neighbours(row % (factor * height), height, factor);
            let picture = &x[row / (factor * height) * height * small..][..height * small];
            let rows = picture[low * small..][..small].iter().zip(&picture[high * small..][..small]);
            between.iter_mut().zip(rows).for_each(|(b, (low, high))| *b = mix(*low, *high, share));
            for (j, y) in y.chunks_exact_mut(channels).enumerate() {
                let (low, high, share) = neighbours(j, width, factor);
                let pixels = between[low * channels..][..channels].iter().zip(&between[high * channels..][..channels]);
                y.iter_mut().zip(pixels).for_each(|(y, (low, high))| *y = mix(*low, *high, share));
            }
        },
    );
    Ok(())
}

/// The output pixels that read input pixel `i`, and with which weight.
fn readers(i: usize, size: usize, factor: usize) -> impl Iterator<Item = (usize, f32)> {
    let first = (factor * i).saturating_sub(factor / 2);
    let past = (factor * (i + 1) + factor / 2).min(factor * size);
    (first..past).map(move |at| {
        let (low, high, share) = neighbours(at, size, factor);
        // At an edge both neighbours are the same pixel.
        let weight = if low == i { 1.0 - share } else { 0.0 } + if high == i { share } else { 0.0 };
        (at, weight)
    })
}

fn upsample_bilinear_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([dy], [], [dx]) = args.split()?;
    let (factor, channels) = (p.factor as usize, p.channels as usize);
    let (height, width) = (p.height as usize, p.width as usize);
    let (small, large) = p.row_lens();
    dx.par_chunks_exact_mut(small).enumerate().for_each_init(
        || vec![0.0; large],
        |between, (row, dx)| {
            let picture = &dy[row / height * factor * height * large..][..factor * height * large];
            between.fill(0.0);
            for (at, weight) in readers(row % height, height, factor) {
                let row = &picture[at * large..][..large];
                between.iter_mut().zip(row).for_each(|(b, dy)| *b += weight * dy);
            }
            dx.fill(0.0);
            for (j, dx) in dx.chunks_exact_mut(channels).enumerate() {
                for (at, weight) in readers(j, width, factor) {
                    let pixel = &between[at * channels..][..channels];
                    dx.iter_mut().zip(pixel).for_each(|(dx, b)| *dx += weight * b);
                }
            }
        },
    );
    Ok(())
}

/// x (N, H, W, C) to y (N, kH, kW, C) by linear interpolation. dx gathers dy by the same weights.
pub struct UpsampleBilinear {
    /// k, at least 1.
    pub factor: usize,
}

impl Op for UpsampleBilinear {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x] = inputs else { return Err(crate::engine::op::arity("upsample_bilinear", 1, inputs)) };
        enlarge(&UPSAMPLE_BILINEAR, x, self.factor)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        reduce_grad(&UPSAMPLE_BILINEAR_GRAD, grad, self.factor)
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 5, 7, 3], 1)?;
    crate::engine::self_test::run_op(&UpsampleBilinear { factor: 4 }, &[&x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, cases};
    use proptest::prelude::*;

    /// The definition, one output at a time.
    fn reference(x: &[f64], [n, h, w, c]: [usize; 4], factor: usize) -> Vec<f64> {
        let place = |at: usize, size: usize| {
            let place = ((at as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (size - 1) as f64);
            let low = place.floor() as usize;
            (low, (low + 1).min(size - 1), place - place.floor())
        };
        let mut y = Vec::new();
        for b in 0..n {
            for i in 0..factor * h {
                for j in 0..factor * w {
                    for k in 0..c {
                        let ((i0, i1, s), (j0, j1, t)) = (place(i, h), place(j, w));
                        let at = |i: usize, j: usize| x[((b * h + i) * w + j) * c + k];
                        y.push(
                            (1.0 - s) * ((1.0 - t) * at(i0, j0) + t * at(i0, j1))
                                + s * ((1.0 - t) * at(i1, j0) + t * at(i1, j1)),
                        );
                    }
                }
            }
        }
        y
    }

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn interpolation_matches_its_reference_on_odd_shapes(
            n in 1usize..3, h in 1usize..5, w in 1usize..6, c in 1usize..5, factor in 1usize..6
        ) {
            Check::new(&[&[n, h, w, c]])
                .reference(move |x| reference(&x[0], [n, h, w, c], factor))
                .run(&UpsampleBilinear { factor });
        }
    }

    #[test]
    fn a_ramp_stays_a_ramp_between_its_ends() {
        let x = Tensor::new(&Device::cpu(), &[1, 1, 3, 1], &[0.0, 1.0, 2.0]).unwrap();
        let y = UpsampleBilinear { factor: 2 }.forward(&[&x]).unwrap().y.to_vec().unwrap();
        assert_eq!(y[..6], [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]);
    }
}
