//! Networks as ONNX files: the graph holds together, and other programs make the same images of it.
#![cfg(feature = "convert")]

mod common;

use common::binary::{done, refused, scenes};
use huetape::engine::device::Device;
use huetape::engine::nn::{StateTensor, WeightFile};
use huetape::exchange::onnx::check::check as checked;
use huetape::imaging::codec::npy::save_npy;
use huetape::imaging::pixels::Pixels;
use huetape::networks::NETWORKS;
use huetape::networks::recipe::{Recipe, Setup, check, fill};
use huetape::paint::colorizer::Colorizer;
use huetape::random::{Rng, Stream};
use huetape::run::convert::of_programs;
use huetape::run::onnx::to_onnx;
use huetape::train::built_in::BUILT_IN;
use huetape::train::settings::table::Settings;
use std::path::Path;
use std::process::Command;

/// How far an image may be from huetape's own, at most.
const FAR: f32 = 1e-4;

/// Weights of a narrow network whose batch norms, biases and heads are not those of a fresh one.
fn weights(recipe: &dyn Recipe, settings: Settings) -> WeightFile {
    let settings = fill(recipe, settings);
    check(recipe, &settings).unwrap();
    let device = &Device::cpu();
    let setup = Setup { device, settings: &settings, survey: None, bins: 9, weights: None, training: false };
    let mut state = recipe.learner(&setup).unwrap().state().unwrap();
    for (number, tensor) in state.iter_mut().enumerate() {
        changed(tensor, &Rng::new(7, Stream::Test, number as u32));
    }
    WeightFile::from_tensors(recipe.name(), state)
}

fn changed(tensor: &mut StateTensor, rng: &Rng) {
    let part = tensor.name.rsplit('.').next().unwrap().to_owned();
    let head = tensor.name.starts_with("l.");
    for (i, value) in tensor.data.iter_mut().enumerate() {
        let random = rng.uniform(i as u64);
        match part.as_str() {
            "gamma" | "var" => *value = 0.5 + random,
            "beta" | "mean" | "bias" | "mix" | "detail" => *value += 0.5 * (random - 0.5),
            "weight" if head => *value = random - 0.5,
            _ => {}
        }
    }
}

/// Images 0..1 of a size: waves with some noise. (Noise alone, which no image is, takes Winograd's filtering of the CPU
/// to its limits: by the weights `grey` an image of it is 5e-4 away.)
fn source([width, height]: [usize; 2], bands: usize) -> Pixels {
    let rng = Rng::new(8, Stream::Test, width as u32);
    let values = (0..width * height * bands).map(|i| {
        let (x, y) = ((i / bands % width) as f32, (i / bands / width) as f32);
        let wave = 0.5 + 0.35 * (0.11 * x + 0.3 * (i % bands) as f32).sin() * (0.07 * y).cos();
        wave + 0.2 * (rng.uniform(i as u64) - 0.5)
    });
    let values = values.collect();
    Pixels { width, height, bands, values }
}

/// What is looked at: a name, weights, two sizes.
fn cases() -> Vec<(String, WeightFile, [[usize; 2]; 2])> {
    let narrow = |width| Settings { width: Some(width), ..Settings::default() };
    let of = |name: &str| *NETWORKS.iter().find(|recipe| recipe.name() == name).unwrap();
    let mut cases = vec![
        ("colournet", weights(of("colournet"), narrow(0.1)), [[64, 48], [45, 83]]),
        (
            "colournet-lightness",
            weights(of("colournet"), Settings { predict_lightness: Some(true), ..narrow(0.05) }),
            [[32, 32], [21, 50]],
        ),
        ("window8", weights(of("window8"), Settings::default()), [[32, 32], [21, 50]]),
        (
            "window8-lightness",
            weights(of("window8"), Settings { predict_lightness: Some(true), ..Settings::default() }),
            [[16, 16], [21, 50]],
        ),
        ("pix2pix", weights(of("pix2pix"), narrow(0.1)), [[256, 256], [100, 180]]),
        (
            "pix2pix-resize",
            weights(
                of("pix2pix"),
                Settings { up: Some("resize".into()), size: Some(128), input_channels: Some(3), ..narrow(0.1) },
            ),
            [[96, 96], [33, 70]],
        ),
        ("spacenet", weights(of("spacenet"), narrow(0.2)), [[64, 64], [31, 45]]),
        ("sicgan", weights(of("sicgan"), narrow(0.2)), [[128, 128], [77, 100]]),
        ("sicgan-48", weights(of("sicgan"), Settings { size: Some(48), ..narrow(0.2) }), [[48, 48], [1, 20]]),
    ]
    .into_iter()
    .map(|(name, weights, sizes)| (name.to_owned(), weights, sizes))
    .collect::<Vec<_>>();
    // Weights of published programs, which have layers of their own.
    for (name, file, sizes) in [
        ("eccv16", "eccv16.pth", [[64, 48], [45, 83]]),
        ("unet_256", "unet_256.pth", [[256, 256], [100, 180]]),
        ("tutorial", "tutorial.npz", [[256, 256], [31, 80]]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/published").join(file);
        let converted = of_programs(&[(file.to_owned(), std::fs::read(path).unwrap())], None, None).unwrap();
        cases.push((name.to_owned(), converted.weights, sizes));
    }
    for built_in in BUILT_IN {
        let sizes = [[224, 224], [90, 131]];
        cases.push((built_in.name.to_owned(), built_in.read().unwrap(), sizes));
    }
    cases
}

/// A Python with onnx, onnxruntime and numpy: HUETAPE_PYTHON, or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("HUETAPE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import onnx, onnxruntime, numpy"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

/// `[C, H, W]` of `[H, W, C]`.
fn channels_first(image: &Pixels) -> Vec<f32> {
    (0..image.bands).flat_map(|band| image.values.iter().skip(band).step_by(image.bands).copied()).collect()
}

#[test]
fn onnxruntime_makes_the_images_that_huetape_makes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| folder.path().join(name);
    let mut expected: Vec<(String, Pixels)> = Vec::new();
    for (name, weights, sizes) in cases() {
        // The file is read again and followed from source to image before it is handed out.
        std::fs::write(at(format!("{name}.onnx")), to_onnx(&weights, None).unwrap()).unwrap();
        let colorizer = Colorizer::of(&Device::cpu(), &weights, None).unwrap();
        for (k, size) in sizes.into_iter().enumerate() {
            let source = source(size, colorizer.source_bands());
            let shape = [1, source.bands, source.height, source.width];
            save_npy(&at(format!("{name}.{k}.npy")), &shape, &channels_first(&source)).unwrap();
            let image = colorizer.paint(&source, &colorizer.options().look).unwrap();
            expected.push((format!("{name}.{k}"), image));
        }
    }
    let Some(python) = python() else {
        eprintln!("onnxruntime did not run: no Python with onnx, onnxruntime and numpy (HUETAPE_PYTHON names one)");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/run.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with(&format!("{}\n", expected.len())), "{said}");
    let mut failures = Vec::new();
    for (name, image) in expected {
        let bytes = std::fs::read(at(format!("{name}.out"))).unwrap();
        let made: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let wanted = channels_first(&image);
        assert_eq!(made.len(), wanted.len(), "{name}");
        let far = made.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let varied = wanted.iter().any(|value| (value - wanted[0]).abs() > 0.05);
        println!("{name}: {far}");
        if far.is_nan() || far > FAR || !varied {
            failures.push(format!("{name}: {far} away, {FAR} at most; varied: {varied}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_run_and_built_in_weights_become_files_and_what_cannot_is_refused() {
    let root = scenes(&[48]);
    let at = root.path();
    let data = "--source source --target target --device cpu";
    done(at, &format!("train window8 {data} --bins kmeans:4 --steps 1 --batch 1 --out run"));
    assert_eq!(done(at, "convert run --to run.onnx").trim(), "run.onnx");
    let bytes = std::fs::read(at.join("run.onnx")).unwrap();
    assert_eq!(checked("run.onnx", &bytes, [2, 1, 33, 20]).unwrap(), [2, 3, 33, 20]);
    let sharp = done(at, "convert run --to sharp.onnx --temperature 0.1");
    assert!(sharp.contains("sharp.onnx") && std::fs::read(at.join("sharp.onnx")).unwrap() != bytes);
    refused(at, "convert run --to run.onnx", &["is there already", "run.onnx", "--overwrite"]);
    done(at, "convert run --to run.onnx --overwrite");
    refused(at, "convert run --to run.pb", &["--to run.pb", ".onnx"]);
    refused(at, "convert run --to new.onnx --temperature 9", &["--temperature 9"]);
    refused(at, "convert nonesuch --to new.onnx", &["nonesuch"]);
    refused(at, "convert source --to new.onnx", &["source"]);
    std::fs::write(at.join("cut.onnx"), &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(checked("cut.onnx", &bytes[..bytes.len() - 9], [1, 1, 32, 32]).unwrap_err().exit_code(), 2);
}
