//! What networks share: widths, value ranges, channels read off a weight file.

use crate::engine::device::Precision;
use crate::engine::nn::{Optimizer, OptimizerKind, Parameters, WeightFile};
use crate::engine::ops::pad::Slice;
use crate::engine::ops::sum_axes;
use crate::engine::primitives;
use crate::engine::tape::{Keeping, Tape, Var};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::train::learner::Update;
use crate::train::settings::table::Settings;

/// A published channel count under a `width` multiplier: rounded to a multiple of 4, at least 4.
pub fn scaled(channels: usize, width: f64) -> usize {
    (4.0 * (width * channels as f64 / 4.0 + 0.5).floor()).max(4.0) as usize
}

/// An optimiser of a training; on a device that multiplies in f16 losses are scaled.
///
/// # Errors
/// No memory.
pub fn optimizer(kind: OptimizerKind, l2: f64, weight_decay: f64, parameters: &Parameters) -> Result<Optimizer> {
    let optimizer = Optimizer::new(kind, l2, weight_decay, parameters)?;
    let f16 = parameters.device().precision() == Precision::F16;
    Ok(if f16 { optimizer.scaling_losses() } else { optimizer })
}

/// Operations that a training with `recompute` runs again together: about the root of a network's, of which there are
/// some thirty.
const SEGMENT: usize = 5;

/// What a training keeps of a step for the gradients.
///
/// # Errors
/// Activations in a type that there is not, or in f16 where they are computed again.
pub fn keeping(settings: &Settings) -> Result<Keeping> {
    let activations: Precision = settings.activations.as_deref().map(str::parse).transpose()?.unwrap_or_default();
    match (settings.recompute == Some(true), activations) {
        (false, Precision::F32) => Ok(Keeping::All),
        (false, Precision::F16) => Ok(Keeping::F16),
        (true, Precision::F32) => Ok(Keeping::Inputs(SEGMENT)),
        // Together they take more memory than the latter alone: what is computed again is there as f32.
        (true, Precision::F16) => Err(Error::input(
            "these do not go together",
            "⟨activations⟩ f16 beside ⟨recompute⟩",
            "leave one of the two out",
        )),
    }
}

/// Values 0..1 as -1..1.
///
/// # Errors
/// Whatever a launch reports.
pub fn to_signed(values: &Tensor) -> Result<Tensor> {
    primitives::affine(values, 2.0, -1.0)
}

/// Values -1..1 as 0..1.
///
/// # Errors
/// Whatever a launch reports.
pub fn from_signed(values: &Tensor) -> Result<Tensor> {
    primitives::affine(values, 0.5, 0.5)
}

/// `channels` channels that are those of x `[N, H, W, C]`, again and again.
///
/// # Errors
/// Whatever a launch reports.
pub fn repeated(x: &Tensor, channels: usize) -> Result<Tensor> {
    let [n, h, w, held] = x.nhwc()?;
    if channels == held {
        return Ok(x.clone());
    }
    // All of them again and again, and of those the first.
    let whole = Tensor::empty(x.device(), &[n, h, w, channels.next_multiple_of(held)])?;
    sum_axes::repeat_middle(x, n * h * w, &whole)?;
    if channels.is_multiple_of(held) {
        return Ok(whole);
    }
    let tape = Tape::inference();
    Ok(tape.apply(Slice::channels(&whole, 0, channels)?, &[&tape.constant(whole.clone())])?.value().clone())
}

/// Refuses to go on from weights of a network that reads `bands` bands on data of `of_data`.
///
/// # Errors
/// Other bands.
pub(crate) fn check_bands(bands: usize, of_data: usize, file: &WeightFile) -> Result<()> {
    crate::ensure!(
        bands == of_data,
        Error::input(
            format!("the weights read {bands} of the source's bands, and the data have {of_data}"),
            file.source(),
            format!("choose {bands} by ⟨bands⟩, or start from other weights")
        )
    );
    Ok(())
}

/// Channels in and out of the convolution `layer` in a weight file, read off the shape of its kernel.
///
/// # Errors
/// No such tensor, or one that is no kernel.
pub(crate) fn kernel_channels(file: &WeightFile, layer: &str) -> Result<[usize; 2]> {
    let weight = file.require(&format!("{layer}.weight"))?;
    match weight.shape[..] {
        [_, _, c_in, c_out] if c_in > 0 && c_out > 0 => Ok([c_in, c_out]),
        _ => Err(Error::input(
            format!("tensor {layer}.weight has shape {:?}, not [kh, kw, c_in, c_out]", weight.shape),
            file.source(),
            "use weights that huetape wrote for this model",
        )),
    }
}

/// One update against the gradients of `loss`, see [`Optimizer::descend`], and whether it was done. The value of `loss`
/// gets the penalty added.
///
/// # Errors
/// Whatever a launch reports.
pub fn descend(parameters: &Parameters, optimizer: &Optimizer, update: &Update, tape: Tape, loss: Var) -> Result<bool> {
    let (value, penalty) = (loss.value().clone(), optimizer.penalty(parameters)?);
    let done = optimizer.descend(tape, loss, parameters, &update.share, (update.step, update.lr))?;
    if let Some(penalty) = penalty {
        primitives::accumulate(&penalty, &value)?;
    }
    Ok(done)
}

/// One update by the gradients beside the parameters, those of the whole batch, and whether it was done. `loss` gets
/// the penalty added.
///
/// # Errors
/// Whatever a launch reports.
pub fn step(parameters: &Parameters, optimizer: &Optimizer, update: &Update, loss: &Tensor) -> Result<bool> {
    if let Some(penalty) = optimizer.penalty(parameters)? {
        primitives::accumulate(&penalty, loss)?;
    }
    optimizer.step(parameters, update.step, update.lr)
}
