// dx[n, i, j, c] = the sum of dy over the k x k pixels that x[n, i, j, c] was copied to.
// use: linear
//
// One invocation an input element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N H W C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    factor: u32, // k
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, kH, kW, C)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (N, H, W, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let j = at / p.channels % p.width;
        let row = at / p.channels / p.width;
        var sum = 0.0;
        for (var i = 0u; i < p.factor; i++) {
            let first = ((row * p.factor + i) * p.width + j) * p.factor;
            for (var k = 0u; k < p.factor; k++) {
                sum += dy[(first + k) * p.channels + c];
            }
        }
        dx[at] = sum;
    }
}
