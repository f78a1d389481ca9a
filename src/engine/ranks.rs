//! Several processes that do one piece of work: which of them this is, and what they tell one another.
//!
//! Nothing but this is known of them elsewhere. Without the feature `mpi` there is one process, and the compiler drops
//! whatever is done for more.

use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Whether this build can be one of several processes.
pub const POSSIBLE: bool = cfg!(any(test, feature = "testing", feature = "mpi"));

/// How processes reach one another. All of them make the same calls in the same order; each call waits for the others.
pub trait Group: Send + Sync {
    /// Which process this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// The values of all processes, rank after rank. Each brings as many.
    ///
    /// # Errors
    /// A process that cannot be reached.
    fn gather(&self, mine: &[f64]) -> Result<Vec<f64>>;

    /// Makes `values` the sums over all ranks r of `weights[r] values_r`, of as many values and the same weights
    /// everywhere: the same bits in every process, see [`weighted_sum`].
    ///
    /// # Errors
    /// As [`Group::gather`].
    fn sum(&self, values: &mut [f32], weights: &[f64]) -> Result<()>;

    /// The values of each process, of any number, for the first one; the others get nothing.
    ///
    /// # Errors
    /// As [`Group::gather`].
    fn collect(&self, mine: &[f32]) -> Result<Vec<Vec<f32>>>;

    /// The bytes of the first process, whatever the others bring.
    ///
    /// # Errors
    /// As [`Group::gather`].
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Returns once every process has called it, and leaves the processor to others until then.
    ///
    /// # Errors
    /// As [`Group::gather`].
    fn wait(&self) -> Result<()>;
}

/// Elements that are summed at a time, few enough to stay in the processor's cache.
const BLOCK: usize = 4096;

/// `out[i] = sum over r of weights[r] parts[r][i]`: that of the first half of the ranks plus that of the second, each
/// added in the same way and rounded to f32. Its bits depend on the values and the number of processes alone. By
/// weights that are powers of two it is in the order of `ops::by_halves`, whatever process has which images.
pub fn weighted_sum<'a>(parts: impl Iterator<Item = &'a [f32]>, weights: &[f64], out: &mut [f32]) {
    let parts: Vec<&[f32]> = parts.collect();
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let parts: Vec<&[f32]> = parts.iter().map(|part| &part[block * BLOCK..][..out.len()]).collect();
        sum_of_halves(&parts, weights, out);
    }
}

/// [`weighted_sum`] of at most `BLOCK` elements.
fn sum_of_halves(parts: &[&[f32]], weights: &[f64], out: &mut [f32]) {
    match (parts, weights) {
        ([part], [weight]) => {
            out.iter_mut().zip(*part).for_each(|(out, value)| *out = (weight * f64::from(*value)) as f32);
        }
        ([first, second], [by_first, by_second]) => {
            for ((out, first), second) in out.iter_mut().zip(*first).zip(*second) {
                *out = (by_first * f64::from(*first) + by_second * f64::from(*second)) as f32;
            }
        }
        _ => {
            let middle = parts.len() / 2;
            let mut other = [0.0; BLOCK];
            let other = &mut other[..out.len()];
            sum_of_halves(&parts[..middle], &weights[..middle], out);
            sum_of_halves(&parts[middle..], &weights[middle..], other);
            out.iter_mut().zip(other).for_each(|(out, other)| *out += *other);
        }
    }
}

/// The part of a batch that one process has: images `first..first + images` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Position of its first image in the whole batch.
    pub first: usize,
    /// Its images.
    pub images: usize,
    /// Images of the whole batch.
    pub of: usize,
}

impl Default for Share {
    /// All of a batch, whose size does not matter.
    fn default() -> Self {
        Share { first: 0, images: 1, of: 1 }
    }
}

impl Share {
    /// The share that process `rank` of `size` has in a batch of `of` images.
    pub fn new(of: usize, rank: usize, size: usize) -> Share {
        let at = |rank: usize| of * rank / size;
        Share { first: at(rank), images: at(rank + 1) - at(rank), of }
    }

    /// Its positions in the whole batch.
    pub fn positions(&self) -> Range<usize> {
        self.first..self.first + self.images
    }
}

/// The processes that this one works with.
#[derive(Clone, Default)]
pub struct Ranks(Option<Arc<dyn Group>>);

impl Ranks {
    /// This process alone.
    pub const ALONE: Ranks = Ranks(None);

    /// The processes of a group; a group of one is as good as none.
    pub fn of(group: Arc<dyn Group>) -> Ranks {
        Ranks((group.size() > 1).then_some(group))
    }

    #[inline(always)]
    fn group(&self) -> Option<&dyn Group> {
        if POSSIBLE { self.0.as_deref() } else { None }
    }

    /// Whether there is no other process.
    #[inline(always)]
    pub fn alone(&self) -> bool {
        self.group().is_none()
    }

    /// Which process this is, from 0.
    #[inline(always)]
    pub fn rank(&self) -> usize {
        self.group().map_or(0, Group::rank)
    }

    /// How many there are.
    #[inline(always)]
    pub fn size(&self) -> usize {
        self.group().map_or(1, Group::size)
    }

    /// Whether this is the process that writes and tells.
    #[inline(always)]
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// This process's share of a batch of `images`.
    #[inline(always)]
    pub fn share(&self, images: usize) -> Share {
        Share::new(images, self.rank(), self.size())
    }

    /// As [`Group::gather`].
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn gather(&self, mine: &[f64]) -> Result<Vec<f64>> {
        self.group().map_or_else(|| Ok(mine.to_vec()), |group| group.gather(mine))
    }

    /// The means over all processes, each by the images that it has of a batch of `images`.
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn mean(&self, values: &mut [f32], images: usize) -> Result<()> {
        let Some(group) = self.group() else { return Ok(()) };
        let size = group.size();
        let weight = |rank| Share::new(images, rank, size).images as f64 / images as f64;
        group.sum(values, &(0..size).map(weight).collect::<Vec<_>>())
    }

    /// The sums of values over all processes, in the order of the ranks.
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn total(&self, mine: &[f64]) -> Result<Vec<f64>> {
        let all = self.gather(mine)?;
        Ok((0..mine.len()).map(|i| all.iter().skip(i).step_by(mine.len()).sum()).collect())
    }

    /// Whether it is so in any of the processes.
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn any(&self, mine: bool) -> Result<bool> {
        if self.alone() { Ok(mine) } else { Ok(self.total(&[f64::from(u8::from(mine))])?[0] > 0.0) }
    }

    /// As [`Group::collect`].
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn collect(&self, mine: &[f32]) -> Result<Vec<Vec<f32>>> {
        self.group().map_or_else(|| Ok(vec![mine.to_vec()]), |group| group.collect(mine))
    }

    /// As [`Group::broadcast`], of what `make` makes in the first process alone.
    ///
    /// # Errors
    /// As [`Group::gather`], and those of `make`.
    #[inline]
    pub fn from_first(&self, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        match self.group() {
            None => make(),
            Some(group) => group.broadcast(if self.leads() { make()? } else { Vec::new() }),
        }
    }

    /// As [`Group::wait`].
    ///
    /// # Errors
    /// As [`Group::gather`].
    #[inline]
    pub fn wait(&self) -> Result<()> {
        self.group().map_or(Ok(()), Group::wait)
    }

    /// Refuses batches that leave a process without an image, `least` being the images of the smallest batch.
    ///
    /// # Errors
    /// Fewer images than processes.
    #[inline]
    pub fn check_batch(&self, least: usize) -> Result<()> {
        let what = || format!("{} processes for a batch of {least} images", self.size());
        let remedy = "start fewer processes, or raise ⟨batch⟩, which is that of all together; with ⟨patches⟩, the last \
                      batch of an epoch is what is left";
        crate::ensure!(self.size() <= least, Error::input(what(), format!("⟨batch⟩ {least}"), remedy));
        Ok(())
    }
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ranks({} of {})", self.rank(), self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::together;

    #[test]
    fn shares_cover_a_batch_in_the_order_of_the_ranks() {
        for (of, size) in [(4, 2), (7, 3), (5, 5), (32, 8), (10, 4)] {
            let shares: Vec<Share> = (0..size).map(|rank| Share::new(of, rank, size)).collect();
            assert_eq!(shares.iter().flat_map(Share::positions).collect::<Vec<_>>(), (0..of).collect::<Vec<_>>());
            assert!(shares.iter().all(|share| share.images > 0));
        }
    }

    #[test]
    fn sums_are_by_halves_of_the_ranks_and_the_same_everywhere() {
        // In another order, other bits.
        let value = |rank: usize, i: usize| [1.0f32, 3e7, -3e7][(rank + i) % 3] + i as f32;
        let sums = together(3, |ranks| {
            let mut values: Vec<f32> = (0..5000).map(|i| value(ranks.rank(), i)).collect();
            ranks.mean(&mut values, 4).unwrap();
            values
        });
        // Of four images the ranks have one, one and two.
        let weights = [0.25, 0.25, 0.5];
        let weighted = |rank: usize, i| weights[rank] * f64::from(value(rank, i));
        let expected: Vec<f32> =
            (0..5000).map(|i| weighted(0, i) as f32 + (weighted(1, i) + weighted(2, i)) as f32).collect();
        assert!(sums.iter().all(|sum| *sum == expected));
    }

    #[test]
    fn what_is_told_reaches_all_and_what_is_collected_the_first() {
        let ends = together(3, |ranks| {
            let mine = vec![ranks.rank() as f32; ranks.rank() + 1];
            let told = ranks.from_first(|| Ok(vec![7, ranks.rank() as u8])).unwrap();
            ranks.wait().unwrap();
            let any = [ranks.any(ranks.rank() == 2).unwrap(), ranks.any(false).unwrap()];
            (told, ranks.collect(&mine).unwrap(), ranks.gather(&[ranks.rank() as f64, 0.5]).unwrap(), any)
        });
        for (rank, (told, collected, gathered, any)) in ends.into_iter().enumerate() {
            assert_eq!((told, any), (vec![7, 0], [true, false]));
            assert_eq!(gathered, [0.0, 0.5, 1.0, 0.5, 2.0, 0.5]);
            let all = vec![vec![0.0], vec![1.0; 2], vec![2.0; 3]];
            assert_eq!(collected, if rank == 0 { all } else { Vec::new() });
        }
    }

    #[test]
    fn one_process_shares_nothing_out() {
        let alone = Ranks::default();
        assert!(alone.alone() && alone.leads() && alone.size() == 1);
        assert_eq!(alone.share(5), Share { first: 0, images: 5, of: 5 });
        assert_eq!(alone.from_first(|| Ok(vec![3])).unwrap(), [3]);
        let refused = together(3, |ranks| ranks.check_batch(2).unwrap_err().to_string());
        assert!(refused[1].contains("3 processes for a batch of 2 images"), "{refused:?}");
    }
}
