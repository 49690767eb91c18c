//! Kills after every instruction: a victim is stopped at its mark, goes on by k instructions, and is killed there,
//! for k = 0, 1, 2, … until its operation has returned.
//!
//! What each operation needs around it (a dead holder to take over from, a waiter asleep, records to read) is set up
//! here; how the state is judged is the survivor's and the stream's.

use crate::cell::{Cell, Role};
use crate::executioner::now_ns;
use crate::judge::Judge;
use crate::ledger::{Ledger, phase};
use crate::random::Random;
use crate::record;
use crate::spawn::Victim;
use crate::stream::Stream;
use crate::survivor::{Survivor, Visit};
use crate::tally::Fault;
use crate::tracer::{Stop, Stride};
use crate::victim::ALLOCATED_LEN;
use std::alloc::Layout;
use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The most instructions that are followed.
const LIMIT: u64 = 60_000;

/// The most instructions of an operation that never returns: a wait for a lock that stays held.
const WAIT_LIMIT: u64 = 1_200;

/// Where the header keeps the end of the common data, and where the beginning of the ring; bytes.
const CDATA_END: u64 = 32;
const RING_BEGIN: u64 = 128;

/// What the beginning of a ring is a multiple of, in bytes.
const RING_ALIGN: u64 = 128;

/// The operations in which a process of this role is killed.
pub(crate) fn operations(role: Role) -> &'static [&'static str] {
    match role {
        Role::Holder => &["lock", "unlock", "unlock-waited", "update", "take-over", "take-over-inherited", "adopt"],
        Role::Waiter => &["wait"],
        Role::Appender => &["append", "alloc", "freeze", "push", "claim", "claim-inherited"],
        Role::Reader => &["read", "pop"],
        Role::Creator | Role::Both => &[],
    }
}

/// One operation of one cell.
pub(crate) struct Steps<'a> {
    cell: Cell,
    operation: &'a str,
    ledger: &'a Ledger,
    survivor: Survivor,
    stream: Stream,
}

impl<'a> Steps<'a> {
    /// A segment on which victims will do `operation`.
    pub(crate) fn new(cell: Cell, operation: &'a str, ledger: &'a Ledger) -> monshm::Result<Self> {
        let survivor = Survivor::create(cell)?;
        let mut stream = Stream::new(record::MIN_LEN + 45);
        match operation {
            "push" => stream.consumer = Some(survivor.segment.consumer()?),
            "pop" => stream.producer = Some(survivor.segment.producer()?),
            _ => {}
        }
        Ok(Self { cell, operation, ledger, survivor, stream })
    }

    /// Kills at every instruction, or, where that is more than `budget` kills, at every n-th.
    pub(crate) fn campaign(
        &mut self,
        judge: &mut Judge<'_>,
        budget: u64,
        seed: u64,
        end: Option<Instant>,
    ) -> Result<(), Box<dyn Error>> {
        let limit = if self.operation == "wait" { WAIT_LIMIT } else { LIMIT };
        judge.point = limit;
        let len = self.kill_after(judge, limit)?;
        let stride = len.div_ceil(budget.max(1)).max(1);
        let mut point = Random::of(seed, &[self.cell.index() as u64, len]).below(stride);
        let mut kills = 1;
        while point < len && end.is_none_or(|end| Instant::now() < end) {
            judge.point = point;
            self.kill_after(judge, point)?;
            kills += 1;
            point += stride;
        }
        if stride == 1 && point >= len {
            eprintln!("{} {}: {len} instructions, killed after each ({kills} kills)", self.cell, self.operation);
        }
        Ok(())
    }

    /// One victim, killed after `point` instructions of its operation. Answers how many it made.
    pub(crate) fn kill_after(&mut self, judge: &mut Judge<'_>, point: u64) -> Result<u64, Box<dyn Error>> {
        if matches!(self.operation, "alloc" | "freeze") {
            self.survivor = Survivor::create(self.cell)?;
        }
        let (victims, name) = match self.operation {
            "take-over-inherited" => (Some("die-inside"), "take-over"),
            "take-over" => (Some("die-inside"), "take-over"),
            "adopt" => (Some("die-inside"), "decode"),
            "claim" | "claim-inherited" => (Some("die-producing"), "claim"),
            other => (None, other),
        };
        let mut first = None;
        if let Some(operation) = victims {
            let victim = self.start(operation, judge)?;
            if !Victim::wait_until_ready(self.ledger) {
                return Err(format!("a victim never came to {operation}").into());
            }
            // Whether the second victim comes to the first one's slot, or to another beside it.
            first = Some(victim);
            if self.operation.ends_with("inherited") || self.operation == "adopt" {
                end(first.take())?;
            }
        }
        let due = self.stream.next;
        if matches!(self.operation, "read" | "pop") {
            let guard = self.survivor.segment.lock_timeout(Duration::from_secs(2))?;
            self.stream.feed(&self.survivor)?;
            self.stream.feed(&self.survivor)?;
            guard.unlock()?;
        }
        self.survivor.brief(self.ledger, self.cell, self.stream.record_len, due, 0);
        let mut victim = if name == "decode" {
            self.ledger.set_bytes(&self.survivor.segment.encode()?.bytes);
            Victim::start(name, self.ledger)?
        } else {
            self.start(name, judge)?
        };
        let made = if self.operation == "unlock-waited" {
            self.step_beside_waiter(judge, &mut victim, point)?
        } else {
            let held = if name == "wait" { self.survivor.enter(judge, false) } else { None };
            let made = self.step(&victim, first, point)?;
            let killed_ns = now_ns();
            victim.pid.kill();
            if let Some((guard, _)) = held {
                self.survivor.work(Duration::ZERO)?;
                guard.unlock()?;
            }
            let visit = self.survivor.visit(judge, true, Duration::ZERO);
            note(judge, visit, killed_ns);
            made
        };
        judge.row.kills += 1;
        match victim.reap()? {
            Stop::Killed(libc::SIGKILL) => {}
            other => judge.fault(Fault::Other, format_args!("the victim ended otherwise: {other:?}")),
        }
        self.judge(judge)?;
        Ok(made)
    }

    fn start(&self, operation: &str, judge: &mut Judge<'_>) -> Result<Victim, Box<dyn Error>> {
        let next = self.stream.next;
        if !matches!(self.operation, "read" | "pop") {
            self.survivor.brief(self.ledger, self.cell, self.stream.record_len, next, 0);
        }
        let victim = Victim::start(operation, self.ledger)?;
        if self.survivor.hand_to(&victim, judge) { Ok(victim) } else { Err("a victim did not attach".into()) }
    }

    /// Lets a victim go from its mark by `point` instructions, or to the end of its operation.
    fn step(&self, victim: &Victim, first: Option<Victim>, point: u64) -> Result<u64, Box<dyn Error>> {
        come_to_mark(victim)?;
        end(first)?;
        follow(victim, self.ledger, Stride::Instruction, point)
    }

    /// The same, while we are asleep in the wait for the lock that the victim holds.
    fn step_beside_waiter(
        &self,
        judge: &mut Judge<'_>,
        victim: &mut Victim,
        point: u64,
    ) -> Result<u64, Box<dyn Error>> {
        if !Victim::wait_until_ready(self.ledger) {
            return Err("a victim never came to its lock".into());
        }
        let survivor = &self.survivor;
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let visit = survivor.visit(judge, true, Duration::ZERO);
                (judge, visit)
            });
            let made = come_to_mark(victim).and_then(|()| follow(victim, self.ledger, Stride::Instruction, point));
            let killed_ns = now_ns();
            victim.pid.kill();
            let (judge, visit) = waiter.join().map_err(|_| "the waiter panicked")?;
            note(judge, visit, killed_ns);
            made
        })
    }

    /// Judges what the operation was about besides the lock.
    fn judge(&mut self, judge: &mut Judge<'_>) -> Result<(), Box<dyn Error>> {
        match self.operation {
            "append" | "push" => {
                let guard = self.survivor.segment.lock_timeout(Duration::from_secs(2))?;
                self.stream.drain(&self.survivor, judge)?;
                self.stream.judge_writer(self.ledger, judge);
                guard.unlock()?;
            }
            "read" | "pop" => {
                let guard = self.survivor.segment.lock_timeout(Duration::from_secs(2))?;
                self.stream.judge_reader(&self.survivor, self.ledger, judge)?;
                guard.unlock()?;
            }
            "alloc" => self.judge_allocator(judge)?,
            "freeze" => self.survivor.prove_usable(judge, false),
            _ => {}
        }
        Ok(())
    }

    /// Room that an allocation returned is never given again, and the ring lies behind all of it.
    fn judge_allocator(&self, judge: &mut Judge<'_>) -> Result<(), Box<dyn Error>> {
        let word = |offset| -> monshm::Result<u64> {
            Ok(self.survivor.segment.region(offset, 8)?.atomic_u64(0)?.load(Ordering::Relaxed))
        };
        let (committed, begin) = (word(CDATA_END)?, word(RING_BEGIN)?);
        if begin != committed.next_multiple_of(RING_ALIGN) {
            judge.fault(
                Fault::Corrupted,
                format_args!("allocator: common data ends at {committed}, the ring begins at {begin}"),
            );
        }
        let returned = self.ledger.words().allocated.load(Ordering::Acquire);
        let len = ALLOCATED_LEN as u64;
        let ours = self.survivor.segment.alloc(Layout::from_size_align(ALLOCATED_LEN, 8)?)?;
        let begin = self.survivor.segment.ring()?.begin();
        let due = self.survivor.pattern + 25 * 8;
        let right = if returned == 0 { ours == due || ours == due + len } else { ours == due + len };
        if !right || (returned != 0 && returned != due) || begin < ours + len {
            judge.fault(
                Fault::Corrupted,
                format_args!("allocator: {returned} was returned, then {ours}; the ring begins at {begin}"),
            );
        }
        self.survivor.prove_usable(judge, false);
        Ok(())
    }
}

/// Waits until the victim stands at its mark.
pub(crate) fn come_to_mark(victim: &Victim) -> Result<(), Box<dyn Error>> {
    match victim.pid.wait()? {
        Stop::Signal(libc::SIGTRAP) => Ok(victim.pid.prepare()?),
        other => Err(format!("a victim did not come to its mark: {other:?}").into()),
    }
}

/// Lets a victim that stands at its mark make `point` strides, or less if its operation returns before.
pub(crate) fn follow(victim: &Victim, ledger: &Ledger, stride: Stride, point: u64) -> Result<u64, Box<dyn Error>> {
    let mut made = 0;
    while made < point && ledger.words().phase.load(Ordering::Acquire) != phase::DONE {
        victim.pid.go_on(stride)?;
        match victim.pid.wait()? {
            Stop::Signal(_) => made += 1,
            other => return Err(format!("a victim ended by itself after {made} strides: {other:?}").into()),
        }
    }
    Ok(made)
}

fn end(victim: Option<Victim>) -> Result<(), Box<dyn Error>> {
    if let Some(mut victim) = victim {
        victim.pid.kill();
        victim.reap()?;
    }
    Ok(())
}

fn note(judge: &mut Judge<'_>, visit: Option<Visit>, killed_ns: u64) {
    if let Some(visit) = visit.filter(|visit| visit.told) {
        // A waiter can have been told before the kill, of nobody's death: that would show as a time of 0.
        judge.row.recovered(visit.had_ns.saturating_sub(killed_ns.max(visit.asked_ns)));
    }
}
