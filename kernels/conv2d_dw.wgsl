// dw[ky, kx, c, o] = sum over n, oy, ox of x[n, oy s + ky d - top, ox s + kx d - left, c] dz[n, oy, ox, o]
// use: linear, conv, lanes, tile, wide_tile, software_tile
// Long because: five bodies share what they know of pixels, taps and weights.
//
// A matrix product: rows are taps and channels (Kh Kw C), columns the outputs O, the depth runs over the output pixels
// (N Ho Wo). The depth is split into chunks of `p.chunk` pixels; where there are several, their sums go to `partial`,
// and `total` adds them in order. The grid is folded into y.
//
// `quads`, `wide`, `scalars`, `software_quads` and `software` divide the work as in conv2d.wgsl; rows of all but the last
// are padded to quads of channels.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(2) var<storage, read> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(3) var<storage, read_write> dw4: array<vec4<f32>>; // the same in quads
@group(0) @binding(4) var<storage, read_write> partial: array<f32>; // (chunks), each as dw, of more than one chunk
@group(0) @binding(4) var<storage, read_write> partial4: array<vec4<f32>>; // the same in quads

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
    let row = tap * p.c * p.o + c * p.channel_step;
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.o) {
            let to = row + (o + j) * p.output_step;
            if (p.chunks > 1u) {
                partial[chunk * p.kh * p.kw * p.c * p.o + to] = sum[j];
            } else {
                dw[to] = sum[j];
            }
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
    let quad_row = job.first_row / 4u + tile_row(local, 0u) / 4u;
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

// A quad of channels under a tap of each of four pixels that follow one another, a column a pixel.
fn fetch_input(at: Pixel, end: u32, ky: u32, kx: u32, quad: u32) -> Fetched {
    let second = advance(at, 1u);
    let third = advance(second, 1u);
    let a = address(at, end, ky, kx, quad);
    let b = address(second, end, ky, kx, quad);
    let c = address(third, end, ky, kx, quad);
    let d = address(advance(third, 1u), end, ky, kx, quad);
    return Fetched(
        mat4x4<f32>(x4[a.x], x4[b.x], x4[c.x], x4[d.x]),
        vec4<bool>(a.y != 0u, b.y != 0u, c.y != 0u, d.y != 0u),
    );
}

// The place in x4 of a quad of channels under a tap, any where it lies outside the picture, and whether it does not.
fn address(at: Pixel, end: u32, ky: u32, kx: u32, quad: u32) -> vec2<u32> {
    let iy = i32(at.y * p.stride + ky * p.dilation) - i32(p.pad_top);
    let ix = i32(at.x * p.stride + kx * p.dilation) - i32(p.pad_left);
    let inside = at.index < end && ky < p.kh && u32(iy) < p.h && u32(ix) < p.w;
    let pixel = select(0u, u32((i32(at.n * p.h) + iy) * i32(p.w) + ix), inside);
    return vec2<u32>(pixel * (p.c / 4u) + quad, u32(inside));
}

// Outputs o..o+3 of four pixels from `index` on, a column a pixel.
fn fetch_gradient(index: u32, end: u32, o: u32) -> Fetched {
    let place = (index * p.o + o) / 4u;
    let next = p.o / 4u;
    let inside = vec4<bool>(index < end, index + 1u < end, index + 2u < end, index + 3u < end) & vec4<bool>(o < p.o);
    return Fetched(
        mat4x4<f32>(
            dz4[select(0u, place, inside.x)], dz4[select(0u, place + next, inside.y)],
            dz4[select(0u, place + 2u * next, inside.z)], dz4[select(0u, place + 3u * next, inside.w)],
        ),
        inside,
    );
}

// A block of the slice whose first pixels are at `at`: rows of taps and quads of channels, or outputs from o on.
fn fetch(side: Loader, at: Pixel, end: u32, ky: u32, kx: u32, quad: u32, o: u32) -> Fetched {
    if (side.rows) {
        return fetch_input(at, end, ky, kx, quad);
    }
    return fetch_gradient(at.index, end, o);
}

fn store_quad(chunk: u32, at: u32, sum: vec4<f32>) {
    if (p.chunks > 1u) {
        partial4[(chunk * p.kh * p.kw * p.c * p.o + at) / 4u] = sum;
    } else {
        dw4[at / 4u] = sum;
    }
}

// A block of 4 channels, a column each, x 4 outputs from o on; `quad_row` counts taps and quads of channels.
fn store_block(chunk: u32, quad_row: u32, o: u32, block: mat4x4<f32>) {
    let quads = (p.c + 3u) / 4u;
    let tap = quad_row / quads;
    if (tap < p.kh * p.kw && o < p.o) {
        let c = 4u * (quad_row - tap * quads);
        let first = tap * p.c * p.o + c * p.channel_step + o * p.output_step;
        let next = max(p.channel_step, p.output_step);
        var lines = block;
        if (p.output_step != 1u) {
            lines = transpose(block);
        }
        store_quad(chunk, first, lines[0]);
        store_quad(chunk, first + next, lines[1]);
        store_quad(chunk, first + 2u * next, lines[2]);
        store_quad(chunk, first + 3u * next, lines[3]);
    }
}

@compute @workgroup_size(256)
fn wide(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quads = (p.c + 3u) / 4u;
    let columns = (p.o + WIDE - 1u) / WIDE;
    let tiles = (4u * p.kh * p.kw * quads + WIDE - 1u) / WIDE * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_row = group_index(group) % tiles / columns * WIDE;
    let first_output = group_index(group) % tiles % columns * WIDE;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.n * p.ho * p.wo);
    let side = loader(local, false);
    let tap = (first_row / 4u + side.line) / quads;
    let quad = (first_row / 4u + side.line) % quads;
    let o = first_output + 4u * side.line;
    var at = pixel_at(begin + 4u * side.depth_quad);
    var fetched = fetch(side, at, end, tap / p.kw, tap % p.kw, quad, o);
    var sum: array<vec4<f32>, 16>;
    for (var done = begin; done < end; done += WIDE_SLICE) {
        workgroupBarrier();
        store_wide(side, fetched, false);
        workgroupBarrier();
        if (done + WIDE_SLICE < end) {
            // On its way while this slice is worked on.
            at = advance(at, WIDE_SLICE);
            fetched = fetch(side, at, end, tap / p.kw, tap % p.kw, quad, o);
        }
        add_wide_slice(&sum, local);
    }
    let quad_row = (first_row + wide_row(local, 0u)) / 4u;
    let left = first_output + wide_column(local);
    store_block(chunk, quad_row, left, mat4x4<f32>(sum[0], sum[2], sum[4], sum[6]));
    store_block(chunk, quad_row, left + 32u, mat4x4<f32>(sum[1], sum[3], sum[5], sum[7]));
    store_block(chunk, quad_row + 4u, left, mat4x4<f32>(sum[8], sum[10], sum[12], sum[14]));
    store_block(chunk, quad_row + 4u, left + 32u, mat4x4<f32>(sum[9], sum[11], sum[13], sum[15]));
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

// Outputs o..o+3 of a pixel, any where there are no more.
fn gradient(pixel: u32, o: u32) -> vec4<f32> {
    return dz4[(pixel * p.o + select(0u, o, o < p.o)) / 4u];
}

@compute @workgroup_size(8)
fn software_quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Not p.c / 4: as a constant below 4 that is a zero to divide by, and the text compiles for no body.
    let quads = (p.c + 3u) / 4u;
    let columns = (p.o + SOFTWARE_COLUMNS - 1u) / SOFTWARE_COLUMNS;
    let tiles = (p.kh * p.kw * p.c + SOFTWARE_ROWS - 1u) / SOFTWARE_ROWS * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_row = group_index(group) % tiles / columns * SOFTWARE_ROWS / 4u;
    let o = group_index(group) % tiles % columns * SOFTWARE_COLUMNS + 4u * local;
    // Tap and quad of channels of each four rows.
    var rows: array<vec3<u32>, 4>;
    for (var i = 0u; i < 4u; i++) {
        let tap = (first_row + i) / quads;
        rows[i] = vec3<u32>(tap / p.kw, tap % p.kw, first_row + i - tap * quads);
    }
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.n * p.ho * p.wo);
    var sum: array<vec4<f32>, 32>;
    for (var at = pixel_at(begin); at.index < end; at = advance(at, 1u)) {
        let left = gradient(at.index, o);
        let right = gradient(at.index, o + 32u);
        for (var i = 0u; i < 4u; i++) {
            let place = address(at, end, rows[i].x, rows[i].y, rows[i].z);
            let v = select(vec4<f32>(), x4[place.x], place.y != 0u);
            sum[8u * i] += v.x * left;
            sum[8u * i + 1u] += v.x * right;
            sum[8u * i + 2u] += v.y * left;
            sum[8u * i + 3u] += v.y * right;
            sum[8u * i + 4u] += v.z * left;
            sum[8u * i + 5u] += v.z * right;
            sum[8u * i + 6u] += v.w * left;
            sum[8u * i + 7u] += v.w * right;
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let first = 8u * i;
        let left = mat4x4<f32>(sum[first], sum[first + 2u], sum[first + 4u], sum[first + 6u]);
        let right = mat4x4<f32>(sum[first + 1u], sum[first + 3u], sum[first + 5u], sum[first + 7u]);
        store_block(chunk, first_row + i, o, left);
        store_block(chunk, first_row + i, o + 32u, right);
    }
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
