// losses[row] = sum over c of t[row, c] (log sum exp x[row] - x[row, c]); t is given, or 1 at the row's class and 0
// elsewhere.
// use: linear, group_reduce
//
// A workgroup of 64 a row, each invocation every 64th element; the grid is folded into y. The largest logit is taken
// off first, so that nothing overflows. A class that is no whole number in 0..Q makes its row NaN.

struct Params {
    rows: u32, // P
    channels: u32, // Q
    soft: u32, // 1 where t is given, 0 for classes
    not_a_number: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, Q)
@group(0) @binding(2) var<storage, read> t: array<f32>; // (P, Q), or (P) of classes
@group(0) @binding(3) var<storage, read_write> losses: array<f32>; // (P)
@group(0) @binding(4) var<storage, read_write> stats: array<f32>; // (P, 3)   max x, sum exp(x - max x), sum t

@compute @workgroup_size(64)
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

    var exponentials = 0.0;
    for (var c = local; c < p.channels; c += GROUP) {
        exponentials += exp(x[first + c] - largest);
    }
    exponentials = group_sum(exponentials, local);
    let log_sum = log(exponentials);

    var loss = 0.0;
    var targets = 1.0;
    if (p.soft == 1u) {
        targets = 0.0;
        for (var c = local; c < p.channels; c += GROUP) {
            let share = t[first + c];
            targets += share;
            // Nothing times the infinite loss of an impossible class is nothing.
            if (share != 0.0) {
                loss += share * (log_sum - (x[first + c] - largest));
            }
        }
        targets = group_sum(targets, local);
        loss = group_sum(loss, local);
    } else {
        let class_number = t[row];
        let valid = class_number >= 0.0 && class_number < f32(p.channels) && floor(class_number) == class_number;
        if (valid) {
            loss = log_sum - (x[first + u32(class_number)] - largest);
        } else {
            loss = p.not_a_number;
            targets = p.not_a_number;
        }
    }
    if (local == 0u) {
        losses[row] = loss;
        stats[3u * row] = largest;
        stats[3u * row + 1u] = exponentials;
        stats[3u * row + 2u] = targets;
    }
}
