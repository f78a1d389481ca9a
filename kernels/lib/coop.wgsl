// A tile of a matrix product by cooperative matrices: factors of f16, sums of f32.
//
// A workgroup of eight subgroups makes 8 x 8 matrices, in slices of two matrices along the depth; a subgroup makes 4 x
// 2 of them, in two bands of rows and four of columns. Factors lie in workgroup memory as f16, the depths of each row
// and of each column side by side: what a lane of a matrix unit holds. Sums stay in registers over the whole depth and
// leave through a patch of workgroup memory, one for each subgroup.
//
// Sides of matrices follow the constant SIDE (src/engine/device/wgsl.rs). SUBGROUP may be larger than the subgroups
// are: then several make the same matrices, to the same values.
const SIDE: u32 = 16u;
const SUBGROUP: u32 = 32u;
alias RowMatrix = coop_mat16x16<f16, A>;
alias ColumnMatrix = coop_mat16x16<f16, B>;
alias SumMatrix = coop_mat16x16<f32, C>;

const COOP_TILE: u32 = 8u * SIDE;
const COOP_SLICE: u32 = 2u * SIDE;
const COOP_GROUP: u32 = 8u * SUBGROUP;
// Quads of a tile's side and of a slice, and from one row, or one column, to the next: 16 bytes more let neighbours
// start in different banks.
const COOP_LINES: u32 = COOP_TILE / 4u;
const COOP_DEPTHS: u32 = COOP_SLICE / 4u;
const COOP_PITCH: u32 = COOP_DEPTHS + 2u;
const COOP_COLUMNS: u32 = COOP_TILE * COOP_PITCH;
// Of a patch: quads from one row to the next, and in all.
const PATCH_PITCH: u32 = SIDE / 4u + 1u;
const PATCH: u32 = SIDE * PATCH_PITCH;
// Blocks of 4 x 4 factors in a slice of either side. One invocation loads one of each, or, where there are twice as
// many invocations, the second half of them loads the columns'.
const COOP_BLOCKS: u32 = COOP_LINES * COOP_DEPTHS;
const COLUMN_LOADER: u32 = COOP_BLOCKS * min(COOP_GROUP / (2u * COOP_BLOCKS), 1u);

// Two of (COOP_TILE, COOP_PITCH): each four depths of a row of the product, and from COOP_COLUMNS on of a column.
var<workgroup> coop_slice: array<vec4<f16>, 2u * COOP_COLUMNS>;
var<workgroup> coop_patches: array<vec4<f32>, 8u * PATCH>; // (subgroups, SIDE, PATCH_PITCH): four columns each

// Which block of a slice an invocation loads of one side.
struct Block {
    loads: bool,
    depth: u32, // its quad along the depth
    line: u32, // its quad of rows or of columns
}

// Neighbours take quads along the depth, eight or four, and then lines, so that stores meet in no bank. Loads along
// lines have four or more side by side.
fn coop_block(number: u32) -> Block {
    return Block(number < COOP_BLOCKS, number % COOP_DEPTHS, number / COOP_DEPTHS % COOP_LINES);
}

// Of the rows' side, and of the columns'.
fn row_block(local: u32) -> Block {
    return coop_block(local);
}

fn column_block(local: u32) -> Block {
    // Below the first one that loads, the number wraps around to one that is too large.
    return coop_block(local - COLUMN_LOADER);
}

// A block as it was read: what has no place in the product is not masked yet. Whatever reads a value waits for its
// load, and that must not be before the products of the slice in hand.
struct Fetched {
    block: mat4x4<f32>,
    inside: vec4<bool>, // of each column
}

fn masked(fetched: Fetched) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(
        select(zero, fetched.block[0], fetched.inside.x), select(zero, fetched.block[1], fetched.inside.y),
        select(zero, fetched.block[2], fetched.inside.z), select(zero, fetched.block[3], fetched.inside.w),
    );
}

// Writes a block whose columns are four rows, or columns, of the product, each of four depths.
fn store_block(first: u32, to: Block, m: mat4x4<f32>) {
    let at = first + 4u * to.line * COOP_PITCH + to.depth;
    coop_slice[at] = vec4<f16>(m[0]);
    coop_slice[at + COOP_PITCH] = vec4<f16>(m[1]);
    coop_slice[at + 2u * COOP_PITCH] = vec4<f16>(m[2]);
    coop_slice[at + 3u * COOP_PITCH] = vec4<f16>(m[3]);
}

fn store_rows(to: Block, m: mat4x4<f32>) {
    store_block(0u, to, m);
}

fn store_columns(to: Block, m: mat4x4<f32>) {
    store_block(COOP_COLUMNS, to, m);
}

// The first row and column of the tile that an invocation's subgroup makes.
fn coop_row(local: u32) -> u32 {
    return local / SUBGROUP / 4u * (4u * SIDE);
}

fn coop_column(local: u32) -> u32 {
    return local / SUBGROUP % 4u * (2u * SIDE);
}

// The four matrices of rows times the two of columns at one depth of the slice, added to the sums.
fn add_matrices(
    s00: ptr<function, SumMatrix>, s01: ptr<function, SumMatrix>,
    s10: ptr<function, SumMatrix>, s11: ptr<function, SumMatrix>,
    s20: ptr<function, SumMatrix>, s21: ptr<function, SumMatrix>,
    s30: ptr<function, SumMatrix>, s31: ptr<function, SumMatrix>,
    local: u32, depth: u32,
) {
    // Places by name: naga cannot take one that is computed within a load.
    let left = COOP_COLUMNS + coop_column(local) * COOP_PITCH + depth / 4u;
    let right = left + SIDE * COOP_PITCH;
    let first = coop_row(local) * COOP_PITCH + depth / 4u;
    let second = first + SIDE * COOP_PITCH;
    let third = second + SIDE * COOP_PITCH;
    let fourth = third + SIDE * COOP_PITCH;
    let b0 = coopLoad<ColumnMatrix>(&coop_slice[left], COOP_PITCH);
    let b1 = coopLoad<ColumnMatrix>(&coop_slice[right], COOP_PITCH);
    let a0 = coopLoadT<RowMatrix>(&coop_slice[first], COOP_PITCH);
    *s00 = coopMultiplyAdd(a0, b0, *s00);
    *s01 = coopMultiplyAdd(a0, b1, *s01);
    let a1 = coopLoadT<RowMatrix>(&coop_slice[second], COOP_PITCH);
    *s10 = coopMultiplyAdd(a1, b0, *s10);
    *s11 = coopMultiplyAdd(a1, b1, *s11);
    let a2 = coopLoadT<RowMatrix>(&coop_slice[third], COOP_PITCH);
    *s20 = coopMultiplyAdd(a2, b0, *s20);
    *s21 = coopMultiplyAdd(a2, b1, *s21);
    let a3 = coopLoadT<RowMatrix>(&coop_slice[fourth], COOP_PITCH);
    *s30 = coopMultiplyAdd(a3, b0, *s30);
    *s31 = coopMultiplyAdd(a3, b1, *s31);
}

// Puts a matrix of sums into the patch of its subgroup; when it returns all of it can be read.
fn lay_out(sum: ptr<function, SumMatrix>, local: u32) {
    let first = local / SUBGROUP * PATCH;
    workgroupBarrier();
    coopStoreT(*sum, &coop_patches[first], PATCH_PITCH);
    workgroupBarrier();
}

// The quad of columns `quad` in row `row` of the patch.
fn patch_quad(local: u32, row: u32, quad: u32) -> vec4<f32> {
    return coop_patches[local / SUBGROUP * PATCH + row * PATCH_PITCH + quad];
}

// Of the column `column` of the patch four rows from `row` on.
fn patch_column(local: u32, row: u32, column: u32) -> vec4<f32> {
    let first = local / SUBGROUP * PATCH + row * PATCH_PITCH + column / 4u;
    let lane = column % 4u;
    return vec4<f32>(
        coop_patches[first][lane], coop_patches[first + PATCH_PITCH][lane],
        coop_patches[first + 2u * PATCH_PITCH][lane], coop_patches[first + 3u * PATCH_PITCH][lane],
    );
}
