// y = scale * sum x, or scale * sum x^2.
// use: linear, sum_lanes
//
// First `partials`: a workgroup of 256 sums blocks of 4096 elements, the grid folded into y; then `combine`, one
// workgroup, sums the blocks. The order is fixed by the length alone.

struct Params {
    len: u32,
    blocks: u32, // ceil(len / 4096)
    squared: u32, // 1 for the sum of squares
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (1)
@group(0) @binding(3) var<storage, read_write> sums: array<f32>; // (blocks)

@compute @workgroup_size(256)
fn partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = group_index(group);
    if (block >= p.blocks) {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < 16u; k++) {
        let i = (block * 16u + k) * 256u + local;
        if (i < p.len) {
            sum += select(x[i], x[i] * x[i], p.squared == 1u);
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
        y[0] = p.scale * sum;
    }
}
