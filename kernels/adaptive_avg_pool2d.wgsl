// y[n, i, j, c] = the mean of x over rows floor(i H / Ho) .. ceil((i + 1) H / Ho) and columns likewise.
// use: linear
//
// One invocation an output element, 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N Ho Wo C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    out_height: u32, // Ho
    out_width: u32, // Wo
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, C)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let j = at / p.channels % p.out_width;
        let line = at / p.channels / p.out_width;
        let i = line % p.out_height;
        let picture = line / p.out_height * p.height;
        let top = i * p.height / p.out_height;
        let bottom = ((i + 1u) * p.height + p.out_height - 1u) / p.out_height;
        let left = j * p.width / p.out_width;
        let right = ((j + 1u) * p.width + p.out_width - 1u) / p.out_width;
        var sum = 0.0;
        for (var row = top; row < bottom; row++) {
            // A row at a time: the rounding error grows with the number of rows and of columns, not of pixels.
            var row_sum = 0.0;
            for (var column = left; column < right; column++) {
                row_sum += x[((picture + row) * p.width + column) * p.channels + c];
            }
            sum += row_sum;
        }
        y[at] = sum / f32((bottom - top) * (right - left));
    }
}
