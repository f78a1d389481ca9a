//! Running the binary as a user does.

use assert_cmd::Command;
use huetape::imaging::codec::save::save_png;
use huetape::imaging::synth::Scene;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a run of the binary left behind.
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs the binary in `folder` with the words of `line` as arguments.
pub fn huetape(folder: &Path, line: &str) -> Ran {
    // What is measured here is no other program's, and the folder stays as it was.
    huetape_with_cache(folder, &std::env::temp_dir().join("huetape-tests"), line)
}

/// The same with a folder of its own for what is measured.
pub fn huetape_with_cache(folder: &Path, cache: &Path, line: &str) -> Ran {
    let mut command = Command::cargo_bin("huetape").unwrap();
    // Without the latter as in a bare container, where Mesa would complain on stderr.
    command.current_dir(folder).env_remove("HUETAPE_DEVICE").env_remove("XDG_RUNTIME_DIR");
    command.env("HUETAPE_CACHE", cache);
    let output = command.args(line.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the binary, which must end well; what it printed.
pub fn done(folder: &Path, line: &str) -> String {
    let ran = huetape(folder, line);
    assert_eq!(ran.code, 0, "`{line}`: {}", ran.stderr);
    ran.stdout
}

/// Runs the binary, which must refuse: exit code 2, one line on stderr that holds every text of `named`, and nothing
/// new in the folder.
pub fn refused(folder: &Path, line: &str, named: &[&str]) {
    let stderr = failed(folder, line, 2, named);
    assert_eq!(stderr.lines().count(), 1, "`{line}`: {stderr}");
}

/// Runs the binary, which must end with `code`, one line of error that holds every text of `named`, and nothing new in
/// the folder; what it said on stderr, notes included.
pub fn failed(folder: &Path, line: &str, code: i32, named: &[&str]) -> String {
    let before = listing(folder);
    let Ran { code: found, stderr, .. } = huetape(folder, line);
    assert_eq!(found, code, "`{line}`: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "`{line}`: {stderr}");
    for text in named {
        assert!(errors[0].contains(text), "`{line}` does not name {text}: {stderr}");
    }
    assert_eq!(listing(folder), before, "`{line}` left something behind");
    stderr
}

/// Every path below a folder, sorted.
pub fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(listing(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

/// A folder with `source` and `target`: synthetic scenes of `width` x 48 pixels, SAR and optical, `0.png` and so on.
pub fn scenes(widths: &[usize]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for (index, &width) in widths.iter().enumerate() {
        let scene = Scene::new(5, index as u32, width.max(48));
        let cut = |samples: Vec<u8>, bands: usize| -> Vec<u8> {
            let rows = samples.chunks_exact(width.max(48) * bands).take(48);
            rows.flat_map(|row| row[..width * bands].to_vec()).collect()
        };
        let name = format!("{index}.png");
        save_png(&root.path().join("source").join(&name), &cut(scene.sar(4), 1), width, 48, None).unwrap();
        save_png(&root.path().join("target").join(&name), &cut(scene.optical(), 3), width, 48, None).unwrap();
    }
    root
}

/// The `Description` of a PNG.
pub fn description(path: &Path) -> Option<String> {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    let text = reader.info().utf8_text.iter().find(|text| text.keyword == "Description");
    text.map(|text| text.get_text().unwrap())
}
