use crate::engine::device::{Device, Dispatch, GpuInfo, MAX_GROUPS};
use crate::engine::op::{Backward, Op};
use crate::engine::ops::batch_norm::launch::{GRAD, TRAIN};
use crate::engine::ops::batch_norm::params::Params;
use crate::engine::ops::batch_norm::{After, BatchNormInference, BatchNormTogether, BatchNormTrain, Rectifier};
use crate::engine::ops::perturb::{Draw, Dropout};
use crate::engine::ranks::Share;
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::{Check, cases, devices};
use crate::engine::testing::together;
use proptest::prelude::*;

const EPS: f32 = 1e-3;

/// Mean and biased variance of channel `c` of (P, C).
fn moments(x: &[f64], c: usize, channels: usize) -> (f64, f64) {
    let column: Vec<f64> = x.iter().skip(c).step_by(channels).copied().collect();
    let mean = column.iter().sum::<f64>() / column.len() as f64;
    (mean, column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / column.len() as f64)
}

fn reference(x: &[Vec<f64>], stats: impl Fn(usize) -> (f64, f64)) -> Vec<f64> {
    let channels = x[1].len();
    let value = |i: usize| {
        let c = i % channels;
        let (mean, var) = stats(c);
        x[1][c] * (x[0][i] - mean) / (var + f64::from(EPS)).sqrt() + x[2][c]
    };
    (0..x[0].len()).map(value).collect()
}

fn train(device: &Device, channels: usize) -> BatchNormTrain {
    let [running_mean, running_var] = [0.0, 1.0].map(|value| Tensor::full(device, &[channels], value).unwrap());
    BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.9, eps: EPS }
}

fn train_check(shape: [usize; 4]) -> Check {
    let c = shape[3];
    Check::new(&[&shape, &[c], &[c]]).map(0, |x| 2.0 * x + 3.0).reference(move |x| {
        let stats: Vec<_> = (0..c).map(|k| moments(&x[0], k, c)).collect();
        reference(x, |k| stats[k])
    })
}

fn check_train(shape: [usize; 4]) {
    train_check(shape).run_each(|device| train(device, shape[3]));
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn training_matches_its_reference_on_odd_shapes(n in 1usize..3, h in 2usize..9, w in 3usize..9, c in 1usize..9) {
        check_train([n, h, w, c]);
    }
}

#[test]
fn training_matches_its_reference_over_several_blocks_and_channel_tiles() {
    check_train([2, 17, 9, 13]);
    check_train([1, 13, 11, 70]);
    check_train([1, 37, 31, 70]);
    check_train([2, 33, 29, 5]);
}

const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, step: 7, layer: 3, first: 0 };

/// What follows, in f64, and `skip` of `joined` channels beside it.
fn followed(after: &After, values: &[f64], channels: usize, skip: &[f64]) -> Vec<f64> {
    let rng = crate::random::Rng::new(DRAW.seed, crate::random::Stream::Dropout, DRAW.step);
    let value = |(i, &v): (usize, &f64)| {
        let v = match after.dropout {
            Some(Dropout { rate, .. }) if rng.uniform((3 << 34) + i as u64) < rate => 0.0,
            Some(Dropout { rate, .. }) => v / (1.0 - f64::from(rate)),
            None => v,
        };
        match after.rectifier {
            Rectifier::None => v,
            Rectifier::Relu => v.max(0.0),
            Rectifier::LeakyRelu { slope } => v.max(0.0) + f64::from(slope) * v.min(0.0),
        }
    };
    let values: Vec<f64> = values.iter().enumerate().map(value).collect();
    let joined = skip.len() * channels / values.len();
    let row = |(i, y): (usize, &[f64])| [y, &skip[i * joined..(i + 1) * joined]].concat();
    values.chunks(channels).enumerate().flat_map(row).collect()
}

fn afters() -> impl Iterator<Item = After> {
    let rectifiers = [Rectifier::None, Rectifier::Relu, Rectifier::LeakyRelu { slope: 0.25 }];
    let dropouts = [None, Some(Dropout { rate: 0.25, draw: DRAW })];
    dropouts.into_iter().flat_map(move |dropout| rectifiers.map(|rectifier| After { dropout, rectifier }))
}

/// Few rows and more than a workgroup takes whole, with other channels beside and without.
const FOLLOWED: [([usize; 4], usize); 4] =
    [([2, 5, 7, 6], 0), ([1, 4, 3, 5], 3), ([1, 37, 31, 3], 0), ([1, 35, 30, 6], 2)];

#[test]
fn what_follows_in_training_matches_its_reference() {
    for (after, (shape, joined)) in afters().flat_map(|after| FOLLOWED.map(|case| (after, case))) {
        let c = shape[3];
        let skip = [shape[0], shape[1], shape[2], joined];
        let shapes: &[&[usize]] = &[&shape, &[c], &[c], &skip];
        let reference = move |x: &[Vec<f64>]| {
            let stats: Vec<_> = (0..c).map(|k| moments(&x[0], k, c)).collect();
            followed(&after, &reference(x, |k| stats[k]), c, x.get(3).map_or(&[], Vec::as_slice))
        };
        Check::new(&shapes[..if joined > 0 { 4 } else { 3 }])
            .map(0, |x| 2.0 * x + 3.0)
            .reference(reference)
            .run_each(|device| train(device, c).followed_by(after));
    }
}

#[test]
fn what_follows_fixed_statistics_matches_its_reference() {
    let (mean, var) = ([0.5f32, -1.0, 2.0], [0.3f32, 1.0, 4.0]);
    for (after, joined) in afters().flat_map(|after| [(after, 0), (after, 2)]) {
        let (shape, skip) = ([2, 24, 23, 3], [2, 24, 23, joined]);
        let shapes: &[&[usize]] = &[&shape, &[3], &[3], &skip];
        Check::new(&shapes[..if joined > 0 { 4 } else { 3 }])
            .reference(move |x| {
                let values = reference(x, |c| (f64::from(mean[c]), f64::from(var[c])));
                followed(&after, &values, 3, x.get(3).map_or(&[], Vec::as_slice))
            })
            .run_each(|device| {
                let [mean, var] = [mean, var].map(|values| Tensor::new(device, &[3], &values).unwrap());
                BatchNormInference { mean, var, eps: EPS }.followed_by(after)
            });
    }
}

#[test]
fn a_gradient_in_two_parts_is_that_of_their_sum() {
    let after = After { dropout: None, rectifier: Rectifier::LeakyRelu { slope: 0.25 } };
    for device in devices() {
        for (shape, joined) in [([1, 4, 3, 5], 3), ([1, 37, 31, 3], 2)] {
            let tensor = |shape: &[usize], seed| crate::engine::self_test::seeded(&device, shape, seed).unwrap();
            let (skip, c) = ([shape[0], shape[1], shape[2], joined], shape[3]);
            let op = train(&device, c).followed_by(after);
            let inputs = [tensor(&shape, 1), tensor(&[c], 2), tensor(&[c], 3), tensor(&skip, 4)];
            let forward = op.forward(&inputs.each_ref()).unwrap();
            let [a, b, sum] = [5, 6, 7].map(|seed| tensor(forward.y.shape(), seed));
            crate::engine::primitives::axpby(1.0, &a, 1.0, &b, &sum).unwrap();
            let gradients = |dy: &Tensor, more: Option<&Tensor>| {
                let mut backward = Backward::new(dy, &forward.saved, &[true; 4], vec![None; 4]).adding(more);
                op.backward(&mut backward).unwrap();
                backward.into_grads().into_iter().map(|grad| grad.unwrap().to_vec().unwrap()).collect::<Vec<_>>()
            };
            assert!(gradients(&a, Some(&b)) == gradients(&sum, None), "{}", device.name());
        }
    }
}

#[test]
fn a_skip_of_other_pixels_and_a_negative_side_without_a_slope_are_refused() {
    let device = Device::cpu();
    let tensor = |shape: &[usize]| Tensor::full(&device, shape, 1.0).unwrap();
    let (x, c, skip) = (tensor(&[1, 2, 3, 3]), tensor(&[3]), tensor(&[1, 3, 2, 3]));
    let refused = |after, inputs: &[&Tensor]| {
        let error = train(&device, 3).followed_by(after).forward(inputs).err().unwrap();
        assert_eq!(error.exit_code(), 2);
    };
    refused(After::default(), &[&x, &c, &c, &skip]);
    refused(After { dropout: None, rectifier: Rectifier::LeakyRelu { slope: 0.0 } }, &[&x, &c, &c]);
    refused(After { dropout: Some(Dropout { rate: 1.0, draw: DRAW }), rectifier: Rectifier::None }, &[&x, &c, &c]);
}

#[test]
fn fixed_statistics_match_their_reference() {
    let (mean, var) = ([0.5f32, -1.0, 2.0], [0.3f32, 1.0, 4.0]);
    Check::new(&[&[2, 5, 7, 3], &[3], &[3]])
        .reference(move |x| reference(x, |c| (f64::from(mean[c]), f64::from(var[c]))))
        .run_each(|device| BatchNormInference {
            mean: Tensor::new(device, &[3], &mean).unwrap(),
            var: Tensor::new(device, &[3], &var).unwrap(),
            eps: EPS,
        });
}

#[test]
fn the_variance_survives_a_mean_a_thousand_times_larger() {
    let (rows, channels) = (64 * 41, 3);
    let rng = crate::random::Rng::new(2, crate::random::Stream::Test, 0);
    let data: Vec<f32> = (0..(rows * channels) as u64).map(|i| 1000.0 + rng.normal(i)).collect();
    let wide: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
    for device in devices() {
        let x = Tensor::new(&device, &[1, 64, 41, channels], &data).unwrap();
        let ones = Tensor::full(&device, &[channels], 1.0).unwrap();
        let op = BatchNormTrain { momentum: 0.0, ..train(&device, channels) };
        op.forward(&[&x, &ones, &ones]).unwrap();
        let (mean, var) = (op.running_mean.to_vec().unwrap(), op.running_var.to_vec().unwrap());
        for c in 0..channels {
            let expected = moments(&wide, c, channels);
            // One rounding of the mean; the variance is built from differences that are exact to 2^-14 of 1.
            assert!((f64::from(mean[c]) - expected.0).abs() < 6.2e-5, "{}: {mean:?}", device.name());
            assert!((f64::from(var[c]) - expected.1).abs() < 1e-5 * expected.1, "{}: {var:?}", device.name());
        }
    }
}

#[test]
fn a_variance_beyond_f32_shows_as_nan_in_its_channel_alone() {
    let rng = crate::random::Rng::new(4, crate::random::Stream::Test, 0);
    // Values whose squares are infinite, whose sum is, and ordinary ones.
    let scales = [1e31, 3e38, 1.0];
    let data: Vec<f32> = (0..300 * 3).map(|i| scales[i as usize % 3] * rng.uniform(i)).collect();
    let wide: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
    for device in devices() {
        let x = Tensor::new(&device, &[1, 300, 1, 3], &data).unwrap();
        let ones = Tensor::full(&device, &[3], 1.0).unwrap();
        let op = train(&device, 3);
        let y = op.forward(&[&x, &ones, &ones]).unwrap().y.to_vec().unwrap();
        let var = op.running_var.to_vec().unwrap();
        let expected = 0.9 + 0.1 * moments(&wide, 2, 3).1;
        assert!(var[0].is_nan() && var[1].is_nan(), "{}: {var:?}", device.name());
        assert!((f64::from(var[2]) - expected).abs() < 1e-5, "{}: {var:?}", device.name());
        let shows = y.chunks(3).all(|y| y[0].is_nan() && y[1].is_nan() && y[2].is_finite());
        assert!(shows, "{}", device.name());
    }
}

#[test]
fn running_statistics_move_in_place_within_one_arena() {
    for device in devices() {
        // gamma, beta, mean and variance in one buffer, as a model keeps them.
        let arena = Tensor::full(&device, &[4 * 64], 1.0).unwrap();
        let [gamma, beta, mean, var] = [0, 64, 128, 192].map(|offset| arena.part(offset, &[2]).unwrap());
        let x = Tensor::new(&device, &[1, 1, 2, 2], &[1.0, -4.0, 3.0, -4.0]).unwrap();
        let (running_mean, running_var) = (mean.clone(), var.clone());
        let op = BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.75, eps: EPS };
        let y = op.forward(&[&x, &gamma, &beta]).unwrap().y.to_vec().unwrap();
        assert_eq!(mean.to_vec().unwrap(), [0.75 + 0.25 * 2.0, 0.75 - 0.25 * 4.0]);
        assert_eq!(var.to_vec().unwrap(), [0.75 + 0.25 * 1.0, 0.75]);
        // A channel of one value throughout is its beta.
        assert_eq!([y[1], y[3]], [1.0, 1.0]);
    }
}

#[test]
fn the_pooled_variance_is_that_over_all_that_the_batches_held() {
    let momentum = 0.75;
    let batches = [[1.0f32, 3.0], [-2.0, 5.0], [10.0, 11.0]];
    for device in devices() {
        let [mean, var] = [0.0; 2].map(|value| Tensor::full(&device, &[1], value).unwrap());
        let one = Tensor::full(&device, &[1], 1.0).unwrap();
        for batch in batches {
            let op = BatchNormTrain {
                running_mean: mean.clone(),
                running_var: var.clone(),
                pooled: true,
                momentum,
                eps: EPS,
            };
            op.forward(&[&Tensor::new(&device, &[1, 1, 2, 1], &batch).unwrap(), &one, &one]).unwrap();
        }
        // The averages start as of zeros, which keep the weight that the batches have not.
        let weighted = |f: &dyn Fn(f64) -> f64| {
            let weights = (0..3).map(|k| 0.25 * 0.75f64.powi(2 - k));
            weights.zip(batches).map(|(w, b)| w * (f(b[0].into()) + f(b[1].into())) / 2.0).sum::<f64>()
        };
        let expected = weighted(&|x| x * x) - weighted(&|x| x).powi(2);
        let found = f64::from(var.item().unwrap());
        // A dozen roundings of values up to 100.
        assert!((found - expected).abs() < 1e-4, "{}: {found}, expected {expected}", device.name());
    }
}

#[test]
fn frozen_parameters_leave_the_input_gradient_right() {
    train_check([1, 3, 4, 2]).no_grad(1).no_grad(2).run_each(|device| train(device, 2));
}

#[test]
fn a_parameter_of_another_width_is_refused() {
    let device = Device::cpu();
    let x = Tensor::full(&device, &[1, 2, 2, 3], 1.0).unwrap();
    let short = Tensor::full(&device, &[2], 1.0).unwrap();
    let error = train(&device, 3).forward(&[&x, &short, &short]).err().unwrap();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn channels_beyond_a_grid_of_workgroups_are_folded() {
    let gpu = GpuInfo { software: false, workgroup_bytes: 1 << 14, matrices: None };
    for (rows, channels) in [(2, 1 << 23), (1 << 12, 1 << 18), (1 << 20, 1 << 11), (1 << 30, 1)] {
        let params = Params::new([1, rows], channels, 1.0, &After::default());
        for plan in [TRAIN.plan(0, &params, &gpu), GRAD.plan(0, &params, &gpu)] {
            let fits = |dispatch: &Dispatch| dispatch.groups.iter().all(|&groups| groups <= MAX_GROUPS);
            assert!(plan.dispatches.iter().all(fits), "{rows} x {channels}: {:?}", plan.dispatches);
        }
    }
}

#[test]
fn many_channels_of_few_rows_match_the_twin() {
    let channels = 70_001;
    let run = |device: &Device| {
        let tensor = |shape: &[usize], seed| crate::engine::self_test::seeded(device, shape, seed).unwrap();
        let op = train(device, channels);
        let (x, dy) = (tensor(&[1, 1, 2, channels], 1), tensor(&[1, 1, 2, channels], 2));
        let forward = op.forward(&[&x, &tensor(&[channels], 3), &tensor(&[channels], 4)]).unwrap();
        let mut backward = Backward::new(&dy, &forward.saved, &[true; 3], vec![None; 3]);
        op.backward(&mut backward).unwrap();
        let results = std::iter::once(forward.y).chain(backward.into_grads().into_iter().flatten());
        results.map(|t| t.to_vec().unwrap()).collect::<Vec<_>>().concat()
    };
    let expected = run(&Device::cpu());
    for device in devices() {
        for (i, (got, expected)) in run(&device).iter().zip(&expected).enumerate() {
            // Of two rows: where they are nearly equal, what is left of them is divided by the root of eps.
            assert!((got - expected).abs() < 1e-3 * expected.abs().max(1.0), "{}: {i}: {got}", device.name());
        }
    }
}

/// What a process has at the end: output, running statistics, gradients.
type End = (Vec<f32>, [Vec<f32>; 2], Vec<Vec<f32>>);

/// One process's share of a batch of `images` through a batch norm; outputs, running statistics and the gradients as
/// parts of those of the whole.
fn run_share(device: &Device, images: usize, share: Share, op: &dyn Fn(BatchNormTrain) -> Box<dyn Op>) -> End {
    let (rows, channels) = (6, 3);
    let each = rows * channels;
    let tensor =
        |device: &Device, shape: &[usize], seed| crate::engine::self_test::seeded(device, shape, seed).unwrap();
    // The gradient of a mean over images is larger by the fewer there are.
    let part = |seed, factor: f32| {
        let whole = tensor(&Device::cpu(), &[images, 2, 3, channels], seed).to_vec().unwrap();
        let part = &whole[share.first * each..][..share.images * each];
        let scaled: Vec<f32> = part.iter().map(|value| value * factor).collect();
        Tensor::new(device, &[share.images, 2, 3, channels], &scaled).unwrap()
    };
    let alone = BatchNormTrain { pooled: true, ..train(device, channels) };
    let running = [alone.running_mean.clone(), alone.running_var.clone()];
    let op = op(alone);
    let (gamma, beta) = (tensor(device, &[channels], 3), tensor(device, &[channels], 4));
    let forward = op.forward(&[&part(1, 3.0), &gamma, &beta]).unwrap();
    let dy = part(2, 1.0 / share.images as f32);
    let mut backward = Backward::new(&dy, &forward.saved, &[true; 3], vec![None; 3]);
    op.backward(&mut backward).unwrap();
    let grads = backward.into_grads().into_iter().map(|grad| grad.unwrap().to_vec().unwrap());
    let weigh = |grad: Vec<f32>| grad.iter().map(|g| g * (share.images as f32 / images as f32)).collect::<Vec<f32>>();
    (forward.y.to_vec().unwrap(), running.map(|t| t.to_vec().unwrap()), grads.map(weigh).collect())
}

/// What `size` processes with a device each make of it.
fn run_shares(images: usize, size: usize, device: impl Fn() -> Device + Sync) -> Vec<End> {
    together(size, |ranks| {
        let op = |alone| -> Box<dyn Op> { Box::new(BatchNormTogether { alone, ranks: ranks.clone() }) };
        run_share(&device(), images, ranks.share(images), &op)
    })
}

fn run_whole(images: usize) -> End {
    run_share(&Device::cpu(), images, Share::new(images, 0, 1), &|alone| Box::new(alone))
}

fn joined(ends: &[End], pick: impl Fn(&End) -> &[f32]) -> Vec<f32> {
    ends.iter().flat_map(|end| pick(end).to_vec()).collect()
}

/// Five images over three processes, one of which has one and the others two: outputs, running statistics and gradients
/// are those of one process.
#[test]
fn several_processes_make_what_one_makes_of_the_whole_batch() {
    let one = run_whole(5);
    for k in 0..devices().len() {
        let several = run_shares(5, 3, || devices().swap_remove(k));
        let near = |got: &[f32], expected: &[f32], what: &str| {
            assert_eq!(got.len(), expected.len(), "{what}");
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 2e-6 * expected.abs().max(1.0), "{what}: {got}, expected {expected}");
            }
        };
        near(&joined(&several, |end| &end.0), &one.0, "outputs");
        near(&joined(&several, |end| &end.2[0]), &one.2[0], "dx");
        for end in &several {
            near(&end.1.concat(), &one.1.concat(), "running statistics");
        }
        for (i, what) in [(1, "dgamma"), (2, "dbeta")] {
            let sum: Vec<f32> = (0..3).map(|c| several.iter().map(|end| end.2[i][c]).sum()).collect();
            near(&sum, &one.2[i], what);
        }
    }
}

#[test]
fn even_shares_have_the_bits_of_one_process_on_the_cpu() {
    let one = run_whole(4);
    for size in [2, 4] {
        let several = run_shares(4, size, Device::cpu);
        assert_eq!(joined(&several, |end| &end.0), one.0);
        assert_eq!(joined(&several, |end| &end.2[0]), one.2[0]);
        for end in &several {
            assert_eq!(end.1, one.1);
            // Each brings its share of the sum.
            for i in [1, 2] {
                let sum: Vec<f32> = end.2[i].iter().map(|part| part * size as f32).collect();
                assert_eq!(sum, one.2[i]);
            }
        }
    }
}
