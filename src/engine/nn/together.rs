//! Gradients of several processes.

use crate::engine::nn::Parameters;
use crate::engine::ranks::Share;
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
}
