//! `huetape weights`: the weights that come along, and the making of such files.

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{is_stdout, make_way, write_result};
use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::baselines::Method;
use crate::files::io_error;
use crate::imaging::quality::Measure;
use crate::run::pack::pack;
use crate::run::run::Run;
use crate::train::about::{About, Figures};
use crate::train::built_in::{BUILT_IN, BuiltIn, NAMES};
use crate::train::checkpoint::Which;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "weights",
    "weights ⟨export⟩ sar sar.safetensors",
    "weights ⟨pack⟩ runs/first fields.safetensors ⟨name⟩ fields ⟨purpose⟩ \"grey images of fields\" \
     ⟨data⟩ \"4,000 images\" ⟨licence⟩ \"CC BY 4.0\" ⟨date⟩ 2026-11-25 ⟨figures⟩ val=scores.json",
]))]
pub struct WeightsArgs {
    /// Write the weights of this name into a file; - for standard output
    #[arg(long, num_args = 2, value_names = ["NAME", "FILE"], conflicts_with = "json")]
    export: Option<Vec<PathBuf>>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
    /// Write over a file that is there already
    #[arg(long)]
    overwrite: bool,
    /// Make a weight file to pass on of a run (or of a weight file): what inference needs, kernels with 16 bits, and
    /// what it is said by the file itself
    #[arg(long, num_args = 2, value_names = ["RUN", "FILE"], help_heading = "To pass on")]
    #[arg(conflicts_with_all = ["json", "export"])]
    #[arg(requires_all = ["name", "purpose", "data", "licence", "date", "figures"])]
    pack: Option<Vec<PathBuf>>,
    /// Which weights of --pack: last, best, or those after an update, by its number [default: best where there are
    /// validation images, else last]
    #[arg(long, value_name = "WHICH", requires = "pack", help_heading = "To pass on")]
    checkpoint: Option<String>,
    /// Their name
    #[arg(long, value_name = "TEXT", requires = "pack", help_heading = "To pass on")]
    name: Option<String>,
    /// What they are for
    #[arg(long, value_name = "TEXT", requires = "pack", help_heading = "To pass on")]
    purpose: Option<String>,
    /// What they were trained on
    #[arg(long, value_name = "TEXT", requires = "pack", help_heading = "To pass on")]
    data: Option<String>,
    /// Under what they may be used, and whom to name
    #[arg(long, value_name = "TEXT", requires = "pack", help_heading = "To pass on")]
    licence: Option<String>,
    /// When they were made, YYYY-MM-DD
    #[arg(long, value_name = "DATE", requires = "pack", help_heading = "To pass on")]
    date: Option<String>,
    /// How good they are: files of `evaluate --json` by what they were judged on, with commas between
    #[arg(long, value_name = "NAME=FILE", value_delimiter = ',', requires = "pack", help_heading = "To pass on")]
    figures: Vec<String>,
}

impl WeightsArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.export, &self.pack].into_iter().flatten().filter_map(|pair| Some(pair.get(1)?.as_path()))
    }
}

pub fn run(args: WeightsArgs) -> Outcome {
    make_way(args.export.iter().filter_map(|pair| Some(pair.get(1)?.as_path())))?;
    for file in args.files() {
        crate::ensure!(
            args.overwrite || !file.is_file(),
            Error::input("the file is there already", file.display(), "add --overwrite, or choose another name")
                .of(ErrorKind::Exists)
                .into()
        );
    }
    match (args.export.as_deref(), args.pack.as_deref()) {
        (Some([name, file]), _) => export(name, file),
        (_, Some([from, file])) => {
            let weights = weights_of(from, args.checkpoint.as_deref())?;
            pack(&weights, about(&args)?, file)?;
            outln!("{}", file.display());
            Ok(())
        }
        _ => list(args.json),
    }
}

fn export(name: &Path, file: &Path) -> Outcome {
    let found = BuiltIn::by_name(name)?.ok_or_else(|| {
        Error::input("no weights of that name come along", name.display(), format!("use one of {}", NAMES.join(", ")))
    })?;
    write_result(file, found.bytes)?;
    if !is_stdout(file) {
        outln!("{}", file.display());
    }
    Ok(())
}

/// The weights of a run, or those of a file.
fn weights_of(from: &Path, which: Option<&str>) -> Result<WeightFile> {
    if !from.is_dir() {
        crate::ensure!(
            which.is_none(),
            Error::input("a weight file has one set of weights", "--checkpoint", "leave it out, or name a run")
        );
        return WeightFile::read(from);
    }
    let which = which.map_or(Ok(Which::Usual), str::parse)?;
    WeightFile::read(&Run::open(from)?.with_checkpoint(which).weights()?)
}

fn about(args: &WeightsArgs) -> Result<About> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut figures = BTreeMap::new();
    for entry in &args.figures {
        let Some((name, file)) = entry.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty())
        else {
            let remedy = "write NAME=FILE, e.g. val=scores.json";
            return Err(Error::input("not a name and a file", format!("--figures {entry}"), remedy));
        };
        let json = std::fs::read_to_string(file).map_err(|error| io_error("cannot read", Path::new(file), &error))?;
        figures.insert(name.to_owned(), Figures::of_json(&json, file)?);
    }
    Ok(About {
        name: text(&args.name),
        purpose: text(&args.purpose),
        data: text(&args.data),
        licence: text(&args.licence),
        date: text(&args.date),
        figures,
    })
}

/// Weights of the list, as JSON has them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    network: String,
    /// Size of the file.
    bytes: usize,
    /// Optimiser updates that went into them.
    updates: u64,
    #[serde(flatten)]
    about: About,
}

fn list(json: bool) -> Outcome {
    let mut listed = Vec::new();
    for weights in BUILT_IN {
        let (metadata, about) = weights.metadata()?;
        listed.push(Listed { network: metadata.network, bytes: weights.bytes.len(), updates: metadata.step, about });
    }
    if json {
        outln!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    if listed.is_empty() {
        outln!("no weights come along: this huetape was built without the feature `weights`");
    }
    for (i, weights) in listed.iter().enumerate() {
        if i > 0 {
            outln!();
        }
        weights.print();
    }
    Ok(())
}

impl Listed {
    fn print(&self) {
        let Listed { network, bytes, updates, about } = self;
        let mebibytes = *bytes as f64 / f64::from(1 << 20);
        outln!("{}: {network}, {updates} updates, {}, {mebibytes:.1} MiB", about.name, about.date);
        for (what, text) in [("for", &about.purpose), ("data", &about.data), ("licence", &about.licence)] {
            outln!("  {:<9}{text}", format!("{what}:"));
        }
        let widest = about.figures.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        for (name, figures) in &about.figures {
            outln!("  {name:<widest$}  {}", line_of(figures));
        }
    }
}

/// The figures of one evaluation in a line: the model's, and in brackets those of the mean colour or, where the
/// lightness is the source's, the mean ab.
fn line_of(figures: &Figures) -> String {
    let baseline = [Method::MeanAb, Method::MeanColour].map(Method::key);
    let keeps = |measure: Measure| figures.get(Method::Model.key(), measure.key());
    let mut parts = vec![format!("{} images", figures.images)];
    for measure in [Measure::Psnr, Measure::Ssim, Measure::AbError, Measure::DeltaE2000] {
        let Some(value) = keeps(measure) else { continue };
        let unit = if measure.unit().is_empty() { String::new() } else { format!(" {}", measure.unit()) };
        let decimals = measure.decimals();
        let beside: Vec<String> = baseline
            .iter()
            .filter_map(|method| {
                let value = figures.get(method, measure.key())?;
                Some(format!("{} {value:.decimals$}", method.replace('_', " ")))
            })
            .collect();
        let beside = if beside.is_empty() { String::new() } else { format!(" ({})", beside.join(", ")) };
        parts.push(format!("{} {value:.decimals$}{unit}{beside}", measure.name()));
    }
    if let (Some(made), Some(truth)) = (keeps(Measure::Colourfulness), figures.target_colourfulness) {
        parts.push(format!("colourfulness {made:.1} (truth {truth:.1})"));
    }
    parts.join("; ")
}
