//! Kills at random times: victims work in a loop beside the survivor until they are killed.
//!
//! The delays are spread from nothing to a millisecond, so that kills fall into attaching, into critical sections and
//! between them. The victim's death is judged before the next victim starts.

use crate::Outcome;
use crate::killer::Killer;
use crate::process::Victim;
use crate::progress::Progress;
use crate::record;
use crate::stream::Stream;
use crate::survivor::{Survivor, Visit};
use crate::tally::{Fault, Judge, Role};
use harness::{Cell, Random, Stop, now_ns};
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many victims share a segment before a new one is made.
const PER_SEGMENT: u64 = 200;

/// A recovery that takes longer is printed, with what its time went into; nanoseconds.
const LONG_NS: u64 = 40_000_000;

/// When a round's victim is killed, and how busy it is until then.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timing {
    /// In nanoseconds of [`now_ns`]; `None` for a random time within a millisecond.
    pub(crate) killed_at_ns: Option<u64>,
    /// How long victim and survivor sleep between two operations, in nanoseconds.
    pub(crate) pause_ns: u64,
}

/// A segment under attack, for one cell and role.
pub(crate) struct RandomKills<'a> {
    pub(crate) cell: Cell,
    pub(crate) role: Role,
    pub(crate) seed: u64,
    page: &'a Progress,
    killer: &'a Killer,
    survivor: Survivor,
    stream: Stream,
    operation: &'static str,
    rounds: u64,
    /// Visits of this round at which a death was reported.
    reported: RefCell<Vec<Visit>>,
}

impl<'a> RandomKills<'a> {
    /// A fresh segment, attacked in one of the role's ways.
    pub(crate) fn new(
        cell: Cell,
        role: Role,
        seed: u64,
        variant: u64,
        page: &'a Progress,
        killer: &'a Killer,
    ) -> monshm::Result<Self> {
        let survivor = Survivor::create(cell)?;
        let mut random = Random::of(seed, &[cell.index() as u64, role as u64, variant]);
        let lens = (record::MAX_LEN - record::MIN_LEN) as u64;
        let mut stream = Stream::new(record::MIN_LEN + random.below(lens + 1) as usize);
        let lock_free = variant % 2 == 1;
        let operation = match (role, lock_free) {
            (Role::Appender, false) => "loop-appender",
            (Role::Appender, true) => {
                stream.consumer = Some(survivor.segment.consumer()?);
                "loop-pusher"
            }
            (Role::Reader, false) => "loop-reader",
            (Role::Reader, true) => {
                stream.producer = Some(survivor.segment.producer()?);
                "loop-popper"
            }
            _ => "loop-holder",
        };
        Ok(Self {
            cell,
            role,
            seed,
            page,
            killer,
            survivor,
            stream,
            operation,
            rounds: 0,
            reported: RefCell::default(),
        })
    }

    /// Whether the segment has seen as many victims as one shall.
    pub(crate) fn is_worn(&self) -> bool {
        self.rounds >= PER_SEGMENT
    }

    /// What the victims of this segment do.
    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    /// One victim: started, worked beside, killed, judged. Its delays follow from the seed and the number of the
    /// `round`.
    pub(crate) fn round(&mut self, judge: &mut Judge<'_>, round: u64, timing: Timing) -> Outcome {
        self.rounds += 1;
        let mut random = Random::of(self.seed, &[self.cell.index() as u64, self.role as u64, round, 7]);
        // A lock that costs system calls needs longer holds to be killed inside as often.
        let long = if self.cell.lock == "sysv-sem" { 3 } else { 1 };
        let hold_ns = match random.below(4) {
            // Beside long pauses, long holds: else hardly a kill would fall inside.
            _ if timing.pause_ns != 0 => timing.pause_ns + random.below(timing.pause_ns),
            chance if chance < long => random.below(20_000),
            _ => 0,
        };
        self.survivor.brief(self.page, self.cell, self.stream.record_len, self.stream.next, hold_ns);
        self.page.words().pause_ns.store(timing.pause_ns, Ordering::Release);
        let victim = Victim::start(self.operation, self.page)?;
        if !self.survivor.hand_to(&victim, judge) {
            return Ok(());
        }
        // Without a wait for the loop the kill may fall into the end of the attach, and into claims.
        if random.below(8) != 0 && !Victim::wait_until_ready(self.page) {
            judge.fault(Fault::Other, "a victim never came to its loop");
            return Ok(());
        }
        let delay_ns = match timing.killed_at_ns {
            Some(at_ns) => at_ns.saturating_sub(now_ns()),
            None => random.spread_ns(20),
        };
        self.killer.order(victim.child(), delay_ns)?;
        self.work_beside(judge, &mut random, timing)?;
        judge.row.kills += 1;
        match victim.child().wait_for_end()? {
            Stop::Killed(libc::SIGKILL) => {}
            other => judge.fault(Fault::Other, format_args!("the victim ended otherwise: {other:?}")),
        }
        // The time of the kill is noted just before it: the victim may have taken the lock after our last visit.
        if let Some(visit) = self.survivor.visit(judge, true, Duration::ZERO) {
            self.note(judge, visit);
        }
        self.settle(judge);
        self.judge_stream(judge)
    }

    /// Uses the segment like the victim's honest peer until it was killed, and once after that.
    fn work_beside(&mut self, judge: &mut Judge<'_>, random: &mut Random, timing: Timing) -> Outcome {
        let idle = self.role != Role::Waiter && timing.pause_ns == 0 && random.below(3) == 0;
        loop {
            let killed = self.killer.killed_at().is_some();
            if idle && !killed {
                std::thread::yield_now();
                continue;
            }
            let hold_ns = match self.role {
                Role::Waiter if !killed => 10_000 + random.spread_ns(21),
                _ => random.below(2_000),
            };
            let Some((guard, visit)) = self.survivor.enter(judge, true) else { return Ok(()) };
            self.note(judge, visit);
            if !self.survivor.work(Duration::from_nanos(hold_ns))? {
                judge.fault(Fault::Other, "two holders at once");
            }
            match self.role {
                Role::Appender => self.stream.drain(&self.survivor, judge)?,
                Role::Reader if !killed => {
                    for _ in 0..4 {
                        self.stream.feed(&self.survivor)?;
                    }
                }
                _ => {}
            }
            guard.unlock()?;
            if killed {
                return Ok(());
            }
            if timing.pause_ns != 0 {
                std::thread::sleep(Duration::from_nanos(timing.pause_ns));
                continue;
            }
            let pause_ns = random.spread_ns(14);
            let until_ns = now_ns() + pause_ns;
            while now_ns() < until_ns {
                std::hint::spin_loop();
            }
        }
    }

    fn note(&self, judge: &mut Judge<'_>, visit: Visit) {
        match self.killer.killed_at() {
            Some(_) if visit.reported => self.reported.borrow_mut().push(visit),
            None if visit.reported => judge.fault(Fault::Other, "a death was reported before anybody was killed"),
            _ => {}
        }
    }

    /// Counts the recoveries of the round, from the kill and from the death, which is known by now.
    fn settle(&self, judge: &mut Judge<'_>) {
        let (killed_ns, dead_ns) = (self.killer.killed_at(), self.killer.dead_at());
        let (Some(killed_ns), Some(dead_ns)) = (killed_ns, dead_ns) else {
            return self.reported.borrow_mut().clear();
        };
        for visit in self.reported.borrow_mut().drain(..) {
            let took_ns = visit.had_ns.saturating_sub(killed_ns.max(visit.asked_ns));
            let since_death_ns = visit.had_ns.saturating_sub(dead_ns.max(visit.asked_ns));
            judge.row.recovery_ns.push(took_ns);
            judge.row.since_death_ns.push(since_death_ns);
            if took_ns > LONG_NS {
                let ms = |ns: u64| ns as f64 / 1e6;
                eprintln!(
                    "long recovery: {:.1} ms from the kill, of which {:.1} ms until the victim had ended; {:.1} ms \
                     since then; the survivor waited {:.1} ms for a processor; cell {}, role {}",
                    ms(took_ns),
                    ms(dead_ns.saturating_sub(killed_ns.max(visit.asked_ns))),
                    ms(since_death_ns),
                    ms(visit.starved_ns),
                    self.cell,
                    self.role
                );
            }
        }
    }

    fn judge_stream(&mut self, judge: &mut Judge<'_>) -> Outcome {
        if !matches!(self.role, Role::Appender | Role::Reader) {
            return Ok(());
        }
        let Some((guard, _)) = self.survivor.enter(judge, true) else { return Ok(()) };
        if self.role == Role::Appender {
            self.stream.drain(&self.survivor, judge)?;
            self.stream.judge_writer(self.page, judge);
        } else {
            self.stream.judge_reader(&self.survivor, self.page, judge)?;
        }
        guard.unlock()?;
        Ok(())
    }
}
