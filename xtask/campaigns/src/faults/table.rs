//! What the campaign prints: a table for each place, the findings with what shows them again, and the closing line.

use super::judge::Verdict;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The counts of one operation.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) place: String,
    pub(crate) operation: String,
    /// System calls between the marks when nothing fails.
    pub(crate) calls: usize,
    pub(crate) injections: u64,
    pub(crate) recovered: u64,
    pub(crate) refused: u64,
    /// Runs in which the call did not come: waits differ from run to run.
    pub(crate) missed: u64,
    pub(crate) findings: u64,
}

/// All counts and findings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) rows: Vec<Row>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) skipped: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// What is wrong, and the arguments that show it again.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) text: String,
    pub(crate) again: String,
}

impl Row {
    /// Counts one run.
    pub(crate) fn count(&mut self, verdict: &Verdict) {
        self.injections += 1;
        match verdict {
            Verdict::Recovered => self.recovered += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Wrong(_) => self.findings += 1,
        }
    }
}

impl Tally {
    /// Keeps what is wrong in a run, and prints it at once.
    pub(crate) fn find(&mut self, findings: &[String], again: &str) {
        for text in findings {
            eprintln!("FINDING {text}\n        again: cargo xtask faults {again}");
            self.findings.push(Finding { text: text.clone(), again: again.to_owned() });
        }
    }

    /// Says, once, what is left out.
    pub(crate) fn skip(&mut self, text: String) {
        if !self.skipped.contains(&text) {
            self.skipped.push(text);
        }
    }

    /// Whether anything is wrong.
    pub(crate) fn failed(&self) -> bool {
        !self.findings.is_empty() || self.rows.iter().any(|row| row.findings != 0)
    }

    /// Runs that are as they should be, that are not, and that were left out.
    fn sums(&self) -> (u64, u64, u64) {
        let sum = |count: fn(&Row) -> u64| self.rows.iter().map(count).sum::<u64>();
        let failed = sum(|row| row.findings);
        (sum(|row| row.recovered + row.refused), failed, sum(|row| row.missed) + self.skipped.len() as u64)
    }

    /// The tables, the findings, what was left out, and the closing line.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut places: Vec<&str> = self.rows.iter().map(|row| row.place.as_str()).collect();
        places.dedup();
        for place in places {
            text.push_str(&format!("\n{place}\n{}\n", self.table(place)));
        }
        for finding in &self.findings {
            text.push_str(&format!("FINDING {}\n        again: cargo xtask faults {}\n", finding.text, finding.again));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        for skipped in &self.skipped {
            text.push_str(&format!("skipped: {skipped}\n"));
        }
        let (passed, failed, skipped) = self.sums();
        text.push_str(&format!("{passed} passed, {failed} failed, {skipped} skipped\n"));
        text
    }

    fn table(&self, place: &str) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_BORDERS_ONLY_CONDENSED);
        table.set_header(["operation", "calls", "injections", "recovered", "refused", "missed", "findings"]);
        for row in self.rows.iter().filter(|row| row.place == place) {
            let counts = [row.injections, row.recovered, row.refused, row.missed, row.findings];
            let counts = counts.map(|count| count.to_string());
            table.add_row([row.operation.clone(), row.calls.to_string()].into_iter().chain(counts));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}
