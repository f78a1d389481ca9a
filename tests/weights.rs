//! The weights that come along and files to pass on, as a user meets them.

mod common;

use common::binary::{description, done, failed, huetape, refused, scenes};
use huetape::engine::nn::WeightFile;
use huetape::imaging::codec::decode::open;
use huetape::imaging::codec::save::{save_png, save_tiff};
use huetape::imaging::picture::Samples;
use huetape::imaging::raster::{RasterInfo, SampleType};
use huetape::imaging::synth::Scene;
use huetape::train::metadata::Metadata;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the binary with bytes on standard input: its exit code, its output and what it complained of.
fn piped(folder: &Path, line: &str, input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huetape"));
    command.current_dir(folder).args(line.split_whitespace()).env_remove("HUETAPE_DEVICE");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // A program that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// The words that a file to pass on is made with.
const WORDS: &str = "--name toy --purpose tests --data drawings --licence CC0 --date 2026-11-25";

/// A folder with scenes, a run of two updates in `run` and its figures in `scores.json`.
fn trained() -> tempfile::TempDir {
    let root = scenes(&[48, 48]);
    let common = "--source source --target target --device cpu";
    done(root.path(), &format!("train window8 {common} --bins kmeans:4 --steps 2 --batch 1 --ema 0.5 --out run"));
    done(root.path(), &format!("evaluate --run run {common} --json scores.json"));
    root
}

#[test]
fn a_run_becomes_a_file_that_colours_alike_and_says_what_it_is() {
    let root = trained();
    let at = |name: &str| root.path().join(name);
    for file in ["a.safetensors", "b.safetensors"] {
        let pack = format!("weights --pack run {file} {WORDS} --figures scenes=scores.json");
        assert_eq!(done(root.path(), &pack).trim(), file);
    }
    assert_eq!(fs::read(at("a.safetensors")).unwrap(), fs::read(at("b.safetensors")).unwrap());
    let checkpoint = at("run/checkpoints/step-00000002.safetensors");
    let [small, large] = [at("a.safetensors"), checkpoint].map(|path| fs::metadata(path).unwrap().len());
    assert!(small < large / 3, "{small} bytes of {large}");

    let file = WeightFile::read(&at("a.safetensors")).unwrap();
    let about = Metadata::of(&file).unwrap().unwrap().about.unwrap();
    let scores: serde_json::Value = serde_json::from_str(&fs::read_to_string(at("scores.json")).unwrap()).unwrap();
    let psnr = about.figures["scenes"].get("mean_colour", "psnr").unwrap();
    assert!((psnr - scores["mean_colour"]["psnr"].as_f64().unwrap()).abs() < 1e-4);
    let said = done(root.path(), "inspect a.safetensors");
    for text in ["toy, 2026-11-25", "drawings", "CC0", "updates:      2"] {
        assert!(said.contains(text), "{said}");
    }

    for (network, out) in [("--run run", "whole.png"), ("--weights a.safetensors", "packed.png")] {
        done(root.path(), &format!("colorize source/0.png {network} --out {out} --device cpu"));
    }
    let [whole, packed] = ["whole.png", "packed.png"].map(|name| match open(&at(name)).unwrap().samples {
        Samples::U8(samples) => samples,
        other => panic!("{other:?}"),
    });
    assert!(whole.iter().zip(&packed).all(|(a, b)| a.abs_diff(*b) <= 2));
}

#[test]
fn files_to_pass_on_are_refused_that_would_say_too_little() {
    let root = trained();
    let refuse = |line: &str, named: &[&str]| refused(root.path(), line, named);
    let pack = "weights --pack run out.safetensors";
    refuse(&format!("{pack} {WORDS}"), &["something is missing", "--figures"]);
    refuse(&format!("{pack} {WORDS} --figures scores.json"), &["--figures scores.json", "NAME=FILE"]);
    refuse(&format!("{pack} {WORDS} --figures a=none.json"), &["none.json"]);
    refuse(&format!("{pack} {WORDS} --figures a=run/statistics.json"), &["statistics.json", "evaluate", "--json"]);
    refuse(&format!("{pack} {WORDS} --figures a=scores.json --date today"), &["--date today", "2026-01-31"]);
    refuse(&format!("{pack} {WORDS} --figures a=scores.json --checkpoint 7"), &["--checkpoint 7"]);
    refuse(&format!("weights --pack none out {WORDS} --figures a=scores.json"), &["none"]);
    refuse("weights --name x", &["--pack"]);
    fs::write(root.path().join("there"), "x").unwrap();
    refuse(&format!("weights --pack run there {WORDS} --figures a=scores.json"), &["there already", "--overwrite"]);
}

/// A synthetic scene and its SAR image in a folder: `optical.png`, `grey.png`, `sar.png`, and as floats `sar.tif`.
fn pictures() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let scene = Scene::new(5, 3, 96);
    let (optical, sar) = (scene.optical(), scene.sar(4));
    let grey: Vec<u8> = optical.chunks_exact(3).map(|rgb| rgb[1]).collect();
    save_png(&at("optical.png"), &optical, 96, 96, None).unwrap();
    save_png(&at("grey.png"), &grey, 96, 96, None).unwrap();
    save_png(&at("sar.png"), &sar, 96, 96, None).unwrap();
    let floats: Vec<f32> = sar.iter().map(|v| f32::from(*v) / 255.0).collect();
    save_tiff(&at("sar.tif"), RasterInfo::new(96, 96, 1, SampleType::F32), &floats).unwrap();
    root
}

#[test]
fn a_name_means_what_comes_along_and_a_path_a_file() {
    let root = pictures();
    refused(root.path(), "colorize grey.png --weights ./grey --out out.png", &["cannot read", "./grey"]);
    refused(root.path(), "weights --export photo out", &["photo", "grey, sar"]);
    if cfg!(feature = "weights") {
        // A file of that name does not stand in the way.
        fs::write(root.path().join("sar"), "no weights").unwrap();
        done(root.path(), "colorize sar.png --weights sar --out out.png --device cpu");
        refused(root.path(), "colorize sar.png --weights ./sar --out other.png", &["./sar", "safetensors"]);
    } else {
        refused(root.path(), "colorize sar.png --weights sar --out out.png", &["sar", "feature `weights`"]);
        refused(root.path(), "colorize sar.png --out out.png", &["something is missing"]);
        assert!(done(root.path(), "weights").contains("feature"));
    }
}

#[cfg(feature = "weights")]
mod with_weights {
    use super::*;
    use huetape::imaging::quality::{Image8, ab_error, psnr};
    use huetape::train::built_in::{BUILT_IN, NAMES};

    fn samples(path: &Path) -> Vec<u8> {
        match open(path).unwrap().samples {
            Samples::U8(samples) => samples,
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    fn image(path: &Path) -> Image8 {
        Image8::new(96, 96, 3, samples(path)).unwrap()
    }

    #[test]
    fn they_are_listed_for_people_and_for_programs_and_written_out() {
        let root = tempfile::tempdir().unwrap();
        let text = done(root.path(), "weights");
        let json: serde_json::Value = serde_json::from_str(&done(root.path(), "weights --json")).unwrap();
        assert_eq!(json.as_array().unwrap().len(), BUILT_IN.len());
        for (entry, weights) in json.as_array().unwrap().iter().zip(BUILT_IN) {
            assert_eq!(
                (entry["name"].as_str(), entry["bytes"].as_u64()),
                (Some(weights.name), Some(weights.bytes.len() as u64))
            );
            for key in ["network", "purpose", "data", "licence", "date"] {
                let said = entry[key].as_str().unwrap();
                assert!(!said.is_empty() && text.contains(said), "{key} of {}: {text}", weights.name);
            }
            assert!(entry["figures"].as_object().unwrap().values().all(|figures| figures["images"].as_u64() > Some(0)));
            done(root.path(), &format!("weights --export {0} {0}.safetensors", weights.name));
            let written = fs::read(root.path().join(format!("{}.safetensors", weights.name))).unwrap();
            assert!(written == weights.bytes);
            refused(root.path(), &format!("weights --export {0} {0}.safetensors", weights.name), &["there already"]);
            let (code, bytes, _) = piped(root.path(), &format!("weights --export {} -", weights.name), b"");
            assert!(code == 0 && bytes == weights.bytes);
            assert!(done(root.path(), &format!("inspect {}", weights.name)).contains(weights.name));
        }
    }

    #[test]
    fn an_image_is_coloured_without_a_word_about_weights_and_keeps_its_lightness() {
        let root = pictures();
        let at = |name: &str| root.path().join(name);
        let ran = huetape(root.path(), "colorize grey.png optical.png --device cpu");
        assert_eq!((ran.code, ran.stdout.trim()), (0, "coloured"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hint"), "{}", ran.stderr);
        assert!(description(&at("coloured/grey.png")).unwrap().contains("huetape"));
        done(root.path(), "colorize optical.png --weights grey --out by-name.png --device cpu");
        assert_eq!(samples(&at("by-name.png")), samples(&at("coloured/optical.png")));
        let colours = samples(&at("coloured/optical.png"));
        assert!(colours.chunks_exact(3).any(|rgb| rgb[0] != rgb[1] || rgb[1] != rgb[2]), "all is grey");
        // The lightness is that of the source: what is left is the colours' difference, and no clipping beyond that.
        let lightness = |path: &Path| -> Vec<f32> {
            let of = |rgb: &[u8]| huetape::imaging::color::srgb8_to_lab([rgb[0], rgb[1], rgb[2]])[0];
            samples(path).chunks_exact(3).map(of).collect()
        };
        let (made, truth) = (lightness(&at("coloured/optical.png")), lightness(&at("optical.png")));
        let mean = made.iter().zip(&truth).map(|(a, b)| (a - b).abs()).sum::<f32>() / made.len() as f32;
        assert!(mean < 1.0, "L is off by {mean} on average");
        let error = ab_error(&image(&at("coloured/optical.png")), &image(&at("optical.png"))).unwrap();
        // Its colours are 34 from grey on average: no weights make it much worse.
        assert!(error < 50.0, "ab error {error}");
    }

    #[test]
    fn sar_gets_a_picture_of_its_own_lightness() {
        let root = pictures();
        let at = |name: &str| root.path().join(name);
        done(root.path(), "colorize sar.png --weights sar --out sar-colours.png --device cpu");
        let colours = samples(&at("sar-colours.png"));
        let grey: Vec<u8> = samples(&at("sar.png")).iter().flat_map(|v| [*v; 3]).collect();
        assert_eq!(colours.len(), grey.len());
        let spread = |values: &[u8]| values.iter().max().unwrap() - values.iter().min().unwrap();
        assert!(spread(&colours) > 20 && colours != grey);
        let psnr = psnr(&image(&at("sar-colours.png")), &image(&at("optical.png"))).unwrap();
        assert!(psnr > 6.0, "{psnr} dB");
    }

    #[test]
    fn what_looks_like_radar_gets_a_hint_unless_a_network_is_named() {
        let root = pictures();
        let hints = |line: &str| {
            let ran = huetape(root.path(), line);
            assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
            ran.stderr.lines().filter(|line| line.starts_with("hint: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let hinted = hints("colorize grey.png sar.tif --out a --device cpu");
        assert_eq!(hinted.len(), 1);
        assert!(hinted[0].contains("sar.tif") && hinted[0].contains("--weights sar"), "{hinted:?}");
        let words: Vec<u16> = vec![300; 64];
        let info = RasterInfo::new(8, 8, 1, SampleType::U16);
        save_tiff(&root.path().join("word.tif"), info, &words.iter().map(|v| f32::from(*v)).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(hints("colorize word.tif --out b.tif --device cpu").len(), 1);
        for line in ["colorize sar.tif --weights sar --out c.tif", "colorize grey.png --out d.png"] {
            assert_eq!(hints(&format!("{line} --device cpu")), [""; 0], "{line}");
        }
    }

    #[test]
    fn standard_input_and_output_are_as_good_as_files() {
        let root = pictures();
        let at = |name: &str| root.path().join(name);
        for (input, network, output) in [("grey.png", "", "out.png"), ("sar.tif", "--weights sar", "out.tif")] {
            done(root.path(), &format!("colorize {input} {network} --out {output} --device cpu"));
            let expected = fs::read(at(output)).unwrap();
            let bytes = fs::read(at(input)).unwrap();
            for (line, given) in [
                (format!("colorize - {network} --device cpu"), &bytes[..]),
                (format!("colorize - {network} --out - --device cpu"), &bytes[..]),
                (format!("colorize {input} {network} --out - --device cpu"), b""),
            ] {
                let (code, stdout, stderr) = piped(root.path(), &line, given);
                assert_eq!(code, 0, "{line}: {stderr}");
                assert!(stdout == expected, "{line}: {} bytes and {}", stdout.len(), expected.len());
            }
            let (code, _, stderr) =
                piped(root.path(), &format!("colorize - {network} --out of-{output} --device cpu"), &bytes);
            assert_eq!(code, 0, "{stderr}");
            assert_eq!(fs::read(at(&format!("of-{output}"))).unwrap(), expected);
        }
        for (input, named) in [(&b""[..], "no image: standard input"), (&b"text"[..], "standard input")] {
            let (code, stdout, stderr) = piped(root.path(), "colorize -", input);
            assert!(code == 2 && stdout.is_empty() && stderr.contains(named), "{stderr}");
        }
        for line in ["colorize - grey.png --out out", "colorize grey.png sar.png --out -", "colorize - --out out/"] {
            failed(root.path(), line, 2, &[]);
        }
    }

    #[test]
    fn a_training_starts_from_them_wherever_it_is_resumed() {
        let root = scenes(&[256]);
        for (name, settings) in NAMES.iter().zip([
            "train colournet --images target --size 32 --batch 1",
            "train pix2pix --source source --target target --no-augment",
        ]) {
            // Scenes of the helper are 48 pixels high; pix2pix wants 256.
            let scene = Scene::new(1, 0, 256);
            save_png(&root.path().join("source/0.png"), &scene.sar(4), 256, 256, None).unwrap();
            save_png(&root.path().join("target/0.png"), &scene.optical(), 256, 256, None).unwrap();
            let line = format!("{settings} --init {name} --device cpu");
            let ran = huetape(root.path(), &format!("{line} --steps 1 --out run-{name}"));
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert_eq!(ran.stderr.contains("no discriminator"), *name == "sar", "{}", ran.stderr);
            let config = fs::read_to_string(root.path().join(format!("run-{name}/config.toml"))).unwrap();
            assert!(config.contains(&format!("init = \"{name}\"")), "{config}");
            done(root.path(), &format!("{line} --steps 2 --out run-{name} --resume"));
        }
        refused(root.path(), "train window8 --images target --init grey --out run-w", &["window8", "colournet"]);
    }
}
