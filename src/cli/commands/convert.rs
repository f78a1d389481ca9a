//! `huetape convert`: networks and weights for other programs, and of them.

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::files::write_whole;
use crate::run::onnx::to_onnx;
use crate::run::run::Run;
use crate::train::built_in::weights_called;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = examples(&["convert runs/first ⟨to⟩ first.onnx", "convert sar ⟨to⟩ sar.onnx"]))]
pub struct ConvertArgs {
    /// A weight file, the name of weights that come along, or a run folder: its best checkpoint, else its newest
    #[arg(value_name = "IN", required = true)]
    input: PathBuf,
    /// The file to write, by its name: .onnx, the network with its weights from values 0..1 to sRGB
    #[arg(long, value_name = "OUT", required = true)]
    to: PathBuf,
    /// Of a classifier: towards 0 the likeliest colour, 1 the mean colour [default: the weights', else 0.38]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Write over a file that is there already
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &ConvertArgs) -> Outcome {
    crate::ensure!(
        args.overwrite || !args.to.is_file(),
        Error::input("the file is there already", args.to.display(), "add --overwrite, or choose another name")
            .of(ErrorKind::Exists)
            .into()
    );
    match args.to.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => write_whole(&args.to, &to_onnx(&weights(&args.input)?, args.temperature)?)?,
        _ => {
            let subject = format!("--to {}", args.to.display());
            return Err(Error::input("the name does not say the format", subject, "let it end in .onnx").into());
        }
    }
    outln!("{}", args.to.display());
    Ok(())
}

/// The weights of a run, those that come along, or those of a file.
fn weights(from: &Path) -> Result<WeightFile> {
    if from.is_dir() { WeightFile::read(&Run::open(from)?.weights()?) } else { weights_called(from) }
}
