//! Products by cooperative matrices against plain f64 loops, on adapters that have such matrices.

use super::geometry::{Activation, Geometry, Layout, Padding};
use super::op::Conv2d;
use super::params::{DEPTH_QUADS, Params};
use super::products::{FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT};
use crate::engine::device::{Device, Forced, Precision};
use crate::engine::op::Op;
use crate::engine::self_test::seeded;
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::f16_device;

const SAME: Conv2d = Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: Activation::None };

/// y, dx and dw without a bias, and for each element the sum of its products' absolute values.
struct Products {
    sums: [Vec<f64>; 3],
    sizes: [Vec<f64>; 3],
}

/// The formula of each, one product at a time.
fn products(g: &Geometry, layout: Layout, x: &[f64], w: &[f64], dz: &[f64]) -> Products {
    let zeros = [dz.len(), x.len(), w.len()].map(|len| vec![0.0; len]);
    let mut all = Products { sums: zeros.clone(), sizes: zeros };
    let [h, wide, c, kh, kw, o, ho, wo] = [g.h, g.w, g.c, g.kh, g.kw, g.o, g.ho, g.wo].map(|size| size as usize);
    let place = |at: usize, tap: usize, pad: u32, size: usize| {
        let at = at * g.stride as usize + tap * g.dilation as usize;
        at.checked_sub(pad as usize).filter(|&at| at < size)
    };
    for (n, oy, ox) in each([g.n as usize, ho, wo]) {
        for (ky, kx, ci) in each([kh, kw, c]) {
            let (Some(iy), Some(ix)) = (place(oy, ky, g.pad_top, h), place(ox, kx, g.pad_left, wide)) else { continue };
            let xi = ((n * h + iy) * wide + ix) * c + ci;
            for oi in 0..o {
                let yi = ((n * ho + oy) * wo + ox) * o + oi;
                let wi = match layout {
                    Layout::Hwio => ((ky * kw + kx) * c + ci) * o + oi,
                    Layout::Hwoi => ((ky * kw + kx) * o + oi) * c + ci,
                };
                let made = [(yi, x[xi] * w[wi]), (xi, dz[yi] * w[wi]), (wi, x[xi] * dz[yi])];
                for (of, (at, product)) in made.into_iter().enumerate() {
                    all.sums[of][at] += product;
                    all.sizes[of][at] += product.abs();
                }
            }
        }
    }
    all
}

fn each([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// f16, as values of f64, of the nearest, of two that are as near the even one.
fn rounded(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(half::f16::from_f32(value).to_f32())).collect()
}

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Bias and ReLU, as the launches below have them.
fn finished(sums: &[f64], bias: &[f64]) -> Vec<f64> {
    sums.iter().enumerate().map(|(i, sum)| (sum + bias[i % bias.len()]).max(0.0)).collect()
}

/// A convolution's three products by matrices, over more than one tile in each direction and with the depth whole and
/// cut.
fn compare(device: &Device, conv: Conv2d, x: [usize; 4], w: [usize; 4]) {
    let geometry = conv.geometry(&x, &w).unwrap();
    let tensor = |shape: &[usize], seed| seeded(device, shape, seed).unwrap();
    let [x, w, dz] = [(&x[..], 1), (&w[..], 2), (&geometry.output_shape()[..], 4)].map(|(of, seed)| tensor(of, seed));
    let [bias, channel_bias] = [(geometry.o, 3), (geometry.c, 5)].map(|(len, seed)| tensor(&[len as usize], seed));
    let [xs, ws, dzs, bs, cs] = [&x, &w, &dz, &bias, &channel_bias].map(|tensor| tensor.to_vec().unwrap());
    for (layout, most) in [Layout::Hwio, Layout::Hwoi].into_iter().flat_map(|of| [(of, DEPTH_QUADS), (of, 9)]) {
        let [y, dx, dw] = [&dz, &x, &w].map(|like| Tensor::empty(device, like.shape()).unwrap());
        let plain = Params::new(&geometry, layout);
        let params = plain.finished(Activation::Relu, true).cut(geometry.c, most, [1 << 16, 64]);
        device.launch(&FORWARD, &params, &[&x, &w, &bias], &[], &[&y]).unwrap();
        let params = plain.finished(Activation::Relu, true).cut(geometry.o, most, [1 << 16, 64]);
        device.launch(&INPUT_GRADIENT, &params, &[&dz, &w, &channel_bias], &[], &[&dx]).unwrap();
        device.launch(&WEIGHT_GRADIENT, &plain.chunked(3, 16), &[&x, &dz], &[], &[&dw]).unwrap();
        let got = [y, dx, dw].map(|tensor| tensor.to_vec().unwrap());

        let of_rounded = products(&geometry, layout, &rounded(&xs), &rounded(&ws), &rounded(&dzs));
        let of_exact = products(&geometry, layout, &exact(&xs), &exact(&ws), &exact(&dzs));
        let biases = [exact(&bs), exact(&cs)];
        for (i, name) in ["y", "dx", "dw"].into_iter().enumerate() {
            let finish = |sums: &[f64]| biases.get(i).map_or_else(|| sums.to_vec(), |bias| finished(sums, bias));
            let [near, truth] = [&of_rounded, &of_exact].map(|of| finish(&of.sums[i]));
            let largest = near.iter().fold(0.0f64, |most, value| most.max(value.abs()));
            for (at, &got) in got[i].iter().enumerate() {
                let got = f64::from(got);
                let about = || format!("{name}[{at}] = {got} of {conv:?}, {layout:?}, cut at {most}, {geometry:?}");
                // The products of rounded factors are exact in f32; sums of some 1000 of them round as elsewhere.
                assert!((got - near[at]).abs() <= 1e-5 * largest, "{}, of rounded factors {}", about(), near[at]);
                // What is stated: each factor is off by 2^-11 of itself.
                let stated = of_exact.sizes[i][at] * 2f64.powi(-10) + 1e-5 * largest;
                assert!((got - truth[at]).abs() <= stated, "{}, of exact factors {}", about(), truth[at]);
            }
        }
    }
    let ran = device.bodies_run();
    assert!(!ran.is_empty() && ran.iter().all(|run| run.body == "coop"), "{ran:?}");
    assert!(device.overruns().is_empty(), "{conv:?}");
}

/// A device that takes matrices wherever they can be used.
fn by_matrices() -> Option<Device> {
    let device = f16_device()?;
    let forced = ["conv2d", "conv2d_dx", "conv2d_dw"].map(|kernel| (kernel.to_owned(), "coop".to_owned()));
    device.force_bodies(Forced::from_iter(forced));
    Some(device)
}

/// Sizes that are no multiple of any tile.
fn compare_all(device: &Device) {
    let (strided, dilated) = (Conv2d { stride: 2, ..SAME }, Conv2d { dilation: 2, ..SAME });
    compare(device, SAME, [1, 11, 13, 20], [3, 3, 20, 72]);
    compare(device, SAME, [2, 9, 9, 4], [3, 3, 4, 68]);
    compare(device, SAME, [1, 9, 9, 24], [1, 1, 24, 140]);
    compare(device, SAME, [2, 11, 13, 32], [3, 3, 32, 148]);
    compare(device, SAME, [1, 12, 13, 148], [3, 3, 148, 12]);
    compare(device, strided, [2, 13, 12, 16], [4, 4, 16, 36]);
    compare(device, Conv2d { stride: 3, ..SAME }, [1, 13, 11, 8], [2, 2, 8, 12]);
    compare(device, dilated, [1, 12, 11, 8], [3, 3, 8, 8]);
    compare(device, Conv2d { stride: 2, ..dilated }, [1, 12, 11, 16], [3, 3, 16, 16]);
    compare(device, Conv2d { padding: Padding::Valid, ..SAME }, [1, 9, 12, 12], [4, 4, 12, 8]);
}

#[test]
fn products_by_matrices_match_their_references() {
    let Some(device) = by_matrices() else { return };
    assert_eq!(device.precision(), Precision::F16);
    compare_all(&device);
}

#[test]
fn products_by_matrices_match_their_references_without_the_drivers_checks() {
    let Some(device) = by_matrices() else { return };
    device.check_bounds(false);
    device.fix_sizes(true);
    compare_all(&device);
}

#[test]
fn a_nan_stays_one_and_what_is_too_large_becomes_infinite() {
    let Some(device) = by_matrices() else { return };
    let conv = Conv2d { activation: Activation::Relu, ..SAME };
    for (planted, is) in [(f32::NAN, f32::is_nan as fn(f32) -> bool), (1e5, f32::is_infinite), (6e4, f32::is_finite)] {
        let mut values = vec![1.0; 4 * 4 * 8];
        values[0] = planted;
        let x = Tensor::new(&device, &[1, 4, 4, 8], &values).unwrap();
        let w = Tensor::full(&device, &[3, 3, 8, 8], 1.0).unwrap();
        let b = Tensor::full(&device, &[8], 0.0).unwrap();
        let y = conv.forward(&[&x, &w, &b]).unwrap().y.to_vec().unwrap();
        assert!(is(y[0]), "{planted} makes {}", y[0]);
        // Three pixels away it is not read.
        assert_eq!(y[8 * 15], 4.0 * 8.0, "{planted}");
    }
}

#[test]
fn what_matrices_decline_other_bodies_run() {
    let Some(device) = f16_device() else { return };
    let run = |x: [usize; 4], w: [usize; 4]| {
        let [x, w, b] = [(&x[..], 1), (&w[..], 2), (&w[3..], 3)].map(|(of, seed)| seeded(&device, of, seed).unwrap());
        SAME.forward(&[&x, &w, &b]).unwrap();
        device.bodies_run().iter().map(|run| format!("{} {}", run.body, run.launches)).collect::<Vec<_>>()
    };
    let other = if device.is_software() { "software" } else { "scalars" };
    assert_eq!(run([1, 4, 4, 3], [3, 3, 3, 8]), [format!("{other} 1")]);
    assert_eq!(run([1, 4, 4, 4], [3, 3, 4, 8]), [format!("{other} 1"), "coop 1".to_owned()]);
}
