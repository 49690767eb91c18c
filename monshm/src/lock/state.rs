//! The private side of a segment's lock: which thread holds it, and the queue of this process's threads.
//!
//! How a lock works is its backend's. Threads of one process queue here first, so that one thread at a time waits in
//! the shared lock: a peer waits for one handover inside this process at most, and threads cost it nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use monshm_core::{Deadline, Error, ErrorKind, LockKind, Operation, PreviousHolder, RawLock, Result};
use parking_lot::Mutex;

use crate::sys::now_ns;

/// The private side of a segment's lock.
#[derive(Debug)]
pub(crate) struct LockState {
    pub(super) raw: Box<dyn RawLock>,
    /// The token of the thread that holds the lock, plus `DIED` when its acquisition found a dead holder; 0 for none.
    /// Written by the holder alone; another thread reads it only to compare it with its own token, which it wrote
    /// itself or never stood there.
    holder: AtomicUsize,
    /// When `try_lock` last asked whether a holder in its way lives: nanoseconds of CLOCK_MONOTONIC.
    asked_ns: AtomicU64,
    /// Where threads of this process queue before one of them waits in the shared lock.
    queue: Mutex<()>,
}

/// How often `try_lock` asks at most whether the holder lives, which takes a system call or more.
const ASK_EVERY_NS: u64 = 100_000_000;

/// Set beside a thread's token when the previous holder had died.
const DIED: usize = 1;

/// A number for the calling thread that no other living thread has; even, never 0.
///
/// In a shared library a thread-local variable costs a call; the register that leads to all of them costs nothing.
#[inline]
pub(crate) fn thread_token() -> usize {
    let token: usize;
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
    // SAFETY: the ABI for thread-local storage keeps the address of the thread's control block at its own start, which
    // %fs points to; it is read, and nothing else is touched. The block is aligned to 16 or more.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) token, options(pure, readonly, nostack, preserves_flags));
    }
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri))))]
    {
        thread_local!(static MARK: u16 = const { 0 });
        token = MARK.with(|mark| std::ptr::from_ref(mark).addr());
    }
    token
}

impl LockState {
    pub(crate) fn new(raw: Box<dyn RawLock>) -> Self {
        Self { raw, holder: AtomicUsize::new(0), asked_ns: AtomicU64::new(0), queue: Mutex::new(()) }
    }

    /// Whether the calling thread holds the lock.
    pub(crate) fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & !DIED == thread_token()
    }

    /// Notes that the calling thread holds the lock now.
    ///
    /// # Errors
    /// `Corrupt` when it held the lock already.
    #[inline]
    pub(super) fn entered(&self, previous_holder: PreviousHolder) -> Result<()> {
        if self.is_held_here() {
            self.gained_twice(previous_holder)?;
        }
        let died = if previous_holder == PreviousHolder::Died { DIED } else { 0 };
        self.holder.store(thread_token() | died, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn release(&self) -> Result<()> {
        self.holder.store(0, Ordering::Relaxed);
        self.raw.release()
    }

    /// Whether the acquisition that is in force found a dead holder.
    #[cfg(feature = "capi")]
    pub(super) fn owner_died(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & DIED != 0
    }

    /// The lock was gained by a thread that is known here to hold it: a peer has declared it free. What stands in the
    /// segment does not outweigh what we know; the guard that there is keeps the lock, and no second one is made.
    ///
    /// A thread's token may be that of one that ended while it held the lock, of which a robust mutex alone tells.
    #[cold]
    fn gained_twice(&self, acquired: PreviousHolder) -> Result<()> {
        if acquired == PreviousHolder::Died && self.raw.kind() == LockKind::PthreadMutex {
            return Ok(());
        }
        let what = "the lock is free, though this thread holds it";
        Err(Error::new(Operation::Lock, ErrorKind::Corrupt { what }))
    }

    #[cold]
    pub(super) fn acquire_slowly(&self, timeout: Option<Duration>) -> Result<PreviousHolder> {
        let timed_out = || Error::new(Operation::Lock, ErrorKind::TimedOut { what: "the lock stayed held" });
        if self.is_held_here() {
            return Err(Error::new(Operation::Lock, ErrorKind::Deadlock));
        }
        let deadline = timeout.map_or(Deadline::NEVER, |timeout| Deadline::after(now_ns(), timeout));
        let _place = match timeout {
            None => self.queue.lock(),
            Some(timeout) => self.queue.try_lock_for(timeout).ok_or_else(timed_out)?,
        };
        self.raw.acquire(deadline)
    }

    /// Takes the lock from a dead holder that `try_acquire` found in its way. Asks for its life only now and then.
    #[cold]
    pub(super) fn acquire_from_dead(&self) -> Result<Option<PreviousHolder>> {
        let (now_ns, last_ns) = (now_ns(), self.asked_ns.load(Ordering::Relaxed));
        if self.is_held_here() || now_ns.saturating_sub(last_ns) < ASK_EVERY_NS {
            return Ok(None);
        }
        self.asked_ns.store(now_ns, Ordering::Relaxed);
        // Another thread of ours waits in the lock, and asks by itself.
        let Some(_place) = self.queue.try_lock() else { return Ok(None) };
        match self.raw.acquire(Deadline::after(now_ns, Duration::ZERO)) {
            Ok(acquired) => Ok(Some(acquired)),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. } | ErrorKind::Deadlock) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
