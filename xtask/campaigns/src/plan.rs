//! The plan of a run: which cells and roles, how many kills of which sort, and when to stop.
//!
//! It kills nobody itself.

use crate::cell::{CELLS, Cell, Role};
use crate::executioner::Executioner;
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::storm::Storm;
use crate::tally::Tally;
use clap::Parser;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Kill processes that share a segment, and judge what is left.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
pub(crate) struct Args {
    /// Only this backend: posix or sysv.
    #[arg(long)]
    backend: Option<String>,
    /// Only this memory: memfd, shm_open or shmget.
    #[arg(long)]
    memory: Option<String>,
    /// Only this lock: futex, pthread-mutex, semaphore or sysv-sem.
    #[arg(long)]
    lock: Option<String>,
    /// Kills in each cell, over the roles that are run.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Stop after this many seconds, whatever is left to do.
    #[arg(long)]
    seconds: Option<u64>,
    /// What delays and sizes follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this role.
    #[arg(long, default_value = "all")]
    role: String,
    /// Print the counts as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let ledger = Ledger::new()?;
    let executioner = Executioner::start();
    let mut tally = Tally::default();
    let wanted = |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
    for cell in CELLS {
        if !wanted(&args.backend, cell.backend().name())
            || !wanted(&args.memory, cell.memory.name())
            || !wanted(&args.lock, cell.lock.name())
        {
            continue;
        }
        for role in [Role::Holder, Role::Waiter, Role::Appender, Role::Reader] {
            if args.role != "all" && args.role != role.to_string() {
                continue;
            }
            storms(&args, cell, role, &ledger, &executioner, &mut tally, end)?;
        }
    }
    print!("{}", if args.json { tally.json(args.seed) } else { tally.table() });
    Ok(if tally.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn storms(
    args: &Args,
    cell: Cell,
    role: Role,
    ledger: &Ledger,
    executioner: &Executioner,
    tally: &mut Tally,
    end: Option<Instant>,
) -> Result<(), Box<dyn Error>> {
    let mut judge = Judge::new(tally, cell, role, args.seed, "");
    let mut variant = 0;
    let mut storm: Option<Storm<'_>> = None;
    while judge.point < args.kills && end.is_none_or(|end| Instant::now() < end) {
        if storm.as_ref().is_none_or(Storm::is_worn) {
            drop(storm.take());
            storm = Some(Storm::new(cell, role, args.seed, variant, ledger, executioner)?);
            variant += 1;
        }
        if let Some(storm) = &mut storm {
            judge.turn_to(storm.operation());
            storm.round(&mut judge)?;
        }
        judge.point += 1;
    }
    judge.done();
    Ok(())
}
