//! `huetape colorize`: pictures in, colours out.

use super::compare;
use super::console::Progress;
use super::{DeviceArgs, Outcome};
use crate::data::pairs::pictures_in;
use crate::data::raster::{Raster, RasterInfo, SampleType};
use crate::data::save::{self, save_png, to_u8};
use crate::data::{Depth, decode};
use crate::error::{Error, Result};
use crate::infer::{Colorizer, Options};
use crate::models::painter::{Look, Pixels};
use crate::nn::Norm;
use clap::{Args, ValueEnum};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape colorize scene.png --run runs/first --out coloured.png
  huetape colorize sar/ --weights best.safetensors --out coloured/
  huetape colorize rgb.tif --run runs/spectral --out eight-bands.tif
  huetape colorize sar/ --run runs/first --out coloured/ --compare optical/")]
pub struct ColorizeArgs {
    /// Pictures, or folders of pictures
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", required_unless_present = "weights", conflicts_with = "weights")]
    run: Option<PathBuf>,
    /// Weight file; model, width, bins and bands are read off its tensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A file for one input, a folder for several; .png, or .tif, which holds any number of bands [default: coloured]
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
    /// The truth, a picture or a folder of equal names: writes NAME.compare.png (source, coloured, truth) and NAME.split.png (the
    /// truth's left half, the coloured right half) too
    #[arg(long, value_name = "TRUTH")]
    compare: Option<PathBuf>,
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
    let bands = colorizer.bands();
    crate::ensure!(
        !single || Format::of(&out, bands) == Format::Tiff || png_holds(bands),
        Error::input(format!("a PNG cannot hold the {bands} bands"), out.display(), "end the name in .tif").into()
    );
    let targets: Vec<PathBuf> = files.iter().map(|file| output_path(file, &out, !single, bands)).collect();
    check_targets(&files, &targets)?;
    let comparisons = match &args.compare {
        Some(truth) => compare::plan(truth, &files, &targets, args.keep_going)?,
        None => Vec::new(),
    };
    let description = save::predicted_by(colorizer.model());
    let mut progress = Progress::new(files.len() as u64, 0, "pictures");
    let mut bad = 0;
    for (i, (file, target)) in files.iter().zip(&targets).enumerate() {
        let compared = |()| comparisons.get(i).map_or(Ok(()), |plan| plan.write(file, target, &description));
        match colorize(&colorizer, file, target, &options, &description).and_then(compared) {
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

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Tiff,
}

impl Format {
    /// The format that a name asks for; one without an ending, what holds the bands.
    fn of(path: &Path, bands: usize) -> Format {
        match path.extension() {
            Some(ending) if is_tiff(ending) => Format::Tiff,
            None if !png_holds(bands) => Format::Tiff,
            _ => Format::Png,
        }
    }
}

fn is_tiff(ending: &OsStr) -> bool {
    ["tif", "tiff"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn png_holds(bands: usize) -> bool {
    matches!(bands, 1 | 3)
}

fn colorize(colorizer: &Colorizer, file: &Path, target: &Path, options: &Options, description: &str) -> Result<()> {
    let picture = decode::open(file)?;
    let colours = colorizer.colorize(&picture, file, options)?;
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| crate::files::io_error("cannot create the folder", folder, &error))?;
    }
    match Format::of(target, colours.bands) {
        Format::Png => save_png(target, &to_u8(&colours.values), colours.width, colours.height, Some(description)),
        Format::Tiff => save_tiff(target, &colours, file, picture.info.depth, description),
    }
}

/// Writes colours as TIFF of 8 bits for a source of 8, else of 16, in the place on Earth of the source.
fn save_tiff(target: &Path, colours: &Pixels, source: &Path, depth: Depth, description: &str) -> Result<()> {
    let (sample, white) = if depth == Depth::U8 { (SampleType::U8, 255.0) } else { (SampleType::U16, 65_535.0) };
    let info = RasterInfo {
        // No raster, no place.
        georeference: Raster::open(source).map(|raster| raster.info().georeference.clone()).unwrap_or_default(),
        description: Some(description.to_owned()),
        ..RasterInfo::new(colours.width, colours.height, colours.bands, sample)
    };
    let samples: Vec<f32> = colours.values.iter().map(|value| value * white).collect();
    save::save_tiff(target, info, &samples)
}

/// Where the colours of `input` go: `out` itself for one file, `out/STEM.png` in a folder, or `.tif` where a PNG cannot hold
/// the bands.
fn output_path(input: &Path, out: &Path, folder: bool, bands: usize) -> PathBuf {
    if !folder {
        return out.to_owned();
    }
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(if png_holds(bands) { ".png" } else { ".tif" });
    out.join(name)
}

/// Whether a path is a folder or is written as one, with a separator at its end.
fn means_folder(out: &Path) -> bool {
    out.is_dir() || out.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// One picture goes to a .png or .tif file, several go to a folder.
fn check_out(out: &Path, single: bool) -> Result<()> {
    let known = out.extension().is_none_or(|ending| ending.eq_ignore_ascii_case("png") || is_tiff(ending));
    crate::ensure!(
        !single || known,
        Error::input(
            "pictures are written as PNG or TIFF",
            out.display(),
            "end the name in .png or .tif, or in / for a folder"
        )
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
