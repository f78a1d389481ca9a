// A 256 x 4 tile of a matrix product, by 256 invocations of a row each, in slices of 16 along its depth.
//
// Each loads a block of 4 rows x 4 depths, neighbours along the depth first, since those lie side by side in memory;
// 16 of them load the four columns' values at a depth each.
const NARROW: u32 = 256u;
const NARROW_SLICE: u32 = 16u;
// Quads of rows from one depth to the next, and one more, which lets the depths start in different banks.
const NARROW_PITCH: u32 = 65u;

var<workgroup> narrow_rows: array<vec4<f32>, 1040>; // (NARROW_SLICE, NARROW_PITCH): each four rows of the product
var<workgroup> narrow_columns: array<vec4<f32>, 16>; // (NARROW_SLICE): the columns

// Writes a block of which a column is a row of the product, `columns` of the depth `local` too, adds the products of the
// slice to a row's sums, and returns them.
fn add_narrow_slice(sum: vec4<f32>, local: u32, fetched: Fetched, columns: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>();
    let m = transpose(mat4x4<f32>(
        select(zero, fetched.block[0], fetched.inside.x), select(zero, fetched.block[1], fetched.inside.y),
        select(zero, fetched.block[2], fetched.inside.z), select(zero, fetched.block[3], fetched.inside.w),
    ));
    let first = 4u * (local % 4u) * NARROW_PITCH + local / 4u;
    workgroupBarrier();
    narrow_rows[first] = m[0];
    narrow_rows[first + NARROW_PITCH] = m[1];
    narrow_rows[first + 2u * NARROW_PITCH] = m[2];
    narrow_rows[first + 3u * NARROW_PITCH] = m[3];
    if (local < NARROW_SLICE) {
        narrow_columns[local] = columns;
    }
    workgroupBarrier();
    var next = sum;
    for (var k = 0u; k < NARROW_SLICE; k++) {
        let row = narrow_rows[k * NARROW_PITCH + local / 4u][local % 4u];
        next = fma(vec4<f32>(row), narrow_columns[k], next);
    }
    return next;
}
