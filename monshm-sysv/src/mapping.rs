//! A mapped segment with its slots: what an attachment and its locks own together. With the last of them the slot is
//! given back, the set removed if nobody is left, and the segment unmapped.
//!
//! Which object is mapped, and what was checked before, is `segment`'s.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use monshm_core::{Header, Identity, MappedBytes, Object, Result, Slot, fork};

use crate::segment::Segment;
use crate::slots::Slots;

/// What an attachment and its locks share. When the last of them is dropped, the slot is given back, the set removed
/// if nobody is left, and the segment unmapped.
pub(crate) struct Mapping {
    segment: Segment,
    slots: Slots,
    owner: Identity,
    slot: OnceLock<Slot>,
    /// In which process of a line of forks the slot was taken.
    generation: u32,
    /// Whether the lock's semaphore was taken through this handle. Written by the holder.
    holds: AtomicBool,
    /// Whether a death was reported to the holder whose traces it has not repaired yet. Written by the holder.
    unrepaired: AtomicBool,
}

impl Mapping {
    pub(crate) fn new(segment: Segment, slots: Slots, owner: Identity, taken: Option<Slot>) -> Self {
        Self {
            segment,
            slots,
            owner,
            slot: taken.map(OnceLock::from).unwrap_or_default(),
            generation: fork::generation(),
            holds: AtomicBool::new(false),
            unrepaired: AtomicBool::new(false),
        }
    }

    /// Makes segment and set; if one cannot be made, neither stays.
    pub(crate) fn creator(size: u64, peer: Identity, us: Identity) -> Result<Self> {
        let segment = Segment::create(size, peer, us.uid)?;
        let slots = Slots::create(peer, us.uid).inspect_err(|_| segment.remove())?;
        Ok(Self::new(segment, slots, us, Some(Slot::CREATOR)))
    }

    /// The object as a descriptor names it.
    pub(crate) fn object(&self) -> Object {
        Object::Sysv { shm_id: self.segment.id(), sem_id: self.slots.id() }
    }

    /// Its owner, as the peer will find it.
    pub(crate) fn owner(&self) -> Identity {
        self.owner
    }

    /// Removes the id of the segment, where that was not done early.
    pub(crate) fn remove(&self) {
        self.segment.remove();
    }

    /// Takes a slot, once; further calls answer the same one.
    pub(crate) fn claim_peer(&self) -> Result<Slot> {
        if let Some(slot) = self.slot.get() {
            return Ok(*slot);
        }
        let slot = self.slots.claim_peer()?;
        Ok(*self.slot.get_or_init(|| slot))
    }

    /// Our slot. Until a peer has taken one it has none, and locks cannot be opened; then the creator's is named.
    pub(crate) fn slot(&self) -> Slot {
        self.slot.get().copied().unwrap_or(Slot::CREATOR)
    }

    /// Who lives.
    pub(crate) fn liveness(&self) -> &Slots {
        &self.slots
    }

    #[inline]
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        let header: *const Header = self.segment.region().header();
        // SAFETY: the header lies in the mapping, which `self.segment` keeps for as long as `self` is borrowed; the
        // MappedBytes that lent it is only a copy of base and length.
        unsafe { &*header }
    }

    #[inline]
    pub(crate) fn region(&self) -> MappedBytes {
        self.segment.region()
    }

    /// What messages call the segment.
    #[cfg(feature = "futex")]
    pub(crate) fn name(&self) -> String {
        format!("sysv segment {}", self.segment.id())
    }

    // Relaxed, here and below: these words are private to the process. One thread at a time holds the lock, and what
    // hands the lock from thread to thread orders them; Drop has the value for itself.
    #[inline]
    pub(crate) fn enter(&self) {
        self.holds.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.holds.store(false, Ordering::Relaxed);
        self.unrepaired.store(false, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_unrepaired(&self) -> bool {
        self.unrepaired.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unrepaired(&self, unrepaired: bool) {
        self.unrepaired.store(unrepaired, Ordering::Relaxed);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A forked child has our ids and our mapping, but not our slot: the kernel gave it no undo list of ours.
        if self.generation == fork::generation() {
            if let Some(slot) = self.slot.take() {
                if slot == Slot::CREATOR {
                    self.segment.remove();
                }
                // A lock that is still held stays marked dirty: the next holder gets the report of a death.
                self.slots.leave(slot, *self.holds.get_mut());
            }
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("segment", &self.segment)
            .field("slots", &self.slots)
            .field("slot", &self.slot.get())
            .finish_non_exhaustive()
    }
}
