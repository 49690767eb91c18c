//! A guard that keeps its own handle to the segment, for structures that hold one. Otherwise as [`Guard`].

use std::fmt;
use std::marker::PhantomData;

use monshm_core::{PreviousHolder, Result};

use super::Guard;
use crate::segment::Segment;

/// The lock, held, with a handle to the segment in it. Dropping it releases the lock; made by [`Segment::lock_owned`]
/// and [`Guard::into_owned`]. What is said of [`Guard`] is true of it.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// struct Transaction {
///     guard: monshm::OwnedGuard,
/// }
///
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let transaction = Transaction { guard: segment.lock_owned()? };
/// drop(segment);
/// transaction.guard.ring()?.append(b"whole")?;
/// transaction.guard.unlock()?;
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct OwnedGuard {
    segment: Segment,
    previous_holder: PreviousHolder,
    released: bool,
    /// The thread that locked unlocks: pthread mutexes demand it.
    _not_send: PhantomData<*mut ()>,
}

impl Segment {
    /// As [`Segment::lock`], with a guard that keeps a handle of its own.
    ///
    /// # Errors
    /// As [`Segment::lock`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let guard = segment.lock_owned()?;
    /// assert_eq!(segment.handle_count(), 2);
    /// guard.unlock()?;
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn lock_owned(&self) -> Result<OwnedGuard> {
        self.lock().map(Guard::into_owned)
    }
}

impl Guard<'_> {
    /// The same hold of the lock, in a guard that keeps a handle of its own: for what [`Segment::try_lock`] and
    /// [`Segment::lock_timeout`] give.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let guard = segment.try_lock()?.map(monshm::Guard::into_owned);
    /// assert!(segment.try_lock()?.is_none());
    /// # drop(guard);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn into_owned(self) -> OwnedGuard {
        let (segment, previous_holder) = (self.segment().clone(), self.previous_holder());
        std::mem::forget(self);
        OwnedGuard { segment, previous_holder, released: false, _not_send: PhantomData }
    }
}

impl OwnedGuard {
    /// As [`Guard::previous_holder`].
    pub fn previous_holder(&self) -> PreviousHolder {
        self.previous_holder
    }

    /// The segment.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// As [`Guard::unlock`].
    ///
    /// # Errors
    /// As [`Guard::unlock`].
    pub fn unlock(mut self) -> Result<()> {
        self.released = true;
        self.segment.unlock()
    }
}

impl Drop for OwnedGuard {
    fn drop(&mut self) {
        let inner = self.segment.inner();
        // A forked child must not unlock for its parent.
        if !self.released && !inner.health.is_forked() {
            // An error here has poisoned the handle: the next call answers it.
            let _ = inner.release();
        }
    }
}

impl fmt::Debug for OwnedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedGuard").field("previous_holder", &self.previous_holder).finish_non_exhaustive()
    }
}
