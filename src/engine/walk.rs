//! How the gradients of a recording are computed: node by node, the last one first.

use crate::engine::op::{Backward, Op};
use crate::engine::primitives;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

/// An operation as a tape has recorded it. Values have numbers.
pub(super) struct Node {
    pub op: Box<dyn Op>,
    pub inputs: Vec<usize>,
    pub needs: Vec<bool>,
    pub saved: Vec<Tensor>,
    pub output: usize,
    pub layer: Option<Arc<str>>,
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

/// Walks `nodes` backwards from the gradient `dy` of the value `output`, to the values that are `wanted`. Nodes that it
/// owns are dropped one by one. Gradients of values in `slots` are written there.
pub(super) fn walk<N: Borrow<Node>>(
    nodes: impl IntoIterator<Item = N, IntoIter: DoubleEndedIterator>,
    slots: &HashMap<usize, Tensor>,
    output: usize,
    dy: Tensor,
    wanted: impl Fn(usize) -> bool,
) -> Result<HashMap<usize, Tensor>> {
    let device = dy.device().clone();
    let mut grads = HashMap::from([(output, Parts { last: dy, before: None })]);
    let mut additions = Additions::default();
    for node in nodes.into_iter().rev() {
        let node = node.borrow();
        let _scope = device.scope(|| node.layer.clone(), Some("backward"));
        // A result that nothing used has no gradient, and neither do its inputs through it.
        let Some(parts) = grads.remove(&node.output) else { continue };
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
        let parameters = node.inputs.iter().map(|id| slots.contains_key(id));
        let backward = Backward::new(&dy, &node.saved, &needs, places);
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
    additions.flush()?;
    // A leaf that the loss does not depend on: its place must not keep an earlier gradient.
    for (_, slot) in slots.iter().filter(|(id, _)| wanted(**id) && !grads.contains_key(id)) {
        primitives::fill(slot, 0.0)?;
    }
    grads.into_iter().map(|(id, parts)| Ok((id, parts.total()?))).collect()
}
