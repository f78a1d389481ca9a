//! A tape of operations and their gradients. It knows no op by name.

use crate::engine::op::{Backward, Op};
use crate::engine::primitives;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// A value on a tape.
#[derive(Clone)]
pub struct Var {
    id: usize,
    value: Tensor,
    needs_grad: bool,
}

impl Var {
    /// The value.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Whether a gradient can be asked with respect to it.
    pub fn needs_grad(&self) -> bool {
        self.needs_grad
    }
}

struct Node {
    op: Box<dyn Op>,
    inputs: Vec<usize>,
    needs: Vec<bool>,
    saved: Vec<Tensor>,
    output: usize,
}

/// Records operations as they run, to walk them backwards.
#[derive(Default)]
pub struct Tape {
    recording: bool,
    nodes: RefCell<Vec<Node>>,
    next_id: RefCell<usize>,
    slots: RefCell<HashMap<usize, Tensor>>,
}

/// Gradients of a loss with respect to the leaves that asked for one.
pub struct Gradients(HashMap<usize, Tensor>);

impl Gradients {
    /// The gradient of `leaf`; `None` where the loss does not depend on it.
    pub fn get(&self, leaf: &Var) -> Option<&Tensor> {
        self.0.get(&leaf.id)
    }
}

impl Tape {
    /// A tape that records.
    pub fn new() -> Self {
        Tape { recording: true, ..Tape::default() }
    }

    /// A tape that only computes: nothing is saved, and a buffer is free as soon as its last [`Var`] goes.
    pub fn inference() -> Self {
        Tape::default()
    }

    fn var(&self, value: Tensor, needs_grad: bool) -> Var {
        let mut next = self.next_id.borrow_mut();
        *next += 1;
        Var { id: *next, value, needs_grad: needs_grad && self.recording }
    }

    /// A value that wants no gradient: data, or a frozen parameter.
    pub fn constant(&self, value: Tensor) -> Var {
        self.var(value, false)
    }

    /// A value that wants a gradient.
    pub fn leaf(&self, value: Tensor) -> Var {
        self.var(value, true)
    }

    /// A value whose gradient is to be written to `slot`, all of it, overwriting what was there.
    pub fn leaf_into(&self, value: Tensor, slot: Tensor) -> Var {
        let var = self.var(value, true);
        self.slots.borrow_mut().insert(var.id, slot);
        var
    }

    /// The same value, cut off from what made it: no gradient passes.
    pub fn detach(&self, var: &Var) -> Var {
        self.constant(var.value.clone())
    }

    /// Runs `op` and records it if a gradient may be asked of it.
    ///
    /// # Errors
    /// Whatever the op reports.
    pub fn apply(&self, op: impl Op + 'static, inputs: &[&Var]) -> Result<Var> {
        let values: Vec<&Tensor> = inputs.iter().map(|input| &input.value).collect();
        let forward = op.forward(&values)?;
        let needs: Vec<bool> = inputs.iter().map(|input| input.needs_grad).collect();
        let output = self.var(forward.y, needs.contains(&true));
        if output.needs_grad {
            self.nodes.borrow_mut().push(Node {
                op: Box::new(op),
                inputs: inputs.iter().map(|input| input.id).collect(),
                needs,
                saved: forward.saved,
                output: output.id,
            });
        }
        Ok(output)
    }

    /// Gradients of the sum of `loss`'s elements (mostly one) with respect to every leaf. The tape is used up: what an op saved is freed
    /// as soon as its gradient has run.
    ///
    /// # Errors
    /// Whatever an op reports.
    pub fn backward(self, loss: Var) -> Result<Gradients> {
        let seed = ones_like(&loss)?;
        self.backward_from(loss, seed)
    }

    /// As [`Tape::backward`], from a given gradient of `output` of any shape.
    ///
    /// # Errors
    /// Whatever an op reports.
    pub fn backward_from(self, output: Var, dy: Tensor) -> Result<Gradients> {
        crate::ensure!(
            dy.shape() == output.value.shape(),
            Error::input(
                "a gradient has the shape of its value",
                format!("{:?} for {:?}", dy.shape(), output.value.shape()),
                "reshape it"
            )
        );
        let id = output.id;
        drop(output);
        walk(self.nodes.into_inner(), &self.slots.into_inner(), id, dy, |_| true)
    }

    /// Gradients of `loss`, a single element, with respect to `leaves` alone: other leaves and their slots are as if they
    /// were constants, and nothing is computed for them. The tape stays, for another loss with other leaves.
    ///
    /// # Errors
    /// Whatever an op reports.
    pub fn backward_to(&self, loss: &Var, leaves: &[Var]) -> Result<Gradients> {
        let nodes = self.nodes.borrow();
        let mut depends: HashSet<usize> = leaves.iter().map(|leaf| leaf.id).collect();
        for node in nodes.iter() {
            if node.inputs.iter().any(|input| depends.contains(input)) {
                depends.insert(node.output);
            }
        }
        walk(nodes.iter(), &self.slots.borrow(), loss.id, ones_like(loss)?, |id| depends.contains(&id))
    }
}

fn ones_like(var: &Var) -> Result<Tensor> {
    let ones = Tensor::empty(var.value.device(), var.value.shape())?;
    primitives::fill(&ones, 1.0)?;
    Ok(ones)
}

/// Walks `nodes` backwards from the gradient `dy` of the value `output`, to the values that are `wanted`. Nodes that it owns
/// are dropped one by one.
fn walk<N: Borrow<Node>>(
    nodes: impl IntoIterator<Item = N, IntoIter: DoubleEndedIterator>,
    slots: &HashMap<usize, Tensor>,
    output: usize,
    dy: Tensor,
    wanted: impl Fn(usize) -> bool,
) -> Result<Gradients> {
    let mut grads = HashMap::from([(output, dy)]);
    for node in nodes.into_iter().rev() {
        let node = node.borrow();
        // A result that nothing used has no gradient, and neither do its inputs through it.
        let Some(dy) = grads.remove(&node.output) else { continue };
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
        let mut backward = Backward::new(&dy, &node.saved, &needs, places);
        node.op.backward(&mut backward)?;
        for ((id, grad), &needs) in node.inputs.iter().zip(backward.into_grads()).zip(&needs) {
            let Some(grad) = grad.filter(|_| needs) else { continue };
            match grads.remove(id) {
                None => {
                    grads.insert(*id, grad);
                }
                Some(sum) if slots.contains_key(id) => {
                    primitives::accumulate(&grad, &sum)?;
                    grads.insert(*id, sum);
                }
                Some(other) => {
                    // Either may be shared with another reader: add into a tensor of its own.
                    let sum = Tensor::empty(grad.device(), grad.shape())?;
                    primitives::axpby(1.0, &grad, 1.0, &other, &sum)?;
                    grads.insert(*id, sum);
                }
            }
        }
    }
    // A leaf that the loss does not depend on: its place must not keep an earlier gradient.
    for (_, slot) in slots.iter().filter(|(id, _)| wanted(**id) && !grads.contains_key(id)) {
        primitives::fill(slot, 0.0)?;
    }
    Ok(Gradients(grads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::ops::elementwise::{Add, Scale};

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(&Device::cpu(), &[values.len()], values).unwrap()
    }

    #[test]
    fn gradients_of_shared_values_add_up() {
        let tape = Tape::new();
        let x = tape.leaf(tensor(&[2.0]));
        let twice = tape.apply(Scale(2.0), &[&x]).unwrap();
        let sum = tape.apply(Add, &[&twice, &x]).unwrap();
        let doubled = tape.apply(Add, &[&sum, &sum]).unwrap();
        let grads = tape.backward(doubled).unwrap();
        assert_eq!(grads.get(&x).unwrap().item().unwrap(), 6.0);
    }

    #[test]
    fn a_gradient_is_written_to_its_slot_and_sums_there() {
        let tape = Tape::new();
        let device = Device::cpu();
        let slot = Tensor::full(&device, &[1], 99.0).unwrap();
        let x = tape.leaf_into(Tensor::full(&device, &[1], 1.0).unwrap(), slot.clone());
        let a = tape.apply(Scale(3.0), &[&x]).unwrap();
        let b = tape.apply(Scale(4.0), &[&x]).unwrap();
        let y = tape.apply(Add, &[&a, &b]).unwrap();
        tape.backward(y).unwrap();
        assert_eq!(slot.item().unwrap(), 7.0);
    }

    #[test]
    fn a_slot_that_the_loss_does_not_reach_is_zero() {
        let device = Device::cpu();
        let tape = Tape::new();
        let slot = Tensor::full(&device, &[1], 99.0).unwrap();
        let unused = tape.leaf_into(Tensor::full(&device, &[1], 1.0).unwrap(), slot.clone());
        let x = tape.leaf(tensor(&[1.0]));
        let y = tape.apply(Scale(2.0), &[&x]).unwrap();
        assert!(tape.backward(y).unwrap().get(&unused).is_none());
        assert_eq!(slot.item().unwrap(), 0.0);
    }

    #[test]
    fn nothing_passes_a_detached_value_or_reaches_a_constant() {
        let tape = Tape::new();
        let x = tape.leaf(tensor(&[1.0]));
        let c = tape.constant(tensor(&[1.0]));
        let cut = tape.detach(&tape.apply(Scale(5.0), &[&x]).unwrap());
        let y = tape.apply(Add, &[&cut, &x]).unwrap();
        let y = tape.apply(Add, &[&y, &c]).unwrap();
        let grads = tape.backward(y).unwrap();
        assert_eq!(grads.get(&x).unwrap().item().unwrap(), 1.0);
        assert!(grads.get(&c).is_none());
    }

    /// The pattern of a GAN: one leaf makes a fake, another judges it; each loss is for one of the two.
    #[test]
    fn two_losses_of_one_recording_each_reach_their_own_leaves() {
        let device = Device::cpu();
        let slot = || Tensor::full(&device, &[1], 99.0).unwrap();
        let (g_slot, d_slot) = (slot(), slot());
        let tape = Tape::new();
        let g = tape.leaf_into(tensor(&[2.0]), g_slot.clone());
        let d = tape.leaf_into(tensor(&[5.0]), d_slot.clone());
        let fake = tape.apply(Scale(3.0), &[&g]).unwrap();
        let judged = tape.apply(Add, &[&fake, &d]).unwrap();
        let d_loss = tape.apply(Scale(7.0), &[&judged]).unwrap();
        let g_loss = tape.apply(Add, &[&judged, &fake]).unwrap();

        let grads = tape.backward_to(&d_loss, std::slice::from_ref(&d)).unwrap();
        assert!(grads.get(&g).is_none() && grads.get(&fake).is_none());
        assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [99.0, 7.0]);

        let grads = tape.backward_to(&g_loss, std::slice::from_ref(&g)).unwrap();
        assert!(grads.get(&d).is_none());
        assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 7.0]);
        // The tape is whole: the same again.
        tape.backward_to(&g_loss, &[g, d.clone()]).unwrap();
        assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 1.0]);
        // A wanted leaf that the loss does not reach is zero; the other keeps what it has.
        tape.backward_to(&fake, &[d]).unwrap();
        assert_eq!([&g_slot, &d_slot].map(|slot| slot.item().unwrap()), [6.0, 0.0]);
    }

    #[test]
    fn an_inference_tape_keeps_no_buffer() {
        let device = Device::cpu();
        let tape = Tape::inference();
        let mut x = tape.leaf(Tensor::full(&device, &[1024], 1.0).unwrap());
        for _ in 0..50 {
            x = tape.apply(Scale(1.0), &[&x]).unwrap();
        }
        assert!(device.memory().peak_bytes <= 3 * 4096, "{:?}", device.memory());
    }
}
