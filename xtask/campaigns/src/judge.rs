//! Where faults are counted: a judge knows which campaign it sits in and which kill is being judged.

use crate::cell::{Cell, Role};
use crate::tally::{Fault, Row, Tally};
use std::fmt::Display;

/// The judge of one campaign: a cell, a role and an operation.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    tally: &'a mut Tally,
    pub(crate) row: Row,
    seed: u64,
    operation: String,
    /// Which kill it is: the count of instructions, of calls, or of rounds before it.
    pub(crate) point: u64,
}

impl<'a> Judge<'a> {
    /// A judge for what victims of `operation` leave.
    pub(crate) fn new(tally: &'a mut Tally, cell: Cell, role: Role, seed: u64, operation: &str) -> Self {
        Self { tally, row: Row::new(cell, role), seed, operation: operation.to_owned(), point: 0 }
    }

    /// Another operation of the same campaign.
    pub(crate) fn turn_to(&mut self, operation: &str) {
        operation.clone_into(&mut self.operation);
    }

    /// Counts a fault, and tells it with what it takes to see it again.
    pub(crate) fn fault(&mut self, fault: Fault, detail: impl Display) {
        self.row.faults[fault as usize] += 1;
        let (cell, role, operation) = (self.row.cell, self.row.role, &self.operation);
        self.tally.report(format!(
            "{fault:?}: {detail}; cell {cell}, role {role}, operation {operation}, point {}, seed {}",
            self.point, self.seed
        ));
    }

    /// Ends the campaign: its counts go to the tally.
    pub(crate) fn done(self) {
        self.tally.add(&self.row);
    }
}
