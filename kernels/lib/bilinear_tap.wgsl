// Bilinear enlargement by a whole factor, half-pixel centres, edges clamped. Full-size coordinate x, 0 .. n * factor -
// 1, lies at (x + 1/2) / factor - 1/2 on the low-resolution axis of n elements, clamped to 0 .. n - 1.

// That place in units of 1 / (2 factor), exact.
fn bilinear_place(x: u32, factor: u32, n: u32) -> u32 {
    return u32(clamp(2 * i32(x) + 1 - i32(factor), 0, i32(2u * factor * (n - 1u))));
}

// The two low-resolution neighbours of x (equal at the far edge) and the share of the second.
struct BilinearTap {
    first: u32,
    second: u32,
    share: f32,
}

fn bilinear_tap(x: u32, factor: u32, n: u32) -> BilinearTap {
    let place = bilinear_place(x, factor, n);
    let first = place / (2u * factor);
    return BilinearTap(first, min(first + 1u, n - 1u), f32(place % (2u * factor)) / f32(2u * factor));
}

// The share of low-resolution element i in x; 0 where it has none.
fn bilinear_share(x: u32, factor: u32, n: u32, i: u32) -> f32 {
    let distance = abs(i32(bilinear_place(x, factor, n)) - i32(2u * factor * i));
    return max(1.0 - f32(distance) / f32(2u * factor), 0.0);
}

// The full-size coordinates begin .. end - 1 that low-resolution element i can have a share in.
fn bilinear_reach(i: u32, factor: u32, n: u32) -> vec2<u32> {
    let margin = factor / 2u;
    return vec2<u32>(max(i * factor, margin) - margin, min((i + 1u) * factor + margin, n * factor));
}
