// y[v, u] = x at the place P(u, v), a homography: the nearest pixel, or the mean of the four around by their weights. A
// pixel has a value where the nearest pixel of x exists and is no NaN; elsewhere it is `fill`.
//
// With d the whole steps from an anchor pixel of y, P = cell + share + J d / (1 + g d): cell is whole and share in
// 0..1, so that rounding grows with the way from the anchor alone, and not with the place in a large picture. Samples
// are read and written by their bits: NaN means that there is no data, and arithmetic on it may be left out by a
// compiler. One invocation a pixel, 16x16 of one image in a workgroup.
// use: linear, squares

struct Params {
    pictures: u32, // N
    out_height: u32, // Ho
    out_width: u32, // Wo
    channels: u32, // C
    height: u32, // H
    width: u32, // W
    bilinear: u32, // 0 or 1
    fill: u32, // bits of the f32
    anchor_x: i32, // a pixel of y
    anchor_y: i32,
    cell_x: i32, // P(anchor), rounded down
    cell_y: i32,
    share_x: f32, // and what is left of it
    share_y: f32,
    xx: f32, // J, the derivative of P at the anchor: of x by u
    xy: f32, // of x by v
    yx: f32,
    yy: f32,
    gx: f32, // g, how fast the scale changes from there
    gy: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // (N, H, W, C), bits of f32
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // (N, Ho, Wo, C), bits of f32

// No pixel of x lies so far away; whole numbers up to twice this fit into i32.
const FAR: f32 = 1e9;

fn has_data(bits: u32) -> bool {
    return (bits & 0x7fffffffu) <= 0x7f800000u;
}

fn inside(pixel: vec2<i32>) -> bool {
    return pixel.x >= 0 && pixel.y >= 0 && pixel.x < i32(p.width) && pixel.y < i32(p.height);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = square(group, local, p.out_width, p.out_height);
    if (at.x >= p.out_width || at.y >= p.out_height || at.image >= p.pictures) {
        return;
    }
    let d = vec2<f32>(vec2<i32>(i32(at.x), i32(at.y)) - vec2<i32>(p.anchor_x, p.anchor_y));
    // Not above 0: the pixel lies on or beyond the horizon.
    let scale = 1.0 + (p.gx * d.x + p.gy * d.y);
    let moved = vec2<f32>(p.xx * d.x + p.xy * d.y, p.yx * d.x + p.yy * d.y) / select(1.0, scale, scale > 0.0);
    let place = clamp(vec2<f32>(p.share_x, p.share_y) + moved, vec2<f32>(-FAR), vec2<f32>(FAR));
    let cell = vec2<i32>(p.cell_x, p.cell_y);
    let nearest = cell + vec2<i32>(floor(place + 0.5));
    let seen = scale > 0.0 && inside(nearest);
    let low = cell + vec2<i32>(floor(place));
    let share = place - floor(place);

    let picture = at.image * p.height;
    let out = ((at.image * p.out_height + at.y) * p.out_width + at.x) * p.channels;
    for (var c = 0u; c < p.channels; c++) {
        var value = p.fill;
        if (seen) {
            let bits = x[((picture + u32(nearest.y)) * p.width + u32(nearest.x)) * p.channels + c];
            if (has_data(bits)) {
                value = bits;
                if (p.bilinear == 1u) {
                    var sum = 0.0;
                    var weights = 0.0;
                    for (var tap = 0u; tap < 4u; tap++) {
                        let high = vec2<bool>((tap & 1u) == 1u, (tap & 2u) == 2u);
                        let pixel = low + select(vec2<i32>(0), vec2<i32>(1), high);
                        if (inside(pixel)) {
                            let bits = x[((picture + u32(pixel.y)) * p.width + u32(pixel.x)) * p.channels + c];
                            if (has_data(bits)) {
                                let part = select(1.0 - share, share, high);
                                sum += part.x * part.y * bitcast<f32>(bits);
                                weights += part.x * part.y;
                            }
                        }
                    }
                    value = bitcast<u32>(sum / weights);
                }
            }
        }
        y[out + c] = value;
    }
}
