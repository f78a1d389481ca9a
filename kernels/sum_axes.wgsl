// y[row, k] = sum over j of x[row, k + j step]: each row of x is folded onto its first `step` elements.
// use: linear
//
// One invocation an element of y, 256 in a workgroup; the grid is folded into y. The host chooses `step` such that no
// invocation adds more than 256 elements, and folds again where that was not enough.

struct Params {
    rows: u32, // P
    len: u32, // L, elements of a row of x
    step: u32, // S, elements of a row of y, at most L
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, L)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (P, S)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i >= p.rows * p.step) {
        return;
    }
    let first = i / p.step * p.len;
    var sum = 0.0;
    for (var k = i % p.step; k < p.len; k += p.step) {
        sum += x[first + k];
    }
    y[i] = sum;
}
