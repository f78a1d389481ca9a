//! Single-threaded matrix products for the twins, which call them on blocks from their own parallel loops.

use std::cell::RefCell;
use std::ops::Range;

/// `c[i] = a b`, or `c[i] += a b` where `add` is set, for each `(i, a)` that `row` gives for `0..count`: b is (k, N), a
/// has k elements, and c has rows of N. `ahead` is what is read next, rows of k elements as they lie: they come nearer
/// meanwhile.
///
/// Rows may lie anywhere. Each element is the sum over k in order.
///
/// # Panics
/// When a slice is too short for its sizes: a mistake in the caller.
pub fn panel_product<'a, const N: usize>(
    count: usize,
    row: impl Fn(usize) -> (usize, &'a [f32]),
    b: &[f32],
    add: bool,
    c: &mut [f32],
    ahead: &[f32],
) {
    with_vectors(
        #[inline(always)]
        move |vectors| match (vectors, N) {
            // 16 to 24 registers of sums.
            (Vectors::Avx512, 64) => panel_rows::<6, 64, N>(count, row, b, add, c, ahead, vectors),
            (Vectors::Avx512, 32) => panel_rows::<8, 32, N>(count, row, b, add, c, ahead, vectors),
            (Vectors::Avx512, _) => panel_rows::<16, 16, N>(count, row, b, add, c, ahead, vectors),
            // 12 registers of sums, of 16.
            (Vectors::Avx2, _) => panel_rows::<6, 16, N>(count, row, b, add, c, ahead, vectors),
            // As many as the shortest vectors have.
            (Vectors::Baseline, _) => panel_rows::<4, 16, N>(count, row, b, add, c, ahead, vectors),
        },
    );
}

/// [`panel_product`] by tiles of R rows and W columns, whose sums the registers hold. W divides N.
#[inline(always)]
fn panel_rows<'a, const R: usize, const W: usize, const N: usize>(
    count: usize,
    row: impl Fn(usize) -> (usize, &'a [f32]),
    b: &[f32],
    add: bool,
    c: &mut [f32],
    ahead: &[f32],
    vectors: Vectors,
) {
    let ((b, _), (c, _)) = (b.as_chunks::<N>(), c.as_chunks_mut::<N>());
    for strip in 0..N / W {
        let mut first = 0;
        while first + R <= count {
            // Where nothing is, b once more.
            let ahead = ahead.get(first * b.len()..).unwrap_or(b.as_flattened()).as_ptr();
            panel_tile::<R, W, N>(std::array::from_fn(|i| row(first + i)), b, strip, add, c, ahead, vectors);
            first += R;
        }
        // What is left by fours, if that is fewer, and by ones.
        while R > 4 && first + 4 <= count {
            panel_tile::<4, W, N>(
                std::array::from_fn(|i| row(first + i)),
                b,
                strip,
                add,
                c,
                b.as_ptr().cast(),
                vectors,
            );
            first += 4;
        }
        for i in first..count {
            panel_tile::<1, W, N>([row(i)], b, strip, add, c, b.as_ptr().cast(), vectors);
        }
    }
}

/// A block for each number `i` below R, up to 16: written out, so that the sums that it changes are in registers where
/// less is inlined, too (`tools/static-program`): no such loop is unrolled then.
macro_rules! each_row {
    ($i:ident of $rows:ident, $block:block) => {
        each_row!($i of $rows, $block, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($i:ident of $rows:ident, $block:block, $($number:literal)*) => {
        $(if $number < $rows {
            let $i: usize = $number;
            $block
        })*
    };
}

#[inline(always)]
fn panel_tile<const R: usize, const W: usize, const N: usize>(
    rows: [(usize, &[f32]); R],
    b: &[[f32; N]],
    strip: usize,
    add: bool,
    c: &mut [[f32; N]],
    ahead: *const f32,
    vectors: Vectors,
) {
    // Not `map`, which is not always inlined: all rows are known to be as long as b, and no index below is checked.
    let mut a: [&[f32]; R] = [&[]; R];
    each_row!(i of R, { a[i] = &rows[i].1[..b.len()] });
    let mut sums = [[0.0; W]; R];
    if add {
        each_row!(i of R, { sums[i] = c[rows[i].0].as_chunks().0[strip] });
    }
    for k in 0..b.len() {
        prefetch(ahead.wrapping_add(k * R), Near::First);
        // A copy, which stays in registers for all rows.
        let b: [f32; W] = b[k].as_chunks().0[strip];
        each_row!(i of R, {
            let a = a[i][k];
            for (sum, b) in sums[i].iter_mut().zip(&b) {
                *sum = vectors.multiply_add(a, *b, *sum);
            }
        });
    }
    each_row!(i of R, { c[rows[i].0].as_chunks_mut().0[strip] = sums[i] });
}

/// The first `m` x `n` of `c = a^T b`, or of `c += a^T b` where `add` is set: a is (k, M), b (k, N), and the rows of c
/// lie `pitch` apart; m and n are multiples of 16. `ahead` is what is read next as a and as b: it comes nearer
/// meanwhile.
///
/// As [`panel_product`], for a sum over rows. Each element is the sum over k in order; what was there is added last.
///
/// # Panics
/// When m or n is larger than the matrices, or c shorter than m rows: a mistake in the caller.
pub fn column_product<const M: usize, const N: usize>(
    [m, n]: [usize; 2],
    a: &[f32],
    b: &[f32],
    add: bool,
    (c, pitch): (&mut [f32], usize),
    ahead: [&[f32]; 2],
) {
    let operands = Operands { sizes: [m, n], a, b, add, pitch, ahead };
    // Not by a closure, as above: the compiler has to know that c lies apart from a and b, as a parameter does.
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512<const M: usize, const N: usize>(operands: Operands, c: &mut [f32]) {
            let n = operands.sizes[1];
            // Not 16 x 16: the compiler keeps such a tile in memory.
            columns::<8, 32, M, N>(operands, 0..n / 32, c, Vectors::Avx512);
            columns::<8, 16, M, N>(operands, n / 32 * 2..n / 16, c, Vectors::Avx512);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<const M: usize, const N: usize>(operands: Operands, c: &mut [f32]) {
            columns::<6, 16, M, N>(operands, 0..operands.sizes[1] / 16, c, Vectors::Avx2);
        }
        #[allow(unsafe_code, reason = "the processor is asked for the instructions first")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { avx512::<M, N>(operands, c) };
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { avx2::<M, N>(operands, c) };
        }
    }
    columns::<4, 16, M, N>(operands, 0..n / 16, c, Vectors::Baseline);
}

/// What a [`column_product`] reads, and how.
#[derive(Clone, Copy)]
struct Operands<'a> {
    sizes: [usize; 2],
    a: &'a [f32],
    b: &'a [f32],
    add: bool,
    pitch: usize,
    ahead: [&'a [f32]; 2],
}

/// Strips of W columns of a [`column_product`], by tiles of R rows, whose sums the registers hold. R is 6 or divides m.
#[inline(always)]
fn columns<const R: usize, const W: usize, const M: usize, const N: usize>(
    Operands { sizes: [m, _], a, b, add, pitch, ahead }: Operands,
    strips: Range<usize>,
    c: &mut [f32],
    vectors: Vectors,
) {
    let ((a, _), (b, _)) = (a.as_chunks::<M>(), b.as_chunks::<N>());
    let ahead = ahead.map(<[f32]>::as_ptr);
    for strip in strips {
        // Of tiles of 6 rows as many as leave whole ones of 4.
        let whole = if R == 6 { m / 12 * 12 } else { m };
        for first in (0..whole).step_by(R) {
            let c = (&mut c[first * pitch + strip * W..], pitch);
            column_tile::<R, W, M, N>([first, strip], a, b, add, c, ahead, vectors);
        }
        for first in (whole..m).step_by(4) {
            let c = (&mut c[first * pitch + strip * W..], pitch);
            column_tile::<4, W, M, N>([first, strip], a, b, add, c, ahead, vectors);
        }
    }
}

#[inline(always)]
fn column_tile<const R: usize, const W: usize, const M: usize, const N: usize>(
    [first, strip]: [usize; 2],
    a: &[[f32; M]],
    b: &[[f32; N]],
    add: bool,
    (c, pitch): (&mut [f32], usize),
    ahead: [*const f32; 2],
    vectors: Vectors,
) {
    // Once, not for each row below.
    assert!(first + R <= M, "rows from {first} on of {M}");
    let mut sums = [[0.0; W]; R];
    // A share of what is ahead.
    let mut at = first * a.len();
    for (a, b) in a.iter().zip(b) {
        // Once a cache line, of R elements a turn.
        if at % LINE < R {
            prefetch(ahead[0].wrapping_add(at), Near::First);
            prefetch(ahead[1].wrapping_add(at * N / M), Near::First);
        }
        at += R;
        let b: [f32; W] = b.as_chunks().0[strip];
        each_row!(i of R, {
            let a = a[first + i];
            for (sum, b) in sums[i].iter_mut().zip(&b) {
                *sum = vectors.multiply_add(a, *b, *sum);
            }
        });
    }
    each_row!(i of R, {
        let c: &mut [f32; W] = &mut c[i * pitch..].as_chunks_mut().0[0];
        let there = if add { *c } else { [0.0; W] };
        for ((c, there), sum) in c.iter_mut().zip(there).zip(&sums[i]) {
            *c = there + sum;
        }
    });
}

/// How near something is brought.
#[derive(Debug, Clone, Copy)]
pub enum Near {
    /// To the first-level cache.
    First,
    /// To the second-level cache, which has room until it is read; the products need all of the first.
    Second,
}

/// Begins to bring a cache line nearer that is read soon. There may be nothing at that place.
#[inline(always)]
pub fn prefetch(at: *const f32, near: Near) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "a hint, which reads nothing and asks no leave")]
    // SAFETY: every processor of the kind has the instruction, and none faults at any place.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match near {
            Near::First => _mm_prefetch::<_MM_HINT_T0>(at.cast()),
            Near::Second => _mm_prefetch::<_MM_HINT_T1>(at.cast()),
        }
    }
    // Of other processors the compiler has no stable function for it.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, near);
}

/// Elements of a cache line, and of the widest vectors.
const LINE: usize = 16;

/// Whether values begin on a cache line: otherwise each wide vector of them lies on two.
pub fn are_on_lines(values: &[f32]) -> bool {
    values.as_ptr().align_offset(size_of::<[f32; LINE]>()) == 0
}

/// What a function is compiled for.
#[derive(Debug, Clone, Copy)]
pub enum Vectors {
    /// AVX-512.
    Avx512,
    /// AVX2 with fused multiplications and additions.
    Avx2,
    /// What every processor that the build is for has.
    Baseline,
}

impl Vectors {
    /// `x y + sum`, rounded once where these processors can.
    #[inline(always)]
    pub fn multiply_add(self, x: f32, y: f32, sum: f32) -> f32 {
        match self {
            Vectors::Baseline if !cfg!(any(target_arch = "aarch64", target_feature = "fma")) => x * y + sum,
            _ => x.mul_add(y, sum),
        }
    }
}

/// Runs `f`, compiled for the widest vectors that this processor has: a build for every processor of its kind has none
/// but the shortest. `f` is told which, and knows it when it is compiled.
///
/// Only what is inlined into `f` gains.
#[inline(always)]
pub fn with_vectors<R>(f: impl FnOnce(Vectors) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512<R>(f: impl FnOnce(Vectors) -> R) -> R {
            f(Vectors::Avx512)
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(f: impl FnOnce(Vectors) -> R) -> R {
            f(Vectors::Avx2)
        }
        #[allow(unsafe_code, reason = "the processor is asked for the instructions first")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { avx512(f) };
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { avx2(f) };
        }
    }
    f(Vectors::Baseline)
}

/// Runs `f`, compiled for the widest vectors that this processor has. The results are the same bits, since the order of
/// operations is the same and no two are fused.
///
/// Only what is inlined into `f` gains.
pub fn with_wide_vectors<R>(f: impl FnOnce() -> R) -> R {
    with_vectors(
        #[inline(always)]
        |_| f(),
    )
}

/// Runs `f` on `len` elements of this thread's scratch memory, whose content is whatever was there.
///
/// The memory stays with the thread: a block of a convolution takes megabytes, and fresh pages cost more than the copy
/// into them. Each depth of nesting has its own: the smallest that is large enough.
pub fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local!(static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) });
    let mut scratch = FREE.with_borrow_mut(|free| {
        // By their sizes.
        let at = free.partition_point(|scratch| scratch.len() < len + LINE);
        if at < free.len() { free.remove(at) } else { free.pop().unwrap_or_default() }
    });
    if scratch.len() < len + LINE {
        // Let go first, for nothing in it matters.
        drop(scratch);
        scratch = vec![0.0; len + LINE];
    }
    // From a whole cache line on: otherwise each store of a wide vector would touch two.
    let start = scratch.as_ptr().align_offset(size_of::<[f32; LINE]>()).min(LINE);
    let result = f(&mut scratch[start..start + len]);
    FREE.with_borrow_mut(|free| free.insert(free.partition_point(|other| other.len() < scratch.len()), scratch));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_columns_sums_over_rows_and_adds_to_what_is_there() {
        const K: usize = 3;
        let a: Vec<f32> = (0..K * 64).map(|i| (i % 7) as f32).collect();
        let b: Vec<f32> = (0..K * 64).map(|i| (i % 5) as f32 - 1.0).collect();
        // As the processor has it, and by the tiles of 6 rows and of 4.
        let products: [fn(Operands, &mut [f32]); 3] = [
            |o, c| column_product::<64, 64>(o.sizes, o.a, o.b, o.add, (c, o.pitch), o.ahead),
            |o, c| columns::<6, 16, 64, 64>(o, 0..o.sizes[1] / 16, c, Vectors::Avx2),
            |o, c| columns::<4, 16, 64, 64>(o, 0..o.sizes[1] / 16, c, Vectors::Baseline),
        ];
        for ([m, n], product) in [[64, 64], [64, 32], [48, 48], [48, 16], [32, 64], [16, 32]]
            .into_iter()
            .flat_map(|sizes| products.map(|product| (sizes, product)))
        {
            let mut c = vec![1.0; 64 * 64];
            for (add, there) in [(false, 0.0), (true, 2.0)] {
                if add {
                    c.fill(there);
                }
                product(Operands { sizes: [m, n], a: &a, b: &b, add, pitch: 64, ahead: [&a, &b] }, &mut c);
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let sum: f32 = (0..K).map(|k| a[k * 64 + i] * b[k * 64 + j]).sum();
                    assert_eq!(c[i * 64 + j], sum + there, "({i}, {j}) of {m} x {n}");
                }
            }
            assert!(c[m * 64..].iter().all(|value| *value == 2.0), "rows beyond {m} were written");
        }
    }

    /// A product of rows, b, whether it is added, c.
    type Product = fn(&[(usize, &[f32])], &[f32], bool, &mut [f32]);

    /// Every kernel of [`panel_product`], whatever the processor has, with rows in any order that no block divides.
    #[test]
    fn a_product_of_rows_adds_to_what_is_there() {
        const N: usize = 32;
        let (m, k, pitch) = (23, 13, 17);
        let values = |len: usize, step: usize| (0..len).map(|i| (i * step % 23) as f32 - 11.0).collect::<Vec<_>>();
        let (a, b, before) = (values(m * pitch, 7), values(k * N, 5), values(m * N, 3));
        let rows: Vec<_> = (0..m).map(|i| i * 5 % m).map(|i| (i, &a[i * pitch..][..k])).collect();
        for add in [false, true] {
            let mut expected = before.clone();
            for &(i, row) in &rows {
                for (j, expected) in expected[i * N..][..N].iter_mut().enumerate() {
                    let sum: f32 = row.iter().zip(b[j..].iter().step_by(N)).map(|(a, b)| a * b).sum();
                    *expected = sum + if add { *expected } else { 0.0 };
                }
            }
            let kernels: [Product; 5] = [
                |rows, b, add, c| panel_product::<N>(rows.len(), |i| rows[i], b, add, c, rows[0].1),
                |rows, b, add, c| panel_rows::<8, 32, N>(rows.len(), |i| rows[i], b, add, c, &[], Vectors::Avx2),
                |rows, b, add, c| panel_rows::<3, 16, N>(rows.len(), |i| rows[i], b, add, c, &[], Vectors::Avx2),
                |rows, b, add, c| panel_rows::<6, 16, N>(rows.len(), |i| rows[i], b, add, c, &[], Vectors::Avx2),
                |rows, b, add, c| panel_rows::<4, 16, N>(rows.len(), |i| rows[i], b, add, c, &[], Vectors::Baseline),
            ];
            for kernel in kernels {
                let mut c = before.clone();
                kernel(&rows, &b, add, &mut c);
                // Small integers: every sum is exact.
                assert_eq!(c, expected);
            }
        }
    }

    #[test]
    fn nested_scratch_is_separate() {
        with_scratch(8, |outer| {
            outer.fill(1.0);
            with_scratch(8, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&v| v == 1.0));
        });
    }
}
