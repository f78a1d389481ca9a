//! Writing weight files and checkpoints, as [`WeightFile`](crate::engine::nn::WeightFile) reads them.

use crate::engine::nn::state::{Entry, StateTensor, StateView};
use crate::error::{Error, Result};
use crate::files::write_whole_with;
use half::f16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The key of the safetensors metadata.
pub const KEY: &str = "huetape";

/// How a file holds the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32 bits: the same values.
    F32,
    /// 16 bits, each value rounded to the nearest: half the room.
    F16,
}

impl Element {
    fn bytes(self, elements: usize) -> usize {
        elements * if self == Element::F32 { 4 } else { 2 }
    }
}

/// Writes tensors as safetensors to `path`, whole or not at all; the order of `tensors` does not show.
///
/// # Errors
/// A folder that may not be written, a full disk; two tensors of one name.
pub fn save_tensors(tensors: &[StateTensor], path: &Path) -> Result<()> {
    save_described(tensors, None, path)
}

/// As [`save_tensors`], with JSON that says what the file is.
///
/// # Errors
/// As [`save_tensors`].
pub fn save_described(tensors: &[StateTensor], metadata: Option<&str>, path: &Path) -> Result<()> {
    save_as(tensors, metadata, |_| Element::F32, path)
}

/// As [`save_described`], each tensor with the elements that `element` says.
///
/// # Errors
/// As [`save_described`]; a value that is to be held in 16 bits and is not finite there.
pub fn save_as(
    tensors: &[StateTensor],
    metadata: Option<&str>,
    element: impl Fn(&StateTensor) -> Element,
    path: &Path,
) -> Result<()> {
    for tensor in tensors.iter().filter(|tensor| element(tensor) == Element::F16) {
        if let Some(at) = tensor.data.iter().position(|value| !f16::from_f32(*value).is_finite()) {
            return Err(Error::input(
                format!("tensor {} holds {} at element {at}, which 16 bits cannot hold", tensor.name, tensor.data[at]),
                path.display(),
                "use weights whose values lie within -65504 to 65504",
            ));
        }
    }
    let entries = tensors.iter().map(|tensor| (tensor.entry(), element(tensor))).collect();
    // The library's own writing to a file brings a temporary file of its own, out of reach of `write_whole_with`.
    write_whole_with(path, |file| write_to(entries, metadata, file))
}

/// As [`save_described`], tensors that lie on a device: they are copied from there as they are written.
///
/// # Errors
/// As [`save_described`]; a lost device.
pub fn save_views(views: &[StateView], metadata: Option<&str>, path: &Path) -> Result<()> {
    let entries = views.iter().map(|view| (view.entry(), Element::F32)).collect();
    let mut lost = None;
    let written = write_whole_with(path, |file| {
        write_to(entries, metadata, file).map_err(|error| match error.downcast::<Error>() {
            Ok(of_device) => {
                lost = Some(of_device);
                io::Error::other("the device failed")
            }
            Err(error) => error,
        })
    });
    lost.map_or(written, Err)
}

/// Writes tensors and the JSON that describes them. As the library does: the wider elements first, so that each tensor
/// begins at a multiple of its elements' size.
pub(super) fn write_to(
    mut tensors: Vec<(Entry<'_>, Element)>,
    metadata: Option<&str>,
    file: &mut dyn io::Write,
) -> io::Result<()> {
    tensors.sort_by_key(|(entry, element)| (*element == Element::F16, entry.name));
    let mut end = 0;
    let info = |(entry, element): &(Entry<'_>, Element)| {
        let start = end;
        end += element.bytes(entry.elements.len());
        let dtype = if *element == Element::F32 { Dtype::F32 } else { Dtype::F16 };
        (entry.name.to_owned(), TensorInfo { dtype, shape: entry.shape.to_vec(), data_offsets: (start, end) })
    };
    let infos = tensors.iter().map(info).collect();
    let described = metadata.map(|json| HashMap::from([(KEY.to_owned(), json.to_owned())]));
    let metadata = Metadata::new(described, infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    // As the library does: elements begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    tensors.iter().try_for_each(|(entry, element)| {
        let write = |block: &[f32]| match element {
            Element::F32 => file.write_all(bytemuck::cast_slice(block)),
            Element::F16 => {
                let halves: Vec<u8> = block.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
                file.write_all(&halves)
            }
        };
        entry.elements.blocks(write, io::Error::other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensor::Tensor;
    use crate::engine::testing::check::devices;

    #[test]
    fn tensors_of_a_device_make_the_bytes_that_their_copies_make() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let values: Vec<f32> = (0..1_100_000).map(|i| i as f32 * 0.5).collect();
        for device in devices() {
            let tensor = |name: &str, shape: &[usize]| {
                let len = shape.iter().product();
                StateView::new(name.into(), Tensor::new(&device, shape, &values[..len]).unwrap())
            };
            let settings = StateTensor { name: "side".into(), shape: vec![1], data: vec![64.0] };
            let views = [tensor("b", &[11, 100_000]), tensor("a", &[3, 5]), settings.into()];
            save_views(&views, Some(r#"{"format":1}"#), &one).unwrap();
            let copies: Vec<StateTensor> = views.iter().map(|view| view.read().unwrap()).collect();
            save_described(&copies, Some(r#"{"format":1}"#), &other).unwrap();
            assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap(), "{}", device.name());
            // What the file system refuses is told as for copies.
            let error = save_views(&views, None, &folder.path().join("none").join("a")).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("no such file or folder"), "{error}");
        }
    }
}
