//! The soak: a kill every 100 ms, for long, on segments that live all the time, with traffic between the kills.
//!
//! At the end everything that can grow is compared with the beginning.

use crate::Outcome;
use crate::killer::Killer;
use crate::progress::Progress;
use crate::random_kills::{RandomKills, Timing};
use crate::tally::{Fault, Role, Tally};
use harness::{Cell, Census, now_ns};
use std::time::{Duration, Instant};

/// From one kill to the next.
const PERIOD: Duration = Duration::from_millis(100);

/// By how much `Shmem:` may have grown, in KiB. Other programs of the machine use it too; a segment kept after each
/// kill would be 64 KiB every 100 ms, that is 37,500 KiB a minute.
const SHMEM_TOLERANCE_KIB: u64 = 8 << 10;

/// Runs for `seconds` over `cells`.
pub(crate) fn run(
    cells: &[Cell],
    page: &Progress,
    killer: &Killer,
    tally: &mut Tally,
    seed: u64,
    seconds: u64,
) -> Outcome {
    let roles = [Role::Holder, Role::Appender, Role::Reader, Role::Waiter];
    let mut segments = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let index = index as u64;
        segments.push(RandomKills::new(*cell, roles[index as usize % 4], seed, index / 4, page, killer)?);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut first = None;
    let mut round = 0;
    while Instant::now() < end && !segments.is_empty() {
        let count = segments.len();
        if round == count as u64 {
            // Each has had a victim: what is made once is made.
            first = Some((Census::take(), least_shmem_kib()));
        }
        let kills = &mut segments[round as usize % count];
        let mut judge = tally.judge(kills.cell, kills.role, kills.operation());
        let period_ns = PERIOD.as_nanos() as u64;
        let timing = Timing { killed_at_ns: Some(now_ns() + period_ns), pause_ns: 100_000 };
        if let Err(error) = kills.round(&mut judge, round, timing) {
            // A finding, which does not end the soak.
            judge.fault(Fault::Other, error);
        }
        judge.done();
        round += 1;
    }
    let Some((before, before_kib)) = first else { return Err("too short for a soak".into()) };
    let limit_kib = before_kib + SHMEM_TOLERANCE_KIB;
    let (after, after_kib, settled) = settle(&before, limit_kib);
    let ([objects, fds, mappings], now) = (before.counts(), after.counts());
    println!(
        "soak of {seconds} s, {round} kills: names and ids {objects} -> {}, fds {fds} -> {}, mappings {mappings} \
         -> {}, Shmem {before_kib} -> {after_kib} KiB, {:.1} s after the last kill",
        now[0],
        now[1],
        now[2],
        settled.as_secs_f64()
    );
    if !is_settled(&before, &after) || after_kib > limit_kib {
        let kills = &segments[0];
        let mut judge = tally.judge(kills.cell, kills.role, "soak");
        judge.fault(Fault::Leaked, format_args!("it grew: {before:?}, {before_kib} KiB; {after:?}, {after_kib} KiB"));
        judge.done();
    }
    Ok(())
}

/// How long what the kernel frees later, and what other programs use for a moment, may take to go. A leak does not go.
const SETTLE: Duration = Duration::from_secs(40);

/// Whether the same objects are there, and as many descriptors and mappings.
fn is_settled(before: &Census, after: &Census) -> bool {
    after.objects == before.objects && after.counts() == before.counts()
}

/// Counts again until nothing has grown, or the time is up. What was counted last, and how long that took.
fn settle(before: &Census, limit_kib: u64) -> (Census, u64, Duration) {
    let begin = Instant::now();
    loop {
        let (after, after_kib) = (Census::take(), least_shmem_kib());
        if (is_settled(before, &after) && after_kib <= limit_kib) || begin.elapsed() > SETTLE {
            return (after, after_kib, begin.elapsed());
        }
    }
}

/// The least of some samples, since other programs come and go.
fn least_shmem_kib() -> u64 {
    let sample = |_| {
        std::thread::sleep(Duration::from_millis(50));
        shmem_kib()
    };
    (0..20).map(sample).min().unwrap_or(0)
}

/// `Shmem:` of /proc/meminfo, in KiB: all shared memory of the machine, other programs' too.
fn shmem_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
