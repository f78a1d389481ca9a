// y[n, i, j, c] = x[n, i - top, j - left, c - first], or 0 where that lies outside x: zero padding, and for offsets
// below zero the cut of a part.
// use: linear
//
// One invocation an output element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N Ho Wo O
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    out_height: u32, // Ho
    out_width: u32, // Wo
    out_channels: u32, // O
    top: i32,
    left: i32,
    first: i32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, O)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let line = at / p.out_channels / p.out_width;
        let picture = line / p.out_height;
        let c = i32(at % p.out_channels) - p.first;
        let column = i32(at / p.out_channels % p.out_width) - p.left;
        let row = i32(line % p.out_height) - p.top;
        var v = 0.0;
        if (c >= 0 && c < i32(p.channels) && column >= 0 && column < i32(p.width) && row >= 0 && row < i32(p.height)) {
            v = x[((picture * p.height + u32(row)) * p.width + u32(column)) * p.channels + u32(c)];
        }
        y[at] = v;
    }
}
