//! Our locks: every kind on every memory object.
//!
//! Nothing is measured here.

use monshm::{BackendKind, LockKind, MemoryKind, Segment};

use super::Lock;

/// A kind of lock on a kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ours {
    memory: MemoryKind,
    lock: LockKind,
}

impl Ours {
    /// What a segment has if nothing is asked for.
    pub(super) const DEFAULT: Ours = Ours { memory: MemoryKind::Memfd, lock: LockKind::Futex };

    pub(super) fn all() -> Vec<Ours> {
        let mut all = Vec::new();
        for memory in [MemoryKind::Memfd, MemoryKind::Named] {
            for lock in [LockKind::Futex, LockKind::Semaphore, LockKind::PthreadMutex] {
                all.push(Ours { memory, lock });
            }
        }
        for lock in [LockKind::Futex, LockKind::SysvSem] {
            all.push(Ours { memory: MemoryKind::SysvShm, lock });
        }
        all
    }

    pub(super) fn name(self) -> String {
        format!("monshm {}, {}", self.lock, self.memory)
    }

    /// Whether an uncontended lock costs no system call.
    pub(super) fn is_user_space(self) -> bool {
        self.lock != LockKind::SysvSem
    }

    pub(super) fn is_pthread(self) -> bool {
        self.lock == LockKind::PthreadMutex
    }

    /// A segment with this lock; the error is why there is none here.
    pub(super) fn create(self) -> Result<Segment, String> {
        let sysv = self.memory == MemoryKind::SysvShm;
        let backend = if sysv { BackendKind::Sysv } else { BackendKind::Posix };
        let builder = Segment::builder(SIZE).backend(backend).memory(self.memory).lock(self.lock);
        builder.create().map_err(|refusal| refusal.to_string())
    }
}

/// Bytes of a segment.
pub(super) const SIZE: usize = 65536;

impl Lock for &Segment {
    #[inline]
    fn with(&mut self, work: impl FnOnce()) {
        let guard = self.lock().expect("the other side lives and lets go");
        work();
        drop(guard);
    }
}
