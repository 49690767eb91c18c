//! The three choices a segment is made of: backend, memory object, lock. Names, wire values, parsing.
//!
//! Which choices fit together is each backend's word (`Backend::LOCKS`, `Backend::MEMORIES`), not this file's.

use core::fmt;
use core::str::FromStr;

/// What the caller may ask for as an implementation of shared memory (`mon_shm_impl` of the reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
#[non_exhaustive]
pub enum BackendKind {
    /// No shared memory: creation answers a clear error.
    None = -1,
    /// The facade chooses, at the requested size.
    #[default]
    Auto = 0,
    /// memfd or `shm_open`, with a futex word, a pthread mutex or a `sem_t`.
    Posix = 1,
    /// `shmget`, with a `semget` set or a futex word.
    Sysv = 2,
}

/// How the segment's lock works. Which kinds may be shared with a peer that is not trusted is
/// [`LockKind::safe_with_untrusted_peer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum LockKind {
    /// One `u32` in the segment, waited on with futex(2); the owner is an attach slot.
    Futex = 1,
    /// A process-shared robust `pthread_mutex_t` in the segment.
    PthreadMutex = 2,
    /// An owner word in the segment, waited on through a process-shared `sem_t`.
    Semaphore = 3,
    /// A System V semaphore with `SEM_UNDO`, and a dirty word in the segment.
    SysvSem = 4,
}

/// What kind of kernel object holds the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum MemoryKind {
    /// memfd_create(2), sealed against shrinking and growing. Removed by the kernel.
    Memfd = 1,
    /// shm_open(3) under a random name. Unlinked once the peer is attached. Cannot be sealed.
    Named = 2,
    /// shmget(2). Removed by `IPC_RMID`.
    SysvShm = 3,
}

impl BackendKind {
    /// The value on the wire and in C: −1, 0, 1 or 2.
    pub const fn wire(self) -> i32 {
        self as i32
    }

    /// The kind with this wire value, if there is one.
    pub const fn from_wire(value: i32) -> Option<Self> {
        match value {
            -1 => Some(Self::None),
            0 => Some(Self::Auto),
            1 => Some(Self::Posix),
            2 => Some(Self::Sysv),
            _ => None,
        }
    }

    /// The lower-case name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Posix => "posix",
            Self::Sysv => "sysv",
        }
    }
}

impl LockKind {
    /// Every kind, in wire order.
    pub const ALL: [Self; 4] = [Self::Futex, Self::PthreadMutex, Self::Semaphore, Self::SysvSem];

    /// The value on the wire and in C: 1 to 4.
    pub const fn wire(self) -> u32 {
        self as u32
    }

    /// The kind with this wire value, if there is one.
    pub const fn from_wire(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Futex),
            2 => Some(Self::PthreadMutex),
            3 => Some(Self::Semaphore),
            4 => Some(Self::SysvSem),
            _ => None,
        }
    }

    /// The lower-case name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Futex => "futex",
            Self::PthreadMutex => "pthread-mutex",
            Self::Semaphore => "semaphore",
            Self::SysvSem => "sysv-sem",
        }
    }

    /// Whether a hostile peer that edits the shared words can do no more than deny the lock.
    ///
    /// libc keeps list pointers inside a robust mutex and follows them on unlock, so a peer can turn it into a write
    /// anywhere in our memory; an edited `sem_t` makes libc abort. The other two keep no pointer in the segment.
    pub const fn safe_with_untrusted_peer(self) -> bool {
        matches!(self, Self::Futex | Self::SysvSem)
    }

    /// Whether the lock's words in the segment depend on the width of a pointer, so that 32-bit and 64-bit
    /// processes cannot share it.
    pub const fn depends_on_pointer_width(self) -> bool {
        matches!(self, Self::PthreadMutex | Self::Semaphore)
    }
}

impl MemoryKind {
    /// Whether a peer that may write to the object can also take its memory away: a file without seals can be
    /// truncated. A memfd is sealed against that, a System V segment keeps its size for life.
    pub const fn can_be_truncated(self) -> bool {
        matches!(self, Self::Named)
    }

    /// The value on the wire: 1 to 3.
    pub const fn wire(self) -> u32 {
        self as u32
    }

    /// The kind with this wire value, if there is one.
    pub const fn from_wire(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Memfd),
            2 => Some(Self::Named),
            3 => Some(Self::SysvShm),
            _ => None,
        }
    }

    /// The lower-case name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::Named => "shm_open",
            Self::SysvShm => "shmget",
        }
    }

    /// The backend that this kind of object belongs to.
    pub const fn backend(self) -> BackendKind {
        match self {
            Self::Memfd | Self::Named => BackendKind::Posix,
            Self::SysvShm => BackendKind::Sysv,
        }
    }
}

/// The text names none of the kinds asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown name; expected one of: {expected}")]
pub struct UnknownName {
    /// The names that are understood.
    pub expected: &'static str,
}

impl FromStr for BackendKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            "posix" => Ok(Self::Posix),
            "sysv" => Ok(Self::Sysv),
            _ => Err(UnknownName { expected: "none, auto, posix, sysv" }),
        }
    }
}

impl FromStr for LockKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "futex" => Ok(Self::Futex),
            "pthread-mutex" | "pthread" => Ok(Self::PthreadMutex),
            "semaphore" | "sem" => Ok(Self::Semaphore),
            "sysv-sem" | "sysvsem" => Ok(Self::SysvSem),
            _ => Err(UnknownName { expected: "futex, pthread-mutex, semaphore, sysv-sem" }),
        }
    }
}

impl FromStr for MemoryKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "memfd" => Ok(Self::Memfd),
            "shm_open" | "named" => Ok(Self::Named),
            "shmget" => Ok(Self::SysvShm),
            _ => Err(UnknownName { expected: "memfd, shm_open, shmget" }),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_values_are_those_of_the_reference_and_round_trip() {
        let reference =
            [(BackendKind::None, -1), (BackendKind::Auto, 0), (BackendKind::Posix, 1), (BackendKind::Sysv, 2)];
        for (kind, value) in reference {
            assert_eq!(kind.wire(), value);
            assert_eq!(BackendKind::from_wire(value), Some(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(BackendKind::from_wire(3), None);
        for kind in LockKind::ALL {
            assert_eq!(LockKind::from_wire(kind.wire()), Some(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(LockKind::from_wire(0), None);
        for kind in [MemoryKind::Memfd, MemoryKind::Named, MemoryKind::SysvShm] {
            assert_eq!(MemoryKind::from_wire(kind.wire()), Some(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }

    #[test]
    fn only_kinds_without_pointers_in_the_segment_are_safe_with_a_stranger() {
        assert!(LockKind::Futex.safe_with_untrusted_peer());
        assert!(LockKind::SysvSem.safe_with_untrusted_peer());
        assert!(!LockKind::PthreadMutex.safe_with_untrusted_peer());
        assert!(!LockKind::Semaphore.safe_with_untrusted_peer());
    }
}
