//! `huetape register` as a user runs it.

mod common;

use approx::abs_diff_eq;
use common::binary::{done, failed};
use huetape::imaging::codec::decode;
use huetape::imaging::codec::save::save_png;
use huetape::imaging::picture::Samples;
use huetape::imaging::raster::{Raster, RasterInfo, RasterWriter, RawTag, SampleType};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const TRUTH: [[f64; 3]; 3] = [[0.96, -0.11, 8.25], [0.09, 1.05, -3.5], [1e-4, -2e-4, 1.0]];

fn map([x, y]: [f64; 2]) -> [f64; 2] {
    let [u, v, w] = TRUTH.map(|row| row[0] * x + row[1] * y + row[2]);
    [u / w, v / w]
}

/// Runs the binary, which must refuse its points; notes on them may come before.
fn refused(folder: &Path, line: &str, named: &[&str]) {
    failed(folder, line, 2, named);
}

fn grey(x: usize, y: usize) -> u8 {
    (128.0 + 60.0 * (0.11 * x as f64).sin() + 60.0 * (0.09 * y as f64).cos()) as u8
}

/// A folder with a grey picture `sar.png` of 120x90 pixels and, in `pairs.csv`, exact pairs on a grid and three wrong
/// ones.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..120 * 90).map(|i| grey(i % 120, i / 120)).collect();
    save_png(&folder.path().join("sar.png"), &pixels, 120, 90, None).unwrap();
    let mut text = "x_source,y_source,x_target,y_target\n".to_owned();
    for (x, y) in (0..3).flat_map(|i| (0..4).map(move |k| (10.0 + 48.0 * f64::from(i), 5.0 + 26.0 * f64::from(k)))) {
        let [u, v] = map([x, y]);
        text += &format!("{x},{y},{u},{v}\n");
    }
    text += "20,20,90,70\n50,70,3,4\n100,10,20,80\n";
    fs::write(folder.path().join("pairs.csv"), text).unwrap();
    folder
}

#[test]
fn the_matrix_and_the_residuals_tell_right_pairs_from_wrong_ones() {
    let folder = folder();
    let report = done(folder.path(), "register sar.png --points pairs.csv --matrix m.json --residuals r.csv");
    assert!(report.contains("pairs: 15, of which 12 agree within 3 pixels"), "{report}");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("m.json")).unwrap()).unwrap();
    for (i, row) in TRUTH.iter().enumerate() {
        for (k, want) in row.iter().enumerate() {
            let got = json["matrix"][i][k].as_f64().unwrap();
            assert!(abs_diff_eq!(got, want, epsilon = 1e-6), "{json}");
        }
    }
    assert_eq!((json["pairs"].as_u64(), json["agreeing"].as_u64()), (Some(15), Some(12)));
    let table = fs::read_to_string(folder.path().join("r.csv")).unwrap();
    let wrong: Vec<&str> = table.lines().filter(|line| line.ends_with(",0")).collect();
    assert_eq!(table.lines().count(), 16);
    assert!(wrong.len() == 3 && wrong[0].starts_with("14,20,20,90,70,"), "{table}");
}

#[test]
fn a_registered_picture_shows_each_place_where_the_points_put_it() {
    let folder = folder();
    for device in ["cpu", "auto"] {
        let line = format!("register sar.png --points pairs.csv --size 130x100 --out out.png --device {device}");
        assert!(done(folder.path(), &line).contains("wrote out.png: 130x100 pixels"));
        let Samples::U8(out) = decode::open(&folder.path().join("out.png")).unwrap().samples else { panic!("8 bits") };
        for (x, y) in [(20, 20), (60, 45), (100, 80), (10, 80)] {
            // To the nearest pixel: the picture changes by less than 8 over half of one in both directions.
            let [u, v] = map([x as f64, y as f64]).map(|v| v.round() as usize);
            let (got, want) = (i32::from(out[v * 130 + u]), i32::from(grey(x, y)));
            assert!(abs_diff_eq!(got, want, epsilon = 10), "({x}, {y}): {got}, not {want}");
        }
        assert_eq!(out[0], 0, "nothing of the picture falls there");
    }
}

#[test]
fn on_a_geotiff_the_result_has_its_georeference() {
    let folder = folder();
    let doubles = |tag, values: &[f64]| RawTag {
        tag,
        field_type: 12,
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let georeference = vec![doubles(33550, &[10.0, 10.0, 0.0]), doubles(33922, &[0.0, 0.0, 0.0, 5e5, 6e6, 0.0])];
    let info = RasterInfo { georeference: georeference.clone(), ..RasterInfo::new(140, 110, 3, SampleType::U8) };
    let mut writer = RasterWriter::create(&folder.path().join("optical.tif"), info, 64).unwrap();
    writer.write_rows(&vec![9.0; 140 * 110 * 3]).unwrap();
    writer.finish().unwrap();
    // A source of 16 bits and two bands keeps both.
    let info = RasterInfo { description: Some("VV, VH".to_owned()), ..RasterInfo::new(120, 90, 2, SampleType::U16) };
    let mut writer = RasterWriter::create(&folder.path().join("sar.tif"), info, 64).unwrap();
    writer.write_rows(&(0..120 * 90).flat_map(|i| [1000.0 + i as f32, 60_000.0]).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    done(folder.path(), "register sar.tif --points pairs.csv --to optical.tif --out out.tif --device cpu");
    let out = Raster::open(&folder.path().join("out.tif")).unwrap();
    let info = out.info();
    assert_eq!((info.width, info.height, info.bands, info.sample), (140, 110, 2, SampleType::U16));
    assert_eq!((&info.georeference, info.description.as_deref()), (&georeference, Some("VV, VH")));
    assert_eq!(info.nodata.as_ref().map(|nodata| nodata.value), Some(0.0));
    let window = out.read_window(out.area(), &[1, 2]).unwrap();
    let [u, v] = map([60.0, 45.0]).map(|v| v.round() as usize);
    assert_eq!(window.samples[(v * 140 + u) * 2 + 1], 60_000.0);
    assert!(window.valid[v * 140 + u] && !window.valid[0]);
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("three.csv"), "1,2,3,4\n5,6,7,8\n9,1,2,3\n").unwrap();
    fs::write(path.join("line.csv"), "0,0,0,0\n10,10,10,10\n20,20,20,20\n30,30,30,30\n40,40,40,40\n").unwrap();
    fs::write(path.join("bad.csv"), "x_source,y_source,x_target,y_target\n1,2,3,4\n5,six,7,8\n").unwrap();
    fs::write(path.join("mirror.csv"), "0,0,100,0\n100,0,0,0\n100,80,0,80\n0,80,100,80\n").unwrap();
    fs::write(path.join("far.csv"), "0,0,5000,0\n100,0,5100,0\n100,80,5100,80\n0,80,5000,80\n").unwrap();
    for (line, named) in [
        ("register sar.png", &["--points"][..]),
        ("register no.png --points pairs.csv", &["no.png"]),
        ("register sar.png --points no.csv", &["no.csv"]),
        ("register pairs.csv --points pairs.csv", &["not a PNG, JPEG, TIFF or BMP", "pairs.csv"]),
        ("register sar.png --points three.csv", &["at least 4", "three.csv"]),
        ("register sar.png --points line.csv", &["lie on a line", "line.csv"]),
        ("register sar.png --points bad.csv", &["`six` in column 2", "bad.csv line 3"]),
        ("register sar.png --points mirror.csv", &["mirrors", "mirror.csv"]),
        ("register sar.png --points pairs.csv --columns a,b,c,d", &["no column a"]),
        ("register sar.png --points pairs.csv --threshold 0", &["--threshold 0"]),
        ("register sar.png --points pairs.csv --size 10", &["--size 10"]),
        ("register sar.png --points pairs.csv --size 9x9 --to sar.png", &["do not go together"]),
        ("register sar.png --points pairs.csv --out o.tif --matrix m.json", &["no grid", "--to"]),
        ("register sar.png --points pairs.csv --size 9x9 --out o.jpg", &["o.jpg", ".png"]),
        ("register sar.png --points pairs.csv --size 9x9 --out sar.png", &["overwritten", "sar.png"]),
        ("register sar.png --points pairs.csv --matrix a --residuals a", &["one file"]),
        ("register sar.png --points pairs.csv --size 9x9 --out no/o.png --device cpu", &["no/o.png"]),
        (
            "register sar.png --points far.csv --size 99x99 --out o.png --device cpu",
            &["no pixel of sar.png", "far.csv"],
        ),
    ] {
        refused(path, line, named);
    }
}
