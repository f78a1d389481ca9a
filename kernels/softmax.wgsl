// y = exp(x - max x) / sum exp(x - max x) over the last axis.
// use: linear, group_reduce
//
// `main`: a workgroup of 64 a row, each invocation every 64th element. Longer rows are cut into blocks of BLOCK
// elements, a workgroup each, in three dispatches, so that no invocation loops for long: `peaks` finds the largest of
// each block, `sums` adds up each block's exponentials, `apply` writes y. The grid is folded into y.

const BLOCK: u32 = 16384;

struct Params {
    rows: u32, // P
    channels: u32, // C
    blocks: u32, // B = ceil(C / BLOCK)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (P, C)
@group(0) @binding(3) var<storage, read_write> block_peaks: array<f32>; // (P, B)
@group(0) @binding(4) var<storage, read_write> block_sums: array<f32>; // (P, B)

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group_index(group);
    if (row >= p.rows) {
        return;
    }
    let first = row * p.channels;
    var largest = x[first];
    for (var c = local; c < p.channels; c += GROUP) {
        largest = max(largest, x[first + c]);
    }
    largest = group_max(largest, local);
    var sum = 0.0;
    for (var c = local; c < p.channels; c += GROUP) {
        sum += exp(x[first + c] - largest);
    }
    sum = group_sum(sum, local);
    for (var c = local; c < p.channels; c += GROUP) {
        y[first + c] = exp(x[first + c] - largest) / sum;
    }
}

// The largest of a row, from those of its blocks.
fn row_peak(row: u32, local: u32) -> f32 {
    var largest = block_peaks[row * p.blocks];
    for (var block = local; block < p.blocks; block += GROUP) {
        largest = max(largest, block_peaks[row * p.blocks + block]);
    }
    return group_max(largest, local);
}

@compute @workgroup_size(GROUP)
fn peaks(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group);
    let row = at / p.blocks;
    if (row >= p.rows) {
        return;
    }
    let begin = at % p.blocks * BLOCK;
    let end = min(begin + BLOCK, p.channels);
    let first = row * p.channels;
    var largest = x[first + begin];
    for (var c = begin + local; c < end; c += GROUP) {
        largest = max(largest, x[first + c]);
    }
    largest = group_max(largest, local);
    if (local == 0u) {
        block_peaks[at] = largest;
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
    let largest = row_peak(row, local);
    var sum = 0.0;
    for (var c = begin + local; c < end; c += GROUP) {
        sum += exp(x[first + c] - largest);
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
    let largest = row_peak(row, local);
    var sum = 0.0;
    for (var block = local; block < p.blocks; block += GROUP) {
        sum += block_sums[row * p.blocks + block];
    }
    sum = group_sum(sum, local);
    for (var c = begin + local; c < end; c += GROUP) {
        y[first + c] = exp(x[first + c] - largest) / sum;
    }
}
