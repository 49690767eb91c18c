//! How an endpoint waits for the other side: it spins, sleeps in slices, and notices when the other side has closed or
//! died.
//!
//! A lost or stolen wake-up costs a slice, never the wait.

use std::time::Duration;

use crossbeam_utils::Backoff;
use monshm_core::{Deadline, Error, ErrorKind, Operation, Result};

use super::endpoint::{Endpoint, Engine, wake_peer};
use crate::sys;

/// How often an endpoint tries again before it sleeps. With the growing pauses of [`Backoff`] this takes about as long
/// as a sleep and a wake-up.
const SPIN_TRIES: u32 = 24;

/// How long a call may wait in all. The clock is read when the call first has to wait.
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
        let now_ns = sys::now_ns();
        self.deadline.get_or_insert_with(|| Deadline::after(now_ns, self.timeout)).remaining(now_ns)
    }
}

/// One try of the engine: `None` when there is no room, or no data, now.
pub(super) trait Attempt<E, T>: FnMut(&mut E) -> Result<Option<T>, monshm_rbuf::Error> {}

impl<E, T, F: FnMut(&mut E) -> Result<Option<T>, monshm_rbuf::Error>> Attempt<E, T> for F {}

impl<E: Engine> Endpoint<E> {
    /// Tries until `attempt` gives a value, which publishes or releases, and wakes the other side then. With a timeout
    /// of zero it does not wait.
    ///
    /// # Errors
    /// `TimedOut`; `Closed` when the other side has closed or died and the last attempt still gave nothing;
    /// `MemoryLost`, `Poisoned`, `Forked`; else what `attempt` answers.
    #[inline(always)]
    pub(super) fn wait_for<T>(&mut self, timeout: Duration, attempt: impl Attempt<E, T>) -> Result<T> {
        self.wait_until(&mut Limit::of(timeout), attempt)
    }

    /// As [`wait_for`](Self::wait_for), with a limit for several waits in all.
    #[inline(always)]
    pub(super) fn wait_until<T>(&mut self, limit: &mut Limit, mut attempt: impl Attempt<E, T>) -> Result<T> {
        let done = match self.inspect(&mut attempt)? {
            Some(done) => done,
            None => self.wait(limit, attempt)?,
        };
        wake_peer(self.engine());
        Ok(done)
    }

    /// Waits until `ready` gives a value, which changes nothing for the other side.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    #[inline(always)]
    pub(super) fn wait_ready<T>(&mut self, timeout: Duration, mut ready: impl Attempt<E, T>) -> Result<T> {
        match self.inspect(&mut ready)? {
            Some(done) => Ok(done),
            None => self.wait(&mut Limit::of(timeout), ready),
        }
    }

    #[cold]
    fn wait<T>(&mut self, limit: &mut Limit, mut attempt: impl Attempt<E, T>) -> Result<T> {
        let backoff = Backoff::new();
        for _ in 0..if limit.timeout.is_zero() { 0 } else { SPIN_TRIES } {
            backoff.spin();
            if let Some(done) = self.inspect(&mut attempt)? {
                return Ok(done);
            }
        }
        loop {
            // Asked before the last attempt: what the other side published before it closed or died is still found.
            let gone = self.is_peer_gone();
            let remaining = limit.remaining();
            self.engine().begin_wait();
            // The other side passes no barrier when it looks whether we sleep: ours is for both.
            sys::barrier_everywhere();
            let outcome = self.inspect(&mut attempt);
            if let (Ok(None), false, Some(remaining)) = (&outcome, gone, remaining) {
                sys::futex_wait(self.waiting_word(self.claim().role), 1, remaining);
            }
            self.engine().end_wait();
            if let Some(done) = outcome? {
                return Ok(done);
            }
            if gone {
                return Err(Error::new(Operation::Ring, ErrorKind::Closed));
            }
            if remaining.is_none() {
                let what = "the other end of the ring did not move";
                return Err(Error::new(Operation::Ring, ErrorKind::TimedOut { what }));
            }
        }
    }
}
