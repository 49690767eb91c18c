//! Memory with a name in `/dev/shm`, random and short-lived, for peers that bytes alone must suffice for.
//!
//! It cannot be sealed (see the crate's limits), and its name is what a killed pair of processes leaves behind; so the
//! name is removed as soon as the peer is attached.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use monshm_core::backend::Request;
use monshm_core::descriptor::{Descriptor, Name, Object};
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::fork;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::check::{TMPFS_MAGIC, check, refusal};
use crate::{access, reserve, sys};

/// Where `shm_open` keeps its objects on Linux.
pub(crate) const SHM_FOLDER: &str = "/dev/shm";

/// What it means when no name is there.
const GONE: &str = "its name does not exist: it went with the first attach, since the bytes of memory with a name \
                    serve one, or with its creator; more peers get it by send, with its descriptor";

/// A name that leads to our object until it is removed. Dropping it removes it, except in a forked child.
#[derive(Debug)]
pub(crate) struct Named {
    name: Name,
    inode: u64,
    removed: AtomicBool,
    /// Whether dropping this removes the name: the creator's does, a peer's does not.
    owned: bool,
    generation: u32,
}

impl Named {
    fn new(name: Name, inode: u64, owned: bool) -> Self {
        Self { name, inode, removed: AtomicBool::new(false), owned, generation: fork::generation() }
    }

    /// The object as a descriptor names it.
    pub(crate) fn object(&self) -> Object {
        Object::Named { name: self.name, inode: self.inode }
    }

    /// Whether the name leads to our object.
    pub(crate) fn leads_to_us(&self) -> bool {
        sys::stat_path(&path_of(self.name)).is_ok_and(|stat| stat.st_ino == self.inode)
    }

    /// Removes the name if it still leads to our object and this process may. Idempotent.
    pub(crate) fn remove(&self) {
        // Relaxed: only saves a second try.
        if self.generation != fork::generation() || self.removed.load(Ordering::Relaxed) {
            return;
        }
        let path = path_of(self.name);
        // No descriptor is needed for it, so a full table does not keep the name alive.
        let gone = match sys::stat_path(&path) {
            Ok(stat) if stat.st_ino == self.inode => {
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
    let stat = match sys::stat(&file) {
        Ok(stat) => stat,
        Err(errno) => {
            // Not known yet by its inode, but the name was made by us a moment ago.
            let _ = sys::unlink(&path_of(name));
            return Err(sys::fault(Operation::Create, "fstat", errno));
        }
    };
    let published = Named::new(name, stat.st_ino, true);
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
    handle: Option<OwnedFd>,
) -> Result<(OwnedFd, Named)> {
    let file = match handle {
        Some(handle) => handle,
        None => {
            let found = sys::open(&path_of(name), OFlags::NOFOLLOW, Mode::empty());
            found.map_err(|errno| {
                let kind = match errno {
                    Errno::NOENT => ErrorKind::Gone { what: GONE },
                    Errno::LOOP => ErrorKind::HandleType { found: "a symbolic link", expected: "a shm_open object" },
                    // A socket or a device without a driver cannot be opened at all.
                    Errno::ISDIR | Errno::NXIO | Errno::NODEV => {
                        let found = if errno == Errno::ISDIR { "a directory" } else { "no file" };
                        ErrorKind::HandleType { found, expected: "a shm_open object" }
                    }
                    Errno::ACCESS | Errno::PERM => ErrorKind::NoAccess { uid: sys::own_uid() },
                    errno => return sys::fault(Operation::Attach, "shm_open", errno),
                };
                refusal(kind, descriptor).with_os_error(errno.raw_os_error())
            })?
        }
    };
    check(&file, inode, descriptor)?;
    Ok((file, Named::new(name, inode, false)))
}

#[cold]
fn no_inodes() -> Error {
    let kind = ErrorKind::LimitReached { what: "inodes of /dev/shm" };
    Error::new(Operation::Create, kind).on("posix").with_os_error(Errno::NOSPC.raw_os_error())
}

fn path_of(name: Name) -> String {
    format!("{SHM_FOLDER}{name}")
}
