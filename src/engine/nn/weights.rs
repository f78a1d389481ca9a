//! Weight files and checkpoints as they are read: named tensors of f32 or f16 in safetensors, and what the file says of
//! itself. On the host all are f32.
//!
//! The latter is JSON under one key of the safetensors metadata, [`KEY`]: the library orders several by a hash map, so
//! that the same run would not give the same bytes. This module reads of it what every reader must know, the format's
//! version and the settings that stand for tensors of one element; the rest is `train::metadata`'s.

use crate::engine::nn::save::{Element, KEY, write_to};
use crate::engine::nn::state::StateTensor;
use crate::error::{Error, ErrorKind, Result};
use half::f16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// The version of the metadata that this program writes, and the latest that it reads.
pub const FORMAT: u32 = 1;
/// Bytes of a header at most, as the library has it.
const MOST_HEADER: u64 = 100_000_000;

/// What every reader must know of the metadata.
#[derive(Deserialize)]
struct Described {
    /// Values that a tensor of one element stands for in files without metadata, by the names of those.
    #[serde(default)]
    settings: BTreeMap<String, f32>,
}

/// The tensors of a weight file, read whole.
#[derive(Debug, Clone)]
pub struct WeightFile {
    source: String,
    tensors: BTreeMap<String, StateTensor>,
    metadata: Option<String>,
}

impl WeightFile {
    /// Reads a safetensors file of f32 and f16 tensors.
    ///
    /// # Errors
    /// No such file, a file cut short or of another kind, another element type, metadata of a later version; each names
    /// the file.
    pub fn read(path: &Path) -> Result<Self> {
        WeightFile::read_where(path, |_| true)
    }

    /// As [`WeightFile::read`], of the tensors alone whose names `wanted` says: no others are loaded.
    ///
    /// # Errors
    /// As [`WeightFile::read`].
    pub fn read_where(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let failed = |error: io::Error| {
            let what = format!("cannot read the weights ({error})");
            let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
            Error::input(what, path.display(), "name an existing .safetensors file").of(kind).caused_by(error)
        };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        WeightFile::read_from(&path.display().to_string(), file, len, wanted)
    }

    /// The tensors of a safetensors file that lies in memory; `source` is what messages call it.
    ///
    /// # Errors
    /// As [`WeightFile::read`].
    pub fn from_bytes(source: &str, bytes: &[u8]) -> Result<Self> {
        WeightFile::read_from(source, Cursor::new(bytes), bytes.len() as u64, |_| true)
    }

    /// Those of a file of `len` bytes: each tensor goes where it will stay.
    fn read_from(source: &str, mut from: impl Read + Seek, len: u64, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let refuse = |what: String| {
            Error::input(what, source, "use a whole .safetensors file of f32 or f16 tensors").of(ErrorKind::File)
        };
        let broken = |why: String| refuse(format!("not a whole safetensors file ({why})"));
        let unreadable = |error: io::Error| broken(error.to_string());
        let mut length = [0; 8];
        from.read_exact(&mut length).map_err(unreadable)?;
        let header_len = u64::from_le_bytes(length);
        let begin = header_len.checked_add(8).filter(|&begin| begin <= len && header_len <= MOST_HEADER);
        let begin = begin.ok_or_else(|| broken("its header is longer than the file".to_owned()))?;
        let mut header = vec![0; header_len as usize];
        from.read_exact(&mut header).map_err(unreadable)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
        let whole = begin.checked_add(header.data_len() as u64) == Some(len);
        crate::ensure!(whole, broken(format!("{} bytes of tensors are announced", header.data_len())));
        let mut tensors = BTreeMap::new();
        for name in header.offset_keys() {
            let Some(TensorInfo { dtype, shape, data_offsets: (start, end) }) = header.info(&name) else { continue };
            if !matches!(dtype, Dtype::F32 | Dtype::F16) {
                return Err(refuse(format!("tensor {name} is {dtype:?}, not F32 or F16")));
            }
            if !wanted(&name) {
                continue;
            }
            from.seek(SeekFrom::Start(begin + *start as u64)).map_err(unreadable)?;
            let data = match dtype {
                Dtype::F32 => {
                    let mut data = vec![0.0f32; (end - start) / 4];
                    from.read_exact(bytemuck::cast_slice_mut(&mut data)).map_err(unreadable)?;
                    data
                }
                _ => {
                    let mut halves = vec![0u8; end - start];
                    from.read_exact(&mut halves).map_err(unreadable)?;
                    halves.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
                }
            };
            tensors.insert(name.clone(), StateTensor { name, shape: shape.clone(), data });
        }
        let file = WeightFile { source: source.to_owned(), tensors, metadata: None };
        match header.metadata().as_ref().and_then(|texts| texts.get(KEY)) {
            Some(json) => file.described(json),
            None => Ok(file),
        }
    }

    /// The bytes of a safetensors file that holds the same, elements of 32 bits.
    ///
    /// # Errors
    /// Metadata that no such file can have.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let tensors = self.tensors.values().map(|tensor| (tensor.entry(), Element::F32)).collect();
        write_to(tensors, self.metadata.as_deref(), &mut bytes).map_err(|error| {
            let what = format!("weights that a file cannot hold ({error})");
            Error::failed(what, &self.source, "report this").caused_by(error)
        })?;
        Ok(bytes)
    }

    /// The file with its metadata: settings that it holds no tensor of become one, so that networks read both kinds of
    /// file alike.
    fn described(mut self, json: &str) -> Result<Self> {
        /// The version alone: what else a later format holds is not known.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let broken = |error: serde_json::Error| {
            let what = format!("the metadata under `{KEY}` cannot be read ({error})");
            Error::input(what, &self.source, "use a file as huetape wrote it, or one without that key")
                .of(ErrorKind::File)
        };
        let Version { format } = serde_json::from_str(json).map_err(broken)?;
        crate::ensure!(
            format <= FORMAT,
            Error::input(
                format!("a weight file of format {format}, and this program reads up to format {FORMAT}"),
                &self.source,
                "use a newer huetape"
            )
            .of(ErrorKind::File)
        );
        let Described { settings } = serde_json::from_str(json).map_err(broken)?;
        for (name, value) in settings {
            let tensor = StateTensor { name: name.clone(), shape: vec![1], data: vec![value] };
            self.tensors.entry(name).or_insert(tensor);
        }
        self.metadata = Some(json.to_owned());
        Ok(self)
    }

    /// Tensors that are in memory; `source` is what messages call them.
    pub fn from_tensors(source: &str, tensors: Vec<StateTensor>) -> Self {
        let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        WeightFile { source: source.to_owned(), tensors, metadata: None }
    }

    /// The JSON under the metadata key `huetape`, which says what the file is; `None` where there is none.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = &StateTensor> {
        self.tensors.values()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::save::{save_as, save_described, save_tensors};
    use std::collections::HashMap;

    fn tensor(name: &str, shape: &[usize], first: f32) -> StateTensor {
        let data = (0..shape.iter().product::<usize>()).map(|i| first + i as f32).collect();
        StateTensor { name: name.to_owned(), shape: shape.to_vec(), data }
    }

    #[test]
    fn a_file_holds_what_was_saved_whatever_the_order_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let tensors = [tensor("b.weight", &[3, 1, 2], 1.0), tensor("a", &[1], -7.5), tensor("b.bias", &[5], 0.25)];
        save_tensors(&tensors, &one).unwrap();
        let file = WeightFile::read(&one).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b.bias", "b.weight"]);
        tensors.iter().for_each(|tensor| assert_eq!(file.get(&tensor.name), Some(tensor)));

        let reversed: Vec<StateTensor> = tensors.iter().rev().cloned().collect();
        save_tensors(&reversed, &other).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_bytes_are_those_of_the_safetensors_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let tensor = tensor("conv.weight", &[2, 3], 0.5);
        save_tensors(std::slice::from_ref(&tensor), &path).unwrap();
        let bytes: &[u8] = bytemuck::cast_slice(&tensor.data);
        let view = safetensors::tensor::TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), safetensors::serialize([(&tensor.name, view)], None).unwrap());
    }

    #[test]
    fn halves_are_rounded_to_the_nearest_and_stand_as_the_library_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        // The largest half; the nearest of two; a tie, to the even one; what is too small for a half.
        let values = vec![65504.0, 0.1, 1.0 + 1.0 / 2048.0, -3e-8, -0.25];
        let half = StateTensor { name: "a.weight".into(), shape: vec![5], data: values };
        let plain = tensor("b.bias", &[2], 0.1);
        let element = |tensor: &StateTensor| if tensor.name == "a.weight" { Element::F16 } else { Element::F32 };
        save_as(&[half.clone(), plain.clone()], None, element, &path).unwrap();
        let file = WeightFile::read(&path).unwrap();
        assert_eq!(file.get("b.bias"), Some(&plain));
        let read = &file.get("a.weight").unwrap().data;
        assert_eq!(read[..], [65504.0, 0.099_975_586, 1.0, -5.960_464_5e-8, -0.25]);
        let halves: Vec<u8> = half.data.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new;
        let views = [
            ("a.weight", view(Dtype::F16, vec![5], &halves).unwrap()),
            ("b.bias", view(Dtype::F32, vec![2], bytemuck::cast_slice(&plain.data)).unwrap()),
        ];
        assert_eq!(std::fs::read(&path).unwrap(), safetensors::serialize(views, None).unwrap());
        for wrong in [65520.0, -1e9, f32::NAN] {
            let wrong = StateTensor { data: vec![1.0, wrong], shape: vec![2], ..half.clone() };
            let error = save_as(&[wrong], None, element, &folder.path().join("wrong")).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("a.weight"), "{error}");
        }
        assert!(!folder.path().join("wrong").exists());
    }

    #[test]
    fn metadata_comes_back_and_its_settings_stand_for_tensors_that_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let json = r#"{"format":1,"settings":{"slope":0.2,"side":64.0},"of a later program":[1]}"#;
        let side = tensor("side", &[1], 32.0);
        save_described(std::slice::from_ref(&side), Some(json), &path).unwrap();
        let file = WeightFile::read(&path).unwrap();
        assert_eq!(file.metadata(), Some(json));
        assert_eq!((file.get("side"), file.expect("slope", &[1]).unwrap()), (Some(&side), &[0.2][..]));
        let bytes = std::fs::read(&path).unwrap();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![1], bytemuck::cast_slice(&side.data)).unwrap();
        let described = Some(HashMap::from([(KEY.to_owned(), json.to_owned())]));
        assert_eq!(bytes, safetensors::serialize([("side", view)], described).unwrap());
    }

    #[test]
    fn a_later_format_and_broken_metadata_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later.safetensors");
        for (json, named) in [
            (r#"{"format":7,"settings":"of another kind"}"#, "format 7, and this program reads up to format 1"),
            (r#"{"format":"#, "cannot be read"),
            (r#"{"network":"toy"}"#, "missing field `format`"),
        ] {
            save_described(&[tensor("a", &[1], 0.0)], Some(json), &path).unwrap();
            let error = WeightFile::read(&path).unwrap_err();
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::File));
            let text = error.to_string();
            assert!(text.contains(named) && text.contains("later.safetensors"), "{text}");
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short.safetensors");
        save_tensors(&[tensor("a", &[4], 1.0), tensor("b", &[2, 2], 5.0)], &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let error = WeightFile::read(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("short.safetensors"), "{error}");
        }
    }
}
