//! Scenes judged by scenes, and answers in the units of the targets, as a user runs them.

mod common;

use common::binary::{done, failed};
use common::rasters::{placed, read};
use huetape::imaging::codec::save::save_tiff;
use huetape::imaging::color::{delta_e_2000, srgb8_to_lab_f64};
use huetape::imaging::raster::{Nodata, Raster, RasterInfo, SampleType, Window};
use huetape::imaging::synth::Scene;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SIDE: usize = 96;
const FLAGS: &str = "--device cpu --threads 1 --batch 2 --steps 2";

/// `sar.tif` of bytes, `holes.tif`, the same without data in its first ten rows, and `optical.tif` on their grid.
fn scenes() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let scene = Scene::new(7, 0, SIDE);
    let mut sar: Vec<f32> = scene.sar(4).iter().map(|v| f32::from((*v).max(1))).collect();
    save_tiff(&at("sar.tif"), placed(SIDE, 1, SampleType::U8), &sar).unwrap();
    sar[..10 * SIDE].fill(0.0);
    let with_holes = RasterInfo { nodata: Nodata::parse("0"), ..placed(SIDE, 1, SampleType::U8) };
    save_tiff(&at("holes.tif"), with_holes, &sar).unwrap();
    let optical: Vec<f32> = scene.optical().iter().map(|v| f32::from(*v)).collect();
    save_tiff(&at("optical.tif"), placed(SIDE, 3, SampleType::U8), &optical).unwrap();
    done(
        root.path(),
        &format!("train colournet --source sar.tif --target optical.tif --width 0.05 --size 32 --out run {FLAGS}"),
    );
    root
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_scene_that_is_one_window_has_the_figures_of_the_picture() {
    let root = scenes();
    for (folder, file) in [("s", "sar.tif"), ("t", "optical.tif")] {
        fs::create_dir(root.path().join(folder)).unwrap();
        fs::copy(root.path().join(file), root.path().join(folder).join("0.tif")).unwrap();
    }
    done(root.path(), "evaluate --run run --source s --target t --json folder.json --device cpu");
    let line =
        "evaluate --run run --source sar.tif --target optical.tif --json scene.json --html page.html --device cpu";
    let said = done(root.path(), line);
    assert!(said.starts_with("1 window of 512x512 at most"), "{said}");
    let [folder, scene] = ["folder.json", "scene.json"].map(|name| json(&root.path().join(name)));
    assert_eq!(folder, scene);
    assert!(fs::read_to_string(root.path().join("page.html")).unwrap().contains("x 0, y 0"));
}

#[test]
fn what_has_no_data_is_left_out_of_the_figures_the_map_and_the_classes() {
    let root = scenes();
    let at = |name: &str| root.path().join(name);
    // Left 1, right 7; the last row has none.
    let labels: Vec<f32> = (0..SIDE * SIDE)
        .map(|i| {
            if i / SIDE == SIDE - 1 {
                255.0
            } else if i % SIDE < 30 {
                1.0
            } else {
                7.0
            }
        })
        .collect();
    let info = RasterInfo { nodata: Nodata::parse("255"), ..placed(SIDE, 1, SampleType::U8) };
    save_tiff(&at("classes.tif"), info, &labels).unwrap();
    let line = "evaluate --run run --source holes.tif --target optical.tif --classes classes.tif --difference far.tif";
    let said = done(root.path(), &format!("{line} --json s.json --csv s.csv --device cpu"));
    let heading = said.lines().find(|line| line.starts_with("class")).unwrap();
    assert!(heading.contains("pixels") && heading.contains("PSNR, dB"), "{said}");
    done(root.path(), "colorize holes.tif --run run --out made.tif --device cpu");
    let (made, truth, far) = (read(&at("made.tif")), read(&at("optical.tif")), read(&at("far.tif")));
    let rgb = |window: &Window, i: usize| [0, 1, 2].map(|band| window.samples[3 * i + band] as u8);
    let (mut squares, mut pixels) = ([0.0; 2], [0u64; 2]);
    for i in 0..SIDE * SIDE {
        assert_eq!((made.valid[i], far.valid[i]), (i >= 10 * SIDE, i >= 10 * SIDE), "{i}");
        if !made.valid[i] {
            continue;
        }
        let (a, b) = (rgb(&made, i), rgb(&truth, i));
        let want = delta_e_2000(srgb8_to_lab_f64(a), srgb8_to_lab_f64(b));
        // A coloured file keeps its nodata value, 0, free: black may be one brighter there.
        let moved = a.iter().any(|v| *v <= 1);
        assert!((f64::from(far.samples[i]) - want).abs() < 1e-3 || moved, "{i}: {}, not {want}", far.samples[i]);
        if i / SIDE < SIDE - 1 {
            let class = usize::from(i % SIDE >= 30);
            pixels[class] += 1;
            squares[class] += (0..3).map(|k| (f64::from(a[k]) - f64::from(b[k])).powi(2)).sum::<f64>();
        }
    }
    let found = json(&at("s.json"));
    for (class, label) in ["1", "7"].into_iter().enumerate() {
        let of = &found["classes"][label];
        assert_eq!(of["pixels"].as_u64(), Some(pixels[class]));
        // Of a file whose darkest pixels are one brighter.
        let want = 10.0 * (255.0f64.powi(2) * 3.0 * pixels[class] as f64 / squares[class]).log10();
        assert!((of["psnr"].as_f64().unwrap() - want).abs() < 0.05, "{of} {want}");
        assert!(of["ab_error"].as_f64().unwrap() > 0.0 && of["delta_e_2000"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(found["images"], 1);
    assert!(found["model"]["ssim"].is_null() && found["model"]["psnr"].is_f64(), "{found}");

    let refused = |flags: &str, named: &[&str]| {
        failed(root.path(), &format!("evaluate --run run --device cpu {flags}"), 2, named);
    };
    refused("--source holes.tif --target optical.tif --out scored", &["--out", "colorize"]);
    refused("--source holes.tif --target optical.tif --classes far.tif", &["labels are integers", "far.tif"]);
    fs::create_dir(at("s")).unwrap();
    fs::copy(at("sar.tif"), at("s/0.tif")).unwrap();
    refused("--source s --target s --classes classes.tif", &["--classes", "two scenes"]);
}

#[test]
fn answers_come_in_the_units_of_the_targets() {
    let root = scenes();
    let at = |name: &str| root.path().join(name);
    let names = ["B04".to_owned(), "B08".to_owned()];
    let optical = read(&at("optical.tif"));
    let reflectances: Vec<f32> =
        optical.samples.chunks_exact(3).flat_map(|rgb| [12.0 * rgb[1], 12.0 * rgb[0]]).collect();
    // Stored as twice the value above -200.
    let stored: Vec<f32> = reflectances.iter().map(|value| 2.0 * (value + 200.0)).collect();
    let described = [names[1].clone(), names[0].clone()];
    let info = placed(SIDE, 2, SampleType::U16).with_bands_described(&described, &[[0.5, -200.0]; 2]);
    save_tiff(&at("s2.tif"), info, &stored).unwrap();
    let data = "--source holes.tif --target s2.tif --target-bands 2,1 --width 0.05 --size 32";
    done(root.path(), &format!("train spacenet {data} --target-stretch -100,3000 --out spectral {FLAGS}"));
    let colorize = |flags: &str| format!("colorize holes.tif --run spectral --device cpu {flags}");
    done(root.path(), &colorize("--out plain.tif"));
    done(root.path(), &colorize("--out physical.tif --units float"));
    done(root.path(), &colorize("--out physical-cog.tif --units float --cog"));
    done(root.path(), &colorize("--out targets.tif --units target"));
    let info = Raster::open(&at("physical.tif")).unwrap().info().clone();
    assert_eq!((info.sample, info.bands, info.is_placed()), (SampleType::F32, 2, true));
    assert_eq!([1, 2].map(|band| info.band_name(band).unwrap()), names);
    let (plain, physical) = (read(&at("plain.tif")), read(&at("physical.tif")));
    let bits = |window: &Window| window.samples.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(&physical) == bits(&read(&at("physical-cog.tif"))));
    assert_eq!(plain.valid, physical.valid);
    for (i, (plain, physical)) in plain.samples.iter().zip(&physical.samples).enumerate() {
        if i / 2 < 10 * SIDE {
            assert!(physical.is_nan());
            continue;
        }
        // 8 bits, half a step of rounding, and one where a value would be the one of no data.
        let want = -100.0 + plain / 255.0 * 3100.0;
        assert!((physical - want).abs() < 1.6 * 3100.0 / 255.0, "{i}: {physical}, not {want}");
    }
    // The same in the type and by the scale of the targets, rounded; their least value stands for no data.
    let targets = Raster::open(&at("targets.tif")).unwrap().info().clone();
    assert_eq!((targets.sample, targets.nodata.as_ref().map(|nodata| nodata.value)), (SampleType::U16, Some(0.0)));
    assert_eq!(([1, 2].map(|band| targets.band_name(band).unwrap()), targets.unit(2)), (names, Some([0.5, -200.0])));
    let stored = read(&at("targets.tif"));
    assert_eq!(stored.valid, physical.valid);
    for (stored, physical) in stored.samples.iter().zip(&physical.samples).skip(20 * SIDE) {
        assert!((0.5 * stored - 200.0 - physical).abs() <= 0.2501, "{stored} {physical}");
    }
    failed(root.path(), &colorize("--out a.png --units target"), 2, &["PNG", "a.png"]);
    let line = "colorize sar.tif --run run --device cpu --out b.tif --units target";
    failed(root.path(), line, 2, &["the range of the targets", "--units target", "--target-stretch LO,HI"]);
}
