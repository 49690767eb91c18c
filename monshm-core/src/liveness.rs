//! The question whether the process that took an attach slot still lives.
//!
//! How the kernel keeps the answer (a file lock, a semaphore raised with `SEM_UNDO`) is the backend's work.

use crate::layout::Slot;

/// Tells, as the kernel reports it, whether the process that took a slot is still there.
pub trait Liveness: Send + Sync {
    /// Whether the process that holds `slot` lives. A slot nobody ever took is not alive.
    ///
    /// When the kernel cannot answer, the slot counts as alive: a lock is then waited for until the deadline, never
    /// taken from a holder that may still be writing.
    fn is_alive(&self, slot: Slot) -> bool;
}
