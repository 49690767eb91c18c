//! The locks of this backend, and what their system calls' failures mean. How each works stands in its own file.

#[cfg(feature = "futex")]
mod futex;
mod semaphore;

use std::sync::Arc;

use monshm_core::{Error, ErrorKind, LockKind, Operation, RawLock, Result};

use crate::mapping::Mapping;
use crate::slots::{self, Slots};
use crate::sys::Errno;

/// The lock kinds of this build, the default first.
pub(crate) const KINDS: &[LockKind] = &[
    LockKind::SysvSem,
    #[cfg(feature = "futex")]
    LockKind::Futex,
];

/// The lock of a new segment. Nothing needs setting up: the set was made with its lock free, the word is 0.
pub(crate) fn create(kind: LockKind, mapping: &Arc<Mapping>) -> Result<Box<dyn RawLock>> {
    match kind {
        LockKind::SysvSem => Ok(Box::new(semaphore::SysvSem::new(mapping))),
        #[cfg(feature = "futex")]
        LockKind::Futex => Ok(Box::new(futex::lock(mapping))),
        lock => Err(Error::new(Operation::Create, ErrorKind::LockNotBuilt { lock }).on("sysv")),
    }
}

/// The lock of a segment in which a slot was taken.
pub(crate) fn open(kind: LockKind, mapping: &Arc<Mapping>) -> Result<Box<dyn RawLock>> {
    match kind {
        LockKind::SysvSem => Ok(Box::new(semaphore::SysvSem::open(mapping)?)),
        #[cfg(feature = "futex")]
        LockKind::Futex => Ok(Box::new(futex::lock(mapping).adopt())),
        lock => Err(Error::new(Operation::Attach, ErrorKind::LockNotBuilt { lock }).on("sysv")),
    }
}

/// What a failed `semop` or `semctl` of a lock means.
#[cold]
fn failed(operation: Operation, set: &Slots, errno: Errno) -> Error {
    let kind = match errno.0 {
        _ if slots::is_gone(errno) => ErrorKind::Gone { what: "its semaphore set was removed" },
        libc::EACCES | libc::EPERM => ErrorKind::Gone { what: "its semaphore set was closed to us" },
        libc::ERANGE => ErrorKind::Corrupt { what: "a semaphore holds what no honest process sets" },
        libc::ENOSPC | libc::ENOMEM => slots::undo_limit(),
        _ => ErrorKind::System { what: "semop" },
    };
    Error::new(operation, kind).on(set.to_string()).with_os_error(errno.0)
}
