//! A tensor: f32 elements with a shape on a device.

use crate::engine::device::{Device, View, check_len};
use crate::error::{Error, ErrorKind, Result};
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
    /// Data of another size than `shape`, zero elements, or no memory for them.
    pub fn new(device: &Device, shape: &[usize], data: &[f32]) -> Result<Tensor> {
        check_len(data, shape)?;
        let tensor = Tensor::empty(device, shape)?;
        device.write(&tensor.view, data)?;
        Ok(tensor)
    }

    /// A tensor of one value throughout.
    ///
    /// # Errors
    /// Zero elements, or no memory for them.
    pub fn full(device: &Device, shape: &[usize], value: f32) -> Result<Tensor> {
        let tensor = Tensor::empty(device, shape)?;
        device.fill(&tensor.view, value)?;
        Ok(tensor)
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
    /// More elements than one, a kernel that failed, or a lost device.
    pub fn item(&self) -> Result<f32> {
        match self.len() {
            1 => Ok(self.to_vec()?[0]),
            _ => Err(Error::input(
                "a tensor of one element is needed",
                format!("{:?}", self.shape()),
                "reduce it to a sum or mean, or read all of it",
            )
            .of(ErrorKind::Shape)),
        }
    }

    /// Overwrites the elements.
    ///
    /// # Errors
    /// Data of another size, or a lost device.
    pub fn write(&self, data: &[f32]) -> Result<()> {
        self.device.write(&self.view, data)
    }

    /// The same elements under another shape of the same size.
    ///
    /// # Errors
    /// Sizes that differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor { device: self.device.clone(), view: self.view.reshaped(shape)? })
    }

    /// A tensor that shares a part of this one's elements, from `offset` (a multiple of
    /// [`VIEW_ALIGN`](crate::engine::device::VIEW_ALIGN)) on.
    ///
    /// # Errors
    /// A part that leaves the tensor, has no element, or does not begin at such a multiple.
    pub fn part(&self, offset: usize, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor { device: self.device.clone(), view: self.view.part(offset, shape)? })
    }

    /// N, H, W, C of a picture tensor.
    ///
    /// # Errors
    /// Another number of axes.
    pub fn nhwc(&self) -> Result<[usize; 4]> {
        self.shape().try_into().map_err(|_| {
            let what = "a tensor of shape [N, H, W, C] is needed";
            Error::input(what, format!("{:?}", self.shape()), "reshape it").of(ErrorKind::Shape)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::VIEW_ALIGN;
    use crate::engine::testing::check::devices;

    /// The largest size, so that a product or a sum that is not checked wraps around in a release build.
    const HUGE: usize = usize::MAX;

    #[test]
    fn a_reshape_to_another_size_is_refused_with_both_shapes() {
        for device in devices() {
            let x = Tensor::full(&device, &[2, 3], 1.0).unwrap();
            assert_eq!(x.reshape(&[6]).unwrap().shape(), [6]);
            for shape in [&[7][..], &[0], &[HUGE, HUGE], &[HUGE / 2 + 1, 2, 6], &[HUGE, 3, 2]] {
                let error = x.reshape(shape).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Shape);
                assert!(error.to_string().contains("[2, 3]") && error.to_string().contains(&format!("{shape:?}")));
            }
        }
    }

    #[test]
    fn a_part_that_leaves_its_tensor_or_is_unaligned_is_refused() {
        for device in devices() {
            let x = Tensor::full(&device, &[200], 1.0).unwrap();
            assert_eq!(x.part(VIEW_ALIGN, &[2, 68]).unwrap().to_vec().unwrap().len(), 136);
            let bad: [(usize, &[usize]); 8] = [
                (VIEW_ALIGN, &[137]),
                (1, &[4]),
                (0, &[0]),
                (0, &[201]),
                (HUGE - 63, &[64]),
                (HUGE - 63, &[1]),
                (VIEW_ALIGN, &[HUGE]),
                (0, &[HUGE, HUGE]),
            ];
            for (offset, shape) in bad {
                let error = x.part(offset, shape).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Shape, "{offset} {shape:?}");
                assert!(error.to_string().contains("[200]"), "{error}");
            }
        }
    }

    #[test]
    fn data_of_another_size_and_an_item_of_many_are_refused() {
        for device in devices() {
            let x = Tensor::full(&device, &[2, 2], 1.0).unwrap();
            let errors = [
                x.write(&[0.0; 3]).unwrap_err(),
                x.write(&[0.0; 5]).unwrap_err(),
                Tensor::new(&device, &[2, 2], &[0.0; 3]).unwrap_err(),
                Tensor::new(&device, &[HUGE, HUGE], &[0.0]).unwrap_err(),
                x.item().unwrap_err(),
                Tensor::empty(&device, &[3, 0]).unwrap_err(),
            ];
            for error in errors {
                assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Shape, 2), "{error}");
            }
            assert_eq!(x.to_vec().unwrap(), [1.0; 4]);
        }
    }

    #[test]
    fn more_than_a_device_can_hold_is_an_error_before_the_host_holds_it() {
        for device in devices() {
            for shape in [&[8 << 30][..], &[HUGE, 2], &[HUGE]] {
                assert_eq!(Tensor::full(&device, shape, 1.0).unwrap_err().kind(), ErrorKind::Memory, "{shape:?}");
            }
        }
    }
}
