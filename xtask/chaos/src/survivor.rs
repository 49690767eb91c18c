//! The survivor: it makes the segment, hands it to victims, takes the lock after their death and judges what is left.
//!
//! Everything that it knows of a victim's work comes from the page of its progress. It kills nobody.

use crate::pattern::Pattern;
use crate::process::Victim;
use crate::progress::Progress;
use crate::record;
use crate::tally::{Fault, Judge};
use harness::product::SIZE;
use harness::{Cell, now_ns};
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Guard, PreviousHolder, Result, Segment};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// After how long a lock whose holder is dead counts as lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(2);

/// What the survivor writes into the pattern when it is inside.
const WHO: u64 = 1;

/// A segment and what the survivor knows of it.
#[derive(Debug)]
pub(crate) struct Survivor {
    pub(crate) segment: Segment,
    pub(crate) pattern: u64,
}

/// When the lock was asked for and had, in nanoseconds of [`now_ns`], and whether a death was reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) asked_ns: u64,
    pub(crate) had_ns: u64,
    pub(crate) reported: bool,
    /// For how much of that time the survivor itself could run but had no processor, in nanoseconds.
    pub(crate) starved_ns: u64,
}

impl Survivor {
    /// Makes a segment of the cell's kind with a pattern in it.
    pub(crate) fn create(cell: Cell) -> Result<Self> {
        let segment = cell.builder().create()?;
        let pattern = Pattern::place(&segment)?;
        Ok(Self { segment, pattern })
    }

    /// The same for a segment that a victim made.
    pub(crate) fn of(segment: Segment, pattern: u64) -> Self {
        Self { segment, pattern }
    }

    /// Tells the next victim, by the page, what it needs to know.
    pub(crate) fn brief(&self, page: &Progress, cell: Cell, record_len: usize, next: u64, hold_ns: u64) {
        let words = page.words();
        words.cell.store(cell.index() as u64, Ordering::Release);
        words.pattern.store(self.pattern, Ordering::Release);
        words.record_len.store(record_len as u64, Ordering::Release);
        words.next.store(next, Ordering::Release);
        words.hold_ns.store(hold_ns, Ordering::Release);
    }

    /// Hands the segment to a victim.
    pub(crate) fn hand_to(&self, victim: &Victim, judge: &mut Judge<'_>) -> bool {
        let Ok(socket) = victim.socket() else { return false };
        let sent = self.segment.send(socket, DEFAULT_TIMEOUT);
        sent.inspect_err(|error| judge.fault(Fault::Other, format_args!("hand-over: {error}"))).is_ok()
    }

    /// Takes the lock and judges what is found; then the pattern is whole and the guard is given.
    /// `may_be_dead` says whether a death can be reported at all.
    pub(crate) fn enter(&self, judge: &mut Judge<'_>, may_be_dead: bool) -> Option<(Guard<'_>, Visit)> {
        let starved_ns = starved_ns();
        let asked_ns = now_ns();
        let guard = match self.segment.lock_timeout(LOST_AFTER) {
            Ok(guard) => guard,
            Err(error) => {
                let lost = matches!(error.kind(), ErrorKind::TimedOut { .. });
                judge.fault(if lost { Fault::LockLost } else { Fault::Other }, error);
                return None;
            }
        };
        let (had_ns, reported) = (now_ns(), guard.previous_holder() == PreviousHolder::Died);
        let starved_ns = self::starved_ns().saturating_sub(starved_ns);
        let visit = Visit { asked_ns, had_ns, reported, starved_ns };
        if let Err(error) = self.judge(judge, visit.reported, may_be_dead) {
            judge.fault(Fault::Other, error);
            return None;
        }
        Some((guard, visit))
    }

    fn judge(&self, judge: &mut Judge<'_>, reported: bool, may_be_dead: bool) -> Result<()> {
        let pattern = Pattern::at(&self.segment, self.pattern)?;
        let state = pattern.state()?;
        if reported {
            judge.row.reported += 1;
            if !may_be_dead {
                judge.fault(Fault::Other, "a death was reported although nobody was killed");
            }
        } else if !state.whole || state.inside != 0 {
            judge.fault(Fault::TornUnreported, format_args!("no death was reported, found {state:?}"));
        }
        if !state.whole || state.inside != 0 {
            pattern.update(WHO)?;
        }
        Ok(())
    }

    /// Takes the lock, judges, works on the pattern for `hold`, and releases the lock.
    pub(crate) fn visit(&self, judge: &mut Judge<'_>, may_be_dead: bool, hold: Duration) -> Option<Visit> {
        let (guard, visit) = self.enter(judge, may_be_dead)?;
        let alone = self.work(hold);
        match alone {
            Ok(true) => {}
            Ok(false) => judge.fault(Fault::Other, "two holders at once"),
            Err(error) => judge.fault(Fault::Other, error),
        }
        if let Err(error) = guard.unlock() {
            judge.fault(Fault::Other, error);
            return None;
        }
        Some(visit)
    }

    /// Works on the pattern under the lock; answers whether nobody else did.
    pub(crate) fn work(&self, hold: Duration) -> Result<bool> {
        let pattern = Pattern::at(&self.segment, self.pattern)?;
        let generation = pattern.enter(WHO)?;
        pattern.write(generation)?;
        let begin = Instant::now();
        while begin.elapsed() < hold {
            std::hint::spin_loop();
        }
        pattern.leave(WHO, generation)
    }

    /// Shows that the segment still does all that it should: lock, ring, and room for one more peer.
    pub(crate) fn prove_usable(&self, judge: &mut Judge<'_>, with_peer: bool) {
        if self.visit(judge, true, Duration::ZERO).is_none() {
            return;
        }
        if let Err(error) = self.use_all(with_peer) {
            judge.fault(Fault::Other, format_args!("the segment is of no use any more: {error}"));
        }
    }

    fn use_all(&self, with_peer: bool) -> Result<()> {
        let ring = self.segment.unguarded_ring()?;
        let mut record = [0; record::MIN_LEN];
        {
            let _guard = self.segment.lock_timeout(LOST_AFTER)?;
            let kept = ring.len()?;
            ring.skip(kept)?;
            record::write(&mut record, 1);
            ring.append(&record)?;
            ring.read(&mut record)?;
        }
        if with_peer {
            let encoded = self.segment.encode()?;
            let peer = Segment::decode(encoded.bytes, encoded.fd, SIZE)?;
            drop(peer.lock_timeout(LOST_AFTER)?);
        }
        Ok(())
    }
}

/// How long this thread has waited for a processor so far, as the scheduler counts it; 0 where it does not.
fn starved_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
