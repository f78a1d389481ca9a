//! `huetape evaluate` and `colorize --compare` as a user runs them.

mod common;

use approx::assert_abs_diff_eq;
use common::binary::{description, done, listing, refused, scenes};
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::{save_png, save_tiff};
use huetape::imaging::picture::Samples;
use huetape::imaging::raster::{Raster, RasterInfo, SampleType};
use serde_json::Value;
use std::fs;
use std::path::Path;

const TRAIN: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";
const EVALUATE: &str = "evaluate --run run --source source --target target --device cpu";

/// A folder with `source`, `target` and a tiny `run`.
fn trained(widths: &[usize]) -> tempfile::TempDir {
    let root = scenes(widths);
    done(root.path(), &format!("train colournet --source source --target target --out run {TRAIN}"));
    root
}

fn samples(path: &Path) -> Vec<u8> {
    match decode::open(path).unwrap().samples {
        Samples::U8(samples) => samples,
        other => panic!("{other:?}"),
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_figures_are_those_of_the_pictures_that_are_written() {
    let root = trained(&[64, 50]);
    let line = format!("{EVALUATE} --out out --json new/scores.json --csv scores.csv --html page.html");
    let table = done(root.path(), &line);
    for text in
        ["2 pictures", "mean colour", "grey copy", "linear regression", "PSNR, dB", "ΔE 2000", "the mean colour"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    let scores = json(&root.path().join("new/scores.json"));
    assert_eq!(scores["images"], 2);
    // Mean squared errors and PSNR once more, by hand: of what was written, and of the sources as grey.
    let (mut psnr, mut copy) = (0.0, 0.0);
    for name in ["0.png", "1.png"] {
        let target = samples(&root.path().join("target").join(name));
        assert_eq!(samples(&root.path().join("out/targets").join(name)), target);
        let mse = |made: &[u8]| {
            let squares: f64 = made.iter().zip(&target).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            squares / target.len() as f64
        };
        let made = root.path().join("out/predictions").join(name);
        assert!(
            description(&made).unwrap().contains("predicted by huetape")
                && description(&made).unwrap().contains("colournet")
        );
        psnr += 10.0 * (255.0f64.powi(2) / mse(&samples(&made))).log10() / 2.0;
        let grey: Vec<u8> = samples(&root.path().join("source").join(name)).iter().flat_map(|v| [*v; 3]).collect();
        copy += mse(&grey) / 2.0;
    }
    assert_abs_diff_eq!(scores["model"]["psnr"].as_f64().unwrap(), psnr, epsilon = 1e-9);
    assert_abs_diff_eq!(scores["grey_copy"]["mse"].as_f64().unwrap(), copy, epsilon = 1e-9);
    for method in ["model", "grey_copy", "mean_colour", "mean_ab", "linear_regression"] {
        for measure in ["psnr", "ssim", "delta_e_2000", "delta_e_76", "mse", "mae", "nrmse", "spectral_angle", "ab_auc"]
        {
            assert!(scores[method][measure].is_f64(), "{method} {measure}");
        }
        assert!(scores[method]["ab_auc_rebalanced"].is_f64() && scores[method]["colourfulness"].is_f64());
    }
    let csv = fs::read_to_string(root.path().join("scores.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 5);
    let page = fs::read_to_string(root.path().join("page.html")).unwrap();
    assert!(page.contains("How good is colournet?") && page.contains("Can you see the seam?"));
    // Again, into the same folder, on another number of threads: the same to the last digit.
    done(root.path(), &format!("{line} --threads 1"));
    assert_eq!(json(&root.path().join("new/scores.json")), scores);
    assert_eq!(fs::read_to_string(root.path().join("scores.csv")).unwrap(), csv);
}

#[test]
fn a_training_ends_with_the_table_and_the_verdict_of_evaluate() {
    let root = scenes(&[64, 50]);
    let data = "--source source --target target --val-source source --val-target target";
    let ending = done(root.path(), &format!("train colournet {data} --out run {TRAIN}"));
    let table = done(root.path(), EVALUATE);
    assert!(table.contains("mean ab") && table.contains("ab AuC, rebalanced"), "{table}");
    let (figures, rest) = ending.split_at(table.len());
    assert_eq!((figures, rest.trim()), (table.as_str(), "run/report.html"));
    let report = fs::read_to_string(root.path().join("run/report.html")).unwrap();
    let verdict = table.trim().lines().last().unwrap().split_once(". ").unwrap().0;
    assert!(
        report.contains(verdict) && report.contains("Means over 2 pictures, by the weights after update "),
        "{verdict}"
    );
    // So it does where the lightness of its images is matched.
    let ending = done(root.path(), &format!("train colournet {data} --out matched --lightness despeckle {TRAIN}"));
    assert!(ending.starts_with(&done(root.path(), &EVALUATE.replace("--run run", "--run matched"))), "{ending}");
    assert!(!ending.starts_with(&table), "{ending}");
    // The centres are other pictures, and are said to be centres.
    let centres = done(root.path(), &format!("{EVALUATE} --crop 40 --json scores.json"));
    assert!(centres.starts_with("the centres of 2 pictures, 40x40 at most") && centres != table, "{centres}");
    refused(root.path(), &format!("{EVALUATE} --crop 0"), &["--crop"]);
}

#[test]
fn weights_alone_are_held_against_the_copy() {
    let root = trained(&[48]);
    let table = done(
        root.path(),
        "evaluate --weights run/checkpoints/step-00000001.safetensors --images target --json scores.json --device cpu",
    );
    assert!(table.contains("--run") && !table.contains("linear regression  "), "{table}");
    let scores = json(&root.path().join("scores.json"));
    assert!(scores["model"]["psnr"].is_f64() && scores["grey_copy"]["psnr"].is_f64());
    assert!(scores.get("mean_colour").is_none() && scores.get("linear_regression").is_none());
}

#[test]
fn other_bands_have_the_measures_that_make_sense_and_are_written_as_tiff() {
    let root = scenes(&[48, 48]);
    fs::create_dir(root.path().join("bands")).unwrap();
    for name in ["0", "1"] {
        let rgb = samples(&root.path().join(format!("target/{name}.png")));
        let four: Vec<f32> = rgb
            .chunks_exact(3)
            .flat_map(|p| [p[2], p[1], p[0], (u32::from(p[0]).pow(2) / 255) as u8])
            .map(f32::from)
            .collect();
        let info = RasterInfo::new(48, 48, 4, SampleType::U8);
        save_tiff(&root.path().join(format!("bands/{name}.tif")), info, &four).unwrap();
    }
    done(
        root.path(),
        "train spacenet --source target --target bands --out run --device cpu --width 0.05 --size 32 --batch 1 \
         --steps 1",
    );
    let line = "evaluate --run run --source target --target bands --out out --json s.json --html p.html --device cpu";
    let table = done(root.path(), line);
    assert!(table.contains("spectral angle") && !table.contains("ab error") && !table.contains("grey copy"), "{table}");
    let scores = json(&root.path().join("s.json"));
    for measure in ["mse", "mae", "psnr", "ssim", "nrmse", "spectral_angle"] {
        assert!(scores["model"][measure].is_f64() && scores["linear_regression"][measure].is_f64(), "{measure}");
    }
    assert!(scores["model"]["delta_e_2000"].is_null() && scores["model"]["ab_auc"].is_null());
    let raster = Raster::open(&root.path().join("out/predictions/1.tif")).unwrap();
    assert_eq!(raster.info().bands, 4);
    assert!(raster.info().description.as_deref().unwrap().contains("predicted by huetape"));
    assert!(fs::read_to_string(root.path().join("p.html")).unwrap().contains("predicted, last band"));
}

#[test]
fn what_cannot_be_evaluated_is_refused_before_anything_is_written() {
    let root = trained(&[48, 48]);
    let path = |name: &str| root.path().join(name);
    let line = format!("{EVALUATE} --out out --json s.json");
    refused(root.path(), "evaluate --run run", &["something is missing"]);
    refused(root.path(), "evaluate --source source --target target", &["something is missing"]);
    refused(root.path(), "evaluate --run run --source source", &["--target"]);
    refused(root.path(), &format!("{line} --temperature 0"), &["--temperature 0"]);
    refused(root.path(), &format!("{EVALUATE} --json target"), &["target", "folder"]);
    refused(root.path(), "evaluate --run none --source source --target target", &["none"]);
    fs::rename(path("target/1.png"), path("one.png")).unwrap();
    refused(root.path(), &line, &["a source without its target", "source/1.png"]);
    fs::rename(path("source/1.png"), path("grey.png")).unwrap();
    fs::copy(path("one.png"), path("target/1.png")).unwrap();
    refused(root.path(), &line, &["a target without its source", "target/1.png"]);
    save_png(&path("source/1.png"), &[5; 48 * 40], 48, 40, None).unwrap();
    refused(root.path(), &line, &["differ in size", "48x40", "source/1.png"]);
    let whole = fs::read(path("grey.png")).unwrap();
    fs::write(path("source/1.png"), &whole[..whole.len() / 2]).unwrap();
    refused(root.path(), &line, &["source/1.png"]);
    fs::copy(path("grey.png"), path("source/1.png")).unwrap();
    fs::copy(path("grey.png"), path("source/1.jpg")).unwrap();
    fs::copy(path("one.png"), path("target/1.jpg")).unwrap();
    refused(root.path(), &line, &["the same name but for its ending"]);
    fs::remove_file(path("source/1.jpg")).unwrap();
    fs::remove_file(path("target/1.jpg")).unwrap();
    fs::create_dir_all(path("out/predictions")).unwrap();
    fs::write(path("out/predictions/older.png"), "").unwrap();
    refused(root.path(), &line, &["other files lie there", "older.png"]);
    fs::create_dir(path("deep")).unwrap();
    fs::rename(path("target"), path("deep/targets")).unwrap();
    refused(
        root.path(),
        "evaluate --run run --source source --target deep/targets --out deep --device cpu",
        &["inputs lie where pictures would be written"],
    );
    for name in ["0.png", "1.png"] {
        fs::remove_file(path("source").join(name)).unwrap();
    }
    refused(root.path(), &line, &["no images in the folder"]);
}

#[test]
fn a_coloured_picture_is_shown_beside_its_truth_and_split_with_it() {
    let root = trained(&[48, 50]);
    done(root.path(), "colorize source --run run --out coloured --compare target --device cpu");
    let names: Vec<String> = listing(&root.path().join("coloured"))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["0.compare.png", "0.png", "0.split.png", "1.compare.png", "1.png", "1.split.png"]);
    let path = |name: &str| root.path().join(name);
    let both = decode::open(&path("coloured/1.compare.png")).unwrap();
    assert_eq!((both.info.width, both.info.height), (3 * 50 + 2 * 8, 48));
    let (coloured, truth) = (samples(&path("coloured/1.png")), samples(&path("target/1.png")));
    let (beside, split) = (samples(&path("coloured/1.compare.png")), samples(&path("coloured/1.split.png")));
    let row = |samples: &[u8], first: usize| samples[3 * first..3 * (first + 25)].to_vec();
    assert_eq!(row(&beside, 58), row(&coloured, 0));
    assert_eq!((row(&split, 0), row(&split, 25)), (row(&truth, 0), row(&coloured, 25)));
    for name in ["0.png", "0.compare.png", "0.split.png"] {
        assert!(description(&path("coloured").join(name)).unwrap().contains("predicted by huetape"), "{name}");
    }
    done(root.path(), "colorize source/0.png --run run --out one.png --compare target/0.png --device cpu");
    assert!(path("one.compare.png").is_file() && path("one.split.png").is_file());
    let line = "colorize source/0.png --run run --device cpu --out other.png --compare";
    refused(root.path(), &format!("{line} target/1.png"), &["48x48 and its truth of 50x48"]);
    refused(root.path(), &format!("{line} none.png"), &["none.png"]);
    refused(root.path(), "colorize source --run run --out c2 --compare target/0.png --device cpu", &["a folder"]);
    refused(
        root.path(),
        "colorize source --run run --out c2 --compare run/samples --device cpu",
        &["no truth of that name"],
    );
}
