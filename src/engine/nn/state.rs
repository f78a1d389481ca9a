//! Named tensors of weights and checkpoints: copies on the host, and views of what lies on a device.

use crate::engine::device::VIEW_ALIGN;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

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

/// A named tensor where it lies, mostly on a device. It is copied to the host by blocks of 4 MiB, as they are asked
/// for: a checkpoint takes no memory beside the training's own.
#[derive(Debug, Clone)]
pub struct StateView {
    name: String,
    shape: Vec<usize>,
    held: Held,
}

/// Where the elements are.
#[derive(Debug, Clone)]
enum Held {
    Host(Vec<f32>),
    Device(Tensor),
}

impl From<StateTensor> for StateView {
    fn from(StateTensor { name, shape, data }: StateTensor) -> Self {
        StateView { name, shape, held: Held::Host(data) }
    }
}

impl StateView {
    /// A tensor of a device; its elements are read when they are asked for.
    pub fn new(name: String, tensor: Tensor) -> Self {
        StateView { name, shape: tensor.shape().to_vec(), held: Held::Device(tensor) }
    }

    /// Name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements().len()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor, where it lies on a device; `None` of what the host holds anyway.
    pub fn tensor(&self) -> Option<&Tensor> {
        match &self.held {
            Held::Host(_) => None,
            Held::Device(tensor) => Some(tensor),
        }
    }

    /// A copy on the host.
    ///
    /// # Errors
    /// A lost device.
    pub fn read(&self) -> Result<StateTensor> {
        let data = match &self.held {
            Held::Host(data) => data.clone(),
            Held::Device(tensor) => tensor.to_vec()?,
        };
        Ok(StateTensor { name: self.name.clone(), shape: self.shape.clone(), data })
    }

    /// Whether no element is NaN or infinite.
    ///
    /// # Errors
    /// A lost device.
    pub fn is_finite(&self) -> Result<bool> {
        let mut finite = true;
        let look = |block: &[f32]| {
            finite &= block.iter().all(|value| value.is_finite());
            Ok(())
        };
        self.elements().blocks(look, |error| error)?;
        Ok(finite)
    }

    fn elements(&self) -> Elements<'_> {
        match &self.held {
            Held::Host(data) => Elements::Host(data),
            Held::Device(tensor) => Elements::Device(tensor),
        }
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, shape: &self.shape, elements: self.elements() }
    }
}

impl StateTensor {
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, shape: &self.shape, elements: Elements::Host(&self.data) }
    }
}

/// A tensor of either kind, to be written.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    pub elements: Elements<'a>,
}

/// The elements of a tensor of either kind.
#[derive(Clone, Copy)]
pub(super) enum Elements<'a> {
    Host(&'a [f32]),
    Device(&'a Tensor),
}

/// Elements that are copied from a device at a time: 4 MiB.
const BLOCK: usize = 1 << 20;
const _: () = assert!(BLOCK.is_multiple_of(VIEW_ALIGN));

impl Elements<'_> {
    pub fn len(self) -> usize {
        match self {
            Elements::Host(data) => data.len(),
            Elements::Device(tensor) => tensor.len(),
        }
    }

    /// Shows `visit` the elements in order; those of a device by at most [`BLOCK`] at a time. `lost` makes an error of
    /// the device one of the visitor's kind.
    ///
    /// # Errors
    /// Those of `visit`, and a lost device.
    pub fn blocks<E>(self, mut visit: impl FnMut(&[f32]) -> Result<(), E>, lost: impl Fn(Error) -> E) -> Result<(), E> {
        match self {
            Elements::Host(data) => visit(data),
            Elements::Device(tensor) => (0..tensor.len()).step_by(BLOCK).try_for_each(|from| {
                let block = tensor.part(from, &[BLOCK.min(tensor.len() - from)]);
                visit(&block.and_then(|block| block.to_vec()).map_err(&lost)?)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;

    #[test]
    fn a_tensor_of_a_device_is_copied_block_by_block() {
        let values: Vec<f32> = (0..2 * BLOCK + 300).map(|i| (i % 8191) as f32).collect();
        for device in devices() {
            let tensor = Tensor::new(&device, &[2, BLOCK + 150], &values).unwrap();
            let view = StateView::new("a".into(), tensor.clone());
            let (mut sizes, mut seen) = (Vec::new(), Vec::new());
            let look = |block: &[f32]| {
                sizes.push(block.len());
                seen.extend_from_slice(block);
                Ok(())
            };
            view.elements().blocks(look, |error| error).unwrap();
            assert_eq!(sizes, [BLOCK, BLOCK, 300], "{}", device.name());
            assert!(seen == values && view.read().unwrap().data == values && view.len() == values.len());
            assert!(view.is_finite().unwrap());
            // In the last block.
            let spoilt = [&values[1..], &[f32::INFINITY]].concat();
            tensor.write(&spoilt).unwrap();
            assert!(!view.is_finite().unwrap(), "{}", device.name());
        }
        let host = StateView::from(StateTensor { name: "b".into(), shape: vec![2], data: vec![1.0, f32::NAN] });
        assert!(!host.is_finite().unwrap() && host.tensor().is_none());
    }
}
