//! `huetape colorize`: pictures and scenes in, colours out.

mod compare;
mod hint;
mod pipe;
mod progress;
mod targets;

use crate::cli::args::device::{self, DeviceArgs};
use crate::cli::args::help::names_of;
use crate::cli::args::trained::{LookArgs, TrainedArgs};
use crate::cli::names::flag;
use crate::cli::outcome::Outcome;
use crate::cli::signals::stop_flag;
use crate::cli::stdio::{Volume, is_stdout, make_way, volume};
use crate::cli::together::join;
use crate::dataset::preparation::Preparation;
use crate::engine::ranks::Ranks;
use crate::error::{Error, Result, name_settings};
use crate::imaging::codec::save::predicted_by;
use crate::paint::files::{FileEvent, FileOptions};
use crate::paint::units::Units;
use crate::train::built_in::GREY;
use clap::{Args, ValueEnum};
use compare::{Comparison, Truths};
use hint::radar_hint;
use pipe::Pipe;
use progress::Report;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use targets::{check_beside, check_formats, check_free, check_out, clashes, inputs, means_folder, output_path};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape colorize photo.jpg
  huetape colorize s1.tif --weights sar --out coloured.tif
  huetape colorize - --out - <grey.png >coloured.png
  huetape colorize scene.png --run runs/first --out coloured.png
  huetape colorize sar/ --weights best.safetensors --out coloured/
  huetape colorize scene_vh.tif --run runs/first --out coloured.tif --uncertainty unsure.tif
  huetape colorize backscatter.tif --run runs/first --out coloured.tif --stretch db:-25,0 --despeckle lee:7
  huetape colorize rgb.tif --run runs/spectral --out eight-bands.tif
  huetape colorize rgb.tif --run runs/spectral --out reflectances.tif --units target
  huetape colorize sar/ --run runs/first --out coloured/ --compare optical/

Without --run and --weights the weights `grey` that come along colour what is grey or has a lightness, which stays;
`huetape weights` says more. A file called grey or sar is meant by --weights ./sar.")]
pub struct ColorizeArgs {
    /// Pictures, GeoTIFF scenes of any size, or folders of them; - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    trained: TrainedArgs,
    /// A file for one input, a folder for several; .png, or .tif, which holds any number of bands and, for a GeoTIFF,
    /// its place on Earth and the pixels without data; - for standard output: TIFF for a TIFF, else PNG [default:
    /// coloured, for standard input -]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    look: LookArgs,
    #[arg(long, value_name = "N", help = format!(
        "Side of the tiles that a scene is painted by, in pixels, rounded up to a multiple of 64; {} have windows of \
         their own \
         [default: no tiles where a network takes a scene from top to bottom, else 512 or what fits --memory]",
        names_of(|recipe| recipe.paints_by_windows())
    ))]
    tile: Option<usize>,
    #[arg(long, value_name = "N", help = format!(
        "Pixels that a tile reads beyond each side [default: as far as the network sees, so that tiles make no \
         difference]; of the windows of {}, pixels that neighbours share and blend [default: the network's own, a \
         quarter or half of a window]",
        names_of(|recipe| recipe.paints_by_windows())
    ))]
    overlap: Option<usize>,
    /// Write how unsure a classifier is of each pixel, 0 to 1: the entropy of its distribution over colours, as a TIFF
    /// of floats
    #[arg(long, value_name = "FILE")]
    uncertainty: Option<PathBuf>,
    /// Write TIFFs in the cloud-optimised layout, with overviews
    #[arg(long)]
    cog: bool,
    /// Write TIFFs in the units of the training's targets, bands named as theirs, where their --target-stretch has a
    /// range, e.g. reflectances: target, in the type and by the scale of their files, or float [default: 0 to 255, or
    /// 0 to 65535]
    #[arg(long, value_name = "WHICH")]
    units: Option<UnitsName>,
    /// The truth, a picture or a folder of equal names: writes NAME.compare.png (source, coloured, truth) and
    /// NAME.split.png (the truth's left half, the coloured right half) too
    #[arg(long, value_name = "TRUTH")]
    compare: Option<PathBuf>,
    /// Write over results that are there already
    #[arg(long)]
    overwrite: bool,
    /// Colour the pictures of the folders below a folder too, into folders of the same names
    #[arg(long)]
    recursive: bool,
    /// Report a bad file and go on with the rest; the exit code is then 1
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Which units a result has.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum UnitsName {
    /// In the type and by the scale of the targets' files
    Target,
    /// 32-bit floats
    Float,
}

/// A tile or an overlap of more pixels a side is a slip of the keyboard.
const MOST_PIXELS: usize = 1 << 16;

pub fn run(args: ColorizeArgs) -> Outcome {
    let ranks = join()?;
    let piped = args.inputs.iter().any(|input| is_stdout(input));
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(if piped { "-" } else { "coloured" }));
    make_way([&Some(out.clone()), &args.uncertainty].into_iter().flatten().map(PathBuf::as_path))?;
    let to_stdout = is_stdout(&out);
    if !ranks.alone() && (piped || to_stdout) {
        let remedy = "name a file, or start one process";
        let what = "standard input and output are those of one process";
        return Err(Error::input(what, format!("- in {} processes", ranks.size()), remedy).into());
    }
    if piped || to_stdout {
        check_pipes(&args, &out)?;
    }
    let input = piped.then(Pipe::of_stdin).transpose()?;
    let output = to_stdout.then(Pipe::new).transpose()?;
    let inputs = input.as_ref().map_or(args.inputs, |pipe| vec![pipe.path().to_owned()]);
    let args = ColorizeArgs { inputs, ..args };
    let pipes = [(&input, pipe::INPUT), (&output, pipe::OUTPUT)];
    let name = |text: &str| pipe::called(text, pipes);
    let place = output.as_ref().map_or(out, |pipe| pipe.path().to_owned());
    let coloured = colour(args, place, to_stdout, &ranks, &name);
    coloured.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => error.renaming(name).into(),
        Err(other) => other,
    })?;
    output.map_or(Ok(()), |pipe| Ok(pipe.to_stdout()?))
}

/// One image goes through a pipe, and nothing is compared with it.
fn check_pipes(args: &ColorizeArgs, out: &Path) -> Result<()> {
    let one = args.inputs.len() == 1 && !args.inputs[0].is_dir();
    let what = "standard input and output are one image each";
    crate::ensure!(one, Error::input(what, "-", "name one image, or files and folders alone"));
    let folder = !is_stdout(out) && means_folder(out);
    crate::ensure!(!folder, Error::input("an image without a name needs one", out.display(), "name a file by --out"));
    crate::ensure!(
        args.compare.is_none(),
        Error::input("a comparison is named after the files", "--compare with -", "name files for both")
    );
    Ok(())
}

/// Colours the inputs into `out`; `name` puts into words what stands for something else.
///
/// Several processes share out the files, or the tiles of each where there are fewer files than processes.
fn colour(args: ColorizeArgs, out: PathBuf, to_stdout: bool, ranks: &Ranks, name: &dyn Fn(&str) -> String) -> Outcome {
    let found = inputs(&args.inputs, args.keep_going, args.recursive)?;
    let (files, names): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().map(|found| (found.file, found.name)).unzip();
    let named = args.out.is_some() || to_stdout;
    let single = args.inputs.len() == 1 && !args.inputs[0].is_dir() && named && !means_folder(&out);
    check_out(&out, single)?;
    for (flag, value, least) in [("--tile", args.tile, 1), ("--overlap", args.overlap, 0)] {
        let value = value.unwrap_or(least);
        crate::ensure!(
            (least..=MOST_PIXELS).contains(&value),
            Error::input("out of range", format!("{flag} {value}"), format!("use {least} to {MOST_PIXELS}")).into()
        );
    }
    let stop = stop_flag();
    let device = args.device.open()?;
    if !args.trained.is_named()
        && let Some(hint) = radar_hint(&files)
    {
        noteln!("{}", name(&hint));
    }
    let trained = args.trained.or_built_in(GREY);
    let (colorizer, options) = trained.open(&args.look, &device)?;
    let bands = colorizer.bands();
    if let Some(beside) = &args.uncertainty {
        check_beside(beside, "--uncertainty", &files)?;
        colorizer.check_uncertainty()?;
    }
    if args.units.is_some() {
        colorizer.target_units()?;
    }
    let target = |(file, name): (&PathBuf, &PathBuf)| {
        let folder = out.join(name.parent().unwrap_or(Path::new("")));
        match single {
            true => out.clone(),
            false if args.units.is_some() => output_path(file, &folder, bands).with_extension("tif"),
            false => output_path(file, &folder, bands),
        }
    };
    let targets: Vec<PathBuf> = files.iter().zip(&names).map(target).collect();
    check_formats(&files, &targets, bands, args.cog && args.uncertainty.is_none())?;
    let mut clashes = clashes(&files, &targets, args.uncertainty.as_deref());
    if !args.keep_going
        && let Some(error) = clashes.iter_mut().find_map(Option::take)
    {
        return Err(error.into());
    }
    let comparisons = match &args.compare {
        Some(truth) => {
            let truths = Truths::find(truth, args.recursive)?;
            compare::plan(&truths, &files, &names, &targets, args.keep_going)?
        }
        None => Vec::new(),
    };
    if !args.overwrite && !to_stdout {
        let compared = comparisons.iter().flat_map(Comparison::written);
        check_free(targets.iter().chain(&args.uncertainty).map(PathBuf::as_path).chain(compared))?;
    }
    let truth_is = if comparisons.is_empty() { Preparation::default() } else { trained.input()?.target() };
    // A process that passes over a bad file must not leave others waiting for its tiles.
    let by_file = ranks.alone() || args.keep_going || files.len() >= ranks.size();
    let sharing = if by_file { Ranks::ALONE } else { ranks.clone() };
    let colorizer = colorizer.with_options(options).sharing_tiles(sharing);
    let mine = |i: &usize| !by_file || i % ranks.size() == ranks.rank();
    // What is there already is not looked for once one of them writes.
    ranks.wait()?;
    let description = predicted_by(colorizer.model());
    let how = FileOptions {
        tile: args.tile,
        overlap: args.overlap,
        uncertainty: args.uncertainty,
        cloud_optimised: args.cog,
        units: args.units.map(|units| if units == UnitsName::Target { Units::Target } else { Units::Float }),
    };
    let mut report = Report::new((0..files.len()).filter(mine).count(), device::line(&device));
    let mut bad = 0;
    for i in (0..files.len()).filter(mine) {
        let (file, target) = (&files[i], &targets[i]);
        let mut observe = |event: FileEvent<'_>| {
            match event {
                FileEvent::Notice(notice) => report.line(&name(&name_settings(notice, flag))),
                FileEvent::Plan { size: [width, height], redundancy } if volume() == Volume::Verbose => {
                    report.line(&format!(
                        "{}: {width}x{height} pixels go through the network {redundancy:.2} times",
                        file.display()
                    ))
                }
                FileEvent::Plan { .. } => {}
                FileEvent::Parts { done, total } => report.part_done(file, done, total),
            }
            let remedy = "nothing was written there; run it again";
            crate::ensure!(!stop.load(Ordering::Relaxed), Error::failed("interrupted", target.display(), remedy));
            Ok(())
        };
        let coloured = match clashes[i].take() {
            None => colorizer.colour_file_with(file, target, &how, &mut observe),
            Some(error) => Err(error),
        };
        let plan = comparisons.get(i).filter(|_| by_file || ranks.leads());
        let compared = |()| plan.map_or(Ok(()), |plan| plan.write(file, target, &truth_is, &description));
        match coloured.and_then(compared) {
            Ok(()) => {}
            Err(error) if args.keep_going && !stop.load(Ordering::Relaxed) => {
                bad += 1;
                report.error(&error.line(flag));
            }
            Err(error) => return Err(error.into()),
        }
        report.file_done(file);
    }
    drop(report);
    ranks.wait()?;
    let bad = ranks.total(&[f64::from(bad)])?[0];
    if bad > 0.0 && ranks.leads() {
        let what = format!("{bad} of {} pictures could not be coloured", files.len());
        return Err(Error::failed(what, out.display(), "see the lines above").into());
    }
    if !to_stdout {
        outln!("{}", if single { targets[0].display() } else { out.display() });
    }
    Ok(())
}
