//! What the command line understands and what it says: values out of range, files of settings, outputs that are there
//! already, help, the device.

mod common;

use common::binary::{done, huetape, refused, scenes};
use std::fs;
use std::path::Path;

/// A training of a tiny network into `run`.
fn train(flags: &str) -> String {
    let tiny = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";
    format!("train colournet --source source --target target --out run {tiny} {flags}")
}

#[test]
fn a_value_out_of_range_is_answered_with_the_range() {
    let root = scenes(&[48]);
    let run = |line: &str, said: &[&str]| refused(root.path(), line, said);
    run(&train("--steps -3"), &["--steps -3", "use 1 or more"]);
    run(&train("--lr -1"), &["out of range", "--lr -1", "use a number above 0"]);
    run(&train("--batch x"), &["--batch x", "use 1 or more"]);
    run(&train("--seed -1"), &["--seed -1", "use a whole number of at least 0"]);
    run(&train("--width -0.5"), &["--width -0.5", "use a multiplier above 0"]);
    run("colorize source --run run --temperature -1", &["--temperature -1", "use a number from 0.0001 to 5"]);
    run("colorize source --run run --tile -64", &["--tile -64", "use a whole number of at least 0"]);
    run("profile colournet --pass forward --iters -1", &["--iters -1", "use a whole number of at least 0"]);
    run("evaluate --run run --images target --crop -4", &["--crop -4", "use "]);
    run("inspect summary colournet --q -1", &["--q -1", "use a whole number of at least 0"]);
    run("register a.png --points p.csv --threshold -1", &["--threshold -1", "use a number above 0"]);
}

#[test]
fn a_file_of_settings_takes_every_key_and_says_which_one_is_wrong() {
    let root = scenes(&[48, 48]);
    let write = |text: &str| fs::write(root.path().join("my.toml"), text).unwrap();
    let line = "train colournet --config my.toml";
    write("source = \"source\"\ntarget = \"target\"\nout = \"by-file\"\nsteps = 1\nsize = 16\nwidth = 0.05\nbatch = 1");
    done(root.path(), &format!("{line} --device cpu"));
    assert!(root.path().join("by-file/report.html").is_file());
    // The folder of a run is not a part of what it is.
    assert!(!fs::read_to_string(root.path().join("by-file/config.toml")).unwrap().contains("by-file"));
    done(root.path(), &format!("{line} --device cpu --out by-flag"));
    write("bathc = 3");
    refused(root.path(), line, &["no such setting: bathc in my.toml: did you mean batch?"]);
    write("batch = \"x\"");
    refused(root.path(), line, &["not a value that it takes", "batch in my.toml: use 1 or more"]);
    write("batch 3");
    refused(root.path(), line, &["not TOML", "my.toml line 1"]);
}

#[test]
fn help_of_a_network_is_shorter_than_that_of_all() {
    let root = tempfile::tempdir().unwrap();
    let all = done(root.path(), "train --help");
    for (network, own, foreign) in [
        ("colournet", "--bins", "--lambda-l1"),
        ("pix2pix", "--lambda-l1", "--bins"),
        ("spacenet", "--lambda-mse", "--bins"),
    ] {
        let help = done(root.path(), &format!("train {network} --help"));
        assert!(help.lines().count() + 20 < all.lines().count(), "{network}: {}", help.lines().count());
        assert!(help.contains(&format!("{own} ")) && !help.contains(&format!("{foreign} ")), "{help}");
    }
    refused(root.path(), "train colournet --images x --lambda-l1 3", &["colournet has no such setting", "--lambda-l1"]);
}

fn written(path: &Path) -> (Vec<u8>, std::time::SystemTime) {
    (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap())
}

#[test]
fn results_go_where_they_can_and_never_over_others_unasked() {
    let root = scenes(&[48, 48]);
    fs::create_dir(root.path().join("run")).unwrap();
    done(root.path(), &train(""));
    let colorize = |flags: &str| format!("colorize --run run --device cpu {flags}");
    let refused = |flags: &str, said: &[&str]| refused(root.path(), &colorize(flags), said);
    refused("source/0.png source/1.png --out two.png", &["named as a file", "two.png", "two.png/"]);
    refused("source --out two.png", &["named as a file", "two.png"]);
    done(root.path(), &colorize("source --out two.png/"));
    assert!(root.path().join("two.png/1.png").is_file());

    fs::create_dir(root.path().join("empty")).unwrap();
    done(root.path(), &colorize("source --out empty"));
    let before = written(&root.path().join("empty/0.png"));
    refused("source --out empty", &["2 results are there already", "empty/0.png and others", "--overwrite"]);
    refused("source/0.png --out empty", &["the result is there already", "empty/0.png"]);
    refused("source/0.png --out empty/1.png", &["the result is there already", "empty/1.png"]);
    assert_eq!(written(&root.path().join("empty/0.png")), before);
    done(root.path(), &colorize("source --out empty --overwrite"));
    assert!(written(&root.path().join("empty/0.png")).1 > before.1);
    done(root.path(), &colorize("source/0.png --out new.png --compare target/0.png"));
    fs::remove_file(root.path().join("new.png")).unwrap();
    refused("source/0.png --out new.png --compare target/0.png", &["2 results", "new.compare.png"]);
}

#[test]
fn every_command_that_computes_says_on_what() {
    let root = scenes(&[48, 48]);
    for line in [
        train("--val-source source --val-target target"),
        "colorize source/0.png --run run --out a.png --device cpu --threads 1".to_owned(),
        "evaluate --run run --source source --target target --device cpu --threads 1".to_owned(),
    ] {
        let ran = huetape(root.path(), &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("device: cpu, 1 threads").count(), 1, "`{line}`: {}", ran.stderr);
    }
    let most = 4 * std::thread::available_parallelism().unwrap().get();
    let ran = huetape(root.path(), "colorize source/0.png --run run --out b.png --device cpu --threads 1000");
    assert!(ran.stderr.contains(&format!("--threads 1000: {most} are used")), "{}", ran.stderr);
    assert!(ran.code == 0 && ran.stderr.contains(&format!("device: cpu, {most} threads")), "{}", ran.stderr);
}

#[test]
fn doctor_lists_by_number_without_testing() {
    let root = tempfile::tempdir().unwrap();
    let ran = huetape(root.path(), "doctor --list");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("\ncpu: ") && ran.stdout.contains("--device auto takes: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("adapter 0: ") != ran.stdout.contains("no GPU adapter"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("self-test"), "{}", ran.stdout);
}
