//! How an end of the ring waits for the other: looks again, sleeps in slices, finds that the other side is over, and
//! wakes it.
//!
//! What it waits for is told by a closure; sleeping and waking are in `crate::wait`.

use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use monshm_core::{Deadline, Error, ErrorKind, Operation, Result, Slot};

use super::{End, Role};
use crate::wait;

/// What a wait needs of either end.
pub(super) trait Waiting {
    fn end(&self) -> &End;
    fn word(&self, role: Role) -> &AtomicU32;
    fn begin_wait(&self);
    fn end_wait(&self);
    fn take_peer_wait(&self) -> bool;
    fn is_closed(&self) -> bool;
    fn peer(&self) -> Option<NonZeroU32>;
}

/// How often an end looks again, with growing pauses, before it sleeps: some tens of microseconds in all, the time that
/// a sleep and a wake-up cost.
const LOOKS: u32 = 24;

/// How long a call may wait in all. The clock is looked at when it first has to wait.
pub(super) struct Limit {
    timeout: Duration,
    deadline: Option<Deadline>,
}

impl Limit {
    pub(super) fn of(timeout: Duration) -> Self {
        Self { timeout, deadline: None }
    }

    /// What is left; `None` when the time is up.
    fn remaining(&mut self) -> Option<Duration> {
        let now_ns = wait::now_ns();
        self.deadline.get_or_insert_with(|| Deadline::after(now_ns, self.timeout)).remaining(now_ns)
    }
}

/// Tries until `attempt` gives something, spinning first and then sleeping in slices; wakes the other end on success.
/// With a timeout of zero it does not wait.
#[inline]
pub(super) fn wait_for<E: Waiting, T>(
    end: &mut E,
    limit: &mut Limit,
    mut attempt: impl FnMut(&mut E) -> Result<Option<T>, monshm_rbuf::Error>,
) -> Result<T> {
    end.end().segment.inner().check_usable(Operation::Ring)?;
    let mut attempt = |end: &mut E| {
        let outcome = attempt(end).map_err(|error| end.end().segment.ring_error(end.end().role.name(), error))?;
        if outcome.is_some() && end.take_peer_wait() {
            wait::wake(end.word(end.end().role.other()));
        }
        Ok::<_, Error>(outcome)
    };
    match attempt(end)? {
        Some(done) => Ok(done),
        None => wait_on(end, limit, attempt),
    }
}

#[cold]
fn wait_on<E: Waiting, T>(
    end: &mut E,
    limit: &mut Limit,
    mut attempt: impl FnMut(&mut E) -> Result<Option<T>>,
) -> Result<T> {
    let looks = if limit.timeout.is_zero() { 0 } else { LOOKS };
    for look in 0..looks {
        for _ in 0..1 << look.min(6) {
            std::hint::spin_loop();
        }
        if let Some(done) = attempt(end)? {
            return Ok(done);
        }
    }
    loop {
        // Asked before the last look: what the other end published before it closed or died is still found.
        let over = is_over(end);
        let remaining = limit.remaining();
        end.begin_wait();
        // The other end passes no barrier when it looks whether we sleep: ours is for both.
        wait::barrier_everywhere();
        let outcome = attempt(end);
        if let (Ok(None), false, Some(remaining)) = (&outcome, over, remaining) {
            wait::sleep_on(end.word(end.end().role), 1, remaining);
        }
        end.end_wait();
        if let Some(done) = outcome? {
            return Ok(done);
        }
        if over {
            return Err(Error::new(Operation::Ring, ErrorKind::Closed));
        }
        if remaining.is_none() {
            let what = "the other end of the ring did not move";
            return Err(Error::new(Operation::Ring, ErrorKind::TimedOut { what }));
        }
    }
}

/// Whether the other end has closed, or its process has died.
fn is_over(end: &impl Waiting) -> bool {
    let slot = end.peer().and_then(|tag| Slot::from_tag(tag.get()));
    let inner = end.end().segment.inner();
    end.is_closed() || slot.is_some_and(|slot| !inner.attachment.liveness().is_alive(slot))
}
