//! `huetape convert`: networks and weights for other programs, and of them.

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use crate::engine::device::Device;
use crate::engine::nn::{StateTensor, WeightFile, save_described, save_tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{io_error, write_whole};
use crate::networks::{by_name, check_weights, of_file, serves_training};
use crate::run::convert::of_programs;
use crate::run::onnx::{to_onnx, to_pytorch};
use crate::run::run::Run;
use crate::train::built_in::BuiltIn;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "convert runs/first ⟨to⟩ first.onnx",
    "convert colorization_release_v2.pth ⟨to⟩ eccv16.safetensors",
    "convert latest_net_G.pth latest_net_D.pth ⟨to⟩ facades.safetensors ⟨bands⟩ 3",
]))]
pub struct ConvertArgs {
    /// Weights of another program (.pth, .pt, .npz, .safetensors), of a GAN both networks' files or the generator's;
    /// or a weight file, the name of weights that come along, a run folder: its best checkpoint, else its newest
    #[arg(value_name = "IN", required = true)]
    input: Vec<PathBuf>,
    /// The file to write, by its name: .safetensors, weights that the other commands read; .onnx, the network with its
    /// weights from values 0..1 to sRGB
    #[arg(long, value_name = "OUT", required = true)]
    to: PathBuf,
    /// The network that the weights are of [default: by the names of the tensors]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Bands of a source that a network of several input channels of another program reads, as many as it has channels
    /// [default: 1, repeated]
    #[arg(long, value_name = "N")]
    bands: Option<usize>,
    /// Names and axes of the tensors in a .safetensors file
    #[arg(long, value_name = "WHOSE", default_value = "huetape")]
    names: Names,
    /// Of a classifier in an .onnx file: towards 0 the likeliest colour, 1 the mean colour [default: the weights', else
    /// 0.38]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Write over a file that is there already
    #[arg(long)]
    overwrite: bool,
}

/// Whose names tensors have.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// What the other commands read
    Huetape,
    /// Kernels [out, in, height, width], batch norm by weight, bias, running_mean, running_var
    Pytorch,
}

/// What a file is to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Onnx,
    Weights,
}

pub fn run(args: &ConvertArgs) -> Outcome {
    let format = format(&args.to)?;
    let refuse = |what: &str, subject: String, remedy: &str| Err(Error::input(what, subject, remedy));
    if args.names == Names::Pytorch && format == Format::Onnx {
        refuse("a graph has names of its own", "--names pytorch".into(), "leave it out, or write .safetensors")?;
    }
    if let Some(temperature) = args.temperature.filter(|_| format == Format::Weights) {
        refuse("weights are not decoded", format!("--temperature {temperature}"), "leave it out, or write .onnx")?;
    }
    crate::ensure!(
        args.overwrite || !args.to.is_file(),
        Error::input("the file is there already", args.to.display(), "add --overwrite, or choose another name")
            .of(ErrorKind::Exists)
            .into()
    );
    let (weights, metadata) = weights(args)?;
    match (format, args.names) {
        (Format::Onnx, _) => write_whole(&args.to, &to_onnx(&weights, args.temperature)?)?,
        (Format::Weights, Names::Pytorch) => save_tensors(&to_pytorch(&weights)?, &args.to)?,
        (Format::Weights, Names::Huetape) => {
            // Of huetape's own a training's tensors stay behind; of another program's nothing does.
            let kept = weights.tensors().filter(|tensor| metadata.is_some() || !serves_training(&tensor.name));
            let kept: Vec<StateTensor> = kept.cloned().collect();
            save_described(&kept, metadata.as_deref().or(weights.metadata()), &args.to)?;
        }
    }
    outln!("{}", args.to.display());
    Ok(())
}

fn format(to: &Path) -> Result<Format> {
    match to.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => Ok(Format::Onnx),
        Some("safetensors") => Ok(Format::Weights),
        _ => {
            let subject = format!("--to {}", to.display());
            Err(Error::input("the name does not say the format", subject, "let it end in .onnx or .safetensors"))
        }
    }
}

/// The weights, and of another program's what the file is to say of itself.
fn weights(args: &ConvertArgs) -> Result<(WeightFile, Option<String>)> {
    if let [one] = &args.input[..]
        && let Some(ours) = ours(one)?
    {
        // That they are whole, and ours by their shapes too, is known before a file is written.
        of_file(&ours)?.painter(&Device::cpu(), &ours)?;
        if let Some(name) = &args.model {
            check_weights(by_name(name)?, &ours)?;
        }
        let flag = args.bands.map(|bands| format!("--bands {bands}"));
        return match flag {
            Some(flag) => Err(Error::input("huetape's own weights say what they read", flag, "leave it out")),
            None => Ok((ours, None)),
        };
    }
    let files = args.input.iter().map(|path| {
        let bytes = std::fs::read(path).map_err(|error| io_error("cannot read", path, &error))?;
        Ok((path.display().to_string(), bytes))
    });
    let files = files.collect::<Result<Vec<_>>>()?;
    let converted = of_programs(&files, args.model.as_deref(), args.bands)?;
    noteln!("{}: read by the names of {}", converted.metadata.network, converted.programs.join(" and "));
    if !converted.unused.is_empty() {
        noteln!("not used: {}", converted.unused.join(", "));
    }
    let words = converted.metadata.to_json()?;
    Ok((converted.weights, Some(words)))
}

/// Weights that huetape wrote: those of a run, those that come along, or those of a file.
fn ours(from: &Path) -> Result<Option<WeightFile>> {
    if from.is_dir() {
        return WeightFile::read(&Run::open(from)?.weights()?).map(Some);
    }
    if let Some(built_in) = BuiltIn::by_name(from)? {
        return built_in.read().map(Some);
    }
    if from.extension().is_none_or(|extension| extension != "safetensors") {
        return Ok(None);
    }
    // Files of other programs may hold elements that huetape's do not.
    let file = WeightFile::read(from);
    Ok(file.ok().filter(|file| of_file(file).is_ok()))
}
