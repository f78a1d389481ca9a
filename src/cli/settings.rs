//! The flags that set a training, the TOML file that can stand for them, and what they come to.

use crate::cli::model::{Model, Start};
use crate::cli::preparation::preparations;
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::DataSource;
use crate::dataset::picture_file::Half;
use crate::dataset::preparation::{Preparation, Preparations};
use crate::engine::nn::OptimizerKind;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::train::run_dir::RunDir;
use crate::train::schedule::LrSchedule;
use crate::train::session::SessionConfig;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that sets a training. Each field is a flag of the same name and a key of a `--config` file; a flag wins
/// over the file. A run's `config.toml` holds them all, defaults filled in.
#[derive(Args, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Written with a run for whoever reads it: the model.
    #[arg(skip)]
    pub model: Option<String>,
    /// Folder of inputs, e.g. SAR pictures, with pictures of the same names in --target; or a scene. spacenet reads all bands of both
    #[arg(long, value_name = "PATH", conflicts_with = "images", help_heading = "Data")]
    pub source: Option<PathBuf>,
    /// Folder of colour pictures that belong to --source, or a scene on its grid
    #[arg(long, value_name = "PATH", conflicts_with = "images", help_heading = "Data")]
    pub target: Option<PathBuf>,
    /// Folder of colour pictures; the input is their lightness
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub images: Option<PathBuf>,
    /// Folder of files that hold an input and its colour picture side by side, of equal width
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "target", "images"], help_heading = "Data")]
    pub pairs: Option<PathBuf>,
    /// Which half of --pairs is the input, left or right [default: left]
    #[arg(long, value_name = "HALF", help_heading = "Data")]
    pub pairs_source: Option<String>,
    /// Inputs for validation (8 of them, spread evenly, at each checkpoint); with --images or --pairs, pictures like those
    #[arg(long, value_name = "PATH", help_heading = "Data")]
    pub val_source: Option<PathBuf>,
    /// Colour pictures that belong to --val-source
    #[arg(long, value_name = "PATH", help_heading = "Data")]
    pub val_target: Option<PathBuf>,
    /// Band of a multi-band source, from 1 [default: the only one, or the luma of three; spacenet all]
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub band: Option<usize>,
    /// How source values become 0 to 1: LO,HI, percentile:P over each scene or picture, db:LO,HI of intensities, db-amplitude:LO,HI,
    /// or none [default: by the type's range; scenes of 16 bits or floats percentile:2]
    #[arg(long, value_name = "HOW", allow_hyphen_values = true, help_heading = "Data")]
    pub stretch: Option<String>,
    /// The same of targets
    #[arg(long, value_name = "HOW", allow_hyphen_values = true, help_heading = "Data")]
    pub target_stretch: Option<String>,
    /// Take speckle off sources before: lee:N, a window of NxN pixels, or lee:N,LOOKS [default: none]
    #[arg(long, value_name = "HOW", help_heading = "Data")]
    pub despeckle: Option<String>,
    /// Lightness of what the run colours, of colournet, window8 and sicgan: input, or despeckle, the input without speckle, matched to
    /// the lightness of the targets; the training is the same [default: input]
    #[arg(long, value_name = "WHICH", help_heading = "Data")]
    pub lightness: Option<String>,
    /// Side of the square crop in pixels, a multiple of 8; window8 above 16, pix2pix of 256, sicgan any, spacenet of 32
    /// [default: 256; window8 32, sicgan 128, spacenet 64]
    #[arg(long, value_name = "S", help_heading = "Data")]
    pub size: Option<usize>,
    /// Take the files in name order [default: a new order in each epoch]
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Data")]
    pub no_shuffle: Option<bool>,
    /// Take the centre of each picture [default: random crops, mirrored by chance; sicgan --patches, rotated too]
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Data")]
    pub no_augment: Option<bool>,
    /// Fixed patches in all, one epoch, spread over the pictures [default: sicgan 5000]
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub patches: Option<usize>,
    /// Least squared distance between two patches' origins, lowered where there is no place left [default: sicgan 64]
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    pub min_distance: Option<usize>,

    /// Updates in all [default: 100 epochs; sicgan 20]
    #[arg(long, value_name = "N", conflicts_with = "epochs", help_heading = "Training")]
    pub steps: Option<u64>,
    /// Passes over the data, instead of --steps
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Pictures a batch [default: 8; window8 32, pix2pix 1, sicgan 32, spacenet 16]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch: Option<usize>,
    /// Learning rate [default: 1e-4; pix2pix 2e-4]
    #[arg(long, help_heading = "Training")]
    pub lr: Option<f64>,
    /// Learning rate of the discriminator, on the same schedule [default: that of --lr; sicgan 4e-4]
    #[arg(long, help_heading = "GAN")]
    pub lr_d: Option<f64>,
    /// constant, cosine or linear-after:N [default: constant]
    #[arg(long, value_name = "SCHEDULE", help_heading = "Training")]
    pub lr_schedule: Option<String>,
    /// adam or sgd (momentum 0.9) [default: adam; spacenet sgd]
    #[arg(long, value_name = "RULE", help_heading = "Training")]
    pub optimizer: Option<String>,
    /// Adam's decay of the first moment [default: 0.9; GANs 0.5]
    #[arg(long, help_heading = "Training")]
    pub beta1: Option<f64>,
    /// Adam's decay of the second moment [default: 0.99; GANs 0.999]
    #[arg(long, help_heading = "Training")]
    pub beta2: Option<f64>,
    /// Added to the square root of Adam's second moment [default: 1e-8]
    #[arg(long, help_heading = "Training")]
    pub adam_eps: Option<f64>,
    /// Decoupled decay of kernels [default: 0]
    #[arg(long, help_heading = "Training")]
    pub weight_decay: Option<f64>,
    /// Penalty on the squares of kernels [default: 0]
    #[arg(long, help_heading = "Training")]
    pub l2: Option<f64>,
    /// Seed of weights, order and crops [default: 0]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub seed: Option<u64>,

    /// Multiplier of every layer's channels; not of window8 [default: 1.0]
    #[arg(long, value_name = "F", help_heading = "Network")]
    pub width: Option<f64>,
    /// Start from these weights; bins, prior and slope are taken from the file
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub init: Option<PathBuf>,
    /// Colour bins: grid, gamut or kmeans:K [default: grid]
    #[arg(long, value_name = "BINS", help_heading = "Classification")]
    pub bins: Option<String>,
    /// Side of a grid cell in ab units [default: 10]
    #[arg(long, value_name = "N", help_heading = "Classification")]
    pub bin_width: Option<u32>,
    /// Share of the uniform prior in the class weights [default: 0.5]
    #[arg(long, help_heading = "Classification")]
    pub lambda: Option<f32>,
    /// Width of the soft encoding and of the prior's smoothing, ab units [default: 5]
    #[arg(long, help_heading = "Classification")]
    pub sigma: Option<f32>,
    /// How the prior is smoothed: ab, index or none [default: ab; window8 none]
    #[arg(long, value_name = "HOW", help_heading = "Classification")]
    pub prior_smoothing: Option<String>,

    /// Weight of the mean distance from the target in the generator's loss [default: pix2pix 100, sicgan 0]
    #[arg(long, value_name = "F", help_heading = "GAN")]
    pub lambda_l1: Option<f32>,
    /// spacenet's weight of the mean squared error at the start, which falls to a tenth by half of the training
    /// [default: 100]
    #[arg(long, value_name = "F", help_heading = "GAN")]
    pub lambda_mse: Option<f32>,
    /// Penalty on the squares of spacenet's discriminator's kernels [default: 1e-4]
    #[arg(long, value_name = "F", help_heading = "GAN")]
    pub d_l2: Option<f64>,
    /// Share of values that dropout takes, 0 for none [default: 0.5]
    #[arg(long, value_name = "SHARE", help_heading = "GAN")]
    pub dropout: Option<f32>,
    /// Slope of the leaky ReLU below 0 [default: 0.3]
    #[arg(long, value_name = "F", help_heading = "GAN")]
    pub leaky_slope: Option<f32>,
    /// Channels that the grey input is repeated to [default: 1]
    #[arg(long, value_name = "N", help_heading = "GAN")]
    pub input_channels: Option<usize>,

    /// Updates between checkpoints [default: 500]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub checkpoint_every: Option<u64>,
    /// Checkpoints that stay [default: 3]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub keep: Option<usize>,
    /// Updates between sample pictures, 0 for the last only [default: 500]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub sample_every: Option<u64>,
    /// Where to compute: auto, cpu, gpu or gpu:NAME [default: HUETAPE_DEVICE, else auto]
    #[arg(long, help_heading = "Device")]
    pub device: Option<String>,
    /// Most memory that buffers may take on the device, e.g. 6G [default: no cap]
    #[arg(long, value_name = "SIZE", help_heading = "Device")]
    pub memory: Option<String>,
    /// Threads of the CPU device and of loading [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Device")]
    pub threads: Option<usize>,
    /// Written with a run for whoever reads it: version, device.
    #[arg(skip)]
    pub made_by: Option<BTreeMap<String, String>>,
}

/// Settings resolved: what a training needs.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub data: DataSource,
    pub validation: Option<DataSource>,
    pub band: Option<usize>,
    pub preparations: Preparations,
    pub start: Start,
    /// Steps are those of `--steps`; with `--epochs` they are set once the number of pictures is known.
    pub session: SessionConfig,
    pub epochs: Option<u64>,
    pub patches: Option<Patches>,
}

/// Patches to choose once the pictures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patches {
    pub count: usize,
    /// Least squared distance between two origins, pixels.
    pub min_distance: usize,
}

const DEFAULT_EPOCHS: u64 = 100;
/// Pixels of a batch at most: a gigabyte for each channel of floats.
const MOST_PIXELS: usize = 1 << 28;
/// Patches at most: they are put into a new order for every batch.
const MOST_PATCHES: usize = 1_000_000;

/// Takes a value from the first that has one.
macro_rules! prefer {
    ($first:ident, $second:ident, { $($field:ident),* $(,)? }) => {
        Settings { $($field: $first.$field.or($second.$field)),* }
    };
}

impl Settings {
    /// Settings from a TOML file: one key a flag.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or has an unknown key; the file is named.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::input(format!("cannot read the settings ({error})"), path.display(), "name a TOML file")
        })?;
        toml::from_str(&text).map_err(|error| {
            let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::input(
                format!("the settings cannot be read ({what})"),
                path.display(),
                "use the long flags of `huetape train --help` as keys",
            )
        })
    }

    /// Writes the settings as TOML, whole.
    ///
    /// # Errors
    /// A disk that is full or may not be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| {
            Error::failed(format!("settings that TOML cannot hold ({error})"), path.display(), "report this")
        })?;
        write_whole(path, text.as_bytes())
    }

    /// These settings, and those of `other` where there is none.
    pub fn or(self, other: Settings) -> Settings {
        // A choice between alternatives on the one side leaves no room for the other's.
        let mut other = other;
        if self.images.is_some() || self.pairs.is_some() {
            (other.source, other.target, other.val_target) = (None, None, None);
        }
        if self.images.is_some() || self.source.is_some() || self.target.is_some() {
            (other.pairs, other.pairs_source) = (None, None);
        }
        if self.pairs.is_some() || self.source.is_some() || self.target.is_some() {
            other.images = None;
        }
        if self.init.is_some() {
            (other.bins, other.width) = (None, None);
            (other.leaky_slope, other.input_channels) = (None, None);
        }
        if self.bins.is_some() {
            other.init = None;
        }
        if self.steps.is_some() || self.epochs.is_some() {
            (other.steps, other.epochs) = (None, None);
        }
        prefer!(self, other, {
            source, target, images, pairs, pairs_source, val_source, val_target, band, stretch, target_stretch, despeckle, lightness, size, no_shuffle, no_augment, patches, min_distance, steps, epochs, batch, lr,
            lr_schedule, optimizer, model, made_by, beta1, beta2, adam_eps, weight_decay, l2, seed, width, init, bins, bin_width, lambda,
            sigma, prior_smoothing, lr_d, lambda_l1, lambda_mse, d_l2, dropout, leaky_slope, input_channels, checkpoint_every, keep, sample_every,
            device, memory, threads,
        })
    }

    /// Refuses to go on with a run under flags that its checkpoints have settled.
    ///
    /// # Errors
    /// A flag of these settings that differs from `before`, those of the run in `folder`.
    pub fn check_unchanged(&self, before: &Settings, folder: &Path) -> Result<()> {
        let settled = [
            ("--width", self.width.is_some() && self.width != before.width),
            ("--stretch", self.stretch.is_some() && self.stretch != before.stretch),
            ("--target-stretch", self.target_stretch.is_some() && self.target_stretch != before.target_stretch),
            ("--despeckle", self.despeckle.is_some() && self.despeckle != before.despeckle),
            ("--init", self.init.is_some() && self.init != before.init),
            ("--bins", self.bins.is_some() && self.bins != before.bins),
            ("--bin-width", self.bin_width.is_some() && self.bin_width != before.bin_width),
            ("--leaky-slope", self.leaky_slope.is_some() && self.leaky_slope != before.leaky_slope),
            ("--input-channels", self.input_channels.is_some() && self.input_channels != before.input_channels),
            ("--prior-smoothing", self.prior_smoothing.is_some() && self.prior_smoothing != before.prior_smoothing),
        ];
        match settled.iter().find(|(_, differs)| *differs) {
            None => Ok(()),
            Some((flag, _)) => Err(Error::input(
                "the run was started with another value",
                format!("{flag} with {}", folder.display()),
                "leave the flag out, or start a new run",
            )),
        }
    }

    /// Fills in every default of `model`, so that the written settings run again the same way under later defaults.
    pub fn filled(self, model: Model) -> Settings {
        // Weights to start from bring their width and what else is theirs.
        let fresh = self.init.is_none();
        self.or(model.defaults(fresh)).or(Settings {
            size: Some(256),
            no_shuffle: Some(false),
            no_augment: Some(false),
            epochs: Some(DEFAULT_EPOCHS),
            lr_schedule: Some("constant".to_owned()),
            optimizer: Some("adam".to_owned()),
            adam_eps: Some(1e-8),
            weight_decay: Some(0.0),
            l2: Some(0.0),
            seed: Some(0),
            width: fresh.then_some(1.0),
            checkpoint_every: Some(500),
            keep: Some(3),
            sample_every: Some(500),
            ..Settings::default()
        })
    }

    /// The rule that updates the weights.
    ///
    /// # Errors
    /// A value that makes no sense, by its flag.
    pub fn rule(&self) -> Result<OptimizerKind> {
        match self.optimizer.as_deref() {
            Some("sgd") => Ok(OptimizerKind::Sgd { momentum: 0.9 }),
            Some("adam") | None => Ok(OptimizerKind::Adam {
                beta1: below_one(self.beta1.unwrap_or_default(), "--beta1")?,
                beta2: below_one(self.beta2.unwrap_or_default(), "--beta2")?,
                eps: at_least(self.adam_eps.unwrap_or_default(), 0.0, true, "--adam-eps")?,
            }),
            Some(other) => Err(Error::input("no such optimizer", format!("--optimizer {other}"), "use adam or sgd")),
        }
    }

    /// Checks every value and says what the settings come to for `model`.
    ///
    /// # Errors
    /// The first value that makes no sense, by its flag.
    pub fn resolve(&self, model: Model) -> Result<Resolved> {
        let named = self.model.as_deref().unwrap_or(model.name());
        crate::ensure!(
            named == model.name(),
            Error::input(format!("the settings are those of {named}"), model.name(), format!("say `train {named}`"))
        );
        // Every default stands in `filled`, and nowhere else.
        let filled = self.clone().filled(model);
        let data = data_source(&filled)?;
        let validation = validation_source(&filled, &data)?;
        crate::ensure!(
            filled.band.is_none() || filled.images.is_none(),
            Error::input("colour pictures are read by their lightness", "--band beside --images", "leave --band out")
        );
        let size = positive(filled.size, "--size")?;
        model.check_size(size)?;
        let batch = positive(filled.batch, "--batch")?;
        crate::ensure!(
            batch.checked_mul(size * size).is_some_and(|pixels| pixels <= MOST_PIXELS),
            Error::input(
                "a batch of more pixels than memory holds",
                format!("--batch {batch}"),
                "lower --batch or --size"
            )
        );
        let lr = at_least(filled.lr.unwrap_or_default(), 0.0, true, "--lr")?;
        let positive_u64 = |value: Option<u64>, flag: &str| positive(value.map(|v| v as usize), flag).map(|v| v as u64);
        Ok(Resolved {
            validation,
            preparations: preparations(&filled)?,
            band: filled.band.map(|band| positive(Some(band), "--band")).transpose()?,
            start: Start::resolve(model, &filled, filled.rule()?)?,
            session: SessionConfig {
                steps: if filled.steps.is_some() { positive_u64(filled.steps, "--steps")? } else { 0 },
                loader: LoaderOptions {
                    batch,
                    size,
                    seed: filled.seed.unwrap_or_default(),
                    shuffle: filled.no_shuffle != Some(true),
                    halo: model.halo(),
                    augment: filled.no_augment != Some(true),
                    turns: model.recipe().turns(),
                    enlarge: model.recipe().enlarge(size),
                    threads: loader_threads(filled.threads),
                    ..LoaderOptions::default()
                },
                lr,
                lr_schedule: filled.lr_schedule.as_deref().unwrap_or_default().parse::<LrSchedule>()?,
                checkpoint_every: positive_u64(filled.checkpoint_every, "--checkpoint-every")?,
                keep: positive(filled.keep, "--keep")?,
                keep_best: true,
                sample_every: filled.sample_every.unwrap_or_default(),
            },
            epochs: match filled.epochs {
                Some(_) => Some(positive_u64(filled.epochs, "--epochs")?),
                None => None,
            },
            patches: patches(&filled)?,
            data,
        })
    }
}

/// The patches that filled settings ask for; centre crops leave them out.
fn patches(settings: &Settings) -> Result<Option<Patches>> {
    let (Some(count), Some(min_distance)) = (settings.patches, settings.min_distance) else { return Ok(None) };
    let count = positive(Some(count), "--patches")?;
    crate::ensure!(
        count <= MOST_PATCHES,
        Error::input("too many patches", format!("--patches {count}"), format!("use {MOST_PATCHES} or fewer"))
    );
    Ok((settings.no_augment != Some(true)).then_some(Patches { count, min_distance }))
}

/// Threads that decode and cut pictures. What a batch holds does not depend on them.
fn loader_threads(threads: Option<usize>) -> usize {
    threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get)).clamp(1, 16)
}

/// How a run's inputs were read, for colouring others the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunInput {
    /// Band of the source, from 1.
    pub band: Option<usize>,
    /// The source was the lightness of colour pictures.
    pub lightness: bool,
    /// What was done to the source.
    pub preparation: Preparation,
    /// What was done to the target.
    pub target: Preparation,
    /// Its pictures get the lightness of the source without speckle, matched to the targets.
    pub despeckled: bool,
}

/// How the run in `folder` read its inputs; the default where it has no settings.
///
/// # Errors
/// Settings that cannot be read.
pub fn input_of_run(folder: &Path) -> Result<RunInput> {
    let path = RunDir::open(folder)?.config();
    if !path.exists() {
        return Ok(RunInput::default());
    }
    let settings = Settings::read(&path)?;
    let Preparations { source: preparation, target } = preparations(&settings)?;
    let (lightness, despeckled) = (settings.images.is_some(), settings.lightness.as_deref() == Some("despeckle"));
    Ok(RunInput { band: settings.band, lightness, preparation, target, despeckled })
}

/// A number of at least `least`, or, when `open`, above it.
pub(super) fn at_least(value: f64, least: f64, open: bool, flag: &str) -> Result<f64> {
    let fits = value.is_finite() && (value > least || (!open && value == least));
    let bound = if open { "above" } else { "of at least" };
    crate::ensure!(
        fits,
        Error::input("out of range", format!("{flag} {value}"), format!("use a number {bound} {least}"))
    );
    Ok(value)
}

/// A number from 0 to below 1.
pub(super) fn below_one(value: f64, flag: &str) -> Result<f64> {
    crate::ensure!(
        (0.0..1.0).contains(&value),
        Error::input("out of range", format!("{flag} {value}"), "use a number from 0 to below 1")
    );
    Ok(value)
}

/// A number that was given and is at least 1.
pub(super) fn positive(value: Option<usize>, flag: &str) -> Result<usize> {
    match value {
        Some(value) if value > 0 => Ok(value),
        value => Err(Error::input("must be at least 1", format!("{flag} {}", value.unwrap_or(0)), "use 1 or more")),
    }
}

pub(super) fn data_source(settings: &Settings) -> Result<DataSource> {
    crate::ensure!(
        settings.pairs.is_some() || settings.pairs_source.is_none(),
        Error::input("no side-by-side pictures", "--pairs-source", "add --pairs DIR, or leave it out")
    );
    if let Some(folder) = &settings.pairs {
        let source = match settings.pairs_source.as_deref() {
            None | Some("left") => Half::Left,
            Some("right") => Half::Right,
            Some(other) => {
                return Err(Error::input("no such half", format!("--pairs-source {other}"), "use left or right"));
            }
        };
        return Ok(DataSource::SideBySide { folder: folder.clone(), source });
    }
    match (&settings.source, &settings.target, &settings.images) {
        (Some(source), Some(target), _) => pairs_or_scenes(source, target, ["--source", "--target"]),
        (None, None, Some(images)) => Ok(DataSource::Images(images.clone())),
        (Some(_), None, _) => Err(Error::input("the colour pictures are missing", "--source", "add --target DIR")),
        (None, Some(_), _) => Err(Error::input("the inputs are missing", "--target", "add --source DIR")),
        (None, None, None) => Err(Error::input(
            "nothing to train on",
            "command line",
            "give --source DIR --target DIR, --pairs DIR or --images DIR; `huetape demo` needs none",
        )),
    }
}

/// Two folders of pictures, or two scenes.
fn pairs_or_scenes(source: &Path, target: &Path, flags: [&str; 2]) -> Result<DataSource> {
    let (from, to) = (source.to_owned(), target.to_owned());
    match (source.is_file(), target.is_file()) {
        (true, true) => Ok(DataSource::Scenes { source: from, target: to }),
        (false, false) => Ok(DataSource::Pairs { source: from, target: to }),
        (scene, _) => {
            let [file, other] = if scene { [source, target] } else { [target, source] };
            Err(Error::input(
                "one is a file, the other none",
                format!("{} {} and {} {}", flags[0], source.display(), flags[1], target.display()),
                format!("give two scenes or two folders: {} beside {}", file.display(), other.display()),
            ))
        }
    }
}

fn validation_source(settings: &Settings, data: &DataSource) -> Result<Option<DataSource>> {
    match (&settings.val_source, &settings.val_target, data) {
        (None, None, _) => Ok(None),
        (None, Some(_), _) => Err(Error::input("the inputs are missing", "--val-target", "add --val-source DIR")),
        (Some(images), None, DataSource::Images(_)) => Ok(Some(DataSource::Images(images.clone()))),
        (Some(folder), None, DataSource::SideBySide { source, .. }) => {
            Ok(Some(DataSource::SideBySide { folder: folder.clone(), source: *source }))
        }
        (Some(source), Some(target), DataSource::Pairs { .. } | DataSource::Scenes { .. }) => {
            pairs_or_scenes(source, target, ["--val-source", "--val-target"]).map(Some)
        }
        (Some(_), None, DataSource::Pairs { .. } | DataSource::Scenes { .. }) => {
            Err(Error::input("the colour pictures are missing", "--val-source", "add --val-target DIR"))
        }
        (Some(_), Some(_), _) => Err(Error::input(
            "validation would differ from training",
            "--val-target beside --images or --pairs",
            "leave --val-target out: --val-source holds both sides",
        )),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
