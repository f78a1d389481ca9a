// y = exp(x - max x) / sum exp(x - max x) over the last axis.
//
// A workgroup of 64 a row, each invocation every 64th element; the grid is folded into y.

struct Params {
    rows: u32, // P
    channels: u32, // C
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (P, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (P, C)

const LANES: u32 = 64;
var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * 65535u + group.x;
    if (row >= p.rows) {
        return;
    }
    let first = row * p.channels;

    var largest = x[first];
    for (var c = local; c < p.channels; c += LANES) {
        largest = max(largest, x[first + c]);
    }
    lanes[local] = largest;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            lanes[local] = max(lanes[local], lanes[local + half]);
        }
        workgroupBarrier();
    }
    largest = lanes[0];
    workgroupBarrier();

    var sum = 0.0;
    for (var c = local; c < p.channels; c += LANES) {
        sum += exp(x[first + c] - largest);
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
        y[first + c] = exp(x[first + c] - largest) / sum;
    }
}
