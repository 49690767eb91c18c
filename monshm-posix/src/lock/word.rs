//! The lock whose state is one word at the start of the lock area, whatever its waiters sleep on.
//!
//! The state machine is `monshm_core::lock::word`; how to sleep and wake is a [`Sleeper`]'s. Nothing here depends on a
//! wake-up: whoever misses one looks again after its slice.

use std::cell::Cell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::time::Duration;

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::kind::LockKind;
use monshm_core::liveness::{Liveness, Slot};
use monshm_core::lock::word::{self as lock_word, Environment, Taken, Word, WordFault};
use monshm_core::lock::{Deadline, PreviousHolder, RawLock};
use monshm_core::region::MappedBytes;

use crate::segment::Mapping;
use crate::sys;

/// How waiters sleep.
pub(super) trait Sleeper: Debug + Send + Sync {
    /// The kind of lock that this makes.
    const KIND: LockKind;

    /// Sleeps until a wake-up or until `until_ns` of CLOCK_MONOTONIC, at once awake when `word` is not `expected`
    /// any more or, where that cannot be had in one step, soon after. May return for no reason.
    fn sleep(region: &MappedBytes, word: &AtomicU32, expected: u32, until_ns: u64);

    /// Wakes one sleeper.
    fn wake_one(region: &MappedBytes, word: &AtomicU32);

    /// Wakes all sleepers.
    fn wake_all(region: &MappedBytes, word: &AtomicU32);
}

/// The lock, as one handle sees it.
///
/// *Invariant PLACED*: `word` is the address of the first four bytes of the lock area of `mapping`, `sleepers` that of the
/// header's field, which this value keeps mapped. They stand here because each load on the way to it would be waited for between two locked instructions.
#[derive(Debug)]
pub(super) struct WordLock<S> {
    word: NonNull<AtomicU32>,
    sleepers: NonNull<AtomicU32>,
    /// Whether a waiter's barrier reaches this process, so that a holder need not pass one of its own.
    barriers_reach_us: bool,
    me: Slot,
    mapping: Arc<Mapping>,
    sleeper: PhantomData<S>,
}

// SAFETY: PLACED: the address is valid in every thread as long as the value lives, and what it leads to is atomic; the
// other fields can be sent.
unsafe impl<S: Send> Send for WordLock<S> {}
// SAFETY: as for Send: a shared reference gives access to the atomic only.
unsafe impl<S: Sync> Sync for WordLock<S> {}

/// One call of it.
struct Call<'a, S> {
    lock: &'a WordLock<S>,
    deadline: Deadline,
    /// When the slice began that is being waited for. A wake-up that was for nothing does not start it anew: else
    /// wake-ups or signals that come faster than slices end would keep us from ever asking for the holder's life, and
    /// from ever being given way.
    slice_began_ns: Cell<Option<u64>>,
}

impl<S: Sleeper> WordLock<S> {
    pub(super) fn new(mapping: &Arc<Mapping>, me: Slot) -> Self {
        let word = NonNull::from(&mapping.region().header().lock_area).cast();
        let sleepers = NonNull::from(&mapping.region().header().sleepers);
        let barriers_reach_us = sys::register_for_barriers();
        Self { word, sleepers, barriers_reach_us, me, mapping: Arc::clone(mapping), sleeper: PhantomData }
    }

    /// Settles what a dead holder of our slot may have left.
    pub(super) fn adopt(self) -> Self {
        lock_word::adopt(self.word(), self.me, &self.call(Deadline::NEVER));
        self
    }

    #[inline]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: PLACED: mapped while self is borrowed, aligned to 8 as the area is; the other side uses these four bytes
        // as an atomic as well.
        unsafe { self.word.as_ref() }
    }

    #[inline]
    fn sleepers(&self) -> &AtomicU32 {
        // SAFETY: as in `word`.
        unsafe { self.sleepers.as_ref() }
    }

    #[inline]
    fn settle(&self) {
        if self.barriers_reach_us {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    #[inline]
    fn call(&self, deadline: Deadline) -> Call<'_, S> {
        Call { lock: self, deadline, slice_began_ns: Cell::new(None) }
    }
}

impl<S: Sleeper> Environment for Call<'_, S> {
    /// About as long as two processes need to hand over a cache line a few times.
    const SPINS: u32 = 100;

    fn sleepers(&self) -> &impl Word {
        self.lock.sleepers()
    }

    fn barrier(&self) {
        sys::barrier_everywhere();
    }

    #[inline]
    fn settle(&self) {
        self.lock.settle();
    }

    fn wait(&self, expected: u32, slice: Duration) -> bool {
        let began_ns = self.slice_began_ns.get().unwrap_or_else(sys::now_ns);
        let until_ns = began_ns.saturating_add(slice.as_nanos() as u64);
        S::sleep(self.lock.mapping.region(), self.lock.word(), expected, until_ns);
        let passed = sys::now_ns() >= until_ns;
        self.slice_began_ns.set(if passed { None } else { Some(began_ns) });
        passed
    }

    fn wake_one(&self) {
        S::wake_one(self.lock.mapping.region(), self.lock.word());
    }

    fn wake_all(&self) {
        S::wake_all(self.lock.mapping.region(), self.lock.word());
    }

    fn remaining(&self) -> Option<Duration> {
        if self.deadline == Deadline::NEVER {
            return Some(Duration::MAX);
        }
        self.deadline.remaining(sys::now_ns())
    }

    fn is_alive(&self, slot: Slot) -> bool {
        self.lock.mapping.slots().is_alive(slot)
    }
}

impl<S: Sleeper> RawLock for WordLock<S> {
    fn kind(&self) -> LockKind {
        S::KIND
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        Ok(lock_word::acquire_now(self.word(), self.me).then_some(PreviousHolder::Released))
    }

    fn try_acquire(&self) -> Result<Option<PreviousHolder>> {
        match lock_word::try_acquire(self.word(), self.me) {
            Ok(taken) => Ok(taken.map(acquired)),
            Err(found) => Err(fault(Operation::Lock, found)),
        }
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        match lock_word::acquire(self.word(), self.me, &self.call(deadline)) {
            Ok(taken) => Ok(acquired(taken)),
            Err(found) => Err(fault(Operation::Lock, found)),
        }
    }

    fn repaired(&self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn release(&self) -> Result<()> {
        lock_word::release(self.word(), self.me, &self.call(Deadline::NEVER))
            .map_err(|found| fault(Operation::Unlock, found))
    }
}

fn acquired(taken: Taken) -> PreviousHolder {
    match taken {
        Taken::Clean => PreviousHolder::Released,
        Taken::OwnerDied => PreviousHolder::Died,
    }
}

#[cold]
fn fault(operation: Operation, found: WordFault) -> Error {
    match found {
        WordFault::TimedOut => {
            Error::new(operation, ErrorKind::TimedOut { what: "the holder of the lock did not let go" })
        }
        WordFault::Corrupt(value) => {
            let kind = ErrorKind::Corrupt { what: "the lock word is not one that its holders write" };
            Error::new(operation, kind).on(format!("posix lock word {value:#010x}"))
        }
    }
}
