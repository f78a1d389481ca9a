// dx = dy[0] / P * (softmax(x) sum t - t), with what cross_entropy.wgsl found for each row.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    rows: u32, // P
    channels: u32, // Q
    soft: u32, // 1 where t is given, 0 for classes
    not_a_number: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, Q)
@group(0) @binding(2) var<storage, read> t: array<f32>; // (P, Q), or (P) of classes
@group(0) @binding(3) var<storage, read> stats: array<f32>; // (P, 3)   max x, sum exp(x - max x), sum t
@group(0) @binding(4) var<storage, read> dy: array<f32>; // (1)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // (P, Q)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i >= p.rows * p.channels) {
        return;
    }
    let row = i / p.channels;
    var share = 0.0;
    if (p.soft == 1u) {
        share = t[i];
    } else {
        share = select(0.0, 1.0, t[row] == f32(i % p.channels));
    }
    let softmax = exp(x[i] - stats[3u * row]) / stats[3u * row + 1u];
    dx[i] = dy[0] / f32(p.rows) * (softmax * stats[3u * row + 2u] - share);
}
