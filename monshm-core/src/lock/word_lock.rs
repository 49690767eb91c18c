//! The lock whose state is one word of the segment, for every backend: the state machine of [`super::word`] over a
//! [`Parker`].
//!
//! It keeps the slices, the deadline, and whether a dead holder's state is still to be repaired. It makes no call to
//! the system: sleeping, waking, fences, time and liveness are the parker's.

use alloc::string::String;
use core::cell::Cell;
use core::fmt::Debug;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use core::time::Duration;

use super::word::{self, TIMED_OUT, WaitContext, Word};
use super::{Deadline, PreviousHolder, RawLock};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::kind::LockKind;
use crate::layout::Slot;
use crate::region::MappedBytes;

/// What the word lock asks of the system. A backend has one for each way to sleep.
pub trait Parker: Debug + Send + Sync {
    /// What messages call the lock.
    fn name(&self) -> String;

    /// Sleeps until a wake-up or until `until_ns` of [`Parker::now_ns`]; returns at once when `word` is not `expected`
    /// any more or, where that cannot be had in one step, soon after. May return for no reason.
    fn sleep(&self, word: &AtomicU32, expected: u32, until_ns: u64);

    /// Wakes up to `count` sleepers.
    fn wake(&self, word: &AtomicU32, count: u32);

    /// A full fence on every core that runs a process which registered for it, and on this one; where the kernel has
    /// none, on this one alone.
    fn heavy_fence(&self);

    /// Nanoseconds of CLOCK_MONOTONIC.
    fn now_ns(&self) -> u64;

    /// Whether the process behind `slot` lives, as the kernel reports it; our own slot always does.
    fn is_alive(&self, slot: Slot) -> bool;

    /// Why the liveness of a holder cannot be asked for any more, once that is known: waiting is of no use then.
    fn gone(&self) -> Option<Error> {
        None
    }
}

/// A value that no state of the word has.
const UNREPAIRED: u32 = u32::MAX;

/// The lock, as one handle sees it.
///
/// *Invariant PLACED*: both pointers lead to words of the header of a mapped segment that `parker` keeps mapped. They
/// stand here because each load on the way to them would be waited for between two locked instructions.
#[derive(Debug)]
pub struct WordLock<P> {
    word: NonNull<AtomicU32>,
    sleepers: NonNull<AtomicU32>,
    /// What the word holds while we hold the lock, nobody waits and nothing is to be repaired: our tag; [`UNREPAIRED`]
    /// while something is. Private memory, written by the holder.
    held: AtomicU32,
    /// Whether the waiters' heavy fence reaches this process, so that a release need not pass one of its own.
    is_registered: bool,
    me: Slot,
    kind: LockKind,
    parker: P,
}

// SAFETY: PLACED: the addresses are valid in every thread as long as the value lives, and what they lead to is atomic;
// the other fields can be sent.
unsafe impl<P: Send> Send for WordLock<P> {}
// SAFETY: as for Send: a shared reference gives access to atomics only.
unsafe impl<P: Sync> Sync for WordLock<P> {}

/// What one call knows of its own waiting.
struct Context<'a, P> {
    lock: &'a WordLock<P>,
    deadline: Deadline,
    /// When the slice began that is being waited for. A wake-up in vain does not start it anew: else wake-ups or
    /// signals that come faster than slices end would keep us from ever asking for the holder's life, and from ever
    /// being given way.
    slice_began_ns: Cell<Option<u64>>,
}

impl<P: Parker> WordLock<P> {
    /// The lock of a segment in which our slot `me` is taken. `is_registered` says whether [`Parker::heavy_fence`] of
    /// other processes reaches this one.
    ///
    /// # Safety
    /// `parker` keeps the bytes mapped for as long as it lives.
    pub unsafe fn new(bytes: &MappedBytes, parker: P, kind: LockKind, me: Slot, is_registered: bool) -> Self {
        let header = bytes.header();
        let (word, sleepers) = (NonNull::from(header.lock_word()), NonNull::from(header.sleepers()));
        Self { word, sleepers, held: AtomicU32::new(me.tag()), is_registered, me, kind, parker }
    }

    /// Marks the death of a holder whose slot has come to us. For a peer that has just taken its slot.
    #[must_use]
    pub fn adopt(self) -> Self {
        word::adopt(self.word(), self.me, &self.context(Deadline::NEVER));
        self
    }

    #[inline]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: PLACED: mapped while self is borrowed; every process uses these four bytes as an atomic.
        unsafe { self.word.as_ref() }
    }

    #[inline]
    fn context(&self, deadline: Deadline) -> Context<'_, P> {
        Context { lock: self, deadline, slice_began_ns: Cell::new(None) }
    }

    fn noted(&self, previous: PreviousHolder) -> PreviousHolder {
        if previous == PreviousHolder::Died {
            // Relaxed, here and below: private to the process, and the lock orders its holders.
            self.held.store(UNREPAIRED, Ordering::Relaxed);
        }
        previous
    }

    #[cold]
    fn release_slowly(&self, context: &Context<'_, P>) -> Result<()> {
        let released = if self.held.swap(self.me.tag(), Ordering::Relaxed) == UNREPAIRED {
            word::release_unrepaired(self.word(), self.me, context)
        } else {
            word::release(self.word(), self.me, context)
        };
        released.map_err(|kind| self.fault(Operation::Unlock, kind))
    }

    #[cold]
    fn fault(&self, operation: Operation, kind: ErrorKind) -> Error {
        match self.parker.gone() {
            Some(gone) if kind == TIMED_OUT => gone,
            _ => Error::new(operation, kind).on(self.parker.name()),
        }
    }
}

impl<P: Parker> WaitContext for Context<'_, P> {
    const SPINS: bool = true;

    #[inline]
    fn sleepers(&self) -> &impl Word {
        // SAFETY: PLACED, as in `WordLock::word`.
        unsafe { self.lock.sleepers.as_ref() }
    }

    fn heavy_fence(&self) {
        self.lock.parker.heavy_fence();
    }

    #[inline]
    fn light_fence(&self) {
        if self.lock.is_registered {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    fn park(&self, expected: u32, slice: Duration) -> bool {
        let parker = &self.lock.parker;
        let began_ns = self.slice_began_ns.get().unwrap_or_else(|| parker.now_ns());
        let until_ns = began_ns.saturating_add(slice.as_nanos() as u64);
        parker.sleep(self.lock.word(), expected, until_ns);
        let passed = parker.now_ns() >= until_ns;
        self.slice_began_ns.set((!passed).then_some(began_ns));
        passed
    }

    fn unpark_one(&self) {
        self.lock.parker.wake(self.lock.word(), 1);
    }

    fn unpark_all(&self) {
        // The count is an int to the kernel.
        self.lock.parker.wake(self.lock.word(), i32::MAX as u32);
    }

    fn remaining(&self) -> Option<Duration> {
        if self.lock.parker.gone().is_some() {
            return None;
        }
        if self.deadline == Deadline::NEVER {
            return Some(Duration::MAX);
        }
        self.deadline.remaining(self.lock.parker.now_ns())
    }

    fn is_alive(&self, slot: Slot) -> bool {
        self.lock.parker.is_alive(slot)
    }
}

impl<P: Parker> RawLock for WordLock<P> {
    fn kind(&self) -> LockKind {
        self.kind
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        Ok(word::acquire_now(self.word(), self.me).then_some(PreviousHolder::Released))
    }

    fn try_acquire(&self) -> Result<Option<PreviousHolder>> {
        let taken = word::try_acquire(self.word(), self.me).map_err(|kind| self.fault(Operation::Lock, kind))?;
        Ok(taken.map(|previous| self.noted(previous)))
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        let taken = word::acquire(self.word(), self.me, &self.context(deadline));
        taken.map(|previous| self.noted(previous)).map_err(|kind| self.fault(Operation::Lock, kind))
    }

    fn repaired(&self) -> Result<()> {
        self.held.store(self.me.tag(), Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    fn release(&self) -> Result<()> {
        let context = self.context(Deadline::NEVER);
        // One comparison answers both: no flag in the word, and nothing to repair.
        if self.word().load(Ordering::Relaxed) != self.held.load(Ordering::Relaxed) {
            return self.release_slowly(&context);
        }
        word::release_plain(self.word(), self.me, &context);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use alloc::borrow::ToOwned;
    use core::sync::atomic::AtomicU64;
    use std::boxed::Box;

    #[repr(C, align(4096))]
    struct Page([u8; 4096]);

    /// Each sleep is ended after a millisecond by a wake-up in vain; the process in slot 5 is dead.
    #[derive(Debug)]
    struct Restless {
        page: *mut Page,
        now_ns: AtomicU64,
        is_gone: bool,
    }

    // SAFETY: used by one thread.
    unsafe impl Send for Restless {}
    // SAFETY: as for Send.
    unsafe impl Sync for Restless {}

    impl Drop for Restless {
        fn drop(&mut self) {
            // SAFETY: from `lock`, which leaked it.
            drop(unsafe { Box::from_raw(self.page) });
        }
    }

    impl Parker for Restless {
        fn name(&self) -> String {
            "a page".to_owned()
        }
        fn sleep(&self, _: &AtomicU32, _: u32, _: u64) {
            self.now_ns.fetch_add(1_000_000, Ordering::Relaxed);
        }
        fn wake(&self, _: &AtomicU32, _: u32) {}
        fn heavy_fence(&self) {}
        fn now_ns(&self) -> u64 {
            self.now_ns.load(Ordering::Relaxed)
        }
        fn is_alive(&self, slot: Slot) -> bool {
            slot.index() != 5
        }
        fn gone(&self) -> Option<Error> {
            self.is_gone.then(|| Error::new(Operation::Lock, ErrorKind::Gone { what: "no set" }))
        }
    }

    fn lock(value: u32, is_gone: bool) -> WordLock<Restless> {
        let page = Box::into_raw(Box::new(Page([0; 4096])));
        // SAFETY: a page, aligned, that lives until the parker is dropped.
        let bytes = unsafe { MappedBytes::new(NonNull::new(page).unwrap().cast(), 4096) };
        bytes.header().lock_word().store(value, Ordering::Relaxed);
        let parker = Restless { page, now_ns: AtomicU64::new(1), is_gone };
        // SAFETY: the parker keeps the page.
        unsafe { WordLock::new(&bytes, parker, LockKind::Futex, Slot::CREATOR, true) }
    }

    fn tag(index: u32) -> u32 {
        Slot::new(index).unwrap().tag()
    }

    #[test]
    fn waits_that_end_in_vain_add_up_to_a_slice() {
        let lock = lock(0, false);
        let context = lock.context(Deadline::NEVER);
        for slice in [1, 3, 5] {
            let passed: std::vec::Vec<bool> =
                (0..slice).map(|_| context.park(1, Duration::from_millis(slice))).collect();
            assert!(passed.iter().rev().skip(1).all(|passed| !passed) && passed.ends_with(&[true]), "{passed:?}");
        }
    }

    #[test]
    fn what_is_not_repaired_is_reported_again_by_each_acquisition() {
        let lock = lock(tag(5), false);
        assert_eq!(lock.acquire(Deadline::NEVER), Ok(PreviousHolder::Died));
        lock.release().unwrap();
        assert_eq!(lock.acquire_now(), Ok(None), "the fast path reports nothing, and takes nothing");
        assert_eq!(lock.try_acquire(), Ok(Some(PreviousHolder::Died)));
        lock.release().unwrap();
        assert_eq!(lock.acquire(Deadline::NEVER), Ok(PreviousHolder::Died));
        lock.repaired().unwrap();
        lock.release().unwrap();
        for _ in 0..2 {
            assert_eq!(lock.acquire_now(), Ok(Some(PreviousHolder::Released)));
            lock.release().unwrap();
        }
        assert!(lock.release().is_err_and(|error| error.kind() == word::CORRUPT), "nobody holds it");
    }

    #[test]
    fn a_deadline_and_what_makes_waiting_useless_end_a_wait() {
        let deadline = Deadline::after(1, Duration::from_millis(100));
        assert_eq!(lock(tag(3), false).acquire(deadline).unwrap_err().kind(), TIMED_OUT);
        let gone = lock(tag(3), true).acquire(Deadline::NEVER).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Gone { what: "no set" });
    }
}
