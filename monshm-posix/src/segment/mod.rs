//! The memory object behind a segment: made, or opened and checked. Mapping it is `mapping`'s.
//!
//! The differences between the two kinds of memory stand in [`memfd`] and [`named`], what both check in [`check`]. The
//! bytes are not read here.

mod check;
mod memfd;
mod named;

use std::os::fd::OwnedFd;

use self::check::refusal;
use monshm_core::error::Choices;
use monshm_core::{
    Access, BackendKind, Descriptor, DescriptorFault, Error, ErrorKind, HEADER_SIZE, MAX_SEGMENT_SIZE, MappedBytes,
    MemoryKind, Object, Operation, Request, Result,
};

pub(crate) use self::check::TMPFS_MAGIC;
pub(crate) use memfd::{close_for_writing, object as memfd_object};
pub(crate) use named::{Named, SHM_FOLDER, look_up};

/// The kinds of memory, the default first.
pub(crate) const MEMORIES: &[MemoryKind] = &[MemoryKind::Memfd, MemoryKind::Named];

/// Makes an object: reserved, open to us and to the peer.
pub(crate) fn create(request: &Request) -> Result<(OwnedFd, Option<Named>)> {
    match (request.memory, request.access) {
        (MemoryKind::Memfd, access) => Ok((memfd::create(request, access)?, None)),
        (MemoryKind::Named, Access::Shared) => named::create(request).map(|(file, name)| (file, Some(name))),
        (memory @ MemoryKind::Named, Access::OneWay) => {
            Err(Error::new(Operation::Create, ErrorKind::NotOneWay { memory }).on("posix"))
        }
        (memory, _) => Err(not_ours(Operation::Create, memory)),
    }
}

/// Takes the handle that came, or opens the object that `descriptor` names; checks it in either case. A handle that is
/// refused is left where it is.
pub(crate) fn open(
    descriptor: &Descriptor,
    handle: &mut Option<OwnedFd>,
    access: Access,
) -> Result<(OwnedFd, Option<Named>)> {
    check_size(descriptor)?;
    match descriptor.object {
        Object::Memfd { pid, fd, inode } => {
            memfd::open((pid, fd), inode, descriptor, handle, access).map(|file| (file, None))
        }
        object if access == Access::OneWay => {
            Err(refusal(ErrorKind::NotOneWay { memory: object.memory() }, descriptor))
        }
        Object::Named { name, inode } => {
            named::open(name, inode, descriptor, handle).map(|(file, name)| (file, Some(name)))
        }
        Object::Sysv { .. } => Err(not_ours(Operation::Attach, MemoryKind::SysvShm)),
    }
}

fn check_size(descriptor: &Descriptor) -> Result<()> {
    let size = descriptor.size;
    if size < HEADER_SIZE as u64 || size > MAX_SEGMENT_SIZE || size % MappedBytes::ALIGN != 0 {
        return Err(refusal(ErrorKind::Descriptor(DescriptorFault::BadSize { found: size }), descriptor));
    }
    Ok(())
}

#[cold]
fn not_ours(operation: Operation, memory: MemoryKind) -> Error {
    let (backend, choices) = (BackendKind::Posix, Choices(MEMORIES));
    Error::new(operation, ErrorKind::MemoryNotOfBackend { memory, backend, choices }).on("posix")
}
