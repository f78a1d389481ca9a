//! `train` killed at random moments and resumed, as a user does it: the run ends as one that was never interrupted.
#![cfg(unix)]

use assert_cmd::cargo::cargo_bin_cmd;
use huetape::random::{Rng, Stream};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STEPS: u64 = 30;
/// No run here takes seconds; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of training and validation pictures, which runs are made beside.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        for (folder, pictures) in [("train", 5), ("val", 2)] {
            for role in ["source", "target"] {
                let folder = bench.path(folder).join(role);
                fs::create_dir_all(&folder).unwrap();
                (0..pictures).for_each(|k| picture(k, role == "target").save(folder.join(format!("{k}.png"))).unwrap());
            }
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `huetape train` of a tiny network on the CPU into run folder `run`.
    fn train(&self, run: &str, steps: u64) -> Command {
        let mut command = Command::new(cargo_bin_cmd!("huetape").get_program());
        command.args(["train", "colournet", "--device", "cpu", "--width", "0.05", "--size", "32", "--batch", "2"]);
        command.args(["--seed", "3", "--checkpoint-every", "3", "--keep", "2", "--sample-every", "5"]);
        command.arg("--steps").arg(steps.to_string()).arg("--out").arg(self.path(run));
        for (flag, folder) in [("--source", "train/source"), ("--target", "train/target")] {
            command.arg(flag).arg(self.path(folder));
        }
        for (flag, folder) in [("--val-source", "val/source"), ("--val-target", "val/target")] {
            command.arg(flag).arg(self.path(folder));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command, which must succeed.
    fn finish(&self, mut command: Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What must not depend on interruptions: checkpoints, samples, and the columns of the metrics that tell no time.
    fn result(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        let mut result = BTreeMap::new();
        for folder in ["checkpoints", "samples"] {
            for entry in fs::read_dir(self.path(run).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                result.insert(name, fs::read(path).unwrap());
            }
        }
        for (k, line) in lines(&self.path(run).join("metrics.jsonl")).iter().enumerate() {
            let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            object.remove("seconds");
            object.remove("images_per_s");
            object.remove("time");
            result.insert(format!("metrics.jsonl:{}", k + 1), serde_json::to_vec(&object).unwrap());
        }
        result
    }
}

/// A picture of broad colour waves; as a source, its green alone.
fn picture(k: u32, coloured: bool) -> image::RgbImage {
    image::RgbImage::from_fn(48, 40, |x, y| {
        let wave =
            |f: f32, shift: f32| (127.0 + 100.0 * ((x as f32 * f + y as f32 * 0.07 + shift + k as f32).sin())) as u8;
        let (r, g, b) = (wave(0.11, 0.0), wave(0.17, 1.0), wave(0.05, 2.0));
        image::Rgb(if coloured { [r, g, b] } else { [g; 3] })
    })
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until the child has written at least `count` lines of metrics, or has ended. Says whether it still runs.
fn wait_for_steps(child: &mut Child, metrics: &Path, count: usize) -> bool {
    let start = Instant::now();
    while lines(metrics).len() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(start.elapsed() < PATIENCE, "no step {count} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn a_run_killed_at_random_moments_and_resumed_ends_with_the_same_bytes() {
    let bench = Bench::new();
    bench.finish(bench.train("whole", STEPS));
    let expected = bench.result("whole");
    assert_eq!(expected.keys().filter(|name| name.starts_with("metrics")).count() as u64, STEPS);
    assert!(expected.contains_key("checkpoints/best.safetensors"));

    let rng = Rng::new(1, Stream::Test, 0);
    for round in 0..2 {
        let run = format!("killed-{round}");
        let metrics = bench.path(&run).join("metrics.jsonl");
        for kill in 0..6 {
            let mut command = bench.train(&run, STEPS);
            let mut child = command.arg("--resume").spawn().unwrap();
            // Anything from the start of the process to some steps on, and a random part of a step later: in mid-write
            // too.
            let index = 2 * (6 * round + kill);
            let steps = lines(&metrics).len() + rng.below(index, 8);
            if wait_for_steps(&mut child, &metrics, steps) {
                std::thread::sleep(Duration::from_micros(rng.below(index + 1, 30_000) as u64));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut command = bench.train(&run, STEPS);
        command.arg("--resume");
        bench.finish(command);
        let result = bench.result(&run);
        let differing: Vec<&String> = expected.keys().filter(|name| result.get(*name) != expected.get(*name)).collect();
        assert!(differing.is_empty(), "{run} differs in {differing:?}");
        assert!(result.keys().eq(expected.keys()), "{:?}", result.keys());
    }
}

#[test]
fn a_run_asked_to_stop_saves_its_state_says_how_to_go_on_and_does() {
    let bench = Bench::new();
    for signal in ["-TERM", "-INT"] {
        let run = format!("stopped{signal}");
        let metrics = bench.path(&run).join("metrics.jsonl");
        // Far more steps than there is time for, so that the signal always finds it at work.
        let mut child = bench.train(&run, 100_000).spawn().unwrap();
        assert!(wait_for_steps(&mut child, &metrics, 4), "{run} ended before the signal");
        assert!(Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let step = lines(&metrics).len();
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with(&format!("error: stopped after step {step}, which is saved: ")), "{stderr}");
        assert!(last.contains("--resume"), "{stderr}");
        assert!(bench.path(&run).join(format!("checkpoints/step-{step:08}.safetensors")).exists());

        let mut command = bench.train(&run, step as u64 + 2);
        command.arg("--resume");
        bench.finish(command);
        assert_eq!(lines(&metrics).len(), step + 2);
    }
}

#[test]
fn resuming_a_finished_run_changes_nothing_and_succeeds() {
    let bench = Bench::new();
    bench.finish(bench.train("run", 4));
    let before = bench.result("run");
    let mut command = bench.train("run", 4);
    command.arg("--resume");
    bench.finish(command);
    let after = bench.result("run");
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    assert!(after == before);
}

/// Every file of a run with its bytes and the time that it was written.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != ".lock") {
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), written));
        }
    }
    found
}

#[test]
fn resuming_with_nothing_to_do_touches_nothing_and_an_end_that_was_missed_is_made_up_for() {
    let bench = Bench::new();
    bench.finish(bench.train("run", 4));
    let before = files(&bench.path("run"));
    let mut command = bench.train("run", 4);
    command.args(["--resume", "--lr", "0.5", "--keep", "1"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("finished at step 4, nothing to do"), "{said}");
    assert!(files(&bench.path("run")) == before);

    // Killed right after its last checkpoint: an older one goes, as `--keep 2` says, and the report is made, by the
    // settings that were used.
    fs::remove_file(bench.path("run/report.html")).unwrap();
    let older = bench.path("run/checkpoints/step-00000002.safetensors");
    fs::copy(bench.path("run/checkpoints/step-00000003.safetensors"), &older).unwrap();
    let mut command = bench.train("run", 4);
    command.args(["--resume", "--lr", "0.5"]);
    let output = command.output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("ab error"));
    assert!(bench.path("run/report.html").is_file() && !older.exists());
    let config = fs::read(bench.path("run/config.toml")).unwrap();
    assert!(config == before[&bench.path("run/config.toml")].0);
}

#[test]
fn a_clock_that_goes_back_misleads_nothing() {
    let bench = Bench::new();
    bench.finish(bench.train("run", 4));
    // Killed after its last checkpoint: the report is one of an earlier moment, although of a later time.
    let html = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(html.contains("name=\"huetape-ended\" content=\"4\""));
    fs::write(bench.path("run/report.html"), html.replace("content=\"4\"", "content=\"0\"")).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options().append(true).open(bench.path("run/report.html")).unwrap().set_modified(later).unwrap();
    let mut command = bench.train("run", 4);
    command.args(["--resume"]);
    let output = command.output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("ab error"));
    assert!(fs::read_to_string(bench.path("run/report.html")).unwrap().contains("content=\"4\""));

    // Checkpoints are known by their steps: an older one with a later time is not gone on from.
    let older = bench.path("run/checkpoints/step-00000003.safetensors");
    fs::File::options().append(true).open(older).unwrap().set_modified(later).unwrap();
    let mut command = bench.train("run", 5);
    command.args(["--resume"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("goes on after step 4"), "{said}");
    bench.finish(bench.train("whole", 5));
    let checkpoint = "checkpoints/step-00000005.safetensors";
    assert!(bench.result("run")[checkpoint] == bench.result("whole")[checkpoint]);
}

#[test]
fn what_changes_on_resume_is_recorded_with_its_step() {
    let bench = Bench::new();
    bench.finish(bench.train("run", 4));
    let mut command = bench.train("run", 6);
    command.args(["--resume", "--lr", "0.5"]);
    bench.finish(command);
    let mut command = bench.train("run", 7);
    command.args(["--resume", "--keep", "1"]);
    bench.finish(command);
    let config = fs::read_to_string(bench.path("run/config.toml")).unwrap();
    let recorded =
        ["\"after step 4: steps 6, was 4; lr 0.5, was 1e-4\"", "\"after step 6: steps 7, was 6; keep 1, was 2\""];
    assert!(recorded.iter().all(|line| config.contains(line)), "{config}");
    // And a run goes on from such settings.
    let mut command = bench.train("run", 8);
    command.arg("--resume");
    bench.finish(command);
}

#[test]
fn a_run_goes_on_from_another_folder() {
    let bench = Bench::new();
    let program = cargo_bin_cmd!("huetape").get_program().to_owned();
    let tiny = ["--device", "cpu", "--width", "0.05", "--size", "32", "--batch", "1"];
    let mut first = Command::new(&program);
    first.current_dir(bench.path("train")).args(["train", "colournet"]).args(tiny);
    first.args(["--source", "source", "--target", "target", "--val-source", "../val/source"]);
    first.args(["--val-target", "../val/target", "--steps", "1", "--out", "../run"]);
    bench.finish(first);
    let mut second = Command::new(&program);
    second.current_dir(bench.path("run")).args(["train", "colournet", "--out", ".", "--resume", "--steps", "2"]);
    bench.finish(second);
    assert_eq!(lines(&bench.path("run/metrics.jsonl")).len(), 2);
}
