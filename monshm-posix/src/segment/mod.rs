//! The memory object behind a segment: made, or opened and checked. Mapping it is `mapping`'s.
//!
//! The differences between the two kinds of memory stand in [`memfd`] and [`named`]. The bytes are not read here.

mod memfd;
mod named;

use std::os::fd::OwnedFd;

use monshm_core::error::Choices;
use monshm_core::{
    Access, BackendKind, Descriptor, DescriptorFault, Error, ErrorKind, HEADER_SIZE, MAX_SEGMENT_SIZE, MappedBytes,
    MemoryKind, Object, Operation, Request, Result,
};
use rustix::fs::{FileType, Stat};

use crate::{access, sys};

pub(crate) use memfd::{close_for_writing, object as memfd_object};
pub(crate) use named::{Named, SHM_FOLDER};

/// The file system that memfds and `/dev/shm` live on: the only one whose pages come and go as this crate relies on.
pub(crate) const TMPFS_MAGIC: u64 = 0x0102_1994;

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

/// Takes the handle that came, or opens the object that `descriptor` names; checks it in either case.
pub(crate) fn open(
    descriptor: &Descriptor,
    handle: Option<OwnedFd>,
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
