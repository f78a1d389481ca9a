//! The first part of the demo: a scene that is made here, coloured by the weights that come along.

use crate::cli::outcome::Outcome;
use crate::engine::device::Device;
use crate::error::Result;
use crate::files::io_error;
use crate::imaging::codec::save::{predicted_by, save_png, to_u8};
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::quality::Image8;
use crate::imaging::synth::Scene;
use crate::paint::colorizer::Colorizer;
use crate::report::strip::side_by_side;
use crate::train::built_in::{BUILT_IN, BuiltIn};
use std::path::Path;
use std::time::Instant;

/// The folder of this part, within the demo's.
pub const FOLDER: &str = "at-once";
/// Pixels between the panels of a strip.
const GAP: u32 = 4;

/// Colours a scene by each of the weights that come along and writes what came of it into `out`.
pub fn run(out: &Path, device: &Device, [seed, number]: [u32; 2], size: usize, looks: usize) -> Outcome {
    if BUILT_IN.is_empty() {
        outln!("\nat once: left out, for this huetape was built without the feature `weights`");
        return Ok(());
    }
    let folder = out.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| io_error("cannot create the folder", &folder, &error))?;
    let scene = Scene::new(u64::from(seed), number, size);
    outln!("\nat once: a scene made here, coloured by the weights that come along (source | coloured | truth)");
    for weights in BUILT_IN {
        let start = Instant::now();
        let path = colour(weights, &scene, size, looks, device, &folder)?;
        outln!("{:<5} {} ({:.1} s)", format!("{}:", weights.name), path, start.elapsed().as_secs_f64());
    }
    outln!("`huetape colorize IMAGE` does that with an image of yours, `huetape weights` says what they are");
    Ok(())
}

/// Writes the strip of one of the weights; its path.
fn colour(
    weights: &BuiltIn,
    scene: &Scene,
    size: usize,
    looks: usize,
    device: &Device,
    folder: &Path,
) -> Result<String> {
    let colorizer = Colorizer::of(device, &weights.read()?, None)?;
    let options = colorizer.options().clone();
    // Weights that read the lightness of colours get those; others are for radar.
    let (bands, samples) = if options.lightness { (3, scene.optical()) } else { (1, scene.sar(looks)) };
    let info = PictureInfo { width: size, height: size, bands, depth: Depth::U8 };
    let picture = Picture { info, samples: Samples::U8(samples) };
    let source = colorizer.source(&picture, Path::new(weights.name), &options)?;
    let made = colorizer.paint(&source, &options.look)?;
    let shown = |bands, samples| Image8::new(size, size, bands, samples).map(|image| image.to_rgb());
    let shown =
        [shown(1, to_u8(&source.values))?, shown(colorizer.bands(), to_u8(&made.values))?, shown(3, scene.optical())?];
    let strip = side_by_side(&shown.iter().collect::<Vec<_>>(), GAP)?;
    let path = folder.join(format!("{}.png", weights.name));
    let (width, height) = (strip.width() as usize, strip.height() as usize);
    save_png(&path, &strip, width, height, Some(&predicted_by(colorizer.model())))?;
    Ok(path.display().to_string())
}
