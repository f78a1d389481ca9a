// The annealed mean of low-resolution class probabilities over bins, F times as large, and the entropy there:
//   zhat    = p enlarged F times, bilinear; formed bin by bin, never whole
//   ab      = sum_q c_q zhat_q^(1/T) / sum_q zhat_q^(1/T), which is softmax(log(zhat) / T) times the centres c
//   entropy = -sum_q zhat_q log(zhat_q), in nats
// The powers are taken relative to the largest, so that none that counts underflows.
// Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equation 5.
// use: linear, bilinear_tap, squares
//
// One invocation a full-size pixel, workgroups of 16 x 16 pixels: neighbours read the same four rows of Q.

// The smallest normal number; what is below it counts as zero, whose logarithm is not needed.
const SMALLEST: f32 = 1.1754944e-38;

struct Params {
    n: u32,
    h: u32,
    w: u32,
    q: u32,
    factor: u32,
    // 1 / T
    sharpness: f32,
    // Of all h F rows of each image, the first one that is made, and how many are.
    first: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> probability: array<f32>; // (N, h, w, Q), sum 1 over Q
@group(0) @binding(2) var<storage, read> bins: array<vec2<f32>>; // (Q) of a, b
@group(0) @binding(3) var<storage, read_write> ab: array<vec2<f32>>; // (N, rows, w F) of a, b
@group(0) @binding(4) var<storage, read_write> entropy: array<f32>; // (N, rows, w F, 1)

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let width = p.w * p.factor;
    let height = p.rows;
    let at = square(group, local, width, height);
    if (at.x >= width || at.y >= height || at.image >= p.n) {
        return;
    }
    let x = bilinear_tap(at.x, p.factor, p.w);
    let y = bilinear_tap(p.first + at.y, p.factor, p.h);
    // Where the rows of the four neighbours start, and their shares.
    let row = (at.image * p.h + vec2<u32>(y.first, y.second)) * p.w;
    let upper = (row.x + vec2<u32>(x.first, x.second)) * p.q;
    let lower = (row.y + vec2<u32>(x.first, x.second)) * p.q;
    let across = vec2<f32>(1.0 - x.share, x.share);
    let upper_share = (1.0 - y.share) * across;
    let lower_share = y.share * across;

    var largest = 0.0;
    for (var q = 0u; q < p.q; q++) {
        let above = vec2<f32>(probability[upper.x + q], probability[upper.y + q]);
        let below = vec2<f32>(probability[lower.x + q], probability[lower.y + q]);
        largest = max(largest, dot(upper_share, above) + dot(lower_share, below));
    }
    let peak = log2(max(largest, SMALLEST));

    var sum = 0.0;
    var mean = vec2<f32>(0.0, 0.0);
    var bits = 0.0;
    for (var q = 0u; q < p.q; q++) {
        let above = vec2<f32>(probability[upper.x + q], probability[upper.y + q]);
        let below = vec2<f32>(probability[lower.x + q], probability[lower.y + q]);
        let zhat = dot(upper_share, above) + dot(lower_share, below);
        if (zhat >= SMALLEST) {
            let log_zhat = log2(zhat);
            let weight = exp2((log_zhat - peak) * p.sharpness);
            sum += weight;
            mean += weight * bins[q];
            bits -= zhat * log_zhat;
        }
    }
    let pixel = (at.image * height + at.y) * width + at.x;
    ab[pixel] = mean / sum;
    // From bits to nats.
    entropy[pixel] = bits * 0.6931471805599453;
}
