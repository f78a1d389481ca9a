// A 128 x 128 tile of a matrix product, by 256 invocations of 8 x 8 values each, in slices of 16 along its depth.
//
// 32 invocations share 32 rows and 64 columns. One holds rows r..r+3 and r+16..r+19 and columns c..c+3 and c+32..c+35
// (`wide_row`, `wide_column`): `sum[2 * i]` and `sum[2 * i + 1]` are those of its i-th row.
const WIDE: u32 = 128u;
const WIDE_SLICE: u32 = 16u;
// Quads from one depth to the next: 32 hold the tile, one more lets the depths start in different banks.
const WIDE_PITCH: u32 = 33u;
const WIDE_COLUMNS: u32 = 528u;

// Two of (WIDE_SLICE, WIDE_PITCH): each four rows of the product, and from WIDE_COLUMNS on each four columns.
var<workgroup> wide_slice: array<vec4<f32>, 1056>;

// Half of a workgroup loads blocks of rows, the other half blocks of columns, each one of 4 depths x 4 a slice.
struct Loader {
    rows: bool,
    depth_quad: u32,
    line: u32, // quad of rows or of columns
}

// `along_depth`: neighbours take quads along the depth first, since those lie side by side in memory; else lines.
fn loader(local: u32, along_depth: bool) -> Loader {
    let lane = local % 128u;
    return Loader(
        local < 128u,
        select(lane / 32u, lane % 4u, along_depth),
        select(lane % 32u, lane / 4u, along_depth),
    );
}

// A block as it was read: what has no place in the product is not masked yet, nor is the block turned. Whatever reads a
// value waits for its load, and that must not be before the products of the slice in hand.
struct Fetched {
    block: mat4x4<f32>,
    inside: vec4<bool>, // of each column
}

// Writes a block of 4 depths x 4 rows (or columns), a column of the block a depth, or, where it is `turned`, a line.
fn store_wide(job: Loader, fetched: Fetched, turned: bool) {
    let zero = vec4<f32>();
    var m = mat4x4<f32>(
        select(zero, fetched.block[0], fetched.inside.x), select(zero, fetched.block[1], fetched.inside.y),
        select(zero, fetched.block[2], fetched.inside.z), select(zero, fetched.block[3], fetched.inside.w),
    );
    if (turned) {
        m = transpose(m);
    }
    let first = select(WIDE_COLUMNS, 0u, job.rows) + 4u * job.depth_quad * WIDE_PITCH + job.line;
    wide_slice[first] = m[0];
    wide_slice[first + WIDE_PITCH] = m[1];
    wide_slice[first + 2u * WIDE_PITCH] = m[2];
    wide_slice[first + 3u * WIDE_PITCH] = m[3];
}

// Row within the tile of the i-th of an invocation's 8, and its first column.
fn wide_row(local: u32, i: u32) -> u32 {
    return local / 64u * 32u + lane_row(local) * 4u + i / 4u * 16u + i % 4u;
}

fn wide_column(local: u32) -> u32 {
    return local / 32u % 2u * 64u + lane_column(local) * 4u;
}

fn add_wide_row(sum: ptr<function, array<vec4<f32>, 16>>, i: u32, a: f32, b: vec4<f32>, c: vec4<f32>) {
    (*sum)[2u * i] = fma(vec4<f32>(a), b, (*sum)[2u * i]);
    (*sum)[2u * i + 1u] = fma(vec4<f32>(a), c, (*sum)[2u * i + 1u]);
}

// One depth's products; `row` and `column` are its first quads.
fn add_wide_depth(sum: ptr<function, array<vec4<f32>, 16>>, row: u32, column: u32) {
    let a = wide_slice[row];
    let d = wide_slice[row + 4u];
    let b = wide_slice[column];
    let c = wide_slice[column + 8u];
    add_wide_row(sum, 0u, a.x, b, c);
    add_wide_row(sum, 1u, a.y, b, c);
    add_wide_row(sum, 2u, a.z, b, c);
    add_wide_row(sum, 3u, a.w, b, c);
    add_wide_row(sum, 4u, d.x, b, c);
    add_wide_row(sum, 5u, d.y, b, c);
    add_wide_row(sum, 6u, d.z, b, c);
    add_wide_row(sum, 7u, d.w, b, c);
}

// sum += rows^T columns, this invocation's part of it, of blocks that all have written.
fn add_wide_slice(sum: ptr<function, array<vec4<f32>, 16>>, local: u32) {
    let row = wide_row(local, 0u) / 4u;
    let column = WIDE_COLUMNS + wide_column(local) / 4u;
    for (var k = 0u; k < WIDE_SLICE; k++) {
        add_wide_depth(sum, k * WIDE_PITCH + row, k * WIDE_PITCH + column);
    }
}
