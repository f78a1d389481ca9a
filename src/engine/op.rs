//! What an operation is: its forward pass, its gradient, and what the two hand over.

use crate::engine::primitives;
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

/// One differentiable operation with its settings.
///
/// An op runs launches; it never asks which device it is on. What its gradient needs it saves, and nothing else stays
/// alive for it. A tape may be walked on another thread than it was recorded on.
pub trait Op: Send + Sync {
    /// Computes the output from the inputs.
    ///
    /// # Errors
    /// Shapes that do not fit together, and whatever a launch reports.
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward>;

    /// Computes the gradients of the inputs that need one from that of the output.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn backward(&self, grad: &mut Backward<'_>) -> Result<()>;

    /// Whether [`Op::backward`] adds [`Backward::more`] to the gradient of the output itself. Without a definition it
    /// finds both added up.
    fn adds(&self) -> bool {
        false
    }

    /// What number `i` of [`Forward::saved`] is to the gradient. Without a definition all is [`Saves::Exact`].
    fn saves(&self, _i: usize) -> Saves {
        Saves::Exact
    }

    /// From now on [`Op::forward`] makes again what it has made, for the gradient alone: what it changes beside its
    /// output has been changed. Without a definition it changes nothing else.
    fn ran(&mut self) {}
}

impl<T: Op + ?Sized> Op for &T {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        (**self).forward(inputs)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        (**self).backward(grad)
    }

    fn adds(&self) -> bool {
        (**self).adds()
    }

    fn saves(&self, i: usize) -> Saves {
        (**self).saves(i)
    }
}

impl<T: Op + ?Sized> Op for Arc<T> {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        (**self).forward(inputs)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        (**self).backward(grad)
    }

    fn adds(&self) -> bool {
        (**self).adds()
    }

    fn saves(&self, i: usize) -> Saves {
        (**self).saves(i)
    }
}

/// How the gradient reads what [`Op::forward`] saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saves {
    /// As it is: numbers of classes, statistics, small differences.
    Exact,
    /// Values of which the first eleven bits are enough: a tape may round them to f16.
    Activations,
    /// For its shape: the elements may be anything.
    Shape,
}

/// What [`Op::forward`] hands back.
pub struct Forward {
    /// The output.
    pub y: Tensor,
    /// What [`Op::backward`] will read.
    pub saved: Vec<Tensor>,
}

/// What [`Op::backward`] works with.
pub struct Backward<'a> {
    /// Gradient of the loss with respect to the output.
    pub dy: &'a Tensor,
    /// What is to be added to `dy`, of its shape; there only for an op that [adds](Op::adds).
    pub more: Option<&'a Tensor>,
    /// What forward saved.
    pub saved: &'a [Tensor],
    /// Whether `dy` is of no use to anybody after.
    last: bool,
    needs: &'a [bool],
    slots: Vec<Option<Tensor>>,
    /// Whether an input is a parameter, for profiles.
    parameters: Vec<bool>,
    grads: Vec<Option<Tensor>>,
}

impl<'a> Backward<'a> {
    /// For a call of [`Op::backward`] without a tape. `needs[i]`: whether input i wants a gradient. `slots[i]`: where
    /// it is to be written, if it matters; one for each of `needs`.
    pub fn new(dy: &'a Tensor, saved: &'a [Tensor], needs: &'a [bool], slots: Vec<Option<Tensor>>) -> Self {
        let parameters = slots.iter().map(Option::is_some).collect();
        Backward { dy, more: None, saved, last: false, needs, slots, parameters, grads: vec![None; needs.len()] }
    }

    /// The same with a second part of the output's gradient, for an op that [adds](Op::adds) both.
    #[must_use]
    pub fn adding(self, more: Option<&'a Tensor>) -> Self {
        Backward { more, ..self }
    }

    /// The same where some parameters have their places no longer.
    pub(super) fn of_parameters(self, parameters: impl Iterator<Item = bool>) -> Self {
        Backward { parameters: parameters.collect(), ..self }
    }

    /// The same of a `dy` that may be overwritten, if it is the last view of its buffer.
    pub(super) fn using_up_dy(self) -> Self {
        Backward { last: self.dy.is_alone(), ..self }
    }

    /// What `dy` is to become: `dy` itself, where nobody reads it after, or a copy.
    ///
    /// # Errors
    /// No memory, and whatever the copy reports.
    pub fn dy_to_change(&self) -> Result<Tensor> {
        if self.last {
            return Ok(self.dy.clone());
        }
        let copy = Tensor::empty(self.dy.device(), self.dy.shape())?;
        primitives::copy(self.dy, &copy).map(|()| copy)
    }

    /// Whether there is an input `i` and it wants a gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.needs.get(i) == Some(&true)
    }

    /// The tensor to write the whole gradient of input `i` into.
    ///
    /// # Errors
    /// No input `i`, another shape than its place has, or no memory.
    pub fn out(&mut self, i: usize, shape: &[usize]) -> Result<Tensor> {
        self.check_input(i)?;
        let grad = match self.slots[i].take() {
            Some(slot) => slot,
            None => Tensor::empty(self.dy.device(), shape)?,
        };
        self.dy.device().expect_gradient(&grad, self.parameters[i]);
        crate::ensure!(
            grad.shape() == shape,
            Error::input(
                format!("the gradient of input {i} has another shape than the input"),
                format!("{shape:?} for {:?}", grad.shape()),
                "give it the input's shape"
            )
            .of(ErrorKind::Shape)
        );
        self.grads[i] = Some(grad.clone());
        Ok(grad)
    }

    fn check_input(&self, i: usize) -> Result<()> {
        let what = || format!("there is no input {i} to give a gradient to");
        let inputs = || format!("{} inputs", self.grads.len());
        crate::ensure!(i < self.grads.len(), Error::input(what(), inputs(), "ask `needs` first").of(ErrorKind::Shape));
        Ok(())
    }

    /// Hands an existing tensor over as the gradient of input `i`: for ops that pass `dy` on.
    ///
    /// # Errors
    /// No input `i`, and whatever the copy reports, where the gradient has a place of its own.
    pub fn pass(&mut self, i: usize, grad: Tensor) -> Result<()> {
        self.check_input(i)?;
        if self.slots[i].is_some() {
            let slot = self.out(i, grad.shape())?;
            return primitives::copy(&grad, &slot);
        }
        self.grads[i] = Some(grad);
        Ok(())
    }

    /// The gradient of each input; `None` where the op made none.
    pub fn into_grads(self) -> Vec<Option<Tensor>> {
        self.grads
    }
}

/// The error for a call with another number of inputs than the op takes.
pub(crate) fn arity(op: &str, wanted: usize, inputs: &[&Tensor]) -> Error {
    Error::input(format!("{op} takes {wanted} inputs, not {}", inputs.len()), op, "pass as many as it takes")
}
