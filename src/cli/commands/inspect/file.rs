//! `huetape inspect FILE`: what a weight file says of itself, and what its tensors tell.

use crate::cli::tables::thousands;
use crate::dataset::stack::Looks;
use crate::dataset::zero_border::ZeroBorder;
use crate::engine::device::Device;
use crate::engine::nn::{StateTensor, WeightFile};
use crate::error::{Error, Result};
use crate::paint::colorizer::Colorizer;
use crate::run::run::Run;
use crate::train::built_in::BuiltIn;
use crate::train::metadata::{BinsMetadata, Input, Lightness, Metadata, TrainedOn};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct FileArgs {
    /// A weight file, the name of weights that come along, or a run folder: its best checkpoint, else its newest
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is known of a weight file.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Facts {
    file: String,
    network: &'static str,
    /// What it says of itself, if it does.
    metadata: Option<Metadata>,
    reads_bands: usize,
    makes_bands: usize,
    /// Settings of the network that no shape tells.
    settings: BTreeMap<String, f32>,
    /// Colour bins of a classifier.
    bins: Option<usize>,
    tensors: usize,
    /// Numbers in tensors that are weights or running statistics.
    parameters: usize,
    /// Numbers in the optimiser's tensors.
    optimizer: usize,
}

pub fn run(args: &FileArgs) -> anyhow::Result<()> {
    let Some(path) = &args.file else {
        return Err(Error::input("nothing to look at", "command line", "name a weight file").into());
    };
    let file = match BuiltIn::by_name(path)? {
        Some(weights) => weights.read()?,
        None if path.is_dir() => WeightFile::read(&Run::open(path)?.weights()?)?,
        None => WeightFile::read(path)?,
    };
    let facts = Facts::of(&file)?;
    match args.json {
        true => outln!("{}", serde_json::to_string_pretty(&facts)?),
        false => facts.print(),
    }
    Ok(())
}

/// What a tensor of a weight file is, by its name: parameters are named `LAYER.WHAT`.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Parameter,
    Optimizer,
    /// Bins, settings, the state of the training, the weights whose averages the parameters are.
    Other,
}

impl Kind {
    fn of(tensor: &StateTensor) -> Self {
        match tensor.name.split_once('.') {
            Some(("adam" | "sgd", _)) => Kind::Optimizer,
            Some(("train" | "raw", _)) | None => Kind::Other,
            Some(_) => Kind::Parameter,
        }
    }
}

impl Facts {
    fn of(file: &WeightFile) -> Result<Self> {
        let colorizer = Colorizer::of(&Device::cpu(), file, None)?;
        let count = |wanted: Kind| -> usize {
            file.tensors().filter(|tensor| Kind::of(tensor) == wanted).map(|tensor| tensor.data.len()).sum()
        };
        Ok(Facts {
            file: file.source().to_owned(),
            network: colorizer.model(),
            metadata: Metadata::of(file)?,
            reads_bands: colorizer.source_bands(),
            makes_bands: colorizer.bands(),
            settings: file.tensors().filter_map(setting).collect(),
            bins: file.get("bins").and_then(|bins| bins.shape.first().copied()),
            tensors: file.tensors().count(),
            parameters: count(Kind::Parameter),
            optimizer: count(Kind::Optimizer),
        })
    }

    fn print(&self) {
        let line = |name: &str, text: String| outln!("{:<14}{text}", format!("{name}:"));
        line("file", self.file.clone());
        line("network", self.network.to_owned());
        match &self.metadata {
            Some(metadata) => {
                line("format", metadata.format.to_string());
                line("updates", metadata.step.to_string());
                line("input", describe_input(&metadata.input));
                line("trained on", describe_training(&metadata.trained_on));
                if let Some(about) = &metadata.about {
                    line("name", format!("{}, {}", about.name, about.date));
                    line("for", about.purpose.clone());
                    line("data", about.data.clone());
                    line("licence", about.licence.clone());
                }
            }
            None => line("metadata", "none: what follows is read off the tensors".to_owned()),
        }
        line("bands", format!("reads {}, makes {}", self.reads_bands, self.makes_bands));
        if let Some(bins) = self.bins {
            let kind = self.metadata.as_ref().and_then(|metadata| metadata.bins.as_ref());
            let width = |width: u32| format!(", cells of {width} ab units");
            let of = |bins: &BinsMetadata| format!(" ({}{})", bins.kind, bins.width.map(width).unwrap_or_default());
            line("bins", format!("{bins}{}", kind.map(of).unwrap_or_default()));
        }
        if !self.settings.is_empty() {
            let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            line("settings", settings.join(", "));
        }
        line("tensors", self.tensors.to_string());
        line("parameters", thousands(self.parameters));
        if self.optimizer > 0 {
            line("optimiser", format!("{} numbers, to resume from", thousands(self.optimizer)));
        }
    }
}

/// A setting's name and value.
fn setting(tensor: &StateTensor) -> Option<(String, f32)> {
    let one = Kind::of(tensor) == Kind::Other && tensor.shape == [1] && !tensor.name.contains('.');
    tensor.data.first().filter(|_| one).map(|value| (tensor.name.clone(), *value))
}

fn describe_input(input: &Input) -> String {
    let mut parts = Vec::new();
    if input.of_colour_images {
        parts.push("lightness of colour images".to_owned());
    }
    parts.extend(input.band.map(|band| format!("band {band}")));
    parts.extend(input.bands.as_ref().map(|bands| format!("bands {bands}")));
    if input.ratio {
        parts.push("ratio".to_owned());
    }
    parts.extend(input.stretch.as_ref().map(|stretch| format!("stretch {stretch}")));
    parts.extend(input.despeckle.as_ref().map(|despeckle| format!("despeckle {despeckle}")));
    if input.zero_border != ZeroBorder::default() {
        parts.push(format!("zero-border {}", input.zero_border));
    }
    if input.looks != Looks::default() {
        parts.push(format!("looks {}", input.looks));
    }
    parts.extend(input.target_bands.as_ref().map(|bands| format!("target-bands {bands}")));
    parts.extend(input.target_stretch.as_ref().map(|stretch| format!("target-stretch {stretch}")));
    if input.lightness == Lightness::Despeckle {
        parts.push("lightness despeckle".to_owned());
    }
    if parts.is_empty() { "as it is".to_owned() } else { parts.join(", ") }
}

fn describe_training(on: &TrainedOn) -> String {
    format!(
        "{} ({}), crops of {size}x{size}, batches of {}, by huetape {}",
        thousands(on.images as usize),
        on.data,
        on.batch,
        on.huetape,
        size = on.size
    )
}
