//! The weights that come along: files within the program, with the feature `weights`.

use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::train::about::About;
use crate::train::metadata::Metadata;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// For images whose lightness stays: grey ones, and colours that are to be coloured anew.
pub const GREY: &str = "grey";
/// For radar images.
pub const SAR: &str = "sar";
/// The names of all weights that may come along. A file of such a name is meant by `./NAME`.
pub const NAMES: [&str; 2] = [GREY, SAR];

/// Weights that come along.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// The weight file, as it would lie on a disk.
    pub bytes: &'static [u8],
}

/// The weights in this program; none without the feature `weights`.
pub static BUILT_IN: &[BuiltIn] = &[
    #[cfg(feature = "weights")]
    BuiltIn { name: GREY, bytes: include_bytes!("../../weights/grey.safetensors") },
    #[cfg(feature = "weights")]
    BuiltIn { name: SAR, bytes: include_bytes!("../../weights/sar.safetensors") },
];

impl BuiltIn {
    /// The weights of this name; `None` where it is not one of [`NAMES`].
    ///
    /// # Errors
    /// A program that was built without them.
    pub fn by_name(name: &Path) -> Result<Option<Self>> {
        if !NAMES.iter().any(|known| name.as_os_str() == *known) {
            return Ok(None);
        }
        let found = BUILT_IN.iter().find(|weights| name.as_os_str() == weights.name);
        found.copied().map(Some).ok_or_else(|| {
            let name = name.display();
            let remedy = format!("use a huetape with weights in it, or name a file; ./{name} is a file of that name");
            Error::input("this huetape was built without the feature `weights`", name, remedy).of(ErrorKind::NotFound)
        })
    }

    /// Its tensors.
    ///
    /// # Errors
    /// Bytes that are no weight file.
    pub fn read(&self) -> Result<WeightFile> {
        WeightFile::from_bytes(self.name, self.bytes)
    }

    /// What it says of itself, and of that what is for people.
    ///
    /// # Errors
    /// Bytes that are no weight file, or one that says nothing of itself.
    pub fn metadata(&self) -> Result<(Metadata, About)> {
        let silent = || Error::failed("the weights say nothing of themselves", self.name, "report this");
        let metadata = Metadata::of(&self.read()?)?.ok_or_else(silent)?;
        let about = metadata.about.clone().ok_or_else(silent)?;
        Ok((metadata, about))
    }
}

/// Weights by the name of those that come along, or by the path of their file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WeightsName(pub PathBuf);

impl<T: Into<PathBuf>> From<T> for WeightsName {
    fn from(name: T) -> Self {
        WeightsName(name.into())
    }
}

/// The weights that are called so: those of that name that come along, else those in the file at that path.
///
/// # Errors
/// As [`BuiltIn::by_name`] and [`WeightFile::read`].
pub fn weights_called(name: &Path) -> Result<WeightFile> {
    weights_called_where(name, |_| true)
}

/// As [`weights_called`]; of a file the tensors alone whose names `wanted` says.
///
/// # Errors
/// As [`weights_called`].
pub fn weights_called_where(name: &Path, wanted: impl Fn(&str) -> bool) -> Result<WeightFile> {
    match BuiltIn::by_name(name)? {
        Some(weights) => weights.read(),
        None => WeightFile::read_where(name, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_a_path() {
        for path in ["./sar", "weights/sar", "sar.safetensors", "SAR", ""] {
            assert!(BuiltIn::by_name(Path::new(path)).unwrap().is_none(), "{path}");
        }
        assert_eq!(weights_called(Path::new("./sar")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn each_name_is_in_the_program_or_told_to_be_left_out() {
        for name in NAMES {
            let found = BuiltIn::by_name(Path::new(name));
            assert_eq!(found.is_ok(), cfg!(feature = "weights"), "{name}");
            match found {
                Ok(found) => assert!(found.is_some_and(|found| found.name == name)),
                Err(error) => assert!(error.exit_code() == 2 && error.to_string().contains("feature"), "{error}"),
            }
        }
    }

    #[cfg(feature = "weights")]
    #[test]
    fn they_are_small_and_say_what_they_are() {
        assert_eq!(BUILT_IN.iter().map(|weights| weights.name).collect::<Vec<_>>(), NAMES);
        for weights in BUILT_IN {
            let name = weights.name;
            assert!(weights.bytes.len() <= 3 << 20, "{name}: {} bytes, 3 MiB at most", weights.bytes.len());
            let (metadata, about) = weights.metadata().unwrap();
            about.check().unwrap();
            assert_eq!(about.name, name);
            assert!(!metadata.network.is_empty() && metadata.step > 0 && metadata.trained_on.images > 0);
            for figures in about.figures.values() {
                let psnr = figures.get("model", "psnr").unwrap();
                assert!((5.0..50.0).contains(&psnr), "{name}: {psnr} dB");
                assert!(figures.get("model", "ab_error").is_some() && figures.get("mean_colour", "psnr").is_some());
            }
        }
    }
}
