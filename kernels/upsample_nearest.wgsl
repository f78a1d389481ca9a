// y[n, i, j, c] = x[n, i / k, j / k, c]: every pixel k times along both axes.
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

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let j = at / p.channels % (p.factor * p.width);
        // Rows of all pictures in one count: kH is a multiple of k.
        let row = at / p.channels / (p.factor * p.width);
        y[at] = x[(row / p.factor * p.width + j / p.factor) * p.channels + c];
    }
}
