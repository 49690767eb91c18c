//! The plan of a run: which cells, roles and operations, how many kills of which sort, and when to stop.
//!
//! It kills nobody itself.

use crate::cell::{CELLS, Cell, Role};
use crate::census::{Census, isolate};
use crate::executioner::Executioner;
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::steps::{Steps, operations};
use crate::storm::{Pace, Storm};
use crate::tally::{Fault, Tally};
use crate::{leftovers, life, soak};
use clap::{Parser, ValueEnum};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Kill processes that share a segment, and judge what is left. Any fault makes it fail, and is printed with what it
/// takes to see it again.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
pub(crate) struct Args {
    /// Only this backend: posix or sysv.
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// Only this memory: memfd, shm_open or shmget.
    #[arg(long, value_name = "MEMORY")]
    memory: Option<String>,
    /// Only this lock: futex, pthread-mutex, semaphore or sysv-sem.
    #[arg(long, value_name = "LOCK")]
    lock: Option<String>,
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
    /// Whom to kill.
    #[arg(long, default_value = "all")]
    role: Whom,
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
    /// Instead of all else: a kill every 100 ms for this long, traffic running, and a look whether anything grew.
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Print the counts as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The roles that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whom {
    Holder,
    Waiter,
    Appender,
    Reader,
    Creator,
    Both,
    All,
}

impl Whom {
    fn contains(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Holder => role == Role::Holder,
            Self::Waiter => role == Role::Waiter,
            Self::Appender => role == Role::Appender,
            Self::Reader => role == Role::Reader,
            Self::Creator => role == Role::Creator,
            Self::Both => role == Role::Both,
        }
    }
}

/// The roles of those who use a segment.
const USERS: [Role; 4] = [Role::Holder, Role::Waiter, Role::Appender, Role::Reader];

/// A run.
struct Plan {
    args: Args,
    end: Option<Instant>,
    ledger: Ledger,
    tally: Tally,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    if let Err(error) = isolate() {
        eprintln!("note: objects of other programs are counted too (no namespaces of our own: {error})");
    }
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut plan = Plan { args, end, ledger: Ledger::new()?, tally: Tally::default() };
    let executioner = Executioner::start();
    plan.run(&executioner)?;
    print!("{}", if plan.args.json { plan.tally.json(plan.args.seed) } else { plan.tally.table() });
    Ok(if plan.tally.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Plan {
    fn run(&mut self, executioner: &Executioner) -> Result<(), Box<dyn Error>> {
        let cells = self.cells();
        if cells.is_empty() {
            return Err("no cell has this backend, memory and lock".into());
        }
        if let Some(seconds) = self.args.soak {
            return soak::run(&cells, &self.ledger, executioner, &mut self.tally, self.args.seed, seconds);
        }
        let (before, whom) = (Census::take(), self.args.role);
        for cell in &cells {
            for role in USERS.into_iter().filter(|role| whom.contains(*role)) {
                self.kill_users(*cell, role, executioner)?;
            }
            self.kill_makers(*cell)?;
        }
        if Census::take().objects != before.objects {
            leftovers::clean(&self.ledger, &mut self.tally, &before, self.args.seed)?;
        }
        Ok(())
    }

    fn cells(&self) -> Vec<Cell> {
        let fits = |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
        let args = &self.args;
        let wanted = |cell: &Cell| {
            fits(&args.backend, cell.backend().name())
                && fits(&args.memory, cell.memory.name())
                && fits(&args.lock, cell.lock.name())
        };
        CELLS.into_iter().filter(wanted).collect()
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Step by step first, then at random until the role's share of kills is done.
    fn kill_users(&mut self, cell: Cell, role: Role, executioner: &Executioner) -> Result<(), Box<dyn Error>> {
        let seed = self.args.seed;
        let share = if self.args.role == Whom::All { self.args.kills / USERS.len() as u64 } else { self.args.kills };
        let over = self.end;
        let mut judge = Judge::new(&mut self.tally, cell, role, seed, "");
        let operations = operations(role);
        let budget = (share / 2 / operations.len().max(1) as u64).min(self.args.steps);
        let budget = if self.args.every { u64::MAX } else { budget };
        let wanted = |name: &str| self.args.operation.as_deref().is_none_or(|wanted| wanted == name);
        for operation in operations.iter().filter(|name| wanted(name)) {
            judge.turn_to(operation);
            let mut steps = Steps::new(cell, operation, &self.ledger)?;
            match self.args.point {
                Some(point) => {
                    judge.point = point;
                    steps.kill_after(&mut judge, point)?;
                }
                None => {
                    // What ends the campaign of an operation is a finding; the others go on.
                    if let Err(error) = steps.campaign(&mut judge, budget, seed, over) {
                        judge.fault(Fault::Other, error);
                    }
                }
            }
        }
        let mut storm: Option<Storm<'_>> = None;
        let mut variant = 0;
        judge.point = 0;
        let at_random = self.args.operation.is_none();
        while at_random && judge.row.kills < share && over.is_none_or(|end| Instant::now() < end) {
            if storm.as_ref().is_none_or(Storm::is_worn) {
                drop(storm.take());
                storm = Some(Storm::new(cell, role, seed, variant, &self.ledger, executioner)?);
                variant += 1;
            }
            let outcome = if let Some(storm) = &mut storm {
                judge.turn_to(storm.operation());
                storm.round(&mut judge, Pace::default())
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                judge.fault(Fault::Other, error);
                storm = None;
            }
            judge.point += 1;
        }
        judge.done();
        Ok(())
    }

    fn kill_makers(&mut self, cell: Cell) -> Result<(), Box<dyn Error>> {
        let seed = self.args.seed;
        let share = |whom| if self.args.role == whom { self.args.kills } else { self.args.kills / 10 };
        let (life_share, both_share) = (share(Whom::Creator), share(Whom::Both));
        if self.args.role.contains(Role::Creator) && !self.is_over() {
            let mut judge = Judge::new(&mut self.tally, cell, Role::Creator, seed, "");
            match (&self.args.operation, self.args.point) {
                (Some(operation), Some(point)) if life::OPERATIONS.contains(&operation.as_str()) => {
                    life::kill_at(cell, operation, &self.ledger, &mut judge, point)?;
                }
                (Some(_), _) => {}
                (None, _) => {
                    if let Err(error) = life::campaign(cell, &self.ledger, &mut judge, life_share, self.end) {
                        judge.fault(Fault::Other, error);
                    }
                }
            }
            judge.done();
        }
        if self.args.role.contains(Role::Both) && self.args.operation.is_none() && !self.is_over() {
            let mut judge = Judge::new(&mut self.tally, cell, Role::Both, seed, "");
            leftovers::kill_both(cell, &self.ledger, &mut judge, both_share, seed, self.end)?;
            judge.done();
        }
        Ok(())
    }
}
