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

mod circles;
mod crates;
mod sources;
mod syntax;
mod words;

/// Check the rules of the house: crate directions, file headers, inherited lints, words, and what must not stand in the
/// tree.
///
/// Rules, by the name that a finding carries:
/// direction (who may import whom), lints (each member inherits the workspace's), versions (each dependency's version
/// stands in the root), header (each .rs opens with //!), loom (cfg(loom) in the shims alone), open (nothing left
/// open), path (no absolute path of one machine), length (over 500 lines needs a reason), safety (unsafe has its
/// argument), map (ARCHITECTURE.md names files that exist), columns (no line over 120), functions (none over 70 lines),
/// words (names use the words of ci/words.toml), circles (files of a product crate use each other in no circle),
/// examples (what is public in a product crate shows one, accessors aside), exception (no exception or budget is
/// needless).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the findings that a budget of ci/tidy.toml allows, too: of this rule, or of `all`.
    #[arg(long, value_name = "RULE", default_missing_value = "all", num_args = 0..=1)]
    show: Option<String>,
}

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
    /// How many findings a rule may still have: for a rule that is newer than the code. The numbers only fall.
    #[serde(default)]
    budget: BTreeMap<String, usize>,
}

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    name: String,
    text: String,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let exceptions: Exceptions = read_toml(workspace.root(), "ci/tidy.toml")?;
    let dictionary: words::Dictionary = read_toml(workspace.root(), "ci/words.toml")?;
    let sources = read_sources(workspace.root())?;
    let (files, mut findings) = syntax::parse(&sources);
    findings.extend(crates::check(&workspace, &exceptions)?);
    findings.extend(sources::check(&sources, &exceptions));
    findings.extend(syntax::check(&files));
    findings.extend(words::check(&dictionary, &files));
    findings.extend(circles::check(&files));
    findings.sort();
    let (mut findings, allowed) = within_budget(findings, &exceptions.budget);
    findings.sort();
    let is_shown = |rule: &str| args.show.as_deref().is_some_and(|shown| shown == "all" || shown == rule);
    allowed.iter().filter(|finding| is_shown(finding.rule)).for_each(|finding| println!("allowed: {finding}"));
    findings.iter().for_each(|finding| println!("{finding}"));
    for (rule, budget) in &exceptions.budget {
        let count = allowed.iter().filter(|finding| finding.rule == rule).count();
        println!(
            "tidy: {rule}: {count} found, within the budget of {budget}; `cargo xtask tidy --show {rule}` names them"
        );
    }
    if findings.is_empty() {
        let (crates, rust_files) = (workspace.members().len(), files.len());
        println!("tidy: {crates} crates, {} files ({rust_files} of Rust), nothing found", sources.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} found; each line says what to do", findings.len());
    Ok(ExitCode::FAILURE)
}

/// Takes out the findings that a budget allows. A rule that has more than its budget has them all, since nobody can say
/// which are the new ones; a budget of nothing is needless.
fn within_budget(findings: Vec<Finding>, budget: &BTreeMap<String, usize>) -> (Vec<Finding>, Vec<Finding>) {
    let count = |rule: &str| findings.iter().filter(|finding| finding.rule == rule).count();
    let is_allowed = |rule: &str| budget.get(rule).is_some_and(|allowed| count(rule) <= *allowed);
    let needless = budget.iter().filter(|(rule, _)| count(rule) == 0).map(|(rule, _)| Finding {
        file: "ci/tidy.toml".to_owned(),
        line: 0,
        rule: "exception",
        message: format!("`{rule}` needs no budget any more: take it out"),
    });
    let needless: Vec<Finding> = needless.collect();
    let (allowed, mut wrong): (Vec<_>, Vec<_>) = findings.iter().cloned().partition(|finding| is_allowed(finding.rule));
    wrong.extend(needless);
    (wrong, allowed)
}

fn read_toml<T: serde::de::DeserializeOwned>(root: &Path, name: &str) -> Result<T, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"))?;
    Ok(toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?)
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
            } else if kind.is_file() && name != "Cargo.lock" && name != ".git" {
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

#[cfg(test)]
mod tests {
    use super::{Finding, within_budget};
    use std::collections::BTreeMap;

    #[test]
    fn a_budget_allows_so_many_and_one_more_makes_all_of_them_wrong() {
        let finding = |line| Finding { file: "a".to_owned(), line, rule: "words", message: String::new() };
        let budget = |count| BTreeMap::from([("words".to_owned(), count)]);
        let (wrong, allowed) = within_budget(vec![finding(1), finding(2)], &budget(2));
        assert_eq!((wrong.len(), allowed.len()), (0, 2));
        let (wrong, allowed) = within_budget(vec![finding(1), finding(2)], &budget(1));
        assert_eq!((wrong.len(), allowed.len()), (2, 0));
        let (wrong, _) = within_budget(Vec::new(), &budget(1));
        assert_eq!(wrong[0].rule, "exception");
    }
}
