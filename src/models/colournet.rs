//! ColourNet: a lightness picture to a distribution over ab bins for every pixel.
//!
//! After Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, with the layer table of the project's first
//! note: eight blocks of 3x3 convolutions with ReLU, batch norm after each block, three halvings, dilated blocks at an
//! eighth of the size, one doubling, and a 1x1 convolution to Q bins at a quarter of the size.

use super::{kernel_channels, scaled};
use crate::error::Result;
use crate::nn::{Layer, Sequential, WeightFile};
use crate::ops::conv2d::{Activation, Padding};

/// Height and width of an input must be multiples of this.
pub const STRIDE: usize = 8;
/// A quarter of the input's size comes out; the loss and the decoding upsample by this factor.
pub const UPSAMPLE: usize = 4;

/// Out, stride, dilation of the 3x3 convolutions, block by block.
const BLOCKS: [&[(usize, usize, usize)]; 8] = [
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
    let mut layers = Vec::new();
    for (block, convs) in BLOCKS.iter().enumerate() {
        let block = block + 1;
        if block == 8 {
            layers.push(Layer::UpsampleNearest { factor: 2 });
        }
        for (i, &(out, stride, dilation)) in convs.iter().enumerate() {
            layers.push(Layer::Conv {
                name: format!("conv{block}_{}", i + 1),
                kernel: 3,
                out: scaled(out, width),
                stride,
                dilation,
                padding: Padding::Same,
                activation: Activation::Relu,
            });
        }
        layers.push(Layer::BatchNorm { name: format!("bn{block}") });
    }
    layers.push(Layer::Conv {
        name: "out".to_owned(),
        kernel: 1,
        out: bins,
        stride: 1,
        dilation: 1,
        padding: Padding::Same,
        activation: Activation::None,
    });
    Sequential { channels_in: 1, layers }
}

/// The network whose weights a file holds, read off the tensors' shapes: any width, any number of bins.
///
/// # Errors
/// Tensors that are missing or have other numbers of axes.
pub fn network_of(file: &WeightFile) -> Result<Sequential> {
    let mut network = network(1.0, 1);
    for layer in &mut network.layers {
        if let Layer::Conv { name, out, .. } = layer {
            [_, *out] = kernel_channels(file, name)?;
        }
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_network_has_its_parameters() {
        let specs = network(1.0, 274).param_specs();
        assert_eq!(specs.iter().map(|spec| spec.len()).sum::<usize>(), 24_788_050);
        let fixed: usize = network(1.0, 274).shapes(256, 256).iter().map(|layer| layer.fixed).sum();
        assert_eq!(fixed, 4_736);
    }

    #[test]
    fn shapes_follow_the_published_table() {
        let shapes = network(1.0, 274).shapes(256, 256);
        let of = |name: &str| shapes.iter().find(|layer| layer.name == name).map(|layer| layer.output);
        assert_eq!(of("bn1"), Some([128, 128, 64]));
        assert_eq!(of("bn6"), Some([32, 32, 512]));
        assert_eq!(of("out"), Some([64, 64, 274]));
    }

    #[test]
    fn widths_round_to_multiples_of_four() {
        assert_eq!([scaled(64, 0.25), scaled(64, 0.01), scaled(512, 0.3), scaled(128, 0.08)], [16, 4, 152, 12]);
    }
}
