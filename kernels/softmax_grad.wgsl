// dx = y * (dy - sum dy * y) over the last axis: the gradient of a softmax from its output.
// use: linear, group_reduce
//
// `main`: a workgroup of 64 a row, each invocation every 64th element. Longer rows are cut into blocks of BLOCK
// elements, a workgroup each, as in softmax.wgsl: `sums` adds up each block's products, `apply` writes dx. The grid is
// folded into y.

const BLOCK: u32 = 16384;

struct Params {
    rows: u32, // P
    channels: u32, // C
    blocks: u32, // B = ceil(C / BLOCK)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (P, C)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (P, C)
@group(0) @binding(4) var<storage, read_write> block_sums: array<f32>; // (P, B)

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group_index(group);
    if (row >= p.rows) {
        return;
    }
    let first = row * p.channels;
    var sum = 0.0;
    for (var c = local; c < p.channels; c += GROUP) {
        sum += dy[first + c] * y[first + c];
    }
    sum = group_sum(sum, local);
    for (var c = local; c < p.channels; c += GROUP) {
        dx[first + c] = y[first + c] * (dy[first + c] - sum);
    }
}

@compute @workgroup_size(GROUP)
fn sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group);
    let row = at / p.blocks;
    if (row >= p.rows) {
        return;
    }
    let begin = at % p.blocks * BLOCK;
    let end = min(begin + BLOCK, p.channels);
    let first = row * p.channels;
    var sum = 0.0;
    for (var c = begin + local; c < end; c += GROUP) {
        sum += dy[first + c] * y[first + c];
    }
    sum = group_sum(sum, local);
    if (local == 0u) {
        block_sums[at] = sum;
    }
}

@compute @workgroup_size(GROUP)
fn apply(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group);
    let row = at / p.blocks;
    if (row >= p.rows) {
        return;
    }
    let begin = at % p.blocks * BLOCK;
    let end = min(begin + BLOCK, p.channels);
    let first = row * p.channels;
    var sum = 0.0;
    for (var block = local; block < p.blocks; block += GROUP) {
        sum += block_sums[row * p.blocks + block];
    }
    sum = group_sum(sum, local);
    for (var c = begin + local; c < end; c += GROUP) {
        dx[first + c] = y[first + c] * (dy[first + c] - sum);
    }
}
