//! `huetape colorize` on georeferenced scenes, as a user runs it.

mod common;

use common::binary::{done, failed};
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::{save_png, save_tiff};
use huetape::imaging::raster::{Nodata, Raster, RasterInfo, RawTag, SampleType, Window};
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Ten metres a pixel, in UTM zone 33 north.
fn place() -> Vec<RawTag> {
    let doubles = |tag, values: &[f64]| RawTag {
        tag,
        field_type: 12,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let keys: [u16; 12] = [1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633];
    let keys = RawTag { tag: 34735, field_type: 3, bytes: keys.iter().flat_map(|key| key.to_le_bytes()).collect() };
    vec![doubles(33550, &[10.0, 10.0, 0.0]), doubles(33922, &[0.0, 0.0, 0.0, 4e5, 5e6, 0.0]), keys]
}

const SIZE: [usize; 2] = [330, 201];

fn has_data(pixel: usize) -> bool {
    let (x, y) = (pixel % SIZE[0], pixel / SIZE[0]);
    x + 2 * y >= 120 && !(200..240).contains(&x)
}

/// A folder with a run `run` of a narrow ColourNet, and `scene.tif`: floats of 0..1, nodata -9999 in a corner and a
/// stripe.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for side in ["source", "target"] {
        fs::create_dir(path(side)).unwrap();
    }
    let scene = Scene::new(5, 0, 64);
    save_png(&path("source/0.png"), &scene.sar(4), 64, 64, None).unwrap();
    save_png(&path("target/0.png"), &scene.optical(), 64, 64, None).unwrap();
    let flags = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";
    done(root.path(), &format!("train colournet --source source --target target --out run {flags}"));
    let large = Scene::new(6, 0, 330).sar(4);
    let samples = (0..SIZE[0] * SIZE[1]).map(|i| if has_data(i) { f32::from(large[i]) / 255.0 } else { -9999.0 });
    let info = RasterInfo {
        nodata: Nodata::parse("-9999"),
        georeference: place(),
        ..RasterInfo::new(SIZE[0], SIZE[1], 1, SampleType::F32)
    };
    save_tiff(&path("scene.tif"), info, &samples.collect::<Vec<_>>()).unwrap();
    root
}

fn read(path: &Path) -> (RasterInfo, Window) {
    let raster = Raster::open(path).unwrap();
    let bands: Vec<usize> = (1..=raster.info().bands).collect();
    (raster.info().clone(), raster.read_window(raster.area(), &bands).unwrap())
}

#[test]
fn a_scene_keeps_its_place_and_its_gaps_whatever_the_tile() {
    let root = folder();
    let path = |name: &str| root.path().join(name);
    done(root.path(), "colorize scene.tif --run run --out whole.tif --device cpu --uncertainty unsure.tif");
    let (info, whole) = read(&path("whole.tif"));
    assert_eq!([info.width, info.height, info.bands], [SIZE[0], SIZE[1], 3]);
    assert_eq!((info.sample, info.nodata.map(|nodata| nodata.value)), (SampleType::U8, Some(0.0)));
    assert_eq!(info.georeference, place());
    assert!(info.description.unwrap().contains("colours predicted by huetape"));
    let valid: Vec<bool> = (0..SIZE[0] * SIZE[1]).map(has_data).collect();
    assert_eq!(whole.valid, valid);
    // To readers that look at one band at a time.
    assert!(whole.samples.chunks_exact(3).zip(&valid).all(|(pixel, valid)| pixel.iter().all(|v| (*v > 0.0) == *valid)));

    let (info, unsure) = read(&path("unsure.tif"));
    assert_eq!((info.bands, info.sample, info.georeference), (1, SampleType::F32, place()));
    assert_eq!(unsure.valid, valid);
    let known = || unsure.samples.iter().zip(&valid).filter(|(_, valid)| **valid).map(|(unsure, _)| *unsure);
    assert!(known().all(|unsure| (0.0..=1.0).contains(&unsure)));
    assert!(known().fold(0.0, f32::max) > 0.1);

    done(root.path(), "colorize scene.tif --run run --out cog.tif --device cpu --cog");
    assert_eq!(read(&path("cog.tif")).1, whole);
    done(root.path(), "colorize scene.tif --run run --out tiled.tif --device cpu --tile 64");
    let (_, tiled) = read(&path("tiled.tif"));
    assert_eq!(tiled.valid, valid);
    let off = |a: &Window| a.samples.iter().zip(&whole.samples).filter(|(a, b)| (*a - *b).abs() > 1.0).count();
    assert_eq!(off(&tiled), 0, "bytes that differ by more than their rounding");
    done(root.path(), "colorize scene.tif --run run --out short.tif --device cpu --tile 64 --overlap 0");
    assert!(off(&read(&path("short.tif")).1) > 0, "context makes no difference");
}

#[test]
fn scenes_go_to_tifs_and_pictures_to_pngs_unless_the_name_says_so() {
    let root = folder();
    fs::create_dir(root.path().join("in")).unwrap();
    fs::copy(root.path().join("scene.tif"), root.path().join("in/a.tif")).unwrap();
    fs::copy(root.path().join("source/0.png"), root.path().join("in/b.png")).unwrap();
    done(root.path(), "colorize in --run run --out out/ --device cpu");
    assert_eq!(read(&root.path().join("out/a.tif")).0.georeference, place());
    assert_eq!(decode::open(&root.path().join("out/b.png")).unwrap().info.width, 64);
    done(root.path(), "colorize scene.tif --run run --out scene.png --device cpu");
    let picture = decode::open(&root.path().join("scene.png")).unwrap();
    assert_eq!([picture.info.width, picture.info.height, picture.info.bands], [SIZE[0], SIZE[1], 3]);
    assert_eq!(picture.rgb(0, 0), [0.0; 3], "no data is black");
}

#[test]
fn what_cannot_be_done_is_one_line_and_leaves_nothing() {
    let root = folder();
    let colorize = |flags: &str| format!("colorize scene.tif --run run --device cpu {flags}");
    let refused = |flags: &str, code, named: &[&str]| failed(root.path(), &colorize(flags), code, named);
    refused("--out new/a.tif --tile 0", 2, &["--tile 0"]);
    refused("--out new/a.tif --uncertainty new/a.tif", 2, &["new/a.tif", "two results of scene.tif"]);
    refused("--out new/a.tif --uncertainty scene.tif", 2, &["overwritten", "scene.tif"]);
    refused("--out new/a.tif --uncertainty u.png", 2, &["--uncertainty u.png", ".tif"]);
    refused("source --out new/ --uncertainty u.tif", 2, &["2 inputs", "--uncertainty u.tif"]);
    refused("--out new/a.png --cog", 2, &["--cog", "new/a.png"]);
    refused("--out scene.tif/a.tif", 2, &["scene.tif", "in the way"]);
    // A scene that ends too early is met in its midst.
    let bytes = fs::read(root.path().join("scene.tif")).unwrap();
    let raster = Raster::open(&root.path().join("scene.tif")).unwrap();
    drop(raster);
    let mut broken = bytes.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 2000].fill(0xFF);
    fs::write(root.path().join("scene.tif"), broken).unwrap();
    refused("--out new/a.tif", 2, &["scene.tif", "damaged"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_scene_leaves_nothing_and_says_so() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let root = folder();
    fs::create_dir(root.path().join("out")).unwrap();
    let info = RasterInfo::new(1500, 1500, 1, SampleType::U8);
    save_tiff(&root.path().join("large.tif"), info, &[90.0; 1500 * 1500]).unwrap();
    for signal in ["-INT", "-TERM"] {
        let line = "colorize large.tif --run run --out out/a.tif --device cpu --tile 64 --uncertainty out/u.tif";
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("huetape"))
            .current_dir(root.path())
            .args(line.split_whitespace())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
        assert!(lines.any(|line| line.starts_with("1/")), "the first tile is told of");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let errors: Vec<_> = rest.iter().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains("interrupted: out/a.tif"), "{rest:?}");
        assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 0);
    }
}
