// y = f(x), element by element; f is one of the kinds below, `a` its parameter.
// use: linear, sigmoid
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

const LEAKY_RELU: u32 = 0u; // x where x >= 0, else a x
const ELU: u32 = 1u; // x where x >= 0, else a (e^x - 1)
const TANH: u32 = 2u;
const SIGMOID: u32 = 3u;

struct Params {
    len: u32,
    kind: u32,
    a: f32,
    summed: u32, // of the gradient
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

// e^v - 1 for v <= 0: the series where the difference would cancel.
fn exp_minus_one(v: f32) -> f32 {
    let series = v * (1.0 + v * (0.5 + v * (1.0 / 6.0 + v * (1.0 / 24.0 + v * (1.0 / 120.0 + v / 720.0)))));
    return select(exp(v) - 1.0, series, v > -0.35);
}

// WGSL's own tanh may overflow for large v and cancel near 0. tanh |v| = -m / (m + 2) with m = e^(-2 |v|) - 1.
fn tanh_of(v: f32) -> f32 {
    let m = exp_minus_one(-2.0 * abs(v));
    return select(m, -m, v >= 0.0) / (m + 2.0);
}

fn activate(v: f32) -> f32 {
    switch p.kind {
        case LEAKY_RELU: {
            return select(v, p.a * v, v < 0.0);
        }
        case ELU: {
            return select(v, p.a * exp_minus_one(min(v, 0.0)), v < 0.0);
        }
        case TANH: {
            return tanh_of(v);
        }
        default: {
            return sigmoid(v);
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        y[i] = activate(x[i]);
    }
}
