//! One segment as one process has it: made or attached, mapped, shared, let go.
//!
//! What differs between the two kinds of memory stands in [`memfd`] and [`named`]; what a lock does in [`crate::lock`].
//! The bytes behind the mapping are not looked at here.

mod memfd;
mod named;
mod reader;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use monshm_core::attachment::{Attachment, SharedObject};
use monshm_core::backend::{Access, Request};
use monshm_core::descriptor::{Descriptor, DescriptorFault, Identity, Object};
use monshm_core::error::{Choices, Error, ErrorKind, Operation, Result};
use monshm_core::fork;
use monshm_core::kind::{BackendKind, LockKind, MemoryKind};
use monshm_core::layout::{HEADER_SIZE, MAX_SEGMENT_SIZE};
use monshm_core::liveness::{Liveness, Slot};
use monshm_core::lock::RawLock;
use monshm_core::region::MappedBytes;
use monshm_core::truncation::Truncation;
use rustix::fs::{FileType, Stat};

use crate::liveness::Slots;
use crate::sigbus::Shield;
use crate::{access, lock, sys};
use named::PublishedName;

pub(crate) use named::PLACE;
pub(crate) use reader::attach_reader;

/// The file system that memfds and `/dev/shm` live on: the only one whose pages come and go as this crate relies on.
pub(crate) const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The kinds of memory, the default first.
pub(crate) const MEMORIES: &[MemoryKind] = &[MemoryKind::Memfd, MemoryKind::Named];

/// A mapped segment and its slots: what an attachment and its locks own together, unmapped with the last of them.
#[derive(Debug)]
pub(crate) struct Mapping {
    region: MappedBytes,
    slots: Slots,
    /// What answers a truncation; `None` where seals exclude it.
    shield: Option<Shield>,
}

/// A segment that this process made or attached to.
#[derive(Debug)]
pub(crate) struct Attached {
    mapping: Arc<Mapping>,
    memory: MemoryKind,
    /// The creator's descriptor, from which handles are made. A peer needs none: the mapping holds the memory.
    file: Option<OwnedFd>,
    name: Option<PublishedName>,
    generation: u32,
}

/// An object that came with a descriptor, found to be the one that it names.
struct Opened {
    file: OwnedFd,
    name: Option<PublishedName>,
}

/// Makes a segment.
pub(crate) fn create(request: &Request) -> Result<Attached> {
    notice_forks(Operation::Create)?;
    crate::liveness::can_be_asked(Operation::Create)?;
    let (file, name) = match (request.memory, request.access) {
        (MemoryKind::Memfd, access) => (memfd::create(request, access)?, None),
        (MemoryKind::Named, Access::Shared) => named::create(request).map(|(file, name)| (file, Some(name)))?,
        (memory @ MemoryKind::Named, Access::OneWay) => {
            return Err(Error::new(Operation::Create, ErrorKind::NotOneWay { memory }).on("posix"));
        }
        (memory, _) => return Err(not_ours(Operation::Create, memory)),
    };
    let mapping = Mapping::new(Operation::Create, &file, request.size, request.memory, Slots::creator())?;
    if request.access == Access::OneWay {
        // After our own mapping, which stays as it is, and before anybody else can have one.
        memfd::close_for_writing(&file)?;
    }
    if name.is_some() {
        // A name that can be found must show from the beginning that its creator lives, else a scan would remove it.
        mapping.slots().claim_creator(&file).map_err(|error| error.during(Operation::Create))?;
    }
    Ok(Attached::new(mapping, request.memory, Some(file), name))
}

/// Opens, checks and maps the object that `descriptor` names.
pub(crate) fn attach(descriptor: &Descriptor, handle: Option<OwnedFd>) -> Result<Attached> {
    notice_forks(Operation::Attach)?;
    let size = descriptor.size;
    check_size(descriptor)?;
    let opened = match descriptor.object {
        Object::Memfd { pid, fd, inode } => memfd::open((pid, fd), inode, descriptor, handle, Access::Shared)?,
        Object::Named { name, inode } => named::open(name, inode, descriptor, handle)?,
        Object::Sysv { .. } => return Err(not_ours(Operation::Attach, MemoryKind::SysvShm)),
    };
    let slots = Slots::peer(Slots::open(Operation::Attach, &opened.file)?);
    let memory = descriptor.object.memory();
    let mapping = Mapping::new(Operation::Attach, &opened.file, size, memory, slots)?;
    Ok(Attached::new(mapping, memory, None, opened.name))
}

fn check_size(descriptor: &Descriptor) -> Result<()> {
    let size = descriptor.size;
    if size < HEADER_SIZE as u64 || size > MAX_SEGMENT_SIZE || size % MappedBytes::ALIGN != 0 {
        return Err(refusal(ErrorKind::Descriptor(DescriptorFault::BadSize { found: size }), descriptor));
    }
    Ok(())
}

/// Checks an object before it is mapped: that it is memory, whose it is, who can open it, that it is the one that the
/// descriptor names, and that it has the size that is promised.
fn check(file: &OwnedFd, inode: u64, descriptor: &Descriptor) -> Result<()> {
    let stat = sys::stat(file).map_err(|errno| sys::fault(Operation::Attach, "fstat", errno))?;
    let wrong = |found| {
        let expected = "tmpfs memory, open for reading and writing";
        Err(refusal(ErrorKind::HandleType { found, expected }, descriptor))
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return wrong(what_it_is(&stat));
    }
    let found = sys::file_system(file).map_err(|errno| sys::fault(Operation::Attach, "fstatfs", errno))?;
    if found.0 != TMPFS_MAGIC {
        return wrong("a file on disk or in huge pages");
    }
    if !sys::is_read_write(file).map_err(|errno| sys::fault(Operation::Attach, "fcntl", errno))? {
        return wrong("not open for reading and writing");
    }
    access::check(file, &stat, descriptor.owner)?;
    if stat.st_ino != inode {
        let kind = ErrorKind::HandleType { found: "another object", expected: "the one that the descriptor names" };
        return Err(refusal(kind, descriptor));
    }
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    if found != descriptor.size {
        return Err(refusal(ErrorKind::ObjectSize { promised: descriptor.size, found }, descriptor));
    }
    Ok(())
}

/// What a file that is no memory is, for a message.
fn what_it_is(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a file without seals",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "no file at all",
    }
}

#[cold]
fn refusal(kind: ErrorKind, descriptor: &Descriptor) -> Error {
    Error::new(Operation::Attach, kind).on(format!("posix {}", descriptor.object))
}

#[cold]
fn not_ours(operation: Operation, memory: MemoryKind) -> Error {
    let (backend, choices) = (BackendKind::Posix, Choices(MEMORIES));
    Error::new(operation, ErrorKind::MemoryNotOfBackend { memory, backend, choices }).on("posix")
}

fn notice_forks(operation: Operation) -> Result<()> {
    crate::fork::register().map_err(|errno| sys::fault(operation, "pthread_atfork", errno))
}

impl Mapping {
    fn new(operation: Operation, file: impl AsFd, size: u64, memory: MemoryKind, slots: Slots) -> Result<Self> {
        let too_large = || Error::new(operation, ErrorKind::SizeOverLimit { asked: size, limit: MAX_SEGMENT_SIZE });
        let len = usize::try_from(size).ok().filter(|&len| isize::try_from(len).is_ok());
        let len = len.filter(|&len| len >= HEADER_SIZE).ok_or_else(too_large)?;
        let base = sys::map(file, len).map_err(|errno| sys::fault(operation, "mmap", errno))?;
        // SAFETY: `len` bytes from `base` were just mapped for reading and writing, on a page boundary; the length is
        // checked above; they are unmapped by the drop of this value, and all copies of the region that leave this
        // crate are lent by an attachment that owns it. Other processes may write, and nothing here makes a reference.
        let region = unsafe { MappedBytes::new(base, len) };
        let mut mapping = Self { region, slots, shield: None };
        if memory.can_be_truncated() {
            mapping.shield = Some(Shield::new(operation, base, len)?);
        }
        Ok(mapping)
    }

    /// The bytes; valid while this value lives.
    #[inline]
    pub(crate) fn region(&self) -> &MappedBytes {
        &self.region
    }

    /// Whether the bytes were truncated.
    pub(crate) fn truncation(&self) -> Truncation {
        self.shield.as_ref().map_or(Truncation::NEVER, Shield::truncation)
    }

    /// Who lives.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.shield.as_ref().is_none_or(Shield::close) {
            // A handler is stuck in it, and would put zeros over what comes to lie there next.
            return;
        }
        // SAFETY: base and length are those of `Mapping::new`, unmapped here only; whoever uses the region owns a
        // share of this value or borrows from one that does. In a forked child it is the child's own mapping.
        unsafe { sys::unmap(self.region.base(), self.region.len()) };
    }
}

impl Attached {
    fn new(mapping: Mapping, memory: MemoryKind, file: Option<OwnedFd>, name: Option<PublishedName>) -> Self {
        Self { mapping: Arc::new(mapping), memory, file, name, generation: fork::generation() }
    }

    fn locks_slot(&self) -> Result<Slot> {
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
        lock::create(kind, &self.mapping, self.locks_slot()?)
    }

    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>> {
        lock::open(kind, &self.mapping, self.locks_slot()?)
    }

    fn share(&self) -> Result<SharedObject<OwnedFd>> {
        let Some(file) = &self.file else {
            let what = "a way for a peer to hand a segment on; its creator can";
            return Err(Error::new(Operation::Encode, ErrorKind::Unsupported { what }).on("posix"));
        };
        if self.generation != fork::generation() {
            return Err(Error::new(Operation::Encode, ErrorKind::Forked).on("posix"));
        }
        self.mapping.slots().claim_creator(file)?;
        let fault = |what| move |errno| sys::fault(Operation::Encode, what, errno);
        let stat = sys::stat(file).map_err(fault("fstat"))?;
        // The same description does: nobody takes locks on it, each side opens one of its own for that.
        let handle = sys::duplicate(file).map_err(fault("duplicating the descriptor"))?;
        let object = match &self.name {
            Some(name) => name.object(),
            None => memfd::object(file, stat.st_ino),
        };
        let owner = Identity { uid: stat.st_uid, gid: stat.st_gid };
        Ok(SharedObject { object, owner, handle: Some(handle) })
    }

    fn remove_name(&self) {
        if let Some(name) = &self.name {
            name.remove();
        }
    }
}
