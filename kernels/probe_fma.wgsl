// y = the sum over k of 0..15 of what 4 rounds steps v = a v + b make of x + k / 16
// use: linear
//
// Measures how fast a device multiplies and adds: an invocation an element, 128 operations a round in 16 chains, so
// that no step waits for the one before it, and nothing is loaded in between. With a + b = 1 every chain tends to 1.

struct Params {
    len: u32,
    rounds: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)

fn advance(v: vec4<f32>) -> vec4<f32> {
    return fma(v, vec4<f32>(p.a), vec4<f32>(p.b));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i >= p.len) {
        return;
    }
    var v0 = vec4<f32>(x[i]) + vec4<f32>(0.0, 0.0625, 0.125, 0.1875);
    var v1 = v0 + vec4<f32>(0.25);
    var v2 = v0 + vec4<f32>(0.5);
    var v3 = v0 + vec4<f32>(0.75);
    for (var round = 0u; round < p.rounds; round++) {
        v0 = advance(v0);
        v1 = advance(v1);
        v2 = advance(v2);
        v3 = advance(v3);
        v0 = advance(v0);
        v1 = advance(v1);
        v2 = advance(v2);
        v3 = advance(v3);
        v0 = advance(v0);
        v1 = advance(v1);
        v2 = advance(v2);
        v3 = advance(v3);
        v0 = advance(v0);
        v1 = advance(v1);
        v2 = advance(v2);
        v3 = advance(v3);
    }
    let sum = (v0 + v1) + (v2 + v3);
    y[i] = (sum.x + sum.y) + (sum.z + sum.w);
}
