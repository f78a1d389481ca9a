// y = m + k (x - m), k = (v - m^2 c) / (v (1 + c)) within 0..1: speckle taken off, edges kept. m and v are the mean and
// the variance of the pixels at most r columns and rows away that exist and have data, c the squared coefficient of
// variation of the speckle.
//
// Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE PAMI 2(2), 1980: the estimate
// of least squared error under multiplicative noise of mean 1. Samples are read and written by their bits: NaN means
// that there is no data, and arithmetic on it may be left out by a compiler. One invocation a sample: 16x16 pixels of
// one channel of one image in a workgroup.
// use: linear, squares

struct Params {
    pictures: u32, // N
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    radius: u32, // r
    speckle: f32, // c
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // (N, H, W, C), bits of f32
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // (N, H, W, C), bits of f32

fn has_data(bits: u32) -> bool {
    return (bits & 0x7fffffffu) <= 0x7f800000u;
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = square(group, local, p.width, p.height);
    let picture = at.image / p.channels * p.height;
    let c = at.image % p.channels;
    if (at.x >= p.width || at.y >= p.height || at.image >= p.pictures * p.channels) {
        return;
    }
    let pixel = vec2<u32>(at.x, at.y);
    let first = pixel - min(pixel, vec2<u32>(p.radius));
    let last = min(pixel + p.radius, vec2<u32>(p.width, p.height) - 1u);
    let here = ((picture + at.y) * p.width + at.x) * p.channels + c;
    let bits = x[here];
    if (!has_data(bits)) {
        y[here] = bits;
        return;
    }
    var sum = 0.0;
    var count = 0.0;
    for (var row = first.y; row <= last.y; row++) {
        for (var column = first.x; column <= last.x; column++) {
            let near = x[((picture + row) * p.width + column) * p.channels + c];
            if (has_data(near)) {
                sum += bitcast<f32>(near);
                count += 1.0;
            }
        }
    }
    let mean = sum / count;
    // Around the mean, and not as a difference of squares, which would cancel.
    var squares = 0.0;
    for (var row = first.y; row <= last.y; row++) {
        for (var column = first.x; column <= last.x; column++) {
            let near = x[((picture + row) * p.width + column) * p.channels + c];
            if (has_data(near)) {
                let off = bitcast<f32>(near) - mean;
                squares += off * off;
            }
        }
    }
    let variance = squares / count;
    var k = 0.0;
    if (variance > 0.0) {
        k = clamp((variance - mean * mean * p.speckle) / (variance * (1.0 + p.speckle)), 0.0, 1.0);
    }
    y[here] = bitcast<u32>(mean + k * (bitcast<f32>(bits) - mean));
}
