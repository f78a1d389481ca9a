// y = gamma * (x - mean) / sqrt(variance + eps) + beta, channel by channel (Ioffe, Szegedy, "Batch Normalization",
// 2015).
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // P C
    channels: u32, // C
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // (C)
@group(0) @binding(3) var<storage, read> beta: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(5) var<storage, read> variance: array<f32>; // (C)
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // (P, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let c = i % p.channels;
        y[i] = (x[i] - mean[c]) * (gamma[c] / sqrt(variance[c] + p.eps)) + beta[c];
    }
}
