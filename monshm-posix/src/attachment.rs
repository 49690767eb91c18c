//! One attached segment: what an attachment has beside the mapping that it shares with its locks, and its end.
//!
//! The parts do their own work (`segment`, `mapping`, `slots`, `lock`); here stand their order and their end.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use monshm_core::{
    Access, Attachment, Descriptor, Error, ErrorKind, Identity, Liveness, LockKind, MappedBytes, MemoryKind, Operation,
    RawLock, ReadAttachment, ReadOnlyBytes, Request, Result, SharedObject, Slot, Truncation, fork as generations,
};

use crate::mapping::{Mapping, ReadMapping};
use crate::segment::{self, Named};
use crate::slots::{self, Slots};
use crate::{fork, lock, sys};

/// A segment as one process sees it.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Dropped first: while the file is open, no other file has its inode number.
    name: Option<Named>,
    mapping: Arc<Mapping>,
    memory: MemoryKind,
    /// The creator's descriptor, from which handles are made. A peer needs none: the mapping holds the memory.
    file: Option<OwnedFd>,
    generation: u32,
}

/// A one-way segment as a reader sees it. It takes no slot and writes nothing; it could not.
#[derive(Debug)]
pub(crate) struct Reader {
    mapping: ReadMapping,
}

/// How often a named object is made anew that lost its name before its creator could show that it lives.
const CREATIONS: u32 = 4;

/// Makes a segment.
///
/// Until the creator's slot is locked nothing shows that it lives, so a scan may remove the name of one that was
/// stopped for long. Nobody knows of that object yet, and another one is made.
pub(crate) fn create(request: &Request) -> Result<Attached> {
    fork::register(Operation::Create)?;
    slots::check_available(Operation::Create)?;
    for _ in 1..CREATIONS {
        let made = create_once(request)?;
        if made.name.as_ref().is_none_or(Named::leads_to_us) {
            return Ok(made);
        }
    }
    create_once(request)
}

fn create_once(request: &Request) -> Result<Attached> {
    let (file, name) = segment::create(request)?;
    let mapping = Mapping::new(Operation::Create, &file, request.size, request.memory, Slots::creator())?;
    if request.access == Access::OneWay {
        // After our own mapping, which stays as it is, and before anybody else can have one.
        segment::close_for_writing(&file)?;
    }
    if name.is_some() {
        // A name that can be found must show from the beginning that its creator lives, else a scan would remove it.
        mapping.slots().claim_creator(&file).map_err(|error| error.during(Operation::Create))?;
    }
    Ok(Attached::new(mapping, request.memory, Some(file), name))
}

/// Opens, checks and maps the object that `descriptor` names.
pub(crate) fn attach(descriptor: &Descriptor, handle: &mut Option<OwnedFd>) -> Result<Attached> {
    fork::register(Operation::Attach)?;
    let (file, name) = segment::open(descriptor, handle, Access::Shared)?;
    let slots = Slots::peer(Slots::open(Operation::Attach, &file)?);
    let memory = descriptor.object.memory();
    let mapping = Mapping::new(Operation::Attach, &file, descriptor.size, memory, slots)?;
    Ok(Attached::new(mapping, memory, None, name))
}

/// Opens, checks and maps for reading the one-way object that `descriptor` names.
pub(crate) fn attach_reader(descriptor: &Descriptor, handle: &mut Option<OwnedFd>) -> Result<Reader> {
    fork::register(Operation::Attach)?;
    let (file, _) = segment::open(descriptor, handle, Access::OneWay)?;
    let slots = Slots::peer(Slots::open(Operation::Attach, &file)?);
    Ok(Reader { mapping: ReadMapping::new(&file, descriptor.size, slots)? })
}

impl ReadAttachment for Reader {
    fn region(&self) -> ReadOnlyBytes {
        self.mapping.region()
    }

    fn liveness(&self) -> &dyn Liveness {
        self.mapping.slots()
    }
}

impl Attached {
    fn new(mapping: Mapping, memory: MemoryKind, file: Option<OwnedFd>, name: Option<Named>) -> Self {
        Self { mapping: Arc::new(mapping), memory, file, name, generation: generations::generation() }
    }

    fn slot_of_lock(&self) -> Result<Slot> {
        let what = "opening a lock before a slot was taken";
        self.mapping.slots().own().ok_or_else(|| Error::new(Operation::Attach, ErrorKind::System { what }).on("posix"))
    }
}

impl Attachment for Attached {
    type Handle = OwnedFd;

    fn region(&self) -> MappedBytes {
        *self.mapping.region()
    }

    fn truncation(&self) -> Truncation {
        self.mapping.truncation()
    }

    fn memory(&self) -> MemoryKind {
        self.memory
    }

    /// Before a peer has taken a slot the answer has no meaning.
    fn slot(&self) -> Slot {
        self.mapping.slots().own().unwrap_or(Slot::CREATOR)
    }

    fn liveness(&self) -> &dyn Liveness {
        self.mapping.slots()
    }

    fn take_slot(&mut self) -> Result<Slot> {
        self.mapping.slots().claim_peer()
    }

    fn create_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::create(kind, &self.mapping, self.slot_of_lock()?)
    }

    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::open(kind, &self.mapping, self.slot_of_lock()?)
    }

    fn share(&self) -> Result<SharedObject<OwnedFd>> {
        let Some(file) = &self.file else {
            let what = "a way for a peer to hand a segment on; its creator can";
            return Err(Error::new(Operation::Encode, ErrorKind::Unsupported { what }).on("posix"));
        };
        if self.generation != generations::generation() {
            return Err(Error::new(Operation::Encode, ErrorKind::Forked).on("posix"));
        }
        self.mapping.slots().claim_creator(file)?;
        let fault = |what| move |errno| sys::fault(Operation::Encode, what, errno);
        let status = sys::status(file).map_err(fault("fstat"))?;
        // The same description does: nobody takes locks on it, each side opens one of its own for that.
        let handle = sys::duplicate(file).map_err(fault("duplicating the descriptor"))?;
        let object = match &self.name {
            Some(name) => name.object(),
            None => segment::memfd_object(file, status.inode),
        };
        let owner = Identity { uid: status.uid, gid: status.gid };
        Ok(SharedObject { object, owner, handle: Some(handle) })
    }

    fn remove_name(&self) {
        if let Some(name) = &self.name {
            name.remove();
        }
    }
}
