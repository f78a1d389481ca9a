//! What a weight file says of itself: JSON in its header, beside the tensors. `docs/weights.md` lists the keys.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dataset::bands::BandList;
use crate::dataset::despeckle::Filters;
use crate::dataset::lightness::LightnessMatch;
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::Dataset;
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::stack::Looks;
use crate::dataset::zero_border::ZeroBorder;
use crate::engine::nn::{FORMAT, WeightFile};
use crate::error::{Error, ErrorKind, Result};
use crate::imaging::picture::Reading;
use crate::imaging::raster::Stretches;
use crate::train::about::About;

/// What a weight file is: enough to run its network as it was trained, without a run folder.
///
/// Keys that are not known are passed over when read, and those that are missing have the default: a key may be added
/// without a new format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Metadata {
    /// The version of these keys.
    pub format: u32,
    /// The network's name.
    pub network: String,
    /// Optimiser updates that went into the weights.
    pub step: u64,
    /// The network's settings that no tensor's shape tells, by the names of the `[1]` tensors that hold them too.
    pub settings: BTreeMap<String, f32>,
    /// How a classifier's bins were chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<BinsMetadata>,
    /// How the network's inputs were read.
    pub input: Input,
    /// What a radar value's lightness is, where the images that the network colours get such a one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lightness_match: Option<LightnessMatch>,
    /// What it was trained on.
    pub trained_on: TrainedOn,
    /// What weights that are passed on say for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

/// How a classifier's bins were chosen. Their centres are the tensor `bins`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BinsMetadata {
    /// `grid`, `gamut` or `kmeans:K`.
    pub kind: String,
    /// Side of a grid cell, ab units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
}

/// How a training read its images, so that others are read the same way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Input {
    /// Band of the source, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub band: Option<usize>,
    /// Bands of the source that were read together, from 1.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub bands: Option<BandList>,
    /// Whether their ratio was one more band, see [`Preparation::ratio`].
    #[serde(skip_serializing_if = "is_default")]
    pub ratio: bool,
    /// The source was the lightness of colour images.
    pub of_colour_images: bool,
    /// How source values became 0..1, see [`Preparation::stretch`].
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub stretch: Option<Stretches>,
    /// How speckle was taken off sources, or several ways side by side.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub despeckle: Option<Filters>,
    /// What zeros at the border of sources meant.
    #[serde(with = "plain", skip_serializing_if = "is_default")]
    pub zero_border: ZeroBorder,
    /// What was made of sources of several dates.
    #[serde(with = "plain", skip_serializing_if = "is_default")]
    pub looks: Looks,
    /// Bands of the targets, from 1.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub target_bands: Option<BandList>,
    /// How target values became 0..1.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub target_stretch: Option<Stretches>,
    /// Names of the targets' bands, as their files have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_names: Vec<String>,
    /// How the files of targets hold values, where it is known which these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_files: Option<TargetFiles>,
    /// The lightness of coloured images.
    pub lightness: Lightness,
}

/// How the files of targets hold values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TargetFiles {
    /// The type of their samples, e.g. `u16`.
    pub sample: String,
    /// The text of their nodata value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodata: Option<String>,
    /// Of each band what samples are multiplied by, and what is added then, to be values; none where they are values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<[f64; 2]>,
}

/// Whose lightness a coloured image has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lightness {
    /// The source's.
    #[default]
    Input,
    /// That of the source without speckle, matched to the targets.
    Despeckle,
}

/// What weights were trained on. No paths: weights are passed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TrainedOn {
    /// In words, e.g. `pairs of images`.
    pub data: String,
    /// Images, or windows of scenes.
    pub images: u64,
    /// Bands of the sources, as the network reads them.
    pub source_bands: usize,
    /// Bands of the targets.
    pub target_bands: usize,
    /// Side of the crops, pixels.
    pub size: usize,
    /// Images a batch.
    pub batch: usize,
    /// Version of the program.
    pub huetape: String,
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata {
            format: FORMAT,
            network: String::new(),
            step: 0,
            settings: BTreeMap::new(),
            bins: None,
            input: Input::default(),
            lightness_match: None,
            trained_on: TrainedOn::default(),
            about: None,
        }
    }
}

impl Metadata {
    /// What a file says of itself; `None` of one that says nothing.
    ///
    /// # Errors
    /// Values of another type or that make no sense.
    pub fn of(file: &WeightFile) -> Result<Option<Self>> {
        let broken = |error: serde_json::Error| {
            let what = format!("what the weight file says of itself cannot be read ({error})");
            Error::input(what, file.source(), "use a file as huetape wrote it").of(ErrorKind::File)
        };
        file.metadata().map(|json| serde_json::from_str(json).map_err(broken)).transpose()
    }

    /// The same, with what `data` and `loader` tell of a training.
    #[must_use]
    pub fn of_training(self, data: &Dataset, loader: &LoaderOptions) -> Self {
        let (source, target) = (data.source_reading, data.target_reading);
        let read = if let Reading::Grey { band } = source { band } else { None };
        let input = Input {
            // Of a scene nothing but the band that was chosen is there to be read.
            band: self.input.band.or(read),
            of_colour_images: source == Reading::Lightness,
            lightness: self.input.lightness,
            target_names: self.input.target_names,
            target_files: self.input.target_files,
            ..Input::default()
        }
        .prepared(&data.preparations);
        let trained_on = TrainedOn {
            data: self.trained_on.data,
            images: data.pairs.len() as u64,
            source_bands: source.channels(),
            target_bands: target.channels(),
            size: loader.size,
            batch: loader.batch,
            huetape: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Metadata { input, trained_on, ..self }
    }

    /// The JSON that a weight file holds.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            let what = format!("JSON cannot hold what the weights are ({error})");
            Error::failed(what, &self.network, "report this as a bug").caused_by(error)
        })
    }
}

impl Input {
    /// What is done to a source.
    pub fn source(&self) -> Preparation {
        Preparation {
            bands: self.bands.clone(),
            ratio: self.ratio,
            stretch: self.stretch.clone(),
            despeckle: self.despeckle.clone(),
            zero_border: self.zero_border,
            looks: self.looks,
        }
    }

    /// What is done to a target.
    pub fn target(&self) -> Preparation {
        Preparation {
            bands: self.target_bands.clone(),
            stretch: self.target_stretch.clone(),
            zero_border: ZeroBorder::Keep,
            ..Preparation::default()
        }
    }

    /// The same, where both sides were prepared so.
    #[must_use]
    pub fn prepared(self, how: &Preparations) -> Self {
        let Preparation { bands, ratio, stretch, despeckle, zero_border, looks } = how.source.clone();
        let (target_bands, target_stretch) = (how.target.bands.clone(), how.target.stretch.clone());
        Input { bands, ratio, stretch, despeckle, zero_border, looks, target_bands, target_stretch, ..self }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Settings as the text that they are written as everywhere.
mod text {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(to)
    }

    pub fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse()).transpose().map_err(serde::de::Error::custom)
    }
}

/// The same of settings that always have a value.
mod plain {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.to_string().serialize(to)
    }

    pub fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::{StateTensor, save_described};

    fn metadata() -> Metadata {
        Metadata {
            network: "toy".to_owned(),
            step: 600,
            settings: BTreeMap::from([("slope".to_owned(), 0.3), ("side".to_owned(), 64.0)]),
            bins: Some(BinsMetadata { kind: "grid".to_owned(), width: Some(10) }),
            input: Input {
                band: Some(2),
                stretch: Some("db:-25,0".parse().unwrap()),
                despeckle: Some("lee:5".parse().unwrap()),
                lightness: Lightness::Despeckle,
                ..Input::default()
            },
            lightness_match: serde_json::from_str(r#"{"source": [0.0, 0.1], "target": [0.3, 0.7]}"#).unwrap(),
            trained_on: TrainedOn { data: "pairs of images".to_owned(), images: 12, ..TrainedOn::default() },
            ..Metadata::default()
        }
    }

    fn read(json: &str) -> Result<Option<Metadata>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        save_described(&[StateTensor { name: "a".into(), shape: vec![1], data: vec![1.0] }], Some(json), &path)?;
        Metadata::of(&WeightFile::read(&path)?)
    }

    #[test]
    fn what_was_written_is_read_and_is_the_same_text_each_time() {
        let json = metadata().to_json().unwrap();
        assert_eq!(read(&json).unwrap(), Some(metadata()));
        assert_eq!(read(&json).unwrap().unwrap().to_json().unwrap(), json);
        assert!(json.contains(r#""stretch":"db:-25,0","despeckle":"lee:5","lightness":"despeckle""#), "{json}");
        assert!(json.starts_with(r#"{"format":1,"network":"toy","step":600,"settings":{"side":64.0,"slope":0.3}"#));
    }

    #[test]
    fn unknown_keys_are_passed_over_and_missing_ones_have_defaults() {
        let read_one = |json: &str| read(json).unwrap().unwrap();
        assert_eq!(read_one(r#"{"format":1}"#), Metadata::default());
        let later =
            r#"{"format":1,"licence":"CC0","input":{"band":3,"gamma":2},"trained-on":{"place":"Bonn","images":4}}"#;
        let found = read_one(later);
        assert_eq!((found.input.band, found.trained_on.images), (Some(3), 4));
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_file() {
        for (json, named) in [
            (r#"{"format":1,"input":{"stretch":"5,1"}}"#, "5 is not below 1"),
            (r#"{"format":1,"input":{"despeckle":"lee:2"}}"#, "odd side"),
            (r#"{"format":1,"input":{"lightness":"moon"}}"#, "moon"),
            (r#"{"format":1,"network":3}"#, "string"),
        ] {
            let error = read(json).unwrap_err();
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::File));
            assert!(error.to_string().contains(named) && error.to_string().contains("w.safetensors"), "{error}");
        }
    }
}
