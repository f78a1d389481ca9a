//! Images of the kinds that are easily misread, as libjpeg, libtiff and Pillow read them: `tools/goldens/images.py`.

mod common;

use common::binary::{done, failed};
use huetape::imaging::codec::decode::{ImageFile, open, probe};
use huetape::imaging::codec::save::save_png;
use huetape::imaging::picture::Samples;
use huetape::imaging::synth::Scene;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_kind_has_the_values_that_other_programs_give() {
    for (name, want) in expected() {
        if name.ends_with("webp") && !cfg!(feature = "formats") {
            continue;
        }
        let path = fixture(&name);
        let picture = open(&path).unwrap();
        assert_eq!(probe(&path).unwrap(), picture.info, "{name}");
        let info = picture.info;
        let size = [info.width, info.height].map(|side| side as u64);
        assert_eq!(
            (size.map(Value::from).to_vec(), info.bands as u64),
            (want["size"].as_array().unwrap().clone(), want["bands"].as_u64().unwrap()),
            "{name}"
        );
        let Samples::U8(got) = &picture.samples else { panic!("{name}: not bytes") };
        let (_, valid) = ImageFile::open(&path).unwrap().picture().unwrap();
        let holes = valid.as_ref().map_or(0, |valid| valid.iter().filter(|valid| !**valid).count());
        assert_eq!(holes as u64, want.get("holes").and_then(Value::as_u64).unwrap_or(0), "{name}");
        // Of JPEG, decoders differ in the rounding of the transform, and where chroma is interpolated, of that.
        let lossy = name.contains("jpg") || name.ends_with(".tif");
        let allowed = if lossy { 4 } else { 0 };
        let mut worst = 0;
        for (i, (got, want)) in got.iter().zip(want["samples"].as_array().unwrap()).enumerate() {
            if valid.as_ref().is_none_or(|valid| valid[i / info.bands]) {
                worst = worst.max((i64::from(*got) - want.as_i64().unwrap()).abs());
            }
        }
        println!("{name}: {worst}");
        assert!(worst <= allowed, "{name}: off by {worst}");
    }
}

/// A folder with a run `run` of a narrow network.
fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        std::fs::create_dir(root.path().join(side)).unwrap();
    }
    let scene = Scene::new(5, 0, 64);
    save_png(&root.path().join("source/0.png"), &scene.sar(4), 64, 64, None).unwrap();
    save_png(&root.path().join("target/0.png"), &scene.optical(), 64, 64, None).unwrap();
    let flags = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";
    done(root.path(), &format!("train colournet --source source --target target --out run {flags}"));
    root
}

#[test]
fn colours_lie_upright_in_their_place_and_transparent_where_there_is_no_data() {
    let root = folder();
    let path = |name: &str| root.path().join(name);
    for name in ["turned.jpg", "grey-transparent.png", "grey.jpg"] {
        std::fs::copy(fixture(name), path(name)).unwrap();
    }
    let colorize =
        |from: &str, to: &str| done(root.path(), &format!("colorize {from} --run run --out {to} --device cpu"));
    colorize("turned.jpg", "turned.png");
    let want = expected()["turned.jpg"]["size"].clone();
    let info = probe(&path("turned.png")).unwrap();
    assert_eq!(Value::from([info.width, info.height].map(|side| side as u64).to_vec()), want);

    let holes = |name: &str| {
        let (_, valid) = ImageFile::open(&path(name)).unwrap().picture().unwrap();
        valid.map_or(0, |valid| valid.iter().filter(|valid| !**valid).count() as u64)
    };
    colorize("grey-transparent.png", "holes.png");
    colorize("grey-transparent.png", "holes.tif");
    let want = expected()["grey-transparent.png"]["holes"].as_u64().unwrap();
    assert!(want > 0);
    assert_eq!((holes("holes.png"), holes("holes.tif")), (want, want));

    std::fs::write(path("grey.jgw"), "10\n0\n0\n-10\n500005\n4999995\n").unwrap();
    colorize("grey.jpg", "placed.tif");
    let placed = ImageFile::open(&path("placed.tif")).unwrap();
    assert!(placed.info().is_placed());
    assert_eq!(placed.info().grid_difference(ImageFile::open(&path("grey.jpg")).unwrap().info()), None);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_at_once() {
    let root = folder();
    assert!(std::process::Command::new("mkfifo").arg(root.path().join("p.tif")).status().unwrap().success());
    failed(root.path(), "colorize p.tif --run run --out a.png --device cpu", 2, &["p.tif", "a pipe"]);
    failed(root.path(), "register p.tif --points p.tif --device cpu", 2, &["p.tif", "a pipe"]);
}

#[test]
fn samples_that_leave_most_of_16_bits_empty_are_told_of() {
    let root = folder();
    let values: Vec<u8> = (0..64 * 64u16).flat_map(|i| (i % 1024).to_be_bytes()).collect();
    std::fs::create_dir(root.path().join("ten")).unwrap();
    let file = std::fs::File::create(root.path().join("ten/0.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 64, 64);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&values).unwrap();
    let said = "ten/0.png: samples of 16 bits that seem to hold no more than 1023: they come out nearly black; \
                --stretch 0,1023 reads them over their own range";
    let colorize = "colorize ten/0.png --run run --device cpu --overwrite --out a.png";
    for line in [colorize, "evaluate --run run --source ten --target target --device cpu"] {
        let ran = common::binary::huetape(root.path(), line);
        assert!(ran.code == 0 && ran.stderr.contains(said), "{line}: {}", ran.stderr);
        let ran = common::binary::huetape(root.path(), &format!("{line} --stretch 0,1023"));
        assert!(ran.code == 0 && !ran.stderr.contains("nearly black"), "{line}: {}", ran.stderr);
    }
}
