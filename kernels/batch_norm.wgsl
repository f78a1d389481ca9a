// y = gamma * (x - mean) / sqrt(variance + eps) + beta, channel by channel (Ioffe, Szegedy, "Batch Normalization",
// 2015), with dropout and a rectifier behind it, and S channels of `skip` beside it.
// use: linear, nan, philox, batch_norm
//
// One invocation an element of y, 256 in a workgroup; the grid is folded into y.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // (C)
@group(0) @binding(3) var<storage, read> beta: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(5) var<storage, read> variance: array<f32>; // (C)
@group(0) @binding(6) var<storage, read> skip: array<f32>; // (P, S), where S > 0
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // (P, C + S)
@group(0) @binding(8) var<storage, read_write> kept: array<f32>; // (4, C): mean, variance, gamma, beta

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let width = p.channels + p.joined;
    if (at < p.channels) {
        kept[at] = mean[at];
        kept[p.channels + at] = variance[at];
        kept[2u * p.channels + at] = gamma[at];
        kept[3u * p.channels + at] = beta[at];
    }
    if (at >= p.rows * width) {
        return;
    }
    let row = at / width;
    let c = at % width;
    if (c >= p.channels) {
        y[at] = skip[row * p.joined + c - p.channels];
        return;
    }
    let i = row * p.channels + c;
    y[at] = followed(i, (x[i] - mean[c]) * (gamma[c] / sqrt(variance[c] + p.eps)) + beta[c]);
}
