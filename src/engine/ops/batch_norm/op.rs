//! The operations: batch norm in training and by fixed statistics, and what follows it.

use crate::engine::device::Device;
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::batch_norm::after::{After, Rectifier};
use crate::engine::ops::batch_norm::launch::{GRAD, NORMALIZE, TRAIN};
use crate::engine::ops::batch_norm::params::Params;
use crate::engine::ops::perturb::{Draw, Dropout};
use crate::engine::primitives::{copy, expect_shape, same_shape};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// Batch norm in training: x (N, H, W, C), gamma (C), beta (C) by the mean and biased variance of the batch itself. A
/// channel whose variance passes f32 (values of some 1e19 and more) is NaN, its running variance too.
///
/// Forward also moves the running statistics: `running = momentum * running + (1 - momentum) * batch`. Pooled, the
/// variance gets `momentum * (1 - momentum) * (mean of the batch - running mean)^2` more (Chan, Golub, LeVeque, 1983,
/// eq. 2.1, by weights).
pub struct BatchNormTrain {
    /// Running mean (C), updated in place.
    pub running_mean: Tensor,
    /// Running biased variance (C), updated in place.
    pub running_var: Tensor,
    /// Whether the running variance is that over all that the batches held, or, as in Keras and PyTorch, the mean of
    /// the variances within them, which leaves out what their means differ by.
    pub pooled: bool,
    /// The share of the old running value that stays, 0..1 (Keras: 0.99).
    pub momentum: f32,
    /// Added to the variance (Keras: 1e-3).
    pub eps: f32,
}

/// Batch norm by fixed statistics: x (N, H, W, C), gamma (C), beta (C).
pub struct BatchNormInference {
    /// Mean (C).
    pub mean: Tensor,
    /// Variance (C).
    pub var: Tensor,
    /// Added to the variance (Keras: 1e-3).
    pub eps: f32,
}

/// A batch norm with what follows it, in the same launches: `y = after(norm(x))`.
///
/// A fourth input, skip (N, H, W, S), stands behind the channels of that, as
/// [`Concat`](crate::engine::ops::concat::Concat) has it: y is (N, H, W, C + S).
pub struct Followed<N> {
    /// The batch norm.
    pub norm: N,
    /// What follows it.
    pub after: After,
}

impl BatchNormTrain {
    /// The same with `after` behind it.
    pub fn followed_by(self, after: After) -> Followed<Self> {
        Followed { norm: self, after }
    }
}

impl BatchNormInference {
    /// The same with `after` behind it.
    pub fn followed_by(self, after: After) -> Followed<Self> {
        Followed { norm: self, after }
    }
}

/// A batch norm's own part.
trait Norm: Send + Sync {
    /// 1 where mean and variance are the batch's own.
    const THROUGH_BATCH: f32;

    fn eps(&self) -> f32;

    /// The two tensors of (C) that it has beside gamma and beta.
    fn statistics(&self) -> [&Tensor; 2];

    /// See [`Op::ran`].
    fn ran(&mut self) {}

    /// Writes y and what the gradient reads.
    fn launch(&self, params: &Params, inputs: [&Tensor; 4], y: &Tensor, kept: &Tensor) -> Result<()>;
}

impl Norm for BatchNormTrain {
    const THROUGH_BATCH: f32 = 1.0;

    fn eps(&self) -> f32 {
        self.eps
    }

    fn statistics(&self) -> [&Tensor; 2] {
        [&self.running_mean, &self.running_var]
    }

    /// The running statistics have moved.
    fn ran(&mut self) {
        self.momentum = 1.0;
    }

    fn launch(&self, params: &Params, [x, gamma, beta, skip]: [&Tensor; 4], y: &Tensor, kept: &Tensor) -> Result<()> {
        let params = Params { momentum: self.momentum, between: f32::from(u8::from(self.pooled)), ..*params };
        let (mean, var) = (&self.running_mean, &self.running_var);
        // No buffer is read and written in one launch, and a program may keep all four in one.
        let apart = |tensor: &Tensor| match tensor.shares_buffer(mean) || tensor.shares_buffer(var) {
            true => {
                let apart = Tensor::empty(tensor.device(), tensor.shape())?;
                copy(tensor, &apart).map(|()| apart)
            }
            false => Ok(tensor.clone()),
        };
        let (gamma, beta) = (apart(gamma)?, apart(beta)?);
        x.device().launch(&TRAIN, &params, &[x, &gamma, &beta, skip], &[mean, var], &[y, kept])
    }
}

impl Norm for BatchNormInference {
    const THROUGH_BATCH: f32 = 0.0;

    fn eps(&self) -> f32 {
        self.eps
    }

    fn statistics(&self) -> [&Tensor; 2] {
        [&self.mean, &self.var]
    }

    fn launch(&self, params: &Params, [x, gamma, beta, skip]: [&Tensor; 4], y: &Tensor, kept: &Tensor) -> Result<()> {
        x.device().launch(&NORMALIZE, params, &[x, gamma, beta, &self.mean, &self.var, skip], &[], &[y, kept])
    }
}

/// Images, rows and channels of `x`, after a look at every tensor of (C).
fn sizes(x: &Tensor, per_channel: &[&Tensor]) -> Result<([usize; 2], usize)> {
    let [n, h, w, c] = x.nhwc()?;
    for tensor in per_channel {
        crate::ensure!(
            tensor.shape() == [c],
            Error::input(
                "batch norm needs one value a channel",
                format!("{:?} beside {:?}", tensor.shape(), x.shape()),
                "check the width"
            )
        );
    }
    Ok(([n, n * h * w], c))
}

/// Channels of `skip`, which has as many pixels as `x`.
fn joined(x: &Tensor, skip: &Tensor) -> Result<usize> {
    let ([n, h, w, _], [skip_n, skip_h, skip_w, channels]) = (x.nhwc()?, skip.nhwc()?);
    crate::ensure!(
        [n, h, w] == [skip_n, skip_h, skip_w],
        Error::input(
            "tensors side by side need the same pictures and pixels",
            format!("{:?} and {:?}", x.shape(), skip.shape()),
            "check the sizes"
        )
    );
    Ok(channels)
}

fn forward<N: Norm>(norm: &N, after: &After, [x, gamma, beta]: [&Tensor; 3], skip: Option<&Tensor>) -> Result<Forward> {
    after.check()?;
    let [first, second] = norm.statistics();
    let (rows, channels) = sizes(x, &[gamma, beta, first, second])?;
    let joined = skip.map_or(Ok(0), |skip| joined(x, skip))?;
    let [n, h, w, _] = x.nhwc()?;
    let y = Tensor::empty(x.device(), &[n, h, w, channels + joined])?;
    let kept = Tensor::empty(x.device(), &[4, channels])?;
    let params = Params { joined: joined as u32, ..Params::new(rows, channels, norm.eps(), after) };
    // Something must be bound as the skip, even where it is not read.
    norm.launch(&params, [x, gamma, beta, skip.unwrap_or(x)], &y, &kept)?;
    let mut saved = vec![x.clone(), kept];
    // For its shape: its elements are not read.
    saved.extend(skip.cloned());
    Ok(Forward { y, saved })
}

/// What [`forward`] saved is to the gradients: x, the statistics and the skip.
pub(super) fn saved(i: usize) -> Saves {
    match i {
        0 => Saves::Activations,
        1 => Saves::Exact,
        _ => Saves::Shape,
    }
}

/// The gradients of x, gamma, beta and skip from what [`forward`] saved.
fn backward<N: Norm>(norm: &N, after: &After, grad: &mut Backward<'_>) -> Result<()> {
    let (saved, dy) = (grad.saved, grad.dy);
    let (x, kept, skip) = (&saved[0], &saved[1], saved.get(2));
    let [n, h, w, channels] = x.nhwc()?;
    let joined = skip.map_or(Ok(0), |skip| joined(x, skip))?;
    expect_shape("a gradient", dy, &[n, h, w, channels + joined])?;
    let more = grad.more;
    more.map_or(Ok(()), |more| same_shape(more, dy))?;
    let device = x.device();
    // All are written, whoever needs them.
    let mut place = |input: usize, shape: &[usize]| match grad.needs(input) {
        true => grad.out(input, shape),
        false => Tensor::empty(device, shape),
    };
    let (dx, dgamma, dbeta) = (place(0, x.shape())?, place(1, &[channels])?, place(2, &[channels])?);
    let dskip = skip.map_or_else(|| Tensor::empty(device, &[1]), |skip| place(3, skip.shape()))?;
    let params = Params {
        joined: joined as u32,
        through_batch: N::THROUGH_BATCH,
        summed: u32::from(more.is_some()),
        ..Params::new([n, n * h * w], channels, norm.eps(), after)
    };
    let ins: [&Tensor; 4] = [x, dy, more.unwrap_or(dy), kept];
    device.launch(&GRAD, &params, &ins.map(|tensor| &**tensor), &[], &[&dx, &dgamma, &dbeta, &dskip])
}

fn three<'a>(inputs: &[&'a Tensor]) -> Result<[&'a Tensor; 3]> {
    inputs.try_into().map_err(|_| crate::engine::op::arity("batch_norm", 3, inputs))
}

impl Op for BatchNormTrain {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        forward(self, &After::default(), three(inputs)?, None)
    }

    fn ran(&mut self) {
        Norm::ran(self);
    }

    fn saves(&self, i: usize) -> Saves {
        saved(i)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        backward(self, &After::default(), grad)
    }

    fn adds(&self) -> bool {
        true
    }
}

impl Op for BatchNormInference {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        forward(self, &After::default(), three(inputs)?, None)
    }

    fn saves(&self, i: usize) -> Saves {
        saved(i)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        backward(self, &After::default(), grad)
    }

    fn adds(&self) -> bool {
        true
    }
}

#[allow(private_bounds, reason = "the two batch norms of this file, and no other")]
impl<N: Norm> Op for Followed<N> {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        match *inputs {
            [x, gamma, beta, skip] => forward(&self.norm, &self.after, [x, gamma, beta], Some(skip)),
            _ => forward(&self.norm, &self.after, three(inputs)?, None),
        }
    }

    fn ran(&mut self) {
        self.norm.ran();
    }

    fn saves(&self, i: usize) -> Saves {
        saved(i)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        backward(&self.norm, &self.after, grad)
    }

    fn adds(&self) -> bool {
        true
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    use crate::engine::self_test::{run_op, seeded};
    let mut outputs = Vec::new();
    // Few rows, which a workgroup of a GPU takes whole, and more.
    for (shape, skip) in
        [([2, 9, 11, 5], [2, 9, 11, 3]), ([1, 20, 17, 5], [1, 20, 17, 3]), ([1, 37, 31, 5], [1, 37, 31, 3])]
    {
        let [x, gamma, beta, skip] =
            [(&shape[..], 1), (&[5], 2), (&[5], 3), (&skip, 5)].map(|(s, n)| seeded(device, s, n));
        let (x, gamma, beta, skip) = (x?, gamma?, beta?, skip?);
        let (mean, var) = (seeded(device, &[5], 4)?, Tensor::full(device, &[5], 1.5)?);
        let train = || BatchNormTrain {
            running_mean: mean.clone(),
            running_var: var.clone(),
            pooled: true,
            momentum: 0.9,
            eps: 1e-3,
        };
        let inference = || BatchNormInference { mean: mean.clone(), var: var.clone(), eps: 1e-3 };
        let dropout = Some(Dropout { rate: 0.5, draw: Draw { seed: 3, step: 4, layer: 5, first: 0 } });
        let leaky = After { dropout: None, rectifier: Rectifier::LeakyRelu { slope: 0.25 } };
        outputs.extend(run_op(&train(), &[&x, &gamma, &beta])?);
        outputs.extend(run_op(&train().followed_by(leaky), &[&x, &gamma, &beta])?);
        let after = After { dropout, rectifier: Rectifier::Relu };
        outputs.extend(run_op(&train().followed_by(after), &[&x, &gamma, &beta, &skip])?);
        outputs.extend(run_op(&inference(), &[&x, &gamma, &beta])?);
        outputs.extend(run_op(&inference().followed_by(after), &[&x, &gamma, &beta, &skip])?);
        outputs.extend([mean, var]);
    }
    Ok(outputs)
}
