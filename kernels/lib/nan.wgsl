// Whether v is NaN, by its bits: a compiler may take it for granted that floats are numbers.
fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// Whether v is neither NaN nor infinite.
fn is_finite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) < 0x7f800000u;
}

// Whether v is below zero, which NaN is not, by its bits.
fn is_below_zero(v: f32) -> bool {
    return bitcast<u32>(v) - 0x80000001u <= 0x7f7fffffu;
}

// A NaN. `v` only keeps the compiler from working the bits out, which WGSL forbids for a constant.
fn make_nan(v: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(v) | 0x7fc00000u);
}
