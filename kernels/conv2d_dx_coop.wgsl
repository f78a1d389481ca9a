// dx[n, iy, ix, c] = sum over ky, kx, o of dz[n, oy, ox, o] w[ky, kx, c, o], where oy s + ky d - top = iy and
// ox s + kx d - left = ix: for each input pixel the taps that reach it.
// use: linear, conv, coop
//
// By cooperative matrices: factors are rounded to f16, sums are of f32. As the forward pass of a transposed convolution
// it also adds a bias and applies an activation. Phases of pixels that the same taps reach, each an implicit matrix
// product, are those of conv2d_dx.wgsl: rows are a phase's pixels, columns the channels C, the depth runs over its taps
// and quads of outputs (O / 4). C and O are multiples of 4. Tiles and chunks are those of conv2d_coop.wgsl; phases come
// before chunks.
enable f16;
enable wgpu_cooperative_matrix;

@group(0) @binding(1) var<storage, read> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
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

// A place along the depth: its number, tap and quad of outputs.
struct Depth {
    index: u32,
    ky: u32,
    kx: u32,
    quad: u32,
}

fn depth_at(index: u32, ay: Axis, ax: Axis) -> Depth {
    let quads = p.o / 4u;
    let tap = index / quads;
    let row = tap / max(ax.taps, 1u);
    let column = tap - row * ax.taps;
    return Depth(index, ay.first_tap + row * p.tap_step, ax.first_tap + column * p.tap_step, index - tap * quads);
}

fn advance(at: Depth, by: u32, ax: Axis) -> Depth {
    let quads = p.o / 4u;
    var next = at;
    next.index += by;
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

fn work(group: vec3<u32>) -> Work {
    // Phases across and down, and the pixels of the largest.
    let wide = min(p.stride, p.w);
    let tall = min(p.stride, p.h);
    let pixels = p.n * ((p.h + p.stride - 1u) / p.stride) * ((p.w + p.stride - 1u) / p.stride);
    let across = (p.c + COOP_TILE - 1u) / COOP_TILE;
    let tiles = (pixels + COOP_TILE - 1u) / COOP_TILE * across;
    let tile = group_index(group) % tiles;
    let phase = group_index(group) / tiles % (wide * tall);
    let chunk = group_index(group) / tiles / (wide * tall);
    let ay = axis(phase / wide, p.h, p.pad_top, p.kh);
    let ax = axis(phase % wide, p.w, p.pad_left, p.kw);
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, ay.taps * ax.taps * (p.o / 4u));
    return Work(chunk, ay, ax, tile / across * COOP_TILE, tile % across * COOP_TILE, begin, end);
}

fn reaches_of(job: Work, line: u32) -> array<Reach, 4> {
    let first = job.first_pixel + 4u * line;
    return array<Reach, 4>(
        reach(first, job.ay, job.ax), reach(first + 1u, job.ay, job.ax),
        reach(first + 2u, job.ay, job.ax), reach(first + 3u, job.ay, job.ax),
    );
}

// The place in dz4 of the first outputs of the pixel so far above and to the left, any where it lies outside the
// picture, and whether it does not.
fn address(place: Reach, up: i32, left: i32, live: bool) -> vec2<u32> {
    let oy = place.y - up;
    let ox = place.x - left;
    let inside = live && u32(oy) < p.ho && u32(ox) < p.wo;
    let pixel = select(0u, u32((place.row + oy) * i32(p.wo) + ox), inside);
    return vec2<u32>(pixel * (p.o / 4u), u32(inside));
}

// Of four pixels each the outputs of a quad, a column a pixel.
fn fetch_gradient(job: Work, reaches: array<Reach, 4>, at: Depth) -> Fetched {
    let up = i32((at.ky * p.dilation - job.ay.phase) / p.stride);
    let left = i32((at.kx * p.dilation - job.ax.phase) / p.stride);
    let live = at.index < job.end;
    let a = address(reaches[0], up, left, live);
    let b = address(reaches[1], up, left, live);
    let c = address(reaches[2], up, left, live);
    let d = address(reaches[3], up, left, live);
    return Fetched(
        mat4x4<f32>(dz4[a.x + at.quad], dz4[b.x + at.quad], dz4[c.x + at.quad], dz4[d.x + at.quad]),
        vec4<bool>(a.y != 0u, b.y != 0u, c.y != 0u, d.y != 0u),
    );
}

// Of a tap's outputs 4 quad + 0..3, a column each, the weights of channels c..c+3, or of those channels, a column each,
// the weights of these outputs.
fn fetch_weights(job: Work, at: Depth, c: u32) -> Fetched {
    // A phase that no tap reaches fetches a block, too, and leaves it.
    let inside = at.index < job.end && c < p.c;
    let place = (at.ky * p.kw + at.kx) * p.c * p.o + 4u * at.quad * p.output_step + c * p.channel_step;
    let first = select(0u, place, inside) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    return Fetched(
        mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]),
        vec4<bool>(inside),
    );
}

fn store_weights(to: Block, fetched: Fetched) {
    var m = masked(fetched);
    if (p.output_step != 1u) {
        m = transpose(m);
    }
    store_columns(to, m);
}

fn biases(c: u32) -> vec4<f32> {
    if (p.biased == 0u) {
        return vec4<f32>();
    }
    let last = p.c - 1u;
    return vec4<f32>(bias[min(c, last)], bias[min(c + 1u, last)], bias[min(c + 2u, last)], bias[min(c + 3u, last)]);
}

// A matrix of sums, whose first pixel of the phase and channel are these: of a sum that is whole, what follows; of one
// of several chunks the sum itself.
fn store(sum: ptr<function, SumMatrix>, local: u32, job: Work, first_pixel: u32, first_channel: u32) {
    lay_out(sum, local);
    for (var at = local % SUBGROUP; at < SIDE * SIDE / 4u; at += SUBGROUP) {
        let row = at / (SIDE / 4u);
        let c = first_channel + 4u * (at % (SIDE / 4u));
        if (first_pixel + row < p.n * job.ay.count * job.ax.count && c < p.c) {
            let v = patch_quad(local, row, at % (SIDE / 4u));
            let pixel = reach(first_pixel + row, job.ay, job.ax).pixel;
            if (p.chunks > 1u) {
                partial4[((job.chunk * p.n * p.h * p.w + pixel) * p.c + c) / 4u] = v;
            } else {
                dx4[(pixel * p.c + c) / 4u] = activate(v + biases(c));
            }
        }
    }
}

@compute @workgroup_size(COOP_GROUP)
fn coop(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = work(group);
    if (job.chunk >= p.chunks) {
        return;
    }
    let rows = row_block(local);
    let weights = column_block(local);
    let reaches = reaches_of(job, rows.line);
    let c = job.first_channel + 4u * weights.line;
    var row_at = depth_at(job.begin + rows.depth, job.ay, job.ax);
    var column_at = depth_at(job.begin + weights.depth, job.ay, job.ax);
    var row_block = fetch_gradient(job, reaches, row_at);
    var column_block = fetch_weights(job, column_at, c);
    var s00: SumMatrix;
    var s01: SumMatrix;
    var s10: SumMatrix;
    var s11: SumMatrix;
    var s20: SumMatrix;
    var s21: SumMatrix;
    var s30: SumMatrix;
    var s31: SumMatrix;
    for (var done = job.begin; done < job.end; done += COOP_DEPTHS) {
        workgroupBarrier();
        if (rows.loads) {
            store_rows(rows, masked(row_block));
        }
        if (weights.loads) {
            store_weights(weights, column_block);
        }
        workgroupBarrier();
        if (done + COOP_DEPTHS < job.end) {
            // On its way while this slice is worked on.
            row_at = advance(row_at, COOP_DEPTHS, job.ax);
            column_at = advance(column_at, COOP_DEPTHS, job.ax);
            if (rows.loads) {
                row_block = fetch_gradient(job, reaches, row_at);
            }
            if (weights.loads) {
                column_block = fetch_weights(job, column_at, c);
            }
        }
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, 0u);
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, SIDE);
    }
    let pixel = job.first_pixel + coop_row(local);
    let left = job.first_channel + coop_column(local);
    store(&s00, local, job, pixel, left);
    store(&s01, local, job, pixel, left + SIDE);
    store(&s10, local, job, pixel + SIDE, left);
    store(&s11, local, job, pixel + SIDE, left + SIDE);
    store(&s20, local, job, pixel + 2u * SIDE, left);
    store(&s21, local, job, pixel + 2u * SIDE, left + SIDE);
    store(&s30, local, job, pixel + 3u * SIDE, left);
    store(&s31, local, job, pixel + 3u * SIDE, left + SIDE);
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
