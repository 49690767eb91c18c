//! The rules about files: headers, length, columns, what is left open, paths of one machine, cfg(loom), SAFETY, the
//! code map.
//!
//! It reads lines, not syntax: cheap, without a parser, and exact enough for rules that are about lines. rustc and
//! clippy judge the code.

use super::{Exceptions, Finding, Source};

/// Longer files need a reason in `ci/tidy.toml`.
const LINES_WITHOUT_A_REASON: usize = 500;
/// rustfmt breaks code at this column, but leaves comments and strings as they are.
const COLUMNS: usize = 120;
/// How far above an `unsafe` its argument may end, in lines.
const SAFETY_REACH: usize = 8;
/// Where people and services keep their own files: a path that begins so is right on one machine alone.
const PRIVATE_FOLDERS: [&str; 9] = ["Users", "builds", "home", "media", "mnt", "root", "srv", "work", "workspace"];

pub(super) fn check(sources: &[Source], exceptions: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(open_ends(source));
        findings.extend(machine_paths(source));
        if source.is_rust() {
            findings.extend(header(source));
            findings.extend(length(source, exceptions));
            findings.extend(columns(source));
            findings.extend(loom(source, exceptions));
            findings.extend(safety(source));
        }
        if source.name == "ARCHITECTURE.md" {
            findings.extend(code_map(source, sources));
        }
    }
    findings.extend(needless_exceptions(sources, exceptions));
    findings
}

/// The first line is `//!`; attributes of the crate (`#![…]`) may stand before it.
fn header(source: &Source) -> Option<Finding> {
    let first = source.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
    (!first.is_some_and(|line| line.starts_with("//!"))).then(|| {
        source.finding(1, "header", "does not open with `//!`: say the file's one job, and what it leaves out")
    })
}

fn length(source: &Source, exceptions: &Exceptions) -> Option<Finding> {
    let lines = source.text.lines().count();
    (lines > LINES_WITHOUT_A_REASON && !exceptions.long_files.contains_key(&source.name)).then(|| {
        let message = format!("{lines} lines: does it do one job? Split it, or give the reason in ci/tidy.toml");
        source.finding(0, "length", message)
    })
}

fn columns(source: &Source) -> Vec<Finding> {
    let wide = numbered(source).map(|(number, line)| (number, line.chars().count()));
    wide.filter(|(_, columns)| *columns > COLUMNS)
        .map(|(number, columns)| {
            source.finding(number, "columns", format!("{columns} columns, of {COLUMNS}: break it"))
        })
        .collect()
}

/// Words are put together here so that this file does not find itself.
fn open_ends(source: &Source) -> Vec<Finding> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let calls = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!(")];
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        let word = words.iter().find(|word| has_word(line, word));
        let call = calls.iter().find(|call| source.is_rust() && line.contains(**call));
        if let Some(found) = word.or(call) {
            findings.push(source.finding(number, "open", format!("`{found}` is left: finish it, or take it out")));
        }
    }
    findings
}

/// Whether `word` stands in `line` with nothing of a word beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part) && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// An absolute path below one of [`PRIVATE_FOLDERS`]: after a quote, a space, a bracket, or at the line's start.
fn machine_paths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        for (at, _) in line.match_indices('/') {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| !c.is_whitespace() && !"\"'`(=:<".contains(c)) {
                continue;
            }
            let Some((folder, _)) = line[at + 1..].split_once('/') else { continue };
            if PRIVATE_FOLDERS.contains(&folder) {
                let message = format!("`/{folder}/…` is a folder of one machine: make it relative, or take it out");
                findings.push(source.finding(number, "path", message));
            }
        }
    }
    findings
}

fn loom(source: &Source, exceptions: &Exceptions) -> Vec<Finding> {
    let is_model = source.name.ends_with("/tests/loom.rs") || source.name.contains("/tests/loom/");
    if is_model || exceptions.loom_files.contains_key(&source.name) {
        return Vec::new();
    }
    numbered(source)
        .filter(|(_, line)| reads_cfg_loom(line))
        .map(|(number, _)| {
            let message = "reads cfg(loom) outside the shims: use the shim's types, or list the file in ci/tidy.toml";
            source.finding(number, "loom", message)
        })
        .collect()
}

fn reads_cfg_loom(line: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//")
        && (code.contains("#[cfg") || code.contains("#![cfg") || code.contains("cfg!("))
        && has_word(code, "loom")
        && !code.contains("\"loom\"")
}

/// `unsafe {` and `unsafe impl` have `SAFETY:` or `# Safety` within reach above them. Tests are clippy's business
/// alone.
fn safety(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let mut argued_at: Option<usize> = None;
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        let code = line.trim_start();
        if code.starts_with("//") {
            if code.contains("SAFETY") || code.contains("# Safety") {
                argued_at = Some(number);
            } else if argued_at == Some(number - 1) {
                // The argument goes on: what counts is where it ends.
                argued_at = Some(number);
            }
            continue;
        }
        if line.contains("SAFETY:") {
            argued_at = Some(number);
        }
        let is_unsafe = ["unsafe {", "unsafe impl"].iter().any(|text| has_unquoted(line, text));
        if is_unsafe && argued_at.is_none_or(|argued| number - argued > SAFETY_REACH) {
            findings.push(source.finding(number, "safety", "unsafe without a SAFETY argument near it"));
        }
    }
    findings
}

/// Whether `text` stands in `line` before any comment and outside of a string that opened on this line.
fn has_unquoted(line: &str, text: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.find(text).is_some_and(|at| code[..at].matches('"').count() % 2 == 0)
}

/// Every path in backticks exists: as it is, below a `src/`, or as the end of a file's name, which may lack its `.rs`.
fn code_map(source: &Source, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(source) {
        for named in line.split('`').skip(1).step_by(2) {
            let is_path = named.contains('/')
                && !named.starts_with('/')
                && !named.contains(|c: char| c.is_whitespace() || "<>{}*$:()".contains(c));
            let folder = format!("{}/", named.trim_end_matches('/'));
            let exists = sources.iter().any(|file| {
                file.name == named
                    || file.name.ends_with(&format!("/{named}"))
                    || file.name.ends_with(&format!("/{named}.rs"))
                    || file.name.starts_with(&folder)
                    || file.name.contains(&format!("/{folder}"))
            });
            if is_path && !exists {
                findings.push(source.finding(number, "map", format!("`{named}` is not in the tree")));
            }
        }
    }
    findings
}

fn needless_exceptions(sources: &[Source], exceptions: &Exceptions) -> Vec<Finding> {
    let finding = |name: &str, why: &str| Finding {
        file: "ci/tidy.toml".to_owned(),
        line: 0,
        rule: "exception",
        message: format!("`{name}` needs no exception: {why}"),
    };
    let file = |name: &str| sources.iter().find(|source| source.name == name);
    let mut findings = Vec::new();
    for name in exceptions.long_files.keys() {
        if file(name).is_none_or(|source| source.text.lines().count() <= LINES_WITHOUT_A_REASON) {
            findings.push(finding(name, "it is not there, or not over 500 lines"));
        }
    }
    for name in exceptions.loom_files.keys() {
        if file(name).is_none_or(|source| !source.text.lines().any(reads_cfg_loom)) {
            findings.push(finding(name, "it is not there, or does not read cfg(loom)"));
        }
    }
    let all = exceptions.long_files.iter().chain(&exceptions.loom_files).chain(&exceptions.own_versions);
    for (name, reason) in all {
        if reason.trim().is_empty() {
            findings.push(finding(name, "its reason is empty"));
        }
    }
    findings
}

fn numbered(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests;
