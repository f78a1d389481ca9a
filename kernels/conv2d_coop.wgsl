// y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c, o])
// use: linear, conv, coop
//
// By cooperative matrices: factors are rounded to f16, sums are of f32. An implicit matrix product as in conv2d.wgsl:
// rows are the output pixels (N Ho Wo), columns the outputs O, the depth runs over taps and quads of channels
// (Kh Kw C / 4). A workgroup makes a tile of COOP_TILE x COOP_TILE (lib/coop.wgsl) and loads the next slice while it
// works on one; C and O are multiples of 4. A great depth is cut into chunks, whose sums go to `partial`;
// `total` adds them in order. The grid is folded into y.
enable f16;
enable wgpu_cooperative_matrix;

@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
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

// A place along the depth: its number, tap and quad of channels.
struct Depth {
    index: u32,
    ky: u32,
    kx: u32,
    quad: u32,
}

fn depth_at(index: u32) -> Depth {
    let quads = p.c / 4u;
    let tap = index / quads;
    return Depth(index, tap / p.kw, tap % p.kw, index - tap * quads);
}

fn advance(at: Depth, by: u32) -> Depth {
    let quads = p.c / 4u;
    var next = at;
    next.index += by;
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

// The place in x4 of a pixel's channels at a depth, any where it lies outside the picture, and whether it does not.
fn address(place: Window, at: Depth, end: u32) -> vec2<u32> {
    let iy = place.y + i32(at.ky * p.dilation);
    let ix = place.x + i32(at.kx * p.dilation);
    let inside = at.index < end && u32(iy) < p.h && u32(ix) < p.w;
    let pixel = select(0u, u32((place.row + iy) * i32(p.w) + ix), inside);
    return vec2<u32>(pixel * (p.c / 4u) + at.quad, u32(inside));
}

// Of four pixels each the channels of a quad, a column a pixel.
fn fetch_input(windows: array<Window, 4>, at: Depth, end: u32) -> Fetched {
    let a = address(windows[0], at, end);
    let b = address(windows[1], at, end);
    let c = address(windows[2], at, end);
    let d = address(windows[3], at, end);
    return Fetched(
        mat4x4<f32>(x4[a.x], x4[b.x], x4[c.x], x4[d.x]),
        vec4<bool>(a.y != 0u, b.y != 0u, c.y != 0u, d.y != 0u),
    );
}

// Of a tap's channels 4 quad + 0..3, a column each, the weights of outputs o..o+3, or of those outputs, a column each,
// the weights of these channels.
fn fetch_weights(at: Depth, end: u32, o: u32) -> Fetched {
    let inside = at.index < end && o < p.o;
    let place = (at.ky * p.kw + at.kx) * p.c * p.o + 4u * at.quad * p.channel_step + o * p.output_step;
    let first = select(0u, place, inside) / 4u;
    let next = max(p.channel_step, p.output_step) / 4u;
    return Fetched(
        mat4x4<f32>(weight4[first], weight4[first + next], weight4[first + 2u * next], weight4[first + 3u * next]),
        vec4<bool>(inside),
    );
}

fn store_weights(to: Block, fetched: Fetched) {
    var m = masked(fetched);
    if (p.output_step == 1u) {
        m = transpose(m);
    }
    store_columns(to, m);
}

fn biases(o: u32) -> vec4<f32> {
    if (p.biased == 0u) {
        return vec4<f32>();
    }
    let last = p.o - 1u;
    return vec4<f32>(bias[min(o, last)], bias[min(o + 1u, last)], bias[min(o + 2u, last)], bias[min(o + 3u, last)]);
}

// A matrix of sums, whose first pixel and output are these: of a sum that is whole, what follows; of one of several
// chunks the sum itself.
fn store(sum: ptr<function, SumMatrix>, local: u32, chunk: u32, first_pixel: u32, first_output: u32) {
    let pixels = p.n * p.ho * p.wo;
    lay_out(sum, local);
    for (var at = local % SUBGROUP; at < SIDE * SIDE / 4u; at += SUBGROUP) {
        let row = at / (SIDE / 4u);
        let pixel = first_pixel + row;
        let o = first_output + 4u * (at % (SIDE / 4u));
        if (pixel < pixels && o < p.o) {
            let v = patch_quad(local, row, at % (SIDE / 4u));
            if (p.chunks > 1u) {
                partial4[((chunk * pixels + pixel) * p.o + o) / 4u] = v;
            } else {
                y4[(pixel * p.o + o) / 4u] = activate(v + biases(o));
            }
        }
    }
}

@compute @workgroup_size(COOP_GROUP)
fn coop(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + COOP_TILE - 1u) / COOP_TILE;
    let tiles = (p.n * p.ho * p.wo + COOP_TILE - 1u) / COOP_TILE * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_pixel = group_index(group) % tiles / columns * COOP_TILE;
    let first_output = group_index(group) % tiles % columns * COOP_TILE;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.kh * p.kw * p.c / 4u);
    let rows = row_block(local);
    let weights = column_block(local);
    let line = first_pixel + 4u * rows.line;
    let windows = array<Window, 4>(window(line), window(line + 1u), window(line + 2u), window(line + 3u));
    let o = first_output + 4u * weights.line;
    var row_at = depth_at(begin + rows.depth);
    var column_at = depth_at(begin + weights.depth);
    var row_block = fetch_input(windows, row_at, end);
    var column_block = fetch_weights(column_at, end, o);
    var s00: SumMatrix;
    var s01: SumMatrix;
    var s10: SumMatrix;
    var s11: SumMatrix;
    var s20: SumMatrix;
    var s21: SumMatrix;
    var s30: SumMatrix;
    var s31: SumMatrix;
    for (var done = begin; done < end; done += COOP_DEPTHS) {
        workgroupBarrier();
        if (rows.loads) {
            store_rows(rows, masked(row_block));
        }
        if (weights.loads) {
            store_weights(weights, column_block);
        }
        workgroupBarrier();
        if (done + COOP_DEPTHS < end) {
            // On its way while this slice is worked on.
            row_at = advance(row_at, COOP_DEPTHS);
            column_at = advance(column_at, COOP_DEPTHS);
            if (rows.loads) {
                row_block = fetch_input(windows, row_at, end);
            }
            if (weights.loads) {
                column_block = fetch_weights(column_at, end, o);
            }
        }
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, 0u);
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, SIDE);
    }
    let pixel = first_pixel + coop_row(local);
    let left = first_output + coop_column(local);
    store(&s00, local, chunk, pixel, left);
    store(&s01, local, chunk, pixel, left + SIDE);
    store(&s10, local, chunk, pixel + SIDE, left);
    store(&s11, local, chunk, pixel + SIDE, left + SIDE);
    store(&s20, local, chunk, pixel + 2u * SIDE, left);
    store(&s21, local, chunk, pixel + 2u * SIDE, left + SIDE);
    store(&s30, local, chunk, pixel + 3u * SIDE, left);
    store(&s31, local, chunk, pixel + 3u * SIDE, left + SIDE);
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
