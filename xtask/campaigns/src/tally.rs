//! What a campaign counts: kills, faults by kind, recovery times; and the table of it.
//!
//! A fault is a finding about the product, or about a victim that ended in another way than by our kill.

use crate::cell::{Cell, Role};
use std::fmt::Write;

/// What can be wrong after a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody gets the lock although its holder is dead.
    LockLost = 0,
    /// Common data was torn, or its holder dead inside, and the next holder was told `Clean`.
    TornUntold = 1,
    /// A record's bytes are not those that were written.
    Corrupted = 2,
    /// A record came twice.
    Duplicated = 3,
    /// A record whose append had returned did not come.
    Lost = 4,
    /// A name, an id, a descriptor or a mapping is left that should not be.
    Leaked = 5,
    /// Anything else that no kill may cause: an error, two holders at once, a victim that failed.
    Other = 6,
}

/// How many kinds of faults there are.
const KINDS: usize = 7;

/// The counts of one cell and role.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) role: Role,
    pub(crate) kills: u64,
    /// Kills of which the next holder was told `OwnerDied`.
    pub(crate) told: u64,
    /// Objects that only `clean` could remove, since nobody who knew of them lived.
    pub(crate) left: u64,
    pub(crate) faults: [u64; KINDS],
    recovery_ns: Vec<u64>,
    since_death_ns: Vec<u64>,
}

impl Row {
    pub(crate) fn new(cell: Cell, role: Role) -> Self {
        Self {
            cell,
            role,
            kills: 0,
            told: 0,
            left: 0,
            faults: [0; KINDS],
            recovery_ns: Vec::new(),
            since_death_ns: Vec::new(),
        }
    }

    /// Notes how long the survivor waited for a lock whose holder was killed.
    pub(crate) fn recovered(&mut self, took_ns: u64) {
        self.recovery_ns.push(took_ns);
    }

    /// Notes the part of that time after the victim had ended and the kernel had let go of what it held.
    pub(crate) fn recovered_since_death(&mut self, took_ns: u64) {
        self.since_death_ns.push(took_ns);
    }

    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.told += other.told;
        self.left += other.left;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, count)| *sum += count);
        self.recovery_ns.extend(&other.recovery_ns);
        self.since_death_ns.extend(&other.since_death_ns);
    }

    fn failed(&self) -> bool {
        self.faults.iter().any(|count| *count != 0)
    }

    /// The recovery times from the kill, as [`percentiles`].
    fn recovery(&self) -> Option<[u64; 3]> {
        percentiles(&self.recovery_ns)
    }

    /// The same from the end of the victim, of kills at random.
    fn since_death(&self) -> Option<[u64; 3]> {
        percentiles(&self.since_death_ns)
    }
}

/// Times at 50 %, 99 % and the longest, in nanoseconds; `None` without any.
fn percentiles(times_ns: &[u64]) -> Option<[u64; 3]> {
    let mut sorted = times_ns.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    Some([sorted[last / 2], sorted[last * 99 / 100], sorted[last]])
}

/// One finding, with what it takes to see it again.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) text: String,
}

/// All rows, and the first findings.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
    findings: Vec<Finding>,
}

/// Findings that are kept and printed; the counts go on.
const KEPT: usize = 20;

impl Tally {
    /// Adds the counts of one campaign.
    pub(crate) fn add(&mut self, row: &Row) {
        match self.rows.iter_mut().find(|other| other.cell == row.cell && other.role == row.role) {
            Some(other) => other.add(row),
            None => self.rows.push(row.clone()),
        }
    }

    /// Keeps a finding, and prints it at once.
    pub(crate) fn report(&mut self, text: String) {
        if self.findings.len() < KEPT {
            eprintln!("FAULT {text}");
            self.findings.push(Finding { text });
        }
    }

    /// Whether any fault was counted.
    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(Row::failed)
    }

    /// The table, a line for each cell and role, each cell's sum, and the total.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<32} {:<8} {:>7} {:>7} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
            "cell",
            "role",
            "kills",
            "told",
            "lock",
            "torn",
            "corr",
            "dupl",
            "lost",
            "leak",
            "other",
            "left",
            "p50 ms",
            "p99 ms",
            "max ms",
            "dead p99",
            "dead max"
        );
        let mut total: Option<Row> = None;
        for (index, row) in self.rows.iter().enumerate() {
            line(&mut text, &row.cell.to_string(), &row.role.to_string(), row);
            total.get_or_insert_with(|| Row::new(row.cell, row.role)).add(row);
            let next = self.rows.get(index + 1);
            if next.is_none_or(|next| next.cell != row.cell) {
                let mut sum = Row::new(row.cell, row.role);
                self.rows.iter().filter(|other| other.cell == row.cell).for_each(|other| sum.add(other));
                line(&mut text, &row.cell.to_string(), "all", &sum);
            }
        }
        if let Some(total) = total {
            line(&mut text, "total", "all", &total);
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self, seed: u64) -> String {
        let mut text = format!("{{\"seed\":{seed},\"rows\":[");
        for (index, row) in self.rows.iter().enumerate() {
            let [lock, torn, corrupted, duplicated, lost, leaked, other] = row.faults;
            let recovery = row.recovery().map_or("null".to_owned(), |[p50, p99, max]| {
                format!("{{\"count\":{},\"p50\":{p50},\"p99\":{p99},\"max\":{max}}}", row.recovery_ns.len())
            });
            let since_death = row
                .since_death()
                .map_or("null".to_owned(), |[p50, p99, max]| format!("{{\"p50\":{p50},\"p99\":{p99},\"max\":{max}}}"));
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "{comma}{{\"cell\":\"{}\",\"role\":\"{}\",\"kills\":{},\"told\":{},\"left\":{},\
                 \"locks_lost\":{lock},\"torn_untold\":{torn},\"corrupted\":{corrupted},\
                 \"duplicated\":{duplicated},\"lost\":{lost},\"leaked\":{leaked},\"other\":{other},\
                 \"recovery_ns\":{recovery},\"since_death_ns\":{since_death}}}",
                row.cell, row.role, row.kills, row.told, row.left
            );
        }
        let findings: Vec<String> = self.findings.iter().map(|finding| format!("{:?}", finding.text)).collect();
        let _ = write!(text, "],\"findings\":[{}]}}", findings.join(","));
        text
    }
}

fn line(text: &mut String, cell: &str, role: &str, row: &Row) {
    let [lock, torn, corrupted, duplicated, lost, leaked, other] = row.faults;
    let shown =
        |times: Vec<u64>| -> String { times.into_iter().map(|ns| format!(" {:>8.3}", ns as f64 / 1e6)).collect() };
    let recovery = row.recovery().map_or(String::new(), |times| shown(times.to_vec()))
        + &row.since_death().map_or(String::new(), |times| shown(times[1..].to_vec()));
    let _ = writeln!(
        text,
        "{cell:<32} {role:<8} {:>7} {:>7} {lock:>5} {torn:>5} {corrupted:>5} {duplicated:>5} {lost:>5} \
         {leaked:>5} {other:>5} {:>5}{recovery}",
        row.kills, row.told, row.left
    );
}
