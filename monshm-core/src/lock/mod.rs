//! What every lock promises: the raw contract that backends implement, and the lock in one word that both share.
//!
//! The guard that users hold is the facade's; how a process sleeps and wakes is each backend's.

use core::time::Duration;

pub mod word;
#[cfg(feature = "alloc")]
pub mod word_lock;

/// How the previous holder of a lock left it, as an acquisition found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreviousHolder {
    /// It released the lock.
    Released,
    /// It died inside, or released without having repaired what a dead one had left. Ring and allocator have been
    /// brought back to their last committed state; the application's own common data may be torn.
    Died,
}

/// A point on CLOCK_MONOTONIC until which a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at_ns: Option<u64>,
}

impl Deadline {
    /// Waits as long as it takes, in slices.
    pub const NEVER: Self = Self { at_ns: None };

    /// `timeout` after `now_ns`, nanoseconds of CLOCK_MONOTONIC. One that does not fit is [`Deadline::NEVER`].
    pub fn after(now_ns: u64, timeout: Duration) -> Self {
        let at_ns = u64::try_from(timeout.as_nanos()).ok().and_then(|timeout_ns| now_ns.checked_add(timeout_ns));
        Self { at_ns }
    }

    /// What is left at `now_ns`; `None` once the deadline has passed; [`Duration::MAX`] when there is none.
    pub fn remaining(self, now_ns: u64) -> Option<Duration> {
        match self.at_ns {
            None => Some(Duration::MAX),
            Some(at_ns) if at_ns > now_ns => Some(Duration::from_nanos(at_ns - now_ns)),
            Some(_) => None,
        }
    }
}

/// A lock that processes share, as one handle sees it.
///
/// Exclusion holds between all threads of all attached processes. The death of a holder is reported to the next one as
/// [`PreviousHolder::Died`]. A holder that acquired so and releases without [`RawLock::repaired`], or dies before it,
/// leaves the report to the next one: on every kind alike. A hostile peer can deny the lock and can break the
/// exclusion; it cannot make a call outlast its deadline, and, for the kinds that
/// [`LockKind::safe_with_untrusted_peer`](crate::LockKind::safe_with_untrusted_peer) names, cannot crash the caller.
///
/// The facade sees to it that one thread of a process at a time is in [`RawLock::acquire`], that a thread does not
/// acquire twice, that `release` is called by the thread that acquired, and that nothing is called in a forked child.
#[cfg(feature = "alloc")]
pub trait RawLock: core::fmt::Debug + Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> crate::LockKind;

    /// Takes the lock if nobody holds it, nobody died in it, and no waiter was promised it. The fast path.
    ///
    /// # Errors
    /// `Corrupt` when the shared words hold what no honest process writes; `Gone` when the kernel object vanished.
    fn acquire_now(&self) -> crate::Result<Option<PreviousHolder>>;

    /// Takes the lock if nobody holds it. `None` when it is held, also by a dead holder that was not noticed yet.
    ///
    /// # Errors
    /// As [`RawLock::acquire_now`].
    fn try_acquire(&self) -> crate::Result<Option<PreviousHolder>> {
        self.acquire_now()
    }

    /// Waits for the lock until `deadline`, in slices between which the liveness of the holder is checked.
    ///
    /// # Errors
    /// `TimedOut` when the deadline passed; else as [`RawLock::acquire_now`].
    fn acquire(&self, deadline: Deadline) -> crate::Result<PreviousHolder>;

    /// Declares that what the dead holder left was repaired. Called by the holder after an acquisition answered
    /// [`PreviousHolder::Died`], before `release`.
    ///
    /// # Errors
    /// Only what the operating system answers.
    fn repaired(&self) -> crate::Result<()>;

    /// Releases the lock. Without [`RawLock::repaired`] after a death, it is reported to the next holder again.
    ///
    /// # Errors
    /// `Corrupt` when somebody else changed the lock meanwhile: it may then still show as held.
    fn release(&self) -> crate::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate() {
        assert_eq!(Deadline::NEVER.remaining(u64::MAX), Some(Duration::MAX));
        assert_eq!(Deadline::after(u64::MAX, Duration::from_nanos(1)), Deadline::NEVER);
        assert_eq!(Deadline::after(5, Duration::MAX), Deadline::NEVER);
        let deadline = Deadline::after(5, Duration::from_nanos(10));
        assert_eq!(deadline.remaining(5), Some(Duration::from_nanos(10)));
        assert_eq!(deadline.remaining(15), None);
        assert_eq!(Deadline::after(5, Duration::ZERO).remaining(5), None);
    }
}
