//! What commands print for shells, for `man` and for other programs, and how much they tell.

mod common;

use common::binary::{done, huetape, refused, scenes};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What bash offers for the last of `words` once it knows the script.
fn completed_by_bash(script: &str, words: &[&str]) -> Option<Vec<String>> {
    let last = words.len() - 1;
    let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let ask = format!(
        "{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={last}; _huetape huetape '{}' '{}'
        printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words[last],
        words[last - 1]
    );
    let mut bash = Command::new("bash").arg("--norc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    bash.stdin.take().unwrap().write_all(ask.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn shells_complete_commands_networks_and_flags() {
    let root = tempfile::tempdir().unwrap();
    let scripts = ["bash", "zsh", "fish", "powershell", "elvish"];
    for shell in scripts {
        let script = done(root.path(), &format!("completions {shell}"));
        for word in ["colorize", "check-data", "window8", "lr-schedule", "completions"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let bash = done(root.path(), "completions bash");
    // Without a bash on the machine, the text alone has been looked at.
    let Some(offered) = completed_by_bash(&bash, &["huetape", "col"]) else { return };
    assert_eq!(offered, ["colorize"]);
    assert_eq!(completed_by_bash(&bash, &["huetape", "train", "win"]).unwrap(), ["window8"]);
    assert_eq!(completed_by_bash(&bash, &["huetape", "train", "window8", "--lr-s"]).unwrap(), ["--lr-schedule"]);
    refused(root.path(), "completions tcsh", &["tcsh", "bash", "man"]);
    refused(root.path(), "completions bash train", &["a script for a shell", "train"]);
}

#[test]
fn every_command_has_a_page_for_man() {
    let root = tempfile::tempdir().unwrap();
    let page = |command: &str| done(root.path(), &format!("completions man {command}"));
    let whole = page("");
    assert!(whole.contains(".TH huetape 1") && whole.contains("huetape\\-train(1)"), "{whole}");
    let train = page("train");
    assert!(train.contains(".TH huetape\\-train 1") && train.contains("\\-\\-lr\\-schedule"), "{train}");
    assert!(train.contains(".SH EXAMPLES") && train.contains("huetape train"), "{train}");
    assert!(page("inspect summary").contains(".TH huetape\\-inspect\\-summary 1"));
    refused(root.path(), "completions man trian", &["no such command", "trian", "colorize"]);
    refused(root.path(), "completions man doctor cpu", &["no such command", "cpu", "leave it out"]);
    // Where groff is, it finds nothing to warn of.
    for text in [whole, train] {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-Tutf8"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut groff) = groff.spawn() else { return };
        groff.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = groff.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A training of a tiny network into `run`.
fn train(flags: &str) -> String {
    let data = "--source source --target target --val-source source --val-target target";
    format!("train colournet {data} --out run --device cpu --threads 1 --width 0.05 --size 16 --batch 1 {flags}")
}

#[test]
fn quiet_says_nothing_but_errors_and_verbose_says_each_step_and_what_it_took() {
    let root = scenes(&[48]);
    let usual = huetape(root.path(), &train("--steps 3"));
    assert!(usual.code == 0 && usual.stderr.contains("device: ") && !usual.stderr.contains("2/3"), "{}", usual.stderr);
    fs::remove_dir_all(root.path().join("run")).unwrap();
    let quiet = huetape(root.path(), &train("--steps 3 --quiet"));
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(quiet.stdout.lines().last(), usual.stdout.lines().last());
    fs::remove_dir_all(root.path().join("run")).unwrap();
    let verbose = huetape(root.path(), &train("--steps 3 -v"));
    assert!(
        ["1/3 ", "2/3 ", "3/3 ", "done in "].iter().all(|text| verbose.stderr.contains(text)),
        "{}",
        verbose.stderr
    );
    // A flag of all commands may stand before the command too.
    let colorize = "colorize source/0.png broken.png --run run --out out --overwrite --device cpu --keep-going";
    fs::write(root.path().join("broken.png"), "no image").unwrap();
    let ran = huetape(root.path(), &format!("-q {colorize}"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.lines().all(|line| line.starts_with("error: ")), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    refused(root.path(), "doctor -q -v", &["these do not go together"]);
}

/// The JSON that a command writes to standard output and nothing else.
fn json(folder: &Path, line: &str) -> Value {
    let text = done(folder, &format!("{line} --json -"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{line}`: {error}: {text}"))
}

#[test]
fn figures_come_as_json_and_are_those_that_are_printed() {
    let root = scenes(&[48, 48]);
    let (folder, path) = (root.path(), root.path());
    let listed = json(folder, "doctor --list");
    assert!(listed["cores"].as_u64().unwrap() > 0 && listed["adapters"].is_array() && listed["tests"] == json!([]));
    let tested = json(folder, "doctor --device cpu");
    let ops = tested["tests"][0]["ops"].as_array().unwrap();
    assert!(ops.len() > 20 && ops.iter().all(|op| op["passed"] == true && op["difference"] == 0.0), "{tested}");

    let data = "check-data --source source --target target --size 16 --batch 1 --width 0.05 --device cpu";
    let checked = json(folder, data);
    assert_eq!(checked["pairs"].as_array().unwrap().len(), 2);
    assert!(checked["pairs"][0]["width"] == 48 && checked["refused"] == json!([]), "{checked}");
    assert!(
        checked["step"]["seconds"].as_f64().unwrap() > 0.0 && checked["step"]["device_bytes"].as_u64().unwrap() > 0
    );
    let median = checked["source"]["values"]["median"].as_f64().unwrap();
    assert!(done(folder, data).contains(&format!("median {median:.3}")), "{checked}");
    fs::write(path.join("source/lone.png"), fs::read(path.join("source/0.png")).unwrap()).unwrap();
    let ran = huetape(folder, &format!("{data} --json data.json"));
    let refused: Value = serde_json::from_str(&fs::read_to_string(path.join("data.json")).unwrap()).unwrap();
    assert_eq!((ran.code, refused["step"].is_null()), (2, true));
    assert!(refused["refused"][0].as_str().unwrap().contains("lone.png"), "{refused}");
    fs::remove_file(path.join("source/lone.png")).unwrap();

    let summary = json(folder, "inspect summary colournet --width 0.05");
    let trainable = summary[0]["trainable"].as_u64().unwrap();
    let of_layers: u64 =
        summary[0]["layers"].as_array().unwrap().iter().map(|layer| layer["trainable"].as_u64().unwrap()).sum();
    assert!(trainable == of_layers && trainable > 1000, "{summary}");
    let shapes = json(folder, "inspect shapes colournet --width 0.05 --size 64");
    assert_eq!(shapes[0]["layers"][0]["input"], json!([64, 64, 1]));

    let rehearsed = json(folder, &train("--steps 3 --dry-run"));
    assert_eq!((&rehearsed["images"], &rehearsed["steps"]), (&json!(2), &json!(3)));
    let scores = json(folder, &train("--steps 2"));
    assert!(scores["model"]["psnr"].as_f64().unwrap() > 1.0 && scores["images"] == 2, "{scores}");
}
