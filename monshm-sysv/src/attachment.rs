//! One attached segment: what an attachment has beside the mapping that it shares with its locks, and its end.
//!
//! The parts do their own work (`segment`, `mapping`, `slots`, `lock`); here stand their order and their end.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use monshm_core::{
    Access, Attachment, Descriptor, Error, ErrorKind, Identity, Liveness, LockKind, MappedBytes, MemoryKind, Operation,
    RawLock, Request, Result, SharedObject, Slot,
};

use crate::mapping::Mapping;
use crate::segment::{self, Segment};
use crate::slots::Slots;
use crate::{fork, lock, sys};

/// A segment as one process sees it.
#[derive(Debug)]
pub(crate) struct Attached {
    mapping: Arc<Mapping>,
}

/// Makes a segment.
pub(crate) fn create(request: &Request) -> Result<Attached> {
    if request.access == Access::OneWay {
        let kind = ErrorKind::NotOneWay { memory: request.memory };
        return Err(Error::new(Operation::Create, kind).on("sysv"));
    }
    fork::register(Operation::Create)?;
    let us = Identity { uid: sys::own_uid(), gid: sys::own_gid() };
    Ok(Attached { mapping: Arc::new(Mapping::creator(request.size, request.peer, us)?) })
}

/// Opens, checks and maps the object that `descriptor` names.
pub(crate) fn attach(descriptor: &Descriptor, handle: &mut Option<OwnedFd>) -> Result<Attached> {
    let (shm_id, sem_id) = segment::ids(descriptor)?;
    if handle.is_some() {
        return Err(Error::new(Operation::Attach, ErrorKind::HandleUnexpected).on("sysv"));
    }
    fork::register(Operation::Attach)?;
    let segment = Segment::attach(shm_id, descriptor).inspect_err(|error| {
        // The memory dies with a creator that was killed; its set does not, and nobody but us knows of it.
        if matches!(error.kind(), ErrorKind::Gone { .. }) {
            Slots::remove_abandoned(sem_id, descriptor.owner);
        }
    })?;
    let slots = Slots::attach(sem_id, descriptor.owner)?;
    Ok(Attached { mapping: Arc::new(Mapping::new(segment, slots, descriptor.owner, None)) })
}

impl Attachment for Attached {
    type Handle = OwnedFd;

    fn region(&self) -> MappedBytes {
        self.mapping.region()
    }

    fn memory(&self) -> MemoryKind {
        MemoryKind::SysvShm
    }

    fn slot(&self) -> Slot {
        self.mapping.slot()
    }

    fn liveness(&self) -> &dyn Liveness {
        self.mapping.liveness()
    }

    fn take_slot(&mut self) -> Result<Slot> {
        self.mapping.claim_peer()
    }

    fn create_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::create(kind, &self.mapping)
    }

    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::open(kind, &self.mapping)
    }

    fn share(&self) -> Result<SharedObject<OwnedFd>> {
        let slots = self.mapping.slots();
        slots.mark().map_err(|errno| {
            let kind = ErrorKind::Gone { what: "its semaphore set was removed or closed to us" };
            Error::new(Operation::Encode, kind).on(slots.to_string()).with_os_error(errno.raw_os_error())
        })?;
        Ok(SharedObject { object: self.mapping.object(), owner: self.mapping.owner(), handle: None })
    }

    fn remove_name(&self) {
        self.mapping.remove();
    }
}
