//! A tensor: f32 elements with a shape on a device.

use crate::engine::device::{Device, View};
use crate::error::Result;
use std::ops::Deref;

/// f32 elements in row-major order on a device. Clones share the elements; pictures are NHWC.
///
/// Dereferences to the [`View`] that [`Device::launch`] takes.
#[derive(Clone)]
pub struct Tensor {
    device: Device,
    view: View,
}

impl Tensor {
    /// A tensor whose elements are whatever was in memory: for outputs that a kernel writes whole.
    ///
    /// # Errors
    /// Zero elements, or no memory for them.
    pub fn empty(device: &Device, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor { device: device.clone(), view: device.alloc(shape)? })
    }

    /// A copy of `data` on the device.
    ///
    /// # Errors
    /// Zero elements, or no memory for them.
    ///
    /// # Panics
    /// When `data` has another size than `shape`.
    pub fn new(device: &Device, shape: &[usize], data: &[f32]) -> Result<Tensor> {
        let tensor = Tensor::empty(device, shape)?;
        device.write(&tensor.view, data)?;
        Ok(tensor)
    }

    /// A tensor of one value throughout.
    ///
    /// # Errors
    /// Zero elements, or no memory for them.
    pub fn full(device: &Device, shape: &[usize], value: f32) -> Result<Tensor> {
        Tensor::new(device, shape, &vec![value; shape.iter().product()])
    }

    /// Where the tensor lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements, once everything launched so far has run.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.device.read(&self.view)
    }

    /// The only element of a tensor that has one.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn item(&self) -> Result<f32> {
        assert_eq!(self.len(), 1, "item of a tensor of shape {:?}", self.shape());
        Ok(self.to_vec()?[0])
    }

    /// Overwrites the elements.
    ///
    /// # Errors
    /// A lost device.
    pub fn write(&self, data: &[f32]) -> Result<()> {
        self.device.write(&self.view, data)
    }

    /// The same elements under another shape of the same size.
    pub fn reshape(&self, shape: &[usize]) -> Tensor {
        Tensor { device: self.device.clone(), view: self.view.reshaped(shape) }
    }

    /// A tensor that shares a part of this one's elements, from `offset` (a multiple of
    /// [`VIEW_ALIGN`](crate::engine::device::VIEW_ALIGN)) on.
    pub fn part(&self, offset: usize, shape: &[usize]) -> Tensor {
        Tensor { device: self.device.clone(), view: self.view.part(offset, shape) }
    }

    /// N, H, W, C of a picture tensor.
    ///
    /// # Errors
    /// Another number of axes.
    pub fn nhwc(&self) -> Result<[usize; 4]> {
        self.shape().try_into().map_err(|_| {
            crate::Error::input("a tensor of shape [N, H, W, C] is needed", format!("{:?}", self.shape()), "reshape it")
        })
    }
}

impl Deref for Tensor {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{:?} on {}", self.shape(), self.device.name())
    }
}
