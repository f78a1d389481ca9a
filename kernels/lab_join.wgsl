// The sRGB picture of a grey picture, taken as L / 100, and a prediction of a and b; clamped to sRGB.
// use: linear, lab
//
// One invocation a pixel, 256 in a workgroup; the grid is folded into y.

struct Params {
    pixels: u32, // P
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grey: array<f32>; // (P, 1), 0..1
@group(0) @binding(2) var<storage, read> ab: array<f32>; // (P, 2), about -110..110
@group(0) @binding(3) var<storage, read_write> srgb: array<f32>; // (P, 3), 0..1

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.pixels) {
        let value = lab_to_srgb(vec3<f32>(100.0 * grey[i], ab[2u * i], ab[2u * i + 1u]));
        srgb[3u * i] = value.x;
        srgb[3u * i + 1u] = value.y;
        srgb[3u * i + 2u] = value.z;
    }
}
