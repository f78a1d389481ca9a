// y_k += x_k for four pairs of tensors, each of a length of its own.
// use: linear
//
// One invocation an element, 256 in a workgroup; those of a pair begin with a workgroup, after those of the pairs before
// it. The grid is folded into y.

struct Params {
    len_0: u32,
    len_1: u32,
    len_2: u32,
    len_3: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x_0: array<f32>; // (len_0)
@group(0) @binding(2) var<storage, read> x_1: array<f32>; // (len_1)
@group(0) @binding(3) var<storage, read> x_2: array<f32>; // (len_2)
@group(0) @binding(4) var<storage, read> x_3: array<f32>; // (len_3)
@group(0) @binding(5) var<storage, read_write> y_0: array<f32>; // (len_0)
@group(0) @binding(6) var<storage, read_write> y_1: array<f32>; // (len_1)
@group(0) @binding(7) var<storage, read_write> y_2: array<f32>; // (len_2)
@group(0) @binding(8) var<storage, read_write> y_3: array<f32>; // (len_3)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var i = linear_index(group, local);
    let begin_1 = (p.len_0 + 255u) / 256u * 256u;
    let begin_2 = begin_1 + (p.len_1 + 255u) / 256u * 256u;
    let begin_3 = begin_2 + (p.len_2 + 255u) / 256u * 256u;
    if (i < begin_1) {
        if (i < p.len_0) {
            y_0[i] += x_0[i];
        }
    } else if (i < begin_2) {
        i -= begin_1;
        if (i < p.len_1) {
            y_1[i] += x_1[i];
        }
    } else if (i < begin_3) {
        i -= begin_2;
        if (i < p.len_2) {
            y_2[i] += x_2[i];
        }
    } else {
        i -= begin_3;
        if (i < p.len_3) {
            y_3[i] += x_3[i];
        }
    }
}
