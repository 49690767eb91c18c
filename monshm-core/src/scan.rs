//! The objects of monshm that a scan of the machine finds without attaching to them, and who holds each.
//!
//! Values for people and for `clean`. How objects are found, judged and removed is each backend's work; nothing here is
//! read from a segment.

use alloc::vec::Vec;
use core::fmt;

use crate::descriptor::Name;

/// Whether a scan removes stale objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cleanup {
    /// It changes nothing.
    Report,
    /// It removes each object that is stale.
    Remove,
}

/// An object that a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanEntry {
    /// Which one.
    pub object: ScanObject,
    /// Its size in bytes; 0 for semaphores, which have none of their own.
    pub size: u64,
    /// Who created or owns it: the user id that may remove it.
    pub owner_uid: u32,
    /// Processes that hold it, as far as they can be seen from here; for people, never for a decision.
    pub pids: Vec<u32>,
    /// Who holds it, and what was done about it.
    pub state: ScanState,
}

/// Which kernel object was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScanObject {
    /// A `shm_open` object that has its name, or had it when it was mapped.
    Name(Name),
    /// A memfd, by the inode number that its mappings show.
    Memfd {
        /// The number.
        inode: u64,
    },
    /// A System V segment. Its id leads to it while it is mapped.
    Segment {
        /// As `ipcrm -m` takes it.
        id: i32,
    },
    /// A System V semaphore set; one stands beside each System V segment.
    Semaphores {
        /// As `ipcrm -s` takes it.
        id: i32,
    },
}

/// Who holds an object, and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScanState {
    /// Living processes hold it.
    InUse {
        /// How many, where [`ScanEntry::pids`] tells them apart; else how many handles, which one process can have
        /// several of.
        holders: u32,
    },
    /// Nobody alive holds it. It can be removed.
    Stale,
    /// It was stale, and was removed.
    Removed,
    /// Nobody is seen to hold it, but it is so new that its creator may still be making it.
    TooNew {
        /// Its age in seconds.
        age_s: u64,
        /// From which age on it is judged, in seconds.
        limit_s: u64,
    },
    /// Another user's: not ours to judge.
    OtherUser,
    /// It could not be judged, or it is stale and could not be removed.
    Failed {
        /// Its answer: a positive errno value.
        errno: i32,
    },
}

impl ScanEntry {
    /// An entry for people and for `clean`.
    #[doc(hidden)]
    pub const fn new(object: ScanObject, size: u64, owner_uid: u32, pids: Vec<u32>, state: ScanState) -> Self {
        Self { object, size, owner_uid, pids, state }
    }

    /// Whether nobody alive holds it: it is stale, or was and is removed now.
    pub const fn is_stale(&self) -> bool {
        matches!(self.state, ScanState::Stale | ScanState::Removed)
    }
}

impl ScanObject {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "shm_open",
            Self::Memfd { .. } => "memfd",
            Self::Segment { .. } => "sysv-segment",
            Self::Semaphores { .. } => "sysv-semaphores",
        }
    }
}

impl ScanState {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in-use",
            Self::Stale => "stale",
            Self::Removed => "removed",
            Self::TooNew { .. } => "too-new",
            Self::OtherUser => "other-user",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for ScanObject {
    /// As the system's own tools name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Memfd { inode } => write!(f, "{inode}"),
            Self::Segment { id } | Self::Semaphores { id } => write!(f, "{id}"),
        }
    }
}

impl fmt::Display for ScanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { holders: 1 } => write!(f, "in use by 1 holder"),
            Self::InUse { holders } => write!(f, "in use by {holders} holders"),
            Self::Stale => write!(f, "stale: nobody alive holds it"),
            Self::Removed => write!(f, "removed: nobody alive held it"),
            Self::TooNew { age_s, limit_s } => {
                write!(f, "{age_s} s old: its creator may be making it until it is {limit_s} s old")
            }
            Self::OtherUser => write!(f, "another user's"),
            Self::Failed { errno } => write!(f, "could not be judged or removed (errno {errno})"),
        }
    }
}
