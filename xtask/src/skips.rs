//! Skips that tests report: a test that cannot run here says so in a file, and the verb prints it at the end.
//!
//! The agreement with the tests: the environment variable [`VARIABLE`] names a file; a test that leaves out what it was
//! asked for appends one line to it, `SKIP NAME REASON` (the name has no space in it), and passes. libtest has no word
//! for this. A test run by hand, without the variable, prints the same line to stderr alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the file that tests append their `SKIP` lines to.
pub(crate) const VARIABLE: &str = "MONSHM_SKIP_LOG";

/// What a test left out, and why. One test may leave out several things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) reason: String,
}

/// The file of one run.
#[derive(Debug)]
pub(crate) struct SkipLog {
    path: PathBuf,
}

impl SkipLog {
    /// An empty file in `folder`; what an earlier run left there under this name is gone.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let path = folder.join(format!("{name}.skips"));
        std::fs::write(&path, "").map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// Tells the tests that `command` starts where to write.
    pub(crate) fn announce_to(&self, command: &mut Command) {
        command.env(VARIABLE, &self.path);
    }

    /// What was written since, each test and reason once.
    pub(crate) fn read(&self) -> Result<Vec<Skip>, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(parse(&text))
    }
}

fn parse(text: &str) -> Vec<Skip> {
    let mut skips: Vec<Skip> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("SKIP ") else { continue };
        let (test, reason) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
        let skip = Skip { test: test.trim_end_matches(':').to_owned(), reason: reason.trim().to_owned() };
        if !skips.contains(&skip) {
            skips.push(skip);
        }
    }
    skips
}

/// The number of different tests in `skips`: as many as passed without doing their work.
pub(crate) fn tests_in(skips: &[Skip]) -> usize {
    let mut names: Vec<&str> = skips.iter().map(|skip| skip.test.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// The reasons in `skips`, each with the tests that gave it.
pub(crate) fn by_reason(skips: &[Skip]) -> BTreeMap<&str, Vec<&str>> {
    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for skip in skips {
        tests.entry(&skip.reason).or_default().push(&skip.test);
    }
    tests
}

/// The first of `tests`, and how many more there are.
pub(crate) fn in_short(tests: &[&str]) -> String {
    let (named, more) = tests.split_at(tests.len().min(3));
    match more.len() {
        0 => named.join(", "),
        count => format!("{} and {count} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{by_reason, in_short, parse, tests_in};

    #[test]
    fn lines_are_read_once_and_counted_by_test() {
        let skips = parse("SKIP a::b needs root\nnoise\nSKIP a::b needs root\nSKIP a::b no ACL here\nSKIP c\n");
        assert_eq!(skips.len(), 3);
        assert_eq!(tests_in(&skips), 2);
        let by_reason = by_reason(&skips);
        assert_eq!(by_reason.len(), 3);
        assert_eq!(by_reason["needs root"], ["a::b"]);
        assert_eq!(by_reason["no reason given"], ["c"]);
        assert_eq!(in_short(&["a", "b"]), "a, b");
        assert_eq!(in_short(&["a", "b", "c", "d"]), "a, b, c and 1 more");
    }
}
