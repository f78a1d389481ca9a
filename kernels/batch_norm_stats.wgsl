// mean = sum x / P and variance = sum (x - mean)^2 / P of each channel over P = N H W rows.
// use: linear, sum_lanes, nan
//
// The grid is folded into y. First `partials`: a workgroup takes `block_rows` rows of CHANNELS channels, a channel an
// invocation column, and reads them twice, for the mean and for the squares about it (corrected two-pass: Chan, Golub,
// LeVeque, "Algorithms for Computing the Sample Variance", 1983, eq. 1.7). Then `combine` joins the blocks (their eq.
// 2.1). Neighbouring invocations have neighbouring channels.

// Channels of a workgroup; the remaining 256 / CHANNELS invocations of each take turns at its rows.
override CHANNELS: u32 = 64;

struct Params {
    rows: u32, // P
    channels: u32, // C
    block_rows: u32,
    blocks: u32, // B = ceil(P / block_rows)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read_write> mean: array<f32>; // (C)
@group(0) @binding(3) var<storage, read_write> variance: array<f32>; // (C), biased
@group(0) @binding(4) var<storage, read_write> moments: array<f32>; // (B, 2, C): mean and sum of squares about it

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
    let count = f32(end - first);

    var sum = 0.0;
    for (var row = first + local / CHANNELS; row < end; row += 256u / CHANNELS) {
        sum += x[row * p.channels + c];
    }
    let center = sum_lanes(local, sum, CHANNELS) / count;

    var rest = 0.0; // what rounding left in the mean
    var squares = 0.0;
    for (var row = first + local / CHANNELS; row < end; row += 256u / CHANNELS) {
        let d = x[row * p.channels + c] - center;
        rest += d;
        squares += d * d;
    }
    rest = sum_lanes(local, rest, CHANNELS);
    squares = sum_lanes(local, squares, CHANNELS);
    if (local < CHANNELS && column < p.channels) {
        moments[2u * block * p.channels + c] = center + rest / count;
        // What is too large for f32 is NaN and stays it, which max() need not keep.
        let about = squares - rest * rest / count;
        moments[(2u * block + 1u) * p.channels + c] = select(max(about, 0.0), make_nan(about), !is_finite(about));
    }
}

fn block_count(block: u32) -> f32 {
    return f32(min(p.block_rows, p.rows - block * p.block_rows));
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = group_index(group) * CHANNELS + local % CHANNELS;
    let c = min(column, p.channels - 1u);
    // Sums of distances from the first block's mean: a large offset common to all costs no digits.
    let origin = moments[c];
    var sum = 0.0;
    for (var block = local / CHANNELS; block < p.blocks; block += 256u / CHANNELS) {
        sum += block_count(block) * (moments[2u * block * p.channels + c] - origin);
    }
    let center = origin + sum_lanes(local, sum, CHANNELS) / f32(p.rows);

    var squares = 0.0;
    for (var block = local / CHANNELS; block < p.blocks; block += 256u / CHANNELS) {
        let d = moments[2u * block * p.channels + c] - center;
        squares += moments[(2u * block + 1u) * p.channels + c] + block_count(block) * d * d;
    }
    squares = sum_lanes(local, squares, CHANNELS);
    if (local < CHANNELS && column < p.channels) {
        mean[c] = center;
        // A variance of infinity would divide all values to 0 and pass for a quiet channel.
        let v = squares / f32(p.rows);
        variance[c] = select(v, make_nan(v), !is_finite(v));
    }
}
