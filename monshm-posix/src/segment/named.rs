//! Memory with a name in `/dev/shm`, random and short-lived, for peers that bytes alone must suffice for.
//!
//! It cannot be sealed (see the crate's limits), and its name is what a killed pair of processes leaves behind; so the
//! name is removed as soon as the peer is attached.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use monshm_core::backend::Request;
use monshm_core::descriptor::{Descriptor, DescriptorFault, Name, Object};
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::fork;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::check::{TMPFS_MAGIC, check, refusal, what_it_is};
use crate::sys::{Answer, Status};
use crate::{access, reserve, slots, sys};

/// Where `shm_open` keeps its objects on Linux.
pub(crate) const SHM_FOLDER: &str = "/dev/shm";

/// What it means when no name is there.
const GONE: &str = "its name does not exist: it went with the first attach, since the bytes of memory with a name \
                    serve one, or with its creator; more peers get it by send, with its descriptor";

/// A name that leads to our object until it is removed. Dropping it removes it, except in a forked child.
#[derive(Debug)]
pub(crate) struct Named {
    name: Name,
    /// The object as our own open file shows it; the mapping keeps its inode from being used again.
    status: Status,
    removed: AtomicBool,
    /// Whether dropping this removes the name: the creator's does, a peer's does not.
    owned: bool,
    generation: u32,
}

impl Named {
    fn new(name: Name, status: Status, owned: bool) -> Self {
        Self { name, status, removed: AtomicBool::new(false), owned, generation: fork::generation() }
    }

    /// The object as a descriptor names it.
    pub(crate) fn object(&self) -> Object {
        Object::Named { name: self.name, inode: self.status.inode }
    }

    /// Whether the name leads to our object.
    pub(crate) fn leads_to_us(&self) -> bool {
        sys::status_of_path(&path_of(self.name)).is_ok_and(|found| found.is_same_file(&self.status))
    }

    /// Removes the name if it still leads to our object and this process may. Idempotent.
    pub(crate) fn remove(&self) {
        // Relaxed: only saves a second try.
        if self.generation != fork::generation() || self.removed.load(Ordering::Relaxed) {
            return;
        }
        let path = path_of(self.name);
        // No descriptor is needed for it, so a full table does not keep the name alive.
        // Asked twice: where the question failed once, the name would stay for `clean`.
        let gone = match sys::status_of_path(&path).or_else(|_| sys::status_of_path(&path)) {
            Ok(found) if found.is_same_file(&self.status) => {
                matches!(sys::unlink(&path), Ok(()) | Err(Errno::NOENT))
            }
            Ok(_) | Err(Errno::NOENT) => true,
            Err(_) => false,
        };
        self.removed.store(gone, Ordering::Relaxed);
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.owned {
            self.remove();
        }
    }
}

/// Makes the object: reserved, open to us and to the peer. The name goes with the value that is answered.
pub(super) fn create(request: &Request) -> Result<(OwnedFd, Named)> {
    reserve::check_limits(request.size)?;
    let fault = |what| move |errno| sys::fault(Operation::Create, what, errno);
    let bits = sys::random_bits().map_err(fault("getrandom"))?;
    let name = Name::from_random(bits);
    let exclusive = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let file = sys::open(&path_of(name), exclusive, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::ROFS | Errno::ACCESS | Errno::PERM => {
            let kind = ErrorKind::Unsupported { what: "a /dev/shm that this process may write to" };
            Error::new(Operation::Create, kind).on("posix").with_os_error(errno.raw_os_error())
        }
        Errno::NOSPC => no_inodes(),
        errno => sys::fault(Operation::Create, "shm_open", errno),
    })?;
    let status = match sys::status(&file) {
        Ok(status) => status,
        Err(errno) => {
            // Not known yet by its inode, but the name was made by us a moment ago.
            let _ = sys::unlink(&path_of(name));
            return Err(sys::fault(Operation::Create, "fstat", errno));
        }
    };
    let published = Named::new(name, status, true);
    let (magic, _) = sys::file_system(&file).map_err(fault("fstatfs"))?;
    if magic != TMPFS_MAGIC {
        let kind = ErrorKind::Unsupported { what: "a tmpfs on /dev/shm" };
        return Err(Error::new(Operation::Create, kind).on("posix"));
    }
    reserve::reserve(&file, request.size, SHM_FOLDER, || sys::file_system(&file).ok().map(|(_, free)| free))?;
    access::grant_named(&file, request.peer)?;
    Ok((file, published))
}

/// Takes the handle that came, or opens the name; checks it in either case.
pub(super) fn open(
    name: Name,
    inode: u64,
    descriptor: &Descriptor,
    handle: &mut Option<OwnedFd>,
) -> Result<(OwnedFd, Named)> {
    if !name.is_random() {
        return Err(refusal(ErrorKind::Descriptor(DescriptorFault::BadField { field: "name" }), descriptor));
    }
    if handle.is_none() {
        *handle = Some(open_name(name, descriptor)?);
    }
    let status = handle.as_ref().map(|file| check(file, inode, descriptor)).transpose()?;
    let (Some(file), Some(status)) = (handle.take(), status) else {
        return Err(refusal(ErrorKind::HandleMissing, descriptor));
    };
    Ok((file, Named::new(name, status, false)))
}

/// Opens what the name leads to, if it is a file of `/dev/shm` itself. A user can mount a file system of its own over
/// its own file, and then let an open wait.
fn open_name(name: Name, descriptor: &Descriptor) -> Result<OwnedFd> {
    let refuse = |errno| {
        let kind = match errno {
            Errno::NOENT => ErrorKind::Gone { what: GONE },
            Errno::ACCESS | Errno::PERM => ErrorKind::NoAccess { uid: sys::own_uid() },
            errno => return sys::fault(Operation::Attach, "shm_open", errno),
        };
        refusal(kind, descriptor).with_os_error(errno.raw_os_error())
    };
    let (path, status, is_there) = look_up(name).map_err(refuse)?;
    if status.file_type() != FileType::RegularFile || !is_there {
        let found = if is_there { what_it_is(&status) } else { "a file of another file system" };
        return Err(refusal(ErrorKind::HandleType { found, expected: "a shm_open object" }, descriptor));
    }
    sys::reopen(&path).map_err(|errno| match (errno, slots::check_available(Operation::Attach)) {
        (Errno::NOENT | Errno::NOTDIR, Err(no_proc)) => no_proc,
        (errno, _) => refuse(errno),
    })
}

/// Takes hold of what a name leads to without opening it; whether it lies in `/dev/shm` itself, and not on a file
/// system that is mounted over the name.
pub(crate) fn look_up(name: Name) -> Answer<(OwnedFd, Status, bool)> {
    let path = sys::open_path(&path_of(name), OFlags::NOFOLLOW)?;
    let status = sys::status(&path)?;
    // With the dot: /dev/shm may be a link.
    let folder = sys::status_of_path(&format!("{SHM_FOLDER}/."))?;
    Ok((path, status, status.device == folder.device))
}

#[cold]
fn no_inodes() -> Error {
    let kind = ErrorKind::LimitReached { what: "inodes of /dev/shm" };
    Error::new(Operation::Create, kind).on("posix").with_os_error(Errno::NOSPC.raw_os_error())
}

fn path_of(name: Name) -> String {
    format!("{SHM_FOLDER}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As inode numbers of a tmpfs that somebody else mounted can be brought to any value.
    #[test]
    fn a_name_is_removed_only_where_it_leads_to_our_own_object() {
        let name = Name::from_random(sys::random_bits().unwrap());
        let file = sys::open(&path_of(name), OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR).unwrap();
        let status = sys::status(&file).unwrap();
        let exists = || sys::status_of_path(&path_of(name)).is_ok();
        for other in [Status { device: status.device + 1, ..status }, Status { inode: status.inode + 1, ..status }] {
            Named::new(name, other, false).remove();
            assert!(exists(), "{other:?}");
        }
        Named::new(name, status, false).remove();
        assert!(!exists());
    }
}
