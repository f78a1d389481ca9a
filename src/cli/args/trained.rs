//! Which trained network a command works with, and how it colours.

use crate::cli::args::given::{Choice, Given};
use crate::dataset::lightness::LightnessMatch;
use crate::dataset::stats::DataStats;
use crate::engine::device::Device;
use crate::engine::nn::Norm;
use crate::error::{Error, Result};
use crate::files::io_error;
use crate::paint::colorizer::{Colorizer, Options};
use crate::paint::painter::Look;
use crate::run::input::{RunInput, input_of_run};
use crate::train::run_dir::RunDir;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// A trained network by its run or its weights.
#[derive(Args, Debug)]
pub struct TrainedArgs {
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", required_unless_present = "weights", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// Weight file; model, width, bins and bands are read off its tensors
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

/// How it colours.
#[derive(Args, Debug)]
pub struct LookArgs {
    /// Of a classifier: towards 0 the likeliest colour, 1 the mean colour
    #[arg(long, value_name = "T", default_value_t = 0.38)]
    temperature: f32,
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
    const KEYS: Option<&'static [&'static str]> = Some(&["band", "stretch", "despeckle", "lightness"]);
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
    /// The weight file.
    ///
    /// # Errors
    /// No run folder, or one without a checkpoint.
    pub fn weights(&self) -> Result<PathBuf> {
        match (&self.weights, &self.run) {
            (Some(weights), _) => Ok(weights.clone()),
            (None, Some(run)) => Colorizer::weights_of_run(run),
            (None, None) => Err(Error::input("no network named", "--run", "add --run RUN or --weights FILE")),
        }
    }

    /// How the run read its inputs; the default without a run.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn input(&self) -> Result<RunInput> {
        self.run.as_deref().map_or_else(|| Ok(RunInput::default()), input_of_run)
    }

    /// The network on a device, with how it colours: the run's inputs are read as its training read them.
    ///
    /// # Errors
    /// Flags out of range; a run or weights that cannot be read.
    pub fn open(&self, look: &LookArgs, device: &Device) -> Result<(Colorizer, Options)> {
        let options = self.options(look)?;
        Ok((Colorizer::open(device, &self.weights()?)?.with_lightness(self.lightness(look)?)?, options))
    }

    /// What the run knows of its training data; `None` without a run, or for one that has not kept it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn statistics(&self) -> Result<Option<DataStats>> {
        let Some(run) = &self.run else { return Ok(None) };
        let path = RunDir::open(run)?.statistics();
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|error| io_error("cannot read", &path, &error))?;
        let broken = |error| {
            Error::input(
                format!("the statistics cannot be read ({error})"),
                path.display(),
                "use --weights instead of --run",
            )
        };
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    /// The match of lightness that is asked for, by flag or by the run's settings.
    fn lightness(&self, look: &LookArgs) -> Result<Option<LightnessMatch>> {
        let given = &look.input.settings;
        let of_run = self.input()?.despeckled;
        if !given.lightness.as_ref().map_or(of_run, |_| given.despeckles_lightness()) {
            return Ok(None);
        }
        let unknown = || {
            let what = "nothing is known of the lightness to match";
            Error::input(what, "--lightness despeckle", "name a --run that was trained on grey pictures and colours")
        };
        self.statistics()?.and_then(|stats| stats.lightness).map(Some).ok_or_else(unknown)
    }

    /// How it colours.
    ///
    /// # Errors
    /// Flags out of range; a run whose settings cannot be read.
    pub fn options(&self, look: &LookArgs) -> Result<Options> {
        crate::ensure!(
            look.temperature > 0.0 && look.temperature.is_finite(),
            Error::input("out of range", format!("--temperature {}", look.temperature), "use a number above 0")
        );
        let given = &look.input.settings;
        given.check_values()?;
        let prepared = self.input()?;
        let norm = match look.norm {
            NormName::Running => Norm::Running,
            NormName::Batch => Norm::Batch,
        };
        Ok(Options {
            look: Look { temperature: look.temperature, norm },
            band: given.band.or(prepared.band),
            // A band asked for now is read, also where the run was trained on the lightness of colour pictures.
            lightness: prepared.lightness && given.band.is_none(),
            preparation: given.preparation_over(prepared.preparation)?,
        })
    }
}
