//! The lock that is semaphore 0 of the set. The kernel takes it back from the dead; the dirty word tells that it did.
//!
//! The semaphore alone decides who holds the lock. The word `dirty` of the header decides only which
//! [`PreviousHolder`] is reported to the next one; it is written by the holder alone:
//!
//! | step                   | semaphore | dirty      | reported next if the process dies after this step     |
//! |------------------------|-----------|------------|-------------------------------------------------------|
//! | free                   | 1         | 0          | –                                                     |
//! | `semop` −1             | 0         | 0          | Released: nothing was touched                         |
//! | swap in the tag        | 0         | slot's tag | Died                                                  |
//! | … the caller's work …  | 0         | slot's tag | Died                                                  |
//! | store 0                | 0         | 0          | Released: the work is done                            |
//! | `semop` +1             | 1         | 0          | –                                                     |
//!
//! A slot that is inherited from a dead holder needs no care: nobody takes the word for a sign of holding, so finding
//! one's own tag in it means what finding another one means. A tag that no slot has is `Corrupt`, and is left there,
//! so that everybody is answered the same.
//!
//! The kernel hands a free semaphore to the waiter that came first, so waiters are served in turn as long as they
//! sleep; hence slices that are long compared with any sane critical section.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{IPC_NOWAIT, SEM_UNDO};
use monshm_core::lock::word::TIMED_OUT;
use monshm_core::{Deadline, Error, ErrorKind, LockKind, Operation, PreviousHolder, RawLock, Result, Slot};
use rustix::io::Errno;

use crate::mapping::Mapping;
use crate::slots::LOCK;
use crate::sys::{self, SemOp};

/// The longest uninterrupted sleep. The kernel loses no wake-up here; the slice bounds the damage should it ever do.
const SLICE: Duration = Duration::from_millis(100);

const TAKE_NOW: SemOp = SemOp::new(LOCK, -1, SEM_UNDO | IPC_NOWAIT);
const TAKE: SemOp = SemOp::new(LOCK, -1, SEM_UNDO);
// Never waits: only taking can. NOWAIT all the same, so that no change of the value by a peer can make it wait.
const GIVE: SemOp = SemOp::new(LOCK, 1, SEM_UNDO | IPC_NOWAIT);

/// The semaphore lock as one handle sees it.
#[derive(Debug)]
pub(super) struct SysvSem {
    mapping: Arc<Mapping>,
    tag: u32,
}

impl SysvSem {
    /// The lock of a segment in which our slot is taken.
    pub(super) fn new(mapping: &Arc<Mapping>) -> Self {
        Self { tag: mapping.slot().tag(), mapping: Arc::clone(mapping) }
    }

    /// The same, after a check that nobody released it more often than it was taken.
    pub(super) fn open(mapping: &Arc<Mapping>) -> Result<Self> {
        let set = mapping.slots();
        let value = set.value(LOCK).map_err(|errno| set.fault(Operation::Attach, errno))?;
        if value > 1 {
            return Err(set.fault(Operation::Attach, Errno::RANGE));
        }
        Ok(Self::new(mapping))
    }

    /// The semaphore is ours: marks the segment and finds out what the last holder left.
    #[inline]
    fn entered(&self) -> Result<PreviousHolder> {
        self.mapping.enter();
        let dirty = self.mapping.header().dirty();
        // Acquire: pairs with the Release in `release`; also keeps the caller's writes behind the mark.
        let left = dirty.swap(self.tag, Ordering::Acquire);
        if left == 0 { Ok(PreviousHolder::Released) } else { self.entered_after_death(left) }
    }

    #[cold]
    fn entered_after_death(&self, left: u32) -> Result<PreviousHolder> {
        if Slot::from_tag(left).is_some() {
            self.mapping.set_unrepaired(true);
            return Ok(PreviousHolder::Died);
        }
        self.mapping.header().dirty().store(left, Ordering::Relaxed);
        self.give(Operation::Lock)?;
        let kind = ErrorKind::Corrupt { what: "the dirty word names no slot" };
        Err(Error::new(Operation::Lock, kind).on(self.mapping.slots().to_string()))
    }

    #[inline]
    fn give(&self, operation: Operation) -> Result<()> {
        self.mapping.leave();
        let set = self.mapping.slots();
        set.operate(GIVE).map_err(|errno| match errno {
            // Only a value at the kernel's maximum makes it wait or fail.
            errno @ Errno::AGAIN => set.fault(operation, Errno::RANGE).with_os_error(errno.raw_os_error()),
            errno => set.fault(operation, errno),
        })
    }
}

impl RawLock for SysvSem {
    fn kind(&self) -> LockKind {
        LockKind::SysvSem
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        let set = self.mapping.slots();
        match set.operate(TAKE_NOW) {
            Ok(()) => self.entered().map(Some),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(set.fault(Operation::Lock, errno)),
        }
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        let set = self.mapping.slots();
        while let Some(remaining) = deadline.remaining(sys::now_ns()) {
            match set.operate_within(TAKE, remaining.min(SLICE)) {
                Ok(()) => return self.entered(),
                // semtimedop answers EINTR for every signal, SA_RESTART or not; what is left is computed anew.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(set.fault(Operation::Lock, errno)),
            }
        }
        self.acquire_now()?.ok_or_else(|| {
            let kind = TIMED_OUT;
            Error::new(Operation::Lock, kind).on(set.to_string())
        })
    }

    fn repaired(&self) -> Result<()> {
        self.mapping.set_unrepaired(false);
        Ok(())
    }

    #[inline]
    fn release(&self) -> Result<()> {
        // What was not repaired stays marked, and the death is reported to the next holder again.
        let ours = self.mapping.is_unrepaired() || {
            // Release: pairs with the Acquire in `entered`; keeps the caller's writes before the mark's end.
            let dirty = self.mapping.header().dirty();
            dirty.compare_exchange(self.tag, 0, Ordering::Release, Ordering::Relaxed).is_ok()
        };
        // The semaphore is given back in any case: we took it, and nobody else can.
        self.give(Operation::Unlock)?;
        if ours {
            return Ok(());
        }
        let kind = ErrorKind::Corrupt { what: "the dirty word was changed while the lock was held" };
        Err(Error::new(Operation::Unlock, kind).on(self.mapping.slots().to_string()))
    }
}
