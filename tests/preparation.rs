//! `--stretch`, `--despeckle` and training from scenes, as a user runs them.

mod common;

use common::binary::{huetape, refused};
use common::rasters::read;
use huetape::imaging::codec::save::save_tiff;
use huetape::imaging::raster::{Nodata, RasterInfo, RawTag, SampleType};
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SIDE: usize = 96;
const FLAGS: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 2";

/// Runs the binary, which must do its work, and gives what it said on stderr.
fn done(folder: &Path, line: &str) -> String {
    let ran = huetape(folder, line);
    assert_eq!(ran.code, 0, "`{line}`: {}", ran.stderr);
    ran.stderr
}

/// Ten metres a pixel from `x` east on.
fn place(x: f64) -> Vec<RawTag> {
    let tag = |tag, values: [f64; 6], count: usize| RawTag {
        tag,
        field_type: 12,
        bytes: values[..count].iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    vec![tag(33550, [10.0, 10.0, 0.0, 0.0, 0.0, 0.0], 3), tag(33922, [0.0, 0.0, 0.0, x, 5e6, 0.0], 6)]
}

fn info(bands: usize, sample: SampleType) -> RasterInfo {
    RasterInfo { georeference: place(4e5), ..RasterInfo::new(SIDE, SIDE, bands, sample) }
}

/// Intensities of -25 to 0 dB as floats with a gap, colours of 8 bits on their grid, and the latter moved by a pixel.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let scene = Scene::new(5, 0, SIDE);
    let power = |v: &u8| 10f32.powf((f32::from(*v) / 255.0 * 25.0 - 25.0) / 10.0);
    let mut sar: Vec<f32> = scene.sar(4).iter().map(power).collect();
    sar[..40].fill(-9999.0);
    let sar_info = RasterInfo { nodata: Nodata::parse("-9999"), ..info(1, SampleType::F32) };
    save_tiff(&root.path().join("sar.tif"), sar_info, &sar).unwrap();
    let optical: Vec<f32> = scene.optical().iter().map(|v| f32::from(*v)).collect();
    save_tiff(&root.path().join("optical.tif"), info(3, SampleType::U8), &optical).unwrap();
    let moved = RasterInfo { georeference: place(4e5 + 10.0), ..info(3, SampleType::U8) };
    save_tiff(&root.path().join("moved.tif"), moved, &optical).unwrap();
    root
}

#[test]
fn a_run_on_scenes_goes_on_bit_for_bit_and_colours_as_it_was_trained() {
    let root = folder();
    let train = |out: &str, flags: &str| {
        let data = "--source sar.tif --target optical.tif --stretch db:-25,0 --despeckle lee:5 --val-source sar.tif \
             --val-target optical.tif";
        done(root.path(), &format!("train colournet {data} --out {out} {FLAGS} {flags}"))
    };
    train("whole", "--steps 4 --checkpoint-every 2");
    train("parts", "--steps 2 --checkpoint-every 2");
    done(root.path(), "train colournet --out parts --resume --steps 4");
    let last = |run: &str| fs::read(root.path().join(run).join("checkpoints/step-00000004.safetensors")).unwrap();
    assert!(last("whole") == last("parts"), "the run that was interrupted has other weights");
    let settings = fs::read_to_string(root.path().join("whole/config.toml")).unwrap();
    assert!(settings.contains("stretch = \"db:-25,0\"") && settings.contains("despeckle = \"lee:5\""), "{settings}");

    let colours = |out: &str, flags: &str| {
        let stderr = done(root.path(), &format!("colorize sar.tif --run whole --out {out} --device cpu {flags}"));
        assert!(!stderr.contains("stretched"), "{stderr}");
        read(&root.path().join(out))
    };
    let as_trained = colours("a.tif", "");
    assert_eq!(as_trained, colours("b.tif", "--stretch db:-25,0 --despeckle lee:5"));
    assert_eq!(as_trained.valid.iter().filter(|valid| !**valid).count(), 40);
    assert_ne!(as_trained, colours("c.tif", "--stretch db:-20,0"));
    assert_ne!(as_trained, colours("d.tif", "--despeckle none"));
}

#[test]
fn several_filters_are_channels_side_by_side_which_runs_and_weights_remember() {
    let root = folder();
    let data = "--source sar.tif --target optical.tif --stretch db:-25,0 --despeckle none/lee:3/lee:7,2";
    let flags = "--device cpu --threads 1 --batch 2 --steps 1";
    for (model, own) in [
        ("colournet", "--width 0.05 --size 16"),
        ("window8", "--size 32 --bins kmeans:4 --band 1"),
        ("pix2pix", "--width 0.02 --size 32"),
        ("spacenet", "--width 0.05 --size 32"),
    ] {
        done(root.path(), &format!("train {model} {data} --out {model} {flags} {own}"));
        let weights = format!("{model}/checkpoints/step-00000001.safetensors");
        let colours = |from: &str, out: &str| {
            done(root.path(), &format!("colorize sar.tif {from} --out {out} --overwrite --device cpu"));
            read(&root.path().join(out))
        };
        let by_run = colours(&format!("--run {model} --checkpoint last"), "a.tif");
        assert!(by_run == colours(&format!("--weights {weights}"), "b.tif"), "{model}");
        // Filters in another order are other inputs; fewer are too few.
        let turned = colours(&format!("--weights {weights} --despeckle lee:7,2/lee:3/none"), "c.tif");
        assert!(by_run.samples != turned.samples, "{model}");
        let line = format!("colorize sar.tif --weights {weights} --despeckle lee:3/lee:5 --out d.tif --device cpu");
        refused(root.path(), &line, &["the number of bands is 2, not 3", "sar.tif"]);
        let described = huetape(root.path(), &format!("inspect {weights}")).stdout;
        assert!(described.contains("despeckle none/lee:3/lee:7,2"), "{described}");
        assert!(described.contains("reads 3, makes 3"), "{described}");
    }
    let line = format!("train sicgan {data} --out no {flags}");
    refused(root.path(), &line, &["sicgan reads one band", "--despeckle none/lee:3/lee:7,2"]);
}

#[test]
fn floats_without_a_stretch_get_one_by_percentiles_which_is_told_and_kept() {
    let root = folder();
    let line = format!("train colournet --source sar.tif --target optical.tif --out run {FLAGS} --steps 1");
    let stderr = done(root.path(), &line);
    let told: Vec<_> = stderr.lines().filter(|line| line.contains("percentile:2")).collect();
    assert!(told.len() == 1 && told[0].contains("sar.tif") && told[0].contains("--stretch"), "{stderr}");
    assert!(fs::read_to_string(root.path().join("run/config.toml")).unwrap().contains("percentile:2"));
    let weights = "run/checkpoints/step-00000001.safetensors";
    let told = done(root.path(), &format!("colorize sar.tif --weights {weights} --out a.tif --device cpu"));
    // The weights say how their training read its inputs: there is nothing to tell.
    assert!(!told.contains("stretched"), "{told}");
    done(root.path(), "colorize sar.tif --run run --out b.tif --device cpu");
    assert_eq!(read(&root.path().join("a.tif")), read(&root.path().join("b.tif")));
}

#[test]
fn folders_of_float_tiles_train_with_a_stretch_and_are_checked_with_it() {
    let root = folder();
    for (side, scene) in [("s", "sar.tif"), ("t", "optical.tif")] {
        fs::create_dir(root.path().join(side)).unwrap();
        fs::copy(root.path().join(scene), root.path().join(side).join("0.tif")).unwrap();
    }
    let data = "--source s --target t --stretch db:-25,0";
    done(
        root.path(),
        &format!("train window8 {data} --out run --device cpu --threads 1 --size 32 --batch 1 --steps 1"),
    );
    let report = huetape(root.path(), &format!("check-data {data} {FLAGS}"));
    assert!(report.stdout.contains("source values: 0.000 to 0.8"), "{}", report.stdout);
    // Without a stretch each tile, which lies in a place on Earth, is read as the scene would be, and that is said.
    let ran = huetape(root.path(), &format!("train colournet --source s --target t --out x {FLAGS} --steps 1"));
    assert!(ran.code == 0 && ran.stderr.contains("stretched by percentile:2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--stretch") && ran.stderr.contains("0.tif"), "{}", ran.stderr);
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let root = folder();
    let train = |flags: &str| format!("train colournet --out run {FLAGS} --steps 1 {flags}");
    let refused = |flags: &str, named: &[&str]| refused(root.path(), &train(flags), named);
    refused("--source sar.tif --target moved.tif", &["1.00 pixels", "sar.tif", "moved.tif"]);
    refused("--source sar.tif --target .", &["sar.tif", "two scenes or two folders"]);
    refused("--source sar.tif --target optical.tif --stretch 9,1", &["9 is not below 1", "--stretch 9,1"]);
    refused("--source sar.tif --target optical.tif --despeckle lee:4", &["--despeckle lee:4", "odd"]);
    refused("--source sar.tif --target optical.tif --despeckle lee:5/none/lee:5", &["lee:5 is named twice"]);
    refused("--images . --despeckle lee:3", &["--despeckle beside --images"]);
    refused("--source sar.tif --target optical.tif --size 128", &["128x128", "sar.tif", "--size"]);
    assert!(!root.path().join("run").exists());
}
