//! What is printed: a line for each attack and kind of segment, the faults, and the closing line.

use super::attack::{Attack, Side};
use super::theatre::Outcome;
use crate::cell::Cell;
use comfy_table::{Table, presets};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// The plays of one attack on one kind of segment from one side.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    cell: Cell,
    side: Side,
    plays: u64,
    answers: BTreeMap<String, u64>,
    faults: Vec<String>,
    late: Duration,
    late_at: String,
    pub(crate) skipped: Option<&'static str>,
}

/// The row of a play, made if it is the first of its kind.
pub(crate) fn row<'a>(rows: &'a mut Vec<Row>, attack: &Attack, cell: Cell, side: Side) -> &'a mut Row {
    let found = rows.iter().position(|row| row.name == attack.name && row.cell == cell && row.side == side);
    let place = found.unwrap_or_else(|| {
        let answers = BTreeMap::new();
        let (faults, late, late_at) = (Vec::new(), Duration::ZERO, String::new());
        let name = attack.name;
        rows.push(Row { name, cell, side, plays: 0, answers, faults, late, late_at, skipped: None });
        rows.len() - 1
    });
    &mut rows[place]
}

impl Row {
    /// Adds what came of one play. A fault is told at once.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.plays += 1;
        for (answer, count) in &outcome.told.answers {
            *self.answers.entry(answer.clone()).or_default() += count;
        }
        if outcome.told.late > self.late {
            (self.late, self.late_at) = (outcome.told.late, outcome.told.late_at.clone());
        }
        for fault in &outcome.faults {
            eprintln!("FAULT {} on {}, victim is {}: {fault}", self.name, self.cell, self.side.name());
        }
        self.faults.extend(outcome.faults.iter().cloned());
    }

    fn verdict(&self) -> &'static str {
        match (self.skipped, self.faults.is_empty()) {
            (Some(_), _) => "skipped",
            (None, true) => "passed",
            (None, false) => "FAILED",
        }
    }

    /// The answers, the most frequent first.
    fn answers(&self) -> String {
        let mut answers: Vec<_> = self.answers.iter().collect();
        answers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words: Vec<String> = answers.iter().map(|(answer, count)| format!("{answer} ×{count}")).collect();
        self.skipped.map_or_else(|| words.join(", "), str::to_owned)
    }

    fn late_ms(&self) -> f64 {
        self.late.as_secs_f64() * 1e3
    }
}

/// Prints everything. Answers the exit code.
pub(crate) fn print(rows: &[Row], json: bool, seed: u64, rounds: u64, took: Duration) -> ExitCode {
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict() == verdict).count();
    let (passed, failed, skipped) = (count("passed"), count("FAILED"), count("skipped"));
    if json {
        println!("{}", as_json(rows, seed, rounds));
    } else {
        println!("{}", as_table(rows));
        for row in rows.iter().filter(|row| row.skipped.is_some()) {
            println!("skipped: {} on {}: {}", row.name, row.cell, row.answers());
        }
        let late = rows.iter().max_by_key(|row| row.late);
        let late = late.map(|row| format!("{:.2} ms, {} of {}", row.late_ms(), row.late_at, row.name));
        println!(
            "seed {seed}, {rounds} round(s), {:.0} s; worst lateness {}",
            took.as_secs_f64(),
            late.unwrap_or_else(|| "none".to_owned())
        );
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    if failed == 0 && passed != 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn as_table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["attack", "segment", "victim", "the victim's answers", "late ms", "verdict"]);
    for row in rows {
        table.add_row([
            row.name.to_owned(),
            row.cell.to_string(),
            row.side.name().to_owned(),
            shortened(&row.answers()),
            format!("{:.2}", row.late_ms()),
            row.verdict().to_owned(),
        ]);
    }
    table
}

/// As much of a text as a line of the table holds.
fn shortened(text: &str) -> String {
    const LEN: usize = 90;
    if text.chars().count() <= LEN {
        return text.to_owned();
    }
    text.chars().take(LEN).chain(" …".chars()).collect()
}

fn as_json(rows: &[Row], seed: u64, rounds: u64) -> serde_json::Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "attack": row.name,
                "segment": row.cell.to_string(),
                "victim": row.side.name(),
                "plays": row.plays,
                "answers": row.answers,
                "late_ns": row.late.as_nanos() as u64,
                "late_at": row.late_at,
                "verdict": row.verdict().to_lowercase(),
                "skipped": row.skipped,
                "faults": row.faults,
            })
        })
        .collect();
    serde_json::json!({ "seed": seed, "rounds": rounds, "rows": rows })
}
