// y = alpha * x + beta * z, element by element, or alpha * x + beta; copy (alpha 1, beta 0), scale (beta 0) and add
// (1, 1) are cases of it.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y. z is read only where it counts.

struct Params {
    len: u32,
    alpha: f32,
    beta: f32,
    shift: u32, // whether z is 1 throughout
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> z: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        if (p.beta == 0.0) {
            y[i] = p.alpha * x[i];
        } else if (p.shift != 0u) {
            y[i] = p.alpha * x[i] + p.beta;
        } else {
            y[i] = p.alpha * x[i] + p.beta * z[i];
        }
    }
}
