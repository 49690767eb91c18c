//! The cells of the campaigns' matrix: backend, memory and lock.
//!
//! It knows which choices go together; it makes no segment but by the facade's builder.

use monshm::{BackendKind, Builder, LockKind, MemoryKind, Segment};
use std::fmt;

/// The size of every segment here, in bytes: small, so that rings wrap and creation is cheap.
pub(crate) const SIZE: usize = 64 << 10;

/// One choice of memory and lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) memory: MemoryKind,
    pub(crate) lock: LockKind,
}

/// Every cell, in the order in which they are run.
pub(crate) const CELLS: [Cell; 8] = [
    Cell { memory: MemoryKind::Memfd, lock: LockKind::Futex },
    Cell { memory: MemoryKind::Memfd, lock: LockKind::PthreadMutex },
    Cell { memory: MemoryKind::Memfd, lock: LockKind::Semaphore },
    Cell { memory: MemoryKind::Named, lock: LockKind::Futex },
    Cell { memory: MemoryKind::Named, lock: LockKind::PthreadMutex },
    Cell { memory: MemoryKind::Named, lock: LockKind::Semaphore },
    Cell { memory: MemoryKind::SysvShm, lock: LockKind::SysvSem },
    Cell { memory: MemoryKind::SysvShm, lock: LockKind::Futex },
];

impl Cell {
    /// The backend that its memory belongs to.
    pub(crate) fn backend(self) -> BackendKind {
        self.memory.backend()
    }

    /// Its place in [`CELLS`]: how a victim is told of it.
    pub(crate) fn index(self) -> usize {
        CELLS.iter().position(|cell| *cell == self).unwrap_or(0)
    }

    /// A builder of a segment of [`SIZE`] for a process of our own user.
    pub(crate) fn builder(self) -> Builder {
        Segment::builder(SIZE).backend(self.backend()).memory(self.memory).lock(self.lock)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.backend().name(), self.memory.name(), self.lock.name())
    }
}
