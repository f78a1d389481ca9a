// words[i] = x[2 i] and x[2 i + 1] as f16, the first in the lower bits; 0 for an element that x does not have.
// use: linear
//
// Rounded to the nearest, ties to even, by integers (below 2^-14 by an addition): `pack2x16float` may round either way
// and gives anything beyond 65504, which is the largest here. A NaN stays one. One invocation a word, 256 in a
// workgroup; the grid is folded into y.

struct Params {
    len: u32, // elements of x
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> words: array<u32>; // (len / 2, rounded up)

fn half(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    let size = bits & 0x7fffffffu;
    // 65504 at most.
    let limited = min(size, 0x477fe000u);
    // From 2^-14 on: the exponent's bias changes by 112, and 13 bits are rounded away.
    let normal = (limited - 0x37fff001u + ((limited >> 13u) & 1u)) >> 13u;
    // Below, a step is 2^-24, which is one of f32 at 0.5.
    let small = bitcast<u32>(bitcast<f32>(limited) + 0.5) - 0x3f000000u;
    let number = select(normal, small, limited < 0x38800000u);
    return ((bits >> 16u) & 0x8000u) | select(number, 0x7e00u, size > 0x7f800000u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < (p.len + 1u) / 2u) {
        let second = select(0u, 2u * i + 1u, 2u * i + 1u < p.len);
        let high = select(0u, half(x[second]), second > 0u);
        words[i] = half(x[2u * i]) | (high << 16u);
    }
}
