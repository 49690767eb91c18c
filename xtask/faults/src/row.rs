//! A line of the printed tables: the counts of one operation on one target.

use super::judge::Outcome;
use super::target::Target;
use harness::verdict;
use serde::Serialize;

/// The counts.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    target: String,
    operation: &'static str,
    /// System calls between the marks when nothing fails.
    pub(crate) calls: usize,
    injections: u64,
    recovered: u64,
    refused: u64,
    /// Runs in which the call did not come: waits differ from run to run.
    pub(crate) missed: u64,
    pub(crate) findings: u64,
}

impl Row {
    pub(crate) fn new(target: Target, operation: &'static str) -> Self {
        Self { target: target.to_string(), operation, ..Self::default() }
    }

    /// Counts one run.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.injections += 1;
        match outcome {
            Outcome::Recovered => self.recovered += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Wrong(_) => self.findings += 1,
        }
    }
}

/// A table for each target.
pub(crate) fn tables(rows: &[Row]) -> String {
    let header = ["operation", "calls", "injections", "recovered", "refused", "missed", "findings"];
    let line = |row: &Row| {
        let counts = [row.injections, row.recovered, row.refused, row.missed, row.findings];
        let [injections, recovered, refused, missed, findings] = counts.map(|count| count.to_string());
        [row.operation.to_owned(), row.calls.to_string(), injections, recovered, refused, missed, findings]
    };
    let of_target =
        |rows: &[Row]| format!("\n{}\n{}", rows[0].target, verdict::table(header, 1, rows.iter().map(line)));
    rows.chunk_by(|one, next| one.target == next.target).map(of_target).collect()
}
