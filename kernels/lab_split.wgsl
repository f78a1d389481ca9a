// A colour picture as a classifier's input and target: l = (L - 50) / 100, and a and b.
// use: linear, lab
//
// One invocation a pixel, 256 in a workgroup; the grid is folded into y.

struct Params {
    pixels: u32, // P
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> srgb: array<f32>; // (P, 3), 0..1
@group(0) @binding(2) var<storage, read_write> lightness: array<f32>; // (P, 1), -0.5..0.5
@group(0) @binding(3) var<storage, read_write> ab: array<f32>; // (P, 2), about -110..110

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < p.pixels) {
        let value = srgb_to_lab(vec3<f32>(srgb[3u * i], srgb[3u * i + 1u], srgb[3u * i + 2u]));
        lightness[i] = (value.x - 50.0) / 100.0;
        ab[2u * i] = value.y;
        ab[2u * i + 1u] = value.z;
    }
}
