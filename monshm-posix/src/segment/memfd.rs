//! Memory without a name: a memfd, reserved and sealed, reached by its descriptor. The kernel removes it.
//!
//! A process of the same user can also open `/proc/PID/fd/N`; nobody else can, and no name is ever given to it.

use std::os::fd::{AsRawFd, OwnedFd};

use monshm_core::backend::{Access, Request};
use monshm_core::descriptor::{Descriptor, Object};
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use rustix::fs::{FileType, OFlags, SealFlags};
use rustix::io::Errno;

use super::check::{check, refusal, what_it_is};
use crate::{access, reach, reserve, sys};

/// What no peer can do any more: change the size, or seal further (against writing, which would lock us out).
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Seals under which one side could not write.
const READ_ONLY: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);

/// What is added to a one-way object once its creator has mapped it: nobody else writes, and no seal comes after.
const ONE_WAY: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SEAL);

/// Makes the object: reserved, open to us and to the peer, and sealed, but for the last seals of one-way access, which
/// [`close_for_writing`] adds.
pub(super) fn create(request: &Request, access: Access) -> Result<OwnedFd> {
    if request.reachable_by_bytes {
        reach::check(request)?;
    }
    reserve::check_limits(request.size)?;
    let file = sys::memfd_create().map_err(|errno| match errno {
        Errno::NOSYS | Errno::PERM | Errno::INVAL => {
            Error::new(Operation::Create, ErrorKind::Unsupported { what: "memfd_create" })
                .on("posix")
                .with_os_error(errno.raw_os_error())
        }
        errno => sys::fault(Operation::Create, "memfd_create", errno),
    })?;
    reserve::reserve(&file, request.size, "memory", reserve::available_memory)?;
    let seals = match access {
        Access::Shared => SEALS,
        Access::OneWay => SEALS.difference(SealFlags::SEAL),
    };
    sys::add_seals(&file, seals).map_err(|errno| sys::fault(Operation::Create, "sealing", errno))?;
    access::grant_memfd(&file, request.peer)?;
    Ok(file)
}

/// Leaves what is mapped for writing as it is, and lets nobody map or write any more. For an object that was made with
/// [`Access::OneWay`], before it is shared.
pub(crate) fn close_for_writing(file: &OwnedFd) -> Result<()> {
    sys::add_seals(file, ONE_WAY).map_err(|errno| match errno {
        Errno::INVAL => {
            let what = "memory that only its creator writes (F_SEAL_FUTURE_WRITE, Linux 5.1)";
            Error::new(Operation::Create, ErrorKind::Unsupported { what })
                .on("posix")
                .with_os_error(errno.raw_os_error())
        }
        errno => sys::fault(Operation::Create, "sealing against writing", errno),
    })
}

/// The object as a descriptor names it.
pub(crate) fn object(file: &OwnedFd, inode: u64) -> Object {
    // Never negative: it is open.
    Object::Memfd { pid: std::process::id(), fd: file.as_raw_fd().unsigned_abs(), inode }
}

/// Takes the handle that came, or opens the creator's descriptor through `/proc`; checks it in either case.
pub(super) fn open(
    creator: (u32, u32),
    inode: u64,
    descriptor: &Descriptor,
    handle: &mut Option<OwnedFd>,
    access: Access,
) -> Result<OwnedFd> {
    if handle.is_none() {
        *handle = Some(open_from_creator(creator, inode, descriptor)?);
    }
    if let Some(file) = handle.as_ref() {
        check_seals(file, descriptor, access)?;
        check(file, inode, descriptor)?;
    }
    handle.take().ok_or_else(|| refusal(ErrorKind::HandleMissing, descriptor))
}

/// Opens `/proc/PID/fd/N`. What it leads to is checked before it is opened: descriptor bytes may name anything, and
/// opening a device, a pipe or a file that another process serves can do or block.
fn open_from_creator((pid, fd): (u32, u32), inode: u64, descriptor: &Descriptor) -> Result<OwnedFd> {
    let gone = || {
        let why = "no process here holds it under this number: its creator has ended, or closed it, or runs in another \
                   PID namespace; ask the creator for a new one";
        refusal(ErrorKind::Unreachable { why }, descriptor)
    };
    let closed = |errno: Errno| {
        let kind = if descriptor.owner.uid == sys::own_uid() {
            let why = "its creator's /proc is closed to us: it is not dumpable, or has capabilities, groups or a user \
                       namespace that we lack";
            ErrorKind::Unreachable { why }
        } else {
            ErrorKind::HandleMissing
        };
        refusal(kind, descriptor).with_os_error(errno.raw_os_error())
    };
    let path = sys::open_path(&format!("/proc/{pid}/fd/{fd}"), OFlags::empty()).map_err(|errno| match errno {
        Errno::NOENT if sys::find_proc().is_err() => {
            let kind = ErrorKind::Unsupported { what: "/proc (it must be mounted)" };
            refusal(kind, descriptor).with_os_error(errno.raw_os_error())
        }
        // Where processes of others are hidden, theirs look as if they were not there.
        Errno::NOENT if descriptor.owner.uid != sys::own_uid() => {
            refusal(ErrorKind::HandleMissing, descriptor).with_os_error(errno.raw_os_error())
        }
        Errno::NOENT | Errno::SRCH | Errno::NXIO | Errno::NOTDIR => gone().with_os_error(errno.raw_os_error()),
        Errno::ACCESS | Errno::PERM => closed(errno),
        errno => sys::fault(Operation::Attach, "opening the creator's descriptor", errno),
    })?;
    let fault = |errno| sys::fault(Operation::Attach, "fstat", errno);
    let (status, device) = (sys::status(&path).map_err(fault)?, sys::memfd_device().map_err(fault)?);
    if status.file_type() != FileType::RegularFile || (status.device, status.inode) != (device, inode) {
        return Err(gone());
    }
    sys::reopen(&path).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => closed(errno),
        errno => sys::fault(Operation::Attach, "opening the creator's memfd", errno),
    })
}

fn check_seals(file: &OwnedFd, descriptor: &Descriptor, access: Access) -> Result<()> {
    let seals = match sys::seals(file) {
        Ok(seals) => seals,
        Err(errno @ (Errno::INVAL | Errno::BADF)) => {
            let found = sys::status(file).map_or("no file at all", |status| what_it_is(&status));
            let kind = ErrorKind::HandleType { found, expected: "a sealed memfd" };
            return Err(refusal(kind, descriptor).with_os_error(errno.raw_os_error()));
        }
        Err(errno) => return Err(sys::fault(Operation::Attach, "reading the seals", errno)),
    };
    let missing = [(SealFlags::SHRINK, "shrinking"), (SealFlags::GROW, "growing"), (SealFlags::SEAL, "further seals")];
    if let Some((_, missing)) = missing.into_iter().find(|(seal, _)| !seals.contains(*seal)) {
        return Err(refusal(ErrorKind::Unsealed { missing }, descriptor));
    }
    match access {
        Access::Shared if seals.intersects(READ_ONLY) => Err(refusal(ErrorKind::SealedAgainstWriting, descriptor)),
        Access::OneWay if !seals.intersects(READ_ONLY) => {
            let missing = "writing by others than its creator (it is not one-way)";
            Err(refusal(ErrorKind::Unsealed { missing }, descriptor))
        }
        _ => Ok(()),
    }
}
