// y = share * y + rest * x, element by element: a moving average.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32,
    share: f32,
    rest: f32, // 1 - share
    pad: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        y[i] = p.share * y[i] + p.rest * x[i];
    }
}
