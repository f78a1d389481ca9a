//! pix2pix's generator as a graph.

use crate::engine::ops::activation::Activation;
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d};
use crate::error::Result;
use crate::exchange::onnx::framing::{Frame, Size};
use crate::exchange::onnx::graph::Value;
use crate::exchange::onnx::layers::Layers;
use crate::networks::pix2pix::network::{Generator, down, norm, up};
use crate::networks::pix2pix::up::{Up, halving};
use crate::paint::painter::Generator as _;

/// The network, by its running statistics and without dropout. Any image is painted in one go: one of the training's
/// side, less the margins, as the program paints it.
pub(super) fn onnx(network: &Generator, layers: &mut Layers<'_>, source: &Value) -> Result<Value> {
    let framing = network.framing();
    let frame = Frame { size: Size::Multiple(framing.stride), margin: framing.margin, halo: framing.halo };
    let x = frame.around(layers.graph, source);
    let mut x = layers.graph.affine(&x, 2.0, -1.0);
    if network.source_bands == 1 && network.channels_in > 1 {
        x = layers.graph.concat(&vec![&x; network.channels_in], 1);
    }
    let leaky = Activation::LeakyRelu { slope: network.slope };
    let depth = network.down.len();
    let mut skips = Vec::new();
    for k in 1..=depth {
        let name = down(k);
        x = layers.conv(&name, halving(), &x)?;
        if k == depth && network.one_value {
            x = layers.batch_norm_as_shift(&norm(&name), &x)?;
        } else if network.has_norm(k) {
            x = layers.batch_norm(&norm(&name), &x)?;
        }
        x = match network.rectified && k == depth {
            true => layers.graph.plain("Relu", [&x]),
            false => layers.activate(leaky, &x),
        };
        skips.push(x.clone());
    }
    skips.pop();
    for k in 1..=network.up.len() {
        let name = up(k);
        x = doubled(network.up_by, layers, &name, &x)?;
        x = layers.batch_norm(&norm(&name), &x)?;
        x = layers.graph.plain("Relu", [&x]);
        if let Some(skip) = skips.pop() {
            let skip = if network.rectified { layers.graph.plain("Relu", [&skip]) } else { skip };
            x = layers.graph.concat(&[&x, &skip], 1);
        }
    }
    x = doubled(network.up_by, layers, "g.out", &x)?;
    x = layers.activate(Activation::Tanh, &x);
    let image = layers.graph.affine(&x, 0.5, 0.5);
    Ok(frame.within(layers.graph, &image, source))
}

fn doubled(by: Up, layers: &mut Layers<'_>, name: &str, x: &Value) -> Result<Value> {
    match by {
        Up::Transposed => {
            let op = ConvTranspose2d { stride: 2, activation: conv2d::Activation::None };
            layers.conv_transposed(name, op, x)
        }
        Up::Resize => {
            let larger = layers.repeated(2, x);
            layers.conv(name, Conv2d { stride: 1, ..halving() }, &larger)
        }
    }
}
