// The gradient of rebalanced_cross_entropy with respect to its low-resolution logits:
//   dp_q      = sum over full-size pixels of their bilinear share in this low-resolution pixel times slope_k, where q_k = q
//   dlogits_q = dy p_q (dp_q - sum_r p_r dp_r)
// use: linear, bilinear_tap, group_reduce
//
// A workgroup of 64 a low-resolution pixel. It walks the up to 2F x 2F full-size pixels that the pixel has a share in,
// 64 at a time: each invocation puts one's K bins into workgroup memory; then each invocation goes through all of them
// and adds those of its own bins, q = local mod 64, to its own elements of the row: no two write one element, and the
// order is fixed.

const K: u32 = 5u;

struct Params {
    n: u32,
    h: u32,
    w: u32,
    q: u32,
    factor: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> probability: array<f32>; // (N, h, w, Q)
@group(0) @binding(2) var<storage, read> index: array<f32>; // (N, H, W, K), whole numbers 0 .. Q - 1
@group(0) @binding(3) var<storage, read> slope: array<f32>; // (N, H, W, K)
@group(0) @binding(4) var<storage, read> dy: array<f32>; // (1)
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>; // (N, h, w, Q)

var<workgroup> bins: array<u32, K * GROUP>;
var<workgroup> parts: array<f32, K * GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let low = group_index(group);
    if (low >= p.n * p.h * p.w) {
        return;
    }
    let base = low * p.q;
    for (var q = local; q < p.q; q += GROUP) {
        dlogits[base + q] = 0.0;
    }

    let low_x = low % p.w;
    let low_y = low / p.w % p.h;
    let image = low / (p.w * p.h) * p.h * p.factor;
    let columns = bilinear_reach(low_x, p.factor, p.w);
    let rows = bilinear_reach(low_y, p.factor, p.h);
    let across = columns.y - columns.x;
    let count = across * (rows.y - rows.x);
    for (var start = 0u; start < count; start += GROUP) {
        let i = start + local;
        if (i < count) {
            let x = columns.x + i % across;
            let y = rows.x + i / across;
            let share = bilinear_share(x, p.factor, p.w, low_x) * bilinear_share(y, p.factor, p.h, low_y);
            let pixel = (image + y) * p.w * p.factor + x;
            for (var k = 0u; k < K; k++) {
                bins[local * K + k] = min(u32(index[pixel * K + k]), p.q - 1u);
                parts[local * K + k] = share * slope[pixel * K + k];
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < K * min(GROUP, count - start); i++) {
            let q = bins[i];
            if (q % GROUP == local) {
                dlogits[base + q] += parts[i];
            }
        }
        workgroupBarrier();
    }

    var sum = 0.0;
    for (var q = local; q < p.q; q += GROUP) {
        sum += probability[base + q] * dlogits[base + q];
    }
    let mean = group_sum(sum, local);
    for (var q = local; q < p.q; q += GROUP) {
        dlogits[base + q] = dy[0] * probability[base + q] * (dlogits[base + q] - mean);
    }
}
