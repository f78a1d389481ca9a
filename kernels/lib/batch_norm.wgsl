// The parameters of the batch-norm kernels, and what may follow the normalised values in the same launch: dropout, a
// rectifier, other channels beside them. Names linear, philox and nan before this one.
struct Params {
    rows: u32, // P = N H W
    images: u32, // N
    channels: u32, // C
    joined: u32, // S, channels that stand behind those of y; 0 for none
    block_rows: u32,
    blocks: u32, // B = ceil(P / block_rows)
    eps: f32,
    momentum: f32,
    between: f32, // 1: pooled, 0: not
    through_batch: f32, // 1 where mean and variance are the batch's own and so depend on x, 0 where they are fixed
    given: u32, // whether the sums that dx takes are given
    summed: u32, // whether dy is the sum of two
    rectifier: u32,
    slope: f32, // of the negative side of a leaky ReLU
    rate: f32, // of dropout
    seed_low: u32,
    seed_high: u32,
    stream: u32,
    step: u32,
    layer: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

const RELU: u32 = 1u; // max(v, 0)
const LEAKY_RELU: u32 = 2u; // v where v >= 0, else slope v

// Channels of a workgroup; the remaining 256 / CHANNELS invocations of each take turns at its rows.
override CHANNELS: u32 = 64;

// Whether dropout takes element i of (P, C), as in perturb.wgsl.
fn is_dropped(i: u32) -> bool {
    if (p.rate == 0.0) {
        return false;
    }
    let words = philox(vec4<u32>(i / 4u, p.layer, p.step, p.stream), vec2<u32>(p.seed_low, p.seed_high));
    return unit(words[i % 4u]) < p.rate;
}

// What dropout and the rectifier make of the normalised value of element i. By the bits where a value is below zero,
// not by max: a NaN stays one.
fn followed(i: u32, normalised: f32) -> f32 {
    var v = normalised;
    if (p.rate > 0.0) {
        v = select(v / (1.0 - p.rate), 0.0, is_dropped(i));
    }
    switch p.rectifier {
        case RELU: {
            return select(v, 0.0, is_below_zero(v));
        }
        case LEAKY_RELU: {
            return select(v, p.slope * v, v < 0.0);
        }
        default: {
            return v;
        }
    }
}

// The gradient of a normalised value from that of what follows. Dropout keeps the sign of what it leaves.
fn before(i: u32, normalised: f32, after: f32) -> f32 {
    var d = after;
    switch p.rectifier {
        case RELU: {
            d = select(0.0, d, normalised > 0.0);
        }
        case LEAKY_RELU: {
            d *= select(1.0, p.slope, normalised < 0.0);
        }
        default: {
        }
    }
    if (p.rate > 0.0) {
        d = select(d / (1.0 - p.rate), 0.0, is_dropped(i));
    }
    return d;
}
