//! Attach slots as open-file-description locks: slot N is byte N of the object's file.
//!
//! The kernel releases the lock when the last descriptor of the description is closed, which the death of a process
//! does. The description is one of our own, opened anew: the one that was passed is shared with the other side, and
//! the one that is mapped is shared with forked children. Nothing here reads the segment.
//!
//! A hostile peer can lock every byte and so deny slots and feign life; it cannot feign another slot's death.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::layout::Slot;
use monshm_core::liveness::Liveness;
use rustix::io::Errno;

use crate::fork::WatchedFd;
use crate::sys;

/// The slots of one segment, as one handle sees them.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The description whose locks are ours; absent in the creator of a memfd that it has not shared yet.
    file: OnceLock<WatchedFd>,
    /// Our slot's tag; 0 while we have none.
    own: AtomicU32,
    claiming: Mutex<()>,
}

impl Slots {
    /// The creator's view: it has its slot from the beginning, and locks it when others can ask or find the object.
    pub(crate) fn creator() -> Self {
        let own = AtomicU32::new(Slot::CREATOR.tag());
        Self { file: OnceLock::new(), own, claiming: Mutex::new(()) }
    }

    /// The view of a peer that has no slot yet.
    pub(crate) fn peer(file: WatchedFd) -> Self {
        Self { file: OnceLock::from(file), own: AtomicU32::new(0), claiming: Mutex::new(()) }
    }

    /// Opens a description of our own for `object`.
    pub(crate) fn open(operation: Operation, object: impl AsFd) -> Result<WatchedFd> {
        WatchedFd::open(|| sys::reopen(object.as_fd())).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR if sys::find_proc().is_err() => no_proc(operation, errno),
            Errno::ACCESS | Errno::PERM => Error::new(operation, ErrorKind::NoAccess { uid: sys::own_uid() })
                .on("posix")
                .with_os_error(errno.raw_os_error()),
            _ => sys::fault(operation, "opening the object anew through /proc", errno),
        })
    }

    /// Our slot, if we have one.
    pub(crate) fn own(&self) -> Option<Slot> {
        // Relaxed: written by the thread that made this handle, before it shared it.
        Slot::from_tag(self.own.load(Ordering::Relaxed))
    }

    /// Locks the creator's slot, once; further calls change nothing.
    pub(crate) fn claim_creator(&self, object: impl AsFd) -> Result<()> {
        let _one_at_a_time = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if self.file.get().is_some() {
            return Ok(());
        }
        let file = Self::open(Operation::Encode, object)?;
        let byte = Slot::CREATOR.index();
        let locked = file.get().map_or(Err(Errno::BADF), |fd| sys::lock_byte(fd, byte));
        match locked {
            Ok(true) => {
                // Nobody else sets it: `claiming` is held.
                let _ = self.file.set(file);
                Ok(())
            }
            Ok(false) => Err(Error::new(Operation::Encode, ErrorKind::SlotsTaken)
                .on("posix: somebody else locked the creator's slot")
                .with_os_error(Errno::AGAIN.raw_os_error())),
            Err(errno) => Err(sys::fault(Operation::Encode, "locking the creator's slot", errno)),
        }
    }

    /// Takes a free slot, once; further calls answer the same one.
    pub(crate) fn claim_peer(&self) -> Result<Slot> {
        let _one_at_a_time = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = self.own() {
            return Ok(own);
        }
        let Some(file) = self.file.get().and_then(WatchedFd::get) else {
            return Err(Error::new(Operation::Attach, ErrorKind::Forked).on("posix"));
        };
        for slot in Slot::peers() {
            let locked = sys::lock_byte(file, slot.index());
            if locked.map_err(|errno| sys::fault(Operation::Attach, "locking a slot", errno))? {
                // Relaxed: see `own`.
                self.own.store(slot.tag(), Ordering::Relaxed);
                return Ok(slot);
            }
        }
        Err(Error::new(Operation::Attach, ErrorKind::SlotsTaken).on("posix"))
    }
}

/// Checks that a description of our own can be had at all, which is not needed before the object is shared: a choice of
/// backends must know it while there is a choice.
pub(crate) fn check_available(operation: Operation) -> Result<()> {
    sys::find_proc().map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => no_proc(operation, errno),
        errno => sys::fault(operation, "looking for /proc", errno),
    })
}

#[cold]
fn no_proc(operation: Operation, errno: Errno) -> Error {
    let what = "/proc (it must be mounted, so that the kernel can tell who lives)";
    Error::new(operation, ErrorKind::Unsupported { what }).on("posix").with_os_error(errno.raw_os_error())
}

impl Liveness for Slots {
    fn is_alive(&self, slot: Slot) -> bool {
        if self.own() == Some(slot) {
            return true;
        }
        match self.file.get() {
            // Nobody can reach an object that was not shared.
            None => false,
            // In a forked child, which may not ask, and where the kernel does not answer: alive.
            Some(file) => file.get().is_none_or(|file| sys::is_byte_locked(file, slot.index()).unwrap_or(true)),
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // A descriptor that a raw clone or a spawn under way still has would keep the lock; so it is released by name.
        if let (Some(slot), Some(file)) = (self.own(), self.file.get().and_then(WatchedFd::get)) {
            // Closing releases as well, where this cannot.
            let _ = sys::unlock_byte(file, slot.index());
        }
    }
}
