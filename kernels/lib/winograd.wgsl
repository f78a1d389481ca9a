// The transforms of Winograd's filtering F(4x4, 3x3), along one axis: G, A and B of Lavin and Gray, "Fast Algorithms
// for Convolutional Neural Networks", CVPR 2016, in the order of src/engine/ops/conv2d/winograd/transform.rs.

// A line of a kernel or of products at its points.
struct Six {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

// G w along one axis.
fn transform_weights(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> Six {
    let sum = (a + c) * (-1.0 / 6.0);
    let middle = b * (1.0 / 6.0);
    let sum_half = a * (1.0 / 24.0) + c * (1.0 / 6.0);
    let middle_half = b * (1.0 / 12.0);
    return Six(0.25 * a, sum - middle, sum + middle, sum_half + middle_half, sum_half - middle_half, c);
}

// A^T m along one axis.
fn transform_outputs(m: Six) -> mat4x4<f32> {
    let sum = m.b + m.c;
    let difference = m.b - m.c;
    let sum_2 = m.d + m.e;
    let difference_2 = m.d - m.e;
    return mat4x4<f32>(
        m.a + sum + sum_2,
        difference + 2.0 * difference_2,
        sum + 4.0 * sum_2,
        difference + 8.0 * difference_2 + m.f,
    );
}

// A line of a tile, or its transform, of two channels: of four a tile takes more registers than some cards have.
struct Line {
    a: vec2<f32>,
    b: vec2<f32>,
    c: vec2<f32>,
    d: vec2<f32>,
    e: vec2<f32>,
    f: vec2<f32>,
}

// B^T d along one axis.
fn transform_inputs(d: Line) -> Line {
    let even = d.e - 4.0 * d.c;
    let odd = d.d - 4.0 * d.b;
    let even_half = d.e - d.c;
    let odd_half = 2.0 * (d.d - d.b);
    return Line(
        4.0 * d.a - 5.0 * d.c + d.e,
        even + odd,
        even - odd,
        even_half + odd_half,
        even_half - odd_half,
        4.0 * d.b - 5.0 * d.d + d.f,
    );
}

// A z along one axis.
fn transform_gradients(a: vec2<f32>, b: vec2<f32>, c: vec2<f32>, d: vec2<f32>) -> Line {
    let even = a + c;
    let odd = b + d;
    let even_2 = a + 4.0 * c;
    let odd_2 = 2.0 * b + 8.0 * d;
    return Line(a, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, d);
}

// G^T u along one axis.
fn transform_kernel(u: Six) -> mat3x4<f32> {
    let sum = u.b + u.c;
    let difference = u.c - u.b;
    let sum_2 = u.d + u.e;
    let difference_2 = u.d - u.e;
    return mat3x4<f32>(
        0.25 * u.a - sum * (1.0 / 6.0) + sum_2 * (1.0 / 24.0),
        difference * (1.0 / 6.0) + difference_2 * (1.0 / 12.0),
        (sum_2 - sum) * (1.0 / 6.0) + u.f,
    );
}
