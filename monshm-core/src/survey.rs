//! What of monshm's can be found on a machine without being attached to it, and whether anybody alive has it.
//!
//! Values for people and for `clean`. How objects are found, judged and removed is each backend's work; nothing here is
//! read from a segment.

use alloc::vec::Vec;
use core::fmt;

use crate::descriptor::Name;

/// An object that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which one.
    pub object: FoundObject,
    /// Its size in bytes; for semaphores, how many there are.
    pub size: u64,
    /// Who created or owns it: the user id that may remove it.
    pub owner_uid: u32,
    /// Processes that have it, as far as they can be seen from here; for people who look, never for a decision.
    pub pids: Vec<u32>,
    /// Who has it, and what was done about it.
    pub state: FoundState,
}

/// Which kernel object was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FoundObject {
    /// A `shm_open` object that has its name, or had it when it was mapped.
    Name(Name),
    /// A memfd, by the inode number that its mappings show.
    Memfd {
        /// The number.
        inode: u64,
    },
    /// A System V segment that has its id still.
    Segment {
        /// As `ipcrm -m` takes it.
        id: i32,
    },
    /// A System V semaphore set; one stands beside each System V segment, which itself shows no more.
    Semaphores {
        /// As `ipcrm -s` takes it.
        id: i32,
    },
}

/// Who has an object, and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FoundState {
    /// Processes that live have it.
    InUse {
        /// How many, as the kernel counts them.
        holders: u32,
    },
    /// Nobody alive has it. It can be removed.
    Left,
    /// Nobody alive had it, and it was removed.
    Removed,
    /// Nobody is seen to have it, but it is so new that its creator may be at it still.
    Young {
        /// Its age in seconds.
        age_s: u64,
        /// From which age on it is judged, in seconds.
        limit_s: u64,
    },
    /// Another user's: not ours to judge.
    OtherUser,
    /// Nobody alive has it, or that could not be found out, and the system refused what was tried.
    Failed {
        /// Its answer: a positive errno value.
        errno: i32,
    },
}

impl Found {
    /// Whether nobody alive has it: it is left behind, or was and is removed now.
    pub const fn is_left(&self) -> bool {
        matches!(self.state, FoundState::Left | FoundState::Removed)
    }
}

impl FoundObject {
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

impl FoundState {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in-use",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Young { .. } => "young",
            Self::OtherUser => "other-user",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for FoundObject {
    /// As the system's own tools name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Memfd { inode } => write!(f, "{inode}"),
            Self::Segment { id } | Self::Semaphores { id } => write!(f, "{id}"),
        }
    }
}

impl fmt::Display for FoundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { holders: 1 } => write!(f, "in use by 1 process"),
            Self::InUse { holders } => write!(f, "in use by {holders} processes"),
            Self::Left => write!(f, "left behind: nobody alive has it"),
            Self::Removed => write!(f, "removed: nobody alive had it"),
            Self::Young { age_s, limit_s } => {
                write!(f, "{age_s} s old: its creator may be at it until it is {limit_s} s old")
            }
            Self::OtherUser => write!(f, "another user's"),
            Self::Failed { errno } => write!(f, "could not be judged or removed (errno {errno})"),
        }
    }
}
