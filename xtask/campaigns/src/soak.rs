//! The soak: a kill every 100 ms, for long, on segments that live all the time, with traffic between the kills.
//!
//! At the end everything that can grow is compared with the beginning.

use crate::cell::{Cell, Role};
use crate::census::{Census, shmem_kib};
use crate::executioner::{Executioner, now_ns};
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::storm::{Pace, Storm};
use crate::tally::{Fault, Tally};
use std::error::Error;
use std::time::{Duration, Instant};

/// From one kill to the next.
const PERIOD: Duration = Duration::from_millis(100);

/// By how much `Shmem:` may have grown, in KiB. Other programs of the machine use it too; a segment kept after each
/// kill would be 64 KiB every 100 ms, that is 37,500 KiB a minute.
const SHMEM_TOLERANCE_KIB: u64 = 8 << 10;

/// Runs for `seconds` over `cells`.
pub(crate) fn run(
    cells: &[Cell],
    ledger: &Ledger,
    executioner: &Executioner,
    tally: &mut Tally,
    seed: u64,
    seconds: u64,
) -> Result<(), Box<dyn Error>> {
    let roles = [Role::Holder, Role::Appender, Role::Reader, Role::Waiter];
    let mut storms = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let index = index as u64;
        storms.push(Storm::new(*cell, roles[index as usize % 4], seed, index / 4, ledger, executioner)?);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut first = None;
    let mut point = 0;
    while Instant::now() < end && !storms.is_empty() {
        let count = storms.len();
        if point == count as u64 {
            // Each has had a victim: what is made once is made.
            first = Some((Census::take(), least_shmem_kib()));
        }
        let storm = &mut storms[point as usize % count];
        let mut judge = Judge::new(tally, storm.cell, storm.role, seed, storm.operation());
        judge.point = point;
        let tick_ns = PERIOD.as_nanos() as u64;
        let pace = Pace { killed_at_ns: Some(now_ns() + tick_ns), pause_ns: 100_000 };
        if let Err(error) = storm.round(&mut judge, pace) {
            // A finding, which does not end the soak.
            judge.fault(Fault::Other, error);
        }
        judge.done();
        point += 1;
    }
    let Some((before, before_kib)) = first else { return Err("too short for a soak".into()) };
    let limit_kib = before_kib + SHMEM_TOLERANCE_KIB;
    let (after, after_kib, settled) = settle(&before, limit_kib);
    println!(
        "soak of {seconds} s, {point} kills: fds {} -> {}, mappings {} -> {}, names and ids {} -> {}, Shmem {before_kib} -> \
         {after_kib} KiB, {:.1} s after the last kill",
        before.fds,
        after.fds,
        before.mappings,
        after.mappings,
        before.objects.len(),
        after.objects.len(),
        settled.as_secs_f64()
    );
    if after != before || after_kib > limit_kib {
        let storm = &storms[0];
        let mut judge = Judge::new(tally, storm.cell, storm.role, seed, "soak");
        judge.fault(Fault::Leaked, format_args!("it grew: {before:?}, {before_kib} KiB; {after:?}, {after_kib} KiB"));
        judge.done();
    }
    Ok(())
}

/// How long what the kernel frees later, and what other programs use for a moment, may take to go. A leak does not go.
const SETTLE: Duration = Duration::from_secs(40);

/// Looks again until nothing has grown, or the time is up. What was seen last, and how long that took.
fn settle(before: &Census, limit_kib: u64) -> (Census, u64, Duration) {
    let begin = Instant::now();
    loop {
        let (after, after_kib) = (Census::take(), least_shmem_kib());
        if (after == *before && after_kib <= limit_kib) || begin.elapsed() > SETTLE {
            return (after, after_kib, begin.elapsed());
        }
    }
}

/// The least of some looks, since other programs come and go.
fn least_shmem_kib() -> u64 {
    let look = |_| {
        std::thread::sleep(Duration::from_millis(50));
        shmem_kib()
    };
    (0..20).map(look).min().unwrap_or(0)
}
