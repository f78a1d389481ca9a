//! What radar products need, as a user runs it: zeros at the border, decibels told from linear values, dates together.

mod common;

use common::binary::{done, failed, huetape};
use common::rasters::{placed, read};
use huetape::imaging::codec::save::save_tiff;
use huetape::imaging::raster::{Raster, SampleType};
use huetape::imaging::synth::Scene;
use std::fs;
use tempfile::TempDir;

const SIDE: usize = 64;
const FLAGS: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 2 --steps 1";

/// Linear power of -25 to 0 dB, as floats, of a day.
fn power(day: usize) -> Vec<f32> {
    let power = |v: &u8| 10f32.powf((f32::from(*v) / 255.0 * 25.0 - 25.0) / 10.0);
    let scene = Scene::new(5, 0, SIDE);
    scene.sar(5 - day).iter().map(power).collect()
}

/// `day1.tif` and `day2.tif`, linear power whose left eighth is zero, `decibels.tif`, and `optical.tif` on their grid.
fn products() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for day in [1, 2] {
        let mut values = power(day);
        (0..SIDE * SIDE).filter(|i| i % SIDE < SIDE / 8).for_each(|i| values[i] = 0.0);
        save_tiff(&at(&format!("day{day}.tif")), placed(SIDE, 1, SampleType::F32), &values).unwrap();
    }
    let decibels: Vec<f32> = power(1).iter().map(|v| 10.0 * v.log10()).collect();
    save_tiff(&at("decibels.tif"), placed(SIDE, 1, SampleType::F32), &decibels).unwrap();
    let optical: Vec<f32> = Scene::new(5, 0, SIDE).optical().iter().map(|v| f32::from(*v)).collect();
    save_tiff(&at("optical.tif"), placed(SIDE, 3, SampleType::U8), &optical).unwrap();
    root
}

#[test]
fn zeros_at_the_border_of_a_radar_scene_are_no_data_in_training_and_colouring() {
    let root = products();
    let train = |flags: &str| {
        let line = format!("train colournet --source day1.tif --target optical.tif --stretch db:-25,0 {FLAGS} {flags}");
        let ran = huetape(root.path(), &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let said = train("--out run");
    let told: Vec<&str> = said.lines().filter(|line| line.contains("zeros at its border")).collect();
    assert!(
        told.len() == 1 && told[0].contains("day1.tif: 512 zeros") && told[0].contains("--zero-border keep"),
        "{said}"
    );
    assert!(!train("--out kept --zero-border keep").contains("zeros"));
    let holes = |flags: &str| {
        done(root.path(), &format!("colorize day1.tif --out c.tif --overwrite --device cpu {flags}"));
        read(&root.path().join("c.tif")).valid.iter().filter(|valid| !**valid).count()
    };
    assert_eq!(holes("--run run"), 512);
    assert_eq!(holes("--run kept"), 0);
    assert_eq!(holes("--run kept --zero-border nodata"), 512);
    // A folder of such tiles, and percentiles, which the zeros would move.
    for side in ["s", "t"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    fs::copy(root.path().join("day1.tif"), root.path().join("s/0.tif")).unwrap();
    fs::copy(root.path().join("optical.tif"), root.path().join("t/0.tif")).unwrap();
    let ran = huetape(root.path(), &format!("train colournet --source s --target t --out folder {FLAGS}"));
    assert!(ran.code == 0 && ran.stderr.contains("zeros at the borders of 1 of 1 sources"), "{}", ran.stderr);
    let report = |flags: &str| {
        let flags = format!("{flags} {}", FLAGS.replace("--steps 1", ""));
        done(root.path(), &format!("check-data --source s --target t --stretch percentile:10 {flags}"))
    };
    assert_ne!(report(""), report("--zero-border keep"));
}

#[test]
fn decibels_are_not_taken_for_linear_values_and_each_kind_is_named_with_its_stretch() {
    let root = products();
    let train = |source: &str, stretch: &str| {
        format!("train colournet --source {source} --target optical.tif --out run --stretch {stretch} {FLAGS}")
    };
    failed(root.path(), &train("decibels.tif", "db:-25,0"), 2, &["in dB already", "decibels.tif", "--stretch LO,HI"]);
    done(root.path(), &train("decibels.tif", "-25,0"));
    let check = |source: &str| {
        let flags = FLAGS.replace("--steps 1", "");
        done(root.path(), &format!("check-data --source {source} --target optical.tif {flags}"))
    };
    let said = check("decibels.tif");
    assert!(said.contains("sources seem to be decibels (f32): --stretch -2"), "{said}");
    assert!(said.contains("targets seem to be 8-bit values (u8): --target-stretch none fits"), "{said}");
    assert!(check("day1.tif").contains("sources seem to be linear radar power (f32): --stretch db:-2"));
}

#[test]
fn dates_are_averaged_or_read_together() {
    let root = products();
    let data = "--source day1.tif,day2.tif --target optical.tif --stretch db:-25,0";
    done(root.path(), &format!("train colournet {data} --out mean {FLAGS}"));
    // The same as the mean of the files.
    let (a, b) = (read(&root.path().join("day1.tif")), read(&root.path().join("day2.tif")));
    let mean: Vec<f32> = a.samples.iter().zip(&b.samples).map(|(a, b)| (a + b) / 2.0).collect();
    save_tiff(&root.path().join("mean.tif"), placed(SIDE, 1, SampleType::F32), &mean).unwrap();
    let colours = |from: &str, out: &str| {
        done(root.path(), &format!("colorize {from} --out {out} --device cpu"));
        read(&root.path().join(out))
    };
    let together = colours("day1.tif,day2.tif --run mean", "a.tif");
    assert!(together == colours("mean.tif --run mean", "b.tif"));
    assert!(together != colours("day1.tif --run mean", "c.tif"));

    done(root.path(), &format!("train colournet {data} --out bands {FLAGS} --looks bands --bands 1"));
    let described = done(root.path(), "inspect bands/checkpoints/step-00000001.safetensors");
    assert!(described.contains("bands 1") && described.contains("looks bands"), "{described}");
    assert!(colours("day1.tif,day2.tif --run bands", "d.tif") != colours("day2.tif,day1.tif --run bands", "e.tif"));
    failed(root.path(), "colorize day1.tif --run bands --out f.tif --device cpu", 2, &["number of bands is 1, not 2"]);
    // Goes on from anywhere: both paths are whole in the settings.
    let settings = fs::read_to_string(root.path().join("bands/config.toml")).unwrap();
    let source = settings.lines().find(|line| line.starts_with("source = ")).unwrap();
    assert_eq!(source.matches(&root.path().canonicalize().unwrap().display().to_string()).count(), 2, "{source}");

    // Folders, a date each.
    for (folder, file) in [("d1", "day1.tif"), ("d2", "day2.tif"), ("t", "optical.tif")] {
        fs::create_dir(root.path().join(folder)).unwrap();
        fs::copy(root.path().join(file), root.path().join(folder).join("0.tif")).unwrap();
    }
    let folders = "--source d1,d2 --target t --stretch db:-25,0 --looks bands --bands 1";
    done(root.path(), &format!("train colournet {folders} --out folders {FLAGS}"));
    done(root.path(), "evaluate --run folders --source d1,d2 --target t --device cpu");
    fs::rename(root.path().join("d2/0.tif"), root.path().join("d2/1.tif")).unwrap();
    let line = format!("train colournet {folders} --out other {FLAGS}");
    failed(root.path(), &line, 2, &["another date has no image of this name", "d1/0.tif"]);
    failed(root.path(), &line.replace("--bands 1", ""), 2, &["--looks bands", "--bands"]);
}

/// The command lines of a page: those in its blocks that begin with the program's name.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("huetape ")).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_page_on_scenes_runs_on_scenes_of_these_kinds() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (one, two) = (power(1), power(2));
    let both: Vec<f32> = one.iter().zip(&two).flat_map(|(a, b)| [*a, *b / 4.0]).collect();
    let decibels: Vec<f32> = both.iter().map(|v| 10.0 * v.log10()).collect();
    let colours: Vec<f32> = Scene::new(5, 0, SIDE).optical().iter().map(|v| f32::from(*v)).collect();
    let four: Vec<f32> =
        colours.chunks_exact(3).flat_map(|c| [c[0], c[1], c[2], 255.0 - c[0]]).map(|v| 11.0 * v).collect();
    for name in ["scene_vh.tif", "vh.tif", "other_vh.tif", "may.tif", "june.tif"] {
        save_tiff(&at(name), placed(SIDE, 1, SampleType::F32), if name == "june.tif" { &two } else { &one }).unwrap();
    }
    for name in ["vv_vh.tif", "sigma0.tif", "other_sigma0.tif", "new_sigma0.tif"] {
        save_tiff(&at(name), placed(SIDE, 2, SampleType::F32), &both).unwrap();
    }
    for name in ["s2.tif", "other_s2.tif"] {
        save_tiff(&at(name), placed(SIDE, 4, SampleType::U16), &four).unwrap();
    }
    save_tiff(&at("optical.tif"), placed(SIDE, 3, SampleType::U8), &colours).unwrap();
    let classes: Vec<f32> = (0..SIDE * SIDE).map(|i| (1 + i % 3) as f32).collect();
    save_tiff(&at("land_cover.tif"), placed(SIDE, 1, SampleType::U8), &classes).unwrap();
    for folder in ["s1", "s2"] {
        fs::create_dir(at(folder)).unwrap();
    }
    save_tiff(&at("s1/0.tif"), placed(SIDE, 2, SampleType::F32), &decibels).unwrap();
    save_tiff(&at("s2/0.tif"), placed(SIDE, 4, SampleType::U16), &four).unwrap();

    let small = "--size 32 --steps 1 --batch 1 --width 0.05 --device cpu --threads 1";
    done(root.path(), &format!("train colournet --source vh.tif --target optical.tif --out runs/first {small}"));
    let lines = commands(include_str!("../docs/scenes.md"));
    assert!(lines.len() >= 14, "{lines:?}");
    for line in lines {
        let flags = match line.split_once(' ').unwrap().0 {
            "train" => small,
            "check-data" => "--size 32 --width 0.05 --device cpu",
            "colorize" if line.contains("--overwrite") => "--device cpu",
            "colorize" => "--device cpu --overwrite",
            _ => "--device cpu",
        };
        done(root.path(), &format!("{line} {flags}"));
    }
    let coloured = Raster::open(&at("coloured.tif")).unwrap();
    assert_eq!((coloured.info().bands, coloured.info().is_placed()), (3, true));
}
