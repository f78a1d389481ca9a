//! The sources as the compiler sees them: parsed, found by following `mod` declarations from the roots of the targets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

/// A parsed file and the module that it is.
pub struct Source {
    pub path: PathBuf,
    /// The names from the crate's root to the module, `["engine", "ops"]`.
    pub module: Vec<String>,
    pub items: Vec<Item>,
    /// Whether only tests compile it.
    pub for_tests: bool,
}

/// All files below `folder` whose names end in `.extension`, sorted; none where there is no folder.
pub fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crate's library, file by file from `src/lib.rs`.
pub fn library() -> Vec<Source> {
    follow(Path::new("src/lib.rs"))
}

/// Every file that the formatter visits: those that declarations of modules lead to, from the root of each target.
/// Declarations within a macro are invisible to it.
pub fn formatted() -> BTreeSet<PathBuf> {
    roots().iter().flat_map(|root| follow(root)).map(|source| source.path).collect()
}

/// The root files of the package's targets: those that Cargo finds by itself, and those that the manifest names.
fn roots() -> BTreeSet<PathBuf> {
    // tools/test formats the crates of the C library, of the peer and of the fuzz targets too.
    let known = ["src/lib.rs", "src/main.rs", "capi/src/lib.rs", "capi/build.rs", "tools/peers/burn/src/main.rs"];
    let mut roots: BTreeSet<PathBuf> = known.map(PathBuf::from).into();
    for folder in ["src/bin", "tests", "capi/tests", "benches", "examples", "tools/fuzz/targets"] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let root = if path.is_dir() { path.join("main.rs") } else { path };
            if root.is_file() && root.extension().is_some_and(|extension| extension == "rs") {
                roots.insert(root);
            }
        }
    }
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().unwrap();
    for (kind, targets) in &manifest {
        if matches!(kind.as_str(), "bin" | "test" | "bench" | "example") {
            let paths = targets.as_array().unwrap().iter().filter_map(|target| target.get("path")?.as_str());
            roots.extend(paths.map(PathBuf::from));
        }
    }
    roots
}

/// The files of the crate whose root is `root`.
fn follow(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_path_buf(), Vec::new(), false)];
    while let Some((path, module, for_tests)) = waiting.pop() {
        let file = syn::parse_file(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = folder_of_children(&path, module.is_empty());
        for child in declared(&file.items, &module, &folder, path.parent().unwrap(), for_tests) {
            waiting.push(child);
        }
        found.push(Source { path, module, items: file.items, for_tests });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Where the modules that a file declares lie.
fn folder_of_children(path: &Path, is_root: bool) -> PathBuf {
    match is_root || path.ends_with("mod.rs") {
        true => path.parent().unwrap().to_path_buf(),
        false => path.with_extension(""),
    }
}

/// The files of `mod NAME;` among `items`: path, module, and whether only tests compile it. `folder` is where they lie,
/// `beside` the folder that an attribute `path` is relative to.
fn declared(
    items: &[Item],
    module: &[String],
    folder: &Path,
    beside: &Path,
    for_tests: bool,
) -> Vec<(PathBuf, Vec<String>, bool)> {
    let mut found = Vec::new();
    for item in items {
        let Item::Mod(item) = item else { continue };
        let name = item.ident.to_string();
        let module: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
        let for_tests = for_tests || is_for_tests(&item.attrs);
        match (&item.content, path_attribute(item)) {
            (Some((_, items)), _) => {
                let folder = folder.join(&name);
                found.extend(declared(items, &module, &folder, &folder, for_tests));
            }
            (None, Some(path)) => found.push((beside.join(path), module, for_tests)),
            (None, None) => {
                let flat = folder.join(format!("{name}.rs"));
                let path = if flat.is_file() { flat } else { folder.join(&name).join("mod.rs") };
                found.push((path, module, for_tests));
            }
        }
    }
    found
}

/// The value of `#[path = "…"]`.
fn path_attribute(item: &ItemMod) -> Option<String> {
    item.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether an item stands under `#[cfg(test)]`, alone or with the harness's feature beside it, or `#[test]`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            matches!(list.tokens.to_string().as_str(), "test" | "any (test , feature = \"testing\")")
        }
        Meta::Path(path) => path.is_ident("test"),
        _ => false,
    })
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// What rules do not hold yet for: names of rules with a file, or a folder that ends in `/`. What is found and not
/// excused fails, and so does an excuse that nothing needs any more.
pub struct Excuses<'a> {
    left: BTreeMap<&'a str, bool>,
}

impl<'a> Excuses<'a> {
    pub fn of(rule: &str, all: &[(&'a str, &'a str)]) -> Self {
        Excuses { left: all.iter().filter(|(of, _)| *of == rule).map(|(_, path)| (*path, false)).collect() }
    }

    /// Whether a finding in the file at `path` is excused.
    pub fn covers(&mut self, path: &Path) -> bool {
        let text = path.to_str().unwrap();
        let mut covered = false;
        for (excused, used) in &mut self.left {
            if text == *excused || excused.ends_with('/') && text.starts_with(excused) {
                (*used, covered) = (true, true);
            }
        }
        covered
    }

    /// Fails where something was found, or an excuse was not needed.
    pub fn check(self, rule: &str, failures: &[String]) {
        let needless: Vec<String> = self
            .left
            .iter()
            .filter(|(_, used)| !**used)
            .map(|(path, _)| format!("{path} keeps the rule {rule:?}: take it out of EXCUSED"))
            .collect();
        let all: Vec<String> = failures.iter().cloned().chain(needless).collect();
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
}
