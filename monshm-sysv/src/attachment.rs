//! One attached segment: the backend's entry points, and what is shared between an attachment and its locks.
//!
//! The parts do their own work (`segment`, `liveness`, `lock`); here stand their order and their end.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use monshm_core::error::Choices;
use monshm_core::{
    Access, Attachment, Backend, BackendKind, Cleanup, Descriptor, Error, ErrorKind, Header, Identity, Liveness,
    LockKind, MappedBytes, MemoryKind, Object, Operation, RawLock, Request, Result, ScanEntry, SharedObject, Slot,
};

use crate::liveness::Set;
use crate::segment::Segment;
use crate::{Sysv, fork, lock, sys};

impl Backend for Sysv {
    /// Ids suffice; nothing travels beside the bytes.
    type Handle = OwnedFd;

    fn kind(&self) -> BackendKind {
        BackendKind::Sysv
    }

    fn locks(&self) -> &'static [LockKind] {
        lock::KINDS
    }

    fn memories(&self) -> &'static [MemoryKind] {
        MEMORIES
    }

    fn create(&self, request: &Request) -> Result<Box<dyn Attachment<Handle = OwnedFd>>> {
        if request.access == Access::OneWay {
            let kind = ErrorKind::NotOneWay { memory: request.memory };
            return Err(Error::new(Operation::Create, kind).on("sysv"));
        }
        fork::watch(Operation::Create)?;
        let us = Identity { uid: sys::effective_uid(), gid: sys::effective_gid() };
        Ok(Box::new(Attached { shares: Arc::new(Shares::creator(request.size, request.peer, us)?) }))
    }

    fn attach(
        &self,
        descriptor: &Descriptor,
        handle: Option<OwnedFd>,
    ) -> Result<Box<dyn Attachment<Handle = OwnedFd>>> {
        let error = |kind| Error::new(Operation::Attach, kind).on("sysv");
        let Object::Sysv { shm_id, sem_id } = descriptor.object else {
            let (memory, choices) = (descriptor.object.memory(), Choices(MEMORIES));
            return Err(error(ErrorKind::MemoryNotOfBackend { memory, backend: self.kind(), choices }));
        };
        if handle.is_some() {
            return Err(error(ErrorKind::HandleUnexpected));
        }
        fork::watch(Operation::Attach)?;
        let segment = Segment::attach(shm_id, descriptor).inspect_err(|error| {
            // The memory dies with a creator that was killed; its set does not, and nobody but us knows of it.
            if matches!(error.kind(), ErrorKind::Gone { .. }) {
                Set::remove_abandoned(sem_id, descriptor.owner);
            }
        })?;
        let set = Set::attach(sem_id, descriptor.owner)?;
        Ok(Box::new(Attached { shares: Arc::new(Shares::new(segment, set, descriptor.owner, None)) }))
    }

    fn scan(&self, cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
        crate::scan::scan(cleanup)
    }
}

/// The kinds of memory, the default first.
const MEMORIES: &[MemoryKind] = &[MemoryKind::SysvShm];

/// What an attachment and its locks share. When the last of them is dropped, the slot is given back, the set removed
/// if nobody is left, and the segment unmapped.
pub(crate) struct Shares {
    segment: Segment,
    set: Set,
    owner: Identity,
    slot: OnceLock<Slot>,
    /// In which process of a line of forks the slot was taken.
    generation: u32,
    /// Whether the lock's semaphore was taken through this handle. Written by the holder.
    holds: AtomicBool,
    /// Whether the holder was told of a death that it has not repaired yet. Written by the holder.
    unrepaired: AtomicBool,
}

impl Shares {
    fn new(segment: Segment, set: Set, owner: Identity, taken: Option<Slot>) -> Self {
        Self {
            segment,
            set,
            owner,
            slot: taken.map(OnceLock::from).unwrap_or_default(),
            generation: monshm_core::fork::generation(),
            holds: AtomicBool::new(false),
            unrepaired: AtomicBool::new(false),
        }
    }

    /// Makes segment and set; if one cannot be made, neither stays.
    pub(crate) fn creator(size: u64, peer: Identity, us: Identity) -> Result<Self> {
        let segment = Segment::create(size, peer, us.uid)?;
        let set = Set::create(peer, us.uid).inspect_err(|_| segment.remove())?;
        Ok(Self::new(segment, set, us, Some(Slot::CREATOR)))
    }

    /// Our slot. Until a peer has taken one it has none, and locks cannot be opened; then the creator's is named.
    pub(crate) fn slot(&self) -> Slot {
        self.slot.get().copied().unwrap_or(Slot::CREATOR)
    }

    #[inline]
    pub(crate) fn set(&self) -> Set {
        self.set
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

impl Drop for Shares {
    fn drop(&mut self) {
        // A forked child has our ids and our mapping, but not our slot: the kernel gave it no undo list of ours.
        if self.generation == monshm_core::fork::generation() {
            if let Some(slot) = self.slot.take() {
                if slot == Slot::CREATOR {
                    self.segment.remove();
                }
                // A lock that is still held stays marked dirty: the next holder is told, as if we had died in it.
                self.set.leave(slot, *self.holds.get_mut());
            }
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares")
            .field("segment", &self.segment)
            .field("set", &self.set)
            .field("slot", &self.slot.get())
            .finish_non_exhaustive()
    }
}

/// A segment as one process sees it.
#[derive(Debug)]
struct Attached {
    shares: Arc<Shares>,
}

impl Attachment for Attached {
    type Handle = OwnedFd;

    fn region(&self) -> MappedBytes {
        self.shares.segment.region()
    }

    fn memory(&self) -> MemoryKind {
        MemoryKind::SysvShm
    }

    fn slot(&self) -> Slot {
        self.shares.slot()
    }

    fn liveness(&self) -> &dyn Liveness {
        &self.shares.set
    }

    fn take_slot(&mut self) -> Result<Slot> {
        if let Some(slot) = self.shares.slot.get() {
            return Ok(*slot);
        }
        let slot = self.shares.set.take_slot()?;
        Ok(*self.shares.slot.get_or_init(|| slot))
    }

    fn create_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::create(kind, &self.shares)
    }

    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::open(kind, &self.shares)
    }

    fn share(&self) -> Result<SharedObject<OwnedFd>> {
        let (shm_id, sem_id) = (self.shares.segment.id(), self.shares.set.id());
        self.shares.set.mark().map_err(|errno| {
            let kind = ErrorKind::Gone { what: "its semaphore set was removed or closed to us" };
            Error::new(Operation::Encode, kind).on(self.shares.set.to_string()).with_os_error(errno.0)
        })?;
        Ok(SharedObject { object: Object::Sysv { shm_id, sem_id }, owner: self.shares.owner, handle: None })
    }

    fn remove_name(&self) {
        self.shares.segment.remove();
    }
}
