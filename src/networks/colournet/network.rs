//! ColourNet: a lightness picture to a distribution over ab bins for every pixel.
//!
//! After Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, with the layer table of the project's first
//! note: eight blocks of 3x3 convolutions with ReLU, batch norm after each block, three halvings, dilated blocks at an
//! eighth of the size, one doubling, and a 1x1 convolution to Q bins at a quarter of the size.
//!
//! Weights of the authors' own program have three differences, and are known by the first: the doubling is a transposed
//! convolution of 4x4, the last block has no batch norm, and convolutions that halve pad one pixel before.

use crate::engine::nn::{
    BatchNormLayer, ConvLayer, ConvTransposeLayer, Sequential, UpsampleLayer, WeightFile, ZeroPadLayer,
};
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::Activation;
use crate::engine::ops::pad::ZeroPad;
use crate::error::Result;
use crate::networks::classifier::network::Architecture;
use crate::networks::common::{kernel_channels, scaled};
use crate::paint::painter::Framing;
use std::convert::Infallible;

/// Height and width of an input must be multiples of this.
pub const STRIDE: usize = 8;
/// Pixels on each side of a pixel that its colour depends on: 176 before and 183 after it (in the authors' program 183
/// before and 176 after), in whole strides.
pub const REACH: usize = 184;
/// A quarter of the input's size comes out; the loss and the decoding upsample by this factor.
pub const UPSAMPLE: usize = 4;

/// ColourNet as a classification network.
pub static ARCHITECTURE: Architecture = Architecture {
    name: "colournet",
    layers: network,
    layers_of: network_of,
    upsample: UPSAMPLE,
    framing: Framing { stride: STRIDE, halo: 0, reach: REACH, window: None, margin: 0 },
};

/// Side of the kernel that doubles in the authors' program.
const DOUBLING: usize = 4;
/// Out, stride, dilation of the 3x3 convolutions, block by block.
pub(super) const BLOCKS: [&[(usize, usize, usize)]; 8] = [
    &[(64, 1, 1), (64, 2, 1)],
    &[(128, 1, 1), (128, 2, 1)],
    &[(256, 1, 1), (256, 1, 1), (256, 2, 1)],
    &[(512, 1, 1), (512, 1, 1), (512, 1, 1)],
    &[(512, 1, 2), (512, 1, 2), (512, 1, 2)],
    &[(512, 1, 2), (512, 1, 2), (512, 1, 2)],
    &[(256, 1, 1), (256, 1, 1), (256, 1, 1)],
    &[(128, 1, 1), (128, 1, 1), (128, 1, 1)],
];

/// The network for `bins` colour bins at a channel multiplier of `width`. Its output is logits; the softmax belongs to
/// the loss and the decoding.
pub fn network(width: f64, bins: usize) -> Sequential {
    let filters = |_: &str, published: Option<usize>| Ok(published.map_or(bins, |out| scaled(out, width)));
    let Ok(network) = of_filters::<Infallible>(filters, false);
    network
}

/// The network whose weights a file holds, read off the tensors' shapes: any width, any number of bins.
///
/// # Errors
/// Tensors that are missing or have other numbers of axes.
pub fn network_of(file: &WeightFile) -> Result<Sequential> {
    let doubling = file.require("conv8_1.weight")?;
    let authors = doubling.shape.starts_with(&[DOUBLING; 2]);
    of_filters(|name, _| kernel_channels(file, name).map(|[_, out]| out), authors)
}

/// The network with as many channels out of each convolution as `filters` says for its name and its published number;
/// the last one has no such number. `authors`: as in the authors' program.
fn of_filters<E>(filters: impl Fn(&str, Option<usize>) -> Result<usize, E>, authors: bool) -> Result<Sequential, E> {
    let mut network = Sequential::new(1);
    for (block, convs) in BLOCKS.iter().enumerate() {
        let block = block + 1;
        if block == 8 && !authors {
            network = network.then(UpsampleLayer { factor: 2 });
        }
        for (i, &(out, stride, dilation)) in convs.iter().enumerate() {
            let name = format!("conv{block}_{}", i + 1);
            let out = filters(&name, Some(out))?;
            network = match (authors, block, i, stride) {
                (true, 8, 0, _) => {
                    let op = ConvTranspose2d { stride: 2, activation: Activation::Relu };
                    network.then(ConvTransposeLayer { name, kernel: DOUBLING, out, op })
                }
                (true, _, _, 2) => {
                    let before = ZeroPad { top: 1, left: 1, bottom: 0, right: 0 };
                    network.then(ZeroPadLayer(before)).then(ConvLayer::valid(name, 3, out).stride(2).relu())
                }
                _ => network.then(ConvLayer::same(name, 3, out).stride(stride).dilation(dilation).relu()),
            };
        }
        if block < 8 || !authors {
            network = network.then(BatchNormLayer::new(format!("bn{block}")));
        }
    }
    Ok(network.then(ConvLayer::same("out", 1, filters("out", None)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::nn::{Norm, ParamKind, ParamSpec, Parameters, Trace};
    use crate::engine::tape::Tape;
    use crate::engine::tensor::Tensor;
    use std::sync::Arc;

    #[test]
    fn the_published_network_has_its_parameters() {
        let specs = network(1.0, 274).param_specs();
        assert_eq!(specs.iter().map(|spec| spec.len()).sum::<usize>(), 24_788_050);
        let fixed = |spec: &&ParamSpec| spec.kind == ParamKind::Statistic;
        assert_eq!(specs.iter().filter(fixed).map(|spec| spec.len()).sum::<usize>(), 4_736);
    }

    #[test]
    fn shapes_follow_the_published_table() {
        // An eighth of the published input, and of its channels.
        let network = network(0.125, 274);
        let device = Device::cpu();
        let parameters = Parameters::new(&device, network.param_specs(), 0, false).unwrap();
        let trace = Arc::new(Trace::of_shapes());
        parameters.watch(Some(trace.clone()));
        let tape = Tape::inference();
        let x = tape.constant(Tensor::full(&device, &[1, 32, 32, 1], 0.5).unwrap());
        network.forward(&parameters.bind(&tape, false), x, Norm::Running).unwrap();
        let layers = trace.layers();
        let of = |name: &str| layers.iter().find(|layer| layer.name == name).unwrap();
        assert_eq!(of("bn1").post, [1, 16, 16, 8]);
        assert_eq!(of("bn6").post, [1, 4, 4, 64]);
        assert_eq!(of("out").post, [1, 8, 8, 274]);
        assert_eq!(
            (of("conv3_3").input.as_slice(), of("conv3_3").kind.as_str()),
            (&[1, 8, 8, 32][..], "conv 3x3/2, relu")
        );
        assert_eq!(of("conv5_1").kind, "conv 3x3 d2, relu");
        assert_eq!(layers.len(), 22 + 8 + 1 + 1);
    }

    #[test]
    fn widths_round_to_multiples_of_four() {
        assert_eq!([scaled(64, 0.25), scaled(64, 0.01), scaled(512, 0.3), scaled(128, 0.08)], [16, 4, 152, 12]);
    }
}
