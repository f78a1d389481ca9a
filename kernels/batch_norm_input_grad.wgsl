// dx = gamma / s * (dy - through_batch * (dbeta + (x - mean) / s * dgamma) / P), s = sqrt(variance + eps), P rows.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y. `through_batch` is 1 where mean and
// variance are the batch's own and so depend on x, 0 where they are fixed.

struct Params {
    len: u32, // P C
    channels: u32, // C
    eps: f32,
    through_batch: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (P, C)
@group(0) @binding(3) var<storage, read> gamma: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(5) var<storage, read> variance: array<f32>; // (C)
@group(0) @binding(6) var<storage, read> dgamma: array<f32>; // (C)
@group(0) @binding(7) var<storage, read> dbeta: array<f32>; // (C)
@group(0) @binding(8) var<storage, read_write> dx: array<f32>; // (P, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let c = i % p.channels;
        let scale = 1.0 / sqrt(variance[c] + p.eps);
        let share = p.through_batch / f32(p.len / p.channels);
        let mean_part = share * dbeta[c];
        let variance_part = share * dgamma[c] * scale * (x[i] - mean[c]);
        dx[i] = gamma[c] * scale * (dy[i] - mean_part - variance_part);
    }
}
