// dbeta = sum dy and dgamma = sum dy * (x - mean) / sqrt(variance + eps), over the P = N H W rows of each channel.
// use: linear, sum_lanes
//
// As in batch_norm_stats: `partials` sums blocks of rows, a channel an invocation column; `combine` sums the blocks.

// Channels of a workgroup; the remaining 256 / CHANNELS invocations of each take turns at its rows.
override CHANNELS: u32 = 64;

struct Params {
    rows: u32, // P
    channels: u32, // C
    block_rows: u32,
    blocks: u32, // B = ceil(P / block_rows)
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (P, C)
@group(0) @binding(3) var<storage, read> mean: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> variance: array<f32>; // (C)
@group(0) @binding(5) var<storage, read_write> dgamma: array<f32>; // (C)
@group(0) @binding(6) var<storage, read_write> dbeta: array<f32>; // (C)
@group(0) @binding(7) var<storage, read_write> sums: array<f32>; // (B, 2, C): of dy and of dy * (x - mean)

@compute @workgroup_size(256)
fn partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tiles = (p.channels + CHANNELS - 1u) / CHANNELS;
    let block = group_index(group) / tiles;
    if (block >= p.blocks) {
        return;
    }
    let column = group_index(group) % tiles * CHANNELS + local % CHANNELS;
    let c = min(column, p.channels - 1u);
    let first = block * p.block_rows;
    let end = min(first + p.block_rows, p.rows);
    let center = mean[c];
    var plain = 0.0;
    var centered = 0.0;
    for (var row = first + local / CHANNELS; row < end; row += 256u / CHANNELS) {
        let i = row * p.channels + c;
        plain += dy[i];
        centered += dy[i] * (x[i] - center);
    }
    plain = sum_lanes(local, plain, CHANNELS);
    centered = sum_lanes(local, centered, CHANNELS);
    if (local < CHANNELS && column < p.channels) {
        sums[2u * block * p.channels + c] = plain;
        sums[(2u * block + 1u) * p.channels + c] = centered;
    }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = group_index(group) * CHANNELS + local % CHANNELS;
    let c = min(column, p.channels - 1u);
    var plain = 0.0;
    var centered = 0.0;
    for (var block = local / CHANNELS; block < p.blocks; block += 256u / CHANNELS) {
        plain += sums[2u * block * p.channels + c];
        centered += sums[(2u * block + 1u) * p.channels + c];
    }
    plain = sum_lanes(local, plain, CHANNELS);
    centered = sum_lanes(local, centered, CHANNELS);
    if (local < CHANNELS && column < p.channels) {
        dbeta[c] = plain;
        dgamma[c] = centered / sqrt(variance[c] + p.eps);
    }
}
