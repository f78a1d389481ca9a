// y[i] = b[i] / 255 of bytes b, four of them in a word, the first in its lowest bits.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y. A division need not be rounded correctly in
// WGSL, so there is none: b / 255 = 257 b / 65536 + b / (255 * 65536), of which the first term is exact, and the second
// so small that its rounding does not reach the sum's.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>; // (len / 4, rounded up)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let byte = (words[i / 4u] >> (8u * (i % 4u))) & 255u;
        y[i] = f32(257u * byte) * (1.0 / 65536.0) + f32(byte) * (1.0 / 16711680.0);
    }
}
