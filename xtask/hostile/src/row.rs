//! A line of the printed table: the scenarios of one attack on one kind of segment, with the victim on one side.

use crate::runner::{Outcome, Scenario};
use harness::verdict::{self, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The line.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    attack: &'static str,
    segment: String,
    victim: &'static str,
    runs: u64,
    answers: BTreeMap<String, u64>,
    faults: Vec<String>,
    late: Duration,
    late_at: String,
}

impl Row {
    /// The row of a scenario, made if it is the first of its kind.
    pub(crate) fn of<'a>(rows: &'a mut Vec<Self>, scenario: &Scenario<'_>) -> &'a mut Self {
        let (attack, segment, victim) = (scenario.attack.name, scenario.cell.to_string(), scenario.side.name());
        let is_it = |row: &Self| row.attack == attack && row.segment == segment && row.victim == victim;
        let found = rows.iter().position(is_it).unwrap_or_else(|| {
            let (answers, faults, late, late_at) = (BTreeMap::new(), Vec::new(), Duration::ZERO, String::new());
            rows.push(Self { attack, segment, victim, runs: 0, answers, faults, late, late_at });
            rows.len() - 1
        });
        &mut rows[found]
    }

    /// Adds what came of one scenario.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        for (answer, count) in outcome.reported.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        if outcome.reported.late > self.late {
            (self.late, self.late_at) = (outcome.reported.late, outcome.reported.late_at);
        }
        self.faults.extend(outcome.faults);
    }

    /// The answers, the most frequent first.
    fn answers(&self) -> String {
        let mut answers: Vec<_> = self.answers.iter().collect();
        answers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        answers.iter().map(|(answer, count)| format!("{answer} ×{count}")).collect::<Vec<_>>().join(", ")
    }

    fn late_ms(&self) -> String {
        format!("{:.2}", self.late.as_secs_f64() * 1e3)
    }
}

/// Counts the rows, and gives their table.
pub(crate) fn table(rows: &[Row], verdict: &mut Verdict) -> String {
    rows.iter().for_each(|row| verdict.count(row.faults.is_empty()));
    if let Some(worst) = rows.iter().max_by_key(|row| row.late) {
        let note = format!("the worst lateness was {} ms, {} of {}", worst.late_ms(), worst.late_at, worst.attack);
        verdict.notes.push(note);
    }
    let header = ["attack", "segment", "victim", "the victim's answers", "late ms", "verdict"];
    let line = |row: &Row| {
        let (attack, segment, victim) = (row.attack.to_owned(), row.segment.clone(), row.victim.to_owned());
        let judged = if row.faults.is_empty() { "passed" } else { "FAILED" };
        [attack, segment, victim, verdict::shortened(&row.answers()), row.late_ms(), judged.to_owned()]
    };
    verdict::table(header, 4, rows.iter().map(line))
}
