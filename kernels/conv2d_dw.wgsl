// dw[ky, kx, c, o] = sum over n, oy, ox of x[n, oy s + ky d - top, ox s + kx d - left, c] dz[n, oy, ox, o]
// use: linear, conv, tile
//
// A matrix product: rows are taps and channels (Kh Kw C), columns the outputs O, the depth runs over the output pixels
// (N Ho Wo). The depth is split into chunks of `p.chunk` pixels, whose sums go to `partial`; `total` adds them in
// order. The grid is folded into y.
//
// `quads`, `scalars` and `software` divide the work as in conv2d.wgsl; rows of the first two are padded to quads of
// channels.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(2) var<storage, read> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(4) var<storage, read_write> partial: array<f32>; // (chunks), each as dw

// An output pixel: its index, and picture, row and column.
struct Pixel {
    index: u32,
    n: u32,
    y: u32,
    x: u32,
}

fn pixel_at(index: u32) -> Pixel {
    let line = index / p.wo;
    let picture = line / p.ho;
    return Pixel(index, picture, line - picture * p.ho, index - line * p.wo);
}

fn advance(at: Pixel, by: u32) -> Pixel {
    var next = at;
    next.index += by;
    next.x += by;
    while (next.x >= p.wo) {
        next.x -= p.wo;
        next.y += 1u;
        if (next.y == p.ho) {
            next.y = 0u;
            next.n += 1u;
        }
    }
    return next;
}

// The input pixel under tap (ky, kx) of output pixel `at`, or -1 outside the picture.
fn source(at: Pixel, ky: u32, kx: u32) -> i32 {
    let iy = i32(at.y * p.stride + ky * p.dilation) - i32(p.pad_top);
    let ix = i32(at.x * p.stride + kx * p.dilation) - i32(p.pad_left);
    if (iy < 0 || iy >= i32(p.h) || ix < 0 || ix >= i32(p.w)) {
        return -1;
    }
    return (i32(at.n * p.h) + iy) * i32(p.w) + ix;
}

fn input_quads(at: Pixel, end: u32, ky: u32, kx: u32, quad: u32) -> vec4<f32> {
    if (at.index >= end || ky >= p.kh) {
        return vec4<f32>();
    }
    let pixel = source(at, ky, kx);
    if (pixel < 0) {
        return vec4<f32>();
    }
    return x4[u32(pixel) * (p.c / 4u) + quad];
}

fn input_scalars(at: Pixel, end: u32, ky: u32, kx: u32, quad: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if (at.index < end && ky < p.kh) {
        let pixel = source(at, ky, kx);
        if (pixel >= 0) {
            for (var i = 0u; i < 4u; i++) {
                let c = 4u * quad + i;
                if (c < p.c) {
                    v[i] = x[u32(pixel) * p.c + c];
                }
            }
        }
    }
    return v;
}

fn gradient_quads(index: u32, end: u32, o: u32) -> vec4<f32> {
    if (index >= end || o >= p.o) {
        return vec4<f32>();
    }
    return dz4[(index * p.o + o) / 4u];
}

fn gradient_scalars(index: u32, end: u32, o: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if (index < end) {
        for (var j = 0u; j < 4u; j++) {
            if (o + j < p.o) {
                v[j] = dz[index * p.o + o + j];
            }
        }
    }
    return v;
}

fn store(tap: u32, c: u32, o: u32, chunk: u32, sum: vec4<f32>) {
    let row = (chunk * p.kh * p.kw + tap) * p.c * p.o + c * p.channel_step;
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.o) {
            partial[row + (o + j) * p.output_step] = sum[j];
        }
    }
}

// What a workgroup of 128 works on, and of that one invocation: a block of 4 pixels x 4 rows, or 4 outputs, in each
// slice.
struct Work {
    chunk: u32,
    first_row: u32,
    first_output: u32,
    begin: u32, // pixels of the chunk
    end: u32,
    loads_x: bool,
    depth_quad: u32, // the block's quad of pixels
    line: u32, // and its quad of rows or outputs
    ky: u32, // tap and quad of channels of those rows
    kx: u32,
    quad: u32,
}

fn work(group: vec3<u32>, local: u32) -> Work {
    let per_tap = (p.c + 3u) / 4u;
    let columns = (p.o + TILE - 1u) / TILE;
    let tiles = (4u * p.kh * p.kw * per_tap + TILE - 1u) / TILE * columns;
    let chunk = group_index(group) / tiles;
    let tile = group_index(group) % tiles;
    let first_row = tile / columns * TILE;
    let begin = chunk * p.chunk;
    let line = local % 16u;
    let tap = (first_row / 4u + line) / per_tap;
    return Work(
        chunk,
        first_row,
        tile % columns * TILE,
        begin,
        min(begin + p.chunk, p.n * p.ho * p.wo),
        local < 64u,
        local % 64u / 16u,
        line,
        tap / p.kw,
        tap % p.kw,
        (first_row / 4u + line) % per_tap,
    );
}

fn store_tile(job: Work, local: u32, sum: ptr<function, array<vec4<f32>, 8>>) {
    let quads = (p.c + 3u) / 4u;
    let quad_row = job.first_row / 4u + local / 8u;
    let tap = quad_row / quads;
    for (var i = 0u; i < 8u; i++) {
        let c = 4u * (quad_row - tap * quads) + i / 2u;
        if (tap < p.kh * p.kw && c < p.c) {
            store(tap, c, job.first_output + tile_column(local, i), job.chunk, (*sum)[i]);
        }
    }
}

@compute @workgroup_size(128)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, local);
    if (job.chunk >= p.chunks) {
        return;
    }
    let o = job.first_output + 4u * job.line;
    var at = pixel_at(job.begin + 4u * job.depth_quad);
    var block: mat4x4<f32>;
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE) {
        if (job.loads_x) {
            var each = at;
            for (var i = 0u; i < 4u; i++) {
                block[i] = input_quads(each, job.end, job.ky, job.kx, job.quad);
                each = advance(each, 1u);
            }
            store_slice_a(job.depth_quad, job.line, block);
        } else {
            for (var i = 0u; i < 4u; i++) {
                block[i] = gradient_quads(at.index + i, job.end, o);
            }
            store_slice_b(job.depth_quad, job.line, block);
        }
        add_slice(&sum, local);
        at = advance(at, SLICE);
    }
    store_tile(job, local, &sum);
}

@compute @workgroup_size(128)
fn scalars(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, local);
    if (job.chunk >= p.chunks) {
        return;
    }
    let o = job.first_output + 4u * job.line;
    var at = pixel_at(job.begin + 4u * job.depth_quad);
    var block: mat4x4<f32>;
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE) {
        if (job.loads_x) {
            var each = at;
            for (var i = 0u; i < 4u; i++) {
                block[i] = input_scalars(each, job.end, job.ky, job.kx, job.quad);
                each = advance(each, 1u);
            }
            store_slice_a(job.depth_quad, job.line, block);
        } else {
            for (var i = 0u; i < 4u; i++) {
                block[i] = gradient_scalars(at.index + i, job.end, o);
            }
            store_slice_b(job.depth_quad, job.line, block);
        }
        add_slice(&sum, local);
        at = advance(at, SLICE);
    }
    store_tile(job, local, &sum);
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + 31u) / 32u;
    let rows = p.kh * p.kw * p.c;
    let tiles = (rows + 7u) / 8u * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_row = group_index(group) % tiles / columns * 8u;
    let o = group_index(group) % tiles % columns * 32u + 4u * local;
    let last = p.o - 1u;
    let lanes = vec4<u32>(min(o, last), min(o + 1u, last), min(o + 2u, last), min(o + 3u, last));
    let first_pixel = chunk * p.chunk;
    let end = min(first_pixel + p.chunk, p.n * p.ho * p.wo);
    var sum: array<vec4<f32>, 8>;
    for (var at = pixel_at(first_pixel); at.index < end; at = advance(at, 1u)) {
        let row = at.index * p.o;
        let v = vec4<f32>(dz[row + lanes.x], dz[row + lanes.y], dz[row + lanes.z], dz[row + lanes.w]);
        for (var i = 0u; i < 8u; i++) {
            let tap_channel = min(first_row + i, rows - 1u);
            let tap = tap_channel / p.c;
            let pixel = source(at, tap / p.kw, tap % p.kw);
            let value = x[u32(max(pixel, 0)) * p.c + tap_channel - tap * p.c];
            sum[i] += select(0.0, value, pixel >= 0) * v;
        }
    }
    for (var i = 0u; i < 8u; i++) {
        if (first_row + i < rows) {
            store((first_row + i) / p.c, (first_row + i) % p.c, o, chunk, sum[i]);
        }
    }
}

@compute @workgroup_size(256)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    let len = p.kh * p.kw * p.c * p.o;
    if (i < len) {
        var sum = 0.0;
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            sum += partial[chunk * len + i];
        }
        dw[i] = sum;
    }
}
