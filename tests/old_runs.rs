//! Runs and weight files of version 0.1.0 before weights said what they are, one of every network and kind of input:
//! they colour to the same pixels, go on, and the library colours to the same bytes as the command line.
//!
//! `tests/fixtures/runs/README.md` says how they were made. Sums are rounded in another order on other processors, so a
//! level of 255 is let pass here; `check.sh` beside them holds every bit on the kind of processor that made them.

mod common;

use common::binary::done;
use huetape::engine::device::Device;
use huetape::imaging::codec::decode;
use huetape::imaging::picture::{Picture, Samples};
use huetape::paint::colorizer::{Colorizer, Options};
use huetape::run::run::Run;
use huetape::train::metadata::{Input, Metadata};
use std::fs;
use std::path::{Path, PathBuf};

const FIXTURES: &str = "tests/fixtures/runs";
/// Runs of scenes, whose weights alone are applied to the band and by the preparation of the first.
const OF_SCENES: [&str; 3] = ["colournet-scene", "window8-float", "window8-scene16"];

/// The names of all runs.
fn runs() -> Vec<String> {
    let entries = fs::read_dir(Path::new(FIXTURES).join("runs")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 14);
    names
}

fn run_of(name: &str) -> PathBuf {
    Path::new(FIXTURES).join("runs").join(name)
}

/// What the run of that name coloured, and the ending of the result.
fn input_of(name: &str) -> (PathBuf, &'static str) {
    let (input, ending) = match name {
        "spacenet" => ("rgb.png", "tif"),
        _ if OF_SCENES.contains(&name) => ("scene.tif", "tif"),
        _ => ("grey.png", "png"),
    };
    (Path::new(FIXTURES).join("inputs").join(input), ending)
}

fn expected(name: &str, file: &str) -> PathBuf {
    Path::new(FIXTURES).join("expected").join(name).join(file)
}

/// Samples as shares of their type's range.
fn shares(picture: &Picture) -> Vec<f32> {
    match &picture.samples {
        Samples::U8(values) => values.iter().map(|&value| f32::from(value) / 255.0).collect(),
        Samples::U16(values) => values.iter().map(|&value| f32::from(value) / 65_535.0).collect(),
        Samples::F32(values) => values.clone(),
    }
}

/// What is wrong with the image at `made` beside that at `wanted`, if anything is.
fn difference(made: &Path, wanted: &Path) -> Option<String> {
    let [made, wanted] = [made, wanted].map(|path| decode::open(path).unwrap());
    if made.info != wanted.info {
        return Some(format!("{:?}, not {:?}", made.info, wanted.info));
    }
    let pairs = shares(&made).into_iter().zip(shares(&wanted));
    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (most > 1.01 / 255.0).then(|| format!("a sample is off by {} of 255", most * 255.0))
}

#[test]
fn every_old_run_and_weight_file_colours_to_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::cpu();
    let mut faults = Vec::new();
    let mut compare = |name: &str, colorizer: Colorizer, label: &str| {
        let (input, ending) = input_of(name);
        let file = format!("{label}.{ending}");
        let out = folder.path().join(format!("{name}.{file}"));
        colorizer.colour_file(&input, &out).unwrap();
        faults.extend(difference(&out, &expected(name, &file)).map(|fault| format!("{name} {file}: {fault}")));
    };
    let prepared = Run::open(run_of(OF_SCENES[0])).unwrap().input().clone();
    for name in runs() {
        let run = run_of(&name);
        compare(&name, Colorizer::open_run(&device, &run).unwrap(), "run");

        let newest = Run::open(&run).unwrap().dir().list_checkpoints().unwrap().remove(0).path;
        let bytes = fs::read(&newest).unwrap();
        let mut colorizer = Colorizer::from_weights(&device, &bytes).unwrap();
        // These weights say nothing of their inputs.
        assert_eq!(colorizer.options(), &Options::default());
        if OF_SCENES.contains(&name.as_str()) {
            let options = Options { band: prepared.band, preparation: prepared.source(), ..Options::default() };
            colorizer = colorizer.with_options(options);
        }
        compare(&name, colorizer, "weights");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_library_colours_to_the_bytes_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::cpu();
    for name in runs() {
        let (input, ending) = input_of(&name);
        let [by_library, by_command] = ["library", "command"].map(|who| folder.path().join(who).with_extension(ending));
        Colorizer::open_run(&device, run_of(&name)).unwrap().colour_file(&input, &by_library).unwrap();
        let (input, run, out) = (input.display(), run_of(&name), by_command.display());
        let line = format!("colorize {input} --run {} --out {out} --overwrite --device cpu", run.display());
        done(Path::new("."), &line);
        assert!(fs::read(&by_library).unwrap() == fs::read(&by_command).unwrap(), "{name}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The losses of each step of a run, by name.
fn losses(metrics: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let lines = fs::read_to_string(metrics).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    let mut found: Vec<serde_json::Map<_, _>> = lines.lines().map(parse).collect();
    found.iter_mut().for_each(|line| {
        line.retain(|name, _| name != "seconds" && name != "images_per_s");
    });
    found
}

/// The updates that are compared: the first one's losses are those of the old weights, the next ones' tell that the
/// moments came along.
const COMPARED: usize = 3;

#[test]
fn every_old_run_goes_on_and_its_new_weights_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(FIXTURES), folder.path());
    for name in runs() {
        let steps = match name.as_str() {
            "window8-float" => "",
            "window8-val" => "--steps 6",
            "pix2pix-pairs" => "--steps 75",
            _ => "--steps 8",
        };
        let model = name.split('-').next().unwrap();
        done(folder.path(), &format!("train {model} --out runs/{name} --resume {steps} --device cpu"));
        let run = folder.path().join("runs").join(&name);
        let (wanted, made) =
            (losses(&expected("resumed", &name).join("metrics.jsonl")), losses(&run.join("metrics.jsonl")));
        // The first line is that of the last step before.
        let after = wanted[0]["step"].as_u64().unwrap() as usize;
        for (wanted, made) in wanted.iter().skip(1).zip(&made[after..]).take(COMPARED) {
            for (key, value) in wanted {
                let [a, b] = [value, &made[key]].map(|value| value.as_f64().unwrap());
                assert!(
                    (a - b).abs() <= 1e-3 * a.abs().max(0.1),
                    "{name}: {key} is {b}, was {a} at step {}",
                    wanted["step"]
                );
            }
        }
        let run = Run::open(&run).unwrap();
        let newest = run.dir().list_checkpoints().unwrap().remove(0);
        let file = huetape::engine::nn::WeightFile::read(&newest.path).unwrap();
        let metadata = Metadata::of(&file).unwrap().unwrap();
        // What is known of the targets' files stands in no setting.
        let target_files = metadata.input.target_files.clone();
        let read = Input { target_files, ..run.input().clone() };
        assert_eq!((metadata.network.as_str(), metadata.step, &metadata.input), (model, newest.step, &read), "{name}");
        assert!(metadata.trained_on.images > 0 && newest.step as usize > after, "{name}");
    }
}

/// New weights bring how their inputs are read: they colour without their run as with it.
#[test]
fn new_weights_alone_colour_as_their_run_does() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(FIXTURES), folder.path());
    let small = "--steps 1 --batch 1 --device cpu --bins kmeans:3";
    for (name, flags, input) in [
        (
            "floats",
            "--source float-source --target float-target --size 24 --band 2 --stretch 0,0.25 --despeckle lee:3",
            "scene.tif",
        ),
        ("scene", "--source scene.tif --target scene-optical.tif --size 24 --band 2 --stretch db:-25,0", "scene.tif"),
        ("relit", "--source source --target target --size 32 --lightness despeckle", "grey.png"),
        ("colours", "--images target --size 32", "rgb.png"),
    ] {
        done(folder.path(), &format!("train window8 --out new/{name} {flags} {small}"));
        let ending = input.rsplit('.').next().unwrap();
        let weights = format!("new/{name}/checkpoints/step-00000001.safetensors");
        let out = |which: &str| format!("out/{name}-{which}.{ending}");
        let colorize = |how: &str, which: &str| {
            done(folder.path(), &format!("colorize inputs/{input} {how} --out {} --device cpu", out(which)));
            fs::read(folder.path().join(out(which))).unwrap()
        };
        let by_run = colorize(&format!("--run new/{name}"), "run");
        assert!(by_run == colorize(&format!("--weights {weights}"), "weights"), "{name}");
        let path = folder.path().join("library").with_extension(ending);
        let colorizer = Colorizer::open(&Device::cpu(), folder.path().join(&weights)).unwrap();
        colorizer.colour_file(folder.path().join("inputs").join(input), &path).unwrap();
        assert!(by_run == fs::read(&path).unwrap(), "{name}");
        // A flag still counts.
        let flag = if name == "relit" { "--lightness input" } else { "--stretch 0,0.5" };
        assert!(by_run != colorize(&format!("--weights {weights} {flag}"), "flag"), "{name}");
    }
}
