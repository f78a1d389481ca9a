//! Folders of images as a user has them: nested, and with pixels without data.

mod common;

use common::binary::{done, failed, huetape, refused, scenes};
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::{save_png_with_gaps, save_tiff};
use huetape::imaging::picture::Samples;
use huetape::imaging::raster::{Nodata, RasterInfo, SampleType};
use huetape::imaging::synth::Scene;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const FLAGS: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 2";

/// `source`, `target`, `val-source` and `val-target`: in each two images of one name, of different sizes, in folders.
fn nested() -> TempDir {
    let root = scenes(&[64, 50]);
    let at = |path: &str| root.path().join(path);
    for side in ["source", "target"] {
        for (name, folder) in [("0.png", "a"), ("1.png", "b/c")] {
            fs::create_dir_all(at(&format!("{side}/{folder}"))).unwrap();
            fs::rename(at(&format!("{side}/{name}")), at(&format!("{side}/{folder}/0.png"))).unwrap();
            fs::create_dir_all(at(&format!("val-{side}/{folder}"))).unwrap();
            fs::copy(at(&format!("{side}/{folder}/0.png")), at(&format!("val-{side}/{folder}/0.png"))).unwrap();
        }
    }
    root
}

#[test]
fn nested_folders_are_matched_by_their_paths_and_resumed_so() {
    let root = nested();
    let at = |path: &str| root.path().join(path);
    let data = "--source source --target target --val-source val-source --val-target val-target";
    let train = |flags: &str| format!("train colournet {data} --out run {FLAGS} {flags}");
    let remedy = ["the images lie in folders below", "source", "add --recursive"];
    refused(root.path(), &train("--steps 1"), &remedy);
    refused(
        root.path(),
        &format!("check-data {data}").replace("--val-source val-source --val-target val-target", ""),
        &remedy,
    );
    done(root.path(), &train("--steps 1 --recursive"));
    assert!(fs::read_to_string(at("run/config.toml")).unwrap().contains("recursive = true"));
    // What is not said again holds as before.
    done(root.path(), &train("--steps 2 --resume"));
    let settings = fs::read_to_string(at("run/config.toml")).unwrap();
    assert!(settings.contains("recursive = true") && !settings.contains("; recursive"), "{settings}");

    let report = done(root.path(), &format!("check-data --source source --target target --recursive {FLAGS}"));
    assert!(report.contains("usable: 2 pictures") && report.contains("50x48 to 64x48"), "{report}");
    for alone in ["--images target", "--pairs target"] {
        let report = done(root.path(), &format!("check-data {alone} --recursive {FLAGS}"));
        assert!(report.contains("usable: 2 pictures"), "{report}");
        refused(root.path(), &format!("check-data {alone} {FLAGS}"), &["add --recursive"]);
    }

    let evaluate = "evaluate --run run --source source --target target --device cpu --out judged --csv scores.csv";
    refused(root.path(), evaluate, &remedy);
    // The second time the first one's pictures lie there.
    for _ in 0..2 {
        done(root.path(), &format!("{evaluate} --recursive"));
    }
    for name in ["a/0", "b/c/0"] {
        let [made, truth] = ["predictions", "targets"].map(|side| at(&format!("judged/{side}/{name}.png")));
        assert_eq!(fs::read(&truth).is_ok(), made.is_file());
        let (truth, target) =
            (decode::open(&truth).unwrap(), decode::open(&at(&format!("target/{name}.png"))).unwrap());
        assert!(truth == target, "{name}");
        assert!(fs::read_to_string(at("scores.csv")).unwrap().contains(&format!("\n{name},model,")), "{name}");
    }
    fs::write(at("judged/predictions/b/other.png"), "").unwrap();
    refused(root.path(), &format!("{evaluate} --recursive"), &["other files lie there already", "b/other.png"]);

    done(root.path(), "colorize source --run run --device cpu --out out --recursive --compare target");
    for name in ["a/0.png", "a/0.compare.png", "b/c/0.png", "b/c/0.split.png"] {
        assert!(at(&format!("out/{name}")).is_file(), "{name}");
    }

    fs::remove_file(at("target/b/c/0.png")).unwrap();
    let lone = ["a source without its target: source/b/c/0.png", "add target/b/c/0.png"];
    refused(root.path(), &train("--steps 3 --resume"), &lone);
}

/// A folder with `source`, radar as floats, and `target`, colours, of 64x48 pixels: `0.tif`, which lacks data in the
/// left quarter of the source and in the right quarter of the target; `1.tif`, which has all.
fn with_gaps() -> TempDir {
    let root = scenes(&[64, 64]);
    for side in ["source", "target"] {
        fs::remove_dir_all(root.path().join(side)).unwrap();
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for index in 0..2 {
        let scene = Scene::new(5, index, 64);
        let hole = |x: usize, left: bool| index == 0 && if left { x < 16 } else { x >= 48 };
        let rows = 64 * 48;
        let radar = |i: usize| if hole(i % 64, true) { f32::NAN } else { f32::from(scene.sar(4)[i]) / 255.0 };
        let radar: Vec<f32> = (0..rows).map(radar).collect();
        save_tiff(
            &root.path().join(format!("source/{index}.tif")),
            RasterInfo::new(64, 48, 1, SampleType::F32),
            &radar,
        )
        .unwrap();
        let optical = scene.optical();
        let value = |i: usize| if hole(i / 3 % 64, false) { 0.0 } else { f32::from(optical[i].max(1)) };
        let colours: Vec<f32> = (0..3 * rows).map(value).collect();
        let info = RasterInfo { nodata: Nodata::parse("0"), ..RasterInfo::new(64, 48, 3, SampleType::U8) };
        save_tiff(&root.path().join(format!("target/{index}.tif")), info, &colours).unwrap();
    }
    root
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(path: &Path) -> Vec<u8> {
    match decode::open(path).unwrap().samples {
        Samples::U8(samples) => samples,
        other => panic!("{other:?}"),
    }
}

#[test]
fn images_of_a_folder_leave_out_what_has_no_data_as_scenes_do() {
    let root = with_gaps();
    let at = |path: &str| root.path().join(path);
    let data = "--source source --target target --val-source source --val-target target";
    let train = |flags: &str| format!("train colournet {data} --out run {FLAGS} {flags}");
    let ran = huetape(root.path(), &train("--steps 3"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 2 images have pixels without data, which are left out"), "{}", ran.stderr);
    // 32 columns have data in both: no room for a crop of 48.
    let ran = huetape(
        root.path(),
        &train("--steps 1 --size 48").replace("--out run", "--out large").replace("--size 16 ", ""),
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said =
        "1 of 2 images have no crop of 48x48 pixels with data in source and target and are left out, e.g. source/0.tif";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let report = done(root.path(), &format!("check-data --source source --target target {FLAGS}"));
    assert!(report.contains("12.50 % have no data"), "{report}");

    // As a member of a folder and as a scene.
    let evaluate =
        |data: &str, more: &str| done(root.path(), &format!("evaluate --run run {data} --device cpu {more}"));
    for side in ["source", "target"] {
        fs::create_dir(at(&format!("one-{side}"))).unwrap();
        fs::copy(at(&format!("{side}/0.tif")), at(&format!("one-{side}/0.tif"))).unwrap();
    }
    evaluate("--source one-source --target one-target", "--json folder.json --out judged");
    evaluate("--source source/0.tif --target target/0.tif", "--json scene.json");
    let (folder, scene) = (json(&at("folder.json")), json(&at("scene.json")));
    assert_eq!(folder, scene);
    assert!(folder["model"]["ssim"].is_null() && folder["model"]["psnr"].as_f64().is_some(), "{folder}");
    // PSNR by hand, over the 32 columns.
    let [made, truth] = ["predictions", "targets"].map(|side| bytes(&at(&format!("judged/{side}/0.png"))));
    let within = (0..made.len()).filter(|i| (16..48).contains(&(i / 3 % 64)));
    let squares: Vec<f64> = within.map(|i| (f64::from(made[i]) - f64::from(truth[i])).powi(2)).collect();
    let psnr = 10.0 * (255.0f64.powi(2) / (squares.iter().sum::<f64>() / squares.len() as f64)).log10();
    let found = folder["model"]["psnr"].as_f64().unwrap();
    assert!((psnr - found).abs() < 1e-9, "{psnr} {found}");

    // Coloured as a scene and in a folder: holes in, holes out.
    done(root.path(), "colorize source/0.tif --run run --device cpu --out alone.tif");
    done(root.path(), "colorize source --run run --device cpu --out coloured");
    assert_eq!(fs::read(at("alone.tif")).unwrap(), fs::read(at("coloured/0.tif")).unwrap());
    let coloured = common::rasters::read(&at("alone.tif"));
    assert!(coloured.valid.iter().enumerate().all(|(i, valid)| *valid == (i % 64 >= 16)));

    fs::remove_file(at("source/1.tif")).unwrap();
    let none = ["the images have no crop of 48x48 pixels with data", "source/0.tif", "use a smaller --size"];
    failed(
        root.path(),
        &train("--steps 1 --size 48").replace("--out run", "--out none").replace("--size 16 ", ""),
        2,
        &none,
    );
}

#[test]
fn transparent_pixels_of_training_images_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("photos")).unwrap();
    let optical = Scene::new(5, 0, 48).optical();
    let valid: Vec<bool> = (0..48 * 48).map(|i| i % 48 < 40).collect();
    save_png_with_gaps(&root.path().join("photos/0.png"), &optical, &valid, [48, 48], None).unwrap();
    let ran = huetape(root.path(), &format!("train colournet --images photos --out run {FLAGS} --steps 1"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 1 images have pixels without data"), "{}", ran.stderr);
    let statistics = json(&root.path().join("run/statistics.json"));
    assert_eq!(statistics["pixels"], 40 * 48);
    let large =
        format!("train colournet --images photos --out large {FLAGS} --steps 1").replace("--size 16", "--size 48");
    refused(root.path(), &large, &["the images have no crop of 48x48 pixels", "photos/0.png"]);
}
