//! Whether a handle can be used: one word that tells a usable handle from a poisoned one, from one that was inherited
//! across fork(2), and from one that still owes the removal of a name; and the mark of a truncation.
//!
//! | `state` | meaning | next, by whom |
//! |---|---|---|
//! | G, the fork generation in which the handle was made | usable | 0, by whoever finds corruption or truncation |
//! | G with `NAME_PENDING` | usable, and owes a name's removal | G, by whoever finds the peer attached; 0 as above |
//! | 0 | poisoned | nothing |
//!
//! In a forked child the process's generation is another, so that no state is usable there. One comparison with the
//! process's generation on the fast path tells the first state from all others.

use std::sync::atomic::{AtomicU32, Ordering};

use monshm_core::{Error, ErrorKind, Operation, Result, Truncation, fork};

/// Set in the state while this process owes the removal of a name: no generation gets so far.
const NAME_PENDING: u32 = 1 << 31;

/// The health of one attachment, shared by its handles.
#[derive(Debug)]
pub(crate) struct Health {
    state: AtomicU32,
    generation: u32,
    truncation: Truncation,
}

impl Health {
    pub(crate) fn new(truncation: Truncation, name_pending: bool) -> Self {
        let generation = fork::generation();
        let pending = if name_pending { NAME_PENDING } else { 0 };
        Self { state: AtomicU32::new(generation | pending), generation, truncation }
    }

    /// Whether the handle is usable and owes nothing.
    #[inline]
    pub(crate) fn is_sound(&self) -> bool {
        self.state.load(Ordering::Relaxed) == fork::generation()
    }

    /// Why the handle is not sound. Succeeds when it only owes the removal of a name.
    #[cold]
    pub(crate) fn explain(&self, operation: Operation) -> Result<()> {
        if self.is_forked() {
            return Err(Error::new(operation, ErrorKind::Forked));
        }
        self.check_memory(operation)?;
        if self.state.load(Ordering::Relaxed) == 0 {
            return Err(Error::new(operation, ErrorKind::Poisoned));
        }
        Ok(())
    }

    /// Whether this process is a forked child of the one that made the handle.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Whether the memory that was just used is still the segment's: to be called before anything that was read there
    /// is believed.
    #[inline]
    pub(crate) fn check_memory(&self, operation: Operation) -> Result<()> {
        if self.truncation.happened() { Err(self.truncated(operation)) } else { Ok(()) }
    }

    #[cold]
    fn truncated(&self, operation: Operation) -> Error {
        self.poison();
        Error::new(operation, ErrorKind::MemoryLost)
    }

    /// Passes an error on; one that reports corruption poisons the handle. What was found wrong in truncated memory is
    /// answered as truncation.
    pub(crate) fn record(&self, error: Error) -> Error {
        if self.truncation.happened() {
            return self.truncated(error.operation());
        }
        if matches!(error.kind(), ErrorKind::Corrupt { .. }) {
            self.poison();
        }
        error
    }

    fn poison(&self) {
        self.state.store(0, Ordering::Relaxed);
    }

    /// The name is removed. A handle that was poisoned meanwhile stays so.
    pub(crate) fn name_removed(&self) {
        let pending = self.generation | NAME_PENDING;
        let _ = self.state.compare_exchange(pending, self.generation, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The mark that a truncation sets.
    pub(crate) fn truncation(&self) -> Truncation {
        self.truncation
    }
}

/// As [`Health::check_memory`], before there is a handle.
pub(crate) fn check_memory(truncation: Truncation, operation: Operation) -> Result<()> {
    if truncation.happened() { Err(Error::new(operation, ErrorKind::MemoryLost)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn kind(health: &Health) -> Option<ErrorKind> {
        health.explain(Operation::Ring).err().map(|error| error.kind())
    }

    #[test]
    fn only_corruption_poisons_and_a_settled_name_does_not_heal() {
        let health = Health::new(Truncation::NEVER, true);
        assert!(!health.is_sound() && kind(&health).is_none());
        drop(health.record(Error::new(Operation::Ring, ErrorKind::Closed)));
        assert!(kind(&health).is_none());
        drop(health.record(Error::new(Operation::Ring, ErrorKind::Corrupt { what: "a test" })));
        health.name_removed();
        assert_eq!(kind(&health), Some(ErrorKind::Poisoned));
    }

    #[test]
    fn a_settled_name_leaves_a_sound_handle() {
        let health = Health::new(Truncation::NEVER, true);
        health.name_removed();
        assert!(health.is_sound());
    }

    #[test]
    fn truncation_goes_before_all_but_a_fork() {
        static MARK: AtomicBool = AtomicBool::new(true);
        let health = Health::new(Truncation::marked_by(&MARK), false);
        assert!(health.is_sound(), "nobody has looked yet");
        let found = health.record(Error::new(Operation::Lock, ErrorKind::Corrupt { what: "zeros" }));
        assert_eq!((found.operation(), found.kind()), (Operation::Lock, ErrorKind::MemoryLost));
        assert!(!health.is_sound());
        assert_eq!(kind(&health), Some(ErrorKind::MemoryLost));
    }
}
