// y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c, o])
// use: conv, tile
//
// An implicit matrix product: rows are the output pixels (N Ho Wo), columns the outputs O, the depth runs over taps and
// channels (Kh Kw C). Pixels outside the picture are zero.
//
// `quads` and `scalars`: a workgroup of 128 makes a tile of 64 x 64 through workgroup memory, half of it loading x and half
// w, each invocation a block of 4 x 4; `quads` needs C and O that are multiples of 4. `software`: an invocation makes 8
// pixels x 4 outputs from registers alone, a workgroup of 8 lies along the outputs, so that x is read once for all lanes.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(2) var<storage, read> weight4: array<vec4<f32>>; // (Kh, Kw, C, O / 4), or (Kh, Kw, O, C / 4)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (O), where `p.biased`
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(4) var<storage, read_write> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)

// The window of an output pixel: index of its picture's first row, and the place of its first tap.
struct Window {
    row: i32,
    y: i32,
    x: i32,
}

fn window(pixel: u32) -> Window {
    // Rows of the last tile beyond the last pixel compute it again and are not stored.
    let at = min(pixel, p.n * p.ho * p.wo - 1u);
    let line = at / p.wo;
    let picture = line / p.ho;
    return Window(
        i32(picture * p.h),
        i32((line - picture * p.ho) * p.stride) - i32(p.pad_top),
        i32((at - line * p.wo) * p.stride) - i32(p.pad_left),
    );
}

// A place along the depth: tap and quad of channels. `ky == p.kh` is past the end.
struct Depth {
    ky: u32,
    kx: u32,
    quad: u32,
}

fn advance(at: Depth, by: u32) -> Depth {
    let quads = (p.c + 3u) / 4u;
    var next = at;
    next.quad += by;
    while (next.quad >= quads) {
        next.quad -= quads;
        next.kx += 1u;
        if (next.kx == p.kw) {
            next.kx = 0u;
            next.ky += 1u;
        }
    }
    return next;
}

// The input pixel under a tap, or -1 outside the picture.
fn source(place: Window, ky: u32, kx: u32) -> i32 {
    let iy = place.y + i32(ky * p.dilation);
    let ix = place.x + i32(kx * p.dilation);
    if (ky >= p.kh || iy < 0 || iy >= i32(p.h) || ix < 0 || ix >= i32(p.w)) {
        return -1;
    }
    return (place.row + iy) * i32(p.w) + ix;
}

fn input_quads(place: Window, at: Depth) -> vec4<f32> {
    let pixel = source(place, at.ky, at.kx);
    if (pixel < 0) {
        return vec4<f32>();
    }
    return x4[u32(pixel) * (p.c / 4u) + at.quad];
}

fn input_scalars(place: Window, at: Depth) -> vec4<f32> {
    let pixel = source(place, at.ky, at.kx);
    var v = vec4<f32>();
    if (pixel >= 0) {
        for (var i = 0u; i < 4u; i++) {
            let c = 4u * at.quad + i;
            if (c < p.c) {
                v[i] = x[u32(pixel) * p.c + c];
            }
        }
    }
    return v;
}

// Weights of channels 4 quad + 0..3, a column each, and outputs o..o+3.
fn weight_quads(at: Depth, o: u32) -> mat4x4<f32> {
    if (at.ky >= p.kh || o >= p.o) {
        return mat4x4<f32>();
    }
    let tap = (at.ky * p.kw + at.kx) * p.c * p.o;
    let first = (tap + 4u * at.quad * p.channel_step + o * p.output_step) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    let block = mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]);
    if (p.output_step == 1u) {
        return block;
    }
    return transpose(block);
}

fn weight_scalars(at: Depth, i: u32, o: u32) -> vec4<f32> {
    var v = vec4<f32>();
    let c = 4u * at.quad + i;
    if (at.ky < p.kh && c < p.c) {
        let row = (at.ky * p.kw + at.kx) * p.c * p.o + c * p.channel_step;
        for (var j = 0u; j < 4u; j++) {
            if (o + j < p.o) {
                v[j] = weight[row + (o + j) * p.output_step];
            }
        }
    }
    return v;
}

fn biases(o: u32) -> vec4<f32> {
    if (p.biased == 0u) {
        return vec4<f32>();
    }
    let last = p.o - 1u;
    return vec4<f32>(bias[min(o, last)], bias[min(o + 1u, last)], bias[min(o + 2u, last)], bias[min(o + 3u, last)]);
}

fn store_scalars(pixel: u32, o: u32, sum: vec4<f32>) {
    let v = activate(sum + biases(o));
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.o) {
            y[pixel * p.o + o + j] = v[j];
        }
    }
}

@compute @workgroup_size(128)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + TILE - 1u) / TILE;
    let first_pixel = group_index(group) / columns * TILE;
    let first_output = group_index(group) % columns * TILE;
    let loads_x = local < 64u;
    let lane = local % 64u;
    // Of its block of 4 x 4: which quad along the depth, and which quad of pixels or outputs.
    let depth_quad = select(lane / 16u, lane % 4u, loads_x);
    let line = select(lane % 16u, lane / 4u, loads_x);
    var windows: array<Window, 4>;
    for (var i = 0u; i < 4u; i++) {
        windows[i] = window(first_pixel + 4u * line + i);
    }
    let o = first_output + 4u * line;
    var at = advance(Depth(), depth_quad);
    var sum: array<vec4<f32>, 8>;
    let depth = p.kh * p.kw * ((p.c + 3u) / 4u);
    for (var done = 0u; done < depth; done += SLICE / 4u) {
        if (loads_x) {
            let block = mat4x4<f32>(
                input_quads(windows[0], at), input_quads(windows[1], at),
                input_quads(windows[2], at), input_quads(windows[3], at),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            store_slice_b(depth_quad, line, weight_quads(at, o));
        }
        workgroupBarrier();
        multiply_slices(&sum, local);
        workgroupBarrier();
        at = advance(at, SLICE / 4u);
    }
    for (var i = 0u; i < 8u; i++) {
        let pixel = first_pixel + 4u * (local / 8u) + i / 2u;
        let first = first_output + 4u * (local % 8u) + 32u * (i % 2u);
        if (pixel < p.n * p.ho * p.wo && first < p.o) {
            y4[(pixel * p.o + first) / 4u] = activate(sum[i] + biases(first));
        }
    }
}

@compute @workgroup_size(128)
fn scalars(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + TILE - 1u) / TILE;
    let first_pixel = group_index(group) / columns * TILE;
    let first_output = group_index(group) % columns * TILE;
    let loads_x = local < 64u;
    let lane = local % 64u;
    let depth_quad = select(lane / 16u, lane % 4u, loads_x);
    let line = select(lane % 16u, lane / 4u, loads_x);
    var windows: array<Window, 4>;
    for (var i = 0u; i < 4u; i++) {
        windows[i] = window(first_pixel + 4u * line + i);
    }
    let o = first_output + 4u * line;
    var at = advance(Depth(), depth_quad);
    var sum: array<vec4<f32>, 8>;
    let depth = p.kh * p.kw * ((p.c + 3u) / 4u);
    for (var done = 0u; done < depth; done += SLICE / 4u) {
        if (loads_x) {
            let block = mat4x4<f32>(
                input_scalars(windows[0], at), input_scalars(windows[1], at),
                input_scalars(windows[2], at), input_scalars(windows[3], at),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            let block = mat4x4<f32>(
                weight_scalars(at, 0u, o), weight_scalars(at, 1u, o),
                weight_scalars(at, 2u, o), weight_scalars(at, 3u, o),
            );
            store_slice_b(depth_quad, line, block);
        }
        workgroupBarrier();
        multiply_slices(&sum, local);
        workgroupBarrier();
        at = advance(at, SLICE / 4u);
    }
    for (var i = 0u; i < 8u; i++) {
        let pixel = first_pixel + 4u * (local / 8u) + i / 2u;
        if (pixel < p.n * p.ho * p.wo) {
            store_scalars(pixel, first_output + 4u * (local % 8u) + 32u * (i % 2u), sum[i]);
        }
    }
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + 31u) / 32u;
    let first_pixel = group_index(group) / columns * 8u;
    let o = group_index(group) % columns * 32u + 4u * local;
    let last = p.o - 1u;
    let lanes = p.output_step * vec4<u32>(min(o, last), min(o + 1u, last), min(o + 2u, last), min(o + 3u, last));
    var windows: array<Window, 8>;
    for (var i = 0u; i < 8u; i++) {
        windows[i] = window(first_pixel + i);
    }
    var sum: array<vec4<f32>, 8>;
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            var start: array<u32, 8>;
            var inside: array<bool, 8>;
            for (var i = 0u; i < 8u; i++) {
                let pixel = source(windows[i], ky, kx);
                start[i] = u32(max(pixel, 0)) * p.c;
                inside[i] = pixel >= 0;
            }
            let tap = (ky * p.kw + kx) * p.c * p.o;
            for (var c = 0u; c < p.c; c++) {
                let at = tap + c * p.channel_step;
                let v = vec4<f32>(weight[at + lanes.x], weight[at + lanes.y], weight[at + lanes.z], weight[at + lanes.w]);
                for (var i = 0u; i < 8u; i++) {
                    sum[i] += select(0.0, x[start[i] + c], inside[i]) * v;
                }
            }
        }
    }
    for (var i = 0u; i < 8u; i++) {
        if (first_pixel + i < p.n * p.ho * p.wo) {
            store_scalars(first_pixel + i, o, sum[i]);
        }
    }
}
