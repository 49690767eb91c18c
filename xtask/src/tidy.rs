//! `cargo xtask tidy`: the rules of the house that neither rustfmt nor clippy knows.
//!
//! It mends nothing: each finding is a line `file:line: what is wrong, and what to do`. Which files may be exceptions
//! stands in `ci/tidy.toml`, each with its reason; an exception that is no longer needed is a finding too.

use crate::Verdict;
use crate::cargo::Workspace;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod crates;
mod sources;

/// Check the rules of the house: crate directions, file headers, inherited lints, and what must not stand in the tree.
///
/// Rules, by the name that a finding carries:
/// direction (who may import whom), lints (each member inherits the workspace's), versions (each dependency's version
/// stands in the root), header (each .rs opens with //!), loom (cfg(loom) in the shims alone), open (nothing left open),
/// path (no absolute path of one machine), length (over 500 lines needs a reason), safety (unsafe has its argument),
/// map (ARCHITECTURE.md names files that exist), exception (ci/tidy.toml lists nothing needless).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What is wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the root.
    file: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    rule: &'static str,
    message: String,
}

/// The exceptions of `ci/tidy.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Exceptions {
    /// Files over 500 lines, with the reason why each does one job all the same.
    #[serde(default)]
    long_files: BTreeMap<String, String>,
    /// Files that may read `cfg(loom)`, with what they are.
    #[serde(default)]
    loom_files: BTreeMap<String, String>,
    /// Manifests that may give versions of their own, with the reason.
    #[serde(default)]
    own_versions: BTreeMap<String, String>,
}

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    name: String,
    text: String,
}

pub(crate) fn run(_args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let exceptions = read_exceptions(workspace.root())?;
    let sources = read_sources(workspace.root())?;
    let mut findings = crates::check(&workspace, &exceptions)?;
    findings.extend(sources::check(&sources, &exceptions));
    findings.sort();
    findings.iter().for_each(|finding| println!("{finding}"));
    let rust_files = sources.iter().filter(|source| source.is_rust()).count();
    if findings.is_empty() {
        println!(
            "tidy: {} crates, {} files ({rust_files} of Rust), nothing found",
            workspace.members().len(),
            sources.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} found", findings.len());
    Ok(ExitCode::FAILURE)
}

fn read_exceptions(root: &Path) -> Result<Exceptions, Box<dyn std::error::Error>> {
    let path = root.join("ci/tidy.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(toml::from_str(&text).map_err(|error| format!("ci/tidy.toml: {error}"))?)
}

/// Every text file below the root, in order of name, without what builds and git write.
fn read_sources(root: &Path) -> Result<Vec<Source>, Box<dyn std::error::Error>> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if kind.is_dir() {
                if !["target", ".git", "corpus", "artifacts", "coverage"].iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else if kind.is_file() && name != "Cargo.lock" {
                let Ok(text) = String::from_utf8(std::fs::read(&path)?) else { continue };
                let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
                sources.push(Source { name, text });
            }
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

impl Source {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    /// Whether the file holds tests alone.
    fn is_test(&self) -> bool {
        self.name.split('/').any(|part| part == "tests")
    }

    /// A finding in this file.
    fn finding(&self, line: usize, rule: &'static str, message: impl Into<String>) -> Finding {
        Finding { file: self.name.clone(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: [{}] {}", self.file, self.rule, self.message),
            line => write!(f, "{}:{line}: [{}] {}", self.file, self.rule, self.message),
        }
    }
}
