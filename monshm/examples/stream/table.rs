//! A small table over every backend, memory object and lock: the same bytes through the locked ring, a row each.
//!
//! It knows the names only: which combinations there are, the library says when asked to make them.

use crate::arguments::{Input, Plan, RingUse};
use crate::report::human;
use crate::{Failure, Stop, sender};
use monshm::{ErrorKind, LockKind, MemoryKind};

/// Bytes for each row: enough for a figure, few enough for the slowest lock.
const BYTES: u64 = 64 << 20;
const SIZE: usize = 1 << 20;

/// Prints the table; answers whether every row's sums were equal and no row failed.
pub(crate) fn run(stop: &Stop) -> Result<bool, Failure> {
    let piece = RingUse::Locked.usual_piece();
    println!(
        "\nEvery backend and lock: {} through a locked ring in {}, {} for each time the lock is taken",
        human(BYTES),
        human(SIZE as u64),
        human(piece as u64)
    );
    println!("{:<8} {:<9} {:<14} {:>7} {:>8}  SHA-256", "backend", "memory", "lock", "s", "GiB/s");
    let mut all_right = true;
    for memory in [MemoryKind::Memfd, MemoryKind::Named, MemoryKind::SysvShm] {
        for lock in LockKind::ALL {
            let plan = Plan {
                backend: memory.backend(),
                lock: Some(lock),
                memory: Some(memory),
                size: SIZE,
                input: Input::Generated(BYTES),
                ring: RingUse::Locked,
                piece,
                receiver: None,
            };
            all_right &= row(&plan, memory, lock, stop)?;
        }
    }
    Ok(all_right)
}

fn row(plan: &Plan, memory: MemoryKind, lock: LockKind, stop: &Stop) -> Result<bool, Failure> {
    let names = format!("{:<8} {:<9} {:<14}", memory.backend().name(), memory.name(), lock.name());
    match sender::run(plan, false, stop) {
        Ok(report) => {
            let sums = if report.is_equal() { "equal" } else { "DIFFERENT" };
            println!("{names} {:>7.3} {:>8.2}  {sums}", report.seconds(), report.gib_per_s());
            Ok(report.is_equal())
        }
        Err(_) if stop.is_asked() => Err("interrupted".into()),
        Err(failure) => match failure.downcast_ref::<monshm::Error>().map(monshm::Error::kind) {
            // No such combination anywhere: no row.
            Some(ErrorKind::LockNotOfBackend { .. }) => Ok(true),
            Some(ErrorKind::LockNotBuilt { .. } | ErrorKind::BackendNotBuilt { .. }) => {
                println!("{names} {:>7} {:>8}  not in this build", "–", "–");
                Ok(true)
            }
            _ => {
                println!("{names} {:>7} {:>8}  FAILED: {failure}", "–", "–");
                Ok(false)
            }
        },
    }
}
