//! Which file uses which: every path in the code is followed through imports and re-exports to the file that defines
//! the name.

use crate::sources::{Source, attributes, is_for_tests};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use syn::visit::Visit;
use syn::{Item, ItemUse, Macro, UseTree, Visibility};

/// Steps of one look-up, at most: re-exports that lead in a circle end here.
const MOST_STEPS: usize = 40;

/// Files, and for each the files it uses with the names it uses of them.
pub type Graph = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// What a name stands for in a module.
#[derive(Debug, Clone)]
enum Meaning {
    /// Something that a file defines.
    Defined(PathBuf),
    /// What a `use` brings in: a path as it is written.
    Imported(Vec<String>),
}

/// A module: its names, and the paths whose names it takes in with `*`.
#[derive(Debug, Default)]
struct Scope {
    names: BTreeMap<String, Meaning>,
    /// Modules below; something else may have the same name, as a function that a module is named after.
    modules: BTreeSet<String>,
    globs: Vec<Vec<String>>,
}

/// The modules of the crate by their paths.
#[derive(Debug, Default)]
struct Scopes(BTreeMap<Vec<String>, Scope>);

/// Where a path leads.
enum Found {
    File(PathBuf),
    Module(Vec<String>),
}

/// The graph of the product's files; what only tests compile is left out.
pub fn graph(sources: &[Source]) -> Graph {
    let product = || sources.iter().filter(|source| !source.for_tests);
    let mut scopes = Scopes::default();
    for source in product() {
        scopes.declare(&source.module, &source.items, &source.path);
    }
    let mut graph = Graph::new();
    for source in product() {
        let facade = source.path.ends_with("mod.rs") || source.path.ends_with("lib.rs");
        let mut walk = Walk { scopes: &scopes, module: source.module.clone(), facade, uses: BTreeMap::new() };
        source.items.iter().for_each(|item| walk.visit_item(item));
        walk.uses.remove(&source.path);
        graph.insert(source.path.clone(), walk.uses);
    }
    graph
}

impl Scopes {
    /// Takes in what the items of a module define.
    fn declare(&mut self, module: &[String], items: &[Item], path: &PathBuf) {
        self.0.entry(module.to_vec()).or_default();
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            let name = match item {
                Item::Const(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Fn(item) => &item.sig.ident,
                Item::Static(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Union(item) => &item.ident,
                Item::Mod(item) => {
                    let child: Vec<String> = module.iter().cloned().chain([item.ident.to_string()]).collect();
                    if let Some((_, items)) = &item.content {
                        self.declare(&child, items, path);
                    }
                    self.0.entry(module.to_vec()).or_default().modules.insert(item.ident.to_string());
                    continue;
                }
                Item::Macro(item) => {
                    // `#[macro_export]` puts a macro at the root.
                    if let Some(name) = &item.ident {
                        self.set(&[], name.to_string(), Meaning::Defined(path.clone()));
                    }
                    continue;
                }
                Item::Use(item) => {
                    for (name, target) in leaves(item) {
                        match name {
                            // `use image;` of a crate, or of a module that is here already: no other name.
                            Some(name) if target.len() == 1 && target[0] == name => {}
                            Some(name) => self.set(module, name, Meaning::Imported(target)),
                            None => self.0.entry(module.to_vec()).or_default().globs.push(target),
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            self.set(module, name.to_string(), Meaning::Defined(path.clone()));
        }
    }

    fn set(&mut self, module: &[String], name: String, meaning: Meaning) {
        self.0.entry(module.to_vec()).or_default().names.insert(name, meaning);
    }

    /// Where a path that is written in a module leads; `None` out of the crate, or to what is local to a function.
    fn find(&self, module: &[String], path: &[String], steps: usize) -> Option<Found> {
        if steps == 0 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let (mut at, rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (module.to_vec(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            _ => (module.to_vec(), path),
        };
        for (i, name) in rest.iter().enumerate() {
            if name == "super" {
                at.pop()?;
                continue;
            }
            let scope = self.0.get(&at)?;
            let meaning = scope.names.get(name);
            let last = i + 1 == rest.len();
            if scope.modules.contains(name) && !(last && meaning.is_some()) {
                at.push(name.clone());
                continue;
            }
            match meaning {
                Some(Meaning::Defined(file)) => return Some(Found::File(file.clone())),
                Some(Meaning::Imported(target)) => match self.find(&at, target, steps - 1)? {
                    Found::Module(module) => at = module,
                    file => return Some(file),
                },
                None => {
                    let through = |target: &Vec<String>| match self.find(&at, target, steps - 1)? {
                        Found::Module(module) => self.find(&module, &rest[i..], steps - 1),
                        // The variants of an enum.
                        Found::File(_) => None,
                    };
                    return scope.globs.iter().find_map(through);
                }
            }
        }
        Some(Found::Module(at))
    }
}

/// What a `use` brings in: names with their paths, and paths of `*` without a name.
fn leaves(item: &ItemUse) -> Vec<(Option<String>, Vec<String>)> {
    fn walk(tree: &UseTree, before: &[String], found: &mut Vec<(Option<String>, Vec<String>)>) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => walk(&path.tree, &with(path.ident.to_string()), found),
            UseTree::Name(name) if name.ident == "self" => found.push((before.last().cloned(), before.to_vec())),
            UseTree::Name(name) => found.push((Some(name.ident.to_string()), with(name.ident.to_string()))),
            UseTree::Rename(rename) => found.push((Some(rename.rename.to_string()), with(rename.ident.to_string()))),
            UseTree::Glob(_) => found.push((None, before.to_vec())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, found)),
        }
    }
    let mut found = Vec::new();
    if item.leading_colon.is_none() {
        walk(&item.tree, &[], &mut found);
    }
    found
}

/// Walks through a file and collects the files that it uses.
struct Walk<'a> {
    scopes: &'a Scopes,
    module: Vec<String>,
    /// Whether the file may re-export without using what it re-exports.
    facade: bool,
    uses: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Walk<'_> {
    fn add(&mut self, path: &[String]) {
        if let Some(Found::File(file)) = self.scopes.find(&self.module, path, MOST_STEPS) {
            self.uses.entry(file).or_default().insert(path.join("::"));
        }
    }

    /// The paths among the tokens of a macro's call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => path.push(name.to_string()),
                TokenTree::Ident(name) => {
                    self.add_from_macro(&path);
                    path = vec![name.to_string()];
                }
                TokenTree::Punct(point) if point.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.add_from_macro(&path);
                    path.clear();
                    self.tokens(group.stream());
                }
                _ => {
                    self.add_from_macro(&path);
                    path.clear();
                }
            }
            colons = 0;
        }
        self.add_from_macro(&path);
    }

    /// A single name may be a local variable; where it is an import, its `use` has been seen.
    fn add_from_macro(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.add(path);
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if let Some((_, items)) = &item.content {
            self.module.push(item.ident.to_string());
            items.iter().for_each(|item| self.visit_item(item));
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if self.facade && !matches!(item.vis, Visibility::Inherited) {
            return;
        }
        for (_, path) in leaves(item) {
            self.add(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.tokens(called.tokens.clone());
        syn::visit::visit_macro(self, called);
    }

    /// Attributes name no files, but for what they derive.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    /// `pub(in path)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// The sets of files that use one another in a circle.
pub fn circles(graph: &Graph) -> Vec<Vec<PathBuf>> {
    let reached = |from: &PathBuf| {
        let mut seen: BTreeSet<&PathBuf> = BTreeSet::new();
        let mut waiting: Vec<&PathBuf> = graph[from].keys().collect();
        while let Some(file) = waiting.pop() {
            if seen.insert(file) {
                waiting.extend(graph[file].keys());
            }
        }
        seen
    };
    let reach: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = graph.keys().map(|file| (file, reached(file))).collect();
    let mut circles: Vec<Vec<PathBuf>> = Vec::new();
    for (file, seen) in &reach {
        if seen.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
            let circle = seen.iter().filter(|other| reach[**other].contains(file));
            circles.push(circle.map(|other| (*other).clone()).collect());
        }
    }
    circles
}

#[test]
fn names_are_followed_to_the_files_that_define_them() {
    let source = |path: &str, module: &[&str], code: &str| Source {
        path: PathBuf::from(path),
        module: module.iter().map(|name| (*name).to_owned()).collect(),
        items: syn::parse_file(code).unwrap().items,
        for_tests: false,
    };
    let sources = [
        source("src/lib.rs", &[], "pub mod a; pub mod b; pub use a::shape::Shape;"),
        source("src/a/mod.rs", &["a"], "pub mod shape; pub mod area; pub use area::area; pub use shape::*;"),
        // A function and a module of one name; an import under another name; a path within a macro.
        source("src/a/area.rs", &["a", "area"], "use super::Shape as S; pub fn area(s: S) { print!(crate::b::UNIT) }"),
        source(
            "src/a/shape.rs",
            &["a", "shape"],
            "pub enum Shape { Round } #[cfg(test)] mod tests { use crate::b::f; }",
        ),
        source("src/b.rs", &["b"], "use crate::{a, Shape::*}; pub const UNIT: u8 = 1; pub fn f() { a::area(Round) }"),
    ];
    let graph = graph(&sources);
    let uses = |file: &str| graph[&PathBuf::from(file)].keys().map(|used| used.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(uses("src/a/area.rs"), ["src/a/shape.rs", "src/b.rs"]);
    assert_eq!(uses("src/b.rs"), ["src/a/area.rs", "src/a/shape.rs"]);
    // Re-exports in a file that gathers others use nothing, and neither does what only tests compile.
    assert!(uses("src/lib.rs").is_empty() && uses("src/a/mod.rs").is_empty() && uses("src/a/shape.rs").is_empty());
    assert_eq!(circles(&graph), [["src/a/area.rs", "src/b.rs"].map(PathBuf::from)]);
}
