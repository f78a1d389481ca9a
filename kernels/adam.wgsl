// Adam (Kingma, Ba, 2015, algorithm 1) with decoupled weight decay (Loshchilov, Hutter, 2019), over an arena:
// g' = g + 2 l2 w; m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'^2;
// w = w - lr decay w - lr m^ / (sqrt(v^) + eps), where m^ and v^ are m and v divided by 1 - beta^step.
// use: linear
//
// Decay and l2 reach the first `decay_len` elements. One invocation an element, 256 in a workgroup; the grid is folded
// into y.

struct Params {
    len: u32,
    decay_len: u32,
    rate: f32, // lr / (1 - beta1^step)
    beta1: f32,
    rest1: f32, // 1 - beta1
    beta2: f32,
    rest2: f32, // 1 - beta2
    correction2: f32, // 1 / (1 - beta2^step)
    eps: f32,
    decay: f32, // lr times the decoupled weight decay
    l2: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> w: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> m: array<f32>; // (len)
@group(0) @binding(4) var<storage, read_write> v: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let decays = i < p.decay_len;
        let weight = w[i];
        let slope = g[i] + select(0.0, 2.0 * p.l2 * weight, decays);
        let first = p.beta1 * m[i] + p.rest1 * slope;
        let second = p.beta2 * v[i] + p.rest2 * slope * slope;
        m[i] = first;
        v[i] = second;
        let update = p.rate * first / (sqrt(p.correction2 * second) + p.eps);
        w[i] = weight - select(0.0, p.decay * weight, decays) - update;
    }
}
