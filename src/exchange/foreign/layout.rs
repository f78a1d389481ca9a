//! How a published program names the tensors of a network that is known here.

use crate::engine::nn::StateTensor;
use crate::engine::nn::layer::EPS;
use crate::error::Result;
use crate::exchange::axes::permuted;
use crate::exchange::foreign::tensors::Foreign;
use std::collections::BTreeSet;

/// What PyTorch adds to a variance before its root is taken.
pub const TORCH_EPS: f32 = 1e-5;
/// Names that a message lists, at most.
const LISTED: usize = 6;

/// The order of axes in which kernels `[kh, kw, c_in, c_out]` lie: where to find each of these four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// PyTorch's convolution: `[c_out, c_in, kh, kw]`.
    Torch,
    /// PyTorch's transposed convolution: `[c_in, c_out, kh, kw]`.
    TorchTransposed,
    /// Keras' convolution: as here.
    Keras,
    /// Keras' transposed convolution: `[kh, kw, c_out, c_in]`.
    KerasTransposed,
}

impl Axes {
    fn order(self) -> [usize; 4] {
        match self {
            Axes::Torch => [2, 3, 1, 0],
            Axes::TorchTransposed => [2, 3, 0, 1],
            Axes::Keras => [0, 1, 2, 3],
            Axes::KerasTransposed => [0, 1, 3, 2],
        }
    }
}

/// A published program's names for the tensors of a network.
pub struct Layout {
    /// Which program, for people.
    pub program: &'static str,
    /// A tensor of such files, by which one is known; others may stand before its name, up to a point.
    pub anchor: &'static str,
    /// The names of the tensors that are needed, in a file that has the anchor.
    pub needs: fn(&Foreign) -> Vec<String>,
    /// The network's tensors, of a file that has all that are needed.
    pub tensors: fn(&Foreign) -> Result<Vec<StateTensor>>,
}

/// What a file is by a layout.
pub struct Reading {
    /// Its tensors, by the layout's names.
    pub file: Foreign,
    /// Tensors that the layout needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the layout does not use; counters of batches, which nothing needs, are not among them.
    pub unused: Vec<String>,
    /// How many of those that the layout needs are there.
    pub found: usize,
}

impl Layout {
    /// Reads a file by this layout; `None` where it has no anchor.
    pub fn read(&self, file: &Foreign) -> Option<Reading> {
        let before = |name: &str| {
            let prefix = name.strip_suffix(self.anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        };
        let readings = file.tensors.iter().filter_map(|tensor| before(&tensor.name)).map(|prefix| {
            let named = |tensor: &StateTensor| {
                let name = tensor.name.strip_prefix(&prefix)?.to_owned();
                Some(StateTensor { name, ..tensor.clone() })
            };
            let tensors: Vec<StateTensor> = file.tensors.iter().filter_map(named).collect();
            let part = Foreign { source: file.source.clone(), tensors };
            let needs: BTreeSet<String> = (self.needs)(&part).into_iter().collect();
            let there: BTreeSet<&str> = part.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            let missing: Vec<String> = needs.iter().filter(|name| !there.contains(name.as_str())).cloned().collect();
            let used = |name: &str| name.strip_prefix(&prefix).is_some_and(|name| needs.contains(name));
            let others = file.tensors.iter().map(|tensor| tensor.name.as_str());
            let unused = others.filter(|name| !used(name) && !name.ends_with("num_batches_tracked"));
            let unused = unused.map(str::to_owned).collect();
            let found = needs.len() - missing.len();
            Reading { missing, unused, found, file: part }
        });
        readings.max_by_key(|reading| reading.found)
    }
}

/// Names in a message: the first, and how many more.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let more = names.len().saturating_sub(LISTED);
    let first = names[..names.len() - more].join(", ");
    match (names.len(), more) {
        (0, _) => "none".to_owned(),
        (_, 0) => first,
        _ => format!("{first} and {more} more"),
    }
}

/// A tensor as it is, by another name.
///
/// # Errors
/// No such tensor.
pub fn renamed(file: &Foreign, from: &str, to: &str) -> Result<StateTensor> {
    Ok(StateTensor { name: to.to_owned(), ..file.require(from)?.clone() })
}

/// The kernel `TO.weight` of a tensor with other axes.
///
/// # Errors
/// No such tensor, or one that has not four axes.
pub fn kernel(file: &Foreign, from: &str, axes: Axes, to: &str) -> Result<StateTensor> {
    let (shape, values) = file.kernel(from)?;
    let (shape, data) = permuted(shape, values, axes.order());
    Ok(StateTensor { name: format!("{to}.weight"), shape: shape.to_vec(), data })
}

/// Batch norm of PyTorch's tensors `FROM.weight` and so on: gamma takes the difference between what is added to
/// variances here and there, so that running statistics give the same values.
///
/// # Errors
/// A tensor that is missing, or of another length than the others; a variance below 0.
pub fn torch_batch_norm(file: &Foreign, from: &str, to: &str) -> Result<[StateTensor; 4]> {
    let part = |part: &str, name: &str| renamed(file, &format!("{from}.{part}"), &format!("{to}.{name}"));
    let (mut gamma, var) = (part("weight", "gamma")?, part("running_var", "var")?);
    let fits = gamma.data.len() == var.data.len() && var.data.iter().all(|var| *var >= 0.0);
    crate::ensure!(fits, file.refuse(format!("tensor {from}.running_var holds no variances of {from}.weight")));
    for (gamma, var) in gamma.data.iter_mut().zip(&var.data) {
        *gamma *= ((var + EPS) / (var + TORCH_EPS)).sqrt();
    }
    Ok([gamma, part("bias", "beta")?, part("running_mean", "mean")?, var])
}

/// The names of PyTorch's batch norm.
pub fn torch_batch_norm_names(name: &str) -> [String; 4] {
    ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{name}.{part}"))
}

/// A setting of a network, as weight files hold it.
pub fn setting(name: &str, value: f32) -> StateTensor {
    StateTensor { name: name.to_owned(), shape: vec![1], data: vec![value] }
}
