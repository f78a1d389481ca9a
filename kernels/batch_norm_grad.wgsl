// dz = dy, or dy + dy_2, before the rectifier and dropout; dbeta = sum dz and dgamma = sum dz * (x - mean) / s over the
// P = N H W rows of each channel, s = sqrt(variance + eps); dx = gamma / s * (dz - through_batch * (dbeta + (x - mean)
// / s * dgamma) / P); dskip is dy, or dy + dy_2, of the channels that stand behind those of y.
// use: linear, sum_lanes, nan, philox, batch_norm
//
// The rectifier's side is that of the normalised value, which is computed again. As in batch_norm_train: `whole` of few
// rows; of more, `partials` sums blocks of rows, a channel an invocation column, `combine` sums the blocks, and `input`
// is one invocation an element of y.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (P, C + S)
@group(0) @binding(3) var<storage, read> dy_2: array<f32>; // (P, C + S), where it is summed
@group(0) @binding(4) var<storage, read> kept: array<f32>; // (4, C): mean, variance, gamma, beta; (6, C) with dgamma, dbeta, if given
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // (P, C)
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>; // (C)
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>; // (C)
@group(0) @binding(8) var<storage, read_write> dskip: array<f32>; // (P, S), where S > 0
@group(0) @binding(9) var<storage, read_write> sums: array<f32>; // (B, 2, C): of dz and of dz * (x - mean)

// The gradient of element `at` of (P, C + S).
fn gradient(at: u32) -> f32 {
    if (p.summed != 0u) {
        return dy[at] + dy_2[at];
    }
    return dy[at];
}

// x - mean and dz of row `row` of channel c.
fn centered_and_dz(row: u32, c: u32, k: Channel) -> vec2<f32> {
    let i = row * p.channels + c;
    let centered = x[i] - k.mean;
    return vec2<f32>(centered, before(i, centered * k.outer + k.beta, gradient(row * (p.channels + p.joined) + c)));
}

struct Channel {
    mean: f32,
    scale: f32, // 1 / s
    outer: f32, // gamma / s
    beta: f32,
}

fn channel(c: u32) -> Channel {
    let s = sqrt(kept[p.channels + c] + p.eps);
    return Channel(kept[c], 1.0 / s, kept[2u * p.channels + c] / s, kept[3u * p.channels + c]);
}

// Sums of dz and of dz * (x - mean) over rows first..end of a channel, by the invocations of its column; all get them.
fn sums_of(local: u32, c: u32, k: Channel, first: u32, end: u32) -> vec2<f32> {
    var plain = 0.0;
    var centered = 0.0;
    for (var row = first + local / CHANNELS; row < end; row += 256u / CHANNELS) {
        let v = centered_and_dz(row, c, k);
        plain += v.y;
        centered += v.y * v.x;
    }
    let all = sum_lanes(local, plain, CHANNELS);
    return vec2<f32>(all, sum_lanes(local, centered, CHANNELS));
}

fn input_gradient(row: u32, c: u32, k: Channel, own_dgamma: f32, own_dbeta: f32) -> f32 {
    let share = p.through_batch / f32(p.rows);
    let v = centered_and_dz(row, c, k);
    var dgamma = own_dgamma;
    var dbeta = own_dbeta;
    if (p.given != 0u) {
        dgamma = kept[4u * p.channels + c];
        dbeta = kept[5u * p.channels + c];
    }
    return k.outer * (v.y - share * dbeta - share * dgamma * k.scale * v.x);
}

@compute @workgroup_size(256)
fn whole(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let tiles = (p.channels + CHANNELS - 1u) / CHANNELS;
    if (group_index(group) >= tiles) {
        return;
    }
    let column = group_index(group) * CHANNELS + local % CHANNELS;
    let c = min(column, p.channels - 1u);
    let k = channel(c);
    let sum = sums_of(local, c, k, 0u, p.rows);
    let of_gamma = sum.y * k.scale;
    if (column < p.channels) {
        if (local < CHANNELS) {
            dbeta[c] = sum.x;
            dgamma[c] = of_gamma;
        }
        for (var row = local / CHANNELS; row < p.rows; row += 256u / CHANNELS) {
            dx[row * p.channels + c] = input_gradient(row, c, k, of_gamma, sum.x);
        }
    }
    for (var i = group_index(group) * 256u + local; i < p.rows * p.joined; i += tiles * 256u) {
        dskip[i] = gradient(i / p.joined * (p.channels + p.joined) + p.channels + i % p.joined);
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
    let sum = sums_of(local, c, channel(c), first, min(first + p.block_rows, p.rows));
    if (local < CHANNELS && column < p.channels) {
        sums[2u * block * p.channels + c] = sum.x;
        sums[(2u * block + 1u) * p.channels + c] = sum.y;
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
        dgamma[c] = centered * channel(c).scale;
    }
}

@compute @workgroup_size(256)
fn input(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let width = p.channels + p.joined;
    if (at >= p.rows * width) {
        return;
    }
    let row = at / width;
    let c = at % width;
    if (c >= p.channels) {
        dskip[row * p.joined + c - p.channels] = gradient(at);
        return;
    }
    dx[row * p.channels + c] = input_gradient(row, c, channel(c), dgamma[c], dbeta[c]);
}
