// Gradient descent with momentum, over an arena: g' = g + 2 l2 w; v = momentum v + g'; w = w - lr decay w - lr v.
// use: linear
//
// Decay and l2 reach the first `decay_len` elements. One invocation an element, 256 in a workgroup; the grid is folded
// into y.

struct Params {
    len: u32,
    decay_len: u32,
    lr: f32,
    momentum: f32,
    decay: f32, // lr times the decoupled weight decay
    l2: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> w: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> v: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let decays = i < p.decay_len;
        let weight = w[i];
        let slope = g[i] + select(0.0, 2.0 * p.l2 * weight, decays);
        let velocity = p.momentum * v[i] + slope;
        v[i] = velocity;
        w[i] = weight - select(0.0, p.decay * weight, decays) - p.lr * velocity;
    }
}
