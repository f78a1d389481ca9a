//! What commands print for shells, for `man` and for other programs.

mod common;

use common::binary::{done, refused};
use std::io::Write;
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
    assert!(train.contains(".TH huetape-train 1") && train.contains("\\-\\-lr\\-schedule"), "{train}");
    assert!(train.contains(".SH EXAMPLES") && train.contains("huetape train"), "{train}");
    assert!(page("inspect summary").contains(".TH huetape-inspect-summary 1"));
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
