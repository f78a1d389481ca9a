// dx = dy where y > 0, else 0: the gradient of y = max(x, 0), from its output.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        dx[i] = select(0.0, dy[i], y[i] > 0.0);
    }
}
