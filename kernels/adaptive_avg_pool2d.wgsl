// y[n, i, j, c] = the mean of x over rows floor(i H / Ho) .. ceil((i + 1) H / Ho) and columns likewise.
// use: linear
//
// `main`: one invocation an output element, a row of its window at a time: the rounding error grows with the number of
// rows and of columns, not of pixels. Large windows take three dispatches, so that no invocation loops for long and
// many share the work: `segments` sums each SPAN pixels of a window's row, `parts` each SPAN of those, `combine` the
// rest. 256 in a workgroup; the grid is folded into y.

const SPAN: u32 = 16384;

struct Params {
    len: u32, // N Ho Wo C
    images: u32, // N
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    out_height: u32, // Ho
    out_width: u32, // Wo
    segments: u32, // S, of a window's row
    parts: u32, // R, of a window
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, C)
@group(0) @binding(3) var<storage, read_write> segment_sums: array<f32>; // (N, H, Wo, S, C)
@group(0) @binding(4) var<storage, read_write> part_sums: array<f32>; // (N, Ho, Wo, R, C)

// The first of window i of `windows` over `size`, and one past the last.
fn extent(i: u32, size: u32, windows: u32) -> vec2<u32> {
    return vec2<u32>(i * size / windows, ((i + 1u) * size + windows - 1u) / windows);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let line = at / p.channels / p.out_width;
        let image = line / p.out_height * p.height;
        let rows = extent(line % p.out_height, p.height, p.out_height);
        let columns = extent(at / p.channels % p.out_width, p.width, p.out_width);
        var sum = 0.0;
        for (var row = rows.x; row < rows.y; row++) {
            var row_sum = 0.0;
            for (var column = columns.x; column < columns.y; column++) {
                row_sum += x[((image + row) * p.width + column) * p.channels + c];
            }
            sum += row_sum;
        }
        y[at] = sum / f32((rows.y - rows.x) * (columns.y - columns.x));
    }
}

@compute @workgroup_size(256)
fn segments(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let c = at % p.channels;
    let segment = at / p.channels % p.segments;
    let line = at / p.channels / p.segments / p.out_width;
    if (line < p.images * p.height) {
        let columns = extent(at / p.channels / p.segments % p.out_width, p.width, p.out_width);
        let first = columns.x + segment * SPAN;
        var sum = 0.0;
        for (var column = first; column < min(first + SPAN, columns.y); column++) {
            sum += x[(line * p.width + column) * p.channels + c];
        }
        segment_sums[at] = sum;
    }
}

@compute @workgroup_size(256)
fn parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let c = at % p.channels;
    let part = at / p.channels % p.parts;
    let window = at / p.channels / p.parts;
    if (window < p.len / p.channels) {
        let j = window % p.out_width;
        let line = window / p.out_width;
        let rows = extent(line % p.out_height, p.height, p.out_height);
        let image = line / p.out_height * p.height;
        let end = min((part + 1u) * SPAN, (rows.y - rows.x) * p.segments);
        var sum = 0.0;
        for (var k = part * SPAN; k < end; k++) {
            let row = image + rows.x + k / p.segments;
            sum += segment_sums[((row * p.out_width + j) * p.segments + k % p.segments) * p.channels + c];
        }
        part_sums[at] = sum;
    }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let window = at / p.channels;
        let rows = extent(window / p.out_width % p.out_height, p.height, p.out_height);
        let columns = extent(window % p.out_width, p.width, p.out_width);
        var sum = 0.0;
        for (var part = 0u; part < p.parts; part++) {
            sum += part_sums[(window * p.parts + part) * p.channels + at % p.channels];
        }
        y[at] = sum / (f32(rows.y - rows.x) * f32(columns.y - columns.x));
    }
}
