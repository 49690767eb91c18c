//! The lock as users see it: the guards, the repair after a holder's death, and what is refused.
//!
//! The private side, with the queue of this process's threads, is in `state`; how a lock works is its backend's.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use monshm_core::{Error, ErrorKind, Operation, PreviousHolder, Result, allocator};

use crate::segment::{Inner, Segment};
use crate::sys::DEFAULT_TIMEOUT;

mod owned;
pub(crate) mod state;

pub use owned::OwnedGuard;

/// The lock, held. Dropping it releases the lock.
///
/// It belongs to the thread that took it. `mem::forget` keeps the lock until the process ends, as does a thread that
/// ends while it holds one. In a forked child, which holds a copy of its parent's guard, dropping it does nothing.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use monshm::PreviousHolder;
///
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let guard = segment.lock()?;
/// assert_eq!(guard.previous_holder(), PreviousHolder::Released);
/// guard.ring()?.append(b"one measurement")?;
/// guard.unlock()?;
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct Guard<'a> {
    segment: &'a Segment,
    previous_holder: PreviousHolder,
    /// The thread that locked unlocks: pthread mutexes demand it.
    _not_send: PhantomData<*mut ()>,
}

impl Segment {
    /// Takes the lock, waiting as long as its holder lives. A holder that was killed is noticed within milliseconds.
    ///
    /// # Errors
    /// `Deadlock` when this thread holds it already; `MemoryLost`, `Poisoned` and `Forked` where the handle cannot be
    /// used; `Corrupt`, which poisons the handle, and `Gone` as the lock finds them.
    #[inline]
    pub fn lock(&self) -> Result<Guard<'_>> {
        self.acquire(None)
    }

    /// Takes the lock, waiting at most for `timeout`.
    ///
    /// # Errors
    /// `TimedOut`, at most some 50 ms late; else as [`Segment::lock`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # use std::time::Duration;
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let _guard = segment.lock_timeout(Duration::from_millis(10))?;
    /// assert!(segment.try_lock()?.is_none());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Guard<'_>> {
        self.acquire(Some(timeout))
    }

    /// Takes the lock if nobody holds it; `None` when somebody does, this thread included. A killed holder's is taken
    /// some 100 ms later at the latest, if it is tried.
    ///
    /// # Errors
    /// As [`Segment::lock`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// if let Some(guard) = segment.try_lock()? {
    ///     guard.ring()?.append(b"one measurement")?;
    /// }
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<Option<Guard<'_>>> {
        let inner = self.inner();
        inner.check_usable(Operation::Lock)?;
        let previous = match inner.lock.raw.try_acquire() {
            Ok(Some(previous)) => Some(previous),
            Ok(None) => inner.lock.acquire_from_dead().map_err(|error| inner.health.record(error))?,
            // This thread may hold the lock through another handle, which a pthread mutex knows.
            Err(error) if error.kind() == ErrorKind::Deadlock => None,
            Err(error) => return Err(inner.health.record(error)),
        };
        previous.map(|previous| self.entered(previous)).transpose()
    }

    /// Whether the acquisition that is in force found a dead holder.
    #[cfg(feature = "capi")]
    pub(crate) fn owner_died(&self) -> bool {
        self.inner().lock.owner_died()
    }

    #[inline]
    fn acquire(&self, timeout: Option<Duration>) -> Result<Guard<'_>> {
        let inner = self.inner();
        inner.check_usable(Operation::Lock)?;
        let previous = match inner.lock.raw.acquire_now() {
            Ok(Some(previous)) => Ok(previous),
            Ok(None) => inner.lock.acquire_slowly(timeout),
            Err(error) => Err(error),
        };
        self.entered(previous.map_err(|error| inner.health.record(error))?)
    }

    /// Finishes an acquisition: repairs first what a dead holder left.
    #[inline]
    fn entered(&self, previous_holder: PreviousHolder) -> Result<Guard<'_>> {
        let inner = self.inner();
        inner.lock.entered(previous_holder).map_err(|error| inner.health.record(error))?;
        let guard = Guard { segment: self, previous_holder, _not_send: PhantomData };
        // On an error the guard is dropped: the lock is free again, and the death is reported to the next holder.
        inner.health.check_memory(Operation::Lock)?;
        if previous_holder == PreviousHolder::Died {
            inner.repair()?;
            inner.lock.raw.repaired()?;
        }
        Ok(guard)
    }

    /// Releases the lock that the calling thread holds.
    ///
    /// # Errors
    /// `NotHolder`; `Forked` in a child of the holder; `Corrupt` when a peer changed the lock meanwhile, which poisons
    /// the handle.
    pub(crate) fn unlock(&self) -> Result<()> {
        let inner = self.inner();
        if inner.health.is_forked() {
            return Err(Error::new(Operation::Unlock, ErrorKind::Forked));
        }
        if !inner.lock.is_held_here() {
            return Err(Error::new(Operation::Unlock, ErrorKind::NotHolder));
        }
        inner.release()
    }

    /// Does `work` under the lock, taking it unless this thread holds it.
    pub(crate) fn locked<T>(&self, operation: Operation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.inner().lock.is_held_here() {
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
        match self.lock.release() {
            Ok(()) => self.health.check_memory(Operation::Unlock),
            Err(error) => Err(self.health.record(error)),
        }
    }

    /// Brings allocator and ring back to their last committed state, after a holder died inside.
    fn repair(&self) -> Result<()> {
        let region = self.attachment.region();
        let repaired = allocator::repair(region.header(), &self.geometry);
        repaired.map_err(|kind| self.health.record(Error::new(Operation::Lock, kind)))
    }
}

impl Guard<'_> {
    /// What the acquisition found: [`PreviousHolder::Died`] when the last holder died inside. Ring and allocator are in
    /// order then; the application's own common data may not be.
    pub fn previous_holder(&self) -> PreviousHolder {
        self.previous_holder
    }

    /// Releases the lock, and answers the error that dropping the guard would not.
    ///
    /// # Errors
    /// `Corrupt` when a peer changed the lock meanwhile, which poisons the handle.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// segment.lock()?.unlock()?;
    /// assert!(segment.try_lock()?.is_some());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn unlock(self) -> Result<()> {
        let segment = self.segment;
        std::mem::forget(self);
        segment.unlock()
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.segment
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let inner = self.segment.inner();
        // A forked child holds a copy of its parent's guard, and must not unlock for the parent.
        if !inner.health.is_forked() {
            // An error here has poisoned the handle: the next call answers it.
            let _ = inner.release();
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("previous_holder", &self.previous_holder).finish_non_exhaustive()
    }
}
