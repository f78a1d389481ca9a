//! `huetape colorize`: pictures and scenes in, colours out.

mod progress;
mod targets;
mod work;

use super::preparation::PreparationArgs;
use super::{DeviceArgs, Outcome};
use crate::error::Error;
use crate::infer::{Colorizer, Options};
use crate::models::painter::Look;
use crate::nn::Norm;
use clap::{Args, ValueEnum};
use progress::Report;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use targets::{check_beside, check_formats, check_out, check_targets, inputs, means_folder, output_path};
use work::Work;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape colorize scene.png --run runs/first --out coloured.png
  huetape colorize sar/ --weights best.safetensors --out coloured/
  huetape colorize scene_vh.tif --run runs/first --out coloured.tif --uncertainty unsure.tif
  huetape colorize backscatter.tif --run runs/first --out coloured.tif --stretch db:-25,0 --despeckle lee:7
  huetape colorize rgb.tif --run runs/spectral --out eight-bands.tif")]
pub struct ColorizeArgs {
    /// Pictures, GeoTIFF scenes of any size, or folders of them
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", required_unless_present = "weights", conflicts_with = "weights")]
    run: Option<PathBuf>,
    /// Weight file; model, width, bins and bands are read off its tensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// A file for one input, a folder for several; .png, or .tif, which holds any number of bands and, for a GeoTIFF, its place
    /// on Earth and the pixels without data [default: coloured]
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
    #[command(flatten)]
    preparation: PreparationArgs,
    /// Side of the tiles that a scene is painted by, in pixels, rounded up to a multiple of 64; pix2pix and sicgan have windows of
    /// their own [default: 512, or what fits --memory]
    #[arg(long, value_name = "N")]
    tile: Option<usize>,
    /// Pixels that a tile reads beyond each side [default: as far as the network sees, so that tiles make no difference]
    #[arg(long, value_name = "N")]
    overlap: Option<usize>,
    /// Write how unsure a classifier is of each pixel, 0 to 1: the entropy of its distribution over colours, as a TIFF of floats
    #[arg(long, value_name = "FILE")]
    uncertainty: Option<PathBuf>,
    /// Write TIFFs in the cloud-optimised layout, with overviews
    #[arg(long)]
    cog: bool,
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

/// A tile or an overlap of more pixels a side is a slip of the keyboard.
const MOST_PIXELS: usize = 1 << 16;

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
    let preparation = args.preparation.over(prepared.preparation)?;
    let options = Options { look, band: args.band.or(prepared.band), lightness, preparation };
    for (flag, value, least) in [("--tile", args.tile, 1), ("--overlap", args.overlap, 0)] {
        let value = value.unwrap_or(least);
        crate::ensure!(
            (least..=MOST_PIXELS).contains(&value),
            Error::input("out of range", format!("{flag} {value}"), format!("use {least} to {MOST_PIXELS}")).into()
        );
    }
    let stop = super::stop_flag()?;
    let device = args.device.open()?;
    let colorizer = Colorizer::open(&device, &weights)?;
    let bands = colorizer.bands();
    if let Some(beside) = &args.uncertainty {
        check_beside(beside, "--uncertainty", &files)?;
        colorizer.check_uncertainty()?;
    }
    let targets: Vec<PathBuf> = files.iter().map(|file| output_path(file, &out, !single, bands)).collect();
    check_formats(&files, &targets, bands, args.cog && args.uncertainty.is_none())?;
    check_targets(&files, &targets, args.uncertainty.as_deref())?;
    let work = Work {
        description: format!("colours predicted by huetape {} ({})", env!("CARGO_PKG_VERSION"), colorizer.model()),
        colorizer,
        options,
        tile: args.tile,
        overlap: args.overlap,
        uncertainty: args.uncertainty,
        cog: args.cog,
        stop,
    };
    let mut report = Report::new(files.len());
    let mut bad = 0;
    for (file, target) in files.iter().zip(&targets) {
        match work.colour(file, target, &mut report) {
            Ok(()) => {}
            Err(error) if args.keep_going && !work.stop.load(Ordering::Relaxed) => {
                bad += 1;
                report.line(&format!("error: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        report.file_done(file);
    }
    drop(report);
    if bad > 0 {
        let what = format!("{bad} of {} pictures could not be coloured", files.len());
        return Err(Error::failed(what, out.display(), "see the lines above").into());
    }
    println!("{}", if single { targets[0].display() } else { out.display() });
    Ok(())
}
