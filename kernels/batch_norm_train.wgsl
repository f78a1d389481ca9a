// mean = sum x / P and variance = sum (x - mean)^2 / P of each channel over P = N H W rows; y = gamma * (x - mean) /
// sqrt(variance + eps) + beta, with dropout and a rectifier behind it, and S channels of `skip` beside it; running =
// momentum * running + (1 - momentum) * batch, where the pooled variance gets momentum * (1 - momentum) * (mean -
// running_mean)^2 more (Ioffe, Szegedy, "Batch Normalization", 2015).
// use: linear, sum_lanes, nan, philox, batch_norm
//
// `whole`, of few rows: a workgroup takes all rows of CHANNELS channels, a channel an invocation column, reads them for
// the mean and for the squares about it (corrected two-pass: Chan, Golub, LeVeque, "Algorithms for Computing the Sample
// Variance", 1983, eq. 1.7), and normalises them. Of more, `partials` takes blocks of `block_rows` rows, `combine` joins
// them (their eq. 2.1), and `normalize` is one invocation an element of y. Grids are folded into y.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // (C)
@group(0) @binding(3) var<storage, read> beta: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> skip: array<f32>; // (P, S), where S > 0
@group(0) @binding(5) var<storage, read_write> running_mean: array<f32>; // (C)
@group(0) @binding(6) var<storage, read_write> running_variance: array<f32>; // (C), biased
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // (P, C + S)
@group(0) @binding(8) var<storage, read_write> kept: array<f32>; // (4, C): mean, variance, gamma, beta
@group(0) @binding(9) var<storage, read_write> moments: array<f32>; // (B, 2, C): mean and sum of squares about it

// Mean and sum of squares about it of rows first..end of a channel, by the invocations of its column; all get it.
fn moments_of(local: u32, c: u32, first: u32, end: u32) -> vec2<f32> {
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
    // What is too large for f32 is NaN and stays it, which max() need not keep.
    let about = squares - rest * rest / count;
    return vec2<f32>(center + rest / count, select(max(about, 0.0), make_nan(about), !is_finite(about)));
}

// A variance of infinity would divide all values to 0 and pass for a quiet channel.
fn variance_of(squares: f32) -> f32 {
    let v = squares / f32(p.rows);
    return select(v, make_nan(v), !is_finite(v));
}

fn keep(c: u32, mean: f32, variance: f32) {
    kept[c] = mean;
    kept[p.channels + c] = variance;
    kept[2u * p.channels + c] = gamma[c];
    kept[3u * p.channels + c] = beta[c];
    let off = mean - running_mean[c];
    let batch = variance + p.between * p.momentum * off * off;
    running_variance[c] = p.momentum * running_variance[c] + (1.0 - p.momentum) * batch;
    running_mean[c] = p.momentum * running_mean[c] + (1.0 - p.momentum) * mean;
}

@compute @workgroup_size(256)
fn whole(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tiles = (p.channels + CHANNELS - 1u) / CHANNELS;
    if (group_index(group) >= tiles) {
        return;
    }
    let column = group_index(group) * CHANNELS + local % CHANNELS;
    let c = min(column, p.channels - 1u);
    let found = moments_of(local, c, 0u, p.rows);
    let variance = variance_of(found.y);
    let width = p.channels + p.joined;
    if (column < p.channels) {
        if (local < CHANNELS) {
            keep(c, found.x, variance);
        }
        let scale = gamma[c] / sqrt(variance + p.eps);
        for (var row = local / CHANNELS; row < p.rows; row += 256u / CHANNELS) {
            let i = row * p.channels + c;
            y[row * width + c] = followed(i, (x[i] - found.x) * scale + beta[c]);
        }
    }
    for (var i = group_index(group) * 256u + local; i < p.rows * p.joined; i += tiles * 256u) {
        y[i / p.joined * width + p.channels + i % p.joined] = skip[i];
    }
}

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
    let found = moments_of(local, c, first, min(first + p.block_rows, p.rows));
    if (local < CHANNELS && column < p.channels) {
        moments[2u * block * p.channels + c] = found.x;
        moments[(2u * block + 1u) * p.channels + c] = found.y;
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
        keep(c, center, variance_of(squares));
    }
}

@compute @workgroup_size(256)
fn normalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let width = p.channels + p.joined;
    if (at >= p.rows * width) {
        return;
    }
    let row = at / width;
    let c = at % width;
    if (c >= p.channels) {
        y[at] = skip[row * p.joined + c - p.channels];
        return;
    }
    let i = row * p.channels + c;
    let scale = kept[2u * p.channels + c] / sqrt(kept[p.channels + c] + p.eps);
    y[at] = followed(i, (x[i] - kept[c]) * scale + kept[3u * p.channels + c]);
}
