//! The plan of a run: which cells, roles and operations, how many kills of which sort, and when to stop.
//!
//! It kills nobody itself.

use crate::killer::Killer;
use crate::progress::Progress;
use crate::random_kills::{RandomKills, Timing};
use crate::steps::{OPERATIONS, Operation, Steps};
use crate::tally::{Fault, Judge, Role, Tally};
use crate::{Outcome, leftovers, life, soak};
use clap::Parser;
use harness::cell::Filter;
use harness::{CELLS, Cell, Census, users};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Kill processes that share a segment, and judge what is left. Any fault makes it fail, and is printed with what it
/// takes to see it again.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
struct Args {
    #[command(flatten)]
    cells: Filter,
    /// Kills of holders, waiters, appenders and readers together, in each cell. Of creators there is a tenth of it, and
    /// a tenth of it for both sides.
    #[arg(long, value_name = "N", default_value_t = 400)]
    kills: u64,
    /// Stop after this many seconds, whatever is left to do.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// What delays, sizes and choices follow from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Kill only these.
    #[arg(long)]
    role: Option<Role>,
    /// At most so many kills at single instructions of each operation; they are spread over it evenly.
    #[arg(long, value_name = "N", default_value_t = 100)]
    steps: u64,
    /// Kill after every instruction, however many kills that takes.
    #[arg(long)]
    every: bool,
    /// Only this operation of those that are killed step by step.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Only after this many steps of the operation.
    #[arg(long, value_name = "K", requires = "operation")]
    point: Option<u64>,
    /// Instead of all else: a kill every 100 ms for this long, traffic running, and a check whether anything grew.
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Print the counts as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The roles of the processes that use a segment.
const USERS: [Role; 4] = [Role::Holder, Role::Waiter, Role::Appender, Role::Reader];

/// A run.
struct Plan {
    args: Args,
    end: Option<Instant>,
    page: Progress,
    tally: Tally,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> Outcome<ExitCode> {
    let args = Args::parse();
    if let Err(error) = users::isolate() {
        eprintln!("note: objects of other programs are counted too (no namespaces of our own: {error})");
    }
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let tally = Tally::new(args.seed);
    let mut plan = Plan { args, end, page: Progress::new()?, tally };
    plan.run(&Killer::start())?;
    Ok(plan.tally.print(plan.args.json))
}

impl Plan {
    fn run(&mut self, killer: &Killer) -> Outcome {
        let cells: Vec<Cell> = CELLS.into_iter().filter(|cell| self.args.cells.wants(*cell)).collect();
        if cells.is_empty() {
            return Err("no cell has this backend, memory and lock".into());
        }
        if let Some(seconds) = self.args.soak {
            return soak::run(&cells, &self.page, killer, &mut self.tally, self.args.seed, seconds);
        }
        let before = Census::take();
        for cell in &cells {
            for role in USERS.map(|role| self.wants(role).then_some(role)).into_iter().flatten() {
                self.kill_users(*cell, role, killer)?;
            }
            self.kill_makers(*cell)?;
        }
        if Census::take().objects != before.objects {
            leftovers::clean(&self.page, &mut self.tally, &before)?;
        }
        Ok(())
    }

    fn wants(&self, role: Role) -> bool {
        self.args.role.is_none_or(|wanted| wanted == role)
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Step by step first, then at random until the role's share of kills is done.
    fn kill_users(&mut self, cell: Cell, role: Role, killer: &Killer) -> Outcome {
        let share = if self.args.role.is_none() { self.args.kills / USERS.len() as u64 } else { self.args.kills };
        let wanted = |name: &str| self.args.operation.as_deref().is_none_or(|wanted| wanted == name);
        let operations: Vec<Operation> = OPERATIONS.into_iter().filter(|operation| operation.role == role).collect();
        let budget = (share / 2 / operations.len().max(1) as u64).min(self.args.steps);
        let budget = if self.args.every { u64::MAX } else { budget };
        let mut judge = self.tally.judge(cell, role, "");
        for operation in operations.into_iter().filter(|operation| wanted(operation.name)) {
            judge.turn_to(operation.name);
            let mut steps = Steps::new(cell, operation, &self.page)?;
            let done = match self.args.point {
                Some(point) => steps.kill_after(&mut judge, point).map(drop),
                None => steps.campaign(&mut judge, budget, self.args.seed, self.end),
            };
            // What ends the campaign of an operation is a finding; the others go on.
            if let Err(error) = done {
                judge.fault(Fault::Other, error);
            }
        }
        judge.point = None;
        if self.args.operation.is_none() {
            kill_at_random(&mut judge, share, self.args.seed, self.end, &self.page, killer)?;
        }
        judge.done();
        Ok(())
    }

    fn kill_makers(&mut self, cell: Cell) -> Outcome {
        let seed = self.args.seed;
        let share = if self.args.role.is_some() { self.args.kills } else { self.args.kills / 10 };
        if self.wants(Role::Creator) && !self.is_over() {
            let mut judge = self.tally.judge(cell, Role::Creator, "");
            let done = match (&self.args.operation, self.args.point) {
                (Some(operation), Some(point)) if life::OPERATIONS.contains(&operation.as_str()) => {
                    judge.turn_to(operation);
                    life::kill_at(cell, operation, &self.page, &mut judge, point).map(drop)
                }
                (Some(_), _) => Ok(()),
                (None, _) => life::campaign(cell, &self.page, &mut judge, share, self.end),
            };
            if let Err(error) = done {
                judge.fault(Fault::Other, error);
            }
            judge.done();
        }
        if self.wants(Role::Both) && self.args.operation.is_none() && !self.is_over() {
            let mut judge = self.tally.judge(cell, Role::Both, "");
            leftovers::kill_both(cell, &self.page, &mut judge, share, seed, self.end)?;
            judge.done();
        }
        Ok(())
    }
}

/// Kills at random times until the row has its share of kills. A segment that ends in a fault is given up for a new
/// one.
fn kill_at_random(
    judge: &mut Judge<'_>,
    share: u64,
    seed: u64,
    end: Option<Instant>,
    page: &Progress,
    killer: &Killer,
) -> Outcome {
    let mut segment: Option<RandomKills<'_>> = None;
    let (mut variant, mut round) = (0, 0);
    while judge.row.kills < share && end.is_none_or(|end| Instant::now() < end) {
        let mut kills = match segment.take().filter(|segment| !segment.is_worn()) {
            Some(kills) => kills,
            None => {
                variant += 1;
                RandomKills::new(judge.row.cell, judge.row.role, seed, variant - 1, page, killer)?
            }
        };
        judge.turn_to(kills.operation());
        match kills.round(judge, round, Timing::default()) {
            Ok(()) => segment = Some(kills),
            Err(error) => judge.fault(Fault::Other, error),
        }
        round += 1;
    }
    Ok(())
}
