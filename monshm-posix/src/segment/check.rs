//! What is checked of an object that somebody else made, before it is mapped, whatever kind of memory it is.
//!
//! What one kind of memory has beside it, seals or a name, is checked in its own file.

use std::os::fd::OwnedFd;

use monshm_core::descriptor::Descriptor;
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::sys::Status;
use crate::{access, sys};

/// The file system that memfds and `/dev/shm` live on: the only one whose pages come and go as this crate relies on.
pub(crate) const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Checks an object before it is mapped: that it is memory, whose it is, who can open it, that it is the one that the
/// descriptor names, and that it has the size that is promised.
pub(super) fn check(file: &OwnedFd, inode: u64, descriptor: &Descriptor) -> Result<Status> {
    let wrong = |found| {
        let expected = "tmpfs memory, open for reading and writing";
        Err(refusal(ErrorKind::HandleType { found, expected }, descriptor))
    };
    let status = sys::status(file).map_err(|errno| sys::fault(Operation::Attach, "fstat", errno))?;
    // Only memory has seals. A file system is asked after that: any other one could let us wait for its answer.
    match sys::seals(file) {
        Err(Errno::INVAL | Errno::BADF) => return wrong(what_it_is(&status)),
        answer => answer.map_err(|errno| sys::fault(Operation::Attach, "reading the seals", errno))?,
    };
    let found = sys::file_system(file).map_err(|errno| sys::fault(Operation::Attach, "fstatfs", errno))?;
    if found.0 != TMPFS_MAGIC {
        return wrong("a file on disk or in huge pages");
    }
    if !sys::is_read_write(file).map_err(|errno| sys::fault(Operation::Attach, "fcntl", errno))? {
        return wrong("not open for reading and writing");
    }
    access::check(file, &status, descriptor.owner)?;
    if status.inode != inode {
        let kind = ErrorKind::HandleType { found: "another object", expected: "the one that the descriptor names" };
        return Err(refusal(kind, descriptor));
    }
    if status.size != descriptor.size {
        let kind = ErrorKind::ObjectSize { promised: descriptor.size, found: status.size };
        return Err(refusal(kind, descriptor));
    }
    Ok(status)
}

/// What a file that is no memory is, for a message.
pub(super) fn what_it_is(status: &Status) -> &'static str {
    match status.file_type() {
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
pub(super) fn refusal(kind: ErrorKind, descriptor: &Descriptor) -> Error {
    Error::new(Operation::Attach, kind).on(format!("posix {}", descriptor.object))
}
