// The parameters of the convolution kernels; `Params` in src/engine/ops/conv2d/launch.rs is the same on the host.
struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    kh: u32,
    kw: u32,
    o: u32,
    ho: u32,
    wo: u32,
    stride: u32,
    dilation: u32,
    pad_top: u32,
    pad_left: u32,
    relu: u32, // whether y = max(0, ...)
    chunk: u32, // what one partial sum runs over: quads of the depth of y and dx, pixels of dw and db
    chunks: u32, // partial sums
    biased: u32, // whether the bias is read
    channel_step: u32, // elements from the weight of one channel to that of the next: O, or 1
    output_step: u32, // elements from the weight of one output to that of the next: 1, or C
    tap_step: u32, // from one tap that reaches an input pixel to the next along an axis: stride / gcd(stride, dilation)
    phase_step: u32, // gcd(stride, dilation)
    inverse: u32, // of dilation / phase_step modulo tap_step
}

@group(0) @binding(0) var<uniform> p: Params;

fn activate(v: vec4<f32>) -> vec4<f32> {
    // By the bits (lib/nan.wgsl), not max: a NaN stays one, and training notices it.
    let below = bitcast<vec4<u32>>(v) - vec4<u32>(0x80000001u) <= vec4<u32>(0x7f7fffffu);
    return select(v, vec4<f32>(), below & vec4<bool>(p.relu != 0u));
}
