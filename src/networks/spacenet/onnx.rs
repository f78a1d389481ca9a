//! SpaceNet's generator as a graph.

use crate::engine::ops::activation::{Activation, sigmoid};
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d};
use crate::error::Result;
use crate::exchange::onnx::graph::Value;
use crate::exchange::onnx::layers::Layers;
use crate::networks::spacenet::network::LAYERS;

/// The network, for images of any size.
pub(super) fn onnx(layers: &mut Layers<'_>, source: &Value) -> Result<Value> {
    let x = layers.graph.affine(source, 2.0, -1.0);
    let mut before = layers.conv("g.in1", Conv2d::same(), &x)?;
    let mut last = layers.conv("g.in0", Conv2d::same(), &x)?;
    for k in 1..=LAYERS {
        let name = |part: &str| format!("g.layer{k}.{part}");
        let mix = layers.weights.expect(&name("mix"), &[1])?[0];
        let (of_last, of_before) =
            (layers.graph.scaled(&last, sigmoid(mix)), layers.graph.scaled(&before, sigmoid(-mix)));
        let mut x = layers.graph.plain("Add", [&of_last, &of_before]);
        for part in ["conv1", "conv2"] {
            x = layers.conv(&name(part), Conv2d::same(), &x)?;
        }
        let deconv = ConvTranspose2d { stride: 1, activation: conv2d::Activation::Relu };
        before = std::mem::replace(&mut last, layers.conv_transposed(&name("deconv"), deconv, &x)?);
    }
    let x = layers.conv("g.out", Conv2d::same(), &last)?;
    let x = layers.activate(Activation::Tanh, &x);
    Ok(layers.graph.affine(&x, 0.5, 0.5))
}
