// y = x with randomness of one of the kinds below, a number of its own for each element.
// use: linear, philox
//
// One invocation four elements, those of one block of random words or of two, 256 in a workgroup; the grid is folded
// into y.

const DROPOUT: u32 = 0u; // 0 with probability a, else x / (1 - a)
const RRELU: u32 = 1u; // x where sign >= 0, else x / u with u uniform in a..b
const NOISE: u32 = 2u; // x + a z with z standard normal

struct Params {
    len: u32,
    kind: u32,
    a: f32,
    b: f32,
    seed_low: u32,
    seed_high: u32,
    stream: u32,
    step: u32,
    layer: u32,
    first_block: u32, // of the blocks of random words
    shift: u32, // words of that block that are passed over, 0..3
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> sign: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (len)

fn perturbed(i: u32, word: u32, normal: f32) -> f32 {
    switch p.kind {
        case DROPOUT: {
            return select(x[i] / (1.0 - p.a), 0.0, unit(word) < p.a);
        }
        case RRELU: {
            return select(x[i], x[i] / (p.a + (p.b - p.a) * unit(word)), sign[i] < 0.0);
        }
        default: {
            return x[i] + p.a * normal;
        }
    }
}

fn words_of(block: u32) -> vec4<u32> {
    return philox(vec4<u32>(block, p.layer, p.step, p.stream), vec2<u32>(p.seed_low, p.seed_high));
}

fn normals_of(words: vec4<u32>) -> vec4<f32> {
    if (p.kind != NOISE) {
        return vec4<f32>();
    }
    return vec4<f32>(box_muller(words.x, words.y), box_muller(words.z, words.w));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = linear_index(group, local);
    var words = words_of(p.first_block + block);
    var normals = normals_of(words);
    if (p.shift != 0u) {
        let these = words;
        let those = normals;
        let next_words = words_of(p.first_block + block + 1u);
        let next_normals = normals_of(next_words);
        for (var k = 0u; k < 4u; k++) {
            let at = (k + p.shift) % 4u;
            let within = k + p.shift < 4u;
            words[k] = select(next_words[at], these[at], within);
            normals[k] = select(next_normals[at], those[at], within);
        }
    }
    for (var k = 0u; k < 4u; k++) {
        let i = block * 4u + k;
        if (i < p.len) {
            y[i] = perturbed(i, words[k], normals[k]);
        }
    }
}
