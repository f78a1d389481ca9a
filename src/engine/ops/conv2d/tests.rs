use crate::engine::device::{Device, DeviceChoice, View, texts};
use crate::engine::op::{Backward, Op};
use crate::engine::ops::conv2d::launch::{by_images, forward, input_gradient, weight_gradient_by};
use crate::engine::ops::conv2d::params::{DEPTH_QUADS, Params};
use crate::engine::ops::conv2d::products::{FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT};
use crate::engine::ops::conv2d::*;
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::{Check, Tolerance, cases, devices};
use crate::random::{Rng, Stream};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

/// The definition, as a plain loop in f64: x, w, b.
pub(super) fn reference(g: &Geometry, relu: bool, inputs: &[Vec<f64>]) -> Vec<f64> {
    let at = |v: u32| v as usize;
    let mut y = Vec::with_capacity(g.output_pixels() * at(g.o));
    for n in 0..g.n {
        for oy in 0..g.ho {
            for ox in 0..g.wo {
                for o in 0..at(g.o) {
                    let mut sum = inputs[2][o];
                    for ky in 0..g.kh {
                        for kx in 0..g.kw {
                            let iy = i64::from(oy * g.stride + ky * g.dilation) - i64::from(g.pad_top);
                            let ix = i64::from(ox * g.stride + kx * g.dilation) - i64::from(g.pad_left);
                            if iy < 0 || iy >= i64::from(g.h) || ix < 0 || ix >= i64::from(g.w) {
                                continue;
                            }
                            let pixel = (at(n) * at(g.h) + iy as usize) * at(g.w) + ix as usize;
                            for c in 0..at(g.c) {
                                let tap = (at(ky) * at(g.kw) + at(kx)) * at(g.c) + c;
                                sum += inputs[0][pixel * at(g.c) + c] * inputs[1][tap * at(g.o) + o];
                            }
                        }
                    }
                    y.push(if relu { sum.max(0.0) } else { sum });
                }
            }
        }
    }
    y
}

pub(super) const SAME: Conv2d = Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: Activation::None };
const STRIDED: Conv2d = Conv2d { stride: 2, ..SAME };
pub(super) const DILATED: Conv2d = Conv2d { dilation: 2, ..SAME };
pub(super) const VALID: Conv2d = Conv2d { padding: Padding::Valid, ..SAME };

/// Both bodies, forward and gradients, against the reference.
fn check(conv: Conv2d, x: [usize; 4], w: [usize; 4]) {
    let geometry = conv.geometry(&x, &w).unwrap();
    let relu = conv.activation == Activation::Relu;
    let products = w[0] * w[1] * w[2];
    // The longest sums: over taps and outputs for the input's gradient, over pixels for that of the weights.
    let longest = (w[0] * w[1] * w[3]).max(geometry.output_pixels());
    let index = Cell::new(0);
    Check::new(&[&x, &w, &[w[3]]])
        .map(2, |v| {
            // Behind a ReLU, even channels lie far above the kink and odd ones far below (8 standard deviations), so
            // that finite differences do not cross it.
            let far = if relu { 8.0 * (products as f32).sqrt() } else { 0.0 };
            index.set(index.get() + 1);
            if index.get() % 2 == 1 { v + far } else { v - far }
        })
        .reference(move |inputs| reference(&geometry, relu, inputs))
        .tolerance(Tolerance::Dot(products))
        .grad_tolerance(Tolerance::Dot(longest))
        .run(&conv);
}

#[test]
fn convolutions_match_their_reference() {
    check(SAME, [1, 8, 8, 4], [3, 3, 4, 8]);
    check(SAME, [2, 5, 7, 3], [3, 3, 3, 5]);
    check(SAME, [1, 6, 5, 8], [1, 1, 8, 6]);
    check(SAME, [1, 4, 4, 2], [2, 5, 2, 3]);
}

#[test]
fn a_first_layer_with_one_channel_matches_its_reference() {
    check(SAME, [1, 9, 10, 1], [3, 3, 1, 8]);
}

#[test]
fn strided_convolutions_match_their_reference() {
    check(STRIDED, [1, 8, 8, 4], [3, 3, 4, 4]);
    check(STRIDED, [1, 7, 9, 2], [3, 3, 2, 3]);
    check(STRIDED, [1, 8, 8, 3], [4, 4, 3, 4]);
    check(STRIDED, [1, 5, 5, 4], [1, 1, 4, 4]);
    check(Conv2d { stride: 3, ..VALID }, [1, 11, 8, 2], [3, 2, 2, 4]);
}

#[test]
fn dilated_convolutions_match_their_reference() {
    check(DILATED, [1, 9, 8, 4], [3, 3, 4, 8]);
    check(Conv2d { stride: 2, ..DILATED }, [1, 9, 9, 2], [3, 3, 2, 2]);
    check(Conv2d { stride: 3, ..DILATED }, [1, 11, 10, 2], [3, 3, 2, 2]);
}

#[test]
fn valid_padding_matches_its_reference() {
    check(VALID, [1, 6, 8, 4], [3, 3, 4, 4]);
    check(VALID, [2, 4, 4, 3], [4, 4, 3, 1]);
}

#[test]
fn zeros_around_match_their_reference() {
    let around = |zeros| Conv2d { padding: Padding::Around(zeros), ..SAME };
    check(around(1), [1, 6, 8, 4], [4, 4, 4, 4]);
    check(around(2), [2, 4, 5, 3], [3, 4, 3, 2]);
    check(Conv2d { stride: 2, dilation: 2, ..around(3) }, [1, 5, 6, 2], [3, 3, 2, 3]);
    // By Winograd's filtering on the CPU.
    check(around(2), [1, 6, 5, 64], [3, 3, 64, 64]);
    let refused = around(3).output_shape(&[1, 9, 9, 2], &[3, 3, 2, 4]).unwrap_err();
    assert!(refused.exit_code() == 2 && refused.to_string().contains("3 rows of zeros"), "{refused}");
}

#[test]
fn one_output_matches_its_reference() {
    // Blocks of a gradient that span taps, and pixels in several parts.
    check(SAME, [2, 5, 6, 90], [3, 3, 90, 1]);
    check(SAME, [1, 66, 67, 2], [3, 3, 2, 1]);
}

#[test]
fn products_in_place_and_of_transposed_weights_match_their_reference() {
    check(STRIDED, [1, 6, 6, 16], [3, 3, 16, 96]);
    // A panel that is half full, and sums in two parts.
    check(SAME, [1, 2, 2, 352], [1, 1, 352, 48]);
    check(STRIDED, [1, 6, 5, 32], [2, 2, 32, 160]);
}

#[test]
fn bias_gradients_of_many_pixels_match_their_reference() {
    check(SAME, [1, 66, 65, 1], [1, 1, 1, 5]);
}

#[test]
fn relu_is_fused_in_both_directions() {
    check(Conv2d { activation: Activation::Relu, ..SAME }, [1, 7, 6, 4], [3, 3, 4, 6]);
    check(Conv2d { activation: Activation::Relu, ..STRIDED }, [2, 6, 6, 2], [3, 3, 2, 4]);
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn convolutions_of_any_geometry_match_their_reference(
        size in (1usize..3, 1usize..9, 1usize..9),
        kernel in (1usize..5, 1usize..5),
        channels in (1usize..7, 1usize..10),
        step in (1usize..4, 1usize..3),
        relu in any::<bool>(),
    ) {
        let activation = if relu { Activation::Relu } else { Activation::None };
        let conv = Conv2d { stride: step.0, dilation: step.1, activation, ..SAME };
        check(conv, [size.0, size.1, size.2, channels.0], [kernel.0, kernel.1, channels.0, channels.1]);
    }
}

/// Launches with every body, whatever the adapter is.
mod bodies {
    use super::*;

    /// For matrices there is a test of its own.
    const BODIES: [&str; 8] =
        ["wide", "narrow", "quads", "scalars", "software_quads", "software", "winograd", "winograd_software"];

    /// Every body against the twin, over more than one tile in each direction, with the depth whole and cut.
    fn compare(conv: Conv2d, x: [usize; 4], w: [usize; 4]) {
        for most in [DEPTH_QUADS, 9] {
            compare_layout(Layout::Hwio, conv, x, w, most);
            compare_layout(Layout::Hwoi, conv, x, w, most);
        }
    }

    fn compare_layout(layout: Layout, conv: Conv2d, x: [usize; 4], w: [usize; 4], most: usize) {
        let geometry = conv.geometry(&x, &w).unwrap();
        let y_shape = geometry.output_shape();
        let run = |device: &Device, body: &str| -> [Vec<f32>; 3] {
            // What a body declines the one that declines nothing runs.
            let pairs = KERNELS.iter().flat_map(|kernel| {
                let has = |wanted| texts(*kernel).any(|text| text.body == wanted);
                let bodies = [body, "scalars"].into_iter().filter(move |&wanted| has("scalars") && has(wanted));
                bodies.map(|body| (kernel.name().to_owned(), body.to_owned()))
            });
            device.force_bodies(pairs.collect());
            // Both ways to compile a body, each in half of the runs.
            device.fix_sizes(most == 9);
            let tensor = |shape: &[usize], seed| crate::engine::self_test::seeded(device, shape, seed).unwrap();
            let (x, w, b, dz) = (tensor(&x, 1), tensor(&w, 2), tensor(&w[3..], 3), tensor(&y_shape, 4));
            let [y, dx, dw] = [dz.shape(), x.shape(), w.shape()].map(|shape| Tensor::empty(device, shape).unwrap());
            let plain = Params::new(&geometry, layout);
            let params = plain.finished(Activation::Relu, true).cut(geometry.c, most, [1 << 16, 64]);
            let split = plain.chunked(3, 16);
            device.launch(&FORWARD, &params, &[&x, &w, &b], &[], &[&y]).unwrap();
            let params = plain.finished(Activation::Relu, true).cut(geometry.o, most, [1 << 16, 64]);
            let channel_bias = tensor(&x.shape()[3..], 5);
            device.launch(&INPUT_GRADIENT, &params, &[&dz, &w, &channel_bias], &[], &[&dx]).unwrap();
            device.launch(&WEIGHT_GRADIENT, &split, &[&x, &dz], &[], &[&dw]).unwrap();
            [y, dx, dw].map(|t| t.to_vec().unwrap())
        };
        let expected = run(&Device::cpu(), "quads");
        // A device of its own, whose bodies no other test changes.
        for device in devices().iter().filter(|device| device.is_gpu()).map(|_| Device::open(&DeviceChoice::Gpu)) {
            let device = device.unwrap();
            device.poison_new_buffers();
            for body in BODIES {
                for ((name, got), expected) in ["y", "dx", "dw"].iter().zip(run(&device, body)).zip(&expected) {
                    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                        // Sums of some 1000 products of normal values: both bodies round to about 1e-6 of the largest.
                        assert!(
                            (got - expected).abs() <= 1e-5 * largest,
                            "{}: {body} of {conv:?}, {layout:?}, cut at {most}, on {x:?} {w:?}: \
                             {name}[{i}] = {got}, expected {expected}",
                            device.name(),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_body_agrees_with_the_twin() {
        compare(SAME, [1, 11, 13, 20], [3, 3, 20, 72]);
        compare(SAME, [1, 11, 13, 72], [3, 3, 72, 20]);
        compare(SAME, [2, 9, 9, 5], [3, 3, 5, 67]);
        compare(SAME, [1, 16, 9, 1], [3, 3, 1, 6]);
        compare(SAME, [1, 9, 9, 24], [1, 1, 24, 70]);
        compare(STRIDED, [2, 13, 12, 8], [3, 3, 8, 12]);
        compare(STRIDED, [1, 17, 16, 7], [4, 4, 7, 4]);
        compare(STRIDED, [1, 5, 6, 4], [1, 1, 4, 4]);
        compare(DILATED, [1, 12, 11, 8], [3, 3, 8, 8]);
        compare(Conv2d { stride: 2, ..DILATED }, [1, 12, 11, 4], [3, 3, 4, 4]);
        compare(VALID, [1, 9, 12, 12], [4, 4, 12, 8]);
        // For wide tiles, of more than one in each direction.
        compare(SAME, [2, 11, 13, 32], [3, 3, 32, 144]);
        compare(SAME, [1, 12, 13, 144], [3, 3, 144, 32]);
        compare(STRIDED, [2, 13, 12, 16], [4, 4, 16, 32]);
        compare(Conv2d { stride: 2, ..DILATED }, [1, 12, 11, 16], [3, 3, 16, 16]);
        // For narrow ones, of y and of dx.
        compare(SAME, [2, 11, 13, 32], [3, 3, 32, 3]);
        compare(STRIDED, [2, 35, 34, 1], [4, 4, 1, 32]);
        // For filtering, with parts of tiles and of the tiles of their products.
        compare(Conv2d { padding: Padding::Rows { top: 3, bottom: 0 }, ..SAME }, [1, 13, 15, 80], [3, 3, 80, 64]);
    }
}

#[test]
fn the_twin_agrees_with_the_reference_over_many_blocks() {
    // More pixels than one block, more weights than one slab, more than one chunk of partial sums.
    for (conv, x, w) in [
        (SAME, [1, 66, 67, 2], [3, 3, 2, 3]),
        // A block that begins in the midst of one picture and ends in the next.
        (STRIDED, [2, 37, 66, 3], [3, 3, 3, 2]),
        // The same for dx, to few channels.
        (STRIDED, [2, 37, 66, 3], [4, 4, 3, 16]),
        (SAME, [1, 5, 6, 90], [3, 3, 90, 4]),
        // Panels of 16, 32 and 64 outputs, one or several, whole or not; more channels than one product reads.
        (SAME, [1, 9, 10, 20], [3, 3, 20, 37]),
        (STRIDED, [1, 6, 6, 2], [4, 4, 2, 260]),
        (STRIDED, [2, 7, 5, 140], [2, 2, 140, 18]),
        (SAME, [1, 3, 4, 128], [1, 3, 128, 16]),
        // Rows longer than a block, of gathered pixels and of others, and of the input gradient's grids.
        (SAME, [1, 2, 515, 2], [3, 3, 2, 5]),
        (SAME, [1, 2, 515, 16], [3, 3, 16, 5]),
        (STRIDED, [1, 3, 1031, 3], [3, 3, 3, 5]),
    ] {
        check(conv, x, w);
    }
}

#[test]
fn a_convolution_without_a_bias_matches_its_reference() {
    for relu in [false, true] {
        let activation = if relu { Activation::Relu } else { Activation::None };
        let conv = Conv2d { activation, ..STRIDED };
        let geometry = conv.geometry(&[1, 8, 7, 3], &[4, 4, 3, 5]).unwrap();
        // Positive values and, by outputs, positive or negative weights: nothing lies near the kink.
        let index = Cell::new(0);
        Check::new(&[&[1, 8, 7, 3], &[4, 4, 3, 5]])
            .map(0, |v| v.abs() + 0.1)
            .map(1, |v| {
                index.set(index.get() + 1);
                if index.get() % 5 % 2 == 0 { v.abs() + 0.1 } else { -v.abs() - 0.1 }
            })
            .reference(move |x| reference(&geometry, relu, &[x[0].clone(), x[1].clone(), vec![0.0; 5]]))
            .tolerance(Tolerance::Dot(48))
            .grad_tolerance(Tolerance::Dot(80))
            .run(&conv);
    }
}

#[test]
fn a_nan_passes_the_fused_relu() {
    let conv = Conv2d { activation: Activation::Relu, ..SAME };
    // The second one's layer is large enough for Winograd on the CPU.
    for (side, channels) in [(4, 2), (16, 64)] {
        for device in devices() {
            let mut values = vec![1.0; side * side * channels];
            values[0] = f32::NAN;
            let x = Tensor::new(&device, &[1, side, side, channels], &values).unwrap();
            let w = Tensor::full(&device, &[3, 3, channels, channels], 1.0).unwrap();
            let b = Tensor::full(&device, &[channels], 0.0).unwrap();
            let y = conv.forward(&[&x, &w, &b]).unwrap().y.to_vec().unwrap();
            assert!(y[0].is_nan(), "{} at {side}x{side}", device.name());
        }
    }
}

#[test]
fn gradients_are_written_into_parts_of_one_buffer() {
    for device in devices() {
        let [x, w, b] =
            [&[1, 5, 5, 3][..], &[3, 3, 3, 5], &[5]].map(|s| crate::engine::self_test::seeded(&device, s, 7).unwrap());
        let conv = Conv2d { activation: Activation::Relu, ..SAME };
        let forward = conv.forward(&[&x, &w, &b]).unwrap();
        let arena = Tensor::full(&device, &[512], 99.0).unwrap();
        let slots = vec![None, Some(arena.part(0, w.shape()).unwrap()), Some(arena.part(192, b.shape()).unwrap())];
        let dy = crate::engine::self_test::seeded(&device, forward.y.shape(), 8).unwrap();
        let mut placed = Backward::new(&dy, &forward.saved, &[false, true, true], slots);
        conv.backward(&mut placed).unwrap();
        assert!(placed.into_grads()[0].is_none(), "nobody asked for the gradient of x");
        let mut free = Backward::new(&dy, &forward.saved, &[true; 3], vec![None; 3]);
        conv.backward(&mut free).unwrap();
        let grads: Vec<Vec<f32>> = free.into_grads().into_iter().flatten().map(|g| g.to_vec().unwrap()).collect();
        let arena = arena.to_vec().unwrap();
        assert_eq!((&arena[..135], &arena[192..197]), (&grads[1][..], &grads[2][..]), "{}", device.name());
        assert!(arena[135..192].iter().chain(&arena[197..]).all(|&v| v == 99.0), "{}", device.name());
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads, c: usize, o: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let device = Device::cpu();
            let [x, w, b] = [&[1, 40, 56, c][..], &[3, 3, c, o], &[o]]
                .map(|s| crate::engine::self_test::seeded(&device, s, 7).unwrap());
            let conv = Conv2d { activation: Activation::Relu, ..SAME };
            let forward = conv.forward(&[&x, &w, &b]).unwrap();
            let mut backward = Backward::new(&forward.y, &forward.saved, &[true; 3], vec![None; 3]);
            conv.backward(&mut backward).unwrap();
            let mut bits: Vec<Vec<f32>> = vec![forward.y.to_vec().unwrap()];
            bits.extend(backward.into_grads().into_iter().flatten().map(|g| g.to_vec().unwrap()));
            bits.concat().iter().map(|v| v.to_bits()).collect::<Vec<u32>>()
        })
    };
    // Gathered, with partial sums of the weight gradient, and by Winograd's filtering.
    for (c, o) in [(8, 12), (64, 80)] {
        assert!(run(1, c, o) == run(3, c, o), "{c} to {o} channels");
    }
}

#[test]
fn same_padding_is_the_asymmetric_one() {
    let pads = |size: usize, kernel: usize, stride: usize| {
        let g = Geometry::new(&[1, size, size, 1], &[kernel, kernel, 1, 1], stride, 1, Padding::Same).unwrap();
        (g.ho, g.pad_top)
    };
    // 3x3/2 pads an even size by 0 before and 1 after, an odd size by 1 and 1.
    assert_eq!(pads(8, 3, 2), (4, 0));
    assert_eq!(pads(7, 3, 2), (4, 1));
    assert_eq!(pads(8, 4, 2), (4, 1));
    assert_eq!(pads(8, 4, 1), (8, 1));
    assert_eq!(pads(5, 1, 2), (3, 0));
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_name_them() {
    let device = Device::cpu();
    let tensor = |shape: &[usize]| Tensor::full(&device, shape, 0.0).unwrap();
    let message = |conv: Conv2d, x: &[usize], w: &[usize], b: &[usize]| {
        let error = conv.forward(&[&tensor(x), &tensor(w), &tensor(b)]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert!(message(SAME, &[1, 4, 4, 3], &[3, 3, 2, 8], &[8]).contains("read 2 channels, the pictures have 3"));
    assert!(message(SAME, &[1, 4, 4, 2], &[3, 3, 2, 8], &[7]).contains("[7]"));
    assert!(message(SAME, &[4, 4, 2], &[3, 3, 2, 8], &[8]).contains("[N, H, W, C]"));
    assert!(message(VALID, &[1, 4, 2, 2], &[3, 3, 2, 8], &[8]).contains("3x3 pixels, the picture has 4x2"));
    assert!(message(Conv2d { stride: 0, ..SAME }, &[1, 4, 4, 2], &[3, 3, 2, 8], &[8]).contains("stride 0"));
}

/// A GPU that is slow, or a batch that is large: images go apart, and no bit changes.
#[test]
fn images_that_go_apart_have_the_same_bits() {
    for device in devices() {
        let geometry = SAME.geometry(&[5, 9, 8, 8], &[3, 3, 8, 16]).unwrap();
        let tensor = |shape: &[usize], seed| {
            let rng = Rng::new(seed, Stream::Test, 0);
            let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| rng.normal(i as u64)).collect();
            Tensor::new(&device, shape, &values).unwrap()
        };
        let [x, w] = [tensor(&[5, 9, 8, 8], 1), tensor(&[3, 3, 8, 16], 2)];
        let [y, parts] = [0.0; 2].map(|zero| Tensor::full(&device, &[5, 9, 8, 16], zero).unwrap());
        let [dx, dx_parts] = [0.0; 2].map(|zero| Tensor::full(&device, &[5, 9, 8, 8], zero).unwrap());
        forward(&geometry, Layout::Hwio, Activation::None, &x, &w, None, &y).unwrap();
        input_gradient(&geometry, Layout::Hwio, Activation::None, &y, &w, None, &dx).unwrap();
        let counts = RefCell::new(Vec::new());
        let launch = |kernel, channels| {
            let params = move |g: Geometry| Params::new(&g, Layout::Hwio).cut(channels, DEPTH_QUADS, [1 << 16, 64]);
            let (device, w, counts) = (&device, &w, &counts);
            move |g: Geometry, from: &View, to: &View| {
                counts.borrow_mut().push(g.n);
                device.launch(kernel, &params(g), &[from, w, w], &[], &[to])
            }
        };
        let most = geometry.flops() / 2.5;
        by_images(&geometry, most, &x, &parts, launch(&FORWARD, 8)).unwrap();
        by_images(&geometry, most, &y, &dx_parts, launch(&INPUT_GRADIENT, 16)).unwrap();
        assert_eq!(counts.into_inner(), [2, 2, 1].repeat(2));
        assert!(y.to_vec().unwrap() == parts.to_vec().unwrap(), "{}", device.name());
        assert!(dx.to_vec().unwrap() == dx_parts.to_vec().unwrap(), "{}", device.name());
    }
}

#[test]
fn a_weight_gradient_is_the_sum_over_images_that_go_apart() {
    let geometry = SAME.geometry(&[5, 9, 8, 8], &[3, 3, 8, 16]).unwrap();
    for device in devices() {
        let [x, dz] =
            [[5, 9, 8, 8], [5, 9, 8, 16]].map(|shape| crate::engine::seeded::seeded(&device, &shape, 1).unwrap());
        let [whole, parts] = [0.0; 2].map(|zero| Tensor::full(&device, &[3, 3, 8, 16], zero).unwrap());
        weight_gradient_by(&geometry, Layout::Hwio, [&x, &dz], &whole, f64::INFINITY).unwrap();
        weight_gradient_by(&geometry, Layout::Hwio, [&x, &dz], &parts, geometry.flops() / 2.5).unwrap();
        for (whole, parts) in whole.to_vec().unwrap().into_iter().zip(parts.to_vec().unwrap()) {
            // Sums of 360 products of some 1, in another order.
            assert!((whole - parts).abs() < 1e-4, "{}: {whole} {parts}", device.name());
        }
    }
}
