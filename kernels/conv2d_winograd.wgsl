// y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy + ky d - top, ox + kx d - left, c] w[ky, kx, c, o])
// use: linear, conv, lanes, tile, winograd, winograd_tiles
//
// Winograd's filtering F(4x4, 3x3) of stride 1: 36 products for 16 outputs, not 144. Source: Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016; points, matrices and order of sums are those of the twin
// (src/engine/ops/conv2d/winograd/transform.rs). A dilation of d is d x d interleaved grids. With GRADIENT it makes dx
// of dz: in what follows x is dz, y is dx, C and O change places, and the kernel is turned by half a circle.
//
// In order: `weights` writes U = G w G^T, `peaks` and `uneven` find tiles that must not be filtered, `tiles` writes
// V = B^T d B, `product` or `software` M = V U at each of the 36 points, a matrix product of tiles x C by C x O,
// `outputs` y = A^T M A with bias and activation, and `direct` writes the outputs of uneven tiles anew. `product`: a
// workgroup of 128 makes a tile of 64 x 64 through workgroup memory. `software`: an invocation makes 16 tiles x 8
// outputs from registers alone. C is a multiple of 16, O one of 4.
//
// Roundings are some 4e-6 of the largest pixel of a tile, which other outputs of the tile do not read. A tile that
// holds a NaN, an infinity or a pixel more than 256 times the largest that one of its outputs reads is uneven: its
// outputs are sums of 9 C products, so that such a value changes those alone that read it.

const GRADIENT: u32 = 0u;

@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>; // (N, H, W, C / 4)
@group(0) @binding(1) var<storage, read> x2: array<vec2<f32>>; // (N, H, W, C / 2)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (3, 3, C, O), or (3, 3, O, C)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (O), where `p.biased`
@group(0) @binding(4) var<storage, read_write> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(5) var<storage, read_write> u4: array<vec4<f32>>; // (36, C, O / 4)
@group(0) @binding(6) var<storage, read_write> v4: array<vec4<f32>>; // (36, tiles, C / 4)
@group(0) @binding(6) var<storage, read_write> v2: array<vec2<f32>>; // (36, tiles, C / 2)
@group(0) @binding(7) var<storage, read_write> m4: array<vec4<f32>>; // (36, tiles, O / 4)
@group(0) @binding(8) var<storage, read_write> peak4: array<vec4<u32>>; // (N, H, W): bits of magnitudes
@group(0) @binding(9) var<storage, read_write> is_uneven: array<u32>; // (tiles)

fn sides() -> Sides {
    let reach = 2 * i32(p.dilation);
    if (GRADIENT == 1u) {
        let tiles = p.n * tiles_along(p.h) * p.dilation * p.dilation * tiles_along(p.w);
        return Sides(p.ho, p.wo, p.o, p.h, p.w, p.c, reach - i32(p.pad_top), reach - i32(p.pad_left), tiles);
    }
    let tiles = p.n * tiles_along(p.ho) * p.dilation * p.dilation * tiles_along(p.wo);
    return Sides(p.h, p.w, p.c, p.ho, p.wo, p.o, i32(p.pad_top), i32(p.pad_left), tiles);
}

// Weights of a channel and outputs o..o+3 under a tap.
fn weights_of(s: Sides, tap: u32, c: u32, o: u32) -> vec4<f32> {
    let across = select(p.output_step, p.channel_step, GRADIENT == 1u);
    let down = select(p.channel_step, p.output_step, GRADIENT == 1u);
    let first = select(tap, 8u - tap, GRADIENT == 1u) * s.c * s.o + c * down + o * across;
    return vec4<f32>(weight[first], weight[first + across], weight[first + 2u * across], weight[first + 3u * across]);
}

@compute @workgroup_size(64)
fn weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let i = group_index(group) * 64u + local;
    let c = i / (s.o / 4u);
    let o = 4u * (i % (s.o / 4u));
    if (c >= s.c) {
        return;
    }
    let left = transform_weights(weights_of(s, 0u, c, o), weights_of(s, 3u, c, o), weights_of(s, 6u, c, o));
    let middle = transform_weights(weights_of(s, 1u, c, o), weights_of(s, 4u, c, o), weights_of(s, 7u, c, o));
    let right = transform_weights(weights_of(s, 2u, c, o), weights_of(s, 5u, c, o), weights_of(s, 8u, c, o));
    let step = s.c * s.o / 4u;
    store_weights(i, step, transform_weights(left.a, middle.a, right.a));
    store_weights(i + 6u * step, step, transform_weights(left.b, middle.b, right.b));
    store_weights(i + 12u * step, step, transform_weights(left.c, middle.c, right.c));
    store_weights(i + 18u * step, step, transform_weights(left.d, middle.d, right.d));
    store_weights(i + 24u * step, step, transform_weights(left.e, middle.e, right.e));
    store_weights(i + 30u * step, step, transform_weights(left.f, middle.f, right.f));
}

fn store_weights(first: u32, step: u32, u: Six) {
    u4[first] = u.a;
    u4[first + step] = u.b;
    u4[first + 2u * step] = u.c;
    u4[first + 3u * step] = u.d;
    u4[first + 4u * step] = u.e;
    u4[first + 5u * step] = u.f;
}

// Of each pixel the bits of its largest magnitude, of every fourth quad of channels: of these, larger ones are larger
// magnitudes, infinity is above all numbers and NaN above infinity.
@compute @workgroup_size(64)
fn peaks(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let pixel = group_index(group) * 16u + local / 4u;
    if (pixel >= p.n * s.h * s.w) {
        return;
    }
    var most = vec4<u32>();
    for (var quad = local % 4u; quad < s.c / 4u; quad += 4u) {
        most = max(most, bitcast<vec4<u32>>(x4[pixel * (s.c / 4u) + quad]) & vec4<u32>(0x7fffffffu));
    }
    peak4[pixel][local % 4u] = largest(most);
}

fn largest(v: vec4<u32>) -> u32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn peak_of(s: Sides, at: Place, i: u32, j: u32) -> u32 {
    let pixel = pixel_of(s, at, i, j);
    if (pixel < 0) {
        return 0u;
    }
    return largest(peak4[u32(pixel)]);
}

// Pixels of zeros do not count.
@compute @workgroup_size(64)
fn uneven(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let tile = group_index(group) * 64u + local;
    if (tile >= s.tiles) {
        return;
    }
    let at = place(s, tile);
    var above: array<vec4<u32>, 2>;
    // Less one, so that zero is above all.
    var least = vec4<u32>(0xffffffffu);
    var most = vec4<u32>();
    for (var i = 0u; i < 6u; i++) {
        // The largest of each three pixels of the row, then of each window of three rows.
        let left = vec3<u32>(peak_of(s, at, i, 0u), peak_of(s, at, i, 1u), peak_of(s, at, i, 2u));
        let right = vec3<u32>(peak_of(s, at, i, 3u), peak_of(s, at, i, 4u), peak_of(s, at, i, 5u));
        let middle = vec4<u32>(left.yz, right.xy);
        let row = max(max(vec4<u32>(left, right.x), middle), vec4<u32>(left.z, right));
        if (i >= 2u) {
            let window = max(max(above[0], above[1]), row);
            least = min(least, window - vec4<u32>(1u));
            most = max(most, window);
        }
        above = array<vec4<u32>, 2>(above[1], row);
    }
    let low = bitcast<f32>(min(min(least.x, least.y), min(least.z, least.w)) + 1u);
    let high = largest(most);
    is_uneven[tile] = u32(high >= 0x7f800000u || bitcast<f32>(high) > 256.0 * low);
}

@compute @workgroup_size(128)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let columns = (s.o + TILE - 1u) / TILE;
    let of_point = (s.tiles + TILE - 1u) / TILE * columns;
    let point = group_index(group) / of_point;
    if (point >= 36u) {
        return;
    }
    let first_tile = group_index(group) % of_point / columns * TILE;
    let first_output = group_index(group) % of_point % columns * TILE;
    // A block of 4 x 4 of V, or of U, in each slice.
    let loads_v = local < 64u;
    let lane = local % 64u;
    let depth_quad = select(lane / 16u, lane % 4u, loads_v);
    let line = select(lane % 16u, lane / 4u, loads_v);
    let tile = point * s.tiles + vec4<u32>(first_tile + 4u * line) + vec4<u32>(0u, 1u, 2u, 3u);
    // What lies beyond the last tile or output is computed and not stored.
    let rows = min(tile, vec4<u32>((point + 1u) * s.tiles - 1u)) * (s.c / 4u) + vec4<u32>(depth_quad);
    let column = min(first_output / 4u + line, s.o / 4u - 1u);
    let next = s.o / 4u;
    var sum: array<vec4<f32>, 8>;
    for (var done = 0u; done < s.c; done += SLICE) {
        if (loads_v) {
            let at = rows + vec4<u32>(done / 4u);
            store_slice_a(depth_quad, line, transpose(mat4x4<f32>(v4[at.x], v4[at.y], v4[at.z], v4[at.w])));
        } else {
            let at = (point * s.c + done + 4u * depth_quad) * next + column;
            let block = mat4x4<f32>(u4[at], u4[at + next], u4[at + 2u * next], u4[at + 3u * next]);
            store_slice_b(depth_quad, line, block);
        }
        add_slice(&sum, local);
    }
    for (var i = 0u; i < 8u; i++) {
        let tile = first_tile + tile_row(local, i);
        let o = first_output + tile_column(local, i);
        if (tile < s.tiles && o < s.o) {
            m4[(point * s.tiles + tile) * next + o / 4u] = sum[i];
        }
    }
}

// Of channels 4 quad + 0..3 what lies in a quad of outputs, a column a channel.
fn weight_block(first: u32, step: u32) -> mat4x4<f32> {
    return mat4x4<f32>(u4[first], u4[first + step], u4[first + 2u * step], u4[first + 3u * step]);
}

@compute @workgroup_size(8)
fn software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let columns = (s.o + 63u) / 64u;
    let of_point = (s.tiles + 15u) / 16u * columns;
    let point = group_index(group) / of_point;
    if (point >= 36u) {
        return;
    }
    let first_tile = group_index(group) % of_point / columns * 16u;
    let next = s.o / 4u;
    let left = group_index(group) % of_point % columns * 16u + local;
    let right = left + 8u;
    let u = point * s.c * next;
    var row: array<u32, 16>;
    for (var i = 0u; i < 16u; i++) {
        row[i] = (point * s.tiles + min(first_tile + i, s.tiles - 1u)) * (s.c / 4u);
    }
    var sum: array<vec4<f32>, 32>;
    for (var quad = 0u; quad < s.c / 4u; quad++) {
        let a = weight_block(u + 4u * quad * next + min(left, next - 1u), next);
        let b = weight_block(u + 4u * quad * next + min(right, next - 1u), next);
        // Two loops: drivers unroll no longer ones, and sums must stay in registers.
        for (var i = 0u; i < 8u; i++) {
            let v = v4[row[i] + quad];
            sum[2u * i] += a * v;
            sum[2u * i + 1u] += b * v;
        }
        for (var i = 8u; i < 16u; i++) {
            let v = v4[row[i] + quad];
            sum[2u * i] += a * v;
            sum[2u * i + 1u] += b * v;
        }
    }
    for (var i = 0u; i < 16u; i++) {
        let m = (point * s.tiles + first_tile + i) * next;
        if (first_tile + i < s.tiles && left < next) {
            m4[m + left] = sum[2u * i];
        }
        if (first_tile + i < s.tiles && right < next) {
            m4[m + right] = sum[2u * i + 1u];
        }
    }
}

// The four values of a row of outputs that its six products make.
fn output_line(first: u32, step: u32) -> mat4x4<f32> {
    return transform_outputs(Six(
        m4[first], m4[first + step], m4[first + 2u * step],
        m4[first + 3u * step], m4[first + 4u * step], m4[first + 5u * step],
    ));
}

fn biases(o: u32) -> vec4<f32> {
    if (p.biased == 0u) {
        return vec4<f32>();
    }
    return vec4<f32>(bias[o], bias[o + 1u], bias[o + 2u], bias[o + 3u]);
}

fn store_output(s: Sides, at: Place, i: u32, j: u32, quad: u32, v: vec4<f32>) {
    let oy = at.oy + i * p.dilation;
    let ox = at.ox + j * p.dilation;
    if (oy < s.ho && ox < s.wo) {
        y4[((at.image * s.ho + oy) * s.wo + ox) * (s.o / 4u) + quad] = activate(v);
    }
}

@compute @workgroup_size(64)
fn outputs(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let place_of = group_index(group) * 64u + local;
    let tile = place_of / (s.o / 4u);
    let quad = place_of % (s.o / 4u);
    if (tile >= s.tiles) {
        return;
    }
    let step = s.tiles * (s.o / 4u);
    let a = output_line(place_of, step);
    let b = output_line(place_of + 6u * step, step);
    let c = output_line(place_of + 12u * step, step);
    let d = output_line(place_of + 18u * step, step);
    let e = output_line(place_of + 24u * step, step);
    let f = output_line(place_of + 30u * step, step);
    let at = place(s, tile);
    let bias = biases(4u * quad);
    store_outputs(s, at, 0u, quad, bias, Six(a[0], b[0], c[0], d[0], e[0], f[0]));
    store_outputs(s, at, 1u, quad, bias, Six(a[1], b[1], c[1], d[1], e[1], f[1]));
    store_outputs(s, at, 2u, quad, bias, Six(a[2], b[2], c[2], d[2], e[2], f[2]));
    store_outputs(s, at, 3u, quad, bias, Six(a[3], b[3], c[3], d[3], e[3], f[3]));
}

// A column of a tile's outputs.
fn store_outputs(s: Sides, at: Place, j: u32, quad: u32, bias: vec4<f32>, m: Six) {
    let y = transform_outputs(m);
    store_output(s, at, 0u, j, quad, y[0] + bias);
    store_output(s, at, 1u, j, quad, y[1] + bias);
    store_output(s, at, 2u, j, quad, y[2] + bias);
    store_output(s, at, 3u, j, quad, y[3] + bias);
}

// A workgroup makes 16 channels of a tile's 16 outputs.
@compute @workgroup_size(64)
fn direct(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let across = (s.o + 15u) / 16u;
    let tile = group_index(group) / across;
    if (tile >= s.tiles) {
        return;
    }
    let o = group_index(group) % across * 16u + local % 4u * 4u;
    if (is_uneven[tile] == 0u || o >= s.o) {
        return;
    }
    let at = place(s, tile);
    let row = local / 16u;
    let column = local / 4u % 4u;
    var sum = biases(o);
    for (var tap = 0u; tap < 9u; tap++) {
        let pixel = pixel_of(s, at, row + tap / 3u, column + tap % 3u);
        if (pixel >= 0) {
            for (var quad = 0u; quad < s.c / 4u; quad++) {
                let v = x4[u32(pixel) * (s.c / 4u) + quad];
                sum += v.x * weights_of(s, tap, 4u * quad, o) + v.y * weights_of(s, tap, 4u * quad + 1u, o)
                    + v.z * weights_of(s, tap, 4u * quad + 2u, o) + v.w * weights_of(s, tap, 4u * quad + 3u, o);
            }
        }
    }
    store_output(s, at, row, column, o / 4u, sum);
}
