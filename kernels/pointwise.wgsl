// y = f(x), element by element; f is one of the kinds below.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

const EXP: u32 = 0u; // e^x
const LOG: u32 = 1u; // the natural logarithm
const SQUARE: u32 = 2u; // x^2

struct Params {
    len: u32,
    kind: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

fn value(v: f32) -> f32 {
    switch p.kind {
        case EXP: {
            return exp(v);
        }
        case LOG: {
            return log(v);
        }
        default: {
            return v * v;
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        y[i] = value(x[i]);
    }
}
