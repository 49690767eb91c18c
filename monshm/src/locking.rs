//! Locking as users see it: the guard, the queue of this process's threads, repair after a death, and what is refused.
//!
//! How a lock works is its backend's. Threads of one process queue here first, so that one thread at a time waits in
//! the shared lock: a peer waits for one hand-over inside this process at most, and threads cost it nothing.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use monshm_core::{Deadline, Error, ErrorKind, LockKind, Operation, PreviousHolder, RawLock, Result};
use parking_lot::Mutex;

use crate::DEFAULT_TIMEOUT;
use crate::segment::{Inner, Segment};
use crate::wait::now_ns;

/// The private side of a segment's lock.
#[derive(Debug)]
pub(crate) struct Locking {
    raw: Box<dyn RawLock>,
    /// The token of the thread that holds the lock, plus `DIED` when its acquisition found a dead holder; 0 for none.
    /// Written by the holder alone; another thread reads it only to compare it with its own token, which it wrote
    /// itself or never stood there.
    holder: AtomicUsize,
    /// When `try_lock` last asked whether a holder in its way lives: nanoseconds of CLOCK_MONOTONIC.
    asked_ns: AtomicU64,
    /// Where threads of this process queue before one of them waits in the shared lock.
    queue: Mutex<()>,
}

/// The lock, held. Dropping it lets go.
///
/// It belongs to the thread that took it. `mem::forget` keeps the lock until the process ends, as does a thread that
/// ends while it holds one.
#[must_use = "the lock is let go of at once if the guard is not kept"]
pub struct Guard<'a> {
    segment: &'a Segment,
    acquired: PreviousHolder,
    /// The thread that locked unlocks: pthread mutexes demand it.
    _not_send: PhantomData<*mut ()>,
}

/// How often `try_lock` asks at most whether the holder lives, which takes a system call or more.
const ASK_EVERY_NS: u64 = 100_000_000;

/// Beside a thread's token: the last holder had died.
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

impl Locking {
    pub(crate) fn new(raw: Box<dyn RawLock>) -> Self {
        Self { raw, holder: AtomicUsize::new(0), asked_ns: AtomicU64::new(0), queue: Mutex::new(()) }
    }

    /// Whether the calling thread holds the lock.
    pub(crate) fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) & !DIED == thread_token()
    }

    /// Whether the acquisition that is in force found a dead holder.
    pub(crate) fn owner_died(&self) -> bool {
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
    fn acquire_slowly(&self, timeout: Option<Duration>) -> Result<PreviousHolder> {
        let timed_out = || Error::new(Operation::Lock, ErrorKind::TimedOut { what: "the lock stayed held" });
        if self.is_held_here() {
            return Err(Error::new(Operation::Lock, ErrorKind::Deadlock));
        }
        let deadline = timeout.map_or(Deadline::NEVER, |timeout| Deadline::after(now_ns(), timeout));
        let _turn = match timeout {
            None => self.queue.lock(),
            Some(timeout) => self.queue.try_lock_for(timeout).ok_or_else(timed_out)?,
        };
        self.raw.acquire(deadline)
    }
}

impl Locking {
    /// Takes the lock from a dead holder that `try_acquire` found in its way. Asks for its life only now and then.
    #[cold]
    fn acquire_from_dead(&self) -> Result<Option<PreviousHolder>> {
        let (now_ns, last_ns) = (now_ns(), self.asked_ns.load(Ordering::Relaxed));
        if self.is_held_here() || now_ns.saturating_sub(last_ns) < ASK_EVERY_NS {
            return Ok(None);
        }
        self.asked_ns.store(now_ns, Ordering::Relaxed);
        // Another thread of ours waits in the lock, and asks by itself.
        let Some(_turn) = self.queue.try_lock() else { return Ok(None) };
        match self.raw.acquire(Deadline::after(now_ns, Duration::ZERO)) {
            Ok(acquired) => Ok(Some(acquired)),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. } | ErrorKind::Deadlock) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Segment {
    /// Takes the lock, waiting as long as its holder lives. A holder that was killed is noticed within milliseconds.
    ///
    /// # Errors
    /// `Deadlock` when this thread holds it already; `Poisoned` and `Forked` where the handle cannot be used; `Corrupt`,
    /// which poisons the handle, and `Gone` as the lock finds them.
    #[inline]
    pub fn lock(&self) -> Result<Guard<'_>> {
        self.acquire(None)
    }

    /// Takes the lock, waiting at most for `timeout`.
    ///
    /// # Errors
    /// `TimedOut`, at most some 50 ms late; else as [`Segment::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard<'_>> {
        self.acquire(Some(timeout))
    }

    /// Takes the lock if nobody holds it; `None` when somebody does, this thread included. A killed holder's is taken some
    /// 100 ms later at the latest, if it is tried.
    ///
    /// # Errors
    /// As [`Segment::lock`].
    #[inline]
    pub fn try_lock(&self) -> Result<Option<Guard<'_>>> {
        let inner = self.inner();
        inner.check_usable(Operation::Lock)?;
        let acquired = match inner.locking.raw.try_acquire() {
            Ok(Some(acquired)) => Some(acquired),
            Ok(None) => inner.locking.acquire_from_dead().map_err(|error| inner.noted(error))?,
            // This thread may hold the lock through another handle, which a pthread mutex knows.
            Err(error) if error.kind() == ErrorKind::Deadlock => None,
            Err(error) => return Err(inner.noted(error)),
        };
        acquired.map(|acquired| self.entered(acquired)).transpose()
    }

    #[inline]
    fn acquire(&self, timeout: Option<Duration>) -> Result<Guard<'_>> {
        let inner = self.inner();
        inner.check_usable(Operation::Lock)?;
        let acquired = match inner.locking.raw.acquire_now() {
            Ok(Some(acquired)) => Ok(acquired),
            Ok(None) => inner.locking.acquire_slowly(timeout),
            Err(error) => Err(error),
        };
        self.entered(acquired.map_err(|error| inner.noted(error))?)
    }

    /// Finishes an acquisition: repairs first what a dead holder left.
    #[inline]
    fn entered(&self, acquired: PreviousHolder) -> Result<Guard<'_>> {
        let locking = &self.inner().locking;
        if locking.is_held_here() {
            locking.gained_twice(acquired).map_err(|error| self.inner().noted(error))?;
        }
        let died = if acquired == PreviousHolder::Died { DIED } else { 0 };
        locking.holder.store(thread_token() | died, Ordering::Relaxed);
        let guard = Guard { segment: self, acquired, _not_send: PhantomData };
        // On an error the guard is dropped.
        self.inner().kept(Operation::Lock)?;
        if acquired == PreviousHolder::Died {
            // On an error the guard is dropped: the lock is free again, and the handle is poisoned.
            self.inner().repair()?;
            locking.raw.repaired()?;
        }
        Ok(guard)
    }

    /// Lets go of the lock that the calling thread holds.
    ///
    /// # Errors
    /// `NotHolder`; `Forked` in a child of the holder; `Corrupt` when a peer changed the lock meanwhile, which poisons
    /// the handle.
    pub(crate) fn unlock(&self) -> Result<()> {
        let inner = self.inner();
        if inner.is_forked() {
            return Err(Error::new(Operation::Unlock, ErrorKind::Forked));
        }
        if !inner.locking.is_held_here() {
            return Err(Error::new(Operation::Unlock, ErrorKind::NotHolder));
        }
        inner.release()
    }

    /// Does `work` under the lock, taking it unless this thread holds it.
    pub(crate) fn locked<T>(&self, operation: Operation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.inner().locking.is_held_here() {
            self.inner().check_usable(operation)?;
            return work();
        }
        let _guard = self.lock_timeout(DEFAULT_TIMEOUT).map_err(|error| error.during(operation))?;
        work()
    }
}

impl Inner {
    #[inline]
    fn release(&self) -> Result<()> {
        self.locking.holder.store(0, Ordering::Relaxed);
        match self.locking.raw.release() {
            Ok(()) => self.kept(Operation::Unlock),
            Err(error) => Err(self.noted(error)),
        }
    }
}

impl Guard<'_> {
    /// What the acquisition found: [`PreviousHolder::Died`] when the last holder died inside. Ring and allocator are in
    /// order then; the application's own common data may not be.
    pub fn previous_holder(&self) -> PreviousHolder {
        self.acquired
    }

    /// Lets go, and tells what dropping the guard would not.
    ///
    /// # Errors
    /// `Corrupt` when a peer changed the lock meanwhile, which poisons the handle.
    pub fn unlock(self) -> Result<()> {
        let segment = self.segment;
        std::mem::forget(self);
        segment.unlock()
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let inner = self.segment.inner();
        // A forked child holds a copy of its parent's guard, and must not unlock for the parent.
        if !inner.is_forked() {
            // An error here has poisoned the handle, so that the next call tells it.
            let _ = inner.release();
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("acquired", &self.acquired).finish_non_exhaustive()
    }
}
