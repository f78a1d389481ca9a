// y = the mean of f(x, t) over all elements; f is one of the kinds below.
// use: linear, sum_lanes, log1p
//
// First `partials`: a workgroup of 256 sums blocks of 4096 elements, the grid folded into y; then `combine`, one
// workgroup, sums the blocks. `whole`: one workgroup where there is only one block. The order is fixed by the length
// alone.

const L1: u32 = 0u; // |x - t|
const SQUARED_ERROR: u32 = 1u; // (x - t)^2
const BCE_WITH_LOGITS: u32 = 2u; // -t log sigmoid(x) - (1 - t) log sigmoid(-x), written so that nothing overflows

struct Params {
    len: u32,
    blocks: u32, // ceil(len / 4096)
    kind: u32,
    constant: u32, // whether every t is `value`
    value: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> target_values: array<f32>; // (len), where not constant
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (1)
@group(0) @binding(4) var<storage, read_write> sums: array<f32>; // (blocks)

fn loss(v: f32, t: f32) -> f32 {
    switch p.kind {
        case L1: {
            return abs(v - t);
        }
        case SQUARED_ERROR: {
            return (v - t) * (v - t);
        }
        default: {
            // max(v, 0) - v t by a comparison: a NaN stays one, and of t = 1 nothing is left at any v above 0.
            return select(v * (1.0 - t), -v * t, v < 0.0) + log1p(exp(-abs(v)));
        }
    }
}

fn block_sum(block: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < 16u; k++) {
        let i = (block * 16u + k) * 256u + local;
        if (i < p.len) {
            sum += loss(x[i], select(target_values[i], p.value, p.constant == 1u));
        }
    }
    return sum_lanes(local, sum, 1u);
}

@compute @workgroup_size(256)
fn whole(@builtin(local_invocation_index) local: u32) {
    let sum = block_sum(0u, local);
    if (local == 0u) {
        y[0] = sum / f32(p.len);
    }
}

@compute @workgroup_size(256)
fn partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group_index(group);
    if (block >= p.blocks) {
        return;
    }
    let sum = block_sum(block, local);
    if (local == 0u) {
        sums[block] = sum;
    }
}

@compute @workgroup_size(256)
fn combine(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var block = local; block < p.blocks; block += 256u) {
        sum += sums[block];
    }
    sum = sum_lanes(local, sum, 1u);
    if (local == 0u) {
        y[0] = sum / f32(p.len);
    }
}
