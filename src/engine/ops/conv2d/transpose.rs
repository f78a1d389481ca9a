//! The transpose of a small matrix, for weights whose inputs a product reads one after another and that lie the other
//! way round.

/// Rows of such a matrix.
pub const ROWS: usize = 32;
/// Its columns.
pub const COLUMNS: usize = 16;

/// Writes the transpose of ROWS rows of COLUMNS values. By perfect shuffles, which vectors have instructions for: each
/// turns the bits of a value's place by one, and all of them its row's bits behind its column's.
///
/// Inlined always, so that it is compiled for the vectors of its caller.
#[inline(always)]
pub fn transpose(rows: &mut [[f32; COLUMNS]; ROWS], columns: &mut [[f32; ROWS]; COLUMNS]) {
    const { assert!(ROWS.is_power_of_two() && ROWS.ilog2() % 2 == 1) };
    let (rows, columns) = (rows.as_flattened_mut(), columns.as_flattened_mut());
    shuffle(rows, columns);
    for _ in 0..ROWS.ilog2() / 2 {
        shuffle(columns, rows);
        shuffle(rows, columns);
    }
}

/// Takes a value of either half in turns.
#[inline(always)]
fn shuffle(from: &[f32], to: &mut [f32]) {
    let (first, second) = from.split_at(from.len() / 2);
    for ((to, first), second) in to.as_chunks_mut().0.iter_mut().zip(first).zip(second) {
        *to = [*first, *second];
    }
}
