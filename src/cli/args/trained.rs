//! Which trained network a command works with, and how it colours.

use crate::cli::args::given::{Choice, Given};
use crate::dataset::stats::DataStats;
use crate::engine::device::Device;
use crate::engine::nn::{Norm, WeightFile};
use crate::error::{Error, Result};
use crate::networks::serves_training;
use crate::paint::colorizer::{Colorizer, Options};
use crate::paint::painter::Look;
use crate::run::run::Run;
use crate::train::built_in::{BUILT_IN, BuiltIn, weights_called_where};
use crate::train::checkpoint::Which;
use crate::train::metadata::{Input, Lightness, Metadata};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// A trained network by its run or its weights.
#[derive(Args, Debug)]
pub struct TrainedArgs {
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// Weights that come along, by their name (`huetape weights` lists them), or a weight file; model, width, bins and
    /// bands are read off its tensors, and how inputs are read is what it says of itself
    #[arg(long, value_name = "NAME|FILE")]
    pub weights: Option<PathBuf>,
    /// Which weights of --run: last, best, or those after an update, by its number [default: best where there are
    /// validation images, else last]
    #[arg(long, value_name = "WHICH", conflicts_with = "weights")]
    checkpoint: Option<String>,
}

/// How it colours.
#[derive(Args, Debug)]
pub struct LookArgs {
    /// Of a classifier: towards 0 the likeliest colour, 1 the mean colour [default: the weights', else 0.38]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Statistics of batch norm: running, or batch, with dropout where the network has it, as some GANs are published
    #[arg(long, value_name = "WHICH", default_value = "running")]
    norm: NormName,
    #[command(flatten)]
    input: Given<OfInput>,
}

/// The settings of inputs, which a run has too.
#[derive(Debug, Clone, Default)]
pub struct OfInput;

impl Choice for OfInput {
    const KEYS: Option<&'static [&'static str]> =
        Some(&["band", "bands", "ratio", "stretch", "despeckle", "zero-border", "looks", "lightness"]);
    const BESIDE_A_RUN: bool = true;
}

/// Which statistics batch norm uses.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum NormName {
    /// Those of the training
    Running,
    /// Those of what is coloured in one go
    Batch,
}

impl TrainedArgs {
    fn open_run(&self, run: &Path) -> Result<Run> {
        let which = self.checkpoint.as_deref().map_or(Ok(Which::Usual), str::parse)?;
        Ok(Run::open(run)?.with_checkpoint(which))
    }

    /// Whether a network is named.
    pub fn is_named(&self) -> bool {
        self.run.is_some() || self.weights.is_some()
    }

    /// The same, with the weights of this name that come along where no network is named, if any come along.
    #[must_use]
    pub fn or_built_in(self, name: &str) -> Self {
        if self.is_named() || BUILT_IN.is_empty() { self } else { TrainedArgs { weights: Some(name.into()), ..self } }
    }

    /// The weights.
    ///
    /// # Errors
    /// No network named; no run folder, or one without a checkpoint; weights that cannot be read.
    pub fn weights(&self) -> Result<WeightFile> {
        self.weights_where(|_| true)
    }

    /// The weights, without what serves training alone: of a checkpoint a third.
    ///
    /// # Errors
    /// As [`TrainedArgs::weights`].
    pub fn weights_at_work(&self) -> Result<WeightFile> {
        self.weights_where(|name| !serves_training(name))
    }

    /// The weights whose names `wanted` says.
    fn weights_where(&self, wanted: impl Fn(&str) -> bool) -> Result<WeightFile> {
        match (&self.weights, &self.run) {
            (Some(weights), _) => {
                let remedy = "name a file, or its run by --run";
                let what = "a folder, where a weight file is needed";
                let subject = || format!("--weights {}", weights.display());
                let built_in = BuiltIn::by_name(weights)?.is_some();
                crate::ensure!(built_in || !weights.is_dir(), Error::input(what, subject(), remedy));
                weights_called_where(weights, wanted)
            }
            (None, Some(run)) => WeightFile::read_where(&self.open_run(run)?.weights()?, wanted),
            (None, None) => {
                let subject = "--run RUN or --weights NAME";
                Err(Error::input("something is missing", subject, "say which network by one of the two"))
            }
        }
    }

    /// How the training read its inputs, by the run, or by what the weights say of themselves; the default where they
    /// say nothing.
    ///
    /// # Errors
    /// Settings or weights that cannot be read.
    pub fn input(&self) -> Result<Input> {
        match &self.run {
            Some(run) => Ok(self.open_run(run)?.input().clone()),
            None => {
                let metadata = Metadata::of(&self.weights_where(|_| false)?)?;
                Ok(metadata.map(|metadata| metadata.input).unwrap_or_default())
            }
        }
    }

    /// The network on a device, with how it colours: inputs are read as its training read them.
    ///
    /// # Errors
    /// Flags out of range; a run or weights that cannot be read.
    pub fn open(&self, look: &LookArgs, device: &Device) -> Result<(Colorizer, Options)> {
        look.check()?;
        let given = &look.input.settings;
        let lightness = given.lightness.as_ref().map(|_| match given.despeckles_lightness() {
            true => Lightness::Despeckle,
            false => Lightness::Input,
        });
        let colorizer = match &self.run {
            Some(run) => Colorizer::of_run(device, &self.open_run(run)?, lightness)?,
            None => Colorizer::of(device, &self.weights_at_work()?, lightness)?,
        };
        let options = look.over(colorizer.options())?;
        Ok((colorizer, options))
    }

    /// What the run knows of its training data; `None` without a run, or for one that has not kept it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn statistics(&self) -> Result<Option<DataStats>> {
        self.run.as_ref().map_or(Ok(None), |run| Run::open(run)?.statistics())
    }
}

impl LookArgs {
    fn check(&self) -> Result<()> {
        if let Some(value) = self.temperature.filter(|value| !(1e-4..=5.0).contains(value)) {
            return Err(Error::input(
                "out of range",
                format!("--temperature {value}"),
                "use a number from 0.0001 to 5",
            ));
        }
        self.input.settings.check_values()
    }

    /// What the flags say, and, where they say nothing, `before`.
    fn over(&self, before: &Options) -> Result<Options> {
        let given = &self.input.settings;
        let norm = match self.norm {
            NormName::Running => Norm::Running,
            NormName::Batch => Norm::Batch,
        };
        Ok(Options {
            look: Look { temperature: self.temperature.unwrap_or(before.look.temperature), norm },
            band: given.band.or(before.band.filter(|_| given.bands.is_none())),
            // A band asked for now is read, also where the training was on the lightness of colour images.
            lightness: before.lightness && given.band.is_none() && given.bands.is_none(),
            preparation: given.preparation_over(before.preparation.clone())?,
        })
    }
}
