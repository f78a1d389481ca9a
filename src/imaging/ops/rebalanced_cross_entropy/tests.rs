use crate::engine::device::Device;
use crate::engine::op::{Backward, Op};
use crate::engine::tensor::Tensor;
use crate::engine::testing::check::{Check, Tolerance, cases, devices};
use crate::imaging::ops::rebalanced_cross_entropy::RebalancedCrossEntropy;
use crate::imaging::ops::soft_encode::NEIGHBOURS;
use crate::imaging::ops::soft_encode::soft_encode;
use crate::random::{Rng, Stream};
use proptest::prelude::*;

/// A target on the host.
#[derive(Clone)]
struct Target {
    shape: [usize; 4],
    index: Vec<f32>,
    weight: Vec<f32>,
    class_weights: Vec<f32>,
}

impl Target {
    /// Random colours over random bins.
    fn new([n, h, w]: [usize; 3], q: usize) -> Self {
        let device = Device::cpu();
        let ab = crate::engine::self_test::seeded(&device, &[n, h, w, 2], 21).unwrap();
        let bins = crate::engine::self_test::seeded(&device, &[q, 2], 22).unwrap();
        let encoding = soft_encode(&ab, &bins, 0.6).unwrap();
        let rng = Rng::new(23, Stream::Test, 0);
        Target {
            shape: [n, h, w, NEIGHBOURS],
            index: encoding.index.to_vec().unwrap(),
            weight: encoding.weight.to_vec().unwrap(),
            class_weights: (0..q as u64).map(|q| 0.2 + rng.normal(q).abs()).collect(),
        }
    }

    fn op(&self, device: &Device, factor: usize) -> RebalancedCrossEntropy {
        RebalancedCrossEntropy {
            index: Tensor::new(device, &self.shape, &self.index).unwrap(),
            weight: Tensor::new(device, &self.shape, &self.weight).unwrap(),
            class_weights: Tensor::new(device, &[self.class_weights.len()], &self.class_weights).unwrap(),
            factor,
            eps: 1e-4,
        }
    }

    /// The formula, with `zhat` enlarged whole.
    fn reference(&self, logits: &[f64], factor: usize) -> f64 {
        let [n, height, width, _] = self.shape;
        let (h, w, q) = (height / factor, width / factor, self.class_weights.len());
        let mut p = Vec::new();
        for row in logits.chunks(q) {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            p.extend(row.iter().map(|x| x.exp() / sum));
        }
        let axis = |x: usize, n: usize| {
            let place = ((x as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, (n - 1) as f64);
            (0..n).map(move |i| (i, (1.0 - (place - i as f64).abs()).max(0.0))).filter(|(_, share)| *share > 0.0)
        };
        let mut loss = 0.0;
        for pixel in 0..n * height * width {
            let (image, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
            let mut term = 0.0;
            for k in pixel * NEIGHBOURS..(pixel + 1) * NEIGHBOURS {
                let mut zhat = 0.0;
                for (i, share_y) in axis(y, h) {
                    for (j, share_x) in axis(x, w) {
                        zhat += share_y * share_x * p[((image * h + i) * w + j) * q + self.index[k] as usize];
                    }
                }
                // The op's eps is an f32.
                term -= f64::from(self.weight[k]) * (zhat + f64::from(1e-4f32)).ln();
            }
            loss += f64::from(self.class_weights[self.index[pixel * NEIGHBOURS] as usize]) * term;
        }
        loss / (n * height * width) as f64
    }
}

fn check([n, h, w, q]: [usize; 4], factor: usize) {
    let target = Target::new([n, h * factor, w * factor], q);
    let reference = target.clone();
    Check::new(&[&[n, h, w, q]])
        .map(0, |x| 3.0 * x)
        .reference(move |x| vec![reference.reference(&x[0], factor)])
        // The loss is a mean: rounding errors of its terms cancel. What is left is a GPU's logarithm.
        .tolerance(Tolerance::OfLargest(2e-6))
        .run_each(|device| target.op(device, factor));
}

#[test]
fn loss_and_gradient_match_the_formula() {
    check([2, 3, 4, 70], 4);
    check([1, 5, 2, 11], 4);
    check([1, 4, 3, 9], 1);
}

proptest! {
    #![proptest_config(cases(10))]
    #[test]
    fn odd_sizes_and_factors_match(
        n in 1usize..3, h in 1usize..4, w in 1usize..4, q in 1usize..80, factor in 1usize..6,
    ) {
        check([n, h, w, q], factor);
    }
}

#[test]
fn the_loss_of_a_whole_picture_is_right_to_a_millionth() {
    let target = Target::new([1, 256, 256], 13);
    let logits = crate::engine::self_test::seeded(&Device::cpu(), &[1, 64, 64, 13], 5).unwrap().to_vec().unwrap();
    let expected = target.reference(&logits.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 4);
    for device in devices() {
        let logits = Tensor::new(&device, &[1, 64, 64, 13], &logits).unwrap();
        let loss = target.op(&device, 4).forward(&[&logits]).unwrap().y.item().unwrap();
        let off = (f64::from(loss) - expected).abs() / expected;
        assert!(off < 1e-6, "{}: {loss}, expected {expected}", device.name());
    }
}

fn loss_and_gradient(target: &Target, device: &Device, shape: [usize; 4], factor: usize) -> (f32, Vec<f32>) {
    let op = target.op(device, factor);
    let forward = op.forward(&[&crate::engine::self_test::seeded(device, &shape, 6).unwrap()]).unwrap();
    let dy = Tensor::full(device, &[1], -1.5).unwrap();
    let mut backward = Backward::new(&dy, &forward.saved, &[true], vec![None]);
    op.backward(&mut backward).unwrap();
    let gradient = backward.into_grads().remove(0).unwrap().to_vec().unwrap();
    (forward.y.item().unwrap(), gradient)
}

#[test]
fn runs_and_thread_counts_give_the_same_bits() {
    let target = Target::new([1, 36, 44], 90);
    for device in devices() {
        let run = || loss_and_gradient(&target, &device, [1, 9, 11, 90], 4);
        let first = run();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(run) == first, "{} with {threads} threads", device.name());
        }
    }
}

#[test]
fn a_grid_that_is_folded_reaches_every_pixel() {
    // More low-resolution pixels than one grid dimension has workgroups.
    let shape = [1, 257, 256, 2];
    let target = Target::new([1, 257, 256], 2);
    let (expected_loss, expected) = loss_and_gradient(&target, &Device::cpu(), shape, 1);
    for device in devices() {
        let (loss, gradient) = loss_and_gradient(&target, &device, shape, 1);
        assert!((loss - expected_loss).abs() < 2e-6 * expected_loss, "{}: {loss}", device.name());
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, (g, e)) in gradient.iter().zip(&expected).enumerate() {
            assert!((g - e).abs() < 1e-5 * largest, "{}: gradient {i} is {g}, not {e}", device.name());
        }
    }
}

#[test]
fn a_logit_that_is_not_a_number_makes_the_loss_one() {
    let mut logits = [0.5; 4 * 9];
    logits[13] = f32::NAN;
    for device in devices() {
        let logits = Tensor::new(&device, &[1, 2, 2, 9], &logits).unwrap();
        let forward = Target::new([1, 8, 8], 9).op(&device, 4).forward(&[&logits]).unwrap();
        assert!(forward.y.item().unwrap().is_nan(), "{}", device.name());
    }
}

#[test]
fn a_bin_that_does_not_exist_makes_loss_and_gradient_nan() {
    for device in devices() {
        let logits = Tensor::full(&device, &[1, 2, 2, 9], 0.5).unwrap();
        for bin in [9.0, 1e30, -1.0, f32::NAN] {
            let mut target = Target::new([1, 8, 8], 9);
            target.index[31] = bin;
            let op = target.op(&device, 4);
            let forward = op.forward(&[&logits]).unwrap();
            assert!(forward.y.item().unwrap().is_nan(), "{}: bin {bin}", device.name());
            let dy = Tensor::full(&device, &[1], 1.0).unwrap();
            let mut backward = Backward::new(&dy, &forward.saved, &[true], vec![None]);
            op.backward(&mut backward).unwrap();
            let gradient = backward.into_grads()[0].clone().unwrap().to_vec().unwrap();
            assert!(gradient.iter().any(|g| g.is_nan()), "{}: bin {bin}", device.name());
        }
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let device = Device::cpu();
    let logits = Tensor::full(&device, &[1, 2, 2, 9], 0.0).unwrap();
    let target = Target::new([1, 8, 8], 9);
    let other_bins = Target::new([1, 8, 8], 8).op(&device, 4);
    let no_eps = RebalancedCrossEntropy { eps: 0.0, ..target.op(&device, 4) };
    for op in [target.op(&device, 2), target.op(&device, 0), target.op(&device, 49), other_bins, no_eps] {
        assert_eq!(op.forward(&[&logits]).err().map(|error| error.exit_code()), Some(2));
    }
}
