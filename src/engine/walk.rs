//! How the gradients of a recording are computed: node by node, the last one first.

use crate::engine::kept::{Kept, Reader};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::primitives;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An operation as a tape has recorded it. Values have numbers.
pub(super) struct Node {
    pub op: Box<dyn Op>,
    pub inputs: Vec<usize>,
    pub needs: Vec<bool>,
    pub saved: Vec<Kept>,
    pub output: usize,
    pub layer: Option<Arc<str>>,
    /// Where `saved` was let go, the first node of those that are run again together.
    pub again_from: Option<usize>,
    /// Where it may be let go, the inputs that none of those before it makes.
    pub held: Vec<Option<Tensor>>,
}

/// Runs `nodes`, which follow each other and have let go what they saved, once more: what each of them saves.
fn run_again<N: Borrow<Node>>(nodes: &[N]) -> Result<Vec<Vec<Tensor>>> {
    let mut values: HashMap<usize, Tensor> = HashMap::new();
    let run = |node: &N| {
        let node = node.borrow();
        let inputs =
            node.inputs.iter().zip(&node.held).filter_map(|(id, held)| held.as_ref().or_else(|| values.get(id)));
        let inputs: Vec<&Tensor> = inputs.collect();
        let _scope = inputs.first().map(|input| input.device().scope(|| node.layer.clone(), Some("again")));
        let Forward { y, saved } = node.op.forward(&inputs)?;
        values.insert(node.output, y);
        Ok(saved)
    };
    nodes.iter().map(run).collect()
}

/// A tensor of ones of another's shape.
pub(super) fn ones_like(value: &Tensor) -> Result<Tensor> {
    Tensor::full(value.device(), value.shape(), 1.0)
}

/// The gradient of a value so far: its last part, and the sum of those before. They are added up by the op that reads
/// them, where it can. Each may be shared with another reader.
struct Parts {
    last: Tensor,
    before: Option<Tensor>,
}

impl Parts {
    fn total(self) -> Result<Tensor> {
        let Some(before) = self.before else { return Ok(self.last) };
        let sum = Tensor::empty(self.last.device(), self.last.shape())?;
        primitives::axpby(1.0, &self.last, 1.0, &before, &sum)?;
        Ok(sum)
    }

    fn with(self, last: Tensor) -> Result<Parts> {
        Ok(Parts { last, before: Some(self.total()?) })
    }
}

/// Further gradients of leaves that have a place, to be added there, several in one launch.
#[derive(Default)]
struct Additions(Vec<(usize, Tensor, Tensor)>);

impl Additions {
    fn add(&mut self, leaf: usize, grad: Tensor, place: Tensor) -> Result<()> {
        // One launch adds to a place once.
        if self.0.iter().any(|(waiting, ..)| *waiting == leaf) {
            self.flush()?;
        }
        self.0.push((leaf, grad, place));
        if self.0.len() == primitives::SUMS_A_LAUNCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.0);
        let pairs: Vec<(&Tensor, &Tensor)> = waiting.iter().map(|(_, grad, place)| (grad, place)).collect();
        primitives::accumulate_all(&pairs)
    }
}

/// Leaves whose gradients are taken as soon as nothing more is added to them.
pub(super) struct Taking<'a> {
    /// By the node that reads them first, which is the last one that the walk comes to: its layer, and they.
    leaves: HashMap<usize, (Option<Arc<str>>, Vec<usize>)>,
    take: &'a mut dyn FnMut(usize, Tensor) -> Result<()>,
}

impl<'a> Taking<'a> {
    /// Of those leaves of `nodes` for which `taken` holds.
    pub fn new(
        nodes: &[Node],
        taken: impl Fn(usize) -> bool,
        take: &'a mut dyn FnMut(usize, Tensor) -> Result<()>,
    ) -> Self {
        let (mut seen, mut leaves) = (HashSet::new(), HashMap::new());
        for (at, node) in nodes.iter().enumerate() {
            let first_read: Vec<usize> =
                node.inputs.iter().copied().filter(|&id| taken(id) && seen.insert(id)).collect();
            leaves.insert(at, (node.layer.clone(), first_read));
        }
        Taking { leaves, take }
    }

    /// After the gradients of node `at`.
    fn after(&mut self, at: usize, grads: &mut HashMap<usize, Parts>) -> Result<()> {
        let (layer, leaves) = self.leaves.remove(&at).unwrap_or_default();
        for id in leaves {
            if let Some(parts) = grads.remove(&id) {
                let scope = parts.last.device().scope(|| layer.clone(), Some("backward"));
                let total = parts.total()?;
                drop(scope);
                (self.take)(id, total)?;
            }
        }
        Ok(())
    }
}

/// Walks `nodes` backwards from the gradient `dy` of the value `output`, to the values that are `wanted`. Nodes that it
/// owns are dropped one by one. Gradients of values in `slots` are written there, those of others are taken, or
/// returned.
pub(super) fn walk<N: Borrow<Node>>(
    mut nodes: Vec<N>,
    slots: &HashMap<usize, Tensor>,
    (output, dy): (usize, Tensor),
    wanted: impl Fn(usize) -> bool,
    mut taking: Option<Taking<'_>>,
) -> Result<HashMap<usize, Tensor>> {
    let device = dy.device().clone();
    let mut grads = HashMap::from([(output, Parts { last: dy, before: None })]);
    let mut additions = Additions::default();
    let taken = taking.iter().flat_map(|taking| taking.leaves.values().flat_map(|(_, leaves)| leaves));
    let parameters: HashSet<usize> = slots.keys().chain(taken).copied().collect();
    let mut taken_after = |at: usize, grads: &mut HashMap<usize, Parts>| match &mut taking {
        Some(taking) => taking.after(at, grads),
        None => Ok(()),
    };
    // What was saved again, by the nodes from which one on.
    let (mut again, mut from) = (Vec::new(), None);
    let mut reader = Reader::default();
    while let Some(at) = nodes.len().checked_sub(1) {
        // When the node after it is gone, and what it saved.
        taken_after(at + 1, &mut grads)?;
        let node = nodes[at].borrow();
        // A result that nothing used has no gradient, and neither do its inputs through it.
        let Some(parts) = grads.remove(&node.output) else {
            nodes.pop();
            continue;
        };
        let first = node.again_from;
        if first.is_some() && first != from {
            again = run_again(&nodes[first.unwrap_or(at)..])?;
            from = first;
        }
        let Some(node) = nodes.pop() else { break };
        let node = node.borrow();
        let made = first.and_then(|first| {
            again.truncate(at + 1 - first);
            again.pop()
        });
        let _scope = device.scope(|| node.layer.clone(), Some("backward"));
        let saved = made.map_or_else(|| reader.read(&node.saved), Ok)?;
        let Parts { last: dy, before } = match node.op.adds() {
            true => parts,
            false => Parts { last: parts.total()?, before: None },
        };
        let needs: Vec<bool> = node.needs.iter().zip(&node.inputs).map(|(&needs, &id)| needs && wanted(id)).collect();
        // An op may write a gradient that nobody asked for: never into a leaf's place.
        let free_slot = |(id, &needs): (&usize, &bool)| {
            if needs && !grads.contains_key(id) { slots.get(id).cloned() } else { None }
        };
        let mut places: Vec<Option<Tensor>> = node.inputs.iter().zip(&needs).map(free_slot).collect();
        for (i, place) in places.iter_mut().enumerate() {
            // One leaf used twice by one op: the second gradient is added to the first.
            if node.inputs[..i].contains(&node.inputs[i]) {
                *place = None;
            }
        }
        let parameters = node.inputs.iter().map(|id| parameters.contains(id));
        let backward = Backward::new(&dy, &saved, &needs, places);
        let mut backward = backward.of_parameters(parameters).adding(before.as_ref()).using_up_dy();
        node.op.backward(&mut backward)?;
        for ((id, grad), &needs) in node.inputs.iter().zip(backward.into_grads()).zip(&needs) {
            let Some(grad) = grad.filter(|_| needs) else { continue };
            let parts = match grads.remove(id) {
                None => Parts { last: grad, before: None },
                Some(parts) if slots.contains_key(id) => {
                    additions.add(*id, grad, parts.last.clone())?;
                    parts
                }
                Some(parts) => parts.with(grad)?,
            };
            grads.insert(*id, parts);
        }
    }
    taken_after(0, &mut grads)?;
    additions.flush()?;
    // A leaf that the loss does not depend on: its place must not keep an earlier gradient.
    for (_, slot) in slots.iter().filter(|(id, _)| wanted(**id) && !grads.contains_key(id)) {
        primitives::fill(slot, 0.0)?;
    }
    grads.into_iter().map(|(id, parts)| Ok((id, parts.total()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::ops::arithmetic::Arithmetic;
    use crate::engine::ops::elementwise::Scale;
    use crate::engine::ops::prelu::PRelu;
    use crate::engine::self_test::relative_difference;
    use crate::engine::tape::{Keeping, Tape};
    use crate::engine::testing::check::devices;

    /// A chain of eight layers with a skip over four of them: gradients of their common slopes, and the bytes that are
    /// alive when the chain is recorded.
    fn chain(device: &Device, tape: Tape) -> (Vec<f32>, u64) {
        let x = tape.constant(Tensor::new(device, &[1, 8, 16, 32], &[-0.5; 4096]).unwrap());
        let slopes = tape.leaf(Tensor::new(device, &[32], &[0.7; 32]).unwrap());
        let (mut y, mut skip) = (x.clone(), None);
        for k in 1..=8 {
            y = tape.apply(PRelu, &[&tape.apply(Scale(1.0 + 0.1 * k as f32), &[&y]).unwrap(), &slopes]).unwrap();
            match (k, skip.take()) {
                (2, _) => skip = Some(y.clone()),
                // Below zero again.
                (6, Some(skip)) => {
                    let product = tape.apply(Arithmetic::Multiply, &[&y, &skip]).unwrap();
                    y = tape.apply(Scale(-1.0), &[&product]).unwrap();
                }
                (_, held) => skip = held,
            }
        }
        let alive = device.memory().live_bytes;
        (tape.backward(y).unwrap().get(&slopes).unwrap().to_vec().unwrap(), alive)
    }

    #[test]
    fn what_is_computed_again_has_the_same_gradients() {
        let device = Device::cpu();
        let (kept, _) = chain(&device, Tape::new());
        (1..20).for_each(|segment| {
            assert_eq!(chain(&device, Tape::keeping(Keeping::Inputs(segment))).0, kept, "{segment}");
        });
    }

    #[test]
    fn what_is_kept_as_f16_takes_half_the_memory_and_has_almost_the_same_gradients() {
        for device in devices() {
            let (exact, most) = chain(&device, Tape::new());
            let (rounded, less) = chain(&device, Tape::keeping(Keeping::F16));
            // Each gradient is a sum of eight products, one a layer.
            let error = relative_difference(&rounded, &exact);
            assert!(error > 0.0 && error < 1.0 / 2048.0, "{error} on {}", device.name());
            // Of twelve tensors seven are halved: not x, the factors, the output and what the last layer has read.
            // Other tests use the same GPU.
            let share = less as f64 / most as f64;
            assert!(device.is_gpu() || (share - 8.5 / 12.0).abs() < 0.01, "{less} bytes of {most}");
        }
    }
}
