//! What the campaign counts: kills, faults by kind, recovery times; the table of it; and who counts during one part.
//!
//! A fault is a finding about the product, or about a victim that ended in another way than by our kill.

use clap::ValueEnum;
use harness::cell::{Cell, Filter};
use harness::verdict::{Verdict, table};
use serde_json::{Value, json};
use std::fmt::{self, Display};
use std::process::ExitCode;

/// What a process is doing when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes the lock, changes common data, releases the lock.
    Holder,
    /// Waits for a lock that another process holds.
    Waiter,
    /// Appends to the ring, allocates, is the first to use the ring.
    Appender,
    /// Reads from the ring.
    Reader,
    /// Creates, encodes, sends, drops; and, on the other side, receives, attaches, detaches.
    Creator,
    /// Both sides, so that nobody is left.
    Both,
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What can be wrong after a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody gets the lock although its holder is dead.
    LockLost = 0,
    /// Common data was torn, or its holder dead inside, and that was not reported to the next.
    TornUnreported = 1,
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
    /// Kills that were reported to the next holder.
    pub(crate) reported: u64,
    /// Objects that only `clean` could remove, since nobody who knew of them lived.
    pub(crate) left: u64,
    pub(crate) faults: [u64; KINDS],
    /// How long the survivor waited for a lock whose holder was killed.
    pub(crate) recovery_ns: Vec<u64>,
    /// The part of that time after the victim had ended and the kernel had released what it held.
    pub(crate) since_death_ns: Vec<u64>,
}

impl Row {
    fn new(cell: Cell, role: Role) -> Self {
        let (recovery_ns, since_death_ns) = (Vec::new(), Vec::new());
        Self { cell, role, kills: 0, reported: 0, left: 0, faults: [0; KINDS], recovery_ns, since_death_ns }
    }

    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.reported += other.reported;
        self.left += other.left;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, count)| *sum += count);
        self.recovery_ns.extend(&other.recovery_ns);
        self.since_death_ns.extend(&other.since_death_ns);
    }

    fn sum<'a>(rows: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut rows = rows.into_iter();
        let mut sum = rows.next()?.clone();
        rows.for_each(|row| sum.add(row));
        Some(sum)
    }

    fn line(&self, cell: &str, role: &str) -> [String; 17] {
        let shown = |time: Option<u64>| time.map_or(String::new(), |ns| format!("{:.3}", ns as f64 / 1e6));
        let recovery = percentiles(&self.recovery_ns).map_or([None; 3], |times| times.map(Some));
        let since_death = percentiles(&self.since_death_ns).map_or([None; 3], |times| times.map(Some));
        let faults = self.faults.map(|count| count.to_string());
        let mut columns = vec![cell.to_owned(), role.to_owned(), self.kills.to_string(), self.reported.to_string()];
        columns.extend(faults);
        columns.push(self.left.to_string());
        columns.extend(recovery.into_iter().chain(since_death.into_iter().skip(1)).map(shown));
        std::array::from_fn(|index| std::mem::take(&mut columns[index]))
    }

    fn json(&self) -> Value {
        let [lock, torn, corrupted, duplicated, lost, leaked, other] = self.faults;
        let times = |times_ns: &[u64]| {
            percentiles(times_ns)
                .map(|[p50, p99, max]| json!({ "count": times_ns.len(), "p50": p50, "p99": p99, "max": max }))
        };
        json!({
            "cell": self.cell.to_string(), "role": self.role.to_string(),
            "kills": self.kills, "reported": self.reported, "left": self.left,
            "locks_lost": lock, "torn_unreported": torn, "corrupted": corrupted, "duplicated": duplicated,
            "lost": lost, "leaked": leaked, "other": other,
            "recovery_ns": times(&self.recovery_ns), "since_death_ns": times(&self.since_death_ns),
        })
    }
}

const HEADER: [&str; 17] = [
    "cell", "role", "kills", "reported", "lock", "torn", "corr", "dupl", "lost", "leak", "other", "left", "p50 ms",
    "p99 ms", "max ms", "dead p99", "dead max",
];

/// Times at 50 %, 99 % and the longest, in nanoseconds; `None` without any.
fn percentiles(times_ns: &[u64]) -> Option<[u64; 3]> {
    let mut sorted = times_ns.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    Some([sorted[last / 2], sorted[last * 99 / 100], sorted[last]])
}

/// All rows and findings of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    seed: u64,
    rows: Vec<Row>,
    verdict: Verdict,
}

impl Tally {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rows: Vec::new(), verdict: Verdict::new("chaos") }
    }

    /// A judge for what victims of `operation` leave.
    pub(crate) fn judge(&mut self, cell: Cell, role: Role, operation: &str) -> Judge<'_> {
        Judge { row: Row::new(cell, role), operation: operation.to_owned(), point: None, tally: self }
    }

    fn add(&mut self, row: &Row) {
        let faults: u64 = row.faults.iter().sum();
        self.verdict.failed += faults;
        self.verdict.passed += row.kills.saturating_sub(faults);
        match self.rows.iter_mut().find(|other| other.cell == row.cell && other.role == row.role) {
            Some(other) => other.add(row),
            None => self.rows.push(row.clone()),
        }
    }

    /// A line for each cell and role, each cell's sum, and the total.
    fn table(&self) -> String {
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            lines.push(row.line(&row.cell.to_string(), &row.role.to_string()));
            if self.rows.get(index + 1).is_none_or(|next| next.cell != row.cell) {
                let sum = Row::sum(self.rows.iter().filter(|other| other.cell == row.cell));
                lines.extend(sum.map(|sum| sum.line(&row.cell.to_string(), "all")));
            }
        }
        lines.extend(Row::sum(&self.rows).map(|total| total.line("total", "all")));
        table(HEADER, 2, lines)
    }

    /// Prints everything. Answers what the program ends with.
    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        self.verdict.print(as_json, &self.table(), &rows)
    }
}

/// Counts during one part of the campaign: it knows the cell, the role, the operation, and which kill is judged.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    tally: &'a mut Tally,
    pub(crate) row: Row,
    operation: String,
    /// The count of instructions or of system calls before the kill, where it follows from one.
    pub(crate) point: Option<u64>,
}

impl Judge<'_> {
    /// Goes on with another operation of the same cell and role.
    pub(crate) fn turn_to(&mut self, operation: &str) {
        operation.clone_into(&mut self.operation);
    }

    /// Counts a fault, and says what it takes to see it again.
    pub(crate) fn fault(&mut self, fault: Fault, detail: impl Display) {
        self.row.faults[fault as usize] += 1;
        let (cell, role, operation) = (self.row.cell, self.row.role, &self.operation);
        let mut again = format!("{} --role {role} --seed {}", Filter::arguments(cell), self.tally.seed);
        if let Some(point) = self.point {
            again += &format!(" --operation {operation} --point {point}");
        }
        self.tally.verdict.find(format_args!("{fault:?}: {detail}; cell {cell}, role {role}, {operation}"), again);
    }

    /// Ends the part: its counts go to the tally.
    pub(crate) fn done(self) {
        self.tally.add(&self.row);
    }
}
