//! What a campaign comes to: findings with the command that shows each again, tables, what was left out, and the
//! closing line `N passed, N failed, N skipped`.
//!
//! What is a finding is the campaign's to judge.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;

/// Findings that are kept and printed; the counts go on.
const KEPT: usize = 100;

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What.
    pub text: String,
    /// The command that shows it again.
    pub again: String,
}

/// The counts and findings of one run of a campaign.
#[derive(Debug, Serialize)]
pub struct Verdict {
    #[serde(skip)]
    verb: &'static str,
    /// Cases that are as they should be.
    pub passed: u64,
    /// Cases that are not.
    pub failed: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Nothing so far, for the campaign that `cargo xtask VERB` runs.
    pub fn new(verb: &'static str) -> Self {
        Self { verb, passed: 0, failed: 0, findings: Vec::new(), skipped: Vec::new(), notes: Vec::new() }
    }

    /// Keeps what is wrong in a case, and prints it at once, with the arguments that show it again. The case itself is
    /// counted by [`count`](Self::count).
    pub fn find(&mut self, text: impl Display, arguments: impl Display) {
        if self.findings.len() < KEPT {
            let again = format!("cargo xtask {} {arguments}", self.verb);
            eprintln!("FINDING {text}\n        again: {again}");
            self.findings.push(Finding { text: text.to_string(), again });
        }
    }

    /// Counts a case.
    pub fn count(&mut self, is_right: bool) {
        if is_right { self.passed += 1 } else { self.failed += 1 }
    }

    /// Says, once, what is left out.
    pub fn skip(&mut self, text: impl Display) {
        let text = text.to_string();
        if !self.skipped.contains(&text) {
            self.skipped.push(text);
        }
    }

    /// Whether nothing is wrong and something was tried.
    pub fn is_right(&self) -> bool {
        self.failed == 0 && self.findings.is_empty() && self.passed != 0
    }

    /// What the program ends with.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Findings, notes, what was left out, and the closing line.
    pub fn text(&self) -> String {
        let findings =
            self.findings.iter().map(|found| format!("FINDING {}\n        again: {}\n", found.text, found.again));
        let notes = self.notes.iter().map(|note| format!("note: {note}\n"));
        let skipped = self.skipped.iter().map(|skipped| format!("skipped: {skipped}\n"));
        let closing = format!("{} passed, {} failed, {} skipped\n", self.passed, self.failed, self.skipped.len());
        findings.chain(notes).chain(skipped).chain([closing]).collect()
    }

    /// Prints the tables and [`text`](Self::text); or, as JSON, `rows` and all that is counted here.
    pub fn print(&self, as_json: bool, tables: &str, rows: &impl Serialize) -> ExitCode {
        if as_json {
            println!("{}", serde_json::json!({ "rows": rows, "verdict": self }));
        } else {
            print!("{tables}\n{}", self.text());
        }
        self.exit_code()
    }
}

/// A table whose columns are numbers, but for the first `texts`.
pub fn table<const N: usize>(header: [&str; N], texts: usize, rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_BORDERS_ONLY_CONDENSED);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// As much of a text as a line of a table holds.
pub fn shortened(text: &str) -> String {
    const LEN: usize = 90;
    if text.chars().count() <= LEN {
        return text.to_owned();
    }
    text.chars().take(LEN).chain(" …".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_fails_the_run_and_says_how_to_see_it_again() {
        let mut verdict = Verdict::new("dance");
        assert!(!verdict.is_right(), "nothing was tried");
        verdict.count(true);
        assert!(verdict.is_right());
        verdict.count(false);
        verdict.find("it fell", "--seed 7");
        verdict.skip("jumps");
        verdict.skip("jumps");
        assert!(!verdict.is_right());
        let text = verdict.text();
        assert!(text.contains("FINDING it fell\n        again: cargo xtask dance --seed 7\n"), "{text}");
        assert!(text.ends_with("skipped: jumps\n1 passed, 1 failed, 1 skipped\n"), "{text}");
    }
}
