// A 64 x 64 tile of a matrix product, by 128 invocations of 4 x 8 values each, in slices of 16 along its depth.
//
// An invocation holds rows r..r+3 and columns c..c+3 and c+32..c+35 (`tile_row`, `tile_column`): `sum[2 * i]` and
// `sum[2 * i + 1]` are those of its i-th row.
const TILE: u32 = 64u;
const SLICE: u32 = 16u;
// Quads (vec4) from one depth to the next: 16 hold the tile, one more lets the depths start in different banks.
const PITCH: u32 = 17u;

var<workgroup> slice_a: array<vec4<f32>, 272>; // (SLICE, PITCH): each four rows of the product
var<workgroup> slice_b: array<vec4<f32>, 272>; // (SLICE, PITCH): each four columns

// Writes a block of 4 depths x 4 rows (or columns): `m[i]` belongs to depth 4 * depth_quad + i.
fn store_slice_a(depth_quad: u32, line: u32, m: mat4x4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        slice_a[(4u * depth_quad + i) * PITCH + line] = m[i];
    }
}

fn store_slice_b(depth_quad: u32, line: u32, m: mat4x4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        slice_b[(4u * depth_quad + i) * PITCH + line] = m[i];
    }
}

// Row and column within the tile of the first of the four values `sum[i]`.
fn tile_row(local: u32, i: u32) -> u32 {
    return 4u * (local / 32u * 4u + lane_row(local)) + i / 2u;
}

fn tile_column(local: u32, i: u32) -> u32 {
    return 4u * lane_column(local) + 32u * (i % 2u);
}

// sum += slice_a^T slice_b, this invocation's part of it, once all have written their blocks of both; when it returns
// the slices may be written anew.
fn add_slice(sum: ptr<function, array<vec4<f32>, 8>>, local: u32) {
    let row = local / 32u * 4u + lane_row(local);
    let column = lane_column(local);
    workgroupBarrier();
    for (var k = 0u; k < SLICE; k++) {
        let a = slice_a[k * PITCH + row];
        let b = slice_b[k * PITCH + column];
        let c = slice_b[k * PITCH + column + 8u];
        (*sum)[0] = fma(vec4<f32>(a.x), b, (*sum)[0]);
        (*sum)[1] = fma(vec4<f32>(a.x), c, (*sum)[1]);
        (*sum)[2] = fma(vec4<f32>(a.y), b, (*sum)[2]);
        (*sum)[3] = fma(vec4<f32>(a.y), c, (*sum)[3]);
        (*sum)[4] = fma(vec4<f32>(a.z), b, (*sum)[4]);
        (*sum)[5] = fma(vec4<f32>(a.z), c, (*sum)[5]);
        (*sum)[6] = fma(vec4<f32>(a.w), b, (*sum)[6]);
        (*sum)[7] = fma(vec4<f32>(a.w), c, (*sum)[7]);
    }
    workgroupBarrier();
}
