//! Batch norm in training over the images of several processes.

use crate::engine::device::{VIEW_ALIGN, View};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::batch_norm::after::After;
use crate::engine::ops::batch_norm::launch::GRAD;
use crate::engine::ops::batch_norm::op::{BatchNormInference, BatchNormTrain, saved};
use crate::engine::ops::batch_norm::params::Params;
use crate::engine::ops::batch_norm::twin::{moments_of_images, sum_of_images};
use crate::engine::ranks::Ranks;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// As [`BatchNormTrain`], by the mean and variance of the batches of all processes together, in which all images have
/// one size. Each process has the gradient of its own mean loss; the loss that counts is the mean of those, each
/// weighted by its images.
///
/// Statistics and sums are those of the images, exchanged and put together in their order. On the CPU that is what one
/// process does: by shares that are powers of two of the batch it has the same bits.
pub struct BatchNormTogether {
    /// What it is in one process.
    pub alone: BatchNormTrain,
    /// Which processes.
    pub ranks: Ranks,
}

/// What the images of all processes have, in their order: two numbers a channel.
struct Parts {
    channels: usize,
    /// Of each image the share of all images that its process has, and the numbers.
    images: Vec<(f64, Vec<f32>)>,
}

impl Parts {
    /// `mine`: of each image of this process the first number of each channel and the second one.
    fn exchange(ranks: &Ranks, mine: &[[Tensor; 2]]) -> Result<Parts> {
        let channels = mine.first().map_or(0, |[first, _]| first.len());
        let counts: Vec<usize> = ranks.gather(&[mine.len() as f64])?.into_iter().map(|count| count as usize).collect();
        let (all, most) = (counts.iter().sum::<usize>(), counts.iter().copied().max().unwrap_or(0));
        let mut values = Vec::with_capacity(most * 2 * channels);
        for tensor in mine.as_flattened() {
            values.extend(tensor.to_vec()?.into_iter().map(f64::from));
        }
        // Each brings as many.
        values.resize(most * 2 * channels, 0.0);
        let values = ranks.gather(&values)?;
        let of_rank = |(rank, &count): (usize, &usize)| {
            let own = values[rank * most * 2 * channels..][..count * 2 * channels].chunks_exact(2 * channels);
            own.map(|image| (count as f64 / all as f64, image.iter().map(|&value| value as f32).collect::<Vec<f32>>()))
                .collect::<Vec<_>>()
        };
        Ok(Parts { channels, images: counts.iter().enumerate().flat_map(of_rank).collect() })
    }

    /// Mean and variance of each channel over all images, by those of each.
    fn moments(&self) -> [Vec<f32>; 2] {
        let of = |c: usize| {
            let images = self.images.iter().map(|(_, image)| [image[c], image[self.channels + c]]);
            moments_of_images(images).into()
        };
        let (means, variances) = (0..self.channels).map(of).unzip::<f32, f32, _, _>();
        [means, variances]
    }

    /// The sums of both numbers of each channel, weighted by the shares.
    fn sums(&self) -> [Vec<f32>; 2] {
        let of = |at: usize| sum_of_images(self.images.iter().map(|(share, image)| (*share, image[at])));
        [0, self.channels].map(|first| (first..first + self.channels).map(of).collect())
    }
}

/// The images of x `[N, H, W, C]`.
fn images_of(x: &Tensor) -> Result<Vec<Tensor>> {
    let [n, h, w, c] = x.nhwc()?;
    let (len, shape) = (h * w * c, [1, h, w, c]);
    if n > 1 && !len.is_multiple_of(VIEW_ALIGN) {
        return x.to_vec()?.chunks_exact(len).map(|image| Tensor::new(x.device(), &shape, image)).collect();
    }
    (0..n).map(|image| x.part(image * len, &shape)).collect()
}

impl BatchNormTogether {
    /// Moves the running statistics towards those of a batch.
    fn follow(&self, mean: &[f32], variance: &[f32]) -> Result<()> {
        let BatchNormTrain { running_mean, running_var, pooled, momentum, .. } = &self.alone;
        let (old, new, between) = (*momentum, 1.0 - momentum, f32::from(u8::from(*pooled)));
        let (mut means, mut variances) = (running_mean.to_vec()?, running_var.to_vec()?);
        let running = means.iter_mut().zip(&mut variances);
        for ((running_mean, running_var), (mean, variance)) in running.zip(mean.iter().zip(variance)) {
            let off = mean - *running_mean;
            *running_var = old * *running_var + new * (variance + between * old * off * off);
            *running_mean = old * *running_mean + new * mean;
        }
        running_mean.write(&means)?;
        running_var.write(&variances)
    }

    /// dx, dgamma and dbeta of x and dy; by the process's own sums, or by those that `kept` brings.
    fn gradients(&self, [x, dy, kept]: [&Tensor; 3], through_batch: bool, outs: [&Tensor; 3]) -> Result<()> {
        let ([n, h, w, c], given) = (x.nhwc()?, u32::from(through_batch));
        let (size, through_batch) = ([n, n * h * w], f32::from(u8::from(through_batch)));
        let params = Params { through_batch, given, ..Params::new(size, c, self.alone.eps, &After::default()) };
        // Nothing is joined.
        let dskip = Tensor::empty(x.device(), &[1])?;
        let [dx, dgamma, dbeta]: [&View; 3] = outs.map(|out| &**out);
        x.device().launch(&GRAD, &params, &[x, dy, dy, kept], &[], &[dx, dgamma, dbeta, &dskip])
    }
}

impl Op for BatchNormTogether {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let [x, gamma, beta] = inputs else { return Err(crate::engine::op::arity("batch_norm", 3, inputs)) };
        let (device, eps) = (x.device(), self.alone.eps);
        let of_image = |image: Tensor| {
            let [mean, var] = [Tensor::full(device, gamma.shape(), 0.0)?, Tensor::full(device, gamma.shape(), 0.0)?];
            // Running statistics of which nothing stays are those of the image.
            let (running_mean, running_var) = (mean.clone(), var.clone());
            let own = BatchNormTrain { running_mean, running_var, pooled: false, momentum: 0.0, eps };
            own.forward(&[&image, gamma, beta])?;
            Ok([mean, var])
        };
        let mine: Vec<[Tensor; 2]> = images_of(x)?.into_iter().map(of_image).collect::<Result<_>>()?;
        let [means, variances] = Parts::exchange(&self.ranks, &mine)?.moments();
        self.follow(&means, &variances)?;
        let [mean, var] = [means, variances].map(|values| Tensor::new(device, gamma.shape(), &values));
        BatchNormInference { mean: mean?, var: var?, eps }.forward(inputs)
    }

    fn ran(&mut self) {
        self.alone.ran();
    }

    fn saves(&self, i: usize) -> Saves {
        saved(i)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (dy, saved) = (grad.dy, grad.saved);
        let [x, kept] = saved else { return Ok(()) };
        let (device, channels) = (x.device(), [kept.len() / 4]);
        let mut place = |input: usize, shape: &[usize]| match grad.needs(input) {
            true => grad.out(input, shape),
            false => Tensor::empty(device, shape),
        };
        let [dx, dgamma, dbeta] = [place(0, x.shape())?, place(1, &channels)?, place(2, &channels)?];
        let of_image = |(x, dy): (Tensor, Tensor)| {
            let sums = [Tensor::empty(device, &channels)?, Tensor::empty(device, &channels)?];
            let unused = Tensor::empty(device, x.shape())?;
            self.gradients([&x, &dy, kept], false, [&unused, &sums[0], &sums[1]])?;
            Ok(sums)
        };
        let images = images_of(x)?.into_iter().zip(images_of(dy)?);
        let mine: Vec<[Tensor; 2]> = images.map(of_image).collect::<Result<_>>()?;
        let sums = Parts::exchange(&self.ranks, &mine)?.sums();
        let with_sums = [kept.to_vec()?, sums.concat()].concat();
        let with_sums = Tensor::new(device, &[6, channels[0]], &with_sums)?;
        // A process with w of all images has dy 1 / w times as large as the whole loss has it. The sums of all,
        // weighted by w, are those of the whole; divided by this process's rows, w times all, they are 1 / w times as
        // large too.
        self.gradients([x, dy, &with_sums], true, [&dx, &dgamma, &dbeta])?;
        // Those of gamma and beta are the same in every process, and so what an optimiser's arena sums to.
        let [of_gamma, of_beta] = sums;
        dgamma.write(&of_gamma)?;
        dbeta.write(&of_beta)
    }
}
