//! `huetape register`: a picture onto the grid of another, by point pairs.

use crate::cli::args::device::DeviceArgs;
use crate::cli::console::Progress;
use crate::cli::outcome::Outcome;
use crate::cli::signals::stop_flag;
use crate::cli::stdio::{make_way, write_result};
use crate::error::{Error, Result};
use crate::imaging::ops::warp::Interpolation;
use crate::imaging::raster::RawTag;
use crate::imaging::registration::{Estimate, Points, Resampler, Settings, estimate, open};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Args, Debug)]
#[command(
    after_help = "The matrix maps IMAGE (the source) to the target, both in pixels: x to the right, y down, whole \
         numbers at the \
centres of pixels, (0, 0) that of the first one.

Examples:
  huetape register sar.tif --points pairs.csv                                  # the residuals and the matrix
  huetape register sar.tif --points pairs.csv --to optical.tif --out registered.tif --matrix matrix.json
  huetape register labels.png --points pairs.txt --columns 3,4,1,2 --size 1024x768 --out out.png \
     --interpolation nearest"
)]
pub struct RegisterArgs {
    /// The picture that gets warped: TIFF, GeoTIFF, PNG, JPEG, WebP or BMP
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Table of point pairs: x_source, y_source, x_target, y_target, in this order or by the names in its first line
    #[arg(long, value_name = "FILE")]
    points: PathBuf,
    /// Names or numbers of those four columns, where the table's own do not tell, e.g. 3,4,1,2
    #[arg(long, value_name = "LIST")]
    columns: Option<String>,
    /// Picture on whose grid the result lies; of a GeoTIFF, with its georeference
    #[arg(long, value_name = "REFERENCE", conflicts_with = "size")]
    to: Option<PathBuf>,
    /// Size of the result in pixels, instead of --to
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<[usize; 2]>,
    /// The registered picture, .tif or .png, with the bands and the depth of IMAGE; without it nothing is warped
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes the matrix and the summary of the residuals as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    /// Writes the residual of every pair as CSV; - for standard output
    #[arg(long, value_name = "FILE")]
    residuals: Option<PathBuf>,
    /// How values between pixels are found
    #[arg(long, value_enum, default_value_t = Between::Bilinear)]
    interpolation: Between,
    /// Of more than 4 pairs, those that are further off are taken for wrong, in target pixels
    #[arg(long, value_name = "PX", default_value_t = Settings::default().threshold)]
    threshold: f64,
    /// Of the choice of pairs to try
    #[arg(long, value_name = "N", default_value_t = Settings::default().seed)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Between {
    /// The mean of the four pixels around
    Bilinear,
    /// The nearest pixel, as labels need it
    Nearest,
}

fn parse_size(text: &str) -> std::result::Result<[usize; 2], String> {
    let parse = |text: &str| text.parse().ok().filter(|size| (1..=1 << 20).contains(size));
    let size = text.split_once(['x', 'X']).and_then(|(width, height)| Some([parse(width)?, parse(height)?]));
    size.ok_or_else(|| "write e.g. 1024x768".to_owned())
}

pub fn run(args: RegisterArgs) -> Outcome {
    crate::ensure!(
        args.threshold > 0.0 && args.threshold.is_finite(),
        Error::input("out of range", format!("--threshold {}", args.threshold), "use a number above 0").into()
    );
    make_way([&args.matrix, &args.residuals].into_iter().flatten().map(PathBuf::as_path))?;
    check_outputs(&args)?;
    let source = open(&args.image)?;
    let points = Points::read(&args.points, args.columns.as_deref())?;
    let target = args.to.as_deref().map(open).transpose()?;
    let notices = source.notices().iter().chain(target.iter().flat_map(|target| target.notices()));
    notices.for_each(|notice| noteln!("note: {notice}"));
    let target = target.map(|target| target.info().clone());
    let grid = args.size.or(target.as_ref().map(|target| [target.width, target.height]));

    let settings = Settings { threshold: args.threshold, seed: args.seed };
    let found = estimate(&points.pairs, &settings).map_err(|refusal| refusal.at(args.points.display()))?;
    let size = [source.info().width, source.info().height];
    found.homography.check_picture(size).map_err(|refusal| refusal.at(args.points.display()))?;
    print_report(&points, &found, &settings);
    print_notes(&points, &found, size, grid);

    let Some(out) = &args.out else { return Ok(write_tables(&args, &points, &found)?) };
    let grid =
        grid.ok_or_else(|| Error::input("no grid to warp to", out.display(), "add --to REFERENCE or --size WxH"))?;
    Resampler::check_name(source.info(), out)?;
    let interpolation = match args.interpolation {
        Between::Bilinear => Interpolation::Bilinear,
        Between::Nearest => Interpolation::Nearest,
    };
    let device = args.device.open()?;
    let resampler = Resampler::new(&device, &source, &found.homography, grid, interpolation);
    crate::ensure!(
        resampler.meets_grid(),
        Error::input(
            format!("no pixel of {} falls on the grid of {}x{}", args.image.display(), grid[0], grid[1]),
            args.points.display(),
            "check which columns are the source and which the target"
        )
        .into()
    );
    write_tables(&args, &points, &found)?;
    let georeference = target.as_ref().map_or(&[][..], |target| &target.georeference);
    warp_to(&resampler, out, grid[1], georeference)?;
    outln!("wrote {}: {}x{} pixels", out.display(), grid[0], grid[1]);
    Ok(())
}

fn warp_to(resampler: &Resampler, out: &Path, height: usize, georeference: &[RawTag]) -> Result<()> {
    let stop = stop_flag();
    let mut progress = Progress::new(height as u64, 0, "rows");
    let each = |rows: usize| {
        progress.at(rows as u64, &out.display().to_string());
        let remedy = "nothing was written; run it again";
        crate::ensure!(!stop.load(Ordering::Relaxed), Error::failed("interrupted", out.display(), remedy));
        Ok(())
    };
    let png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if png {
        return resampler.write_png(out, each);
    }
    resampler.write_tiff(out, georeference, each)
}

/// The folders of the outputs are there, no input is overwritten, and no two outputs are one file.
fn check_outputs(args: &RegisterArgs) -> Result<()> {
    let outputs: Vec<&PathBuf> = [&args.out, &args.matrix, &args.residuals].into_iter().flatten().collect();
    let inputs = [Some(&args.image), Some(&args.points), args.to.as_ref()].into_iter().flatten();
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    for input in inputs {
        if let Some(output) = outputs.iter().find(|output| same(input, output)) {
            return Err(Error::input("an input would be overwritten", output.display(), "choose another name"));
        }
    }
    for (i, output) in outputs.iter().enumerate() {
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        crate::ensure!(
            folder.is_none_or(Path::is_dir),
            Error::input("no such folder to write to", output.display(), "make it, or choose another name")
        );
        if outputs[..i].iter().any(|other| same(other, output)) {
            return Err(Error::input("two outputs would be one file", output.display(), "choose another name"));
        }
    }
    Ok(())
}

fn print_report(points: &Points, found: &Estimate, settings: &Settings) {
    if let Some([x, y, u, v]) = &points.columns {
        outln!("columns: {x}, {y} (source) to {u}, {v} (target)");
    }
    let (all, agreeing) = (points.pairs.len(), found.agreeing());
    if all == 4 {
        outln!("pairs: 4, which always fit: add more to learn how good they are");
    } else {
        outln!("pairs: {all}, of which {agreeing} agree within {} pixels", settings.threshold);
        outln!(
            "their residuals in target pixels: RMSE {:.3}, median {:.3}, largest {:.3}",
            found.rmse(),
            found.median(),
            found.largest()
        );
    }
    outln!("matrix from source to target, whole numbers at the centres of pixels:");
    for row in found.homography.rows() {
        outln!("  {:>17.9e} {:>17.9e} {:>17.9e}", row[0], row[1], row[2]);
    }
}

/// What hints at a mistake without being one.
fn print_notes(points: &Points, found: &Estimate, size: [usize; 2], grid: Option<[usize; 2]>) {
    let outside = |place: [f64; 2], size: [usize; 2]| (0..2).any(|i| !(-1.0..=size[i] as f64).contains(&place[i]));
    let off_source = points.pairs.iter().filter(|pair| outside(pair.source, size)).count();
    if off_source > 0 {
        noteln!("note: {off_source} source points lie outside the picture of {}x{}", size[0], size[1]);
    }
    if let Some(grid) = grid {
        let off_target = points.pairs.iter().filter(|pair| outside(pair.target, grid)).count();
        if off_target > 0 {
            noteln!("note: {off_target} target points lie outside the grid of {}x{}", grid[0], grid[1]);
        }
    }
    let magnification = found.homography.magnification(size.map(|size| 0.5 * size as f64));
    if magnification < 0.25 {
        let times = magnification.recip().sqrt();
        noteln!(
            "note: the target is {times:.1} times coarser, and pixels are picked, not averaged: reduce IMAGE first"
        );
    }
}

/// The files of --matrix and --residuals.
fn write_tables(args: &RegisterArgs, points: &Points, found: &Estimate) -> Result<()> {
    if let Some(path) = &args.matrix {
        let object = json!({
            "matrix": found.homography.rows(),
            "inverse": found.homography.inverse().rows(),
            "convention": "matrix maps source to target pixels (x, y, 1); whole numbers are the centres of pixels, \
             (0, 0) that of the first",
            "pairs": points.pairs.len(),
            "agreeing": found.agreeing(),
            "threshold": args.threshold,
            "seed": args.seed,
            "rmse": found.rmse(),
            "median": found.median(),
            "largest": found.largest(),
        });
        write_result(path, format!("{object:#}\n").as_bytes())?;
    }
    if let Some(path) = &args.residuals {
        let mut text = "line,x_source,y_source,x_target,y_target,residual,agrees\n".to_owned();
        for (i, pair) in points.pairs.iter().enumerate() {
            let ([x, y], [u, v]) = (pair.source, pair.target);
            let (residual, agrees) = (found.residuals[i], u8::from(found.inliers[i]));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{},{x},{y},{u},{v},{residual:.4},{agrees}", points.lines[i]);
        }
        write_result(path, text.as_bytes())?;
    }
    Ok(())
}
