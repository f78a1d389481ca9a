// y = factor * (a op b), element by element; op is one of the kinds below. b repeats where it is shorter than a.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

const MULTIPLY: u32 = 0u;
const SUBTRACT: u32 = 1u;
const DIVIDE: u32 = 2u;

struct Params {
    len: u32,
    period: u32, // elements of b, a divisor of len
    kind: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> b: array<f32>; // (period)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (len)

fn combine(u: f32, v: f32) -> f32 {
    switch p.kind {
        case MULTIPLY: {
            return u * v;
        }
        case SUBTRACT: {
            return u - v;
        }
        default: {
            return u / v;
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        y[i] = p.factor * combine(a[i], b[i % p.period]);
    }
}
