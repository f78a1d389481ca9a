//! How twins share slices out among threads: in blocks of a length that the twin names, never in a share a thread, so
//! that bits do not depend on the number of cores. Pictures of a survey are shared out the same way.
//!
//! The loops take their body as `dyn Fn`: what rayon needs for them, some 3 kB, is compiled once a function of this
//! file, not once a twin. A block is much work; a call of it, and a lock, cost nothing.

use rayon::prelude::*;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// Elements of a block where nothing else decides.
pub(crate) const BLOCK: usize = 1 << 14;

type Write<'f> = &'f (dyn Fn(usize, &mut [f32]) + Sync);
type Map<'f> = &'f (dyn Fn(usize, &mut [f32], &[f32]) + Sync);
type Zip<'f> = &'f (dyn Fn(usize, &mut [f32], &[f32], &[f32]) + Sync);

/// Calls `f` with each number below `count`.
pub(crate) fn each(count: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().for_each(f);
}

/// What `f` makes of each number below `count`, in order.
pub(crate) fn collect<T: Send>(count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let made: Vec<Mutex<Option<T>>> = (0..count).map(|_| Mutex::new(None)).collect();
    each(count, &|i| {
        let value = f(i);
        *made[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    });
    made.into_iter().filter_map(|value| value.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Calls `f` with each of some tasks, which may hold what they write to, and its number.
pub(crate) fn share<T: Send>(tasks: impl IntoIterator<Item = T>, f: impl Fn(usize, T) + Sync) {
    let tasks: Vec<Mutex<Option<T>>> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    each(tasks.len(), &|i| {
        let task = tasks[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(|task| f(i, task));
    });
}

/// A slice that several tasks write to at places that lie between those of others, as channels of pixels do.
pub(crate) struct Apart<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

#[allow(unsafe_code, reason = "a slice that threads share; who writes says what is apart")]
// SAFETY: nothing is read, and two threads may not write to one place, see `Apart::write`.
unsafe impl Sync for Apart<'_> {}

impl<'a> Apart<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Apart { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Writes `values` from place `at` on.
    ///
    /// # Panics
    /// When they reach beyond the slice.
    ///
    /// # Safety
    /// While this lives, no other thread writes to any of these places.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the caller says that no other task has these places")]
    // SAFETY: for the caller to see to, as above.
    pub unsafe fn write<const N: usize>(&self, at: usize, values: &[f32; N]) {
        assert!(at <= self.len && N <= self.len - at, "{N} values at {at} of {}", self.len);
        // SAFETY: within the slice, by the assertion, which nobody else refers to as long as this lives.
        unsafe { self.start.add(at).copy_from_nonoverlapping(values.as_ptr(), N) }
    }
}

/// Block number `i` of `x`, of `len` elements. The last may be shorter.
pub(crate) fn block<T>(x: &[T], len: usize, i: usize) -> &[T] {
    &x[i * len..x.len().min((i + 1) * len)]
}

/// Calls `f` with each block of `y` and its number. The last block may be shorter.
pub(crate) fn write((y, len): (&mut [f32], usize), f: impl Fn(usize, &mut [f32]) + Sync) {
    let f: Write = &f;
    y.par_chunks_mut(len).enumerate().for_each(|(i, y)| f(i, y));
}

/// As [`write`], with the block of `x` of the same number: as many blocks as both have.
pub(crate) fn map(
    (y, y_len): (&mut [f32], usize),
    (x, x_len): (&[f32], usize),
    f: impl Fn(usize, &mut [f32], &[f32]) + Sync,
) {
    let f: Map = &f;
    y.par_chunks_mut(y_len).zip(x.par_chunks(x_len)).enumerate().for_each(|(i, (y, x))| f(i, y, x));
}

/// As [`map`], with a second input.
pub(crate) fn zip(
    (y, y_len): (&mut [f32], usize),
    (x, x_len): (&[f32], usize),
    (z, z_len): (&[f32], usize),
    f: impl Fn(usize, &mut [f32], &[f32], &[f32]) + Sync,
) {
    let f: Zip = &f;
    let blocks = y.par_chunks_mut(y_len).zip(x.par_chunks(x_len)).zip(z.par_chunks(z_len)).enumerate();
    blocks.for_each(|(i, ((y, x), z))| f(i, y, x, z));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_number_meet_and_the_last_may_be_short() {
        let (x, z) = ([1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 20.0, 30.0]);
        let mut y = [0.0; 5];
        write((&mut y, 2), |i, y| y.fill(i as f32));
        assert_eq!(y, [0.0, 0.0, 1.0, 1.0, 2.0]);
        map((&mut y, 2), (&x, 2), |i, y, x| y.iter_mut().zip(x).for_each(|(y, x)| *y = i as f32 * x));
        assert_eq!(y, [0.0, 0.0, 3.0, 4.0, 10.0]);
        zip((&mut y, 2), (&x, 2), (&z, 1), |_, y, x, z| y.iter_mut().zip(x).for_each(|(y, x)| *y = x + z[0]));
        assert_eq!(y, [11.0, 12.0, 23.0, 24.0, 35.0]);
        share(y.chunks_mut(3).zip([1.0, 2.0]), |i, (y, task)| y.fill(10.0 * i as f32 + task));
        assert_eq!(y, [1.0, 1.0, 1.0, 12.0, 12.0]);
        assert_eq!(collect(3, |i| block(&x, 2, i).to_vec()), [vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0]]);
    }

    #[test]
    #[allow(unsafe_code, reason = "to write to it")]
    fn tasks_write_between_the_places_of_others_and_not_beyond_the_slice() {
        let mut y = vec![0.0; 8 * 100];
        let apart = Apart::new(&mut y);
        each(4, &|task| {
            for pixel in 0..100 {
                let value = (pixel * 4 + task) as f32;
                // Safety: two channels of each pixel are this task's.
                unsafe { apart.write(8 * pixel + 2 * task, &[value, -value]) };
            }
        });
        for (i, pair) in y.chunks(2).enumerate() {
            assert_eq!(pair, [i as f32, -(i as f32)]);
        }
        let apart = Apart::new(&mut y);
        for at in [799, 800, usize::MAX] {
            // Safety: nobody else writes.
            let written =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { apart.write(at, &[1.0; 2]) }));
            assert!(written.is_err(), "two values at {at} of 800");
        }
    }
}
