//! The operations of a segment's life in which calls are made to fail, and what each may answer.
//!
//! What a subject does in them stands in `subject`, what its partner does in `partner`.

use crate::cell::{CELLS, Cell};
use monshm::{BackendKind, Builder, LockKind, Operation, PeerCreds, Segment};
use std::fmt;

/// A user that is not ours.
const OTHER_UID: u32 = 65_534;

/// Where an operation is tried: on one cell, or with the choice left to `Auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Cell(Cell),
    Auto,
}

impl Place {
    /// All cells, and `Auto`.
    pub(crate) fn all() -> Vec<Self> {
        CELLS.into_iter().map(Self::Cell).chain([Self::Auto]).collect()
    }

    /// Its number, by which a subject is told of it.
    pub(crate) fn index(self) -> usize {
        Self::all().iter().position(|place| *place == self).unwrap_or(0)
    }

    /// A builder of a segment of `size` bytes here.
    pub(crate) fn builder(self, size: usize) -> Builder {
        match self {
            Self::Cell(cell) => Segment::builder(size).backend(cell.backend()).memory(cell.memory).lock(cell.lock),
            Self::Auto => Segment::builder(size).backend(BackendKind::Auto),
        }
    }

    /// A builder of a segment for a process of another user, which is declared to be trusted.
    pub(crate) fn builder_for_other(self, size: usize) -> Builder {
        let peer = PeerCreds { pid: PeerCreds::PID_UNKNOWN, uid: OTHER_UID, gid: PeerCreds::GID_UNKNOWN };
        self.builder(size).peer(peer).trust_peer(self != Self::Auto)
    }

    /// Whether its lock is libc's, which ends the process when futex(2) answers what libc does not expect.
    pub(crate) fn is_lock_of_libc(self) -> bool {
        matches!(self, Self::Cell(cell) if matches!(cell.lock, LockKind::PthreadMutex | LockKind::Semaphore))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell(cell) => cell.fmt(f),
            Self::Auto => f.pad("auto"),
        }
    }
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Who makes the segment.
    pub(crate) side: Side,
    /// What an error of it may say that was being done.
    pub(crate) answers: &'static [Operation],
}

/// Who makes the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The subject.
    Creator,
    /// The driver; the subject is its peer.
    Peer,
    /// Nobody: it is about what others left.
    Neither,
}

const fn creator(name: &'static str, answers: &'static [Operation]) -> Scene {
    Scene { name, side: Side::Creator, answers }
}

const fn peer(name: &'static str, answers: &'static [Operation]) -> Scene {
    Scene { name, side: Side::Peer, answers }
}

/// Those of every cell.
pub(crate) const SCENES: &[Scene] = &[
    creator("create", &[Operation::Create]),
    creator("create-for-other", &[Operation::Create]),
    creator("encode", &[Operation::Encode]),
    creator("send", &[Operation::Send]),
    creator("drop", &[]),
    creator("drop-alone", &[]),
    peer("receive", &[Operation::Receive, Operation::Attach]),
    peer("decode", &[Operation::Decode, Operation::Attach]),
    peer("detach", &[]),
    peer("lock", &[Operation::Lock]),
    peer("try-lock-held", &[Operation::Lock]),
    peer("lock-contended", &[Operation::Lock]),
    peer("lock-timed-out", &[Operation::Lock]),
    peer("take-over", &[Operation::Lock]),
    peer("unlock", &[Operation::Unlock]),
    peer("unlock-waited", &[Operation::Unlock]),
    peer("alloc", &[Operation::Allocate]),
    peer("ring", &[Operation::Ring]),
    peer("append-read", &[Operation::Ring]),
    peer("claim", &[Operation::Ring]),
    peer("push-wait", &[Operation::Ring]),
    peer("push-timed-out", &[Operation::Ring]),
    peer("push-waking", &[Operation::Ring]),
    peer("pop-wait", &[Operation::Ring]),
    peer("pop-timed-out", &[Operation::Ring]),
];

/// Those in which the choice is left to `Auto`, and the one that is about all backends.
pub(crate) const AUTO_SCENES: &[Scene] = &[
    creator("create", &[Operation::Create]),
    creator("create-by-bytes-for-other", &[Operation::Create]),
    creator("create-for-other", &[Operation::Create]),
    Scene { name: CLEAN, side: Side::Neither, answers: &[Operation::Remove] },
];

/// What is done about objects that the dead have left.
pub(crate) const CLEAN: &str = "clean";

/// The operations of a place.
pub(crate) fn scenes(place: Place) -> &'static [Scene] {
    if place == Place::Auto { AUTO_SCENES } else { SCENES }
}

impl Scene {
    /// Whether it waits, and so makes the same calls again and again.
    pub(crate) fn repeats(&self) -> bool {
        ["wait", "timed-out", "contended", "take-over"].iter().any(|part| self.name.contains(part))
    }

    /// Whether nothing but its deadline ends it.
    pub(crate) fn is_timed(&self) -> bool {
        self.name.ends_with("timed-out")
    }
}
