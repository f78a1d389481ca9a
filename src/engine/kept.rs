//! What a tape keeps of a step for its gradients.

use crate::engine::device::Device;
use crate::engine::op::Saves;
use crate::engine::ops::half_precision::{from_f16, to_f16};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::collections::HashMap;

/// What a tape that records keeps of a step for the gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// All that operations save.
    #[default]
    All,
    /// Of each so many operations in a row (at least 1), but for the last ones, only the values that they read from
    /// before; they run again when their gradients are computed. Gradients have the same bits (Chen, Xu, Zhang,
    /// Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016, by operations).
    ///
    /// Parameters must not change before that. An op of one's own whose forward pass changes more than its output
    /// needs [`Op::ran`](crate::engine::op::Op::ran).
    Inputs(usize),
    /// All that operations save; of that large [activations](Saves), of 4096 elements and more, as f16 as soon as
    /// nothing else refers to them: half the memory. Each value is rounded by 2^-11 of itself at most (from 2^-14 to
    /// 65504; larger ones become 65504), and gradients mostly err by about as much: more where values cancel, as in the
    /// normalisation of a channel whose mean is much larger than what it varies by.
    F16,
}

/// Elements that are worth a launch of their own.
const LEAST: usize = 1 << 12;

/// What is kept of a tensor.
pub(super) enum Kept {
    /// All of it, as it is.
    Whole(Tensor),
    /// All of it, until nothing else refers to it: then as f16.
    Activations(Tensor),
    /// Two f16 a word.
    Half { words: Tensor, shape: Vec<usize> },
    /// Its shape.
    Shape { device: Device, shape: Vec<usize> },
}

impl Kept {
    /// What a tape keeps that halves activations.
    pub fn of(x: Tensor, saves: Saves) -> Kept {
        match saves {
            Saves::Activations if x.len() >= LEAST => Kept::Activations(x),
            Saves::Activations | Saves::Exact => Kept::Whole(x),
            Saves::Shape => Kept::Shape { device: x.device().clone(), shape: x.shape().to_vec() },
        }
    }

    fn activations(&self) -> Option<&Tensor> {
        if let Kept::Activations(x) = self { Some(x) } else { None }
    }
}

/// Activations that nothing else refers to, each once: of ops that follow each other both keep the same.
pub(super) fn alone<'a>(kept: impl Iterator<Item = &'a Kept>) -> Vec<Tensor> {
    let all: Vec<&Tensor> = kept.filter_map(Kept::activations).collect();
    let mut keepers: HashMap<usize, usize> = HashMap::new();
    for x in &all {
        *keepers.entry(x.extent()[0]).or_default() += 1;
    }
    let mut alone: Vec<Tensor> = Vec::new();
    for x in all.into_iter().filter(|x| keepers[&x.extent()[0]] == x.views()).collect::<Vec<_>>() {
        if alone.iter().all(|known| known.extent() != x.extent()) {
            alone.push(x.clone());
        }
    }
    alone
}

/// Keeps the words of `made` in the place of the activations that they were made of.
pub(super) fn replace<'a>(kept: impl Iterator<Item = &'a mut Kept>, made: &[(Tensor, Tensor)]) {
    for kept in kept {
        let found = kept.activations().and_then(|x| Some((x, made.iter().find(|(of, _)| of.extent() == x.extent())?)));
        if let Some((x, (_, words))) = found {
            *kept = Kept::Half { words: words.clone(), shape: x.shape().to_vec() };
        }
    }
}

/// Activations beside what they are as f16.
///
/// # Errors
/// No memory, and whatever a launch reports.
pub(super) fn halved(activations: Vec<Tensor>) -> Result<Vec<(Tensor, Tensor)>> {
    activations.into_iter().map(|x| to_f16(&x).map(|words| (x, words))).collect()
}

/// Reads what is kept; what the last reading had too is not made again.
#[derive(Default)]
pub(super) struct Reader {
    /// Words, and what they are as f32.
    last: Vec<(Tensor, Tensor)>,
}

impl Reader {
    /// All of `kept` as f32.
    ///
    /// # Errors
    /// No memory, and whatever a launch reports.
    pub fn read(&mut self, kept: &[Kept]) -> Result<Vec<Tensor>> {
        let needed = |words: &Tensor| {
            kept.iter().any(|kept| matches!(kept, Kept::Half { words: other, .. } if other.shares_buffer(words)))
        };
        self.last.retain(|(words, _)| needed(words));
        let mut read = |kept: &Kept| match kept {
            Kept::Whole(x) | Kept::Activations(x) => Ok(x.clone()),
            Kept::Shape { device, shape } => Tensor::empty(device, shape),
            Kept::Half { words, shape } => match self.last.iter().find(|(known, _)| known.shares_buffer(words)) {
                Some((_, x)) => x.reshape(shape),
                None => {
                    let x = from_f16(words, shape)?;
                    self.last.push((words.clone(), x.clone()));
                    Ok(x)
                }
            },
        };
        kept.iter().map(&mut read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(device: &Device, len: usize) -> Tensor {
        Tensor::new(device, &[len], &vec![1.0 / 3.0; len]).unwrap()
    }

    /// As a tape does after each op.
    fn halve(kept: &mut [Kept]) {
        let made = halved(alone(kept.iter())).unwrap();
        replace(kept.iter_mut(), &made);
    }

    fn is_half(kept: &Kept) -> bool {
        matches!(kept, Kept::Half { .. })
    }

    #[test]
    fn only_large_activations_that_nothing_else_refers_to_are_halved() {
        let device = Device::cpu();
        let held = tensor(&device, LEAST);
        let mut kept = [
            Kept::of(tensor(&device, LEAST + 1), Saves::Activations),
            Kept::of(tensor(&device, LEAST - 1), Saves::Activations),
            Kept::of(tensor(&device, LEAST), Saves::Exact),
            Kept::of(held.clone(), Saves::Activations),
        ];
        halve(&mut kept);
        assert_eq!(kept.each_ref().map(is_half), [true, false, false, false]);
        let read = Reader::default().read(&kept).unwrap();
        let third = |x: &Tensor| x.to_vec().unwrap().iter().all(|v| *v == 1.0 / 3.0);
        assert_eq!(read.iter().map(third).collect::<Vec<_>>(), [false, true, true, true]);
        let rounded = 1365.0 / 4096.0;
        assert!(read[0].len() == LEAST + 1 && read[0].to_vec().unwrap().iter().all(|v| *v == rounded));
        drop(held);
        drop(read);
        halve(&mut kept);
        assert_eq!(kept.each_ref().map(is_half), [true, false, false, true]);
    }

    #[test]
    fn what_several_ops_keep_is_made_into_words_once_and_read_once() {
        let device = Device::cpu();
        let x = tensor(&device, 2 * LEAST);
        let keep = |x: Tensor| Kept::of(x, Saves::Activations);
        let mut kept = [
            keep(x.clone()),
            keep(x.reshape(&[2, LEAST]).unwrap()),
            keep(x.part(LEAST, &[LEAST]).unwrap()),
            Kept::of(x.clone(), Saves::Shape),
        ];
        drop(x);
        let made = alone(kept.iter());
        // The whole and a half of it.
        assert_eq!(made.iter().map(|x| x.len()).sum::<usize>(), 3 * LEAST);
        replace(kept.iter_mut(), &halved(made).unwrap());
        assert_eq!(kept.each_ref().map(is_half), [true, true, true, false]);
        let mut reader = Reader::default();
        let [first, second, part, shape] = reader.read(&kept).unwrap().try_into().unwrap();
        assert!(first.shares_buffer(&second) && !first.shares_buffer(&part));
        assert_eq!((second.shape(), part.shape(), shape.shape()), (&[2, LEAST][..], &[LEAST][..], &[2 * LEAST][..]));
        // The next op, which keeps one of them, gets what was read; the other goes.
        let again = reader.read(&kept[..1]).unwrap();
        assert!(again[0].shares_buffer(&first) && reader.last.len() == 1);
    }
}
