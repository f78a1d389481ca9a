//! A tape of operations and their gradients. It knows no op by name.

use crate::engine::kept::{Kept, alone, halved, replace};
use crate::engine::op::Op;
use crate::engine::tensor::Tensor;
use crate::engine::walk::{Node, ones_like, walk};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::engine::kept::Keeping;

/// A value on a tape.
#[derive(Clone)]
pub struct Var {
    tape: u64,
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

/// The next tape's number.
static NEXT_TAPE: AtomicU64 = AtomicU64::new(1);

/// Records operations as they run, to walk them backwards.
pub struct Tape(Arc<Inner>);

struct Inner {
    /// No other tape of the process has it.
    id: u64,
    /// `None` on a tape that does not record.
    keeping: Option<Keeping>,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    nodes: Vec<Node>,
    /// The first node of the segment that is recorded now.
    first: usize,
    next_id: usize,
    slots: HashMap<usize, Tensor>,
    /// The gradient of a loss of one element with respect to itself, once it was needed.
    one: Option<Tensor>,
    /// Whether [`Tape::backward`] has been.
    used_up: bool,
}

/// Gradients of a loss with respect to the leaves that asked for one.
pub struct Gradients {
    tape: u64,
    grads: HashMap<usize, Tensor>,
}

impl Gradients {
    /// The gradient of `leaf`; `None` where the loss does not depend on it, or it is of another tape.
    pub fn get(&self, leaf: &Var) -> Option<&Tensor> {
        if leaf.tape == self.tape { self.grads.get(&leaf.id) } else { None }
    }
}

impl Default for Tape {
    /// As [`Tape::inference`].
    fn default() -> Self {
        Tape::inference()
    }
}

impl Tape {
    /// A tape that records and keeps what operations save.
    pub fn new() -> Self {
        Tape::keeping(Keeping::All)
    }

    /// A tape that records, and keeps less.
    pub fn keeping(keeping: Keeping) -> Self {
        Tape::with(Some(keeping))
    }

    /// A tape that only computes: nothing is saved, and a buffer is free as soon as its last [`Var`] goes.
    pub fn inference() -> Self {
        Tape::with(None)
    }

    fn with(keeping: Option<Keeping>) -> Self {
        let id = NEXT_TAPE.fetch_add(1, Ordering::Relaxed);
        Tape(Arc::new(Inner { id, keeping, recorded: Mutex::default() }))
    }

    /// The same tape once more: what holds it can be asked for values when [`Tape::backward`] has used the tape up.
    pub(super) fn share(&self) -> Tape {
        Tape(self.0.clone())
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn var(&self, value: Tensor, needs_grad: bool) -> Var {
        let mut recorded = self.recorded();
        recorded.next_id += 1;
        Var { tape: self.0.id, id: recorded.next_id, value, needs_grad: needs_grad && self.0.keeping.is_some() }
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
        self.recorded().slots.insert(var.id, slot);
        var
    }

    /// The same value, cut off from what made it: no gradient passes.
    pub fn detach(&self, var: &Var) -> Var {
        self.constant(var.value.clone())
    }

    /// Runs `op` and records it if a gradient may be asked of it.
    ///
    /// # Errors
    /// A value of another tape, a tape that [`Tape::backward`] has used up, and whatever the op reports.
    pub fn apply(&self, op: impl Op + 'static, inputs: &[&Var]) -> Result<Var> {
        inputs.iter().try_for_each(|input| self.check_own(input))?;
        let values: Vec<&Tensor> = inputs.iter().map(|input| &input.value).collect();
        let forward = op.forward(&values)?;
        let needs: Vec<bool> = inputs.iter().map(|input| input.needs_grad).collect();
        let output = self.var(forward.y, needs.contains(&true));
        if let Some(keeping) = self.0.keeping.filter(|_| output.needs_grad) {
            let saved = forward.saved.into_iter();
            let saved: Vec<Kept> = match keeping {
                Keeping::F16 => saved.enumerate().map(|(i, x)| Kept::of(x, op.saves(i))).collect(),
                Keeping::All | Keeping::Inputs(_) => saved.map(Kept::Whole).collect(),
            };
            let mut recorded = self.recorded();
            recorded.check_whole()?;
            let held = match keeping {
                Keeping::Inputs(length) => recorded.held(length.max(1), inputs),
                Keeping::All | Keeping::F16 => Vec::new(),
            };
            recorded.nodes.push(Node {
                op: Box::new(op),
                held,
                again_from: None,
                inputs: inputs.iter().map(|input| input.id).collect(),
                needs,
                saved,
                output: output.id,
                layer: output.value.device().layer_now(),
            });
            if keeping == Keeping::F16 {
                // Not while the tape is locked: a launch may take another thread's work up, which locks it.
                let alone = alone(recorded.nodes.iter().flat_map(|node| &node.saved));
                drop(recorded);
                let _scope = output.value.device().scope(|| None, Some("kept"));
                let made = halved(alone)?;
                replace(self.recorded().nodes.iter_mut().flat_map(|node| &mut node.saved), &made);
            }
        }
        Ok(output)
    }

    fn check_own(&self, var: &Var) -> Result<()> {
        let subject = || format!("{:?}", var.value.shape());
        let remedy = "put its tensor on this tape by `constant` or `leaf`";
        crate::ensure!(var.tape == self.0.id, Error::input("a value belongs to another tape", subject(), remedy));
        Ok(())
    }

    fn check_backward(&self, output: &Var) -> Result<()> {
        let remedy = "record on a tape made by `Tape::new`";
        let what = "an inference tape has no gradients";
        crate::ensure!(self.0.keeping.is_some(), Error::input(what, format!("{:?}", output.value.shape()), remedy));
        self.check_own(output)
    }

    /// Gradients of the sum of `loss`'s elements (mostly one) with respect to every leaf. The tape is used up: what an
    /// op saved is freed as soon as its gradient has run.
    ///
    /// # Errors
    /// A tape that does not record, a loss of another tape, and whatever an op reports.
    pub fn backward(self, loss: Var) -> Result<Gradients> {
        let seed = ones_like(&loss.value)?;
        self.backward_from(loss, seed)
    }

    /// As [`Tape::backward`], from a given gradient of `output` of any shape.
    ///
    /// # Errors
    /// A gradient of another shape than `output`, and as [`Tape::backward`].
    pub fn backward_from(self, output: Var, dy: Tensor) -> Result<Gradients> {
        self.check_backward(&output)?;
        crate::ensure!(
            dy.shape() == output.value.shape(),
            Error::input(
                "a gradient has the shape of its value",
                format!("{:?} for {:?}", dy.shape(), output.value.shape()),
                "reshape it"
            )
            .of(ErrorKind::Shape)
        );
        let id = output.id;
        drop(output);
        let (nodes, slots) = {
            let mut recorded = self.recorded();
            recorded.check_whole()?;
            recorded.used_up = true;
            (std::mem::take(&mut recorded.nodes), std::mem::take(&mut recorded.slots))
        };
        Ok(Gradients { tape: self.0.id, grads: walk(nodes, &slots, id, dy, |_| true)? })
    }

    /// Gradients of `loss`, a single element, with respect to `leaves` alone: other leaves and their slots are as if
    /// they were constants, and nothing is computed for them. The tape stays, for another loss with other leaves.
    ///
    /// # Errors
    /// As [`Tape::backward`]; leaves of another tape.
    pub fn backward_to(&self, loss: &Var, leaves: &[Var]) -> Result<Gradients> {
        self.check_backward(loss)?;
        leaves.iter().try_for_each(|leaf| self.check_own(leaf))?;
        let mut recorded = self.recorded();
        recorded.check_whole()?;
        let seed = recorded.seed(&loss.value)?;
        let mut depends: HashSet<usize> = leaves.iter().map(|leaf| leaf.id).collect();
        for node in &recorded.nodes {
            if node.inputs.iter().any(|input| depends.contains(input)) {
                depends.insert(node.output);
            }
        }
        let grads = walk(recorded.nodes.iter().collect(), &recorded.slots, loss.id, seed, |id| depends.contains(&id))?;
        Ok(Gradients { tape: self.0.id, grads })
    }
}

impl Recorded {
    /// Ones of the shape of `loss`; that of a single element is kept.
    fn seed(&mut self, loss: &Tensor) -> Result<Tensor> {
        if let Some(one) = self.one.as_ref().filter(|one| one.shape() == loss.shape()) {
            return Ok(one.clone());
        }
        let ones = ones_like(loss)?;
        if ones.len() == 1 {
            self.one = Some(ones.clone());
        }
        Ok(ones)
    }

    /// Begins a segment where the last one has `length` nodes, which let go what they saved; which of `inputs` the
    /// next node must hold to be run again: those that are made outside of its segment.
    fn held(&mut self, length: usize, inputs: &[&Var]) -> Vec<Option<Tensor>> {
        let first = self.first;
        if self.nodes.len() == first + length {
            for node in &mut self.nodes[first..] {
                node.op.ran();
                node.saved = Vec::new();
                node.again_from = Some(first);
            }
            self.first = self.nodes.len();
        }
        let within = &self.nodes[self.first..];
        let outside = |input: &&Var| within.iter().all(|node| node.output != input.id).then(|| input.value.clone());
        inputs.iter().map(outside).collect()
    }

    fn check_whole(&self) -> Result<()> {
        let what = "a tape is used up by its backward pass";
        let remedy = "record each step on a tape of its own, or use `backward_to`, which keeps the tape";
        crate::ensure!(!self.used_up, Error::input(what, "tape", remedy));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Device;
    use crate::engine::ops::elementwise::{Add, Scale};
    use std::sync::LazyLock;

    /// A number on one device for all tests here.
    fn tensor(value: f32) -> Tensor {
        static CPU: LazyLock<Device> = LazyLock::new(Device::cpu);
        Tensor::new(&CPU, &[1], &[value]).unwrap()
    }

    #[test]
    fn gradients_of_shared_values_add_up() {
        let tape = Tape::new();
        let x = tape.leaf(tensor(2.0));
        let twice = tape.apply(Scale(2.0), &[&x]).unwrap();
        let sum = tape.apply(Add, &[&twice, &x]).unwrap();
        let doubled = tape.apply(Add, &[&sum, &sum]).unwrap();
        let grads = tape.backward(doubled).unwrap();
        assert_eq!(grads.get(&x).unwrap().item().unwrap(), 6.0);
    }

    #[test]
    fn a_gradient_is_written_to_its_slot_and_sums_there() {
        let tape = Tape::new();
        let slot = tensor(99.0);
        let x = tape.leaf_into(tensor(1.0), slot.clone());
        let [a, b] = [3.0, 4.0].map(|factor| tape.apply(Scale(factor), &[&x]).unwrap());
        let y = tape.apply(Add, &[&a, &b]).unwrap();
        tape.backward(y).unwrap();
        assert_eq!(slot.item().unwrap(), 7.0);
    }

    #[test]
    fn a_slot_that_the_loss_does_not_reach_is_zero() {
        let tape = Tape::new();
        let slot = tensor(99.0);
        let unused = tape.leaf_into(tensor(1.0), slot.clone());
        let x = tape.leaf(tensor(1.0));
        let y = tape.apply(Scale(2.0), &[&x]).unwrap();
        assert!(tape.backward(y).unwrap().get(&unused).is_none());
        assert_eq!(slot.item().unwrap(), 0.0);
    }

    #[test]
    fn nothing_passes_a_detached_value_or_reaches_a_constant() {
        let tape = Tape::new();
        let x = tape.leaf(tensor(1.0));
        let c = tape.constant(tensor(1.0));
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
        let slot = || tensor(99.0);
        let (g_slot, d_slot) = (slot(), slot());
        let tape = Tape::new();
        let g = tape.leaf_into(tensor(2.0), g_slot.clone());
        let d = tape.leaf_into(tensor(5.0), d_slot.clone());
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

    #[test]
    fn a_value_of_another_tape_is_refused() {
        let (tape, other) = (Tape::new(), Tape::new());
        let (x, y) = (tape.leaf(tensor(1.0)), other.leaf(tensor(2.0)));
        let refused = |error: Error| assert!(error.to_string().contains("another tape"), "{error}");
        refused(tape.apply(Add, &[&x, &y]).err().unwrap());
        refused(tape.backward_to(&y, std::slice::from_ref(&x)).err().unwrap());
        let loss = tape.apply(Scale(3.0), &[&x]).unwrap();
        refused(tape.backward_to(&loss, std::slice::from_ref(&y)).err().unwrap());
        refused(tape.share().backward(y.clone()).err().unwrap());
        refused(tape.share().backward_from(y.clone(), tensor(1.0)).err().unwrap());
        // None of which used the tape up. Both leaves are the first of their tape: their numbers are the same.
        let grads = tape.backward(loss).unwrap();
        assert_eq!(grads.get(&x).unwrap().item().unwrap(), 3.0);
        assert!(grads.get(&y).is_none());
    }

    #[test]
    fn an_inference_tape_and_one_that_is_used_up_have_no_gradients() {
        let tape = Tape::inference();
        let loss = tape.apply(Scale(1.0), &[&tape.leaf(tensor(1.0))]).unwrap();
        assert!(tape.backward_to(&loss, &[]).err().unwrap().to_string().contains("inference"));
        assert!(tape.backward(loss).err().unwrap().to_string().contains("inference"));

        let tape = Tape::new();
        let x = tape.leaf(tensor(1.0));
        let (once, kept) = (tape.apply(Scale(2.0), &[&x]).unwrap(), tape.share());
        tape.backward(once.clone()).unwrap();
        let used_up = [
            kept.apply(Scale(2.0), &[&x]).err().unwrap(),
            kept.backward_to(&once, &[x]).err().unwrap(),
            kept.backward(once).err().unwrap(),
        ];
        assert!(used_up.iter().all(|error| error.to_string().contains("used up")), "{used_up:?}");
    }

    #[test]
    fn a_tape_and_what_is_on_it_can_move_to_another_thread() {
        fn shared<T: Send + Sync>() {}
        shared::<Device>();
        shared::<Tensor>();
        shared::<Tape>();
        shared::<Var>();
        shared::<Gradients>();
        let tape = Tape::new();
        let x = tape.leaf(tensor(1.0));
        let y = std::thread::scope(|scope| scope.spawn(|| tape.apply(Scale(5.0), &[&x]).unwrap()).join().unwrap());
        assert_eq!(tape.backward(y).unwrap().get(&x).unwrap().item().unwrap(), 5.0);
    }
}
