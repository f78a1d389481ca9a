//! SICGAN's generator as a graph.

use crate::engine::ops::activation::Activation;
use crate::engine::ops::conv2d::Conv2d;
use crate::error::Result;
use crate::exchange::onnx::colour::lab_to_srgb;
use crate::exchange::onnx::framing::{Frame, Size};
use crate::exchange::onnx::graph::{Attribute, Graph, Value};
use crate::exchange::onnx::layers::Layers;
use crate::networks::sicgan::network::{AB_RANGE, Generator, HALO, g_conv};

/// Sobel's weights along x, along y, and the Laplacian's.
const EDGES: [[f32; 9]; 3] = [
    [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0],
    [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0],
    [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0],
];

/// The network on one patch: an image that is no larger than a patch. Of the place within the patch it knows no other.
pub(super) fn onnx(network: &Generator, layers: &mut Layers<'_>, source: &Value) -> Result<Value> {
    let frame = Frame { size: Size::Side(network.patch), margin: 0, halo: HALO };
    let patch = frame.around(layers.graph, source);
    let mut x = features(layers.graph, network.patch, &patch);
    let convs = network.convs.len() + 1;
    for k in 1..=convs {
        let op = if k < convs { Conv2d::same().relu() } else { Conv2d::same() };
        x = layers.conv(&g_conv(k), op, &x)?;
    }
    x = layers.activate(Activation::Tanh, &x);
    let ab = layers.graph.scaled(&x, AB_RANGE);
    let ab = frame.within(layers.graph, &ab, source);
    Ok(lab_to_srgb(layers.graph, source, &ab))
}

/// See [`Generator::features`].
fn features(graph: &mut Graph, side: usize, patch: &Value) -> Value {
    let edges = graph.named("edges", &[3, 1, 3, 3], EDGES.as_flattened());
    let edges = graph.plain("Conv", [patch, &edges]);
    let (sobel, laplacian) = (graph.channels(&edges, 0, 2), graph.channels(&edges, 2, 1));
    let magnitude = graph.node("ReduceL2", &[&sobel], [Attribute::Ints("axes", vec![1])]);
    // The patch without the pixel around it.
    let (first, end, axes) = (graph.integers(&[HALO as i64; 2]), graph.integers(&[-(HALO as i64); 2]), [2, 3]);
    let axes = graph.integers(&axes);
    let inner = graph.plain("Slice", [patch, &first, &end, &axes]);
    let share = |place: usize| place as f32 / side as f32;
    let places: Vec<f32> = [false, true]
        .into_iter()
        .flat_map(|down| (0..side * side).map(move |i| share(if down { i / side } else { i % side })))
        .collect();
    let places = graph.named("places", &[1, 2, side, side], &places);
    // As many as there are patches.
    let none = graph.scaled(&inner, 0.0);
    let places = graph.plain("Add", [&none, &places]);
    graph.concat(&[&inner, &magnitude, &laplacian, &places], 1)
}
