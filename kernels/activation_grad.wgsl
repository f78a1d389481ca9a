// dx = dy f'(x), or (dy + dy_2) f'(x), by the output y = f(x) alone; f is one of the kinds below, `a` its parameter.
// use: linear
//
// One invocation an element, 256 in a workgroup; the grid is folded into y.

const LEAKY_RELU: u32 = 0u; // 1 where y >= 0, else a
const ELU: u32 = 1u; // 1 where y >= 0, else y + a
const TANH: u32 = 2u; // 1 - y^2
const SIGMOID: u32 = 3u; // y (1 - y)

struct Params {
    len: u32,
    kind: u32,
    a: f32,
    summed: u32, // whether dy is the sum of two
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (len)
@group(0) @binding(3) var<storage, read> dy_2: array<f32>; // (len), where it is summed
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (len)

fn slope(v: f32) -> f32 {
    switch p.kind {
        case LEAKY_RELU: {
            return select(1.0, p.a, v < 0.0);
        }
        case ELU: {
            return select(1.0, v + p.a, v < 0.0);
        }
        case TANH: {
            return (1.0 - v) * (1.0 + v);
        }
        default: {
            return v * (1.0 - v);
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.len) {
        var d = dy[i];
        if (p.summed != 0u) {
            d += dy_2[i];
        }
        dx[i] = d * slope(y[i]);
    }
}
