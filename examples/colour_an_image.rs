//! Colours an image or a scene with a trained network, by its run folder or its weight file.
//!
//! ```text
//! cargo run --release --example colour_an_image -- runs/first sar.png coloured.png
//! cargo run --release --example colour_an_image
//! ```
//!
//! Without arguments it trains a tiny network on scenes that it makes, for a few steps, in a temporary folder.

use huetape::Result;
use huetape::engine::device::{Device, DeviceChoice};
use huetape::imaging::codec::save::save_png;
use huetape::imaging::synth::Scene;
use huetape::networks;
use huetape::paint::colorizer::Colorizer;
use huetape::run::training::Training;
use huetape::train::settings::table::Settings;
use std::error::Error;
use std::path::{Path, PathBuf};

const SIDE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    // A GPU where there is one, else the CPU; HUETAPE_DEVICE=cpu decides.
    let device = Device::open(&DeviceChoice::from_flag_or_env(None)?)?;
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match &arguments[..] {
        [trained, input, output] => colour(&device, trained, input, output)?,
        [] => {
            let folder = tempfile::tempdir()?;
            let run = train(&device, folder.path())?;
            let input = folder.path().join("unseen.png");
            save_png(&input, &Scene::new(9, 9, SIDE).sar(4), SIDE, SIDE, None)?;
            colour(&device, &run, &input, &folder.path().join("coloured.png"))?;
        }
        _ => return Err("give a run folder or a weight file, an image and a name for the result, or nothing".into()),
    }
    Ok(())
}

/// A run reads the image as its training did: its band, stretch and filter. So does a weight file that says how it
/// was trained.
fn colour(device: &Device, trained: &Path, input: &Path, output: &Path) -> Result<()> {
    let colorizer = match trained.is_dir() {
        true => Colorizer::open_run(device, trained)?,
        false => Colorizer::open(device, trained)?,
    };
    colorizer.colour_file(input, output)?;
    println!("{} coloured {} into {}", colorizer.model(), input.display(), output.display());
    Ok(())
}

/// Trains for a few steps on SAR images and the optical ones that belong to them, made here; the run's folder.
fn train(device: &Device, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let [source, target] = ["sar", "optical"].map(|name| folder.join(name));
    for (side, bands) in [(&source, 1), (&target, 3)] {
        std::fs::create_dir(side)?;
        for index in 0..3 {
            let scene = Scene::new(9, index, SIDE);
            let samples = if bands == 1 { scene.sar(4) } else { scene.optical() };
            save_png(&side.join(format!("{index}.png")), &samples, SIDE, SIDE, None)?;
        }
    }
    let settings = Settings {
        source: Some(source),
        target: Some(target),
        width: Some(0.05),
        size: Some(32),
        batch: Some(2),
        steps: Some(5),
        ..Settings::default()
    };
    let run = folder.join("run");
    Training::new(networks::NETWORKS[0], settings)?.run(device, &run, &mut |_| {})?;
    Ok(run)
}
