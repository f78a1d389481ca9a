// A 16 x 64 tile of a matrix product, by 8 invocations of 16 rows x 8 columns each, from registers alone.
//
// One holds columns c..c+3 and c+32..c+35: `sum[2 * i]` and `sum[2 * i + 1]` are those of its i-th row. A software driver
// reads each value for each invocation by itself, but four that lie side by side at the price of one.
const SOFTWARE_ROWS: u32 = 16u;
const SOFTWARE_COLUMNS: u32 = 64u;

// Products over a quad of the depth, a column of `left` and `right` each, of row i.
fn add_row(sum: ptr<function, array<vec4<f32>, 32>>, i: u32, left: mat4x4<f32>, right: mat4x4<f32>, v: vec4<f32>) {
    (*sum)[2u * i] += left * v;
    (*sum)[2u * i + 1u] += right * v;
}
