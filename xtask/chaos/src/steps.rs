//! Kills after every instruction: a victim is stopped at its mark, goes on by k instructions, and is killed there,
//! for k = 0, 1, 2, … until its operation has returned.
//!
//! What each operation needs around it (a dead holder to take over from, a waiter asleep, records to read) is set up
//! here; how the state is judged is the survivor's and the stream's.

use crate::Outcome;
use crate::process::Victim;
use crate::progress::Progress;
use crate::record;
use crate::stream::Stream;
use crate::survivor::{LOST_AFTER, Survivor, Visit};
use crate::tally::{Fault, Judge, Role};
use crate::victim::ALLOCATED_LEN;
use harness::trace::Stride;
use harness::{Cell, Random, Stop, now_ns};
use std::alloc::Layout;
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

/// Another victim that an operation needs, and when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    None,
    /// Once the second victim is at its mark: the second comes to another slot.
    Beside(&'static str),
    /// Before the second starts, which comes to its slot.
    Before(&'static str),
}

/// An operation that is killed step by step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// The victim's own name for it.
    does: &'static str,
    first: First,
}

const fn alone(name: &'static str, role: Role) -> Operation {
    Operation { name, role, does: name, first: First::None }
}

const fn after(name: &'static str, role: Role, does: &'static str, first: First) -> Operation {
    Operation { name, role, does, first }
}

/// All of them, in the order in which they are run.
pub(crate) const OPERATIONS: [Operation; 16] = [
    alone("lock", Role::Holder),
    alone("unlock", Role::Holder),
    alone("unlock-waited", Role::Holder),
    alone("update", Role::Holder),
    after("take-over", Role::Holder, "take-over", First::Beside("die-inside")),
    after("take-over-inherited", Role::Holder, "take-over", First::Before("die-inside")),
    after("adopt", Role::Holder, "decode", First::Before("die-inside")),
    alone("wait", Role::Waiter),
    alone("append", Role::Appender),
    alone("alloc", Role::Appender),
    alone("freeze", Role::Appender),
    alone("push", Role::Appender),
    after("claim", Role::Appender, "claim", First::Beside("die-producing")),
    after("claim-inherited", Role::Appender, "claim", First::Before("die-producing")),
    alone("read", Role::Reader),
    alone("pop", Role::Reader),
];

impl Operation {
    fn is_read(&self) -> bool {
        matches!(self.name, "read" | "pop")
    }

    fn is_write(&self) -> bool {
        matches!(self.name, "append" | "push")
    }

    /// Whether each victim needs a segment on which nobody has done it before.
    fn is_once(&self) -> bool {
        matches!(self.name, "alloc" | "freeze")
    }
}

/// One operation of one cell.
pub(crate) struct Steps<'a> {
    cell: Cell,
    operation: Operation,
    page: &'a Progress,
    survivor: Survivor,
    stream: Stream,
}

impl<'a> Steps<'a> {
    /// A segment on which victims will do `operation`.
    pub(crate) fn new(cell: Cell, operation: Operation, page: &'a Progress) -> monshm::Result<Self> {
        let survivor = Survivor::create(cell)?;
        let mut stream = Stream::new(record::MIN_LEN + 45);
        match operation.name {
            "push" => stream.consumer = Some(survivor.segment.consumer()?),
            "pop" => stream.producer = Some(survivor.segment.producer()?),
            _ => {}
        }
        Ok(Self { cell, operation, page, survivor, stream })
    }

    /// Kills at every instruction, or, where that is more than `budget` kills, at every n-th.
    pub(crate) fn campaign(&mut self, judge: &mut Judge<'_>, budget: u64, seed: u64, end: Option<Instant>) -> Outcome {
        let limit = if self.operation.name == "wait" { WAIT_LIMIT } else { LIMIT };
        let len = self.kill_after(judge, limit)?;
        let stride = len.div_ceil(budget.max(1)).max(1);
        let mut point = Random::of(seed, &[self.cell.index() as u64, len]).below(stride);
        let mut kills = 1;
        while point < len && end.is_none_or(|end| Instant::now() < end) {
            self.kill_after(judge, point)?;
            kills += 1;
            point += stride;
        }
        if stride == 1 && point >= len {
            let name = self.operation.name;
            eprintln!("{} {name}: {len} instructions, killed after each ({kills} kills)", self.cell);
        }
        Ok(())
    }

    /// One victim, killed after `point` instructions of its operation. Answers how many it made.
    pub(crate) fn kill_after(&mut self, judge: &mut Judge<'_>, point: u64) -> Outcome<u64> {
        judge.point = Some(point);
        if self.operation.is_once() {
            self.survivor = Survivor::create(self.cell)?;
        }
        let first = self.first(judge)?;
        let due = self.stream.next;
        if self.operation.is_read() {
            let guard = self.survivor.segment.lock_timeout(LOST_AFTER)?;
            self.stream.feed(&self.survivor)?;
            self.stream.feed(&self.survivor)?;
            guard.unlock()?;
        }
        let victim = self.start(self.operation.does, due, judge)?;
        let made = match self.operation.name {
            "unlock-waited" => self.step_beside_waiter(judge, &victim, point)?,
            _ => self.step(judge, &victim, first, point)?,
        };
        judge.row.kills += 1;
        match victim.child().end()? {
            Stop::Killed(libc::SIGKILL) => {}
            other => judge.fault(Fault::Other, format_args!("the victim ended otherwise: {other:?}")),
        }
        self.judge(judge)?;
        Ok(made)
    }

    /// The victim that the operation needs before its own, unless it is dead already.
    fn first(&self, judge: &mut Judge<'_>) -> Outcome<Option<Victim>> {
        let (First::Beside(does) | First::Before(does)) = self.operation.first else { return Ok(None) };
        let victim = self.start(does, self.stream.next, judge)?;
        if !Victim::wait_until_ready(self.page) {
            return Err(format!("a victim never came to {does}").into());
        }
        if self.operation.first == First::Before(does) {
            victim.child().end()?;
            return Ok(None);
        }
        Ok(Some(victim))
    }

    /// Starts a victim and gives it the segment.
    fn start(&self, does: &str, next: u64, judge: &mut Judge<'_>) -> Outcome<Victim> {
        self.survivor.brief(self.page, self.cell, self.stream.record_len, next, 0);
        if does == "decode" {
            self.page.set_bytes(&self.survivor.segment.encode()?.bytes);
            return Ok(Victim::start(does, self.page)?);
        }
        let victim = Victim::start(does, self.page)?;
        if self.survivor.hand_to(&victim, judge) { Ok(victim) } else { Err("a victim did not attach".into()) }
    }

    /// Lets a victim go from its mark by `point` instructions, or to the end of its operation, and kills it.
    fn step(&self, judge: &mut Judge<'_>, victim: &Victim, first: Option<Victim>, point: u64) -> Outcome<u64> {
        let held = if self.operation.name == "wait" { self.survivor.enter(judge, false) } else { None };
        victim.come_to_mark()?;
        drop(first);
        let made = victim.follow(self.page, Stride::Instruction, point)?;
        let killed_ns = now_ns();
        victim.child().kill();
        if let Some((guard, _)) = held {
            self.survivor.work(Duration::ZERO)?;
            guard.unlock()?;
        }
        let visit = self.survivor.visit(judge, true, Duration::ZERO);
        note(judge, visit, killed_ns);
        Ok(made)
    }

    /// The same, while we are asleep in the wait for the lock that the victim holds.
    fn step_beside_waiter(&self, judge: &mut Judge<'_>, victim: &Victim, point: u64) -> Outcome<u64> {
        if !Victim::wait_until_ready(self.page) {
            return Err("a victim never came to its lock".into());
        }
        let survivor = &self.survivor;
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let visit = survivor.visit(judge, true, Duration::ZERO);
                (judge, visit)
            });
            let made = victim.come_to_mark().and_then(|()| victim.follow(self.page, Stride::Instruction, point));
            let killed_ns = now_ns();
            victim.child().kill();
            let (judge, visit) = waiter.join().map_err(|_| "the waiter panicked")?;
            note(judge, visit, killed_ns);
            made
        })
    }

    /// Judges what the operation was about besides the lock.
    fn judge(&mut self, judge: &mut Judge<'_>) -> Outcome {
        if self.operation.is_write() || self.operation.is_read() {
            let guard = self.survivor.segment.lock_timeout(LOST_AFTER)?;
            if self.operation.is_write() {
                self.stream.drain(&self.survivor, judge)?;
                self.stream.judge_writer(self.page, judge);
            } else {
                self.stream.judge_reader(&self.survivor, self.page, judge)?;
            }
            guard.unlock()?;
        }
        match self.operation.name {
            "alloc" => self.judge_allocator(judge)?,
            "freeze" => self.survivor.prove_usable(judge, false),
            _ => {}
        }
        Ok(())
    }

    /// Room that an allocation returned is never given again, and the ring lies behind all of it.
    fn judge_allocator(&self, judge: &mut Judge<'_>) -> Outcome {
        let word = |offset| -> monshm::Result<u64> {
            Ok(self.survivor.segment.region(offset, 8)?.atomic_u64(0)?.load(Ordering::Relaxed))
        };
        let (committed, begin) = (word(CDATA_END)?, word(RING_BEGIN)?);
        if begin != committed.next_multiple_of(RING_ALIGN) {
            let detail = format_args!("allocator: common data ends at {committed}, the ring begins at {begin}");
            judge.fault(Fault::Corrupted, detail);
        }
        let returned = self.page.words().allocated.load(Ordering::Acquire);
        let len = ALLOCATED_LEN as u64;
        let ours = self.survivor.segment.alloc(Layout::from_size_align(ALLOCATED_LEN, 8)?)?;
        let begin = self.survivor.segment.unguarded_ring()?.begin();
        let due = self.survivor.pattern + 25 * 8;
        let right = if returned == 0 { ours == due || ours == due + len } else { ours == due + len };
        if !right || (returned != 0 && returned != due) || begin < ours + len {
            let detail = format_args!("allocator: {returned} was returned, then {ours}; the ring begins at {begin}");
            judge.fault(Fault::Corrupted, detail);
        }
        self.survivor.prove_usable(judge, false);
        Ok(())
    }
}

fn note(judge: &mut Judge<'_>, visit: Option<Visit>, killed_ns: u64) {
    if let Some(visit) = visit.filter(|visit| visit.reported) {
        // A waiter can have the lock before the kill: that would show as a time of 0.
        judge.row.recovery_ns.push(visit.had_ns.saturating_sub(killed_ns.max(visit.asked_ns)));
    }
}
