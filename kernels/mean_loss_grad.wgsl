// dx = dy[0] / len * the derivative of f(x, t) by x; f is one of the kinds below, see mean_loss.wgsl.
// use: linear, nan, sigmoid
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

const L1: u32 = 0u; // sign(x - t), 0 where they are equal, NaN where either is
const SQUARED_ERROR: u32 = 1u; // 2 (x - t)
const BCE_WITH_LOGITS: u32 = 2u; // sigmoid(x) - t

struct Params {
    len: u32,
    blocks: u32,
    kind: u32,
    constant: u32, // whether every t is `value`
    value: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> target_values: array<f32>; // (len), where not constant
@group(0) @binding(3) var<storage, read> dy: array<f32>; // (1)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (len)

fn slope(v: f32, t: f32) -> f32 {
    switch p.kind {
        case L1: {
            // Equal infinities differ by a NaN, and the sign of a NaN is 0.
            let d = v - t;
            return select(select(sign(d), make_nan(d), is_nan(v) || is_nan(t)), 0.0, v == t);
        }
        case SQUARED_ERROR: {
            return 2.0 * (v - t);
        }
        default: {
            return sigmoid(v) - t;
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        dx[i] = dy[0] / f32(p.len) * slope(x[i], select(target_values[i], p.value, p.constant == 1u));
    }
}
