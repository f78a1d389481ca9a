// y = x enlarged k times along both axes by linear interpolation, half-pixel centres, edges clamped: output i lies at
// (i + 1/2) / k - 1/2 of the input, held within 0..H-1 (tf.image.resize, Keras' UpSampling2D).
// use: linear
//
// One invocation an output element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N kH kW C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    factor: u32, // k
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N, kH, kW, C)

// The input pixels on both sides of an output pixel, and the share of the second.
struct Neighbours {
    low: u32,
    high: u32,
    share: f32,
}

fn neighbours(at: u32, size: u32) -> Neighbours {
    // The place plus one in units of 1 / 2k: whole, so that the share is exact up to its one division.
    let place = 2u * at + 1u + p.factor;
    let cell = place / (2u * p.factor);
    let share = f32(place % (2u * p.factor)) / f32(2u * p.factor);
    return Neighbours(max(cell, 1u) - 1u, min(cell, size - 1u), share);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let pixel = at / p.channels;
        let j = neighbours(pixel % (p.factor * p.width), p.width);
        let row = pixel / (p.factor * p.width);
        let i = neighbours(row % (p.factor * p.height), p.height);
        let picture = row / (p.factor * p.height) * p.height;
        let top = (picture + i.low) * p.width;
        let bottom = (picture + i.high) * p.width;
        let left = mix(x[(top + j.low) * p.channels + c], x[(bottom + j.low) * p.channels + c], i.share);
        let right = mix(x[(top + j.high) * p.channels + c], x[(bottom + j.high) * p.channels + c], i.share);
        y[at] = mix(left, right, j.share);
    }
}
