//! Colours in a graph: the annealed mean, and Lab to sRGB.

use crate::exchange::onnx::graph::{Attribute, Graph, Value};
use crate::exchange::onnx::layers::enlarged;
use crate::imaging::color::lab::{WHITE, XYZ_TO_RGB};

/// Where the linear part of Lab's f ends, as a value of f.
const DELTA: f32 = 6.0 / 29.0;

/// a and b `[N, 2, h F, w F]` of logits `[N, Q, h, w]`: see [`crate::imaging::ops::annealed_mean`].
pub fn annealed_mean(graph: &mut Graph, logits: &Value, bins: &[f32], factor: usize, temperature: f32) -> Value {
    let bin_count = bins.len() / 2;
    let transposed: Vec<f32> = (0..2).flat_map(|axis| bins.iter().skip(axis).step_by(2).copied()).collect();
    let centres = graph.named("bins", &[2, bin_count, 1, 1], &transposed);
    let shares = graph.node("Softmax", &[logits], [Attribute::Int("axis", 1)]);
    if temperature == 1.0 {
        // A mean of means: what is enlarged may be the two channels instead of one a bin.
        let ab = graph.plain("Conv", [&shares, &centres]);
        return enlarged(graph, &ab, factor);
    }
    let shares = enlarged(graph, &shares, factor);
    let least = graph.number(f32::MIN_POSITIVE);
    let shares = graph.plain("Max", [&shares, &least]);
    let logs = graph.plain("Log", [&shares]);
    let sharp = graph.scaled(&logs, 1.0 / temperature);
    let weights = graph.node("Softmax", &[&sharp], [Attribute::Int("axis", 1)]);
    graph.plain("Conv", [&weights, &centres])
}

/// sRGB `[N, 3, H, W]` 0..1 of L / 100 `[N, 1, H, W]` and ab `[N, 2, H, W]`: see [`crate::imaging::color::lab`].
pub fn lab_to_srgb(graph: &mut Graph, lightness: &Value, ab: &Value) -> Value {
    let fy = graph.affine(lightness, 100.0 / 116.0, 16.0 / 116.0);
    let [a, b] = [0, 1].map(|channel| graph.channels(ab, channel, 1));
    let (a, b) = (graph.scaled(&a, 1.0 / 500.0), graph.scaled(&b, 1.0 / 200.0));
    let fx = graph.plain("Add", [&fy, &a]);
    let fz = graph.plain("Sub", [&fy, &b]);
    let f = graph.concat(&[&fx, &fy, &fz], 1);
    let square = graph.plain("Mul", [&f, &f]);
    let cube = graph.plain("Mul", [&square, &f]);
    let slope = 3.0 * DELTA * DELTA;
    let line = graph.affine(&f, slope, -slope * 4.0 / 29.0);
    let end = graph.number(DELTA);
    let beyond = graph.plain("Greater", [&f, &end]);
    let xyz = graph.plain("Where", [&beyond, &cube, &line]);
    let to_rgb: Vec<f32> =
        XYZ_TO_RGB.iter().flat_map(|row| row.iter().zip(WHITE).map(|(m, white)| (m * white) as f32)).collect();
    let to_rgb = graph.named("xyz_to_rgb", &[3, 3, 1, 1], &to_rgb);
    let linear = graph.plain("Conv", [&xyz, &to_rgb]);
    let linear = clamped(graph, &linear);
    let low = graph.scaled(&linear, 12.92);
    let exponent = graph.number(1.0 / 2.4);
    let power = graph.plain("Pow", [&linear, &exponent]);
    let high = graph.affine(&power, 1.055, -0.055);
    let knee = graph.number(0.0031308);
    let bright = graph.plain("Greater", [&linear, &knee]);
    let srgb = graph.plain("Where", [&bright, &high, &low]);
    clamped(graph, &srgb)
}

fn clamped(graph: &mut Graph, x: &Value) -> Value {
    let (zero, one) = (graph.number(0.0), graph.number(1.0));
    graph.plain("Clip", [x, &zero, &one])
}
