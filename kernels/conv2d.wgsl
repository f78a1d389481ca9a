// y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c, o])
// use: linear, conv, tile
//
// An implicit matrix product: rows are the output pixels (N Ho Wo), columns the outputs O, the depth runs over taps and
// quads of channels (Kh Kw C / 4). Pixels outside the picture are zero.
//
// `quads` and `scalars`: a workgroup of 128 makes a tile of 64 x 64 through workgroup memory, half of it loading x and
// half w, each invocation a block of 4 x 4; `quads` needs C and O that are multiples of 4. `software`: an invocation
// makes 8 pixels x 4 outputs from registers alone, a workgroup of 8 lies along the outputs, so that x is read once for
// all lanes. A great depth is cut into chunks, so that no invocation loops for long: their sums go to `partial`, and
// `total` adds them in order. The grid is folded into y.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(2) var<storage, read> weight4: array<vec4<f32>>; // (Kh, Kw, C, O / 4), or (Kh, Kw, O, C / 4)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (O), where `p.biased`
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(4) var<storage, read_write> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(5) var<storage, read_write> partial: array<f32>; // (chunks, N, Ho, Wo, O), of more than one chunk

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

// A place along the depth: tap and quad of channels. `ky >= p.kh` is past the end.
struct Depth {
    ky: u32,
    kx: u32,
    quad: u32,
}

fn depth_at(index: u32) -> Depth {
    let quads = (p.c + 3u) / 4u;
    let tap = index / quads;
    return Depth(tap / p.kw, tap % p.kw, index - tap * quads);
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

fn store_partial(chunk: u32, pixel: u32, o: u32, sum: vec4<f32>) {
    let row = (chunk * p.n * p.ho * p.wo + pixel) * p.o;
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.o) {
            partial[row + o + j] = sum[j];
        }
    }
}

// Of a sum that is whole, what follows; of one of several chunks the sum itself.
fn store_scalars(chunk: u32, pixel: u32, o: u32, sum: vec4<f32>) {
    if (p.chunks > 1u) {
        store_partial(chunk, pixel, o, sum);
        return;
    }
    let v = activate(sum + biases(o));
    for (var j = 0u; j < 4u; j++) {
        if (o + j < p.o) {
            y[pixel * p.o + o + j] = v[j];
        }
    }
}

// What a workgroup of 128 works on, and of that one invocation: a block of 4 x 4 of x or of w in each slice of the
// depth.
struct Work {
    chunk: u32,
    first_pixel: u32,
    first_output: u32,
    begin: u32, // of the chunk, along the depth
    end: u32,
    loads_x: bool,
    depth_quad: u32, // the block's quad along the depth
    line: u32, // and its quad of pixels or outputs
}

fn work(group: vec3<u32>, local: u32) -> Work {
    let columns = (p.o + TILE - 1u) / TILE;
    let tiles = (p.n * p.ho * p.wo + TILE - 1u) / TILE * columns;
    let chunk = group_index(group) / tiles;
    let tile = group_index(group) % tiles;
    let loads_x = local < 64u;
    let lane = local % 64u;
    let begin = chunk * p.chunk;
    return Work(
        chunk,
        tile / columns * TILE,
        tile % columns * TILE,
        begin,
        min(begin + p.chunk, p.kh * p.kw * ((p.c + 3u) / 4u)),
        loads_x,
        select(lane / 16u, lane % 4u, loads_x),
        select(lane % 16u, lane / 4u, loads_x),
    );
}

fn windows_of(job: Work) -> array<Window, 4> {
    let first = job.first_pixel + 4u * job.line;
    return array<Window, 4>(window(first), window(first + 1u), window(first + 2u), window(first + 3u));
}

@compute @workgroup_size(128)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, local);
    if (job.chunk >= p.chunks) {
        return;
    }
    let windows = windows_of(job);
    let o = job.first_output + 4u * job.line;
    var at = advance(depth_at(job.begin), job.depth_quad);
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE / 4u) {
        if (job.loads_x) {
            let block = mat4x4<f32>(
                input_quads(windows[0], at), input_quads(windows[1], at),
                input_quads(windows[2], at), input_quads(windows[3], at),
            );
            store_slice_a(job.depth_quad, job.line, transpose(block));
        } else {
            store_slice_b(job.depth_quad, job.line, weight_quads(at, o));
        }
        add_slice(&sum, local);
        at = advance(at, SLICE / 4u);
    }
    for (var i = 0u; i < 8u; i++) {
        let pixel = job.first_pixel + tile_row(local, i);
        let first = job.first_output + tile_column(local, i);
        if (pixel < p.n * p.ho * p.wo && first < p.o) {
            if (p.chunks > 1u) {
                store_partial(job.chunk, pixel, first, sum[i]);
            } else {
                y4[(pixel * p.o + first) / 4u] = activate(sum[i] + biases(first));
            }
        }
    }
}

@compute @workgroup_size(128)
fn scalars(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group, local);
    if (job.chunk >= p.chunks) {
        return;
    }
    let windows = windows_of(job);
    let o = job.first_output + 4u * job.line;
    var at = advance(depth_at(job.begin), job.depth_quad);
    var sum: array<vec4<f32>, 8>;
    for (var done = job.begin; done < job.end; done += SLICE / 4u) {
        if (job.loads_x) {
            let block = mat4x4<f32>(
                input_scalars(windows[0], at), input_scalars(windows[1], at),
                input_scalars(windows[2], at), input_scalars(windows[3], at),
            );
            store_slice_a(job.depth_quad, job.line, transpose(block));
        } else {
            let block = mat4x4<f32>(
                weight_scalars(at, 0u, o), weight_scalars(at, 1u, o),
                weight_scalars(at, 2u, o), weight_scalars(at, 3u, o),
            );
            store_slice_b(job.depth_quad, job.line, block);
        }
        add_slice(&sum, local);
        at = advance(at, SLICE / 4u);
    }
    for (var i = 0u; i < 8u; i++) {
        let pixel = job.first_pixel + tile_row(local, i);
        if (pixel < p.n * p.ho * p.wo) {
            store_scalars(job.chunk, pixel, job.first_output + tile_column(local, i), sum[i]);
        }
    }
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + 31u) / 32u;
    let tiles = (p.n * p.ho * p.wo + 7u) / 8u * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_pixel = group_index(group) % tiles / columns * 8u;
    let o = group_index(group) % tiles % columns * 32u + 4u * local;
    let last = p.o - 1u;
    let lanes = p.output_step * vec4<u32>(min(o, last), min(o + 1u, last), min(o + 2u, last), min(o + 3u, last));
    var windows: array<Window, 8>;
    for (var i = 0u; i < 8u; i++) {
        windows[i] = window(first_pixel + i);
    }
    var sum: array<vec4<f32>, 8>;
    let quads = (p.c + 3u) / 4u;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.kh * p.kw * quads);
    for (var tap = begin / quads; tap * quads < end; tap++) {
        let ky = tap / p.kw;
        let kx = tap % p.kw;
        var start: array<u32, 8>;
        var inside: array<bool, 8>;
        for (var i = 0u; i < 8u; i++) {
            let pixel = source(windows[i], ky, kx);
            start[i] = u32(max(pixel, 0)) * p.c;
            inside[i] = pixel >= 0;
        }
        // The channels of this tap that lie in the chunk.
        let last_c = min(4u * (end - tap * quads), p.c);
        for (var c = 4u * (max(begin, tap * quads) - tap * quads); c < last_c; c++) {
            let at = tap * p.c * p.o + c * p.channel_step;
            let v = vec4<f32>(weight[at + lanes.x], weight[at + lanes.y], weight[at + lanes.z], weight[at + lanes.w]);
            for (var i = 0u; i < 8u; i++) {
                sum[i] += select(0.0, x[start[i] + c], inside[i]) * v;
            }
        }
    }
    for (var i = 0u; i < 8u; i++) {
        if (first_pixel + i < p.n * p.ho * p.wo) {
            store_scalars(chunk, first_pixel + i, o, sum[i]);
        }
    }
}

@compute @workgroup_size(256)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    let len = p.n * p.ho * p.wo * p.o;
    if (i < len) {
        var sum = biases(i % p.o).x;
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            sum += partial[chunk * len + i];
        }
        y[i] = activate(vec4<f32>(sum)).x;
    }
}
