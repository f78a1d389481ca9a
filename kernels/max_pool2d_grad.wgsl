// dx = dy of its window where x is the largest there (of equals, the first in row order; a NaN is above all numbers),
// else 0; 0 too for a last row or column that no window reaches.
// use: linear, nan
//
// One invocation an input element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N H W C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (N, Ho, Wo, C), Ho = H / 2, Wo = W / 2 rounded down
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (N, H, W, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let column = at / p.channels % p.width;
        let line = at / p.channels / p.width;
        let row = line % p.height;
        let i = row / 2u;
        let j = column / 2u;
        var d = 0.0;
        if (i < p.height / 2u && j < p.width / 2u) {
            let first = ((line - row % 2u) * p.width + 2u * j) * p.channels + c;
            let window = vec4<u32>(first, first + p.channels, first + p.width * p.channels, first + (p.width + 1u) * p.channels);
            var largest = window.x;
            for (var k = 1u; k < 4u; k++) {
                let v = x[window[k]];
                if ((v > x[largest] || is_nan(v)) && !is_nan(x[largest])) {
                    largest = window[k];
                }
            }
            if (largest == at) {
                let picture = line / p.height;
                d = dy[((picture * (p.height / 2u) + i) * (p.width / 2u) + j) * p.channels + c];
            }
        }
        dx[at] = d;
    }
}
