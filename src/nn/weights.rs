//! Weight files and checkpoints: named f32 tensors in safetensors.

use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A named tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct StateTensor {
    /// Name in the file.
    pub name: String,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Row-major elements.
    pub data: Vec<f32>,
}

impl View for &StateTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(&self.data))
    }
    fn data_len(&self) -> usize {
        self.data.len() * 4
    }
}

/// Writes tensors as safetensors to `path`, which a caller renames into place.
///
/// # Errors
/// What the file system says.
pub fn save_tensors(tensors: &[StateTensor], path: &Path) -> Result<()> {
    let views = tensors.iter().map(|tensor| (tensor.name.clone(), tensor));
    safetensors::serialize_to_file(views, None, path).map_err(|error| {
        Error::failed(format!("cannot write the file ({error})"), path.display(), "check the disk's space and rights")
    })
}

/// The tensors of a weight file, read whole.
#[derive(Debug, Clone)]
pub struct WeightFile {
    source: String,
    tensors: BTreeMap<String, StateTensor>,
}

impl WeightFile {
    /// Reads a safetensors file of f32 tensors.
    ///
    /// # Errors
    /// No such file, a file cut short or of another kind, another element type; each names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            Error::input(
                format!("cannot read the weights ({error})"),
                path.display(),
                "name an existing .safetensors file",
            )
        })?;
        let refuse = |what: String| Error::input(what, path.display(), "use a whole .safetensors file of f32 tensors");
        let parsed = SafeTensors::deserialize(&bytes)
            .map_err(|error| refuse(format!("not a whole safetensors file ({error})")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(refuse(format!("tensor {name} is {:?}, not F32", view.dtype())));
            }
            let data = bytemuck::pod_collect_to_vec(view.data());
            let tensor = StateTensor { name: name.to_owned(), shape: view.shape().to_vec(), data };
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(WeightFile { source: path.display().to_string(), tensors })
    }

    /// Tensors that are in memory; `source` is what messages call them.
    pub fn from_tensors(source: &str, tensors: Vec<StateTensor>) -> Self {
        let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        WeightFile { source: source.to_owned(), tensors }
    }

    /// What messages call this file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.tensors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name, which must be there.
    ///
    /// # Errors
    /// A missing tensor.
    pub fn require(&self, name: &str) -> Result<&StateTensor> {
        self.get(name).ok_or_else(|| {
            Error::input(
                format!("tensor {name} is missing"),
                &self.source,
                "use weights of the same model, saved whole",
            )
        })
    }

    /// The elements of a tensor that must be there with this shape and finite values.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN or infinity.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let tensor = self.require(name)?;
        if tensor.shape != shape {
            return Err(Error::input(
                format!("tensor {name} has shape {:?}, not {shape:?}", tensor.shape),
                &self.source,
                "use weights of the same model and width",
            ));
        }
        if let Some(at) = tensor.data.iter().position(|v| !v.is_finite()) {
            return Err(Error::input(
                format!("tensor {name} holds {} at element {at}", tensor.data[at]),
                &self.source,
                "use weights from before the run diverged",
            ));
        }
        Ok(&tensor.data)
    }
}
