// dx = a dy, dz = (1 - a) dy, ds = a (1 - a) sum dy (x - z), with a = sigmoid(s).
// use: linear, sum_lanes, sigmoid
//
// First `partials`: a workgroup of 256 takes blocks of 4096 elements, the grid folded into y; then `combine`, one
// workgroup, sums the blocks. The order is fixed by the length alone.

struct Params {
    len: u32,
    blocks: u32, // ceil(len / 4096)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> z: array<f32>; // (len)
@group(0) @binding(3) var<storage, read> s: array<f32>; // (1)
@group(0) @binding(4) var<storage, read> dy: array<f32>; // (len)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // (len)
@group(0) @binding(6) var<storage, read_write> dz: array<f32>; // (len)
@group(0) @binding(7) var<storage, read_write> ds: array<f32>; // (1)
@group(0) @binding(8) var<storage, read_write> sums: array<f32>; // (blocks)

@compute @workgroup_size(256)
fn partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group_index(group);
    if (block >= p.blocks) {
        return;
    }
    let a = sigmoid(s[0]);
    let b = sigmoid(-s[0]);
    var sum = 0.0;
    for (var k = 0u; k < 16u; k++) {
        let i = (block * 16u + k) * 256u + local;
        if (i < p.len) {
            dx[i] = a * dy[i];
            dz[i] = b * dy[i];
            sum += dy[i] * (x[i] - z[i]);
        }
    }
    sum = sum_lanes(local, sum, 1u);
    if (local == 0u) {
        sums[block] = sum;
    }
}

@compute @workgroup_size(256)
fn combine(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var block = local; block < p.blocks; block += 256u) {
        sum += sums[block];
    }
    sum = sum_lanes(local, sum, 1u);
    if (local == 0u) {
        ds[0] = sigmoid(s[0]) * sigmoid(-s[0]) * sum;
    }
}
