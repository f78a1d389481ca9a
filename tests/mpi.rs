//! Processes that mpirun starts: what they train and colour is what one process does. Where Open MPI is installed:
//! `tools/test --mpi`.

mod common;

use assert_cmd::cargo::cargo_bin_cmd;
use common::binary::{done, scenes};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No run here takes longer; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// `mpirun -n SIZE huetape LINE` in a folder, on the processor.
fn mpirun(folder: &Path, size: usize, line: &str) -> Command {
    let mut command = Command::new("mpirun");
    command.current_dir(folder).args(["-n", &size.to_string(), "--oversubscribe", "--bind-to", "none"]);
    // As in a container: by root, without rights to read the memory of others.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none").env("HUETAPE_DEVICE", "cpu");
    command.arg(cargo_bin_cmd!("huetape").get_program()).args(line.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs it, which must end well; what it printed.
fn well(folder: &Path, size: usize, line: &str) -> (String, String) {
    let output = mpirun(folder, size, line).output().expect("mpirun of Open MPI: apt-get install openmpi-bin");
    let said = text(&output);
    assert!(output.status.success(), "{line}: {said:?}");
    said
}

/// The arguments of a training of a narrow network in batches of four, at its default learning rate.
fn training(model: &str, steps: u64, out: &str) -> String {
    format!(
        "train {model} --source source --target target --val-source source --val-target target --width 0.05 \
         --size 32 --batch 4 --steps {steps} --checkpoint-every 5 --keep 2 --seed 3 --threads 1 --out {out}"
    )
}

/// The metrics without what tells the time, and the weights after `step`.
fn ended(run: &Path, step: u64) -> (Vec<BTreeMap<String, f64>>, Vec<u8>) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let of_line = |line: &str| {
        let mut values: BTreeMap<String, f64> = serde_json::from_str(line).unwrap();
        values.retain(|name, _| !["seconds", "images_per_s", "time"].contains(&name.as_str()));
        values
    };
    let weights = fs::read(run.join(format!("checkpoints/step-{step:08}.safetensors"))).unwrap();
    (metrics.lines().map(of_line).collect(), weights)
}

#[test]
fn two_and_four_processes_train_as_one_with_its_bits() {
    let root = scenes(&[48, 64, 48, 56, 48, 48]);
    let folder = root.path();
    for model in ["colournet", "pix2pix"] {
        done(folder, &format!("{} --device cpu", training(model, 20, &format!("{model}-one"))));
        let of = |which: &str| ended(&folder.join(format!("{model}-{which}")), 20);
        let (one, weights) = of("one");
        for (size, name) in [(2, "two"), (4, "four")] {
            let (stdout, stderr) = well(folder, size, &training(model, 20, &format!("{model}-{name}")));
            // One of them speaks.
            assert_eq!(stderr.matches("device: cpu").count(), 1, "{stderr}");
            assert_eq!(stdout.matches("report.html").count(), 1, "{stdout}");
            let several = of(name);
            assert_eq!((one.len(), several.0.len()), (20, 20));
            assert!(several.1 == weights, "{model}, {size}");
            for (one, several) in one.iter().zip(&several.0) {
                for (name, value) in one {
                    let apart = (value - several[name]).abs() / value.abs().max(1e-3);
                    // Each process rounds its loss.
                    assert!(apart < 1e-6, "{model} {name}: {value} {}", several[name]);
                }
            }
        }
    }
}

/// The processes of a run, by their command lines.
fn processes_of(run: &str) -> Vec<u32> {
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| name(entry.ok()?));
    let words = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let ours = |id: &u32| {
        let words = words(id);
        words.split('\0').next().is_some_and(|program| program.ends_with("huetape")) && words.contains(run)
    };
    all.filter(ours).collect()
}

#[test]
fn a_process_that_is_killed_ends_all_and_the_run_goes_on_from_its_checkpoint_with_the_same_bits() {
    let root = scenes(&[48, 64, 48, 56]);
    let folder = root.path();
    // Its name is that of no other run on this machine.
    let name = format!("killed-{}", std::process::id());
    well(folder, 2, &training("colournet", 100, "whole"));
    for rank in 0..2 {
        let line = format!("{} --resume", training("colournet", 100, &name));
        let mut child = mpirun(folder, 2, &line).spawn().unwrap();
        let (begun, metrics) = (Instant::now(), folder.join(&name).join("metrics.jsonl"));
        let seen = || fs::read_to_string(&metrics).unwrap_or_default().lines().count();
        while seen() < 12 + 40 * rank && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(5));
        }
        let rank_of = |id: &u32| {
            let environment = fs::read_to_string(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split('\0').any(|entry| entry == format!("OMPI_COMM_WORLD_RANK={rank}"))
        };
        let id = processes_of(&name).into_iter().find(rank_of).expect("a process of that rank");
        assert!(Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
        let killed = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(killed.elapsed() < Duration::from_secs(20), "the others live on");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!child.wait().unwrap().success());
        assert!(processes_of(&name).is_empty());
    }
    well(folder, 2, &format!("{} --resume", training("colournet", 100, &name)));
    assert!(ended(&folder.join(&name), 100) == ended(&folder.join("whole"), 100));
}

#[test]
fn what_fails_is_told_in_one_line() {
    let root = scenes(&[48, 48]);
    let folder = root.path();
    let errors = |size: usize, line: &str| {
        let begun = Instant::now();
        let output = mpirun(folder, size, line).output().unwrap();
        assert!(!output.status.success() && begun.elapsed() < Duration::from_secs(30));
        let (_, stderr) = text(&output);
        let lines: Vec<String> = stderr.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{stderr}");
        lines.into_iter().next().unwrap()
    };
    // All of them meet it, before and after they know of one another; one alone does.
    assert!(errors(2, "train colournet --no-such-flag").contains("no such flag"));
    assert!(errors(2, "train colournet --source nowhere --target target --out n").contains("nowhere"));
    let batch = errors(5, &training("colournet", 2, "n"));
    assert!(batch.contains("5 processes for a batch of 4 images"), "{batch}");
    let mut one_alone = mpirun(folder, 1, "colorize source --out n --device cpu");
    one_alone.args([":", "-n", "1"]).arg(cargo_bin_cmd!("huetape").get_program());
    one_alone.args(["colorize", "source", "--out", "n", "--device", "gpu:no such adapter"]);
    let begun = Instant::now();
    let output = one_alone.output().unwrap();
    let (_, stderr) = text(&output);
    let told: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(told.len() == 1 && told[0].contains("process 1: ") && !output.status.success(), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn two_processes_colour_the_same_bytes_as_one() {
    let root = scenes(&[48, 64, 150, 56, 48]);
    let folder = root.path();
    done(folder, &format!("{} --device cpu", training("colournet", 1, "run")));
    done(folder, &format!("{} --device cpu", training("pix2pix", 1, "windows")));
    let bytes = |path: &str| {
        let mut files: Vec<_> = fs::read_dir(folder.join(path)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| (file.file_name().unwrap().to_owned(), fs::read(file).unwrap())).collect::<Vec<_>>()
    };
    for run in ["run", "windows"] {
        // Files are shared out, and of one file its tiles.
        for (input, tile) in [("source", ""), ("source/2.png", "--tile 64")] {
            let line = |out: &str| format!("colorize {input} --run {run} {tile} --overwrite --out {out}/");
            done(folder, &format!("{} --device cpu", line("one")));
            let (stdout, _) = well(folder, 2, &line("two"));
            assert_eq!(stdout.lines().count(), 1, "{stdout}");
            let (one, two) = (bytes("one"), bytes("two"));
            assert!(one.len() >= 5 || input != "source");
            assert!(one == two, "{run} {input}");
        }
    }
}
