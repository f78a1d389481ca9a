// y[n, i, j, c] = the largest of x[n, 2 i + 0..1, 2 j + 0..1, c]; NaN where one of them is.
// use: linear, nan
//
// One invocation an output element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N Ho Wo C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, C), Ho = H / 2, Wo = W / 2 rounded down

// Not max(): a NaN stays one, and training notices it.
fn larger(a: f32, b: f32) -> f32 {
    return select(a, b, (b > a || is_nan(b)) && !is_nan(a));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let j = at / p.channels % (p.width / 2u);
        let line = at / p.channels / (p.width / 2u);
        let i = line % (p.height / 2u);
        let first = (((line / (p.height / 2u)) * p.height + 2u * i) * p.width + 2u * j) * p.channels + c;
        let below = first + p.width * p.channels;
        y[at] = larger(larger(x[first], x[first + p.channels]), larger(x[below], x[below + p.channels]));
    }
}
