use crate::engine::device::Device;
use crate::engine::ops::conv2d::tests::{DILATED, SAME, VALID, reference};
use crate::engine::ops::conv2d::*;
use crate::engine::tensor::Tensor;

/// The gradient of the input, scattered from each output pixel in f64.
fn input_gradient_reference(g: &Geometry, dz: &[f64], w: &[f64]) -> Vec<f64> {
    let [h, width, c, o] = [g.h, g.w, g.c, g.o].map(|size| size as usize);
    let mut dx = vec![0.0; g.n as usize * h * width * c];
    for (pixel, dz) in dz.chunks(o).enumerate() {
        let (line, ox) = (pixel / g.wo as usize, pixel % g.wo as usize);
        let (picture, oy) = (line / g.ho as usize, line % g.ho as usize);
        for (tap, w) in w.chunks(c * o).enumerate() {
            let place = |at: usize, k: usize, pad: u32| {
                (at * g.stride as usize + k * g.dilation as usize).checked_sub(pad as usize)
            };
            let iy = place(oy, tap / g.kw as usize, g.pad_top).filter(|&iy| iy < h);
            let ix = place(ox, tap % g.kw as usize, g.pad_left).filter(|&ix| ix < width);
            let (Some(iy), Some(ix)) = (iy, ix) else { continue };
            let dx = &mut dx[((picture * h + iy) * width + ix) * c..][..c];
            for (dx, w) in dx.iter_mut().zip(w.chunks(o)) {
                *dx += w.iter().zip(dz).map(|(w, dz)| w * dz).sum::<f64>();
            }
        }
    }
    dx
}

/// The gradient of the weights, pixel by pixel in f64.
fn weight_gradient_reference(g: &Geometry, x: &[f64], dz: &[f64]) -> Vec<f64> {
    let [h, width, c, o] = [g.h, g.w, g.c, g.o].map(|size| size as usize);
    let mut dw = vec![0.0; g.weights()];
    for (pixel, dz) in dz.chunks(o).enumerate() {
        let (line, ox) = (pixel / g.wo as usize, pixel % g.wo as usize);
        let (picture, oy) = (line / g.ho as usize, line % g.ho as usize);
        for (tap, dw) in dw.chunks_mut(c * o).enumerate() {
            let iy =
                (oy * g.stride as usize + tap / g.kw as usize * g.dilation as usize).wrapping_sub(g.pad_top as usize);
            let ix =
                (ox * g.stride as usize + tap % g.kw as usize * g.dilation as usize).wrapping_sub(g.pad_left as usize);
            if iy < h && ix < width {
                let x = &x[((picture * h + iy) * width + ix) * c..][..c];
                for (dw, x) in dw.chunks_mut(o).zip(x) {
                    dw.iter_mut().zip(dz).for_each(|(dw, dz)| *dw += x * dz);
                }
            }
        }
    }
    dw
}

/// Values of a seeded tensor and their magnitudes in f64.
fn doubled(tensor: &Tensor) -> [Vec<f64>; 2] {
    let values: Vec<f64> = tensor.to_vec().unwrap().into_iter().map(f64::from).collect();
    let magnitudes = values.iter().map(|v| v.abs()).collect();
    [values, magnitudes]
}

#[test]
fn winograd_is_within_the_tolerance_of_a_dot_product() {
    // Odd sizes, several pictures, tiles that are cut off, more than one block, chunk, slab and group.
    for (conv, x, w) in [
        (SAME, [1, 15, 14, 64], [3, 3, 64, 144]),
        (SAME, [2, 13, 16, 80], [3, 3, 80, 64]),
        (DILATED, [1, 31, 29, 64], [3, 3, 64, 64]),
        (VALID, [1, 18, 17, 64], [3, 3, 64, 64]),
        (Conv2d { padding: Padding::Valid, ..DILATED }, [1, 20, 36, 64], [3, 3, 64, 64]),
        (SAME, [1, 64, 80, 64], [3, 3, 64, 64]),
        (SAME, [1, 93, 88, 64], [3, 3, 64, 64]),
    ] {
        let geometry = conv.geometry(&x, &w).unwrap();
        assert!(
            winograd::Winograd::forward(&geometry).is_some() && winograd::Winograd::input_gradient(&geometry).is_some()
        );
        let device = Device::cpu();
        device.poison_new_buffers();
        let tensor = |shape: &[usize], seed| crate::engine::self_test::seeded(&device, shape, seed).unwrap();
        let (x, w, b, dz) = (tensor(&x, 1), tensor(&w, 2), tensor(&w[3..], 3), tensor(&geometry.output_shape(), 4));
        let (y, dx) = (Tensor::empty(&device, dz.shape()).unwrap(), Tensor::empty(&device, x.shape()).unwrap());
        forward(&geometry, Layout::Hwio, Activation::None, &x, &w, Some(&b), &y).unwrap();
        let dw = Tensor::empty(&device, w.shape()).unwrap();
        input_gradient(&geometry, Layout::Hwio, Activation::None, &dz, &w, None, &dx).unwrap();
        weight_gradient(&geometry, Layout::Hwio, &x, &dz, &dw).unwrap();
        let [x, w, b, dz] = [&x, &w, &b, &dz].map(doubled);
        let expected = [0, 1].map(|i| reference(&geometry, false, &[x[i].clone(), w[i].clone(), b[i].clone()]));
        let gradient = [0, 1].map(|i| input_gradient_reference(&geometry, &dz[i], &w[i]));
        let weights = [0, 1].map(|i| weight_gradient_reference(&geometry, &x[i], &dz[i]));
        for (name, got, [expected, scale], depth) in [
            ("y", y, expected, 9 * geometry.c as usize),
            ("dx", dx, gradient, 9 * geometry.o as usize),
            ("dw", dw, weights, geometry.output_pixels()),
        ] {
            let mut worst = 0.0f64;
            for ((got, expected), scale) in got.to_vec().unwrap().iter().zip(&expected).zip(&scale) {
                let allowed = 4.0 * 2f64.powi(-24) * (depth as f64).sqrt() * scale;
                worst = worst.max((f64::from(*got) - expected).abs() / allowed);
            }
            assert!(worst <= 1.0, "{name} of {geometry:?}: {worst} times the tolerance");
        }
    }
}

#[test]
fn winograd_keeps_outliers_to_the_outputs_that_read_them() {
    let (side, channels) = (24, 64);
    for conv in [SAME, DILATED] {
        let geometry = conv.geometry(&[1, side, side, channels], &[3, 3, channels, channels]).unwrap();
        assert!(
            winograd::Winograd::forward(&geometry).is_some() && winograd::Winograd::input_gradient(&geometry).is_some()
        );
        let device = Device::cpu();
        let tensor = |shape: &[usize], seed| crate::engine::self_test::seeded(&device, shape, seed).unwrap();
        let w = tensor(&[3, 3, channels, channels], 2);
        let plain = tensor(&geometry.input_shape(), 1);
        let [reach, values] = [geometry.dilation as usize, plain.len()];
        for outlier in [f32::NAN, f32::INFINITY, 1e4, -3e5, 1e30] {
            for (row, column) in [(0, 0), (7, 8), (11, 3), (23, 22)] {
                let mut x = plain.to_vec().unwrap();
                x[(row * side + column) * channels + 5] = outlier;
                let x = Tensor::new(&device, plain.shape(), &x).unwrap();
                let run = |x: &Tensor| {
                    let [y, dx] = [0; 2].map(|_| Tensor::empty(&device, x.shape()).unwrap());
                    forward(&geometry, Layout::Hwio, Activation::None, x, &w, None, &y).unwrap();
                    input_gradient(&geometry, Layout::Hwio, Activation::None, x, &w, None, &dx).unwrap();
                    [y, dx].map(|t| t.to_vec().unwrap())
                };
                for (got, without) in run(&x).iter().zip(run(&plain)) {
                    for i in 0..values {
                        let (y, x) = (i / channels / side, i / channels % side);
                        let off = [y.abs_diff(row), x.abs_diff(column)];
                        let reads = off.iter().all(|off| [0, reach].contains(off));
                        if reads {
                            assert!(outlier.is_finite() || !got[i].is_finite(), "{outlier} is lost at {y}, {x}");
                        } else {
                            // Sums of 576 products of normal values: of size 24, and right to some 1e-5 of it.
                            let off = (got[i] - without[i]).abs();
                            assert!(off < 1e-3, "{outlier} at {row}, {column}: {} at {y}, {x} is off by {off}", got[i]);
                        }
                    }
                }
            }
        }
    }
}
