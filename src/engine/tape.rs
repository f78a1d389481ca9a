//! A tape of operations and their gradients. It knows no op by name.

use crate::engine::kept::{Kept, alone, halved, replace};
use crate::engine::op::Op;
use crate::engine::tensor::Tensor;
use crate::engine::walk::{Node, Taking, ones_like, walk};
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
    /// Leaves that are of a set, which one, and their number in it.
    members: HashMap<usize, (u64, usize)>,
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

    /// A value whose gradient [`Tape::backward_of`] takes with the others of `set`; `number` says to the caller which.
    /// With a `slot` as [`Tape::leaf_into`].
    pub(super) fn member(&self, value: Tensor, (set, number): (u64, usize), slot: Option<Tensor>) -> Var {
        let var = match slot {
            Some(slot) => self.leaf_into(value, slot),
            None => self.leaf(value),
        };
        self.recorded().members.insert(var.id, (set, number));
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
        let (nodes, slots, _) = self.recorded().take_all()?;
        Ok(Gradients { tape: self.0.id, grads: walk(nodes, &slots, (id, dy), |_| true, None)? })
    }

    /// Gradients of `loss` with respect to the leaves of `set` alone. Those with a slot are written there. Each of the
    /// others is handed to `take` with its number as soon as nothing more is added to it. No gradient that is still to
    /// come reads the leaf then: it may be changed, and the gradient let go. The tape is used up as by
    /// [`Tape::backward`].
    ///
    /// # Errors
    /// As [`Tape::backward`], and those of `take`.
    pub(super) fn backward_of(
        self,
        loss: Var,
        set: u64,
        take: &mut dyn FnMut(usize, Tensor) -> Result<()>,
    ) -> Result<()> {
        self.check_backward(&loss)?;
        let (id, seed) = (loss.id, ones_like(&loss.value)?);
        drop(loss);
        let (nodes, mut slots, members) = self.recorded().take_all()?;
        let number = |id: usize| members.get(&id).filter(|(of, _)| *of == set).map(|(_, number)| *number);
        slots.retain(|id, _| number(*id).is_some());
        let depends = depending(&nodes, members.keys().copied().filter(|&id| number(id).is_some()).collect());
        let taken = |id: usize| number(id).is_some() && !slots.contains_key(&id);
        let mut take = |id: usize, gradient: Tensor| number(id).map_or(Ok(()), |number| take(number, gradient));
        let taking = Taking::new(&nodes, taken, &mut take);
        walk(nodes, &slots, (id, seed), |id| depends.contains(&id), Some(taking)).map(drop)
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
        let depends = depending(&recorded.nodes, leaves.iter().map(|leaf| leaf.id).collect());
        let wanted = |id| depends.contains(&id);
        let grads = walk(recorded.nodes.iter().collect(), &recorded.slots, (loss.id, seed), wanted, None)?;
        Ok(Gradients { tape: self.0.id, grads })
    }
}

/// `leaves`, and what `nodes` have made of them.
fn depending(nodes: &[Node], leaves: HashSet<usize>) -> HashSet<usize> {
    let mut depends = leaves;
    for node in nodes {
        if node.inputs.iter().any(|input| depends.contains(input)) {
            depends.insert(node.output);
        }
    }
    depends
}

/// What a backward pass takes from a tape: nodes, slots, members.
type All = (Vec<Node>, HashMap<usize, Tensor>, HashMap<usize, (u64, usize)>);

impl Recorded {
    /// All that was recorded, once.
    fn take_all(&mut self) -> Result<All> {
        self.check_whole()?;
        self.used_up = true;
        Ok((std::mem::take(&mut self.nodes), std::mem::take(&mut self.slots), std::mem::take(&mut self.members)))
    }

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
#[path = "tape_tests.rs"]
mod tests;
