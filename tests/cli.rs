//! The binary as a user runs it: what it makes, and how it refuses bad input.
//!
//! Every run that computes names `--device cpu`: what is tested here does not depend on a driver.
// Long because: one case a way to be wrong, all of one kind.

mod common;

use common::binary::{done, huetape, listing, refused};
use huetape::engine::nn::{StateTensor, WeightFile, save_tensors};
use huetape::imaging::codec::save::{save_png, save_tiff};
use huetape::imaging::raster::{Raster, RasterInfo, RawTag, SampleType};
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Flags of the smallest training: one update of a narrow network on a crop of 16 pixels.
const TINY: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";

/// A folder with `source` and `target`: two synthetic scenes of 64 pixels, SAR and optical.
fn pictures() -> TempDir {
    pictures_of(64)
}

fn pictures_of(size: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for index in 0..2 {
        let scene = Scene::new(5, index, size);
        let name = format!("{index}.png");
        save_png(&root.path().join("source").join(&name), &scene.sar(4), size, size, None).unwrap();
        save_png(&root.path().join("target").join(&name), &scene.optical(), size, size, None).unwrap();
    }
    root
}

/// `train` with the pictures of [`pictures`] and the tiny settings.
fn train(flags: &str) -> String {
    format!("train colournet --source source --target target --out run {TINY} {flags}")
}

/// The weights of one tiny training in `folder/run`.
fn trained(folder: &Path) -> PathBuf {
    done(folder, &train(""));
    let checkpoints = listing(&folder.join("run/checkpoints"));
    checkpoints.into_iter().find(|path| path.extension().is_some_and(|e| e == "safetensors")).unwrap()
}

fn cut_short(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_run_that_diverges_stops_by_name_and_saves_nothing_broken() {
    let root = pictures();
    let ran = huetape(root.path(), &train("--steps 5 --checkpoint-every 1 --lr 1e30"));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("at step ") && error.contains("last good checkpoint: "), "{error}");
    for path in listing(&root.path().join("run/checkpoints")) {
        let file = WeightFile::read(&path).unwrap();
        let finite =
            |name: &str| name == "train.best_loss" || file.get(name).unwrap().data.iter().all(|v| v.is_finite());
        assert!(file.names().all(finite), "{}", path.display());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let root = tempfile::tempdir().unwrap();
    for line in ["--help", "train --help", "inspect summary --help", "doctor --help"] {
        assert!(done(root.path(), line).contains("huetape "), "{line}");
    }
    assert_eq!(done(root.path(), "--version"), format!("huetape {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_cannot_be_read_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    refused(root.path(), "", &["no command", "huetape --help"]);
    refused(root.path(), "inspect", &["no command", "huetape inspect --help"]);
    refused(root.path(), "trian", &["no such command", "trian"]);
    refused(root.path(), "xyzzy", &["no such command", "xyzzy", "`huetape --help`"]);
    refused(root.path(), "train", &["something is missing", "<MODEL>"]);
    refused(root.path(), "train colournet --bathc 3", &["no such flag", "--bathc", "--batch"]);
    refused(root.path(), "train colournet --batch x", &["--batch x"]);
    refused(root.path(), "train nonesuch", &["nonesuch", "colournet"]);
    refused(root.path(), "profile colournet --pass sideways", &["--pass", "sideways", "forward"]);
    refused(root.path(), "inspect summary colournet --run r", &["--run"]);
}

#[test]
fn train_refuses_data_that_cannot_be_trained_on() {
    /// Spoils the data in a folder.
    type Spoil = fn(&Path);
    let cases: &[(&str, Spoil, &[&str])] = &[
        ("no such folder", |root| fs::rename(root.join("target"), root.join("elsewhere")).unwrap(), &["target"]),
        (
            "no images",
            |root| {
                for name in ["0.png", "1.png"] {
                    fs::remove_file(root.join("source").join(name)).unwrap();
                }
            },
            &["source"],
        ),
        (
            "without its target",
            |root| fs::remove_file(root.join("target/1.png")).unwrap(),
            &["source/1.png", "target/1.png"],
        ),
        (
            "differ in size",
            |root| save_png(&root.join("source/1.png"), &[7; 64 * 60], 64, 60, None).unwrap(),
            &["source/1.png", "target/1.png", "64x60"],
        ),
        ("error: ", |root| cut_short(&root.join("target/1.png")), &["target/1.png"]),
        ("error: ", |root| cut_short(&root.join("source/0.png")), &["source/0.png"]),
        ("error: ", |root| fs::write(root.join("source/1.png"), "no picture at all").unwrap(), &["source/1.png"]),
    ];
    for (what, spoil, named) in cases {
        let root = pictures();
        spoil(root.path());
        refused(root.path(), &train(""), &[&[*what][..], named].concat());
    }
}

#[test]
fn validation_pictures_that_cannot_be_read_are_refused_before_the_training() {
    let root = pictures();
    for side in ["source", "target"] {
        fs::create_dir(root.path().join(format!("val-{side}"))).unwrap();
        let name = |folder: &str| root.path().join(folder).join("0.png");
        fs::copy(name(side), name(&format!("val-{side}"))).unwrap();
    }
    cut_short(&root.path().join("val-target/0.png"));
    refused(root.path(), &train("--val-source val-source --val-target val-target"), &["val-target/0.png"]);
}

#[test]
fn train_refuses_settings_that_make_no_sense() {
    let root = pictures();
    let refused = |line: &str, named: &[&str]| refused(root.path(), line, named);
    refused(&train("--size 72"), &["smaller than the crop of 72x72", "source/0.png", "--size 64"]);
    refused(&train("--bins kmeans:0"), &["--bins kmeans:0"]);
    refused(&train("--width 0"), &["--width 0"]);
    refused(&train("--device gpu:nonesuch"), &["--device gpu:nonesuch"]);
    refused(&train("--device nonesuch"), &["--device nonesuch"]);
    refused(&train("--width 0.25 --memory 1M"), &["--memory 1.0 MiB"]);
    refused(&train("--memory lots"), &["--memory lots"]);
    refused(&train("--threads 0"), &["--threads 0"]);
    refused("train colournet --device cpu", &["nothing to train on"]);
    fs::create_dir(root.path().join("run")).unwrap();
    fs::write(root.path().join("run/notes.txt"), "mine").unwrap();
    refused(&train(""), &["exists", "run", "--resume"]);
}

#[test]
fn a_trained_network_colours_pictures_of_any_size() {
    let root = pictures();
    let weights = trained(root.path());
    assert!(root.path().join("run/report.html").is_file());
    for (width, height) in [(1, 1), (33, 21)] {
        save_png(&root.path().join("grey.png"), &vec![90; width * height], width, height, None).unwrap();
        done(root.path(), "colorize grey.png --run run --out colour.png --overwrite --device cpu");
        let picture = huetape::imaging::codec::decode::open(&root.path().join("colour.png")).unwrap();
        assert_eq!((picture.info.width, picture.info.height, picture.info.bands), (width, height, 3));
    }
    let colour = fs::read(root.path().join("colour.png")).unwrap();
    let line = format!("colorize grey.png --weights {} --out folder/a.png --device cpu", weights.display());
    done(root.path(), &line);
    assert!(fs::read(root.path().join("folder/a.png")).unwrap() == colour, "a run and its weights colour alike");
}

/// Dropout at work: its numbers too must go on where they were.
#[test]
fn pix2pix_trains_goes_on_bit_for_bit_and_colours_pictures_of_any_size() {
    let root = pictures_of(256);
    let train = |run: &str, flags: &str| {
        let paths = "--source source --target target --val-source source --val-target target";
        format!("train pix2pix {paths} --out {run} --device cpu --width 0.01 --checkpoint-every 2 {flags}")
    };
    done(root.path(), &train("whole", "--steps 4"));
    done(root.path(), &train("parts", "--steps 2"));
    done(root.path(), &train("parts", "--steps 4 --resume"));
    let last = |run: &str| fs::read(root.path().join(run).join("checkpoints/step-00000004.safetensors")).unwrap();
    assert!(last("whole") == last("parts"));

    let metrics = fs::read_to_string(root.path().join("whole/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
    for line in metrics.lines() {
        let step: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(["g_loss", "d_loss", "l1"].iter().all(|name| step[name].as_f64().unwrap() > 0.0), "{line}");
    }
    let report = fs::read_to_string(root.path().join("whole/report.html")).unwrap();
    assert!(report.contains("Generator&#39;s loss") || report.contains("Generator's loss"));

    save_png(&root.path().join("grey.png"), &[90; 300 * 40], 300, 40, None).unwrap();
    done(root.path(), "colorize grey.png --run whole --out colour.png --device cpu");
    let picture = huetape::imaging::codec::decode::open(&root.path().join("colour.png")).unwrap();
    assert_eq!((picture.info.width, picture.info.height, picture.info.bands), (300, 40, 3));
}

#[test]
fn pix2pix_refuses_settings_that_make_no_sense() {
    let root = pictures_of(256);
    let train = |flags: &str| format!("train pix2pix --source source --target target --out run --device cpu {flags}");
    for flags in ["--size 264", "--bins gamut", "--dropout 1", "--leaky-slope 0", "--lr-d 0", "--input-channels 0"] {
        refused(root.path(), &train(flags), &[flags.split(' ').next().unwrap()]);
    }
    refused(root.path(), &train("--size 512"), &["smaller than the crop of 512x512"]);
    refused(root.path(), "train colournet --images target --out run --device cpu --dropout 0.5", &["--dropout"]);
    done(root.path(), &train("--width 0.01 --steps 1"));
    let colournet = "train colournet --source source --target target --out run --device cpu --resume";
    refused(root.path(), colournet, &["pix2pix"]);
    let summary = done(root.path(), "inspect summary --run run");
    for text in ["generator\n", "discriminator\n", "g.up7.bn", "30 x 30 x 1"] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    refused(root.path(), "inspect summary --run run --q 20", &["--q"]);
    refused(root.path(), "inspect summary --run run --width 0.5", &["--width 0.5"]);
    let init = "--out other --init run/checkpoints/step-00000001.safetensors";
    refused(root.path(), &train(&format!("{init} --width 0.5")), &["--width 0.5"]);
    refused(root.path(), &train(&format!("{init} --input-channels 3")), &["--input-channels 3"]);
    done(root.path(), &train(&format!("{init} --steps 1")));
}

/// Three bands to four, and back into a GeoTIFF's place.
#[test]
fn spacenet_trains_on_any_bands_goes_on_bit_for_bit_and_makes_them() {
    let root = tempfile::tempdir().unwrap();
    for side in ["rgb", "four"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    let four = |size: usize| RasterInfo::new(size, size, 4, SampleType::U8);
    for index in 0..2 {
        let scene = Scene::new(5, index, 40);
        let spectral: Vec<f32> = scene.multispectral().into_iter().map(f32::from).collect();
        save_png(&root.path().join(format!("rgb/{index}.png")), &scene.optical(), 40, 40, None).unwrap();
        save_tiff(&root.path().join(format!("four/{index}.tif")), four(40), &spectral).unwrap();
    }
    let flags = "--width 0.05 --size 32 --batch 2 --steps 4 --checkpoint-every 2 --val-source rgb --val-target four";
    let train = format!("train spacenet --source rgb --target four --out run --device cpu {flags}");
    let table = done(root.path(), &train);
    assert!(table.contains("PSNR of band 4") && table.contains("regression") && !table.contains("ab error"), "{table}");
    let last = root.path().join("run/checkpoints/step-00000004.safetensors");
    let whole = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    done(root.path(), &format!("{train} --resume"));
    assert!(fs::read(&last).unwrap() == whole);
    let metrics = fs::read_to_string(root.path().join("run/metrics.jsonl")).unwrap();
    assert!(metrics.lines().count() == 4 && metrics.contains("\"mse\":"), "{metrics}");
    let strip = image::open(root.path().join("run/samples/step-00000004-1.png")).unwrap();
    assert_eq!((strip.width(), strip.height()), (5 * 40 + 4 * 4, 40));

    let place = RawTag { tag: 33550, field_type: 12, bytes: [10.0f64, 10.0, 0.0].map(f64::to_le_bytes).concat() };
    let source = RasterInfo { georeference: vec![place.clone()], ..RasterInfo::new(9, 7, 3, SampleType::U16) };
    save_tiff(&root.path().join("scene.tif"), source, &[30_000.0; 9 * 7 * 3]).unwrap();
    done(root.path(), "colorize scene.tif --run run --out made.tif --device cpu");
    let made = Raster::open(&root.path().join("made.tif")).unwrap();
    let info = made.info();
    assert_eq!((info.width, info.height, info.bands, info.sample), (9, 7, 4, SampleType::U16));
    assert_eq!(info.georeference, [place]);
    done(root.path(), "colorize rgb --run run --out made/ --device cpu");
    assert!(root.path().join("made/1.tif").is_file());
    refused(root.path(), "colorize scene.tif --run run --out made.png --device cpu", &["4 bands", "made.png", ".tif"]);
    refused(root.path(), "colorize four --run run --out other/ --device cpu", &["is 4, not 3", "four/0.tif"]);

    fs::copy(root.path().join("rgb/0.png"), root.path().join("four/0.png")).unwrap();
    fs::remove_file(root.path().join("four/0.tif")).unwrap();
    // Of two pictures that differ, the one of more bands counts.
    refused(root.path(), &train.replace("run ", "other "), &["is 3, not 4", "four/0.png"]);
}

/// Patches with their turns, noise and labels: every random number must go on where it was.
#[test]
fn sicgan_trains_goes_on_bit_for_bit_and_colours_pictures_of_any_size() {
    let root = pictures();
    let flags = "--width 0.05 --size 24 --patches 10 --batch 4 --epochs 2 --checkpoint-every 4 --val-source source";
    let train = format!("train sicgan --images target --out run --device cpu {flags}");
    done(root.path(), &train);
    let last = root.path().join("run/checkpoints/step-00000006.safetensors");
    let metrics = || {
        let text = fs::read_to_string(root.path().join("run/metrics.jsonl")).unwrap();
        let losses = |line: &str| {
            let step: serde_json::Value = serde_json::from_str(line).unwrap();
            ["g_loss", "d_loss", "l1"].map(|name| step[name].as_f64().unwrap())
        };
        text.lines().map(losses).collect::<Vec<_>>()
    };
    let whole = (fs::read(&last).unwrap(), metrics());
    // Two epochs of batches of 4, 4 and 2.
    assert_eq!(whole.1.len(), 6);
    fs::remove_file(&last).unwrap();
    done(root.path(), &format!("{train} --resume"));
    assert!(whole == (fs::read(&last).unwrap(), metrics()));

    let report = fs::read_to_string(root.path().join("run/report.html")).unwrap();
    assert!(report.contains("D loss, batch 1") && !report.contains("batch 101"));
    // Lightness, prediction and truth of a whole picture of 64 pixels, not of one patch.
    let sample = huetape::imaging::codec::decode::open(&root.path().join("run/samples/step-00000006-1.png")).unwrap();
    assert_eq!((sample.info.width, sample.info.height), (3 * 64 + 2 * 4, 64));
    save_png(&root.path().join("grey.png"), &[90; 61 * 40], 61, 40, None).unwrap();
    done(root.path(), "colorize grey.png --run run --out colour.png --device cpu");
    done(root.path(), &format!("colorize grey.png --weights {} --out alone.png --device cpu", last.display()));
    let picture = huetape::imaging::codec::decode::open(&root.path().join("alone.png")).unwrap();
    assert_eq!((picture.info.width, picture.info.height, picture.info.bands), (61, 40, 3));

    let init = format!("train sicgan --images target --out other --device cpu --init {}", last.display());
    refused(root.path(), &format!("{init} --width 0.5 --size 24 --patches 10"), &["--width 0.5"]);
    done(root.path(), &format!("{init} --size 16 --patches 8 --batch 8 --epochs 1 --no-shuffle"));
    refused(root.path(), "train sicgan --images target --out none --device cpu", &["smaller than the crop of 128x128"]);
    refused(
        root.path(),
        "train sicgan --images target --out none --device cpu --size 24 --patches 1",
        &["--patches 1"],
    );
}

#[test]
fn colorize_refuses_bad_pictures_and_leaves_nothing() {
    let root = pictures();
    trained(root.path());
    fs::create_dir(root.path().join("empty")).unwrap();
    fs::write(root.path().join("text.png"), "no picture at all").unwrap();
    fs::copy(root.path().join("source/0.png"), root.path().join("cut.png")).unwrap();
    cut_short(&root.path().join("cut.png"));
    let colorize = |input: &str| format!("colorize --run run --out out/ --device cpu {input}");
    for input in ["nonesuch.png", "empty", "text.png", "cut.png"] {
        refused(root.path(), &colorize(input), &[input]);
    }
    refused(root.path(), "colorize source --run nonesuch --out out --device cpu", &["nonesuch"]);
    refused(root.path(), "colorize source --run run --weights w --device cpu", &["--run", "--weights"]);
    refused(root.path(), "colorize source --weights none --out out --device cpu", &["none"]);
    refused(root.path(), &colorize("source --device gpu:nonesuch"), &["--device gpu:nonesuch"]);
    refused(root.path(), &colorize("source --memory 10K"), &["--memory 10.0 KiB"]);
    refused(root.path(), &colorize("source --temperature 0"), &["--temperature 0"]);
}

#[test]
fn a_faulty_weight_file_is_refused_wherever_it_is_read() {
    let root = pictures();
    let good = WeightFile::read(&trained(root.path())).unwrap();
    let tensors: Vec<StateTensor> = good.names().filter_map(|name| good.get(name).cloned()).collect();
    let save = |name: &str, tensors: &[StateTensor]| save_tensors(tensors, &root.path().join(name)).unwrap();

    save("cut.safetensors", &tensors);
    cut_short(&root.path().join("cut.safetensors"));
    fs::write(root.path().join("text.safetensors"), "no weights at all").unwrap();
    let missing: Vec<StateTensor> = tensors.iter().filter(|tensor| tensor.name != "bn3.mean").cloned().collect();
    save("missing.safetensors", &missing);
    let spoilt = |spoil: &dyn Fn(&mut StateTensor)| {
        let mut tensors = tensors.clone();
        tensors.iter_mut().filter(|tensor| tensor.name == "conv2_1.weight").for_each(spoil);
        tensors
    };
    let reshaped = spoilt(&|tensor| {
        tensor.shape[2] *= 2;
        tensor.data.extend(tensor.data.clone());
    });
    save("shape.safetensors", &reshaped);
    save("nan.safetensors", &spoilt(&|tensor| tensor.data[3] = f32::NAN));

    let cases = [
        ("nonesuch.safetensors", ""),
        ("cut.safetensors", ""),
        ("text.safetensors", ""),
        ("missing.safetensors", "bn3.mean"),
        ("shape.safetensors", "conv2_1.weight"),
        ("nan.safetensors", "conv2_1.weight"),
    ];
    for (file, tensor) in cases {
        let named = [file, tensor];
        refused(root.path(), &format!("colorize source --weights {file} --out out --device cpu"), &named);
        refused(root.path(), &format!("inspect summary --weights {file}"), &named);
        let line = format!(
            "train colournet --source source --target target --out other {} --init {file}",
            TINY.replace("--width 0.05", "")
        );
        refused(root.path(), &line, &named);
    }
}

#[test]
fn a_dry_run_and_check_data_say_what_a_step_costs_and_make_nothing() {
    let root = pictures();
    let before = listing(root.path());
    // The last of repeated flags wins.
    let dry = done(root.path(), &train("--dry-run --width 0 --width 0.05"));
    let data = "--source source --target target --size 16 --batch 1 --width 0.05 --device cpu";
    let checked = done(root.path(), &format!("check-data {data}"));
    for line in ["device: cpu", "step: ", "memory on the device: "] {
        assert!(dry.contains(line) && checked.contains(line), "{dry}\n{checked}");
    }
    let head = "usable: 2 pictures\nsizes: 64x64\nsources seem to be 8-bit values (u8): --stretch none fits\n";
    assert!(checked.starts_with(head) && checked.contains("\nsource values: "), "{checked}");
    assert_eq!(listing(root.path()), before);
}

#[test]
fn check_data_lists_every_fault_before_it_refuses() {
    let root = pictures();
    fs::write(root.path().join("source/text.png"), "no picture at all").unwrap();
    fs::write(root.path().join("target/text.png"), "no picture at all").unwrap();
    save_png(&root.path().join("source/lone.png"), &[1; 64 * 64], 64, 64, None).unwrap();
    for side in ["source", "target"] {
        save_png(&root.path().join(side).join("small.png"), &vec![1; 8 * 64], 8, 64, None).unwrap();
    }
    let line = "check-data --source source --target target --size 16 --device cpu";
    refused(root.path(), line, &["3 faults", "source and target"]);
    let report = huetape(root.path(), line).stdout;
    let refusals = report.split_once("`train` would refuse:").expect("a list of faults").1;
    for name in ["source/lone.png", "text.png", "small.png", "add target/lone.png"] {
        assert!(refusals.contains(name), "{name} is not listed: {report}");
    }
    refused(root.path(), "check-data --images nonesuch --device cpu", &["nonesuch"]);
    refused(root.path(), "check-data --source source --device cpu", &["--source"]);
}

#[test]
fn inspect_summary_adds_up() {
    let root = pictures();
    let published = done(root.path(), "inspect summary colournet");
    for text in ["24,788,050", "24,783,314", "4,736", "64 x 64 x 274", "conv 3x3/2"] {
        assert!(published.contains(text), "{text}: {published}");
    }
    trained(root.path());
    let narrow = done(root.path(), "inspect summary --run run --size 16");
    assert!(narrow.contains("16 x 16 x 1") && narrow.contains("4 x 4 x "), "{narrow}");
    let window8 = done(root.path(), "inspect summary window8 --q 20");
    for text in ["32 x 32 x 1", "30 x 30 x 3", "16 x 16 x 20", "conv 3x3, relu"] {
        assert!(window8.contains(text), "{text}: {window8}");
    }
    refused(root.path(), "inspect summary window8 --size 16", &["--size 16"]);
    refused(root.path(), "inspect summary pix2pix --q 20", &["--q"]);
    refused(root.path(), "inspect summary", &["something is missing"]);
    refused(root.path(), "inspect summary colournet --width 0", &["--width 0"]);
    refused(root.path(), "inspect summary colournet --size 20", &["--size 20"]);
    refused(root.path(), "inspect summary --run source", &["source"]);
}

#[test]
fn profile_times_a_pass_and_its_launches() {
    let root = tempfile::tempdir().unwrap();
    let tiny = "--size 16 --batch 2 --width 0.05 --q 20 --iters 3 --device cpu";
    for (pass, kernel) in [("forward", "softmax"), ("train", "adam")] {
        let printed = done(root.path(), &format!("profile colournet --pass {pass} {tiny} --json {pass}.json"));
        assert!(printed.contains("median") && printed.contains("conv2d") && printed.contains("--all"), "{printed}");
        let text = fs::read_to_string(root.path().join(format!("{pass}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let seconds = ["seconds_min", "seconds_median", "seconds_max"].map(|key| json[key].as_f64().unwrap());
        assert!(seconds[0] > 0.0 && seconds.is_sorted(), "{seconds:?}");
        assert!(json["peak_bytes"].as_u64().unwrap() > 1000);
        assert_eq!((json["device"].as_str(), json["pass"].as_str()), (Some("cpu"), Some(pass)));
        let launches = json["launches"].as_array().unwrap();
        assert!(launches.iter().any(|launch| launch["kernel"] == kernel), "no {kernel} in a {pass} pass");
        assert!(launches.iter().all(|launch| launch["seconds"].as_f64().is_some() && launch["shapes"].is_string()));
        if !cfg!(feature = "gpu") {
            continue;
        }
        assert!(printed.contains("\nroofline: ") || printed.starts_with("roofline: "), "{printed}");
        let roof = ["gflops", "gbs", "launch_us"].map(|key| json["roofline"][key].as_f64().unwrap());
        assert!(roof.iter().all(|value| *value > 0.0), "{roof:?}");
        for launch in launches {
            let [flops, bytes, seconds, gflops, gbs, share] =
                ["flops", "bytes", "seconds", "gflops", "gbs", "share"].map(|key| launch[key].as_f64().unwrap());
            assert!(bytes >= 4.0 && (gbs * seconds * 1e9 - bytes).abs() < 1e-6 * bytes, "{launch}");
            assert!((gflops * seconds * 1e9 - flops).abs() <= 1e-6 * flops, "{launch}");
            let least = (flops / roof[0]).max(bytes / roof[1]) / 1e9;
            assert!((share * seconds - least).abs() < 1e-6 * least, "{launch}");
        }
        // A convolution multiplies each element that it reads several times.
        let first = launches.iter().find(|launch| launch["kernel"] == "conv2d").unwrap();
        assert!(first["flops"].as_f64().unwrap() > first["bytes"].as_f64().unwrap() / 4.0, "{first}");
    }
    let kept = "--size 32 --batch 2 --width 0.05 --q 20 --iters 1 --device cpu";
    done(root.path(), &format!("profile colournet --pass train {kept} --activations f16 --json f16.json"));
    let text = fs::read_to_string(root.path().join("f16.json")).unwrap();
    assert!(text.contains("\"to_f16\"") && text.contains("\"from_f16\""), "activations were kept otherwise");
    let other = format!("profile colournet --pass train {kept} --baseline f16.json");
    refused(root.path(), &other, &["another activations: \"f16\" there, null here"]);
    let both = "--pass train --recompute --activations f16 --device cpu";
    refused(root.path(), &format!("profile colournet {both}"), &["--activations f16 beside --recompute"]);
    refused(root.path(), "profile colournet --pass forward --activations f16", &["--activations", "--pass train"]);
    let pair = "--width 0.01 --iters 1 --device cpu --json pair.json";
    done(root.path(), &format!("profile pix2pix --pass train {pair}"));
    let text = fs::read_to_string(root.path().join("pair.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["size"].as_u64(), json["bins"].as_u64()), (Some(256), None));
    refused(root.path(), &format!("profile pix2pix --pass train {pair} --size 200"), &["--size 200"]);
    for (flags, named) in
        [("--size 12", "--size 12"), ("--iters 0", "--iters 0"), ("--memory 10K", "--memory 10.0 KiB")]
    {
        let line = format!("profile colournet --pass forward {tiny} {flags} --json bad.json");
        refused(root.path(), &line, &[named]);
    }
}

#[test]
fn window8_trains_on_small_pictures_and_colours_any() {
    let root = pictures();
    let flags = "--bins kmeans:12 --batch 2 --steps 2 --device cpu";
    done(root.path(), &format!("train window8 --source source --target target --out run {flags}"));
    done(root.path(), "colorize source --run run --out coloured --device cpu");
    let coloured = image::open(root.path().join("coloured/0.png")).unwrap();
    assert_eq!((coloured.width(), coloured.height()), (64, 64));
    assert!(done(root.path(), "inspect summary --run run").contains("conv8"));
    let line = "train colournet --source source --target target --out other --device cpu --size 16";
    let file = "run/checkpoints/step-00000002.safetensors";
    refused(root.path(), &format!("{line} --init {file}"), &["window8", file]);
    let line = "train window8 --source source --target target --out other --device cpu";
    refused(root.path(), &format!("{line} --width 0.5"), &["--width"]);
    refused(root.path(), &format!("{line} --size 16"), &["--size 16"]);
}

#[test]
fn doctor_on_the_cpu_runs_the_twins_and_asks_no_driver() {
    let root = tempfile::tempdir().unwrap();
    let ran = huetape(root.path(), "doctor --device cpu");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("only the CPU twins") && !ran.stdout.contains("FAIL"), "{}", ran.stdout);
    for op in huetape::engine::ops::OPS.iter().chain(huetape::imaging::ops::OPS).map(|op| op.name) {
        assert!(ran.stdout.contains(op), "{op} was not tested: {}", ran.stdout);
    }
    refused(root.path(), "doctor --device gpu:nonesuch", &["--device gpu:nonesuch"]);
}
