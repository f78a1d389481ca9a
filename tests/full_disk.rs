//! Disks that are full at every write: a limit on the size of files, which every user may set, fails the first write
//! that goes beyond it. Nothing is left half written, every message is one line, and a training goes on from before.
#![cfg(unix)]

mod common;

use common::binary::{done, listing, scenes};
use huetape::imaging::codec::save::{save_png, save_tiff};
use huetape::imaging::raster::{RasterInfo, SampleType};
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the binary, whose files may have so many blocks of `ulimit -f`; its exit code and its lines of error.
fn limited(folder: &Path, blocks: usize, line: &str) -> (i32, Vec<String>) {
    let program = assert_cmd::cargo::cargo_bin("huetape");
    // Without the trap the system would end the process; programs are told so by an error too, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {} {line}", program.display());
    let mut command = Command::new("sh");
    command.current_dir(folder).env_remove("HUETAPE_DEVICE").arg("-c").arg(script);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors = said.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect();
    (output.status.code().unwrap(), errors)
}

const TINY: &str = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1";

fn train(flags: &str) -> String {
    let data = "--source source --target target --val-source source --val-target target";
    format!("train colournet {data} --out run {TINY} {flags}")
}

fn assert_nothing_unfinished(folder: &Path) {
    let left: Vec<_> =
        listing(folder).into_iter().filter(|path| path.display().to_string().contains(".unfinished")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The steps and losses of the metrics, without what a clock says.
fn losses(folder: &Path) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let of = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap())
    };
    text.lines().map(of).collect()
}

/// Which of a run's files a message is about.
fn kind(error: &str) -> &'static str {
    let kinds =
        ["config.toml", "statistics.json", "metrics.jsonl", "samples/", "best.safetensors", "step-", "report.html"];
    kinds.into_iter().find(|kind| error.contains(kind)).unwrap_or_else(|| panic!("{error}"))
}

/// Blocks that hold a file of so many bytes and a little more, up to twice as much where a block is 1 KiB.
fn blocks(bytes: usize) -> usize {
    (bytes + bytes / 8) / 512 + 1
}

fn length(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

#[test]
fn a_training_that_finds_no_room_for_a_file_leaves_what_was_there_and_goes_on_later() {
    let root = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    // Large enough for samples that are larger than the statistics.
    let scene = Scene::new(5, 0, 160);
    save_png(&root.path().join("source/0.png"), &scene.sar(4), 160, 160, None).unwrap();
    save_png(&root.path().join("target/0.png"), &scene.optical(), 160, 160, None).unwrap();
    let run = root.path().join("run");
    let line = train("--steps 4 --checkpoint-every 2 --sample-every 2 --keep 1");
    let resumed = format!("{line} --resume");
    done(root.path(), &line);
    let last = run.join("checkpoints/step-00000004.safetensors");
    let (whole, all) = (fs::read(&last).unwrap(), losses(root.path()));
    let [config, statistics] = ["config.toml", "statistics.json"].map(|name| length(&run.join(name)));
    let sample = length(&run.join("samples/step-00000004-1.png"));
    let sizes = [config, statistics, sample, length(&last)];
    assert!(sizes.windows(2).all(|pair| pair[1] > 2 * pair[0] + pair[0] / 2), "{sizes:?}");
    for (begun, blocks, met) in [
        ("nothing", 1, "config.toml"),
        ("nothing", blocks(config), "statistics.json"),
        ("nothing", blocks(statistics), "samples/"),
        ("nothing", blocks(sample), "best.safetensors"),
        ("two steps", blocks(statistics), "samples/"),
        ("two steps", blocks(sample), "step-"),
        ("all but the report", blocks(statistics), "report.html"),
    ] {
        fs::remove_dir_all(&run).unwrap();
        match begun {
            "nothing" => {}
            "two steps" => drop(done(root.path(), &line.replace("--steps 4", "--steps 2"))),
            _ => {
                done(root.path(), &line);
                fs::remove_file(run.join("report.html")).unwrap();
            }
        }
        let before = if run.exists() { listing(&run.join("checkpoints")) } else { Vec::new() };
        let bytes: Vec<Vec<u8>> = before.iter().map(|path| fs::read(path).unwrap()).collect();
        let (code, errors) = limited(root.path(), blocks, &resumed);
        assert_eq!((code, errors.len()), (1, 1), "{begun}, {met}: {errors:?}");
        let kind = kind(&errors[0]);
        // Which of the two a checkpoint is that has no room depends on whether it is the best.
        let checkpoint = |kind: &str| ["best.safetensors", "step-"].contains(&kind);
        assert!(kind == met || checkpoint(kind) && checkpoint(met), "{begun}, {met}: {errors:?}");
        let remedy = if checkpoint(kind) { "free " } else { "raise the limit" };
        assert!(errors[0].contains(remedy), "{errors:?}");
        assert_nothing_unfinished(&run);
        assert!(before.iter().zip(bytes).all(|(path, bytes)| fs::read(path).unwrap() == bytes), "{begun}, {met}");
        done(root.path(), &resumed);
        assert!(fs::read(&last).unwrap() == whole && losses(root.path()) == all, "{begun}, {met}");
        assert!(run.join("report.html").is_file());
    }
}

#[test]
fn metrics_and_checkpoints_stay_one_where_the_former_find_no_room() {
    let root = scenes(&[48]);
    let run = root.path().join("run");
    let line = |steps: usize, flags: &str| {
        let data = "--source source --target target";
        format!(
            "train colournet {data} --out run {TINY} --steps {steps} --checkpoint-every 20 --sample-every 0 {flags}"
        )
    };
    done(root.path(), &line(20, ""));
    let first = run.join("checkpoints/step-00000020.safetensors");
    let saved = fs::read(&first).unwrap();
    // The metrics outgrow the statistics before the next checkpoint would come.
    let steps = 2 * length(&run.join("statistics.json")) / 100;
    let longer = line(steps, "--resume").replace("--checkpoint-every 20", "--checkpoint-every 100000");
    let (code, errors) = limited(root.path(), blocks(length(&run.join("statistics.json"))), &longer);
    assert_eq!(
        (code, errors.len(), errors.first().map(|error| kind(error))),
        (1, 1, Some("metrics.jsonl")),
        "{errors:?}"
    );
    assert_nothing_unfinished(&run);
    assert!(fs::read(&first).unwrap() == saved);
    // The last line is cut where there was no more room; what follows the checkpoint is done again.
    done(root.path(), &line(40, "--resume"));
    let all = losses(root.path());
    assert_eq!(all.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    fs::remove_dir_all(&run).unwrap();
    done(root.path(), &line(40, ""));
    assert_eq!(losses(root.path()), all);
}

#[test]
fn no_result_is_left_half_written() {
    let root = scenes(&[96, 96]);
    done(root.path(), &train("--steps 1"));
    let noise: Vec<f32> = (0..300 * 200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as f32).collect();
    save_tiff(&root.path().join("scene.tif"), RasterInfo::new(300, 200, 1, SampleType::U8), &noise).unwrap();
    let colours: Vec<f32> = noise.iter().flat_map(|v| [*v, 255.0 - v, 90.0]).collect();
    save_tiff(&root.path().join("truth.tif"), RasterInfo::new(300, 200, 3, SampleType::U8), &colours).unwrap();
    fs::write(root.path().join("points.csv"), "0,0,1,0\n200,0,201,0\n0,150,1,150\n200,150,201,150\n100,70,101,70\n")
        .unwrap();
    let colorize = "colorize --run run --device cpu";
    let evaluate = "evaluate --run run --source source --target target --device cpu";
    done(root.path(), &format!("{evaluate} --json scores.json"));
    let words = "--name toy --purpose tests --data drawings --licence CC0 --date 2026-11-25 --figures all=scores.json";
    let lines = [
        (format!("{colorize} source/0.png --out a.png"), "a.png"),
        (format!("{colorize} scene.tif --out a.tif"), "a.tif"),
        (format!("{colorize} scene.tif --out a.tif --cog"), "a.tif"),
        (format!("{colorize} scene.tif --out new/a.tif --uncertainty u.tif"), ".tif"),
        (format!("{colorize} source/0.png --out a.png --compare target/0.png"), ".png"),
        (format!("{evaluate} --json a.json"), "a.json"),
        (format!("{evaluate} --csv a.csv"), "a.csv"),
        (format!("{evaluate} --html a.html"), "a.html"),
        ("evaluate --run run --source scene.tif --target truth.tif --device cpu --difference d.tif".into(), "d.tif"),
        ("register scene.tif --points points.csv --size 300x200 --out moved.tif".into(), "moved.tif"),
        (format!("weights --pack run w.safetensors {words}"), "w.safetensors"),
    ];
    for (line, named) in lines {
        let before = listing(root.path());
        let mut failures = 0;
        for power in [0, 3, 6, 9, 12] {
            let (code, errors) = limited(root.path(), 1 << power, &line);
            if code == 0 {
                break;
            }
            assert_eq!((code, errors.len()), (1, 1), "`{line}`, {power}: {errors:?}");
            assert!(errors[0].contains(named) && errors[0].contains("of that size"), "`{line}`: {errors:?}");
            assert_nothing_unfinished(root.path());
            // A result that was whole before the one that had no room stays.
            let more: Vec<_> = listing(root.path()).into_iter().filter(|path| !before.contains(path)).collect();
            more.iter().filter(|path| path.is_file()).for_each(|path| fs::remove_file(path).unwrap());
            failures += 1;
        }
        assert!(failures > 0, "`{line}`");
        let more = listing(root.path()).into_iter().filter(|path| !before.contains(path) && path.is_file());
        more.for_each(|path| fs::remove_file(path).unwrap());
    }
}
