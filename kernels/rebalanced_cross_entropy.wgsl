// The class-rebalanced cross-entropy of low-resolution logits against a soft encoding F times as large:
//   p    = softmax(logits), (N, h, w, Q)
//   zhat = p enlarged F times, bilinear; formed at the K = 5 bins of each pixel's target only, never whole
//   loss = -1 / (N H W) sum_pixels v_q0 sum_k z_k log(zhat_qk + eps), H = h F, W = w F
// with the pixel's encoding z_k at bins q_k, nearest first, and v_q the weight of class q. For the gradient it leaves p
// and slope_k = d loss / d zhat_qk = -v_q0 z_k / ((zhat_qk + eps) N H W). A bin that does not exist makes the loss NaN.
// Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equations 2 to 4; eps and the mean are this
// project's.
// use: linear, bilinear_tap, group_reduce, nan
//
// Three dispatches: `probabilities`, a workgroup of 64 a row of Q; `pixels`, an invocation a full-size pixel, the sum
// of each 64 to `partial`; `total`, one workgroup.

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
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (N, h, w, Q)
@group(0) @binding(2) var<storage, read> index: array<f32>; // (N, H, W, K), whole numbers 0 .. Q - 1
@group(0) @binding(3) var<storage, read> weight: array<f32>; // (N, H, W, K), sum 1 over K
@group(0) @binding(4) var<storage, read> class_weights: array<f32>; // (Q)
@group(0) @binding(5) var<storage, read_write> loss: array<f32>; // (1)
@group(0) @binding(6) var<storage, read_write> probability: array<f32>; // (N, h, w, Q)
@group(0) @binding(7) var<storage, read_write> slope: array<f32>; // (N, H, W, K)
@group(0) @binding(8) var<storage, read_write> partial: array<f32>; // (N H W / 64, rounded up)

@compute @workgroup_size(GROUP)
fn probabilities(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group_index(group);
    if (row >= p.n * p.h * p.w) {
        return;
    }
    let base = row * p.q;
    var peak = -3e38;
    for (var q = local; q < p.q; q += GROUP) {
        peak = max(peak, logits[base + q]);
    }
    peak = group_max(peak, local);
    var sum = 0.0;
    for (var q = local; q < p.q; q += GROUP) {
        let e = exp(logits[base + q] - peak);
        probability[base + q] = e;
        sum += e;
    }
    let scale = 1.0 / group_sum(sum, local);
    for (var q = local; q < p.q; q += GROUP) {
        probability[base + q] *= scale;
    }
}

// The bin that an element of an encoding names, held within those that there are.
fn bin(named: f32) -> u32 {
    return min(u32(named), p.q - 1u);
}

// Partial sums, one for each group of pixels.
fn sums() -> u32 {
    return (p.n * p.h * p.w * p.factor * p.factor + GROUP - 1u) / GROUP;
}

@compute @workgroup_size(GROUP)
fn pixels(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let width = p.w * p.factor;
    let height = p.h * p.factor;
    let count = p.n * height * width;
    let pixel = group_index(group) * GROUP + local;
    var term = 0.0;
    if (pixel < count) {
        let x = bilinear_tap(pixel % width, p.factor, p.w);
        let y = bilinear_tap(pixel / width % height, p.factor, p.h);
        let image = pixel / (width * height) * p.h;
        let row_0 = (image + y.first) * p.w;
        let row_1 = (image + y.second) * p.w;
        let class_weight = class_weights[bin(index[pixel * K])];
        for (var k = 0u; k < K; k++) {
            let named = index[pixel * K + k];
            let q = bin(named);
            let z = select(make_nan(named), weight[pixel * K + k], named >= 0.0 && named < f32(p.q));
            let upper = mix(probability[(row_0 + x.first) * p.q + q], probability[(row_0 + x.second) * p.q + q], x.share);
            let lower = mix(probability[(row_1 + x.first) * p.q + q], probability[(row_1 + x.second) * p.q + q], x.share);
            let zhat = mix(upper, lower, y.share) + p.eps;
            term -= class_weight * z * log(zhat);
            slope[pixel * K + k] = -class_weight * z / (zhat * f32(count));
        }
    }
    let sum = group_sum(term, local);
    if (local == 0u && group_index(group) < sums()) {
        partial[group_index(group)] = sum;
    }
}

@compute @workgroup_size(GROUP)
fn total(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < sums(); i += GROUP) {
        sum += partial[i];
    }
    sum = group_sum(sum, local);
    if (local == 0u) {
        loss[0] = sum / f32(p.n * p.h * p.w * p.factor * p.factor);
    }
}
