//! The order of the house, held by parsing the sources: who uses whom, where `unsafe` stands, who prints, what names
//! stand where.

#[path = "structure/imports.rs"]
mod imports;
#[path = "structure/sources.rs"]
mod sources;

use crate::imports::{circles, graph};
use crate::sources::{Excuses, attributes, files_under, formatted, is_for_tests, library, read};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The modules in order: each uses only those before it.
const ORDER: [&str; 15] = [
    "error", "files", "random", "engine", "imaging", "dataset", "paint", "report", "train", "exchange", "networks",
    "evaluate", "run", "workshop", "cli",
];
/// Lines that a file may have. A longer one says why in one of its first lines, see [`LONG`].
const MOST_LINES: usize = 450;
/// What the reason of a long file begins with.
const LONG: &str = "// Long because: ";
/// Columns that a line may have.
const MOST_COLUMNS: usize = 120;
/// The only files with `unsafe` code and how many places of it they have: a slice that tasks write to between the
/// places of others; the consent to cooperative matrices, which wgpu calls experimental; the creation of a pipeline
/// cache from a file; of trusted shaders; who writes to that slice; a hint to the processor's caches, and four calls of
/// functions that were compiled for instructions it has; calls of Vulkan.
const UNSAFE_FILES: [(&str, usize); 7] = [
    ("src/engine/blocks.rs", 3),
    ("src/engine/device/gpu/matrices.rs", 1),
    ("src/engine/device/gpu/pipeline_cache.rs", 1),
    ("src/engine/device/gpu/pipelines.rs", 1),
    ("src/engine/ops/conv2d/winograd/run.rs", 1),
    ("src/engine/ops/gemm.rs", 5),
    ("src/workshop/isa/vulkan.rs", 13),
];
/// Folders below `src/networks` that hold what several networks share.
const SHARED: [&str; 1] = ["classifier"];
/// Files where two dashes begin a property of CSS, not a flag.
const STYLES: [&str; 2] = ["src/report/report.css", "src/report/page.rs"];

/// Files whose tests paint with real networks, and so name some. An entry that is not needed fails its rule.
const EXCUSED: &[(&str, &str)] = &[
    ("network", "src/paint/memory.rs"),
    ("network", "src/paint/scene_tests.rs"),
    ("network", "src/paint/tests.rs"),
    ("network", "src/run/colorizer.rs"),
];

#[test]
fn a_module_uses_only_those_above_it() {
    let sources = library();
    let modules: BTreeSet<&str> = sources.iter().filter_map(|s| s.module.first()).map(String::as_str).collect();
    assert_eq!(modules, ORDER.into(), "the modules of src/lib.rs, and those in ORDER");
    // The list on the front page of the library is the same.
    let front = read(Path::new("src/lib.rs")).replace("\n//!", "");
    let list = ORDER.map(|name| format!("`{name}`")).join(", ");
    assert!(front.contains(&list), "src/lib.rs does not name the modules in order: {list}");
    let place = |path: &Path| {
        let top = path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs");
        ORDER.iter().position(|module| *module == top)
    };
    let (mut excuses, mut failures) = (Excuses::of("order", EXCUSED), Vec::new());
    for (file, uses) in &graph(&sources) {
        for (used, names) in uses {
            if place(file).is_some() && place(used) > place(file) && !excuses.covers(file) {
                failures.push(format!("{} uses {}, which stands below it: {names:?}", file.display(), used.display()));
            }
        }
    }
    excuses.check("order", &failures);
}

#[test]
fn no_files_use_one_another_in_a_circle() {
    let graph = graph(&library());
    assert!(graph.values().map(BTreeMap::len).sum::<usize>() > graph.len(), "the uses of the files are not found");
    let (mut excuses, mut failures) = (Excuses::of("circle", EXCUSED), Vec::new());
    for circle in circles(&graph) {
        // Every file of a circle is looked up: the list names all of them.
        let excused: Vec<bool> = circle.iter().map(|file| excuses.covers(file)).collect();
        if excused.contains(&false) {
            let mut lines = vec!["a circle:".to_owned()];
            for file in &circle {
                for (used, names) in graph[file].iter().filter(|(used, _)| circle.contains(used)) {
                    lines.push(format!("  {} uses {}: {names:?}", file.display(), used.display()));
                }
            }
            failures.push(lines.join("\n"));
        }
    }
    excuses.check("circle", &failures);
}

/// What the code of a file holds beside names.
#[derive(Default)]
struct Contents {
    unsafe_places: usize,
    allows_unsafe: bool,
    printing: BTreeSet<String>,
}

impl Contents {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut last = String::new();
        for token in tokens {
            match &token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(name) if name == "unsafe" => self.unsafe_places += 1,
                TokenTree::Punct(point) if point.as_char() == '!' => self.called(&last),
                _ => {}
            }
            last = token.to_string();
        }
    }

    fn called(&mut self, name: &str) {
        if ["print", "println", "eprint", "eprintln", "dbg"].contains(&name) {
            self.printing.insert(format!("{name}!"));
        }
    }
}

impl<'ast> Visit<'ast> for Contents {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_places += 1;
        syn::visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.unsafe_places += usize::from(signature.unsafety.is_some());
        syn::visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.unsafe_places += usize::from(item.unsafety.is_some());
        syn::visit::visit_item_impl(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.allows_unsafe |= list.tokens.to_string().contains("unsafe_code");
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.called(&called.path.segments.last().unwrap().ident.to_string());
        self.tokens(called.tokens.clone());
    }
}

/// The contents of every file of the library that not only tests compile.
fn contents() -> Vec<(PathBuf, Contents)> {
    let product = library().into_iter().filter(|source| !source.for_tests);
    let look = |source: sources::Source| {
        let mut contents = Contents::default();
        source.items.iter().for_each(|item| contents.visit_item(item));
        (source.path, contents)
    };
    product.map(look).collect()
}

#[test]
fn unsafe_code_stands_only_where_it_is_known() {
    let mut found = Vec::new();
    for (path, contents) in contents() {
        if contents.unsafe_places > 0 || contents.allows_unsafe {
            found.push((path.display().to_string(), contents.unsafe_places));
        }
    }
    assert_eq!(found, UNSAFE_FILES.map(|(path, places)| (path.to_owned(), places)));
    for (path, places) in UNSAFE_FILES {
        let reasons = read(Path::new(path)).matches("// SAFETY: ").count();
        assert_eq!(reasons, places, "{path}: each says why it is sound");
    }
}

#[test]
fn only_the_command_line_prints() {
    let failures: Vec<String> = contents()
        .iter()
        .filter(|(path, contents)| !path.starts_with("src/cli") && !contents.printing.is_empty())
        .map(|(path, contents)| format!("{} prints by {:?}", path.display(), contents.printing))
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

/// Every Rust file of the repository.
fn rust_files() -> Vec<PathBuf> {
    let folders = ["src", "capi", "tests", "benches", "examples", "tools"];
    let found = folders.iter().flat_map(|folder| files_under(folder, "rs"));
    let found: Vec<PathBuf> = found.collect();
    assert!(found.len() > 100, "{} files: run from the repository's root", found.len());
    found
}

#[test]
fn the_formatter_sees_every_file() {
    let visited = formatted();
    let missed: Vec<String> = rust_files()
        .iter()
        .filter(|path| !visited.contains(*path))
        .map(|path| format!("{}: no target leads to it by plain `mod`: cargo fmt does not format it", path.display()))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn files_stay_short() {
    let others = [("kernels", "wgsl"), ("tools", "py"), ("capi", "c")].into_iter();
    let all = others.flat_map(|(folder, extension)| files_under(folder, extension)).chain(rust_files());
    let (mut excuses, mut failures) = (Excuses::of("length", EXCUSED), Vec::new());
    for path in all {
        let text = read(&path);
        let lines = text.lines().count();
        let reason = text.lines().take(10).any(|line| line.starts_with(LONG) && line.len() > LONG.len());
        if lines > MOST_LINES && !reason && !excuses.covers(&path) {
            failures.push(format!("{}: {lines} lines, {MOST_LINES} at most: split it", path.display()));
        }
    }
    excuses.check("length", &failures);
}

#[test]
fn lines_stay_within_the_width() {
    let (mut excuses, mut failures) = (Excuses::of("width", EXCUSED), Vec::new());
    for path in rust_files() {
        for (number, line) in (1..).zip(read(&path).lines()) {
            let columns = line.chars().count();
            if columns > MOST_COLUMNS && !excuses.covers(&path) {
                failures.push(format!("{}:{number}: {columns} columns, {MOST_COLUMNS} at most", path.display()));
            }
        }
    }
    excuses.check("width", &failures);
}

/// Lines of the files below `src` that `wrong` finds something in, but for those that `exempt` says.
fn check_lines(rule: &str, exempt: impl Fn(&Path) -> bool, wrong: impl Fn(&str) -> Option<String>) {
    let (mut excuses, mut failures) = (Excuses::of(rule, EXCUSED), Vec::new());
    for path in ["rs", "css", "js"].iter().flat_map(|extension| files_under("src", extension)) {
        if exempt(&path) {
            continue;
        }
        for (number, line) in (1..).zip(read(&path).lines()) {
            if let Some(what) = wrong(line)
                && !excuses.covers(&path)
            {
                failures.push(format!("{}:{number}: {what}: {}", path.display(), line.trim()));
            }
        }
    }
    excuses.check(rule, &failures);
}

#[test]
fn networks_are_named_only_in_their_folders() {
    let mut names = Vec::new();
    for entry in fs::read_dir("src/networks").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !SHARED.contains(&name.as_str()) {
            names.push(name);
        }
    }
    assert!(names.len() >= 5, "{names:?}");
    let named = |line: &str| {
        let line = line.to_lowercase();
        names.iter().find(|name| line.contains(*name)).map(|name| format!("names the network {name}"))
    };
    check_lines("network", |path| path.starts_with("src/networks"), named);
}

#[test]
fn flags_are_named_only_by_the_command_line() {
    let flag = |line: &str| {
        line.match_indices("--").find_map(|(at, _)| {
            let rest = &line[at + 2..];
            let joined = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
            let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            (!joined && rest.starts_with(|c: char| c.is_ascii_lowercase())).then(|| format!("names the flag --{word}"))
        })
    };
    let exempt = |path: &Path| path.starts_with("src/cli") || STYLES.iter().any(|style| path == Path::new(style));
    check_lines("flag", exempt, flag);
}
