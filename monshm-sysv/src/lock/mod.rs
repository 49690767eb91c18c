//! The locks of this backend. How each works stands in its own file.

#[cfg(feature = "futex")]
mod futex;
mod semaphore;

use std::sync::Arc;

use monshm_core::{Error, ErrorKind, LockKind, Operation, RawLock, Result};

use crate::mapping::Mapping;

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
