// y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c, o])
// use: linear, conv, lanes, tile, wide_tile, narrow_tile, software_tile
// Long because: six bodies share what they know of pixels, taps and weights.
//
// An implicit matrix product: rows are the output pixels (N Ho Wo), columns the outputs O, the depth runs over taps and
// quads of channels (Kh Kw C / 4). Pixels outside the picture are zero.
//
// `quads` and `scalars`: a workgroup of 128 makes a tile of 64 x 64 through workgroup memory, half of it loading x and
// half w, each invocation a block of 4 x 4; `quads` needs C and O that are multiples of 4. `wide`: a workgroup of 256
// makes a tile of 128 x 128, and loads the next slice while it works on one; C is a multiple of 16, so that a slice
// lies within a tap, O one of 4. `narrow`, for up to 4 outputs: a workgroup of 256 makes a tile of 256 x 4; C is a
// multiple of 16. For software drivers, from registers alone: of `software_quads` a workgroup of 8 makes a tile of 16 x
// 64, C and O are multiples of 4; of `software` an invocation makes 8 pixels x 4 outputs. A great depth is
// cut into chunks, so that no invocation loops for long: their sums go to `partial`, and `total` adds them in order. The
// grid is folded into y.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (N, H, W, C)
@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (Kh, Kw, C, O), or (Kh, Kw, O, C)
@group(0) @binding(2) var<storage, read> weight4: array<vec4<f32>>; // (Kh, Kw, C, O / 4), or (Kh, Kw, O, C / 4)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (O), where `p.biased`
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(4) var<storage, read_write> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(5) var<storage, read_write> partial: array<f32>; // (chunks, N, Ho, Wo, O), of more than one chunk
@group(0) @binding(5) var<storage, read_write> partial4: array<vec4<f32>>; // (chunks, N, Ho, Wo, O / 4)

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

// Of four pixels each the channels of a quad, a column a pixel.
fn fetch_input(windows: array<Window, 4>, at: Depth, quad: u32) -> Fetched {
    let a = address(windows[0], at);
    let b = address(windows[1], at);
    let c = address(windows[2], at);
    let d = address(windows[3], at);
    return Fetched(
        mat4x4<f32>(x4[a.x + quad], x4[b.x + quad], x4[c.x + quad], x4[d.x + quad]),
        vec4<bool>(a.y != 0u, b.y != 0u, c.y != 0u, d.y != 0u),
    );
}

// The place in x4 of a pixel's first channels under a tap, any where it lies outside the picture, and whether it does
// not.
fn address(place: Window, at: Depth) -> vec2<u32> {
    let iy = place.y + i32(at.ky * p.dilation);
    let ix = place.x + i32(at.kx * p.dilation);
    let inside = u32(iy) < p.h && u32(ix) < p.w;
    let pixel = select(0u, u32((place.row + iy) * i32(p.w) + ix), inside);
    return vec2<u32>(pixel * (p.c / 4u) + at.quad, u32(inside));
}

// Of a tap's channels 4 quad + 0..3, a column each, the weights of outputs o..o+3, or of those outputs, a column each,
// the weights of these channels.
fn fetch_weights(at: Depth, quad: u32, o: u32) -> Fetched {
    let inside = o < p.o;
    let tap = (at.ky * p.kw + at.kx) * p.c * p.o;
    let first = (tap + 4u * (at.quad + quad) * p.channel_step + select(0u, o, inside) * p.output_step) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    return Fetched(
        mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]),
        vec4<bool>(inside),
    );
}

// A block of the slice at `at`, which is the same for the whole workgroup.
fn fetch(job: Loader, windows: array<Window, 4>, at: Depth, o: u32) -> Fetched {
    if (job.rows) {
        return fetch_input(windows, at, job.depth_quad);
    }
    return fetch_weights(at, job.depth_quad, o);
}

// An invocation's place in a tile.
struct WideTile {
    chunk: u32,
    first_pixel: u32,
    first_output: u32,
    local: u32,
}

// The two quads of its i-th row.
fn store_wide_quads(tile: WideTile, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let pixels = p.n * p.ho * p.wo;
    let pixel = tile.first_pixel + wide_row(tile.local, i);
    let o = tile.first_output + wide_column(tile.local);
    if (pixel < pixels) {
        store_quad(tile.chunk, pixel, o, left);
        store_quad(tile.chunk, pixel, o + 32u, right);
    }
}

fn store_quad(chunk: u32, pixel: u32, o: u32, sum: vec4<f32>) {
    if (o < p.o) {
        if (p.chunks > 1u) {
            partial4[((chunk * p.n * p.ho * p.wo + pixel) * p.o + o) / 4u] = sum;
        } else {
            y4[(pixel * p.o + o) / 4u] = activate(sum + biases(o));
        }
    }
}

@compute @workgroup_size(256)
fn wide(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = p.n * p.ho * p.wo;
    let columns = (p.o + WIDE - 1u) / WIDE;
    let tiles = (pixels + WIDE - 1u) / WIDE * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_pixel = group_index(group) % tiles / columns * WIDE;
    let first_output = group_index(group) % tiles % columns * WIDE;
    let job = loader(local, local < 128u || p.output_step != 1u);
    let line = first_pixel + 4u * job.line;
    let windows = array<Window, 4>(window(line), window(line + 1u), window(line + 2u), window(line + 3u));
    let o = first_output + 4u * job.line;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.kh * p.kw * p.c / 4u);
    var at = depth_at(begin);
    var fetched = fetch(job, windows, at, o);
    var sum: array<vec4<f32>, 16>;
    for (var done = begin; done < end; done += WIDE_SLICE / 4u) {
        workgroupBarrier();
        store_wide(job, fetched, job.rows || p.output_step != 1u);
        workgroupBarrier();
        if (done + WIDE_SLICE / 4u < end) {
            // On its way while this slice is worked on.
            at = advance(at, WIDE_SLICE / 4u);
            fetched = fetch(job, windows, at, o);
        }
        add_wide_slice(&sum, local);
    }
    let tile = WideTile(chunk, first_pixel, first_output, local);
    // One by one: an index that is computed would keep the sums out of the registers.
    store_wide_quads(tile, 0u, sum[0], sum[1]);
    store_wide_quads(tile, 1u, sum[2], sum[3]);
    store_wide_quads(tile, 2u, sum[4], sum[5]);
    store_wide_quads(tile, 3u, sum[6], sum[7]);
    store_wide_quads(tile, 4u, sum[8], sum[9]);
    store_wide_quads(tile, 5u, sum[10], sum[11]);
    store_wide_quads(tile, 6u, sum[12], sum[13]);
    store_wide_quads(tile, 7u, sum[14], sum[15]);
}

// The i-th of an invocation's sums.
fn store_tile_scalars(job: Work, local: u32, i: u32, sum: vec4<f32>) {
    let pixel = job.first_pixel + tile_row(local, i);
    if (pixel < p.n * p.ho * p.wo) {
        store_scalars(job.chunk, pixel, job.first_output + tile_column(local, i), sum);
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
    // One by one: an index that is computed keeps the sums out of the registers (2.5 ms for 0.2 on an H200).
    store_tile_scalars(job, local, 0u, sum[0]);
    store_tile_scalars(job, local, 1u, sum[1]);
    store_tile_scalars(job, local, 2u, sum[2]);
    store_tile_scalars(job, local, 3u, sum[3]);
    store_tile_scalars(job, local, 4u, sum[4]);
    store_tile_scalars(job, local, 5u, sum[5]);
    store_tile_scalars(job, local, 6u, sum[6]);
    store_tile_scalars(job, local, 7u, sum[7]);
}

@compute @workgroup_size(256)
fn narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = p.n * p.ho * p.wo;
    let tiles = (pixels + NARROW - 1u) / NARROW;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_pixel = group_index(group) % tiles * NARROW;
    let line = first_pixel + local / 4u * 4u;
    let windows = array<Window, 4>(window(line), window(line + 1u), window(line + 2u), window(line + 3u));
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.kh * p.kw * p.c / 4u);
    var at = depth_at(begin);
    var sum: vec4<f32>;
    for (var done = begin; done < end; done += NARROW_SLICE / 4u) {
        let fetched = fetch_input(windows, at, local % 4u);
        var columns: vec4<f32>;
        if (local < NARROW_SLICE) {
            columns = weight_scalars(Depth(at.ky, at.kx, at.quad + local / 4u), local % 4u, 0u);
        }
        sum = add_narrow_slice(sum, local, fetched, columns);
        at = advance(at, NARROW_SLICE / 4u);
    }
    if (first_pixel + local < pixels) {
        store_scalars(chunk, first_pixel + local, 0u, sum);
    }
}

// Of a tap's channels 4 quad + 0..3, a column each, the weights of outputs o..o+3, any beyond the last one.
fn weight_block(at: Depth, o: u32) -> mat4x4<f32> {
    let block = fetch_weights(at, 0u, o).block;
    if (p.output_step == 1u) {
        return block;
    }
    return transpose(block);
}

@compute @workgroup_size(8)
fn software_quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = p.n * p.ho * p.wo;
    let columns = (p.o + SOFTWARE_COLUMNS - 1u) / SOFTWARE_COLUMNS;
    let tiles = (pixels + SOFTWARE_ROWS - 1u) / SOFTWARE_ROWS * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_pixel = group_index(group) % tiles / columns * SOFTWARE_ROWS;
    let o = group_index(group) % tiles % columns * SOFTWARE_COLUMNS + 4u * local;
    var windows: array<Window, 16>;
    for (var i = 0u; i < 16u; i++) {
        windows[i] = window(first_pixel + i);
    }
    var sum: array<vec4<f32>, 32>;
    // Not p.c / 4: as a constant below 4 that is a zero to divide by, and the text compiles for no body.
    let quads = (p.c + 3u) / 4u;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.kh * p.kw * quads);
    for (var tap = begin / quads; tap * quads < end; tap++) {
        var place: array<vec2<u32>, 16>;
        for (var i = 0u; i < 16u; i++) {
            place[i] = address(windows[i], Depth(tap / p.kw, tap % p.kw, 0u));
        }
        // The quads of this tap that lie in the chunk.
        let last = min(end - tap * quads, quads);
        for (var quad = max(begin, tap * quads) - tap * quads; quad < last; quad++) {
            let at = Depth(tap / p.kw, tap % p.kw, quad);
            let left = weight_block(at, o);
            let right = weight_block(at, o + 32u);
            // Two loops: drivers unroll no longer ones, and sums must stay in registers.
            for (var i = 0u; i < 8u; i++) {
                add_row(&sum, i, left, right, select(vec4<f32>(), x4[place[i].x + quad], place[i].y != 0u));
            }
            for (var i = 8u; i < 16u; i++) {
                add_row(&sum, i, left, right, select(vec4<f32>(), x4[place[i].x + quad], place[i].y != 0u));
            }
        }
    }
    for (var i = 0u; i < 16u; i++) {
        if (first_pixel + i < pixels) {
            store_quad(chunk, first_pixel + i, o, sum[2u * i]);
            store_quad(chunk, first_pixel + i, o + 32u, sum[2u * i + 1u]);
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
