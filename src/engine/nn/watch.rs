//! Looking at what passes through the layers of a network while it runs.

use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sees the values of layers as a network runs; see [`Parameters::watch`](crate::engine::nn::Parameters::watch).
///
/// A layer that runs again is seen again: what is seen last is what the last run made.
pub trait Watch: Send + Sync {
    /// The layer `name` (the prefix of its parameters, where it has some) made y of x by what `kind` says, e.g. `conv
    /// 3x3/2`.
    ///
    /// # Errors
    /// Whatever reading a value reports.
    fn layer(&self, name: &str, kind: &str, x: &Tensor, y: &Tensor) -> Result<()>;

    /// The activation of the layer `name`, which has been seen, made `post` of `pre`.
    ///
    /// # Errors
    /// Whatever reading a value reports.
    fn activation(&self, name: &str, kind: &str, pre: &Tensor, post: &Tensor) -> Result<()>;
}

/// A layer that was seen, with what was kept of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// The prefix of its parameters, or of what it does.
    pub name: String,
    /// What it does, e.g. `conv 3x3/2, relu`.
    pub kind: String,
    /// What it read.
    pub input: T,
    /// Before its activation.
    pub pre: T,
    /// What it put out: after its activation, or the same as `pre` where it has none.
    pub post: T,
}

/// A [`Watch`] that keeps something of every value: its shape, its numbers, or the tensor itself.
pub struct Trace<T> {
    keep: fn(&Tensor) -> Result<T>,
    layers: Mutex<Vec<Seen<T>>>,
}

impl Trace<Vec<usize>> {
    /// A trace of shapes.
    pub fn of_shapes() -> Self {
        Trace::new(|value| Ok(value.shape().to_vec()))
    }
}

impl<T: Clone> Trace<T> {
    /// A trace of what `keep` makes of each value.
    pub fn new(keep: fn(&Tensor) -> Result<T>) -> Self {
        Trace { keep, layers: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Seen<T>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layers so far, each once, in the order in which they first ran.
    pub fn layers(&self) -> Vec<Seen<T>> {
        self.locked().clone()
    }
}

impl<T> Watch for Trace<T>
where
    T: Clone + Send,
{
    fn layer(&self, name: &str, kind: &str, x: &Tensor, y: &Tensor) -> Result<()> {
        let post = (self.keep)(y)?;
        let (name, kind) = (name.to_owned(), kind.to_owned());
        let seen = Seen { input: (self.keep)(x)?, pre: post.clone(), post, name, kind };
        let mut layers = self.locked();
        match layers.iter_mut().find(|layer| layer.name == seen.name) {
            Some(layer) => *layer = seen,
            None => layers.push(seen),
        }
        Ok(())
    }

    fn activation(&self, name: &str, kind: &str, pre: &Tensor, post: &Tensor) -> Result<()> {
        let (pre, post) = ((self.keep)(pre)?, (self.keep)(post)?);
        if let Some(layer) = self.locked().iter_mut().find(|layer| layer.name == name) {
            layer.kind = format!("{}, {kind}", layer.kind);
            (layer.pre, layer.post) = (pre, post);
        }
        Ok(())
    }
}
