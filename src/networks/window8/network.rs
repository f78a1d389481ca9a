//! Window8, the small classifier: eight convolutions of 3x3 pixels without padding, so that a window of 32x32 pixels
//! gives a distribution over ab bins for each pixel of its 16x16 centre.
//!
//! After the layer table of the project's first note. There are no normalisation layers, and nothing but Q says how
//! many filters a layer has: the k-th has `floor(k Q / 8 + 1/2)`. Any picture can be read in one go: its colours come
//! out without the outermost 8 pixels.

use crate::engine::nn::{ConvLayer, Sequential, WeightFile};
use crate::error::Result;
use crate::networks::classifier::network::Architecture;
use crate::networks::common::kernel_channels;
use crate::paint::painter::Framing;

/// Convolutions in a row.
const LAYERS: usize = 8;
/// Pixels that the network reads on each side beyond those that it colours: one a layer.
pub const HALO: usize = LAYERS;

/// Window8 as a classification network, which has one width.
pub static ARCHITECTURE: Architecture = Architecture {
    name: "window8",
    layers: |_, bins| network(bins),
    layers_of: network_of,
    upsample: 1,
    framing: Framing { stride: 1, halo: HALO, reach: 0, window: None, margin: 0 },
};

/// The network for `bins` colour bins. Its output is logits; the softmax belongs to the loss and the decoding.
pub fn network(bins: usize) -> Sequential {
    // floor(k Q / 8 + 1/2), and at least one filter where there are hardly any bins.
    of_filters((1..=LAYERS).map(|k| ((k * bins + LAYERS / 2) / LAYERS).max(1)))
}

/// The network whose weights a file holds, read off the tensors' shapes.
///
/// # Errors
/// Tensors that are missing or have other numbers of axes.
pub fn network_of(file: &WeightFile) -> Result<Sequential> {
    let filters = (1..=LAYERS).map(|k| kernel_channels(file, &name(k)).map(|[_, out]| out));
    Ok(of_filters(filters.collect::<Result<Vec<usize>>>()?))
}

fn of_filters(filters: impl IntoIterator<Item = usize>) -> Sequential {
    filters.into_iter().enumerate().fold(Sequential::new(1), |network, (i, out)| {
        let layer = ConvLayer::valid(name(i + 1), 3, out);
        network.then(if i + 1 < LAYERS { layer.relu() } else { layer })
    })
}

fn name(k: usize) -> String {
    format!("conv{k}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(network: &Sequential) -> Vec<usize> {
        let specs = network.param_specs().into_iter();
        specs.filter(|spec| spec.name.ends_with(".bias")).map(|spec| spec.len()).collect()
    }

    #[test]
    fn filters_grow_by_an_eighth_of_the_bins_rounded_half_up() {
        assert_eq!(filters(&network(274)), [34, 69, 103, 137, 171, 206, 240, 274]);
        // 20 / 8 = 2.5, and 60 / 8 = 7.5.
        assert_eq!(filters(&network(20)), [3, 5, 8, 10, 13, 15, 18, 20]);
        assert_eq!(filters(&network(1)), [1; 8]);
    }

    #[test]
    fn every_layer_has_a_kernel_and_a_bias_by_its_number() {
        let names: Vec<String> = network(20).param_specs().into_iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), 16);
        assert_eq!((names[0].as_str(), names[15].as_str()), ("conv1.weight", "conv8.bias"));
    }
}
