// dx[n, row, column, c] = the sum of dy / pixels of the window over the windows that hold the pixel: rows i from floor(row Ho / H) to
// ceil((row + 1) Ho / H), without that, and columns likewise.
// use: linear
//
// One invocation an input element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N H W C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    out_height: u32, // Ho
    out_width: u32, // Wo
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, Ho, Wo, C)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (N, H, W, C)

// Pixels of window `i` of `windows` over `size`.
fn extent(i: u32, size: u32, windows: u32) -> u32 {
    return ((i + 1u) * size + windows - 1u) / windows - i * size / windows;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let column = at / p.channels % p.width;
        let line = at / p.channels / p.width;
        let row = line % p.height;
        let picture = line / p.height * p.out_height;
        let last_i = ((row + 1u) * p.out_height + p.height - 1u) / p.height;
        let last_j = ((column + 1u) * p.out_width + p.width - 1u) / p.width;
        var sum = 0.0;
        for (var i = row * p.out_height / p.height; i < last_i; i++) {
            for (var j = column * p.out_width / p.width; j < last_j; j++) {
                let pixels = extent(i, p.height, p.out_height) * extent(j, p.width, p.out_width);
                sum += dy[((picture + i) * p.out_width + j) * p.channels + c] / f32(pixels);
            }
        }
        dx[at] = sum;
    }
}
