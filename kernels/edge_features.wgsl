// y[.., 0] = sqrt(gx^2 + gy^2), the Sobel magnitude; y[.., 1] = the Laplacian: the sum of the four neighbours less 4 x.
// Pixels beyond the border are those as far within it.
// use: linear
//
// gx = (-1 0 1; -2 0 2; -1 0 1), gy its transpose. One invocation a pixel, 256 in a workgroup; the grid is folded into
// y.

struct Params {
    pixels: u32, // N H W
    height: u32, // H
    width: u32, // W
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W)
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>; // (N, H, W, 2)

// The places before and after `i` of 0..size, reflected at the ends without repeating them.
fn neighbours(i: u32, size: u32) -> vec2<u32> {
    let last = size - 1u;
    return vec2<u32>(select(i - 1u, min(1u, last), i == 0u), select(i + 1u, max(last, 1u) - 1u, i == last));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.pixels) {
        let column = at % p.width;
        let row = at / p.width % p.height;
        let picture = at / p.width / p.height * p.height;
        let rows = neighbours(row, p.height);
        let columns = neighbours(column, p.width);
        let above = (picture + rows.x) * p.width;
        let here = (picture + row) * p.width;
        let below = (picture + rows.y) * p.width;
        let gx = (x[above + columns.y] - x[above + columns.x]) + 2.0 * (x[here + columns.y] - x[here + columns.x])
            + (x[below + columns.y] - x[below + columns.x]);
        let gy = (x[below + columns.x] - x[above + columns.x]) + 2.0 * (x[below + column] - x[above + column])
            + (x[below + columns.y] - x[above + columns.y]);
        let around = (x[above + column] + x[below + column]) + (x[here + columns.x] + x[here + columns.y]);
        y[at] = vec2<f32>(sqrt(gx * gx + gy * gy), around - 4.0 * x[at]);
    }
}
