//! Sizes at which a driver's limits would show: loops of more than 65,535 turns, which Mesa's software driver ends
//! there without a word, and grids of more than 65,535 workgroups along an axis; and sizes that overflow or do not fit.

use crate::engine::device::{Device, MAX_GROUPS};
use crate::engine::op::{Backward, Op};
use crate::engine::ops::activation::Activation;
use crate::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use crate::engine::ops::batch_norm::{BatchNormInference, BatchNormTrain};
use crate::engine::ops::concat::Concat;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::ops::convex_mix::ConvexMix;
use crate::engine::ops::dense::Dense;
use crate::engine::ops::max_pool2d::MaxPool2d;
use crate::engine::ops::mean_loss::MeanLoss;
use crate::engine::ops::pad::{Slice, ZeroPad};
use crate::engine::ops::perturb::{Draw, RRelu};
use crate::engine::ops::prelu::PRelu;
use crate::engine::ops::reduce::Mean;
use crate::engine::ops::relu::Relu;
use crate::engine::ops::softmax::Softmax;
use crate::engine::ops::upsample_bilinear::UpsampleBilinear;
use crate::engine::ops::upsample_nearest::UpsampleNearest;
use crate::engine::self_test::seeded;
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::devices;

const CONV: Conv2d = Conv2d { stride: 1, dilation: 1, padding: Padding::Valid, activation: conv2d::Activation::None };

/// Output and gradients of an op on seeded inputs.
fn run(op: &dyn Op, device: &Device, shapes: &[&[usize]]) -> Vec<Vec<f32>> {
    let inputs: Vec<Tensor> = (1..).zip(shapes).map(|(seed, shape)| seeded(device, shape, seed).unwrap()).collect();
    let forward = op.forward(&inputs.iter().collect::<Vec<_>>()).unwrap();
    let dy = seeded(device, forward.y.shape(), 9).unwrap();
    let needs = vec![true; shapes.len()];
    let mut backward = Backward::new(&dy, &forward.saved, &needs, vec![None; shapes.len()]);
    op.backward(&mut backward).unwrap();
    let grads = backward.into_grads().into_iter().flatten();
    std::iter::once(forward.y).chain(grads).map(|t| t.to_vec().unwrap()).collect()
}

/// Every device against the CPU, up to `share` of the largest value of each result.
///
/// The twins know no limits of drivers, and the tests of each op hold them to its reference.
fn agree(op: &dyn Op, shapes: &[&[usize]], share: f32) {
    let expected = run(op, &Device::cpu(), shapes);
    for device in devices() {
        for (result, (got, expected)) in run(op, &device, shapes).iter().zip(&expected).enumerate() {
            let largest = expected.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
            let off = got
                .iter()
                .zip(expected)
                .map(|(g, e)| (g - e).abs())
                .fold(0.0f32, |most, off| if off.is_nan() { f32::INFINITY } else { most.max(off) });
            assert!(
                off <= share * largest,
                "{}: result {result} of {shapes:?} is off by {off} of {largest}",
                device.name()
            );
        }
    }
}

#[test]
fn means_over_windows_of_any_size_are_whole() {
    for device in devices() {
        for side in [256, 1024] {
            let ones = Tensor::full(&device, &[1, side, side, 1], 1.0).unwrap();
            let mean = AdaptiveAvgPool2d { output: [1, 1] }.forward(&[&ones]).unwrap().y.item().unwrap();
            assert!((mean - 1.0).abs() < 1e-6, "{}: the mean of {side}x{side} ones is {mean}", device.name());
        }
    }
    agree(&AdaptiveAvgPool2d { output: [1, 1] }, &[&[2, 300, 259, 3]], 1e-4);
    agree(&AdaptiveAvgPool2d { output: [2, 1] }, &[&[1, 401, 390, 2]], 1e-4);
    agree(&AdaptiveAvgPool2d { output: [1, 2] }, &[&[1, 1, 200_001, 2]], 1e-4);
    agree(&AdaptiveAvgPool2d { output: [1, 1] }, &[&[1, 70_001, 2, 1]], 1e-4);
    // Many windows over one pixel.
    agree(&AdaptiveAvgPool2d { output: [300, 301] }, &[&[1, 1, 1, 2]], 1e-4);
    agree(&AdaptiveAvgPool2d { output: [2, 40_000] }, &[&[1, 3, 2, 1]], 1e-4);
}

#[test]
fn enlargements_by_large_factors_have_whole_gradients() {
    // Sums of 90,000 and more values, which the twins add up one after the other.
    agree(&UpsampleNearest { factor: 300 }, &[&[1, 2, 3, 2]], 1e-4);
    agree(&UpsampleBilinear { factor: 301 }, &[&[2, 3, 2, 1]], 1e-4);
    agree(&UpsampleBilinear { factor: 1500 }, &[&[1, 1, 1, 1]], 1e-4);
}

#[test]
fn deep_products_are_whole() {
    // Forwards, for the gradient of the input, and for that of the weights: sums of 70,001 products.
    agree(&Dense, &[&[2, 70_001], &[70_001, 3], &[3]], 1e-4);
    agree(&Dense, &[&[3, 2], &[2, 70_001], &[70_001]], 1e-4);
    agree(&Dense, &[&[70_001, 3], &[3, 2], &[2]], 1e-4);
    let transposed = ConvTranspose2d { stride: 2, activation: conv2d::Activation::Relu };
    agree(&transposed, &[&[1, 2, 3, 40_000], &[3, 3, 40_000, 1], &[1]], 1e-4);
}

#[test]
fn sums_over_many_taps_are_whole() {
    let run = |device: &Device| {
        let [x, w] = [[1, 1, 70_003, 1], [1, 70_001, 1, 2]].map(|shape| seeded(device, &shape, 1).unwrap());
        CONV.forward(&[&x, &w]).unwrap().y.to_vec().unwrap()
    };
    let expected = run(&Device::cpu());
    for device in devices() {
        let largest = expected.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        for (got, expected) in run(&device).iter().zip(&expected) {
            assert!((got - expected).abs() <= 1e-4 * largest, "{}: {got}, not {expected}", device.name());
        }
    }
}

#[test]
fn the_softmax_of_millions_is_whole() {
    agree(&Softmax, &[&[2, (1 << 18) + 1]], 1e-4);
    agree(&Softmax, &[&[1, 4_000_000]], 1e-4);
}

#[test]
fn channels_beyond_a_grid_of_workgroups_work() {
    let channels = 64 * MAX_GROUPS as usize + 65;
    agree(&PRelu, &[&[1, 1, 1, channels], &[channels]], 1e-6);
    agree(
        &Conv2d { activation: conv2d::Activation::Relu, ..CONV },
        &[&[1, 1, 1, 1], &[1, 1, 1, channels], &[channels]],
        1e-5,
    );
}

#[test]
fn strides_with_more_phases_than_a_grid_has_workgroups_work() {
    agree(&Conv2d { stride: 300, ..CONV }, &[&[1, 601, 602, 1], &[3, 4, 1, 2], &[2]], 1e-5);
    // A stride that no picture is as long as, and one that shares a factor with the dilation.
    agree(&Conv2d { stride: 1000, padding: Padding::Same, ..CONV }, &[&[1, 5, 7, 2], &[3, 3, 2, 2], &[2]], 1e-5);
    agree(&Conv2d { stride: 6, dilation: 4, ..CONV }, &[&[1, 31, 29, 2], &[5, 4, 2, 3], &[3]], 1e-5);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let device = Device::cpu();
    let x = Tensor::full(&device, &[1, 4, 4, 2], 1.0).unwrap();
    let w = Tensor::full(&device, &[3, 3, 2, 2], 1.0).unwrap();
    let huge = [usize::MAX, usize::MAX / 2 + 1, usize::MAX / 4 + 1, 1 << 62, 1 << 32, 1 << 31];
    for huge in huge {
        let ops: [(&str, Box<dyn Op>, Vec<&Tensor>); 9] = [
            ("slice", Box::new(Slice { first: [huge, 0, 0], size: [2, 1, 1] }), vec![&x]),
            ("slice", Box::new(Slice { first: [0, 1, 0], size: [1, huge, 1] }), vec![&x]),
            ("pad", Box::new(ZeroPad { top: huge, bottom: 0, left: 0, right: 0 }), vec![&x]),
            ("pad", Box::new(ZeroPad::all(huge)), vec![&x]),
            ("dilation", Box::new(Conv2d { dilation: huge, padding: Padding::Same, ..CONV }), vec![&x, &w]),
            ("stride", Box::new(Conv2d { stride: huge, padding: Padding::Same, ..CONV }), vec![&x, &w]),
            (
                "transposed",
                Box::new(ConvTranspose2d { stride: huge, activation: conv2d::Activation::None }),
                vec![&x, &w],
            ),
            ("upsampling", Box::new(UpsampleNearest { factor: huge }), vec![&x]),
            ("pooling", Box::new(AdaptiveAvgPool2d { output: [huge, 1] }), vec![&x]),
        ];
        for (name, op, inputs) in ops {
            let code = op.forward(&inputs).err().map(|error| error.exit_code());
            assert_eq!(code, Some(2), "{name} with {huge}");
        }
    }
}

#[test]
fn gradients_of_another_shape_are_refused_before_a_kernel_indexes_them() {
    let device = Device::cpu();
    let tensor = |shape: &[usize]| seeded(&device, shape, 1).unwrap();
    let (x, c) = (tensor(&[2, 4, 6, 4]), tensor(&[4]));
    let (w, one) = (tensor(&[3, 3, 4, 4]), tensor(&[1]));
    let batch =
        BatchNormTrain { running_mean: tensor(&[4]), running_var: tensor(&[4]), pooled: true, momentum: 0.5, eps: 1.0 };
    let draw = Some(Draw { seed: 1, step: 1, layer: 1, first: 0 });
    let same = Conv2d { padding: Padding::Same, ..CONV };
    let transposed = |activation| ConvTranspose2d { stride: 2, activation };
    let ops: Vec<(Box<dyn Op>, Vec<&Tensor>)> = vec![
        (Box::new(Activation::Tanh), vec![&x]),
        (Box::new(AdaptiveAvgPool2d { output: [2, 3] }), vec![&x]),
        (Box::new(batch), vec![&x, &c, &c]),
        (Box::new(BatchNormInference { mean: c.clone(), var: c.clone(), eps: 9.0 }), vec![&x, &c, &c]),
        (Box::new(Concat), vec![&x, &x]),
        (Box::new(same), vec![&x, &w, &c]),
        (Box::new(Conv2d { activation: conv2d::Activation::Relu, ..same }), vec![&x, &w, &c]),
        (Box::new(transposed(conv2d::Activation::None)), vec![&x, &w, &c]),
        (Box::new(transposed(conv2d::Activation::Relu)), vec![&x, &w, &c]),
        (Box::new(ConvexMix), vec![&x, &x, &one]),
        (Box::new(MaxPool2d), vec![&x]),
        (Box::new(MeanLoss::L1), vec![&x, &x]),
        (Box::new(MeanLoss::L1.against(0.5)), vec![&x]),
        (Box::new(ZeroPad::all(9)), vec![&x]),
        (Box::new(Slice { first: [1, 1, 1], size: [2, 2, 2] }), vec![&x]),
        (Box::new(RRelu { draw }), vec![&x]),
        (Box::new(PRelu), vec![&x, &c]),
        (Box::new(Mean), vec![&x]),
        (Box::new(Relu), vec![&x]),
        (Box::new(Softmax), vec![&x]),
        (Box::new(UpsampleBilinear { factor: 4 }), vec![&x]),
        (Box::new(UpsampleNearest { factor: 4 }), vec![&x]),
    ];
    // Of four axes, so that each op gets as far as its own check.
    let dy = tensor(&[1, 1, 3, 2]);
    for (number, (op, inputs)) in ops.iter().enumerate() {
        let forward = op.forward(inputs).unwrap();
        let needs = vec![true; inputs.len()];
        let mut backward = Backward::new(&dy, &forward.saved, &needs, vec![None; inputs.len()]);
        let code = op.backward(&mut backward).err().map(|error| error.exit_code());
        assert_eq!(code, Some(2), "op {number} of the list");
    }
}
