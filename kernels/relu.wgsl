// y = max(x, 0), element by element.
// use: linear, nan
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        // Not max(), nor a comparison of floats that a compiler may make one of: a NaN stays one, and training notices it.
        y[i] = select(x[i], 0.0, is_below_zero(x[i]));
    }
}
