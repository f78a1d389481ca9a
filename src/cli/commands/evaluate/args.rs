//! What `huetape evaluate` is asked for.

use crate::cli::args::device::DeviceArgs;
use crate::cli::args::given::{Choice, Given};
use crate::cli::args::trained::{LookArgs, TrainedArgs};
use crate::cli::stdio::{is_stdout, write_result};
use crate::dataset::pairs::DataSource;
use crate::dataset::preparation::Preparation;
use crate::error::Result;
use crate::files::io_error;
use clap::{Arg, Args};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape evaluate --run runs/first --source val/sar --target val/optical --html page.html
  huetape evaluate --run runs/first --images photos/ --json scores.json --csv scores.csv
  huetape evaluate --weights best.safetensors --source sar/ --target optical/ --out scored
  huetape evaluate --weights sar --source sar/ --target optical/
  huetape evaluate --run runs/first --source vh.tif --target optical.tif --classes land-cover.tif --difference far.tif

Figures are means over whole pictures, rounded to 8 bits; of two scenes over windows, pixels without data left out.
--out writes predictions/NAME.png and targets/NAME.png, two folders of equal names, as evaluators of FID or LPIPS take
them.")]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub(super) trained: TrainedArgs,
    #[command(flatten)]
    pub(super) data: Given<OfData>,
    /// Judge only the centre of each picture, of N pixels a side at most [default: whole pictures]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(super) crop: Option<usize>,
    /// Folder for the pictures: predictions/ and targets/
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// The means as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// The figures of each picture and method as CSV; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// A page with the verdict, the tables and the best and the worst pictures, in one file
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Of two scenes: a raster of class numbers on their grid, for figures by class
    #[arg(long, value_name = "FILE")]
    pub(super) classes: Option<PathBuf>,
    /// Of two scenes: write how far each pixel is from the truth as a TIFF of floats, CIEDE2000 of colours, else the
    /// mean absolute difference of values 0 to 255
    #[arg(long, value_name = "FILE")]
    pub(super) difference: Option<PathBuf>,
    #[command(flatten)]
    pub(super) look: LookArgs,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
}

/// The settings that say what is read.
#[derive(Debug, Clone, Default)]
pub struct OfData;

impl Choice for OfData {
    const KEYS: Option<&'static [&'static str]> =
        Some(&["source", "target", "images", "pairs", "pairs-source", "recursive", "target-bands", "target-stretch"]);

    fn adjust(arg: Arg) -> Arg {
        match arg.get_id().as_str() {
            "source" => arg
                .help("Folder of inputs, --target holds images of the same names; or a scene")
                .required_unless_present_any(["images", "pairs"]),
            "target" => arg.help("Folder of images that belong to --source, or a scene on its grid"),
            "target-bands" => arg
                .help("Bands of the targets in the order of the network's output [default: the training's, else all]"),
            "target-stretch" => arg
                .help("How target values become 0 to 1, as --stretch does [default: the training's, else the file's]"),
            _ => arg,
        }
    }
}

impl EvaluateArgs {
    /// What is done to targets: what the flags say, and, where they say nothing, what the training did.
    ///
    /// # Errors
    /// Settings or weights that cannot be read; a setting that makes no sense.
    pub(super) fn target(&self) -> Result<Preparation> {
        self.data.settings.target_preparation_over(self.trained.input()?.target())
    }

    /// The files and folders that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.json, &self.csv, &self.html, &self.out, &self.difference].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Writes the figures where they are asked for, and says where.
    ///
    /// # Errors
    /// A place that may not be written, a full disk.
    pub(super) fn write_figures(&self, json: &Value, csv: &str, page: &str) -> Result<()> {
        let json = format!("{json:#}\n");
        for (file, text) in [(&self.json, json.as_str()), (&self.csv, csv), (&self.html, page)] {
            if let Some(file) = file {
                write_result(file, text.as_bytes())?;
                if !is_stdout(file) {
                    outln!("{}", file.display());
                }
            }
        }
        Ok(())
    }
}

/// Makes a folder where there is none.
///
/// # Errors
/// A place that may not be written.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|error| io_error("cannot create the folder", folder, &error))
}

/// How values of sources and of targets became 0 to 1, in a sentence.
pub(super) fn stretched([source, target]: &[String; 2]) -> String {
    format!("values become 0 to 1: of sources by {source}, of targets by {target}")
}

/// What was evaluated, for the page.
pub(super) fn facts(
    args: &EvaluateArgs,
    weights: &str,
    source: &DataSource,
    [pictures, stretched]: [String; 2],
    device: &str,
) -> Vec<(String, String)> {
    let mut facts = vec![("weights", weights.to_owned())];
    match source {
        DataSource::Pairs { source, target, .. } | DataSource::Scenes { source, target } => {
            facts.push(("sources", source.display().to_string()));
            facts.push(("targets", target.display().to_string()));
        }
        DataSource::Images { folder, .. } => facts.push(("images, by their lightness", folder.display().to_string())),
        DataSource::SideBySide { folder, .. } => facts.push(("pairs", folder.display().to_string())),
    }
    facts.push(("pictures", pictures));
    facts.push(("values", stretched));
    if args.trained.run.is_none() {
        facts.push(("left out", "mean colour and linear regression, which need --run".to_owned()));
    }
    facts.push(("device", device.to_owned()));
    facts.push(("huetape", env!("CARGO_PKG_VERSION").to_owned()));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
