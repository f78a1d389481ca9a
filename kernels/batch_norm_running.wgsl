// running = momentum * running + (1 - momentum) * batch, for mean and variance; pooled, the variance gets
// momentum * (1 - momentum) * (mean - running_mean)^2 more.
// use: linear
//
// One invocation a channel, 256 in a workgroup. A launch of its own: running statistics may share a buffer with gamma
// and beta, and no buffer is read and written in one launch.

struct Params {
    channels: u32, // C
    momentum: f32,
    between: f32, // 1: pooled, 0: not
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(2) var<storage, read> variance: array<f32>; // (C)
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> running_variance: array<f32>; // (C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = linear_index(group, local);
    if (c < p.channels) {
        let off = mean[c] - running_mean[c];
        let batch = variance[c] + p.between * p.momentum * off * off;
        running_variance[c] = p.momentum * running_variance[c] + (1.0 - p.momentum) * batch;
        running_mean[c] = p.momentum * running_mean[c] + (1.0 - p.momentum) * mean[c];
    }
}
