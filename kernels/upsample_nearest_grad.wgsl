// dx[n, i, j, c] = the sum of dy over the k x k pixels that x[n, i, j, c] was copied to.
// use: linear
//
// `main`: one invocation an input element. Large factors take two dispatches, so that no invocation loops for long and
// more share the work: `across` sums along the rows, `down` along the columns. 256 in a workgroup; the grid is folded
// into y.

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
@group(0) @binding(3) var<storage, read_write> rows: array<f32>; // (N, kH, W, C)

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

@compute @workgroup_size(256)
fn across(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len * p.factor) {
        var sum = 0.0;
        for (var k = 0u; k < p.factor; k++) {
            sum += dy[(at / p.channels * p.factor + k) * p.channels + at % p.channels];
        }
        rows[at] = sum;
    }
}

@compute @workgroup_size(256)
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let small = p.width * p.channels;
        var sum = 0.0;
        for (var i = 0u; i < p.factor; i++) {
            sum += rows[(at / small * p.factor + i) * small + at % small];
        }
        dx[at] = sum;
    }
}
