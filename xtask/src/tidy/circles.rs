//! The rule about circles: the files of a product crate do not use each other in a circle.
//!
//! A file uses another one where a path in its code leads there: `crate::…`, `super::…`, or a name of a child module. A
//! re-export is followed to the file that defines the name, and is no use by the file that only passes the name on.
//! Calls of methods lead nowhere, so an `impl` block may stand in another file than its type. What is there for tests
//! alone is not looked at.

use super::syntax::is_for_tests;
use super::{Finding, Source};
use crate::cargo::PRODUCT;
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

/// The path of a module below its crate.
type Module = Vec<String>;

/// One file of a crate.
struct File<'a> {
    source: &'a Source,
    /// Paths in its code, as modules and names below the crate, with their lines.
    paths: Vec<(Module, usize)>,
    /// What its `use` items bring in, by the name under which it can be asked for here.
    imports: BTreeMap<String, Module>,
}

pub(super) fn check(files: &[(&Source, syn::File)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in PRODUCT {
        let mut modules: BTreeMap<Module, File<'_>> = BTreeMap::new();
        for (source, file) in files {
            let Some((owner, module)) = source.product_module() else { continue };
            // `lib.rs` of the crate's own name alone; files that the tests of the crate hold are no part of it.
            if owner != name {
                continue;
            }
            let module: Module = module.into_iter().map(str::to_owned).collect();
            let mut paths = Paths::new(&module);
            paths.visit_file(file);
            let Paths { mut found, imports, passed_on, names, .. } = paths;
            found.extend(
                passed_on.into_iter().filter(|(name, ..)| names.contains(name)).map(|(_, path, line)| (path, line)),
            );
            modules.insert(module, File { source, paths: found, imports });
        }
        findings.extend(circles(name, &modules));
    }
    findings
}

fn circles(name: &str, modules: &BTreeMap<Module, File<'_>>) -> Vec<Finding> {
    let uses: BTreeMap<&Module, BTreeMap<&Module, usize>> = modules
        .iter()
        .map(|(module, file)| {
            let mut uses = BTreeMap::new();
            for (path, line) in &file.paths {
                if let Some(used) = definition(path, modules, 0).filter(|used| *used != module) {
                    uses.entry(used).or_insert(*line);
                }
            }
            (module, uses)
        })
        .collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.keys().map(|module| (module, reachable(module, &uses))).collect();
    let mut findings = Vec::new();
    let mut reported: BTreeSet<&Module> = BTreeSet::new();
    for module in modules.keys() {
        if reported.contains(module) || !reached[module].contains(module) {
            continue;
        }
        let circle: Vec<&Module> =
            modules.keys().filter(|other| reached[module].contains(other) && reached[other].contains(module)).collect();
        reported.extend(&circle);
        let within = |at: &&Module| {
            let mut lines = uses[*at].iter().filter(|(used, _)| circle.contains(used));
            lines.by_ref().map(|(used, line)| format!("{}:{line} uses {}", title(at), title(used))).collect::<Vec<_>>()
        };
        let message = format!("a circle of {} files of {name}: {}", circle.len(), {
            circle.iter().flat_map(within).collect::<Vec<_>>().join(", ")
        });
        findings.push(modules[module].source.finding(0, "circles", message));
    }
    findings
}

fn title(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

fn reachable<'a>(from: &'a Module, uses: &BTreeMap<&'a Module, BTreeMap<&'a Module, usize>>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for used in uses[module].keys() {
            if reached.insert(*used) {
                open.push(used);
            }
        }
    }
    reached
}

/// The file that defines what `path` names: the deepest module on the way, or where that one has the name from.
fn definition<'a>(path: &Module, modules: &'a BTreeMap<Module, File<'_>>, depth: usize) -> Option<&'a Module> {
    let (found, file) = (0..=path.len()).rev().find_map(|count| modules.get_key_value(&path[..count]))?;
    match path.get(found.len()).and_then(|name| file.imports.get(name)) {
        // Two names may stand for each other; a few steps lead to the end of every sound chain.
        Some(target) if depth < 8 => {
            let whole: Module = target.iter().chain(&path[found.len() + 1..]).cloned().collect();
            definition(&whole, modules, depth + 1)
        }
        _ => Some(found),
    }
}

struct Paths<'a> {
    module: &'a Module,
    /// How many modules written within the file the walk is in.
    depth: usize,
    found: Vec<(Module, usize)>,
    imports: BTreeMap<String, Module>,
    /// Whether the `use` item that the walk is in is public.
    is_public: bool,
    /// What public `use` items bring in, by its name.
    passed_on: Vec<(String, Module, usize)>,
    /// The first names of all paths in the code.
    names: BTreeSet<String>,
}

impl<'a> Paths<'a> {
    fn new(module: &'a Module) -> Self {
        let (found, imports, passed_on, names) = (Vec::new(), BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { module, depth: 0, found, imports, is_public: false, passed_on, names }
    }

    /// `segments` below the crate, where they lead into it.
    fn resolve(&self, segments: &[String]) -> Option<Module> {
        let mut base = self.module.clone();
        let mut rest = segments;
        match segments.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &segments[1..];
            }
            "self" => rest = &segments[1..],
            "super" => {
                let mut depth = self.depth;
                while rest.first().is_some_and(|segment| segment == "super") {
                    if depth > 0 {
                        depth -= 1;
                    } else {
                        base.pop()?;
                    }
                    rest = &rest[1..];
                }
            }
            // A child module or a name of this file; what comes from elsewhere leads to no other file of the crate.
            _ => {}
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>, line: usize) {
        let (name, segment) = match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, line);
                before.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.import(item, before, line));
                return;
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => (rename.rename.to_string(), rename.ident.to_string()),
            UseTree::Glob(_) if self.is_public => return,
            UseTree::Glob(_) => {
                self.found.extend(self.resolve(before).map(|path| (path, line)));
                return;
            }
        };
        let mut segments = before.clone();
        if segment != "self" {
            segments.push(segment);
        }
        let Some(path) = self.resolve(&segments) else { return };
        let name = if name == "self" { segments.last().cloned().unwrap_or_default() } else { name };
        // A name that stands for itself is from another crate.
        let own: Module = self.module.iter().chain([&name]).cloned().collect();
        if self.depth == 0 && path != own {
            self.imports.insert(name.clone(), path.clone());
        }
        if self.is_public {
            self.passed_on.push((name, path, line));
        } else {
            self.found.push((path, line));
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &mut Vec::new(), item.use_token.span.start().line);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.names.extend(segments.first().cloned());
        // A single name is an import's, which was found, or this file's.
        if segments.len() > 1 {
            let line = path.segments[0].ident.span().start().line;
            self.found.extend(self.resolve(&segments).map(|path| (path, line)));
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(crate)` and `pub(super)` use nothing.
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::{Source, check};

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(name, text)| Source { name: format!("monshm/src/{name}"), text: (*text).to_owned() })
            .collect();
        let (files, broken) = parse(&sources);
        assert!(broken.is_empty(), "{broken:?}");
        check(&files).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn two_files_that_use_each_other_are_found_and_named() {
        let a = ("a.rs", "use crate::b::B;\npub struct A;\n");
        let message = "a circle of 2 files of monshm: a:1 uses b, b:2 uses a";
        assert_eq!(found(&[a, ("b.rs", "pub struct B;\nfn f() { crate::a::A; }\n")]), [message]);
        assert_eq!(found(&[a, ("b.rs", "pub struct B;\nuse super::a::A;\n")]), [message]);
        assert_eq!(found(&[a, ("b.rs", "pub struct B;\nuse super::{a::{self as c}, d};\n")]), [message]);
        assert!(found(&[a, ("b.rs", "pub struct B;\n")]).is_empty());
    }

    #[test]
    fn a_re_export_is_followed_to_the_file_that_defines() {
        let root = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use crate::b::B;\n");
        let b = ("b.rs", "use crate::A;\npub struct B;\n");
        assert!(found(&[root, ("a.rs", "pub struct A;\n"), b]).is_empty());
        let circle = found(&[root, ("a.rs", "use crate::B;\npub struct A;\n"), b]);
        assert_eq!(circle, ["a circle of 2 files of monshm: a:1 uses b, b:1 uses a"]);
    }

    #[test]
    fn a_parent_that_only_passes_a_name_on_does_not_use_it() {
        let child = ("a/b.rs", "use super::A;\npub struct B;\n");
        assert!(found(&[("a/mod.rs", "mod b;\npub use b::B;\npub struct A;\n"), child]).is_empty());
        let circle = found(&[("a/mod.rs", "mod b;\npub use b::B;\npub struct A(B);\n"), child]);
        assert_eq!(circle, ["a circle of 2 files of monshm: a:2 uses a::b, a::b:1 uses a"]);
    }

    #[test]
    fn parents_and_children_may_form_a_circle_too() {
        let parent = ("a/mod.rs", "mod b;\npub struct A;\nfn f() { b::g(); }\n");
        let message = "a circle of 2 files of monshm: a:3 uses a::b, a::b:1 uses a";
        assert_eq!(found(&[parent, ("a/b.rs", "use super::A;\npub fn g() {}\n")]), [message]);
        assert!(found(&[parent, ("a/b.rs", "pub(super) fn g() {}\n")]).is_empty());
    }

    #[test]
    fn an_impl_block_apart_from_its_type_and_what_tests_use_are_no_circle() {
        let a = ("a.rs", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::g; }\n");
        assert!(found(&[a, ("b.rs", "use crate::a::A;\nimpl A { pub fn f(&self) {} }\npub fn g() {}\n")]).is_empty());
    }
}
