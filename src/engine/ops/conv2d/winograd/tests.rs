use crate::engine::device::{Device, DeviceChoice};
use crate::engine::ops::conv2d::tests::{DILATED, SAME, VALID, reference};
use crate::engine::ops::conv2d::winograd::Winograd;
use crate::engine::ops::conv2d::*;
use crate::engine::self_test::seeded;
use crate::engine::tensor::Tensor;

const HALVED: Conv2d = Conv2d { stride: 2, ..SAME };

/// The CPU and, where an adapter answers, a GPU by each of its bodies that filter.
fn devices() -> Vec<Device> {
    let gpus = crate::engine::testing::check::devices().iter().filter(|device| device.is_gpu()).count();
    let on_gpu = ["winograd", "winograd_software"].into_iter().filter(|_| gpus > 0).map(|body| {
        let device = Device::open(&DeviceChoice::Gpu).unwrap();
        let forced = [("conv2d", body), ("conv2d_dx", body), ("conv2d_dw", "winograd")];
        device.force_bodies(forced.map(|(kernel, body)| (kernel.to_owned(), body.to_owned())).into_iter().collect());
        device
    });
    let devices: Vec<Device> = std::iter::once(Device::cpu()).chain(on_gpu).collect();
    devices.iter().for_each(Device::poison_new_buffers);
    devices
}

/// Those of `devices` that filter kernels of this size.
fn filtering(devices: &[Device], conv: Conv2d, kernel: usize) -> impl Iterator<Item = &Device> {
    devices.iter().filter(move |device| !device.is_gpu() || (conv.stride, kernel) == (1, 3))
}

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
    let devices = devices();
    // Odd sizes, several pictures, tiles that are cut off, more than one block, chunk, slab and group.
    for (conv, x, w) in [
        (SAME, [1, 13, 14, 64], [4, 4, 64, 80]),
        (Conv2d { padding: Padding::Around(1), ..SAME }, [1, 32, 32, 64], [4, 4, 64, 64]),
        (Conv2d { padding: Padding::Valid, ..SAME }, [2, 19, 18, 80], [4, 4, 80, 64]),
        (HALVED, [1, 38, 38, 64], [4, 4, 64, 64]),
        (HALVED, [1, 61, 59, 64], [4, 4, 64, 96]),
        (HALVED, [2, 38, 38, 96], [4, 4, 96, 128]),
        (Conv2d { padding: Padding::Around(1), ..HALVED }, [1, 128, 128, 64], [4, 4, 64, 64]),
        (Conv2d { padding: Padding::Valid, ..HALVED }, [1, 40, 50, 128], [4, 4, 128, 64]),
        (SAME, [1, 15, 14, 64], [3, 3, 64, 144]),
        (SAME, [2, 13, 16, 80], [3, 3, 80, 64]),
        (DILATED, [1, 31, 29, 64], [3, 3, 64, 64]),
        (VALID, [1, 18, 17, 64], [3, 3, 64, 64]),
        (Conv2d { padding: Padding::Valid, ..DILATED }, [1, 20, 36, 64], [3, 3, 64, 64]),
        (SAME, [1, 64, 80, 64], [3, 3, 64, 64]),
        (SAME, [1, 93, 88, 64], [3, 3, 64, 64]),
    ] {
        let geometry = conv.geometry(&x, &w).unwrap();
        for layout in [Layout::Hwio, Layout::Hwoi] {
            assert!(Winograd::forward(&geometry, layout).is_some(), "{geometry:?}");
            assert!(Winograd::input_gradient(&geometry, layout).is_some(), "{geometry:?}");
        }
        let shapes = [&x[..], &w, &w[3..], &geometry.output_shape()];
        let tensors = |device: &Device| {
            let mut seed = 0;
            shapes.map(|shape| {
                seed += 1;
                seeded(device, shape, seed).unwrap()
            })
        };
        let doubles = tensors(&Device::cpu()).each_ref().map(doubled);
        let of = |i: usize| doubles.each_ref().map(|values| values[i].clone());
        let expected = [0, 1].map(of).map(|[x, w, b, dz]| {
            let y = reference(&geometry, false, &[x.clone(), w.clone(), b]);
            (y, input_gradient_reference(&geometry, &dz, &w), weight_gradient_reference(&geometry, &x, &dz))
        });
        for device in filtering(&devices, conv, w[0]) {
            for layout in [Layout::Hwio, Layout::Hwoi] {
                compare(&geometry, layout, &tensors(device), &expected);
            }
        }
    }
}

/// Values and scales of y, dx and dw.
type Expected = [(Vec<f64>, Vec<f64>, Vec<f64>); 2];

/// The three products of a convolution of x, w in [`Layout::Hwio`], b and dz.
fn compare(geometry: &Geometry, layout: Layout, [x, w, b, dz]: &[Tensor; 4], [values, scales]: &Expected) {
    let [c, o] = [geometry.c as usize, geometry.o as usize];
    let device = x.device();
    let laid = if layout == Layout::Hwoi {
        Tensor::new(device, w.shape(), &transposed(&w.to_vec().unwrap(), [c, o])).unwrap()
    } else {
        w.clone()
    };
    let [y, dx, dw] = [dz.shape(), x.shape(), w.shape()].map(|shape| Tensor::empty(device, shape).unwrap());
    forward(geometry, layout, Activation::None, x, &laid, Some(b), &y).unwrap();
    input_gradient(geometry, layout, Activation::None, dz, &laid, None, &dx).unwrap();
    weight_gradient(geometry, layout, x, dz, &dw).unwrap();
    let [y, dx, mut dw] = [y, dx, dw].map(|tensor| tensor.to_vec().unwrap());
    if layout == Layout::Hwoi {
        dw = transposed(&dw, [o, c]);
    }
    let taps = geometry.kh as usize * geometry.kw as usize;
    // The larger powers of F(5x5, 2x2) round more.
    let of_rounding = if geometry.stride == 2 { 8.0 } else { 4.0 };
    for (name, got, expected, scale, depth) in [
        ("y", y, &values.0, &scales.0, taps * c),
        ("dx", dx, &values.1, &scales.1, taps * o),
        ("dw", dw, &values.2, &scales.2, geometry.output_pixels()),
    ] {
        let mut worst = 0.0f64;
        for ((got, expected), scale) in got.iter().zip(expected).zip(scale) {
            let allowed = of_rounding * 2f64.powi(-24) * (depth as f64).sqrt() * scale;
            let off = (f64::from(*got) - expected).abs() / allowed;
            worst = if off.is_nan() { f64::INFINITY } else { worst.max(off) };
        }
        let on = device.name();
        assert!(worst <= 1.0, "{on}: {name} of {geometry:?}, {layout:?}: {worst} times the tolerance");
    }
}

/// The matrix of each tap, transposed.
fn transposed(w: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let matrices = w.chunks_exact(rows * columns);
    matrices.flat_map(|w| (0..rows * columns).map(|i| w[i % rows * columns + i / rows])).collect()
}

#[test]
fn winograd_keeps_outliers_to_the_outputs_that_read_them() {
    let (channels, devices) = (64, devices());
    for (conv, side, kernel) in [(SAME, 24, 3), (DILATED, 24, 3), (SAME, 24, 4), (HALVED, 38, 4)] {
        let w = [kernel, kernel, channels, channels];
        let g = conv.geometry(&[1, side, side, channels], &w).unwrap();
        assert!(Winograd::forward(&g, Layout::Hwio).is_some() && Winograd::input_gradient(&g, Layout::Hwio).is_some());
        for device in filtering(&devices, conv, kernel) {
            check_outliers(device, &g);
        }
    }
}

/// Also where an uneven tile is made anew: near the end of the second picture, in the last group of bands.
#[test]
fn every_output_is_finished_once() {
    for (conv, x, w) in [
        (SAME, [2, 93, 88, 64], [3, 3, 64, 80]),
        (DILATED, [2, 31, 29, 64], [3, 3, 64, 64]),
        (HALVED, [2, 38, 38, 64], [4, 4, 64, 64]),
    ] {
        let (g, device) = (conv.geometry(&x, &w).unwrap(), Device::cpu());
        assert!(Winograd::forward(&g, Layout::Hwio).is_some() && Winograd::input_gradient(&g, Layout::Hwio).is_some());
        let with_an_outlier = |shape: &[usize]| {
            let mut values = seeded(&device, shape, 1).unwrap().to_vec().unwrap();
            let at = values.len() - 3 * shape[3];
            values[at] = 1e6;
            Tensor::new(&device, shape, &values).unwrap()
        };
        let (x, dz, w) = (with_an_outlier(&x), with_an_outlier(&g.output_shape()), seeded(&device, &w, 2).unwrap());
        for (of, forth) in [(&x, true), (&dz, false)] {
            let made = if forth { g.output_shape() } else { g.input_shape() };
            let b = seeded(&device, &made[3..], 3).unwrap();
            let run = |activation, b| {
                let y = Tensor::empty(&device, &made).unwrap();
                let pass = if forth { forward } else { input_gradient };
                pass(&g, Layout::Hwio, activation, of, &w, b, &y).unwrap();
                y.to_vec().unwrap()
            };
            let (sums, finished, b) =
                (run(Activation::None, None), run(Activation::Relu, Some(&b)), b.to_vec().unwrap());
            for (i, (sum, finished)) in sums.iter().zip(finished).enumerate() {
                assert_eq!(finished, (sum + b[i % b.len()]).max(0.0), "{i} of {made:?}, forth: {forth}");
            }
        }
    }
}

fn check_outliers(device: &Device, g: &Geometry) {
    let [channels, kernel, side] = [g.c, g.kh, g.h].map(|size| size as usize);
    let tensor = |shape: &[usize], seed| seeded(device, shape, seed).unwrap();
    let w = tensor(&[kernel, kernel, channels, channels], 2);
    let [x, dz] = [g.input_shape(), g.output_shape()].map(|shape| tensor(&shape, 1));
    let run = |x: &Tensor, dz: &Tensor| {
        let [y, dx] = [dz, x].map(|like| Tensor::empty(device, like.shape()).unwrap());
        forward(g, Layout::Hwio, Activation::None, x, &w, None, &y).unwrap();
        input_gradient(g, Layout::Hwio, Activation::None, dz, &w, None, &dx).unwrap();
        [y, dx].map(|t| t.to_vec().unwrap())
    };
    let [ho, stride, dilation, pad] = [g.ho, g.stride, g.dilation, g.pad_top].map(|size| size as usize);
    // Whether an output pixel and an input pixel meet under a tap, along one axis.
    let meet = |output: usize, input: usize| (0..kernel).any(|k| output * stride + k * dilation == input + pad);
    for outlier in [f32::NAN, f32::INFINITY, 1e4, -3e5, 1e30] {
        for (row, column) in [(0, 0), (7, 8), (11, 3), (ho - 1, ho - 2)] {
            let with = |plain: &Tensor, width: usize| {
                let mut values = plain.to_vec().unwrap();
                values[(row * width + column) * channels + 5] = outlier;
                Tensor::new(device, plain.shape(), &values).unwrap()
            };
            let (got, plain) = (run(&with(&x, side), &with(&dz, ho)), run(&x, &dz));
            for (pass, (got, without)) in got.iter().zip(&plain).enumerate() {
                let width = [ho, side][pass];
                for (i, (got, without)) in got.iter().zip(without).enumerate() {
                    let (y, x) = (i / channels / width, i / channels % width);
                    let reads =
                        if pass == 0 { meet(y, row) && meet(x, column) } else { meet(row, y) && meet(column, x) };
                    if reads {
                        assert!(outlier.is_finite() || !got.is_finite(), "{outlier} is lost at {y}, {x}");
                    } else {
                        // Sums of 576 or 1024 products of normal values: of size 24 or 32, and right to some 1e-5
                        // or 1e-4 of it.
                        let off = (got - without).abs();
                        assert!(
                            off < if kernel == 3 { 1e-3 } else { 4e-3 },
                            "{outlier} at {row}, {column}: {got} at {y}, {x} is off by {off}"
                        );
                    }
                }
            }
        }
    }
}
