//! What a tape keeps of a step for its gradients.

use crate::engine::ops::half_precision::{from_f16, to_f16};
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// Elements that are worth a launch of their own, and more than any statistics have.
const LEAST: usize = 1 << 12;

/// A tensor that is kept.
pub(super) enum Kept {
    /// As it is.
    Whole(Tensor),
    /// By two f16 a word.
    Half { words: Tensor, shape: Vec<usize> },
}

/// Puts in half precision what nobody but its keepers has.
///
/// # Errors
/// No memory, and whatever a launch reports.
pub(super) fn halve<'a>(kept: impl Iterator<Item = &'a mut Kept>) -> Result<()> {
    let mut large: Vec<&mut Kept> = kept.filter(|kept| kept.whole().is_some_and(|x| x.len() >= LEAST)).collect();
    let keepers = |x: &Tensor| large.iter().filter_map(|kept| kept.whole()).filter(|y| y.shares_buffer(x)).count();
    let alone: Vec<bool> = large.iter().map(|kept| kept.whole().is_some_and(|x| keepers(x) == x.views())).collect();
    // Ops that follow each other keep the same.
    let mut made: Vec<(Extent, Tensor)> = Vec::new();
    for (kept, _) in large.iter_mut().zip(alone).filter(|(_, alone)| *alone) {
        let Kept::Whole(x) = &**kept else { continue };
        let words = match made.iter().find(|(extent, _)| *extent == x.extent()) {
            Some((_, words)) => words.clone(),
            None => {
                made.push((x.extent(), to_f16(x)?));
                made[made.len() - 1].1.clone()
            }
        };
        **kept = Kept::Half { words, shape: x.shape().to_vec() };
    }
    Ok(())
}

/// A buffer, and from where to where in it.
type Extent = [usize; 3];

impl Kept {
    fn whole(&self) -> Option<&Tensor> {
        match self {
            Kept::Whole(x) => Some(x),
            Kept::Half { .. } => None,
        }
    }
}

/// Reads what is kept, and nothing twice that the last reading had too: words, and what they are as f32.
#[derive(Default)]
pub(super) struct Reader(Vec<(Tensor, Tensor)>);

impl Reader {
    /// All of `kept` as f32.
    ///
    /// # Errors
    /// No memory, and whatever a launch reports.
    pub fn read<'a>(&mut self, kept: impl Iterator<Item = &'a Kept>) -> Result<Vec<Tensor>> {
        let mut now = Vec::new();
        let read = |kept: &Kept| {
            let (words, shape) = match kept {
                Kept::Whole(x) => return Ok(x.clone()),
                Kept::Half { words, shape } => (words, shape),
            };
            let known = |found: &&(Tensor, Tensor)| found.0.shares_buffer(words);
            let x = match now.iter().find(known).or_else(|| self.0.iter().find(known)) {
                Some((_, x)) => x.reshape(shape)?,
                None => from_f16(words, shape)?,
            };
            now.push((words.clone(), x.clone()));
            Ok(x)
        };
        let read = kept.map(read).collect::<Result<Vec<Tensor>>>();
        self.0 = now;
        read
    }
}
