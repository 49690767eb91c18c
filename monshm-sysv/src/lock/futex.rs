//! The lock that is one word of the segment, waited on with futex(2); the slots' semaphores tell who lives.
//!
//! The state machine is `monshm_core::lock::word`'s; here it gets a clock, a place to sleep and the kernel's books. The
//! futex is never private: that flag would make each process wait in a queue of its own.

use std::cell::Cell;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::time::Duration;

use monshm_core::layout::Header;
use monshm_core::lock::word::{self as lock_word, Environment, Taken, Word, WordFault};
use monshm_core::{Deadline, Error, ErrorKind, LockKind, Operation, PreviousHolder, RawLock, Result, Slot};

use crate::attachment::Shares;
use crate::liveness;
use crate::lock::failed;
use crate::sys::{self, Errno};

// The word is the first of the lock area.
const _: () = assert!(offset_of!(Header, lock_area) % 64 == 0);

/// The futex lock as one handle sees it.
#[derive(Debug)]
pub(super) struct Futex {
    shares: Arc<Shares>,
    me: Slot,
    /// Whether a waiter's barrier reaches this process, so that a holder need not pass one of its own.
    barriers_reach_us: bool,
}

/// What the state machine sees of the world during one call.
struct World<'a> {
    lock: &'a Futex,
    deadline: Deadline,
    /// When the slice began that is being waited for, nanoseconds of CLOCK_MONOTONIC. Signals and wake-ups for nothing do
    /// not start it anew: coming fast enough, they would keep us from ever asking for the holder's life.
    slice_began_ns: Cell<Option<u64>>,
    /// The errno by which the set was found to be gone: then nobody can tell any more who lives.
    gone: Cell<Option<Errno>>,
}

impl Futex {
    /// The lock of a segment in which our slot is taken.
    pub(super) fn new(shares: &Arc<Shares>) -> Self {
        let barriers_reach_us = sys::register_for_barriers();
        Self { me: shares.slot(), shares: Arc::clone(shares), barriers_reach_us }
    }

    /// The same, for a peer: its slot may be that of a holder who died.
    pub(super) fn open(shares: &Arc<Shares>) -> Self {
        let lock = Self::new(shares);
        lock_word::adopt(lock.word(), lock.me, &lock.world(Deadline::NEVER));
        lock
    }

    #[inline]
    fn word(&self) -> &AtomicU32 {
        let place = &self.shares.header().lock_area[0];
        // SAFETY: the place is valid for as long as it is borrowed, aligned to 8, longer than a u32, and used by all
        // processes only as this u32.
        unsafe { AtomicU32::from_ptr(place.as_ptr().cast()) }
    }

    #[inline]
    fn world(&self, deadline: Deadline) -> World<'_> {
        World { lock: self, deadline, slice_began_ns: Cell::new(None), gone: Cell::new(None) }
    }

    #[inline]
    fn entered(&self, taken: Taken) -> PreviousHolder {
        match taken {
            Taken::Clean => PreviousHolder::Released,
            Taken::OwnerDied => {
                self.shares.set_unrepaired(true);
                PreviousHolder::Died
            }
        }
    }

    #[cold]
    fn fault(&self, operation: Operation, fault: WordFault) -> Error {
        let kind = match fault {
            WordFault::TimedOut => ErrorKind::TimedOut { what: "the lock stayed held" },
            WordFault::Corrupt(_) => ErrorKind::Corrupt { what: "the lock word holds what no honest process writes" },
        };
        Error::new(operation, kind).on(self.shares.name())
    }
}

impl RawLock for Futex {
    fn kind(&self) -> LockKind {
        LockKind::Futex
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        Ok(lock_word::acquire_now(self.word(), self.me).then_some(PreviousHolder::Released))
    }

    fn try_acquire(&self) -> Result<Option<PreviousHolder>> {
        let taken = lock_word::try_acquire(self.word(), self.me).map_err(|fault| self.fault(Operation::Lock, fault))?;
        Ok(taken.map(|taken| self.entered(taken)))
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        let world = self.world(deadline);
        match lock_word::acquire(self.word(), self.me, &world) {
            Ok(taken) => Ok(self.entered(taken)),
            Err(fault) => Err(match (fault, world.gone.get()) {
                (WordFault::TimedOut, Some(errno)) => failed(Operation::Lock, self.shares.set(), errno),
                _ => self.fault(Operation::Lock, fault),
            }),
        }
    }

    fn repaired(&self) -> Result<()> {
        self.shares.set_unrepaired(false);
        Ok(())
    }

    #[inline]
    fn release(&self) -> Result<()> {
        let world = self.world(Deadline::NEVER);
        if self.shares.is_unrepaired() {
            // To let go without having repaired is to leave it as the dead did: the next one is told.
            self.shares.set_unrepaired(false);
            lock_word::adopt(self.word(), self.me, &world);
            return Ok(());
        }
        lock_word::release(self.word(), self.me, &world).map_err(|fault| self.fault(Operation::Unlock, fault))
    }
}

impl Environment for World<'_> {
    const SPINS: u32 = 100;

    fn sleepers(&self) -> &impl Word {
        &self.lock.shares.header().sleepers
    }

    fn barrier(&self) {
        sys::barrier_everywhere();
    }

    #[inline]
    fn settle(&self) {
        if self.lock.barriers_reach_us {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    fn wait(&self, expected: u32, slice: Duration) -> bool {
        let now_ns = sys::monotonic_ns();
        let began_ns = self.slice_began_ns.get().unwrap_or(now_ns);
        let left = slice.saturating_sub(Duration::from_nanos(now_ns.saturating_sub(began_ns)));
        let passed = left.is_zero() || sys::futex_wait(self.lock.word(), expected, left);
        self.slice_began_ns.set((!passed).then_some(began_ns));
        passed
    }

    fn wake_one(&self) {
        sys::futex_wake(self.lock.word(), 1);
    }

    fn wake_all(&self) {
        sys::futex_wake(self.lock.word(), i32::MAX);
    }

    fn remaining(&self) -> Option<Duration> {
        match self.deadline {
            _ if self.gone.get().is_some() => None,
            Deadline::NEVER => Some(Duration::MAX),
            deadline => deadline.remaining(sys::monotonic_ns()),
        }
    }

    fn is_alive(&self, slot: Slot) -> bool {
        slot == self.lock.me
            || self.lock.shares.set().lives(slot).unwrap_or_else(|errno| {
                self.gone.set(Some(errno).filter(|errno| liveness::is_gone(*errno)));
                true
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monshm_core::Identity;

    #[test]
    fn waits_that_end_for_nothing_add_up_to_a_slice() {
        let us = Identity { uid: sys::effective_uid(), gid: sys::effective_gid() };
        let lock = Futex::new(&Arc::new(Shares::creator(65536, us, us).unwrap()));
        let world = lock.world(Deadline::NEVER);
        let slice = Duration::from_millis(5);
        let began_ns = sys::monotonic_ns();
        // The word is not what the wait expects, so each one ends at once.
        while !world.wait(1, slice) {
            assert!(sys::monotonic_ns() - began_ns < 20_000_000_000, "a slice never passes");
        }
        assert!(sys::monotonic_ns() - began_ns >= 5_000_000);
        assert!(!world.wait(1, slice), "the next one begins anew");
    }
}
