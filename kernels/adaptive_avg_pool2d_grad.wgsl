// dx[n, row, column, c] = the sum of dy / pixels of the window over the windows that hold the pixel: rows i from
// floor(row Ho / H) to ceil((row + 1) Ho / H), without that, and columns likewise.
// use: linear
//
// `main`: one invocation an input element. Where a pixel lies in very many windows (Ho and Wo far above H and W) two
// dispatches share the work, so that no invocation loops for long: `across` sums along a row of windows, `down` the
// rows. 256 in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N H W C
    images: u32, // N
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    out_height: u32, // Ho
    out_width: u32, // Wo
    segments: u32, // not used here
    parts: u32, // not used here
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, Ho, Wo, C)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (N, H, W, C)
@group(0) @binding(3) var<storage, read_write> rows: array<f32>; // (N, Ho, W, C)

// Pixels of window `i` of `windows` over `size`.
fn extent(i: u32, size: u32, windows: u32) -> u32 {
    return ((i + 1u) * size + windows - 1u) / windows - i * size / windows;
}

// The first window that holds pixel `at`, and one past the last.
fn holders(at: u32, size: u32, windows: u32) -> vec2<u32> {
    return vec2<u32>(at * windows / size, ((at + 1u) * windows + size - 1u) / size);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let c = at % p.channels;
        let line = at / p.channels / p.width;
        let image = line / p.height * p.out_height;
        let tall = holders(line % p.height, p.height, p.out_height);
        let wide = holders(at / p.channels % p.width, p.width, p.out_width);
        var sum = 0.0;
        for (var i = tall.x; i < tall.y; i++) {
            for (var j = wide.x; j < wide.y; j++) {
                let pixels = extent(i, p.height, p.out_height) * extent(j, p.width, p.out_width);
                sum += dy[((image + i) * p.out_width + j) * p.channels + c] / f32(pixels);
            }
        }
        dx[at] = sum;
    }
}

@compute @workgroup_size(256)
fn across(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    let line = at / p.channels / p.width;
    if (line < p.images * p.out_height) {
        let windows = holders(at / p.channels % p.width, p.width, p.out_width);
        var sum = 0.0;
        for (var j = windows.x; j < windows.y; j++) {
            sum += dy[(line * p.out_width + j) * p.channels + at % p.channels] / f32(extent(j, p.width, p.out_width));
        }
        rows[at] = sum;
    }
}

@compute @workgroup_size(256)
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let column = at / p.channels % p.width;
        let line = at / p.channels / p.width;
        let image = line / p.height * p.out_height;
        let windows = holders(line % p.height, p.height, p.out_height);
        var sum = 0.0;
        for (var i = windows.x; i < windows.y; i++) {
            let row = rows[((image + i) * p.width + column) * p.channels + at % p.channels];
            sum += row / f32(extent(i, p.height, p.out_height));
        }
        dx[at] = sum;
    }
}
