//! The classification networks as graphs.

use crate::engine::nn::Form;
use crate::engine::ops::conv2d::Padding;
use crate::error::Result;
use crate::exchange::onnx::colour::{annealed_mean, lab_to_srgb};
use crate::exchange::onnx::framing::{Frame, Size};
use crate::exchange::onnx::graph::Value;
use crate::exchange::onnx::layers::Layers;
use crate::networks::classifier::lightness::LightnessHead;
use crate::networks::classifier::network::{Architecture, bins_and_prior};

/// The network with its decoding, for images of any size.
///
/// # Errors
/// Layers that do not say what they are.
pub fn onnx(architecture: &Architecture, layers: &mut Layers<'_>, source: &Value, temperature: f32) -> Result<Value> {
    let framing = architecture.framing;
    let frame = Frame { size: Size::Multiple(framing.stride), margin: framing.margin, halo: framing.halo };
    let forms = (architecture.layers_of)(layers.weights)?.forms();
    let (bins, _) = bins_and_prior(layers.weights)?;
    let framed = frame.around(layers.graph, source);
    let mut x = layers.graph.affine(&framed, 1.0, -0.5);
    let mut features = x.clone();
    for form in &forms {
        features = x;
        x = layers.layer(form, &features)?;
    }
    let ab = annealed_mean(layers.graph, &x, bins.centres.as_flattened(), architecture.upsample, temperature);
    let ab = frame.within(layers.graph, &ab, source);
    let lightness = match LightnessHead::of(layers.weights, architecture.upsample) {
        None => layers.graph.channels(source, 0, 1),
        Some(head) => {
            let grey = layers.graph.channels(&framed, 0, 1);
            let lightness = head.onnx(layers, &features, &grey, border(layers, forms.last()))?;
            frame.within(layers.graph, &lightness, source)
        }
    };
    Ok(lab_to_srgb(layers.graph, &lightness, &ab))
}

/// Pixels on each side of what the last layer reads that are not in what it makes.
fn border(layers: &Layers<'_>, last: Option<&Form>) -> usize {
    let Some(Form::Conv { name, op }) = last else { return 0 };
    match (op.padding, layers.weights.get(&format!("{name}.weight"))) {
        (Padding::Valid, Some(kernel)) => (kernel.shape[0] - 1) * op.dilation / 2,
        (Padding::Around(zeros), Some(kernel)) => ((kernel.shape[0] - 1) * op.dilation / 2).saturating_sub(zeros),
        _ => 0,
    }
}
