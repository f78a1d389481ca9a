//! The operation.

use crate::engine::device::Device;
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::primitives::expect_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::rebalanced_cross_entropy::launch::{
    Params, REBALANCED_CROSS_ENTROPY, REBALANCED_CROSS_ENTROPY_GRAD,
};
use crate::imaging::ops::soft_encode::{NEIGHBOURS, check_bin_count};

/// An invocation of the gradient goes through `5 (2 factor)^2` entries, and some drivers end loops at 65,535 turns.
const MOST_FACTOR: usize = 48;

/// `loss = -1 / (N H W) sum_pixels v_q0 sum_k z_k log(zhat_qk + eps)`, one element, of low-resolution logits.
///
/// The input is `[N, h, w, Q]`; `zhat` is its softmax enlarged `factor` times, bilinear with half-pixel centres and
/// clamped edges (`H = h factor`, `W = w factor`); `z_k` at bins `q_k` is the target's soft encoding and `v_q` the
/// weight of class q, so that a pixel counts by its most likely bin. No Q-channel tensor of the full size is ever
/// formed: the loss reads, and the gradient is gathered from, five bins and four low-resolution neighbours a pixel.
/// Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equations 2 to 4, as a mean over pixels.
pub struct RebalancedCrossEntropy {
    /// `[N, H, W, 5]`: bins of the target, nearest first, as
    /// [`soft_encode`](crate::imaging::ops::soft_encode::soft_encode) gives them. One that is not in 0..Q makes the
    /// loss and gradients NaN.
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
