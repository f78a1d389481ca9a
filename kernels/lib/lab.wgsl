// sRGB <-> CIE Lab, D65 (IEC 61966-2-1, CIE 15). rgb 0..1; L 0..100, a and b about -110..110.
const LAB_WHITE: vec3<f32> = vec3<f32>(0.95047, 1.0, 1.08883);

fn srgb_to_linear(c: f32) -> f32 {
    // Comparisons are such that a NaN takes the straight way, on which it stays one.
    return select(c / 12.92, pow((c + 0.055) / 1.055, 2.4), c > 0.04045);
}

fn linear_to_srgb(c: f32) -> f32 {
    return select(12.92 * c, 1.055 * pow(max(c, 0.0031308), 1.0 / 2.4) - 0.055, c > 0.0031308);
}

fn lab_f(t: f32) -> f32 {
    return select(t * 7.787037 + 0.13793103, pow(max(t, 0.008856452), 1.0 / 3.0), t > 0.008856452);
}

fn lab_f_inverse(t: f32) -> f32 {
    return select(t * t * t, (t - 0.13793103) * 0.12841855, t <= 0.20689655);
}

fn srgb_to_lab(rgb: vec3<f32>) -> vec3<f32> {
    let r = srgb_to_linear(rgb.x);
    let g = srgb_to_linear(rgb.y);
    let b = srgb_to_linear(rgb.z);
    let x = lab_f((0.412453 * r + 0.357580 * g + 0.180423 * b) / LAB_WHITE.x);
    let y = lab_f(0.212671 * r + 0.715160 * g + 0.072169 * b);
    let z = lab_f((0.019334 * r + 0.119193 * g + 0.950227 * b) / LAB_WHITE.z);
    return vec3<f32>(116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
}

// Colours outside sRGB are clamped to 0..1, channel by channel; a NaN stays one, which clamp() need not keep.
fn lab_to_srgb(lab: vec3<f32>) -> vec3<f32> {
    let fy = (lab.x + 16.0) / 116.0;
    let x = LAB_WHITE.x * lab_f_inverse(fy + lab.y / 500.0);
    let y = lab_f_inverse(fy);
    let z = LAB_WHITE.z * lab_f_inverse(fy - lab.z / 200.0);
    let r = 3.2404813432 * x - 1.5371515163 * y - 0.4985363262 * z;
    let g = -0.9692549500 * x + 1.8759900015 * y + 0.0415559266 * z;
    let b = 0.0556466391 * x - 0.2040413384 * y + 1.0573110696 * z;
    let rgb = vec3<f32>(linear_to_srgb(r), linear_to_srgb(g), linear_to_srgb(b));
    let nan = (bitcast<vec3<u32>>(rgb) & vec3<u32>(0x7fffffffu)) > vec3<u32>(0x7f800000u);
    return select(clamp(rgb, vec3<f32>(0.0), vec3<f32>(1.0)), rgb, nan);
}
