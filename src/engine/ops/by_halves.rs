//! Sums over the images of a batch, in an order that several processes can keep to.

use crate::engine::blocks;
use crate::engine::ops::gemm::with_scratch;
use std::ops::Range;

/// What writes the part of one image.
pub(crate) type Part<'f> = &'f (dyn Fn(usize, &mut [f32]) + Sync);

/// Who adds up the halves of a sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halves {
    /// One after the other: what makes a part uses all processors.
    InTurn,
    /// Side by side.
    AtOnce,
}

/// Makes `out` the sum of what `part(image, out)` writes for each of `images`: that of the first half of them plus
/// that of the second, and so on down to single images.
///
/// Processes that share a batch out evenly have just such halves, and add theirs in the same order
/// ([`weighted_sum`](crate::engine::ranks::weighted_sum)): a sum has the same bits however many there are.
pub(crate) fn sum_by_halves(images: Range<usize>, how: Halves, part: Part<'_>, out: &mut [f32]) {
    if images.len() < 2 {
        return part(images.start, out);
    }
    let middle = images.start + images.len() / 2;
    let (first, second) = (images.start..middle, middle..images.end);
    with_scratch(out.len(), |other| {
        match how {
            Halves::InTurn => {
                sum_by_halves(first, how, part, out);
                sum_by_halves(second, how, part, other);
            }
            Halves::AtOnce => {
                rayon::join(|| sum_by_halves(first, how, part, out), || sum_by_halves(second, how, part, other));
            }
        }
        add_halves(out, other);
    });
}

/// Adds the sum of the second half to that of the first.
pub(crate) fn add_halves(first: &mut [f32], second: &[f32]) {
    blocks::map((first, blocks::BLOCK), (second, blocks::BLOCK), |_, first, second| {
        first.iter_mut().zip(second).for_each(|(first, second)| *first += second);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ranks::{Share, weighted_sum};

    #[test]
    fn halves_are_those_of_processes() {
        // In another order, other bits.
        let part = |image: usize, out: &mut [f32]| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = [1.0, 3e7, -3e7, 0.3][(image + i) % 4] + i as f32);
        };
        let sum = |images: Range<usize>, how| {
            let mut out = vec![f32::NAN; 5000];
            sum_by_halves(images, how, &part, &mut out);
            out
        };
        for batch in [1, 2, 4, 6, 8, 12] {
            let whole = sum(0..batch, Halves::InTurn);
            assert_eq!(whole, sum(0..batch, Halves::AtOnce));
            for processes in [2, 4].into_iter().filter(|processes| batch % processes == 0) {
                let share = |rank| sum(Share::new(batch, rank, processes).positions(), Halves::InTurn);
                let parts: Vec<Vec<f32>> = (0..processes).map(share).collect();
                let mut total = vec![0.0; 5000];
                weighted_sum(parts.iter().map(Vec::as_slice), &vec![1.0; processes], &mut total);
                assert_eq!(total, whole, "{batch} images, {processes} processes");
            }
        }
        let in_order: Vec<f32> = (0..5000)
            .map(|i| {
                let mut one = vec![0.0; i + 1];
                (0..8).fold(0.0, |sum, image| {
                    part(image, &mut one);
                    sum + one[i]
                })
            })
            .collect();
        assert_ne!(sum(0..8, Halves::InTurn), in_order);
    }
}
