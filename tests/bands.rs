//! Several bands of radar into every network that takes them, as a user runs them: `--bands`, `--ratio`,
//! `--target-bands`, in folders, scenes and files side by side.

mod common;

use common::binary::{done, failed, huetape, refused};
use common::rasters::{placed, read};
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::save_tiff;
use huetape::imaging::picture::Samples;
use huetape::imaging::raster::{Nodata, RasterInfo, SampleType};
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SIDE: usize = 72;
const FLAGS: &str = "--device cpu --threads 1 --size 64 --batch 2 --steps 2";

/// Folders `s1`, VV and VH in dB as floats, and `s2`, red, green, blue and near infrared as 16-bit reflectances: two
/// files each, of which the first lies beside them as scenes too.
fn radar_and_optics() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for side in ["s1", "s2"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for index in 0..2 {
        let scene = Scene::new(5, index, SIDE);
        let decibels = |v: &u8| f32::from(*v) / 255.0 * 25.0 - 25.0;
        let radar: Vec<f32> =
            scene.sar(4).iter().flat_map(|v| [decibels(v), 12.0 * (f32::from(*v) / 255.0).powi(3) - 30.0]).collect();
        let bands: Vec<f32> = scene
            .optical()
            .chunks_exact(3)
            .flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255 - rgb[0]])
            .map(|v| 12.0 * f32::from(v))
            .collect();
        let name = format!("{index}.tif");
        save_tiff(&root.path().join("s1").join(&name), placed(SIDE, 2, SampleType::F32), &radar).unwrap();
        let info = RasterInfo { nodata: Nodata::parse("65535"), ..placed(SIDE, 4, SampleType::U16) };
        save_tiff(&root.path().join("s2").join(&name), info, &bands).unwrap();
    }
    for side in ["s1", "s2"] {
        fs::copy(root.path().join(side).join("0.tif"), root.path().join(format!("{side}.tif"))).unwrap();
    }
    root
}

fn pixels(path: &Path) -> Vec<u8> {
    match decode::open(path).unwrap().samples {
        Samples::U8(samples) => samples,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_network_learns_from_two_bands_and_paints_with_them() {
    let root = radar_and_optics();
    for (model, flags, outputs) in [
        ("pix2pix", "--target-bands 1,2,3 --width 0.02 --batch 1", 3),
        ("colournet", "--target-bands 3,2,1 --width 0.05", 3),
        ("window8", "--target-bands 1,2,3 --bins kmeans:4 --ratio --predict-lightness", 3),
        ("spacenet", "--target-bands 4,1 --width 0.05 --ratio", 2),
    ] {
        let data = "--source s1 --target s2 --bands 1,2 --val-source s1 --val-target s2";
        done(root.path(), &format!("train {model} {data} --out {model} {FLAGS} {flags}"));
        let settings = fs::read_to_string(root.path().join(model).join("config.toml")).unwrap();
        assert!(settings.contains("bands = \"1,2\"") && settings.contains("target-bands = "), "{settings}");
        assert_eq!(settings.contains("ratio = true"), flags.contains("--ratio"), "{settings}");
        // By the run and by what the weights say of themselves, and a member of a folder as the scene that it is.
        let weights = format!("{model}/checkpoints/step-00000002.safetensors");
        let colours = |from: &str, out: &str| {
            done(root.path(), &format!("colorize {from} --device cpu --out {out}"));
            read(&root.path().join(out))
        };
        let by_run = colours(&format!("s1/1.tif --run {model} --checkpoint last"), &format!("{model}-a.tif"));
        assert_eq!(by_run.samples.len(), SIDE * SIDE * outputs);
        let by_weights = colours(&format!("s1/1.tif --weights {weights}"), &format!("{model}-b.tif"));
        assert!(by_run == by_weights, "{model}");
        done(root.path(), &format!("colorize s1 --run {model} --checkpoint last --device cpu --out {model}-all"));
        assert!(by_run == read(&root.path().join(format!("{model}-all/1.tif"))), "{model}");
        // Exchanged bands are other inputs; one band is too few.
        let exchanged = colours(&format!("s1/1.tif --run {model} --bands 2,1"), &format!("{model}-c.tif"));
        assert!(by_run.samples != exchanged.samples, "{model}");
        let scores = done(root.path(), &format!("evaluate --run {model} --source s1 --target s2 --device cpu"));
        assert!(scores.contains("linear regression"), "{scores}");
        let described = done(root.path(), &format!("inspect {weights}"));
        assert!(described.contains("bands 1,2") && described.contains("target-bands "), "{described}");
        let refused = |flags: &str, named: &[&str]| {
            refused(root.path(), &format!("colorize s1/1.tif --run {model} --device cpu --out x.tif {flags}"), named);
        };
        refused("--band 1", &["the network reads ", " bands"]);
        refused("--bands 1,5", &["no band 5 in an image of 2", "s1/1.tif"]);
    }
}

#[test]
fn scenes_are_read_as_folders_are_and_a_run_on_bands_goes_on_bit_for_bit() {
    let root = radar_and_optics();
    let train = |out: &str, flags: &str| {
        let data =
            "--source s1.tif --target s2.tif --bands 2,1 --ratio --target-bands 1,2,3 --stretch -30,0/-25,0/0,12";
        done(root.path(), &format!("train colournet {data} --width 0.05 --out {out} {FLAGS} {flags}"));
    };
    train("whole", "--steps 4 --checkpoint-every 2");
    train("parts", "--checkpoint-every 2");
    done(root.path(), "train colournet --out parts --resume --steps 4");
    let last = |run: &str| fs::read(root.path().join(run).join("checkpoints/step-00000004.safetensors")).unwrap();
    assert!(last("whole") == last("parts"), "the run that was interrupted has other weights");
    let stretches = fs::read_to_string(root.path().join("whole/config.toml")).unwrap();
    assert!(stretches.contains("stretch = \"-30,0/-25,0/0,12\""), "{stretches}");
    done(root.path(), "colorize s1.tif --run whole --out a.tif --device cpu --lightness despeckle");
    let report = done(
        root.path(),
        &format!("check-data --source s1 --target s2 --bands 1,2 --target-bands 1,2,3 {FLAGS}")
            .replace("--steps 2", ""),
    );
    assert!(report.contains("usable: 2 pictures"), "{report}");
}

#[test]
fn files_side_by_side_have_bands_too() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("ab")).unwrap();
    let scene = Scene::new(5, 0, 32);
    let (sar, optical) = (scene.sar(4), scene.optical());
    let at = |x: usize, y: usize, band: usize| match x < 32 {
        true => sar[y * 32 + x] / (band as u8 + 1),
        false => optical[(y * 32 + x - 32) * 3 + band],
    };
    let samples: Vec<f32> = (0..32)
        .flat_map(|y| (0..64).flat_map(move |x| (0..3).map(move |band| (x, y, band))))
        .map(|(x, y, b)| f32::from(at(x, y, b)))
        .collect();
    save_tiff(&root.path().join("ab/0.tif"), RasterInfo::new(64, 32, 3, SampleType::U8), &samples).unwrap();
    let line = "--pairs ab --bands 1,3 --target-bands 3,1,2 --device cpu --threads 1 --size 32 --batch 1 --steps 1";
    done(root.path(), &format!("train window8 {line} --bins kmeans:4 --out run"));
    assert!(huetape(root.path(), "inspect run/checkpoints/step-00000001.safetensors").stdout.contains("bands 1,3"));
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let root = radar_and_optics();
    let refused = |flags: &str, named: &[&str]| {
        // Notes on the stretch may come before the error.
        failed(root.path(), &format!("train {flags} --out run {FLAGS} --source s1 --target s2"), 2, named);
    };
    refused("sicgan --bands 1,2", &["sicgan has no such setting", "--bands"]);
    refused("colournet --ratio", &["--ratio", "--bands"]);
    refused("colournet --bands 1 --ratio --target-bands 1,2,3", &["a ratio is of two bands", "s1/0.tif"]);
    refused("colournet --bands 1,2 --band 1", &["--band"]);
    refused("colournet --bands 0,1", &["--bands 0,1", "use numbers from 1"]);
    refused("colournet --bands 1,3 --target-bands 1,2,3", &["no band 3 in an image of 2", "s1/0.tif"]);
    refused("colournet --bands 1,2 --target-bands 1,2", &["an image of 2 bands is neither grey nor RGB", "s2/0.tif"]);
    refused("colournet --target-bands 1,2,3", &["2 bands", "--band 1 to 2", "--bands"]);
    refused("pix2pix --bands 1,2 --target-bands 1,2,3 --input-channels 3", &["2 bands", "--input-channels 3"]);
    refused("pix2pix --bands 1,2 --target-bands 1,2,3 --stretch 0,1/0,1/0,1", &["3 stretches for 2 bands", "s1/0.tif"]);
    // Weights of one band on data of two.
    done(
        root.path(),
        &format!(
            "train colournet --source s1 --target s2 --band 1 --target-bands 1,2,3 --out one --width 0.05 {FLAGS}"
        ),
    );
    let init = "--init one/checkpoints/step-00000002.safetensors";
    refused(&format!("colournet --bands 1,2 --target-bands 1,2,3 {init}"), &["read 1 of", "the data have 2"]);
}

#[test]
fn comparisons_and_evaluations_take_the_bands_of_the_targets_that_were_trained_on() {
    let root = radar_and_optics();
    let at = |path: &str| root.path().join(path);
    let data = "--source s1 --target s2 --bands 1,2 --target-bands 3,2,1 --target-stretch 0,3060";
    done(root.path(), &format!("train colournet {data} --out run {FLAGS} --width 0.05"));
    done(root.path(), "colorize s1/1.tif --run run --device cpu --out c.png --compare s2/1.tif");
    let (split, truth) = (pixels(&at("c.split.png")), read(&at("s2/1.tif")).samples);
    let mut seen = 0;
    for i in (0..SIDE * SIDE).filter(|i| i % SIDE < SIDE / 2) {
        // Red is the third band, blue the first: where one is much larger, so it is shown.
        let (first, third) = (truth[4 * i], truth[4 * i + 2]);
        if (third - first).abs() > 200.0 {
            assert_eq!(split[3 * i] > split[3 * i + 2], third > first, "{i}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");

    let weights = "run/checkpoints/step-00000002.safetensors";
    let judge = |flags: &str| {
        let line = format!("evaluate --source s1 --target s2 --device cpu --json a.json {flags}");
        let ran = huetape(root.path(), &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        (fs::read_to_string(at("a.json")).unwrap(), ran.stderr)
    };
    let (by_run, said) = judge(&format!("--weights {weights}"));
    assert!(said.contains("values become 0 to 1: of sources by percentile:2, of targets by 0,3060"), "{said}");
    let (same, _) = judge(&format!("--weights {weights} --target-bands 3,2,1 --target-stretch 0,3060"));
    assert_eq!(by_run, same);
    let (other, said) = judge(&format!("--weights {weights} --target-bands 1,2,3 --target-stretch percentile:1"));
    assert!(other != by_run && said.contains("of targets by percentile:1"), "{said}");
    let line =
        format!("evaluate --source s1.tif --target s2.tif --weights {weights} --device cpu --target-bands 5,1,2");
    refused(root.path(), &line, &["no band 5 in an image of 4", "s2.tif"]);
    let said = huetape(root.path(), &line.replace("5,1,2", "3,2,1")).stderr;
    assert!(said.contains("of sources by percentile:2, of targets by 0,3060"), "{said}");
}
