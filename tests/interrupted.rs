//! What other processes and the shell do to a running command: locks, signals, closed pipes, full disks.
#![cfg(unix)]

mod common;

use common::binary::{done, huetape, listing, refused, scenes};
use huetape::imaging::codec::save::save_tiff;
use huetape::imaging::raster::{RasterInfo, SampleType};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A training of a tiny network, of `steps` updates, into `run`.
fn train(steps: u64, flags: &str) -> String {
    let data = "--source source --target target --val-source source --val-target target";
    let tiny = "--device cpu --threads 2 --width 0.05 --size 16 --batch 1 --checkpoint-every 1000000 --sample-every 0";
    format!("train colournet {data} --out run {tiny} --steps {steps} {flags}")
}

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("huetape"));
    command.current_dir(folder).env_remove("HUETAPE_DEVICE").args(line.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The steps that the metrics of `run` tell of.
fn steps(folder: &Path) -> usize {
    fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap_or_default().lines().count()
}

fn wait_for(what: &str, mut met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits for the end of a process; its exit code and what it said on stderr.
fn end(mut child: Child) -> (Option<i32>, String) {
    wait_for("the end", || child.try_wait().unwrap().is_some());
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    (child.wait().unwrap().code(), said)
}

#[test]
fn one_process_at_a_time_trains_in_a_folder() {
    let root = scenes(&[48, 48]);
    let mut first = command(root.path(), &train(100_000, "")).spawn().unwrap();
    wait_for("a step", || steps(root.path()) > 1);
    let id = format!("process {} trains in this folder: run", first.id());
    let ran = huetape(root.path(), &train(100_000, "--resume"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains(&id), "{}", ran.stderr);
    // The lock dies with its process, whatever kills it.
    first.kill().unwrap();
    first.wait().unwrap();
    done(root.path(), &train(1, "--resume"));
    assert_eq!(fs::read(root.path().join("run/.lock")).unwrap(), b"");
}

#[test]
fn a_terminal_that_closes_saves_a_checkpoint_and_nohup_goes_on() {
    let root = scenes(&[48, 48]);
    let launch = |how: &str, steps: u64| {
        let program = assert_cmd::cargo::cargo_bin("huetape");
        let mut command = Command::new("env");
        command.current_dir(root.path()).arg(how).arg(program).args(train(steps, "--resume").split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let child = launch("--default-signal=HUP", 100_000);
    wait_for("a step", || steps(root.path()) > 1);
    // The kernel and the shell both send one.
    signal(&child, "-HUP");
    signal(&child, "-HUP");
    let (code, said) = end(child);
    let last = steps(root.path());
    assert!(code == Some(1) && said.contains(&format!("stopped after step {last}, which is saved")), "{said}");
    assert!(root.path().join(format!("run/checkpoints/step-{last:08}.safetensors")).is_file());

    let child = launch("--ignore-signal=HUP", last as u64 + 60);
    wait_for("a step", || steps(root.path()) > last);
    signal(&child, "-HUP");
    let (code, said) = end(child);
    assert_eq!((code, steps(root.path())), (Some(0), last + 60), "{said}");
}

#[test]
fn a_scene_leaves_nothing_when_its_terminal_closes() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train(1, ""));
    fs::create_dir(root.path().join("out")).unwrap();
    let info = RasterInfo::new(1500, 1500, 1, SampleType::U8);
    save_tiff(&root.path().join("large.tif"), info, &[90.0; 1500 * 1500]).unwrap();
    let program = assert_cmd::cargo::cargo_bin("huetape");
    let line = "colorize large.tif --run run --out out/a.tif --device cpu --tile 64";
    let mut launch = Command::new("env");
    launch.current_dir(root.path()).arg("--default-signal=HUP").arg(program).args(line.split_whitespace());
    let mut child = launch.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("1/")), "no tile was painted");
    signal(&child, "-HUP");
    let errors: Vec<String> = lines.filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("interrupted: "), "{errors:?}");
    assert_eq!(end(child).0, Some(1));
    assert!(listing(&root.path().join("out")).is_empty());
}

/// A pipe that nobody writes to: whoever reads it waits for ever.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_first_signal_ends_every_wait() {
    let root = scenes(&[48, 48]);
    pipe(&root.path().join("settings.toml"));
    let child = command(root.path(), &train(1, "--config settings.toml")).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-TERM");
    let (code, said) = end(child);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("error: interrupted: huetape train: "), "{said}");
    assert!(!root.path().join("run").exists());
}

#[test]
fn a_training_goes_on_when_nobody_reads_and_when_nothing_can_be_printed() {
    let root = scenes(&[48, 48]);
    let whole = |run: &str| fs::read(root.path().join(run).join("checkpoints/step-00000040.safetensors")).unwrap();
    let line = |run: &str| train(40, "--checkpoint-every 5").replace("--out run", &format!("--out {run}"));
    // As `2>&1 | head -1` does: the reader is gone after the first line.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command(root.path(), &line("piped")).stdout(writer.try_clone().unwrap()).stderr(writer).spawn();
    let mut first = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let child = child.as_mut().unwrap();
    wait_for("the end", || child.try_wait().unwrap().is_some());
    assert_eq!((child.wait().unwrap().code(), first.is_empty()), (Some(0), false));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for (run, out, err) in [("out", true, false), ("err", false, true), ("both", true, true)] {
        let mut command = command(root.path(), &line(run));
        if out {
            command.stdout(full());
        }
        if err {
            command.stderr(full());
        }
        let (code, said) = end(command.spawn().unwrap());
        assert_eq!(code, Some(0), "{run}: {said}");
        assert!(whole(run) == whole("piped") && root.path().join(run).join("report.html").is_file());
    }
    // Closed from the start.
    let program = assert_cmd::cargo::cargo_bin("huetape");
    let closed = format!("exec {} {} >&- 2>&-", program.display(), line("closed"));
    assert!(Command::new("sh").current_dir(root.path()).arg("-c").arg(closed).status().unwrap().success());
    assert!(whole("closed") == whole("piped"));
}

#[test]
fn a_command_that_only_prints_ends_with_its_reader_and_says_when_it_cannot_print() {
    let root = scenes(&[48, 48]);
    let lines = ["inspect summary colournet", "check-data --source source --target target --device cpu --size 16"];
    for line in lines {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = end(command(root.path(), line).stdout(writer).spawn().unwrap());
        assert_eq!((code, said.as_str()), (Some(0), ""), "{line}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = end(command(root.path(), line).stdout(full).spawn().unwrap());
        assert!(code == Some(1) && said.starts_with("error: cannot print (No space left"), "{line}: {said}");
        assert_eq!(said.lines().count(), 1);
    }
}

#[test]
fn a_result_goes_to_standard_output_through_links_and_into_pipes() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train(1, ""));
    let evaluate = "evaluate --run run --source source --target target --device cpu";
    let plain = huetape(root.path(), &format!("{evaluate} --json plain.json"));
    let expected = fs::read_to_string(root.path().join("plain.json")).unwrap();
    let ran = huetape(root.path(), &format!("{evaluate} --json -"));
    assert_eq!((ran.code, &ran.stdout), (0, &expected), "{}", ran.stderr);
    // The table is still shown, beside it.
    let table = plain.stdout.lines().next().unwrap();
    assert!(ran.stderr.contains(table) && !root.path().join("-").exists(), "{}", ran.stderr);
    refused(root.path(), &format!("{evaluate} --json - --csv -"), &["two results for standard output"]);

    fs::create_dir(root.path().join("kept")).unwrap();
    std::os::unix::fs::symlink("kept/scores.json", root.path().join("link.json")).unwrap();
    done(root.path(), &format!("{evaluate} --json link.json"));
    assert!(root.path().join("link.json").is_symlink());
    assert_eq!(fs::read_to_string(root.path().join("kept/scores.json")).unwrap(), expected);
    std::os::unix::fs::symlink("kept/0.png", root.path().join("link.png")).unwrap();
    done(root.path(), "colorize source/0.png --run run --out link.png --device cpu");
    assert!(root.path().join("link.png").is_symlink() && root.path().join("kept/0.png").is_file());

    pipe(&root.path().join("pipe.json"));
    let child = command(root.path(), &format!("{evaluate} --json pipe.json")).spawn().unwrap();
    assert_eq!(fs::read_to_string(root.path().join("pipe.json")).unwrap(), expected);
    assert_eq!(end(child).0, Some(0));
}
