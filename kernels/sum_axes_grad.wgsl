// y[row, k] = x[row, k mod S]: each row of x repeated; the gradient of sum_axes.wgsl.
// use: linear
//
// One invocation an element of y, 256 in a workgroup; the grid is folded into y.

struct Params {
    rows: u32, // P
    len: u32, // L, elements of a row of y
    step: u32, // S, elements of a row of x, a divisor of L
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, S)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (P, L)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.rows * p.len) {
        y[i] = x[i / p.len * p.step + i % p.len % p.step];
    }
}
