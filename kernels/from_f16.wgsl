// y[2 i] and y[2 i + 1] = the two f16 of words[i], the first from the lower bits.
// use: linear
//
// Exact, by integers (below 2^-14 by a product): `unpack2x16float` may take such numbers for 0. What is not finite is
// NaN. One invocation an element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // elements of y
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>; // (len / 2, rounded up)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        let bits = words[i / 2u] >> (16u * (i % 2u));
        let size = bits & 0x7fffu;
        let normal = (size << 13u) + 0x38000000u;
        let small = bitcast<u32>(f32(size) * (1.0 / 16777216.0));
        let number = select(normal, small, size < 0x400u);
        y[i] = bitcast<f32>(((bits & 0x8000u) << 16u) | select(number, 0x7fc00000u, size >= 0x7c00u));
    }
}
