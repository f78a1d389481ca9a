// dw[ky, kx, c, o] = sum over n, oy, ox of x[n, oy s + ky d - top, ox s + kx d - left, c] dz[n, oy, ox, o]
// use: linear, conv, coop
//
// By cooperative matrices: factors are rounded to f16, sums are of f32. A matrix product as in conv2d_dw.wgsl: rows are
// taps and channels (Kh Kw C), columns the outputs O, the depth runs over the output pixels (N Ho Wo). C and O are
// multiples of 4. Tiles are those of conv2d_coop.wgsl; of several chunks of `p.chunk` pixels the sums go to `partial`,
// and `total` adds them in order. The grid is folded into y.
enable f16;
enable wgpu_cooperative_matrix;

@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
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

fn store_quad(chunk: u32, at: u32, sum: vec4<f32>) {
    if (p.chunks > 1u) {
        partial4[(chunk * p.kh * p.kw * p.c * p.o + at) / 4u] = sum;
    } else {
        dw4[at / 4u] = sum;
    }
}

// A matrix of sums, whose first row (of taps and channels) and output are these.
fn store(sum: ptr<function, SumMatrix>, local: u32, chunk: u32, first_row: u32, first_output: u32) {
    lay_out(sum, local);
    for (var at = local % SUBGROUP; at < SIDE * SIDE / 4u; at += SUBGROUP) {
        let across = at % (SIDE / 4u);
        let along = at / (SIDE / 4u);
        if (p.output_step == 1u) {
            let row = first_row + along;
            let o = first_output + 4u * across;
            if (row < p.kh * p.kw * p.c && o < p.o) {
                store_quad(chunk, row * p.o + o, patch_quad(local, along, across));
            }
        } else {
            // A quad of channels of an output.
            let row = first_row + 4u * across;
            let o = first_output + along;
            if (row < p.kh * p.kw * p.c && o < p.o) {
                let tap = row / p.c;
                let place = (tap * p.o + o) * p.c + row - tap * p.c;
                store_quad(chunk, place, patch_column(local, 4u * across, along));
            }
        }
    }
}

@compute @workgroup_size(COOP_GROUP)
fn coop(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quads = p.c / 4u;
    let columns = (p.o + COOP_TILE - 1u) / COOP_TILE;
    let tiles = (p.kh * p.kw * p.c + COOP_TILE - 1u) / COOP_TILE * columns;
    let chunk = group_index(group) / tiles;
    if (chunk >= p.chunks) {
        return;
    }
    let first_row = group_index(group) % tiles / columns * COOP_TILE;
    let first_output = group_index(group) % tiles % columns * COOP_TILE;
    let begin = chunk * p.chunk;
    let end = min(begin + p.chunk, p.n * p.ho * p.wo);
    let rows = row_block(local);
    let outputs = column_block(local);
    let tap = (first_row / 4u + rows.line) / quads;
    let quad = (first_row / 4u + rows.line) % quads;
    let o = first_output + 4u * outputs.line;
    var row_at = pixel_at(begin + 4u * rows.depth);
    var column_at = begin + 4u * outputs.depth;
    var row_block = fetch_input(row_at, end, tap / p.kw, tap % p.kw, quad);
    var column_block = fetch_gradient(column_at, end, o);
    var s00: SumMatrix;
    var s01: SumMatrix;
    var s10: SumMatrix;
    var s11: SumMatrix;
    var s20: SumMatrix;
    var s21: SumMatrix;
    var s30: SumMatrix;
    var s31: SumMatrix;
    for (var done = begin; done < end; done += COOP_SLICE) {
        workgroupBarrier();
        // Blocks were read a column a pixel.
        if (rows.loads) {
            store_rows(rows, transpose(masked(row_block)));
        }
        if (outputs.loads) {
            store_columns(outputs, transpose(masked(column_block)));
        }
        workgroupBarrier();
        if (done + COOP_SLICE < end) {
            // On its way while this slice is worked on.
            row_at = advance(row_at, COOP_SLICE);
            column_at += COOP_SLICE;
            if (rows.loads) {
                row_block = fetch_input(row_at, end, tap / p.kw, tap % p.kw, quad);
            }
            if (outputs.loads) {
                column_block = fetch_gradient(column_at, end, o);
            }
        }
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, 0u);
        add_matrices(&s00, &s01, &s10, &s11, &s20, &s21, &s30, &s31, local, SIDE);
    }
    let row = first_row + coop_row(local);
    let left = first_output + coop_column(local);
    store(&s00, local, chunk, row, left);
    store(&s01, local, chunk, row, left + SIDE);
    store(&s10, local, chunk, row + SIDE, left);
    store(&s11, local, chunk, row + SIDE, left + SIDE);
    store(&s20, local, chunk, row + 2u * SIDE, left);
    store(&s21, local, chunk, row + 2u * SIDE, left + SIDE);
    store(&s30, local, chunk, row + 3u * SIDE, left);
    store(&s31, local, chunk, row + 3u * SIDE, left + SIDE);
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
