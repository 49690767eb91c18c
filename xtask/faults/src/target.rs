//! Where an operation is tried: on one cell, or with the choice left to `Auto`.

use harness::cell::{CELLS, Cell, Filter};
use monshm::{BackendKind, Builder, LockKind, MemoryKind, PeerCreds, Segment};
use std::fmt;

/// A user that is not ours.
const OTHER_UID: u32 = 65_534;

/// A cell, or `Auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Cell(Cell),
    Auto,
}

impl Target {
    /// All cells, and `Auto`.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        CELLS.into_iter().map(Self::Cell).chain([Self::Auto])
    }

    /// Its number, by which another process knows it.
    pub(crate) fn index(self) -> usize {
        Self::all().position(|target| target == self).unwrap_or(0)
    }

    /// A builder of a segment of `size` bytes here.
    pub(crate) fn builder(self, size: usize) -> Builder {
        match self {
            Self::Cell(cell) => cell.builder_of(size),
            Self::Auto => Segment::builder(size).backend(BackendKind::Auto),
        }
    }

    /// A builder of a segment for a process of another user, which is declared to be trusted.
    pub(crate) fn builder_for_other(self, size: usize) -> Builder {
        let peer = PeerCreds::of_user(OTHER_UID);
        self.builder(size).peer(peer).trust_peer(self != Self::Auto)
    }

    /// The memory, where it is not left to `Auto`.
    pub(crate) fn memory(self) -> Option<MemoryKind> {
        match self {
            Self::Cell(cell) => Some(cell.memory_kind()),
            Self::Auto => None,
        }
    }

    /// Whether its lock is libc's, which ends the process when futex(2) answers what libc does not expect.
    pub(crate) fn has_lock_of_libc(self) -> bool {
        matches!(self, Self::Cell(cell) if matches!(cell.lock_kind(), LockKind::PthreadMutex | LockKind::Semaphore))
    }

    /// Whether the command line asks for it.
    pub(crate) fn is_wanted(self, filter: &Filter) -> bool {
        let wants_auto = filter.backend.as_deref().is_none_or(|backend| backend == "auto");
        match self {
            Self::Auto => wants_auto && filter.memory.is_none() && filter.lock.is_none(),
            Self::Cell(cell) => filter.wants(cell),
        }
    }

    /// The arguments that choose it.
    pub(crate) fn arguments(self) -> String {
        match self {
            Self::Auto => "--backend auto".to_owned(),
            Self::Cell(cell) => Filter::arguments(cell),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell(cell) => cell.fmt(f),
            Self::Auto => f.pad("auto"),
        }
    }
}
