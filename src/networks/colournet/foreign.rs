//! The weights of the authors' program: `eccv16` of richzhang/colorization.
//!
//! Its convolutions are those of the paper; `model8` begins with a transposed convolution and ends in a probability
//! for each of 313 colours, whose mean `model_out` takes. The colours are in its kernel, in units of 110.

use crate::engine::nn::StateTensor;
use crate::error::Result;
use crate::exchange::foreign::layout::{
    Axes, Layout, kernel, renamed, setting, torch_batch_norm, torch_batch_norm_names,
};
use crate::exchange::foreign::tensors::Foreign;
use crate::networks::classifier::network::TEMPERATURE_TENSOR;
use crate::networks::colournet::network::BLOCKS;

/// What its colours are multiplied by.
const AB_NORM: f32 = 110.0;
/// Kernel of the mean of colours.
const MEAN: &str = "model_out.weight";
/// The last convolution, to a logit a colour.
const LAST: &str = "model8.6";

/// The layout of its file.
pub(super) static ECCV16: Layout = Layout {
    program: "eccv16 of richzhang/colorization (PyTorch)",
    anchor: "model1.0.weight",
    needs: |_| {
        let mut names = vec![MEAN.to_owned()];
        for (layer, _) in convolutions().into_iter().chain([(LAST.to_owned(), String::new())]) {
            names.extend([format!("{layer}.weight"), format!("{layer}.bias")]);
        }
        names.extend(norms().into_iter().flat_map(|(layer, _)| torch_batch_norm_names(&layer)));
        names
    },
    tensors,
};

/// Its convolutions but the last and ours: a ReLU, which has a number too, follows each.
fn convolutions() -> Vec<(String, String)> {
    let of_block = |(block, convs): (usize, usize)| {
        (0..convs).map(move |i| (format!("model{block}.{}", 2 * i), format!("conv{block}_{}", i + 1)))
    };
    (1..).zip(BLOCKS.map(<[_]>::len)).flat_map(of_block).collect()
}

/// Its batch norms and ours: one behind each block but the last.
fn norms() -> Vec<(String, String)> {
    let counts = (1..).zip(BLOCKS.map(<[_]>::len)).take(BLOCKS.len() - 1);
    counts.map(|(block, convs)| (format!("model{block}.{}", 2 * convs), format!("bn{block}"))).collect()
}

fn tensors(file: &Foreign) -> Result<Vec<StateTensor>> {
    let mut tensors = Vec::new();
    for (from, to) in convolutions().into_iter().chain([(LAST.to_owned(), "out".to_owned())]) {
        let axes = if to == "conv8_1" { Axes::TorchTransposed } else { Axes::Torch };
        tensors.push(kernel(file, &format!("{from}.weight"), axes, &to)?);
        tensors.push(renamed(file, &format!("{from}.bias"), &format!("{to}.bias"))?);
    }
    for (from, to) in norms() {
        tensors.extend(torch_batch_norm(file, &from, &to)?);
    }
    let ([two, bins, kh, kw], mean) = file.kernel(MEAN)?;
    crate::ensure!(
        [two, kh, kw] == [2, 1, 1] && bins > 0,
        file.refuse(format!("tensor {MEAN} has shape [{two}, {bins}, {kh}, {kw}], not [2, Q, 1, 1]"))
    );
    let (a, b) = mean.split_at(bins);
    let centres = a.iter().zip(b).flat_map(|(a, b)| [a * AB_NORM, b * AB_NORM]).collect();
    tensors.push(StateTensor { name: "bins".to_owned(), shape: vec![bins, 2], data: centres });
    // The file does not say how frequent the colours were; only a training asks.
    let prior = vec![1.0 / bins as f32; bins];
    tensors.push(StateTensor { name: "prior".to_owned(), shape: vec![bins], data: prior });
    tensors.push(setting(TEMPERATURE_TENSOR, 1.0));
    Ok(tensors)
}
