// y = x, four elements at a time.
// use: linear
//
// Measures how fast a device reads and writes memory. One invocation a quad, 256 in a workgroup; the grid is folded
// into y.

struct Params {
    quads: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // (quads)
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (quads)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.quads) {
        y[i] = x[i];
    }
}
