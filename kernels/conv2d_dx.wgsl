// dx[n, iy, ix, c] = sum over ky, kx, o of dz[n, oy, ox, o] w[ky, kx, c, o], where oy s + ky d - top = iy and
// ox s + kx d - left = ix: for each input pixel the taps that reach it.
// use: conv, tile
//
// As the forward pass of a transposed convolution it also adds a bias and applies an activation.
//
// Pixels whose (iy + top, ix + left) are equal modulo the stride are reached by the same taps; they form one of s x s
// phases (z of the grid), and each phase is an implicit matrix product: rows are its pixels, columns the channels C, the depth
// runs over its taps and the outputs O. A phase that no tap reaches is zero.
//
// `quads`, `scalars` and `software` divide the work as in conv2d.wgsl.

@group(0) @binding(1) var<storage, read> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(1) var<storage, read> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(2) var<storage, read> weight4: array<vec4<f32>>; // (Kh, Kw, C, O / 4), or (Kh, Kw, O, C / 4)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (C), where `p.biased`
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (N, H, W, C)

// One axis of a phase: the first coordinate and how many there are, the first tap and how many.
struct Axis {
    phase: u32,
    first: u32,
    count: u32,
    first_tap: u32,
    taps: u32,
}

fn axis(phase: u32, size: u32, pad: u32, kernel: u32) -> Axis {
    let first = (phase + p.stride - pad % p.stride) % p.stride;
    var a = Axis(phase, first, (size + p.stride - 1u - min(first, size)) / p.stride, kernel, 0u);
    for (var k = kernel; k > 0u; k--) {
        if ((k - 1u) * p.dilation % p.stride == phase) {
            a.first_tap = k - 1u;
            a.taps += 1u;
        }
    }
    return a;
}

// The next tap of the phase after `k`; `kernel` past the end.
fn next_tap(k: u32, phase: u32, kernel: u32) -> u32 {
    var next = k + 1u;
    while (next < kernel && next * p.dilation % p.stride != phase) {
        next += 1u;
    }
    return next;
}

// An input pixel of the phase: its index, its picture's first row in dz, and the place that tap offset 0 reads there.
struct Reach {
    pixel: u32,
    row: i32,
    y: i32,
    x: i32,
}

fn reach(index: u32, ay: Axis, ax: Axis) -> Reach {
    let at = min(index, max(p.n * ay.count * ax.count, 1u) - 1u);
    let line = at / max(ax.count, 1u);
    let picture = line / max(ay.count, 1u);
    let iy = ay.first + (line - picture * ay.count) * p.stride;
    let ix = ax.first + (at - line * ax.count) * p.stride;
    return Reach(
        (picture * p.h + iy) * p.w + ix,
        i32(picture * p.ho),
        i32((iy + p.pad_top - ay.phase) / p.stride),
        i32((ix + p.pad_left - ax.phase) / p.stride),
    );
}

// A place along the depth: tap and quad of outputs. `ky == p.kh` is past the end.
struct Depth {
    ky: u32,
    kx: u32,
    quad: u32,
}

fn advance(at: Depth, by: u32, ay: Axis, ax: Axis) -> Depth {
    let quads = (p.o + 3u) / 4u;
    var next = at;
    next.quad += by;
    while (next.quad >= quads) {
        next.quad -= quads;
        next.kx = next_tap(next.kx, ax.phase, p.kw);
        if (next.kx >= p.kw) {
            next.kx = ax.first_tap;
            next.ky = next_tap(next.ky, ay.phase, p.kh);
        }
    }
    return next;
}

// The output pixel that a tap takes to an input pixel, or -1 outside the picture.
fn source(place: Reach, ky: u32, kx: u32, ay: Axis, ax: Axis) -> i32 {
    if (ky >= p.kh || kx >= p.kw) {
        return -1;
    }
    let oy = place.y - i32((ky * p.dilation - ay.phase) / p.stride);
    let ox = place.x - i32((kx * p.dilation - ax.phase) / p.stride);
    if (oy < 0 || oy >= i32(p.ho) || ox < 0 || ox >= i32(p.wo)) {
        return -1;
    }
    return (place.row + oy) * i32(p.wo) + ox;
}

fn gradient_quads(place: Reach, at: Depth, ay: Axis, ax: Axis) -> vec4<f32> {
    let pixel = source(place, at.ky, at.kx, ay, ax);
    if (pixel < 0) {
        return vec4<f32>();
    }
    return dz4[u32(pixel) * (p.o / 4u) + at.quad];
}

fn gradient_scalars(place: Reach, at: Depth, ay: Axis, ax: Axis) -> vec4<f32> {
    let pixel = source(place, at.ky, at.kx, ay, ax);
    var v = vec4<f32>();
    if (pixel >= 0) {
        for (var i = 0u; i < 4u; i++) {
            let o = 4u * at.quad + i;
            if (o < p.o) {
                v[i] = dz[u32(pixel) * p.o + o];
            }
        }
    }
    return v;
}

// Weights of outputs 4 quad + 0..3, a column each, and channels c..c+3.
fn weight_quads(at: Depth, c: u32) -> mat4x4<f32> {
    if (at.ky >= p.kh || at.kx >= p.kw || c >= p.c) {
        return mat4x4<f32>();
    }
    let tap = (at.ky * p.kw + at.kx) * p.c * p.o;
    let first = (tap + 4u * at.quad * p.output_step + c * p.channel_step) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    let block = mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]);
    if (p.output_step == 1u) {
        return transpose(block);
    }
    return block;
}

fn weight_scalars(at: Depth, c: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if (at.ky < p.kh && at.kx < p.kw && c < p.c) {
        let row = (at.ky * p.kw + at.kx) * p.c * p.o + c * p.channel_step;
        for (var i = 0u; i < 4u; i++) {
            let o = 4u * at.quad + i;
            if (o < p.o) {
                v[i] = weight[row + o * p.output_step];
            }
        }
    }
    return v;
}

fn biases(c: u32) -> vec4<f32> {
    if (p.biased == 0u) {
        return vec4<f32>();
    }
    let last = p.c - 1u;
    return vec4<f32>(bias[min(c, last)], bias[min(c + 1u, last)], bias[min(c + 2u, last)], bias[min(c + 3u, last)]);
}

fn store(pixel: u32, c: u32, sum: vec4<f32>) {
    let v = activate(sum + biases(c));
    for (var j = 0u; j < 4u; j++) {
        if (c + j < p.c) {
            dx[pixel * p.c + c + j] = v[j];
        }
    }
}

fn store_tile(first_pixel: u32, first_channel: u32, local: u32, ay: Axis, ax: Axis, sum: ptr<function, array<vec4<f32>, 8>>) {
    for (var i = 0u; i < 8u; i++) {
        let index = first_pixel + 4u * (local / 8u) + i / 2u;
        if (index < p.n * ay.count * ax.count) {
            let pixel = reach(index, ay, ax).pixel;
            store(pixel, first_channel + 4u * (local % 8u) + 32u * (i % 2u), (*sum)[i]);
        }
    }
}

@compute @workgroup_size(128)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let ay = axis(group.z / p.stride, p.h, p.pad_top, p.kh);
    let ax = axis(group.z % p.stride, p.w, p.pad_left, p.kw);
    let columns = (p.c + TILE - 1u) / TILE;
    let first_pixel = group_index(group) / columns * TILE;
    let first_channel = group_index(group) % columns * TILE;
    let loads_dz = local < 64u;
    let lane = local % 64u;
    let depth_quad = lane % 4u;
    let line = lane / 4u;
    var reaches: array<Reach, 4>;
    for (var i = 0u; i < 4u; i++) {
        reaches[i] = reach(first_pixel + 4u * line + i, ay, ax);
    }
    let c = first_channel + 4u * line;
    var at = advance(Depth(ay.first_tap, ax.first_tap, 0u), depth_quad, ay, ax);
    var sum: array<vec4<f32>, 8>;
    let depth = ay.taps * ax.taps * ((p.o + 3u) / 4u);
    for (var done = 0u; done < depth; done += SLICE / 4u) {
        if (loads_dz) {
            let block = mat4x4<f32>(
                gradient_quads(reaches[0], at, ay, ax), gradient_quads(reaches[1], at, ay, ax),
                gradient_quads(reaches[2], at, ay, ax), gradient_quads(reaches[3], at, ay, ax),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            store_slice_b(depth_quad, line, weight_quads(at, c));
        }
        workgroupBarrier();
        multiply_slices(&sum, local);
        workgroupBarrier();
        at = advance(at, SLICE / 4u, ay, ax);
    }
    store_tile(first_pixel, first_channel, local, ay, ax, &sum);
}

@compute @workgroup_size(128)
fn scalars(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let ay = axis(group.z / p.stride, p.h, p.pad_top, p.kh);
    let ax = axis(group.z % p.stride, p.w, p.pad_left, p.kw);
    let columns = (p.c + TILE - 1u) / TILE;
    let first_pixel = group_index(group) / columns * TILE;
    let first_channel = group_index(group) % columns * TILE;
    let loads_dz = local < 64u;
    let lane = local % 64u;
    let depth_quad = lane % 4u;
    let line = lane / 4u;
    var reaches: array<Reach, 4>;
    for (var i = 0u; i < 4u; i++) {
        reaches[i] = reach(first_pixel + 4u * line + i, ay, ax);
    }
    let c = first_channel + 4u * line;
    var at = advance(Depth(ay.first_tap, ax.first_tap, 0u), depth_quad, ay, ax);
    var sum: array<vec4<f32>, 8>;
    let depth = ay.taps * ax.taps * ((p.o + 3u) / 4u);
    for (var done = 0u; done < depth; done += SLICE / 4u) {
        if (loads_dz) {
            let block = mat4x4<f32>(
                gradient_scalars(reaches[0], at, ay, ax), gradient_scalars(reaches[1], at, ay, ax),
                gradient_scalars(reaches[2], at, ay, ax), gradient_scalars(reaches[3], at, ay, ax),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            let block = mat4x4<f32>(
                weight_scalars(at, c), weight_scalars(at, c + 1u), weight_scalars(at, c + 2u), weight_scalars(at, c + 3u),
            );
            store_slice_b(depth_quad, line, transpose(block));
        }
        workgroupBarrier();
        multiply_slices(&sum, local);
        workgroupBarrier();
        at = advance(at, SLICE / 4u, ay, ax);
    }
    store_tile(first_pixel, first_channel, local, ay, ax, &sum);
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let ay = axis(group.z / p.stride, p.h, p.pad_top, p.kh);
    let ax = axis(group.z % p.stride, p.w, p.pad_left, p.kw);
    let columns = (p.c + 31u) / 32u;
    let first_pixel = group_index(group) / columns * 8u;
    let c = group_index(group) % columns * 32u + 4u * local;
    let last = p.c - 1u;
    let lanes = p.channel_step * vec4<u32>(min(c, last), min(c + 1u, last), min(c + 2u, last), min(c + 3u, last));
    var reaches: array<Reach, 8>;
    for (var i = 0u; i < 8u; i++) {
        reaches[i] = reach(first_pixel + i, ay, ax);
    }
    var sum: array<vec4<f32>, 8>;
    for (var ky = ay.first_tap; ky < p.kh; ky = next_tap(ky, ay.phase, p.kh)) {
        for (var kx = ax.first_tap; kx < p.kw; kx = next_tap(kx, ax.phase, p.kw)) {
            var start: array<u32, 8>;
            var inside: array<bool, 8>;
            for (var i = 0u; i < 8u; i++) {
                let pixel = source(reaches[i], ky, kx, ay, ax);
                start[i] = u32(max(pixel, 0)) * p.o;
                inside[i] = pixel >= 0;
            }
            let row = (ky * p.kw + kx) * p.c * p.o;
            for (var o = 0u; o < p.o; o++) {
                let at = row + o * p.output_step;
                let v = vec4<f32>(weight[at + lanes.x], weight[at + lanes.y], weight[at + lanes.z], weight[at + lanes.w]);
                for (var i = 0u; i < 8u; i++) {
                    sum[i] += select(0.0, dz[start[i] + o], inside[i]) * v;
                }
            }
        }
    }
    for (var i = 0u; i < 8u; i++) {
        if (first_pixel + i < p.n * ay.count * ax.count) {
            store(reaches[i].pixel, c, sum[i]);
        }
    }
}
