//! The order of the house, held by reading the sources: who uses whom, where `unsafe` stands, who prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a file may have. Those over 500 are on their way to being two files.
const MOST_LINES: usize = 600;
/// The only files with `unsafe` code and how many blocks of it they have: the creation of trusted shaders; the call of sgemm, and
/// four calls of functions that were compiled for instructions the processor has.
const UNSAFE_FILES: [(&str, usize); 2] = [("src/engine/device/gpu.rs", 1), ("src/engine/ops/gemm.rs", 5)];

/// A source file as its product code: comments, and modules that only tests compile, are blank.
struct Source {
    path: PathBuf,
    code: String,
}

impl Source {
    /// The top-level module that the file belongs to; `None` for `lib.rs` and `main.rs`.
    fn module(&self) -> Option<String> {
        let first = self.path.strip_prefix("src").unwrap().components().next().unwrap();
        let name = first.as_os_str().to_str().unwrap().trim_end_matches(".rs");
        (name != "lib" && name != "main").then(|| name.to_owned())
    }

    /// The top-level modules of this crate that the code names by `crate::`.
    fn uses(&self) -> BTreeSet<String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            let rest = &self.code[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list[..list.find("};").unwrap_or(list.len())].split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            found.extend(names.iter().map(|name| name.split(|c| !is_name(c)).next().unwrap().to_owned()));
        }
        found
    }

    fn has_word(&self, word: &str) -> bool {
        let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
        })
    }
}

fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in {folder}: run from the repository's root");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file of `mod NAME;` in the file at `path`.
fn file_of_module(path: &Path, name: &str) -> PathBuf {
    let folder = match path.file_name().unwrap().to_str().unwrap() {
        "mod.rs" | "lib.rs" => path.parent().unwrap().to_path_buf(),
        _ => path.with_extension(""),
    };
    folder.join(format!("{name}.rs"))
}

/// All sources below `src`, without comments and without what is for tests alone.
fn sources() -> Vec<Source> {
    let mut for_tests = BTreeSet::new();
    let mut all = Vec::new();
    for path in files_under("src", "rs") {
        let text = read(&path);
        let mut code = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line != "#[cfg(test)]" {
                code.push_str(if line.trim_start().starts_with("//") { "" } else { line });
                code.push('\n');
                continue;
            }
            // A module in this file, up to its closing brace, or one in a file of its own. An attribute may come between.
            let item = lines.by_ref().find(|line| !line.starts_with("#["));
            let item = item.unwrap_or_else(|| panic!("{}: #[cfg(test)] before nothing", path.display()));
            if item.ends_with('{') {
                lines.by_ref().find(|line| *line == "}");
            } else if let Some((_, name)) = item.trim_end_matches(';').split_once("mod ") {
                for_tests.insert(file_of_module(&path, name));
            }
        }
        all.push(Source { path, code });
    }
    all.retain(|source| !for_tests.contains(&source.path));
    all
}

/// The modules in the order that the front page of the library names.
fn order() -> Vec<String> {
    let text = read(Path::new("src/lib.rs"));
    let front: String = text.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join(" ");
    let list = front.split_once("named above it in this list:").expect("src/lib.rs names the order of the modules").1;
    let list = &list[..list.find(". ").expect("the list ends with a full stop")];
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_module_uses_only_those_above_it() {
    let order = order();
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().filter_map(Source::module).collect();
    assert_eq!(modules, order.iter().cloned().collect(), "modules, and those that src/lib.rs names in order");
    let mut failures = Vec::new();
    for source in &sources {
        let Some(module) = source.module() else { continue };
        let place = |name: &String| order.iter().position(|module| module == name);
        for used in source.uses() {
            if place(&used) > place(&module) {
                failures.push(format!("{} uses crate::{used}, which stands below {module}", source.path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn unsafe_code_stands_only_in_the_matrix_products_and_the_trusted_shader() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| {
            source.code.contains("unsafe {")
                || source.code.contains("(unsafe_code")
                || source.code.contains("unsafe fn")
                || source.code.contains("unsafe impl")
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_eq!(found, UNSAFE_FILES.map(|(path, _)| path));
    for (path, blocks) in UNSAFE_FILES {
        let text = read(Path::new(path));
        assert_eq!(text.matches("unsafe {").count(), blocks, "{path}: no more than it needs");
        assert_eq!(text.matches("// SAFETY: ").count(), blocks, "{path}: each says why it is sound");
    }
}

#[test]
fn only_the_command_line_prints() {
    let printing = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];
    let failures: Vec<String> = sources()
        .iter()
        .filter(|source| source.module().as_deref() != Some("cli"))
        .flat_map(|source| {
            printing
                .iter()
                .filter(|name| source.has_word(name))
                .map(|name| format!("{}: {name}", source.path.display()))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_kernel_begins_with_a_comment_that_says_what_it_computes() {
    for path in files_under("kernels", "wgsl") {
        let text = read(&path);
        let header = text.lines().take_while(|line| line.starts_with("//")).filter(|line| !line.starts_with("// use:"));
        assert!(header.count() >= 1, "{} has no header", path.display());
    }
}

#[test]
fn files_stay_short() {
    let all = [("src", "rs"), ("tests", "rs"), ("kernels", "wgsl"), ("tools", "py")].into_iter();
    let long: Vec<String> = all
        .flat_map(|(folder, extension)| files_under(folder, extension))
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{}: {lines} lines, {MOST_LINES} at most: split it", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
