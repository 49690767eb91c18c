//! The locks of this backend, each in its own file, and the choice between them.
//!
//! Which lock a peer may share is the facade's to say. Threads of one process do not meet here: the facade queues them.

#[cfg(feature = "futex")]
mod futex;
#[cfg(feature = "pthread-mutex")]
mod pthread;
#[cfg(feature = "semaphore")]
mod semaphore;

use std::sync::Arc;

use monshm_core::error::{Choices, Error, ErrorKind, Operation, Result};
use monshm_core::kind::{BackendKind, LockKind};
use monshm_core::layout::Slot;
use monshm_core::lock::RawLock;

use crate::mapping::Mapping;

/// The lock kinds of this build, the default first.
pub(crate) const KINDS: &[LockKind] = &[
    #[cfg(feature = "futex")]
    LockKind::Futex,
    #[cfg(feature = "pthread-mutex")]
    LockKind::PthreadMutex,
    #[cfg(feature = "semaphore")]
    LockKind::Semaphore,
];

/// Sets up the lock of a new segment, whose lock area is zero.
pub(crate) fn create(kind: LockKind, mapping: &Arc<Mapping>, me: Slot) -> Result<Box<dyn RawLock>> {
    match kind {
        #[cfg(feature = "futex")]
        LockKind::Futex => Ok(Box::new(futex::lock(mapping, me))),
        #[cfg(feature = "pthread-mutex")]
        LockKind::PthreadMutex => {
            libc_can_wait(Operation::Create, kind)?;
            let lock = pthread::lock(mapping, me);
            lock.initialize()?;
            Ok(Box::new(lock))
        }
        #[cfg(feature = "semaphore")]
        LockKind::Semaphore => {
            libc_can_wait(Operation::Create, kind)?;
            semaphore::initialize(mapping)?;
            Ok(Box::new(semaphore::lock(mapping, me)))
        }
        kind => {
            let _ = (mapping, me); // A build without locks has no other use for them.
            Err(refuse(Operation::Create, kind))
        }
    }
}

/// Opens the lock of a segment that another process made, after `me` has come to us.
pub(crate) fn open(kind: LockKind, mapping: &Arc<Mapping>, me: Slot) -> Result<Box<dyn RawLock>> {
    match kind {
        #[cfg(feature = "futex")]
        LockKind::Futex => Ok(Box::new(futex::lock(mapping, me).adopt())),
        #[cfg(feature = "pthread-mutex")]
        LockKind::PthreadMutex => {
            libc_can_wait(Operation::Attach, kind)?;
            Ok(Box::new(pthread::lock(mapping, me)))
        }
        #[cfg(feature = "semaphore")]
        LockKind::Semaphore => {
            libc_can_wait(Operation::Attach, kind)?;
            Ok(Box::new(semaphore::lock(mapping, me).adopt()))
        }
        kind => {
            let _ = (mapping, me); // As above.
            Err(refuse(Operation::Attach, kind))
        }
    }
}

/// Refuses libc's locks where futex(2) is forbidden: the first wait would end the process.
#[cfg(any(feature = "pthread-mutex", feature = "semaphore"))]
fn libc_can_wait(operation: Operation, lock: LockKind) -> Result<()> {
    if crate::sys::has_futex() {
        return Ok(());
    }
    let what = "futex(2), by which the locks of libc wait; the lock futex does without";
    Err(Error::new(operation, ErrorKind::Unsupported { what }).on(format!("posix lock {lock}")))
}

#[cold]
fn refuse(operation: Operation, lock: LockKind) -> Error {
    let of_posix = matches!(lock, LockKind::Futex | LockKind::PthreadMutex | LockKind::Semaphore);
    let kind = if of_posix {
        ErrorKind::LockNotBuilt { lock }
    } else {
        ErrorKind::LockNotOfBackend { lock, backend: BackendKind::Posix, choices: Choices(KINDS) }
    };
    Error::new(operation, kind)
}
