// dw[ky, kx, c, o] = sum over n, oy, ox of x[n, oy + ky d - top, ox + kx d - left, c] dz[n, oy, ox, o]
// use: linear, conv, lanes, tile, winograd, winograd_tiles
//
// Winograd's filtering F(4x4, 3x3) of stride 1, the adjoint of each of its steps: dw = G^T (sum over tiles of
// (B^T d B) * (A dz A^T)) G. Source, points, tiles and the grids of a dilation are those of conv2d_winograd.wgsl;
// transforms are those of the twin (src/engine/ops/conv2d/winograd/gradient.rs).
//
// In order: `tiles` writes V = B^T d B and `gradients` Z = A dz A^T, `product` M = V^T Z at each of the 36 points, a
// matrix product of C x tiles by tiles x O, and `kernel` dw = G^T M G. Tiles are cut into `CHUNKS` parts, whose sums
// `kernel` adds in order. C and O are multiples of 4.

const CHUNKS: u32 = 1u;

@group(0) @binding(1) var<storage, read> x2: array<vec2<f32>>; // (N, H, W, C / 2)
@group(0) @binding(2) var<storage, read> dz2: array<vec2<f32>>; // (N, Ho, Wo, O / 2)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // (3, 3, C, O), or (3, 3, O, C)
@group(0) @binding(4) var<storage, read_write> v4: array<vec4<f32>>; // (36, tiles, C / 4)
@group(0) @binding(4) var<storage, read_write> v2: array<vec2<f32>>; // (36, tiles, C / 2)
@group(0) @binding(5) var<storage, read_write> z4: array<vec4<f32>>; // (36, tiles, O / 4)
@group(0) @binding(5) var<storage, read_write> z2: array<vec2<f32>>; // (36, tiles, O / 2)
@group(0) @binding(6) var<storage, read_write> m4: array<vec4<f32>>; // (CHUNKS, 36, C, O / 4)

fn sides() -> Sides {
    let tiles = p.n * tiles_along(p.ho) * p.dilation * p.dilation * tiles_along(p.wo);
    return Sides(p.h, p.w, p.c, p.ho, p.wo, p.o, i32(p.pad_top), i32(p.pad_left), tiles);
}

// The gradient of the output in row i and column j of a tile.
fn gradient_at(s: Sides, at: Place, i: u32, j: u32, pair: u32) -> vec2<f32> {
    let oy = at.oy + i * p.dilation;
    let ox = at.ox + j * p.dilation;
    if (oy >= s.ho || ox >= s.wo) {
        return vec2<f32>();
    }
    return dz2[((at.image * s.ho + oy) * s.wo + ox) * (s.o / 2u) + pair];
}

fn gradient_line(s: Sides, at: Place, i: u32, pair: u32) -> Line {
    return transform_gradients(
        gradient_at(s, at, i, 0u, pair), gradient_at(s, at, i, 1u, pair),
        gradient_at(s, at, i, 2u, pair), gradient_at(s, at, i, 3u, pair),
    );
}

@compute @workgroup_size(64)
fn gradients(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let i = group_index(group) * 64u + local;
    let tile = i / (s.o / 2u);
    let pair = i % (s.o / 2u);
    if (tile >= s.tiles) {
        return;
    }
    let at = place(s, tile);
    let a = gradient_line(s, at, 0u, pair);
    let b = gradient_line(s, at, 1u, pair);
    let c = gradient_line(s, at, 2u, pair);
    let d = gradient_line(s, at, 3u, pair);
    let step = s.tiles * (s.o / 2u);
    store_gradients(i, step, transform_gradients(a.a, b.a, c.a, d.a));
    store_gradients(i + step, step, transform_gradients(a.b, b.b, c.b, d.b));
    store_gradients(i + 2u * step, step, transform_gradients(a.c, b.c, c.c, d.c));
    store_gradients(i + 3u * step, step, transform_gradients(a.d, b.d, c.d, d.d));
    store_gradients(i + 4u * step, step, transform_gradients(a.e, b.e, c.e, d.e));
    store_gradients(i + 5u * step, step, transform_gradients(a.f, b.f, c.f, d.f));
}

fn store_gradients(first: u32, step: u32, z: Line) {
    z2[first] = z.a;
    z2[first + 6u * step] = z.b;
    z2[first + 12u * step] = z.c;
    z2[first + 18u * step] = z.d;
    z2[first + 24u * step] = z.e;
    z2[first + 30u * step] = z.f;
}

// Of tiles `first`..`first + 3` what lies in a quad of channels, a column a tile; `ahead` quads lie before the point's.
fn v_block(ahead: u32, first: u32, quad: u32, quads: u32, end: u32) -> mat4x4<f32> {
    let at = ahead + first * quads + quad;
    var m = mat4x4<f32>();
    if (first < end) { m[0] = v4[at]; }
    if (first + 1u < end) { m[1] = v4[at + quads]; }
    if (first + 2u < end) { m[2] = v4[at + 2u * quads]; }
    if (first + 3u < end) { m[3] = v4[at + 3u * quads]; }
    return m;
}

fn z_block(ahead: u32, first: u32, quad: u32, quads: u32, end: u32) -> mat4x4<f32> {
    let at = ahead + first * quads + quad;
    var m = mat4x4<f32>();
    if (first < end) { m[0] = z4[at]; }
    if (first + 1u < end) { m[1] = z4[at + quads]; }
    if (first + 2u < end) { m[2] = z4[at + 2u * quads]; }
    if (first + 3u < end) { m[3] = z4[at + 3u * quads]; }
    return m;
}

@compute @workgroup_size(128)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let columns = (s.o + TILE - 1u) / TILE;
    let of_point = (s.c + TILE - 1u) / TILE * columns;
    let chunk = group_index(group) / (36u * of_point);
    if (chunk >= CHUNKS) {
        return;
    }
    let point = group_index(group) / of_point % 36u;
    let first_channel = group_index(group) % of_point / columns * TILE;
    let first_output = group_index(group) % of_point % columns * TILE;
    // Whole slices.
    let of_chunk = ((s.tiles + CHUNKS - 1u) / CHUNKS + SLICE - 1u) / SLICE * SLICE;
    let begin = chunk * of_chunk;
    let end = min(begin + of_chunk, s.tiles);
    // A block of 4 x 4 of V, or of Z, in each slice; what lies beyond the last channel or output is not stored.
    let lane = local % 64u;
    let depth_quad = lane / 16u;
    let line = lane % 16u;
    let row = min(first_channel / 4u + line, s.c / 4u - 1u);
    let column = min(first_output / 4u + line, s.o / 4u - 1u);
    var sum: array<vec4<f32>, 8>;
    for (var done = begin; done < end; done += SLICE) {
        let first = done + 4u * depth_quad;
        if (local < 64u) {
            store_slice_a(depth_quad, line, v_block(point * s.tiles * (s.c / 4u), first, row, s.c / 4u, end));
        } else {
            store_slice_b(depth_quad, line, z_block(point * s.tiles * (s.o / 4u), first, column, s.o / 4u, end));
        }
        add_slice(&sum, local);
    }
    for (var i = 0u; i < 8u; i++) {
        let c = first_channel + tile_row(local, i);
        let o = first_output + tile_column(local, i);
        if (c < s.c && o < s.o) {
            m4[((chunk * 36u + point) * s.c + c) * (s.o / 4u) + o / 4u] = sum[i];
        }
    }
}

// The product at a point, of all tiles.
fn product_at(s: Sides, point: u32, place: u32) -> vec4<f32> {
    let step = s.c * (s.o / 4u);
    var sum = m4[point * step + place];
    for (var chunk = 1u; chunk < CHUNKS; chunk++) {
        sum += m4[(chunk * 36u + point) * step + place];
    }
    return sum;
}

fn product_line(s: Sides, first: u32, place: u32) -> mat3x4<f32> {
    return transform_kernel(Six(
        product_at(s, first, place), product_at(s, first + 1u, place), product_at(s, first + 2u, place),
        product_at(s, first + 3u, place), product_at(s, first + 4u, place), product_at(s, first + 5u, place),
    ));
}

fn store_taps(s: Sides, column: u32, c: u32, o: u32, taps: mat3x4<f32>) {
    store_tap(s, column, c, o, taps[0]);
    store_tap(s, 3u + column, c, o, taps[1]);
    store_tap(s, 6u + column, c, o, taps[2]);
}

fn store_tap(s: Sides, tap: u32, c: u32, o: u32, v: vec4<f32>) {
    let first = tap * s.c * s.o + c * p.channel_step + o * p.output_step;
    dw[first] = v.x;
    dw[first + p.output_step] = v.y;
    dw[first + 2u * p.output_step] = v.z;
    dw[first + 3u * p.output_step] = v.w;
}

@compute @workgroup_size(64)
fn kernel(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let i = group_index(group) * 64u + local;
    let c = i / (s.o / 4u);
    let o = 4u * (i % (s.o / 4u));
    if (c >= s.c) {
        return;
    }
    let line_a = product_line(s, 0u, i);
    let line_b = product_line(s, 6u, i);
    let line_c = product_line(s, 12u, i);
    let line_d = product_line(s, 18u, i);
    let line_e = product_line(s, 24u, i);
    let line_f = product_line(s, 30u, i);
    store_taps(s, 0u, c, o, transform_kernel(Six(line_a[0], line_b[0], line_c[0], line_d[0], line_e[0], line_f[0])));
    store_taps(s, 1u, c, o, transform_kernel(Six(line_a[1], line_b[1], line_c[1], line_d[1], line_e[1], line_f[1])));
    store_taps(s, 2u, c, o, transform_kernel(Six(line_a[2], line_b[2], line_c[2], line_d[2], line_e[2], line_f[2])));
}
