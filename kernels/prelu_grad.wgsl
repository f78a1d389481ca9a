// dx = dy where x >= 0, else a[c] dy; each element's share of the slope's gradient, da[c] = sum over rows of share, is
// x dy where x < 0, else 0.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32,
    channels: u32, // C
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> a: array<f32>; // (C)
@group(0) @binding(3) var<storage, read> dy: array<f32>; // (P, C)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (P, C)
@group(0) @binding(5) var<storage, read_write> share: array<f32>; // (P, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let below = x[i] < 0.0;
        dx[i] = select(dy[i], a[i % p.channels] * dy[i], below);
        share[i] = select(0.0, x[i] * dy[i], below);
    }
}
