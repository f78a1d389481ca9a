// y[p, c] = a[p, c] where c < A, else b[p, c - A]: two tensors side by side along the channels.
// use: linear
//
// One invocation an output element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // P (A + B)
    a_channels: u32, // A
    b_channels: u32, // B
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // (P, A)
@group(0) @binding(2) var<storage, read> b: array<f32>; // (P, B)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (P, A + B)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let pixel = at / (p.a_channels + p.b_channels);
        let c = at % (p.a_channels + p.b_channels);
        if (c < p.a_channels) {
            y[at] = a[pixel * p.a_channels + c];
        } else {
            y[at] = b[pixel * p.b_channels + c - p.a_channels];
        }
    }
}
