//! Attach slots: the numbers that stand for processes, and the table of who took which.
//!
//! An owner is named by its slot, never by a pid or tid: two PID namespaces may use the same number, and numbers are
//! reused. Who lives is [`crate::liveness`]'s question; the table is for people, never for a decision.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::descriptor::Identity;

/// How many processes can be attached to one segment at a time, the creator included.
pub const SLOT_COUNT: u32 = 32;

/// The place of one attached handle in the segment: 0 for the creator, up to [`SLOT_COUNT`] − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The creator's slot.
    pub const CREATOR: Self = Self(0);

    /// The slot with this index, if it is below [`SLOT_COUNT`].
    pub const fn new(index: u32) -> Option<Self> {
        if index < SLOT_COUNT { Some(Self(index as u8)) } else { None }
    }

    /// The index, below [`SLOT_COUNT`].
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// The value that stands for this slot in a shared word where 0 means nobody: index + 1.
    #[inline]
    pub const fn tag(self) -> u32 {
        self.index() + 1
    }

    /// The slot that a shared word names; `None` for nobody and for a number that no honest process writes.
    pub const fn from_tag(tag: u32) -> Option<Self> {
        if tag == 0 { None } else { Self::new(tag - 1) }
    }

    /// Every slot.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOT_COUNT).filter_map(Self::new)
    }

    /// Every slot that a peer may take: all but the creator's.
    pub fn peers() -> impl Iterator<Item = Self> {
        Self::all().skip(1)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// The table of the header: one record for each slot, written by the process that took it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SlotTable([SlotRecord; SLOT_COUNT as usize]);

/// What a process writes about itself into the slot that it took.
#[derive(Debug)]
#[repr(C)]
struct SlotRecord {
    /// Process id in its own namespace; 0 when nobody took the slot.
    pid: AtomicU32,
    /// Effective user id.
    uid: AtomicU32,
    _rest: [AtomicU64; 3],
}

const _: () = assert!(size_of::<SlotRecord>() == 32);

impl SlotTable {
    /// Writes who took `slot`.
    pub(super) fn record(&self, slot: Slot, pid: u32, identity: Identity) {
        let record = &self.0[slot.index() as usize];
        record.uid.store(identity.uid, Ordering::Relaxed);
        record.pid.store(pid, Ordering::Relaxed);
    }

    /// Pid and uid that stand in the record of `slot`.
    pub(super) fn recorded(&self, slot: Slot) -> (u32, u32) {
        let record = &self.0[slot.index() as usize];
        (record.pid.load(Ordering::Relaxed), record.uid.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_slots_and_nothing_else() {
        assert_eq!(Slot::from_tag(0), None);
        assert_eq!(Slot::from_tag(1), Some(Slot::CREATOR));
        assert_eq!(Slot::from_tag(SLOT_COUNT).map(Slot::index), Some(SLOT_COUNT - 1));
        assert_eq!(Slot::from_tag(SLOT_COUNT + 1), None);
        assert_eq!(Slot::from_tag(u32::MAX), None);
        assert_eq!(Slot::peers().count() as u32, SLOT_COUNT - 1);
    }
}
