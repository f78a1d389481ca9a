//! Gradients of several processes.

use crate::engine::nn::Parameters;
use crate::engine::primitives;
use crate::engine::ranks::Share;
use crate::engine::tensor::Tensor;
use crate::error::Result;

impl Parameters {
    /// Makes the gradients, those of a mean loss over this process's share of a batch, those of the mean over the whole
    /// batch: weighted by the images of each share and added in the order of the ranks, an arena at a time, with the
    /// same bits in every process. Where this process is alone they are that already.
    ///
    /// # Errors
    /// A process that cannot be reached, a lost device.
    #[inline]
    pub fn sum_gradients(&self, share: &Share) -> Result<()> {
        let ranks = self.device().ranks();
        if ranks.alone() {
            return Ok(());
        }
        let _scope = self.device().scope(|| Some("exchange".into()), Some("update"));
        for grads in self.arenas.iter().filter_map(|arena| arena.grads.as_ref()) {
            let mut values = grads.to_vec()?;
            ranks.mean(&mut values, share.of)?;
            grads.write(&values)?;
        }
        Ok(())
    }

    /// As [`Parameters::sum_gradients`], of a loss that is the sum of `parts`: `walk` makes the gradients of one, which
    /// are summed over the processes before those of the others are added. Those of a network that runs several times
    /// in a step are then added in the order that one process has.
    ///
    /// # Errors
    /// As [`Parameters::sum_gradients`], and those of `walk`.
    pub fn sum_parts<T>(&self, share: &Share, parts: &[T], mut walk: impl FnMut(&T) -> Result<()>) -> Result<()> {
        let grads = || self.arenas.iter().filter_map(|arena| arena.grads.as_ref());
        let copied = |grads: &Tensor| {
            let copy = Tensor::empty(grads.device(), grads.shape())?;
            primitives::copy(grads, &copy).map(|()| copy)
        };
        let mut before: Vec<Tensor> = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            walk(part)?;
            self.sum_gradients(share)?;
            before.iter().zip(grads()).try_for_each(|(before, grads)| primitives::accumulate(before, grads))?;
            if i + 1 < parts.len() {
                before = grads().map(copied).collect::<Result<_>>()?;
            }
        }
        Ok(())
    }
}
