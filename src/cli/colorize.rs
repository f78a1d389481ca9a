//! `huetape colorize`: pictures in, colours out.

use super::console::Progress;
use super::{DeviceArgs, Outcome};
use crate::data::pairs::pictures_in;
use crate::data::{decode, save::save_png};
use crate::error::{Error, Result};
use crate::infer::{Colorizer, Options};
use crate::models::painter::Look;
use crate::nn::Norm;
use clap::{Args, ValueEnum};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape colorize scene.png --run runs/first --out coloured.png
  huetape colorize sar/ --weights best.safetensors --out coloured/")]
pub struct ColorizeArgs {
    /// Pictures, or folders of pictures
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", required_unless_present = "weights", conflicts_with = "weights")]
    run: Option<PathBuf>,
    /// Weight file; model, width and bins are read off its tensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A file for one input, a folder for several [default: coloured]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Of a classifier: towards 0 the likeliest colour, 1 the mean colour
    #[arg(long, value_name = "T", default_value_t = 0.38)]
    temperature: f32,
    /// Statistics of batch norm: running, or batch, which is what the published pix2pix does, dropout included
    #[arg(long, value_name = "WHICH", default_value = "running")]
    norm: NormName,
    /// Band of a multi-band input, from 1 [default: the run's, else the only one, or the luma of three]
    #[arg(long, value_name = "N")]
    band: Option<usize>,
    /// Report a bad file and go on with the rest; the exit code is then 1
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Which statistics batch norm uses.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum NormName {
    /// Those of the training
    Running,
    /// Those of what is coloured in one go
    Batch,
}

pub fn run(args: ColorizeArgs) -> Outcome {
    let files = inputs(&args.inputs, args.keep_going)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("coloured"));
    let single = args.inputs.len() == 1 && !args.inputs[0].is_dir() && args.out.is_some() && !means_folder(&out);
    check_out(&out, single)?;
    let targets: Vec<PathBuf> = files.iter().map(|file| output_path(file, &out, !single)).collect();
    check_targets(&files, &targets)?;
    crate::ensure!(
        args.temperature > 0.0 && args.temperature.is_finite(),
        Error::input("out of range", format!("--temperature {}", args.temperature), "use a number above 0").into()
    );
    let weights = match (&args.weights, &args.run) {
        (Some(weights), _) => weights.clone(),
        (None, Some(run)) => Colorizer::weights_of_run(run)?,
        (None, None) => return Err(Error::input("no network named", "--run", "add --run RUN or --weights FILE").into()),
    };
    let prepared = args.run.as_deref().map(super::settings::input_of_run).transpose()?.unwrap_or_default();
    // A band asked for now is read, also where the run was trained on the lightness of colour pictures.
    let lightness = prepared.lightness && args.band.is_none();
    let norm = match args.norm {
        NormName::Running => Norm::Running,
        NormName::Batch => Norm::Batch,
    };
    let look = Look { temperature: args.temperature, norm };
    let options = Options { look, band: args.band.or(prepared.band), lightness };
    let device = args.device.open()?;
    let colorizer = Colorizer::open(&device, &weights)?;
    let description = format!("colours predicted by huetape {} ({})", env!("CARGO_PKG_VERSION"), colorizer.model());
    let mut progress = Progress::new(files.len() as u64, 0, "pictures");
    let mut bad = 0;
    for (i, (file, target)) in files.iter().zip(&targets).enumerate() {
        match colorize(&colorizer, file, target, &options, &description) {
            Ok(()) => {}
            Err(error) if args.keep_going => {
                bad += 1;
                progress.line(&format!("error: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        progress.at(i as u64 + 1, &file.display().to_string());
    }
    drop(progress);
    if bad > 0 {
        let what = format!("{bad} of {} pictures could not be coloured", files.len());
        return Err(Error::failed(what, out.display(), "see the lines above").into());
    }
    println!("{}", if single { targets[0].display() } else { out.display() });
    Ok(())
}

fn colorize(colorizer: &Colorizer, file: &Path, target: &Path, options: &Options, description: &str) -> Result<()> {
    let colours = colorizer.colorize(&decode::open(file)?, file, options)?;
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", folder, &error))?;
    }
    let (width, height) = colours.dimensions();
    save_png(target, &colours, width as usize, height as usize, Some(description))
}

/// Where the colours of `input` go: `out` itself for one file, `out/STEM.png` in a folder.
fn output_path(input: &Path, out: &Path, folder: bool) -> PathBuf {
    if !folder {
        return out.to_owned();
    }
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(".png");
    out.join(name)
}

/// Whether a path is a folder or is written as one, with a separator at its end.
fn means_folder(out: &Path) -> bool {
    out.is_dir() || out.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// One picture goes to a .png file, several go to a folder.
fn check_out(out: &Path, single: bool) -> Result<()> {
    let png = out.extension().is_none_or(|extension| extension.eq_ignore_ascii_case("png"));
    crate::ensure!(
        !single || png,
        Error::input("pictures are written as PNG", out.display(), "end the name in .png, or in / for a folder")
    );
    crate::ensure!(
        single || !out.is_file(),
        Error::input("several pictures need a folder, and this is a file", out.display(), "choose another --out")
    );
    Ok(())
}

/// All pictures that the inputs name, folders in name order. With `keep_going` a file that is not there is met later.
fn inputs(named: &[PathBuf], keep_going: bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in named {
        if input.is_dir() {
            files.extend(pictures_in(input)?);
        } else if keep_going || input.exists() {
            files.push(input.clone());
        } else {
            return Err(Error::input("no such file or folder", input.display(), "check the path"));
        }
    }
    Ok(files)
}

/// No two inputs may go to one file, and no input may be overwritten.
fn check_targets(files: &[PathBuf], targets: &[PathBuf]) -> Result<()> {
    let mut seen: HashMap<&Path, &Path> = HashMap::new();
    for (file, target) in files.iter().zip(targets) {
        if let Some(other) = seen.insert(target, file) {
            return Err(Error::input(
                format!("{} and {} would both be written", other.display(), file.display()),
                target.display(),
                "give the files names of their own, or colour them one by one",
            ));
        }
        let same =
            |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        crate::ensure!(
            !same(file, target),
            Error::input("an input would be overwritten", target.display(), "choose another --out")
        );
    }
    Ok(())
}
