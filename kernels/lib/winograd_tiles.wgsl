// Tiles of 6 x 6 pixels for Winograd's filtering F(4x4, 3x3): where they lie, and V = B^T d B of each.
//
// A text that uses them says what is read and made (`sides`), and binds pixels (`x2`) and V (`v2`) by pairs of channels.

// What is read and what is made.
struct Sides {
    h: u32,
    w: u32,
    c: u32,
    ho: u32,
    wo: u32,
    o: u32,
    top: i32,
    left: i32,
    tiles: u32,
}

// Of one grid.
fn tiles_along(outputs: u32) -> u32 {
    return ((outputs + p.dilation - 1u) / p.dilation + 3u) / 4u;
}

// Where a tile lies: its image, its first output, and its first pixel.
struct Place {
    image: u32,
    oy: u32,
    ox: u32,
    y: i32,
    x: i32,
}

fn place(s: Sides, tile: u32) -> Place {
    // Of an image by rows of tiles, then by grid, so that what lies close together is read together.
    let grids = p.dilation * p.dilation;
    let across = tiles_along(s.wo);
    let line = tile / across;
    let grid = line % grids;
    let row = line / grids;
    let image = row / tiles_along(s.ho);
    let oy = 4u * (row - image * tiles_along(s.ho)) * p.dilation + grid / p.dilation;
    let ox = 4u * (tile - line * across) * p.dilation + grid % p.dilation;
    return Place(image, oy, ox, i32(oy) - s.top, i32(ox) - s.left);
}

// The pixel in row i and column j of a tile, or -1 outside the image.
fn pixel_of(s: Sides, at: Place, i: u32, j: u32) -> i32 {
    let y = at.y + i32(i * p.dilation);
    let x = at.x + i32(j * p.dilation);
    if (y < 0 || y >= i32(s.h) || x < 0 || x >= i32(s.w)) {
        return -1;
    }
    return (i32(at.image * s.h) + y) * i32(s.w) + x;
}

fn input_at(s: Sides, at: Place, i: u32, j: u32, pair: u32) -> vec2<f32> {
    let pixel = pixel_of(s, at, i, j);
    if (pixel < 0) {
        return vec2<f32>();
    }
    return x2[u32(pixel) * (s.c / 2u) + pair];
}

fn store_v(at: u32, v: vec2<f32>) {
    v2[at] = v;
}

fn input_line(s: Sides, at: Place, i: u32, pair: u32) -> Line {
    return transform_inputs(Line(
        input_at(s, at, i, 0u, pair), input_at(s, at, i, 1u, pair), input_at(s, at, i, 2u, pair),
        input_at(s, at, i, 3u, pair), input_at(s, at, i, 4u, pair), input_at(s, at, i, 5u, pair),
    ));
}

@compute @workgroup_size(64)
fn tiles(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let s = sides();
    let i = group_index(group) * 64u + local;
    let tile = i / (s.c / 2u);
    let pair = i % (s.c / 2u);
    if (tile >= s.tiles) {
        return;
    }
    let at = place(s, tile);
    let a = input_line(s, at, 0u, pair);
    let b = input_line(s, at, 1u, pair);
    let c = input_line(s, at, 2u, pair);
    let d = input_line(s, at, 3u, pair);
    let e = input_line(s, at, 4u, pair);
    let f = input_line(s, at, 5u, pair);
    let step = s.tiles * (s.c / 2u);
    store_column(i, step, Line(a.a, b.a, c.a, d.a, e.a, f.a));
    store_column(i + step, step, Line(a.b, b.b, c.b, d.b, e.b, f.b));
    store_column(i + 2u * step, step, Line(a.c, b.c, c.c, d.c, e.c, f.c));
    store_column(i + 3u * step, step, Line(a.d, b.d, c.d, d.d, e.d, f.d));
    store_column(i + 4u * step, step, Line(a.e, b.e, c.e, d.e, e.e, f.e));
    store_column(i + 5u * step, step, Line(a.f, b.f, c.f, d.f, e.f, f.f));
}

fn store_column(first: u32, step: u32, d: Line) {
    let v = transform_inputs(d);
    store_v(first, v.a);
    store_v(first + 6u * step, v.b);
    store_v(first + 12u * step, v.c);
    store_v(first + 18u * step, v.d);
    store_v(first + 24u * step, v.e);
    store_v(first + 30u * step, v.f);
}
