// between = momentum * (between + (1 - momentum) * (mean - running_mean)^2): what the means of batches differ by.
// use: linear
//
// With running_mean as it was before this batch moves it, this is the exponential average of the squared means less the square
// of their average. One invocation a channel, 256 in a workgroup.

struct Params {
    channels: u32, // C
    momentum: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(2) var<storage, read> running_mean: array<f32>; // (C)
@group(0) @binding(3) var<storage, read_write> between: array<f32>; // (C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = linear_index(group, local);
    if (c < p.channels) {
        let off = mean[c] - running_mean[c];
        between[c] = p.momentum * (between[c] + (1.0 - p.momentum) * off * off);
    }
}
