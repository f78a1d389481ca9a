// dx[n, iy, ix, c] = sum over ky, kx, o of dz[n, oy, ox, o] w[ky, kx, c, o], where oy s + ky d - top = iy and
// ox s + kx d - left = ix: for each input pixel the taps that reach it.
// use: linear, conv, lanes, tile, wide_tile, narrow_tile, software_tile
// Long because: six bodies share what they know of pixels, taps and weights.
//
// As the forward pass of a transposed convolution it also adds a bias and applies an activation.
//
// Pixels whose (iy + top, ix + left) are equal modulo the stride are reached by the same taps; they form one of up to s
// x s phases, and each phase is an implicit matrix product: rows are its pixels, columns the channels C, the depth
// runs over its taps and quads of outputs (O / 4). A phase that no tap reaches is zero.
//
// `quads`, `wide`, `narrow`, `scalars`, `software_quads` and `software` divide the work as in conv2d.wgsl,
// chunks of the depth included; phases come before chunks.

@group(0) @binding(1) var<storage, read> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(1) var<storage, read> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(2) var<storage, read> weight4: array<vec4<f32>>; // (Kh, Kw, C, O / 4), or (Kh, Kw, O, C / 4)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (C), where `p.biased`
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (N, H, W, C)
@group(0) @binding(4) var<storage, read_write> dx4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(5) var<storage, read_write> partial: array<f32>; // (chunks, N, H, W, C), of more than one chunk
@group(0) @binding(5) var<storage, read_write> partial4: array<vec4<f32>>; // (chunks, N, H, W, C / 4)

// One axis of a phase: the first coordinate and how many there are, the first tap and how many.
struct Axis {
    phase: u32,
    first: u32,
    count: u32,
    first_tap: u32,
    taps: u32,
}

// The axis of the phase whose first coordinate is `first`. Its taps k are those with k d = phase modulo s.
fn axis(first: u32, size: u32, pad: u32, kernel: u32) -> Axis {
    let phase = (first + pad % p.stride) % p.stride;
    var a = Axis(phase, first, (size + p.stride - 1u - first) / p.stride, kernel, 0u);
    let tap = phase / p.phase_step * p.inverse % p.tap_step;
    if (phase % p.phase_step == 0u && tap < kernel) {
        a.first_tap = tap;
        a.taps = (kernel - 1u - tap) / p.tap_step + 1u;
    }
    return a;
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

// A place along the depth: tap and quad of outputs. `ky >= p.kh` or `kx >= p.kw` is past the end.
struct Depth {
    ky: u32,
    kx: u32,
    quad: u32,
}

fn depth_at(index: u32, ay: Axis, ax: Axis) -> Depth {
    let quads = (p.o + 3u) / 4u;
    let tap = index / quads;
    let row = tap / max(ax.taps, 1u);
    let column = tap - row * ax.taps;
    return Depth(ay.first_tap + row * p.tap_step, ax.first_tap + column * p.tap_step, index - tap * quads);
}

fn advance(at: Depth, by: u32, ax: Axis) -> Depth {
    let quads = (p.o + 3u) / 4u;
    var next = at;
    next.quad += by;
    while (next.quad >= quads) {
        next.quad -= quads;
        next.kx += p.tap_step;
        if (next.kx >= p.kw) {
            next.kx = ax.first_tap;
            next.ky += p.tap_step;
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

// Of a sum that is whole, what follows; of one of several chunks the sum itself.
fn store(chunk: u32, pixel: u32, c: u32, sum: vec4<f32>) {
    if (p.chunks > 1u) {
        let row = (chunk * p.n * p.h * p.w + pixel) * p.c;
        for (var j = 0u; j < 4u; j++) {
            if (c + j < p.c) {
                partial[row + c + j] = sum[j];
            }
        }
        return;
    }
    let v = activate(sum + biases(c));
    for (var j = 0u; j < 4u; j++) {
        if (c + j < p.c) {
            dx[pixel * p.c + c + j] = v[j];
        }
    }
}

// What a workgroup works on: chunk, phase and tile.
struct Work {
    chunk: u32,
    ay: Axis,
    ax: Axis,
    first_pixel: u32, // of the phase
    first_channel: u32,
    begin: u32, // of the chunk, along the depth
    end: u32,
}

// For tiles of `rows` x `columns`.
fn work(group: vec3<u32>, rows: u32, columns: u32) -> Work {
    // Phases across and down, and the pixels of the largest.
    let wide = min(p.stride, p.w);
    let tall = min(p.stride, p.h);
    let pixels = p.n * ((p.h + p.stride - 1u) / p.stride) * ((p.w + p.stride - 1u) / p.stride);
    let across = (p.c + columns - 1u) / columns;
    let tiles = (pixels + rows - 1u) / rows * across;
    let tile = group_index(group) % tiles;
    let phase = group_index(group) / tiles % (wide * tall);
    let chunk = group_index(group) / tiles / (wide * tall);
    let ay = axis(phase / wide, p.h, p.pad_top, p.kh);
    let ax = axis(phase % wide, p.w, p.pad_left, p.kw);
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, ay.taps * ax.taps * ((p.o + 3u) / 4u));
    return Work(chunk, ay, ax, tile / across * rows, tile % across * columns, begin, end);
}

fn reaches_of(job: Work, line: u32) -> array<Reach, 4> {
    let first = job.first_pixel + 4u * line;
    return array<Reach, 4>(
        reach(first, job.ay, job.ax), reach(first + 1u, job.ay, job.ax),
        reach(first + 2u, job.ay, job.ax), reach(first + 3u, job.ay, job.ax),
    );
}

fn store_tile(job: Work, local: u32, sum: ptr<function, array<vec4<f32>, 8>>) {
    for (var i = 0u; i < 8u; i++) {
        let index = job.first_pixel + tile_row(local, i);
        if (index < p.n * job.ay.count * job.ax.count) {
            let pixel = reach(index, job.ay, job.ax).pixel;
            store(job.chunk, pixel, job.first_channel + tile_column(local, i), (*sum)[i]);
        }
    }
}

@compute @workgroup_size(128)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, TILE, TILE);
    if (job.chunk >= p.chunks) {
        return;
    }
    // A block of 4 x 4 of dz, or of the weights, in each slice.
    let loads_dz = local < 64u;
    let depth_quad = local % 4u;
    let line = local % 64u / 4u;
    let reaches = reaches_of(job, line);
    let c = job.first_channel + 4u * line;
    var at = advance(depth_at(job.begin, job.ay, job.ax), depth_quad, job.ax);
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE / 4u) {
        if (loads_dz) {
            let block = mat4x4<f32>(
                gradient_quads(reaches[0], at, job.ay, job.ax), gradient_quads(reaches[1], at, job.ay, job.ax),
                gradient_quads(reaches[2], at, job.ay, job.ax), gradient_quads(reaches[3], at, job.ay, job.ax),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            store_slice_b(depth_quad, line, weight_quads(at, c));
        }
        add_slice(&sum, local);
        at = advance(at, SLICE / 4u, job.ax);
    }
    store_tile(job, local, &sum);
}

// Of four pixels each the outputs of a quad, a column a pixel.
fn fetch_gradient(reaches: array<Reach, 4>, at: Depth, quad: u32, ay: Axis, ax: Axis) -> Fetched {
    let up = i32((at.ky * p.dilation - ay.phase) / p.stride);
    let left = i32((at.kx * p.dilation - ax.phase) / p.stride);
    let a = address(reaches[0], up, left);
    let b = address(reaches[1], up, left);
    let c = address(reaches[2], up, left);
    let d = address(reaches[3], up, left);
    let q = at.quad + quad;
    return Fetched(
        mat4x4<f32>(dz4[a.x + q], dz4[b.x + q], dz4[c.x + q], dz4[d.x + q]),
        vec4<bool>(a.y != 0u, b.y != 0u, c.y != 0u, d.y != 0u),
    );
}

// The place in dz4 of the first outputs of the pixel so far above and to the left, any where it lies outside the
// picture, and whether it does not.
fn address(place: Reach, up: i32, left: i32) -> vec2<u32> {
    let oy = place.y - up;
    let ox = place.x - left;
    let inside = u32(oy) < p.ho && u32(ox) < p.wo;
    let pixel = select(0u, u32((place.row + oy) * i32(p.wo) + ox), inside);
    return vec2<u32>(pixel * (p.o / 4u), u32(inside));
}

// Of a tap's outputs 4 quad + 0..3, a column each, the weights of channels c..c+3, or of those channels, a column each,
// the weights of these outputs.
fn fetch_weights(at: Depth, quad: u32, c: u32) -> Fetched {
    // A phase that no tap reaches fetches a block, too, and leaves it.
    let inside = c < p.c && at.ky < p.kh && at.kx < p.kw;
    let tap = (at.ky * p.kw + at.kx) * p.c * p.o;
    let place = tap + 4u * (at.quad + quad) * p.output_step + c * p.channel_step;
    let first = select(0u, place, inside) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    return Fetched(
        mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]),
        vec4<bool>(inside),
    );
}

// A block of the slice at `at`, which is the same for the whole workgroup.
fn fetch(side: Loader, job: Work, reaches: array<Reach, 4>, at: Depth, c: u32) -> Fetched {
    if (side.rows) {
        return fetch_gradient(reaches, at, side.depth_quad, job.ay, job.ax);
    }
    return fetch_weights(at, side.depth_quad, c);
}

// The two quads of an invocation's i-th row.
fn store_wide_quads(job: Work, local: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let index = job.first_pixel + wide_row(local, i);
    let c = job.first_channel + wide_column(local);
    if (index < p.n * job.ay.count * job.ax.count) {
        let pixel = reach(index, job.ay, job.ax).pixel;
        store_quad(job.chunk, pixel, c, left);
        store_quad(job.chunk, pixel, c + 32u, right);
    }
}

fn store_quad(chunk: u32, pixel: u32, c: u32, sum: vec4<f32>) {
    if (c < p.c) {
        if (p.chunks > 1u) {
            partial4[((chunk * p.n * p.h * p.w + pixel) * p.c + c) / 4u] = sum;
        } else {
            dx4[(pixel * p.c + c) / 4u] = activate(sum + biases(c));
        }
    }
}

@compute @workgroup_size(256)
fn wide(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, WIDE, WIDE);
    if (job.chunk >= p.chunks) {
        return;
    }
    let side = loader(local, local < 128u || p.output_step == 1u);
    let reaches = reaches_of(job, side.line);
    let c = job.first_channel + 4u * side.line;
    var at = depth_at(job.begin, job.ay, job.ax);
    var fetched = fetch(side, job, reaches, at, c);
    var sum: array<vec4<f32>, 16>;
    for (var done = job.begin; done < job.end; done += WIDE_SLICE / 4u) {
        workgroupBarrier();
        store_wide(side, fetched, side.rows || p.output_step == 1u);
        workgroupBarrier();
        if (done + WIDE_SLICE / 4u < job.end) {
            // On its way while this slice is worked on.
            at = advance(at, WIDE_SLICE / 4u, job.ax);
            fetched = fetch(side, job, reaches, at, c);
        }
        add_wide_slice(&sum, local);
    }
    // One by one: an index that is computed would keep the sums out of the registers.
    store_wide_quads(job, local, 0u, sum[0], sum[1]);
    store_wide_quads(job, local, 1u, sum[2], sum[3]);
    store_wide_quads(job, local, 2u, sum[4], sum[5]);
    store_wide_quads(job, local, 3u, sum[6], sum[7]);
    store_wide_quads(job, local, 4u, sum[8], sum[9]);
    store_wide_quads(job, local, 5u, sum[10], sum[11]);
    store_wide_quads(job, local, 6u, sum[12], sum[13]);
    store_wide_quads(job, local, 7u, sum[14], sum[15]);
}

@compute @workgroup_size(128)
fn scalars(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, TILE, TILE);
    if (job.chunk >= p.chunks) {
        return;
    }
    let loads_dz = local < 64u;
    let depth_quad = local % 4u;
    let line = local % 64u / 4u;
    let reaches = reaches_of(job, line);
    let c = job.first_channel + 4u * line;
    var at = advance(depth_at(job.begin, job.ay, job.ax), depth_quad, job.ax);
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE / 4u) {
        if (loads_dz) {
            let block = mat4x4<f32>(
                gradient_scalars(reaches[0], at, job.ay, job.ax), gradient_scalars(reaches[1], at, job.ay, job.ax),
                gradient_scalars(reaches[2], at, job.ay, job.ax), gradient_scalars(reaches[3], at, job.ay, job.ax),
            );
            store_slice_a(depth_quad, line, transpose(block));
        } else {
            let block = mat4x4<f32>(
                weight_scalars(at, c), weight_scalars(at, c + 1u), weight_scalars(at, c + 2u), weight_scalars(at, c + 3u),
            );
            store_slice_b(depth_quad, line, transpose(block));
        }
        add_slice(&sum, local);
        at = advance(at, SLICE / 4u, job.ax);
    }
    store_tile(job, local, &sum);
}

@compute @workgroup_size(256)
fn narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, NARROW, 4u);
    if (job.chunk >= p.chunks) {
        return;
    }
    let reaches = reaches_of(job, local / 4u);
    var at = depth_at(job.begin, job.ay, job.ax);
    var sum: vec4<f32>;
    for (var done = job.begin; done < job.end; done += NARROW_SLICE / 4u) {
        let fetched = fetch_gradient(reaches, at, local % 4u, job.ay, job.ax);
        var columns: vec4<f32>;
        if (local < NARROW_SLICE) {
            // Of an output the weights of the channels.
            let place = Depth(at.ky, at.kx, at.quad + local / 4u);
            columns = vec4<f32>(
                weight_scalars(place, 0u)[local % 4u], weight_scalars(place, 1u)[local % 4u],
                weight_scalars(place, 2u)[local % 4u], weight_scalars(place, 3u)[local % 4u],
            );
        }
        sum = add_narrow_slice(sum, local, fetched, columns);
        at = advance(at, NARROW_SLICE / 4u, job.ax);
    }
    let index = job.first_pixel + local;
    if (index < p.n * job.ay.count * job.ax.count) {
        store(job.chunk, reach(index, job.ay, job.ax).pixel, 0u, sum);
    }
}

// Of a tap's outputs 4 quad + 0..3, a column each, the weights of channels c..c+3, any beyond the last one.
fn weight_block(at: Depth, c: u32) -> mat4x4<f32> {
    let block = fetch_weights(at, 0u, c).block;
    if (p.output_step == 1u) {
        return transpose(block);
    }
    return block;
}

@compute @workgroup_size(8)
fn software_quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, SOFTWARE_ROWS, SOFTWARE_COLUMNS);
    if (job.chunk >= p.chunks) {
        return;
    }
    let c = job.first_channel + 4u * local;
    var reaches: array<Reach, 16>;
    for (var i = 0u; i < 16u; i++) {
        reaches[i] = reach(job.first_pixel + i, job.ay, job.ax);
    }
    var sum: array<vec4<f32>, 32>;
    // Not p.o / 4: as a constant below 4 that is a zero to divide by, and the text compiles for no body.
    let quads = (p.o + 3u) / 4u;
    for (var tap = job.begin / quads; tap * quads < job.end; tap++) {
        let row = tap / job.ax.taps;
        let ky = job.ay.first_tap + row * p.tap_step;
        let kx = job.ax.first_tap + (tap - row * job.ax.taps) * p.tap_step;
        let up = i32((ky * p.dilation - job.ay.phase) / p.stride);
        let across = i32((kx * p.dilation - job.ax.phase) / p.stride);
        var place: array<vec2<u32>, 16>;
        for (var i = 0u; i < 16u; i++) {
            place[i] = address(reaches[i], up, across);
        }
        // The quads of this tap that lie in the chunk.
        let last = min(job.end - tap * quads, quads);
        for (var quad = max(job.begin, tap * quads) - tap * quads; quad < last; quad++) {
            let left = weight_block(Depth(ky, kx, quad), c);
            let right = weight_block(Depth(ky, kx, quad), c + 32u);
            // Two loops: drivers unroll no longer ones, and sums must stay in registers.
            for (var i = 0u; i < 8u; i++) {
                add_row(&sum, i, left, right, select(vec4<f32>(), dz4[place[i].x + quad], place[i].y != 0u));
            }
            for (var i = 8u; i < 16u; i++) {
                add_row(&sum, i, left, right, select(vec4<f32>(), dz4[place[i].x + quad], place[i].y != 0u));
            }
        }
    }
    for (var i = 0u; i < 16u; i++) {
        if (job.first_pixel + i < p.n * job.ay.count * job.ax.count) {
            store_quad(job.chunk, reaches[i].pixel, c, sum[2u * i]);
            store_quad(job.chunk, reaches[i].pixel, c + 32u, sum[2u * i + 1u]);
        }
    }
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, 8u, 32u);
    if (job.chunk >= p.chunks) {
        return;
    }
    let c = job.first_channel + 4u * local;
    let last = p.c - 1u;
    let lanes = p.channel_step * vec4<u32>(min(c, last), min(c + 1u, last), min(c + 2u, last), min(c + 3u, last));
    var reaches: array<Reach, 8>;
    for (var i = 0u; i < 8u; i++) {
        reaches[i] = reach(job.first_pixel + i, job.ay, job.ax);
    }
    var sum: array<vec4<f32>, 8>;
    let quads = (p.o + 3u) / 4u;
    for (var tap = job.begin / quads; tap * quads < job.end; tap++) {
        let row = tap / job.ax.taps;
        let ky = job.ay.first_tap + row * p.tap_step;
        let kx = job.ax.first_tap + (tap - row * job.ax.taps) * p.tap_step;
        var start: array<u32, 8>;
        var inside: array<bool, 8>;
        for (var i = 0u; i < 8u; i++) {
            let pixel = source(reaches[i], ky, kx, job.ay, job.ax);
            start[i] = u32(max(pixel, 0)) * p.o;
            inside[i] = pixel >= 0;
        }
        // The outputs of this tap that lie in the chunk.
        let last_o = min(4u * (job.end - tap * quads), p.o);
        for (var o = 4u * (max(job.begin, tap * quads) - tap * quads); o < last_o; o++) {
            let at = (ky * p.kw + kx) * p.c * p.o + o * p.output_step;
            let v = vec4<f32>(weight[at + lanes.x], weight[at + lanes.y], weight[at + lanes.z], weight[at + lanes.w]);
            for (var i = 0u; i < 8u; i++) {
                sum[i] += select(0.0, dz[start[i] + o], inside[i]) * v;
            }
        }
    }
    for (var i = 0u; i < 8u; i++) {
        if (job.first_pixel + i < p.n * job.ay.count * job.ax.count) {
            store(job.chunk, reaches[i].pixel, c, sum[i]);
        }
    }
}

@compute @workgroup_size(256)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    let len = p.n * p.h * p.w * p.c;
    if (i < len) {
        var sum = biases(i % p.c).x;
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            sum += partial[chunk * len + i];
        }
        dx[i] = activate(vec4<f32>(sum)).x;
    }
}
