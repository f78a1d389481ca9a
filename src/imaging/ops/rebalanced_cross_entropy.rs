//! The training loss of the classification models: softmax, bilinear enlargement and class-rebalanced cross-entropy in one.

use crate::engine::device::{AnyKernel, Args, Device, Dispatch, GpuInfo, Kernel, Plan, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::ops::bilinear_tap::{Tap, reach};
use crate::engine::ops::vector_math::{ln, softmax_row, sum_of};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::soft_encode::{NEIGHBOURS, check_bin_count};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&REBALANCED_CROSS_ENTROPY, &REBALANCED_CROSS_ENTROPY_GRAD];

/// An invocation of the gradient goes through `5 (2 factor)^2` entries, and some drivers end loops at 65,535 turns.
const MOST_FACTOR: usize = 48;

/// Invocations in a workgroup; `GROUP` in `kernels/lib/group_reduce.wgsl`.
const GROUP: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    h: u32,
    w: u32,
    q: u32,
    factor: u32,
    eps: f32,
}

impl Params {
    /// n, h, w, q and factor.
    fn sizes(&self) -> [usize; 5] {
        [self.n, self.h, self.w, self.q, self.factor].map(|size| size as usize)
    }
}

static REBALANCED_CROSS_ENTROPY: Kernel<Params> = Kernel {
    name: "rebalanced_cross_entropy",
    source: include_str!("../../../kernels/rebalanced_cross_entropy.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &plan,
    twin: &rebalanced_cross_entropy_twin,
};

fn plan(p: &Params, _: &GpuInfo) -> Plan {
    let [n, h, w, q, factor] = p.sizes();
    let (rows, pixels) = (n * h * w, n * h * w * factor * factor);
    Plan {
        dispatches: vec![
            Dispatch::new("probabilities", linear_grid(rows, 1)),
            Dispatch::new("pixels", linear_grid(pixels, GROUP)),
            Dispatch::new("total", [1, 1, 1]),
        ],
        scratch: vec![pixels.div_ceil(GROUP)],
        flops: 10.0 * (rows * q) as f64 + 100.0 * pixels as f64,
    }
}

fn rebalanced_cross_entropy_twin(p: &Params, args: Args) -> Result<()> {
    let ([logits, index, weight, class_weights], [], [loss, probability, slope]) = args.split()?;
    let [n, h, w, q, factor] = p.sizes();
    probability.par_chunks_mut(w * q).zip(logits.par_chunks(w * q)).for_each(|(probability, logits)| {
        probability.chunks_exact_mut(q).zip(logits.chunks_exact(q)).for_each(|(p, x)| softmax_row(x, p));
    });

    let [height, width] = [h * factor, w * factor];
    let columns: Vec<Tap> = (0..width).map(|x| Tap::new(x, factor, w)).collect();
    let (index, _) = index.as_chunks::<NEIGHBOURS>();
    let (weight, _) = weight.as_chunks::<NEIGHBOURS>();
    let (slope, _) = slope.as_chunks_mut::<NEIGHBOURS>();
    let pixels = (n * height * width) as f32;
    let row_of = |image: usize, y: usize| &probability[(image * h + y) * w * q..][..w * q];
    let sums: Vec<f64> = slope
        .par_chunks_mut(width)
        .zip(index.par_chunks(width))
        .zip(weight.par_chunks(width))
        .enumerate()
        .map(|(row, ((slope, index), weight))| {
            let y = Tap::new(row % height, factor, h);
            let [upper, lower] = [y.first, y.second].map(|y| row_of(row / height, y));
            let mut sum = 0.0;
            for (((slope, index), weight), x) in slope.iter_mut().zip(index).zip(weight).zip(&columns) {
                let class_weight = class_weights[bin(index[0], q)];
                let mut term = 0.0;
                for k in 0..NEIGHBOURS {
                    let (first, second) = (x.first * q + bin(index[k], q), x.second * q + bin(index[k], q));
                    let above = mix(upper[first], upper[second], x.share);
                    let below = mix(lower[first], lower[second], x.share);
                    let zhat = mix(above, below, y.share) + p.eps;
                    // A bin that does not exist shows in the loss.
                    let exists = (0.0..q as f32).contains(&index[k]);
                    let weight = if exists { weight[k] } else { f32::NAN };
                    term -= weight * ln(zhat);
                    slope[k] = -class_weight * weight / (zhat * pixels);
                }
                sum += f64::from(class_weight * term);
            }
            sum
        })
        .collect();
    loss[0] = (sums.iter().sum::<f64>() / (n * height * width) as f64) as f32;
    Ok(())
}

/// The bin that an element of an encoding names, held within those that there are.
#[inline(always)]
fn bin(index: f32, bins: usize) -> usize {
    (index as usize).min(bins - 1)
}

#[inline(always)]
fn mix(first: f32, second: f32, share: f32) -> f32 {
    first * (1.0 - share) + second * share
}

static REBALANCED_CROSS_ENTROPY_GRAD: Kernel<Params> = Kernel {
    name: "rebalanced_cross_entropy_grad",
    source: include_str!("../../../kernels/rebalanced_cross_entropy_grad.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| {
        let [n, h, w, q, factor] = p.sizes();
        // Every invocation of a workgroup goes through every entry.
        let entries = 4 * factor * factor * NEIGHBOURS;
        Plan::single(linear_grid(n * h * w, 1), (n * h * w) as f64 * (2 * GROUP * entries + 8 * q) as f64)
    },
    twin: &rebalanced_cross_entropy_grad_twin,
};

fn rebalanced_cross_entropy_grad_twin(p: &Params, args: Args) -> Result<()> {
    let ([probability, index, slope, dy], [], [dlogits]) = args.split()?;
    let [_, h, w, q, factor] = p.sizes();
    let [height, width] = [h * factor, w * factor];
    let columns: Vec<Tap> = (0..width).map(|x| Tap::new(x, factor, w)).collect();
    let (index, _) = index.as_chunks::<NEIGHBOURS>();
    let (slope, _) = slope.as_chunks::<NEIGHBOURS>();
    dlogits.par_chunks_mut(w * q).zip(probability.par_chunks(w * q)).enumerate().for_each(|(row, (dlogits, p))| {
        // One row of low-resolution pixels gathers from all full-size rows that it has a share in.
        dlogits.fill(0.0);
        for y in reach(row % h, factor, h) {
            let share = Tap::new(y, factor, h).share_of(row % h);
            let start = (row / h * height + y) * width;
            let pixels = index[start..][..width].iter().zip(&slope[start..][..width]);
            for ((index, slope), x) in pixels.zip(&columns) {
                for (&index, &slope) in index.iter().zip(slope) {
                    let part = share * slope;
                    dlogits[x.first * q + bin(index, q)] += (1.0 - x.share) * part;
                    dlogits[x.second * q + bin(index, q)] += x.share * part;
                }
            }
        }
        for (dp, p) in dlogits.chunks_exact_mut(q).zip(p.chunks_exact(q)) {
            let mean = sum_of(p, dp, |p, dp| p * dp);
            dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = dy[0] * p * (*dp - mean));
        }
    });
    Ok(())
}

/// `loss = -1 / (N H W) sum_pixels v_q0 sum_k z_k log(zhat_qk + eps)`, one element, of low-resolution logits.
///
/// The input is `[N, h, w, Q]`; `zhat` is its softmax enlarged `factor` times, bilinear with half-pixel centres and clamped
/// edges (`H = h factor`, `W = w factor`); `z_k` at bins `q_k` is the target's soft encoding and `v_q` the weight of class q, so
/// that a pixel counts by its most likely bin. No Q-channel tensor of the full size is ever formed: the loss reads, and
/// the gradient is gathered from, five bins and four low-resolution neighbours a pixel. Source: Zhang, Isola, Efros,
/// "Colorful Image Colorization", ECCV 2016, equations 2 to 4, as a mean over pixels.
pub struct RebalancedCrossEntropy {
    /// `[N, H, W, 5]`: bins of the target, nearest first, as [`soft_encode`](crate::imaging::ops::soft_encode::soft_encode) gives them.
    /// One that is not in 0..Q makes the loss and gradients NaN.
    pub index: Tensor,
    /// `[N, H, W, 5]`: their weights, of sum 1 over a pixel.
    pub weight: Tensor,
    /// `[Q]`: the weight of each class, above 0.
    pub class_weights: Tensor,
    /// How many times larger than the logits the target is; 1 to 48.
    pub factor: usize,
    /// What keeps the logarithm finite, above 0; 1e-4 by default in the models.
    pub eps: f32,
}

impl RebalancedCrossEntropy {
    /// The launches' parameters, once the shapes are known to fit together.
    fn params(&self, logits: &Tensor) -> Result<Params> {
        let [n, h, w, q] = logits.nhwc()?;
        crate::ensure!(
            (1..=MOST_FACTOR).contains(&self.factor) && self.eps > 0.0 && self.eps.is_finite(),
            Error::input(
                format!("the loss needs a factor of 1 to {MOST_FACTOR} and an eps above 0"),
                format!("factor {}, eps {}", self.factor, self.eps),
                "4 and 1e-4 are the defaults"
            )
        );
        check_bin_count(q)?;
        let target = [n, h * self.factor, w * self.factor, NEIGHBOURS];
        crate::ensure!(
            self.index.shape() == target && self.weight.shape() == target && self.class_weights.shape() == [q],
            Error::input(
                format!("logits {:?} enlarged {} times do not fit their target", logits.shape(), self.factor),
                format!(
                    "index {:?}, weight {:?}, class weights {:?}",
                    self.index.shape(),
                    self.weight.shape(),
                    self.class_weights.shape()
                ),
                format!("encode a target of {target:?} over {q} bins"),
            )
        );
        let [n, h, w, q, factor] = [n, h, w, q, self.factor].map(|size| size as u32);
        Ok(Params { n, h, w, q, factor, eps: self.eps })
    }
}

impl Op for RebalancedCrossEntropy {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [logits] = inputs else { return Err(crate::engine::op::arity("rebalanced_cross_entropy", 1, inputs)) };
        let params = self.params(logits)?;
        let device = logits.device();
        let loss = Tensor::empty(device, &[1])?;
        let probability = Tensor::empty(device, logits.shape())?;
        let slope = Tensor::empty(device, self.index.shape())?;
        device.launch(
            &REBALANCED_CROSS_ENTROPY,
            &params,
            &[logits, &self.index, &self.weight, &self.class_weights],
            &[],
            &[&loss, &probability, &slope],
        )?;
        Ok(Forward { y: loss, saved: vec![probability, slope] })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let (probability, slope) = (&grad.saved[0], &grad.saved[1]);
        expect_shape("a gradient", grad.dy, &[1])?;
        let params = self.params(probability)?;
        let dlogits = grad.out(0, probability.shape())?;
        grad.dy.device().launch(
            &REBALANCED_CROSS_ENTROPY_GRAD,
            &params,
            &[probability, &self.index, slope, grad.dy],
            &[],
            &[&dlogits],
        )
    }
}

/// A small run of both kernels.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let ab = crate::engine::self_test::seeded(device, &[2, 12, 20, 2], 1)?;
    let bins = crate::engine::self_test::seeded(device, &[70, 2], 2)?;
    let encoding = crate::imaging::ops::soft_encode::soft_encode(&ab, &bins, 0.5)?;
    let op = RebalancedCrossEntropy {
        index: encoding.index,
        weight: encoding.weight,
        class_weights: Tensor::full(device, &[70], 0.75)?,
        factor: 4,
        eps: 1e-4,
    };
    crate::engine::self_test::run_op(&op, &[&crate::engine::self_test::seeded(device, &[2, 3, 5, 70], 3)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, Tolerance, cases, devices};
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
        fn odd_sizes_and_factors_match(n in 1usize..3, h in 1usize..4, w in 1usize..4, q in 1usize..80, factor in 1usize..6) {
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
}
