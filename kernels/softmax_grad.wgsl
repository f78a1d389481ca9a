// dx = y * (dy - sum dy * y) over the last axis: the gradient of a softmax from its output.
//
// A workgroup of 64 a row, each invocation every 64th element; the grid is folded into y.

struct Params {
    rows: u32, // P
    channels: u32, // C
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (P, C)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (P, C)

const LANES: u32 = 64;
var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * 65535u + group.x;
    if (row >= p.rows) {
        return;
    }
    let first = row * p.channels;
    var sum = 0.0;
    for (var c = local; c < p.channels; c += LANES) {
        sum += dy[first + c] * y[first + c];
    }
    lanes[local] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    sum = lanes[0];
    for (var c = local; c < p.channels; c += LANES) {
        dx[first + c] = y[first + c] * (dy[first + c] - sum);
    }
}
