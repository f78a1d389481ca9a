// y = uniform in [0, 1) or standard normal numbers: those of random.rs, a pure function of seed, stream, step and index.
// use: linear, philox
//
// One invocation a Philox block of four elements, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
    stream: u32,
    normal: u32, // 1 for normal, 0 for uniform
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = linear_index(group, local);
    let words = philox(vec4<u32>(block, 0u, p.step, p.stream), vec2<u32>(p.seed_low, p.seed_high));
    var values = vec4<f32>(unit(words.x), unit(words.y), unit(words.z), unit(words.w));
    if (p.normal == 1u) {
        values = vec4<f32>(box_muller(words.x, words.y), box_muller(words.z, words.w));
    }
    for (var k = 0u; k < 4u; k++) {
        let i = block * 4u + k;
        if (i < p.len) {
            y[i] = values[k];
        }
    }
}
