//! The lock that is libc's robust process-shared mutex, in the lock area. For trusted peers, see `LockKind`.
//!
//! The kernel reports a holder that died, whether its process or only its thread did; slots are not asked. A mutex
//! whose holder died is made consistent at once, since libc would make it unusable for all if it were unlocked before.
//! What is still to be repaired is marked in the header's dirty word instead, which outlives the holder:
//!
//! | step                          | mutex        | dirty      | reported to the next    |
//! |-------------------------------|--------------|------------|-------------------------|
//! | taken from a dead holder      | inconsistent | 0 or a tag | Died                    |
//! | mark                          | inconsistent | our tag    | Died                    |
//! | `pthread_mutex_consistent`    | held         | our tag    | Died                    |
//! | [`RawLock::repaired`]         | held         | 0          | Released                |

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::kind::LockKind;
use monshm_core::layout::LOCK_AREA_SIZE;
use monshm_core::layout::Slot;
use monshm_core::lock::word::{LAST_SLICE, TIMED_OUT};
use monshm_core::lock::{Deadline, PreviousHolder, RawLock};
use rustix::io::Errno;

use crate::mapping::Mapping;
use crate::sys;
use crate::sys::mutex::{Left, Mutex};

const _: () = {
    assert!(size_of::<libc::pthread_mutex_t>() <= LOCK_AREA_SIZE);
    assert!(align_of::<libc::pthread_mutex_t>() <= 8);
};

/// The lock, as one handle sees it.
#[derive(Debug)]
pub(super) struct Pthread {
    mutex: Mutex,
    me: Slot,
    /// Whether this handle holds the mutex.
    held: AtomicBool,
    mapping: Arc<Mapping>,
}

/// The lock of a segment in which our slot is taken.
pub(super) fn lock(mapping: &Arc<Mapping>, me: Slot) -> Pthread {
    let area: NonNull<u8> = mapping.region().header().lock_area();
    // SAFETY: PLACED: the area is mapped for as long as the share of the mapping that the lock owns, large and aligned
    // enough (asserted above); `initialize` makes the mutex, before the segment is shared.
    let mutex = unsafe { Mutex::at(area.cast()) };
    Pthread { mutex, me, held: AtomicBool::new(false), mapping: Arc::clone(mapping) }
}

impl Pthread {
    /// Makes the mutex of a new segment.
    pub(super) fn initialize(&self) -> Result<()> {
        self.mutex.initialize().map_err(|errno| sys::fault(Operation::Create, "pthread_mutex_init", errno))
    }

    /// Refuses a mutex whose memory was truncated. libc would take the zeros in its place for one that is not robust,
    /// and leave it in the list of its holder's thread: see the drop.
    #[inline]
    fn check_memory(&self, operation: Operation) -> Result<()> {
        if self.mapping.truncation().happened() {
            let kind = ErrorKind::Corrupt { what: "the mutex was truncated with its memory" };
            return Err(Error::new(operation, kind).on("posix pthread mutex"));
        }
        Ok(())
    }

    fn dirty(&self) -> &AtomicU32 {
        self.mapping.region().header().dirty()
    }

    /// The mutex is ours: finds out what the last holder left.
    #[inline]
    fn entered(&self, left: Left) -> Result<PreviousHolder> {
        // Relaxed, all of it: the holder alone reads and writes these, and the mutex orders its holders. The drop has
        // the value for itself.
        self.held.store(true, Ordering::Relaxed);
        match left {
            Left::Properly if self.dirty().load(Ordering::Relaxed) == 0 => Ok(PreviousHolder::Released),
            Left::Properly => Ok(PreviousHolder::Died),
            Left::Dead => {
                self.dirty().store(self.me.tag(), Ordering::Relaxed);
                self.mutex.consistent().map_err(|errno| fault(Operation::Lock, errno))?;
                Ok(PreviousHolder::Died)
            }
        }
    }
}

impl RawLock for Pthread {
    fn kind(&self) -> LockKind {
        LockKind::PthreadMutex
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        self.check_memory(Operation::Lock)?;
        match self.mutex.try_lock() {
            Ok(left) => self.entered(left).map(Some),
            // The second one: by this thread, through another handle.
            Err(Errno::BUSY | Errno::DEADLK) => Ok(None),
            Err(errno) => Err(fault(Operation::Lock, errno)),
        }
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        loop {
            self.check_memory(Operation::Lock)?;
            let now_ns = sys::now_ns();
            // The kernel wakes us when the holder dies; the slices are for wake-ups that somebody else stole.
            let slice = deadline.remaining(now_ns).map(|remaining| remaining.min(LAST_SLICE));
            let until_ns = now_ns.saturating_add(slice.unwrap_or(Duration::ZERO).as_nanos() as u64);
            match self.mutex.lock_until(until_ns) {
                Ok(left) => return self.entered(left),
                Err(Errno::TIMEDOUT) if slice.is_some() => {}
                Err(errno) => return Err(fault(Operation::Lock, errno)),
            }
        }
    }

    fn repaired(&self) -> Result<()> {
        self.dirty().store(0, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    fn release(&self) -> Result<()> {
        self.check_memory(Operation::Unlock)?;
        let outcome = self.mutex.unlock();
        // It may have been truncated just now: then `held` stays, for the drop.
        self.check_memory(Operation::Unlock)?;
        self.held.store(false, Ordering::Relaxed);
        outcome.map_err(|errno| fault(Operation::Unlock, errno))
    }
}

impl Drop for Pthread {
    fn drop(&mut self) {
        if self.held.load(Ordering::Relaxed) {
            // The holder's thread has this mutex in its list of robust mutexes, and libc writes through the list at the
            // thread's next lock: the mapping must stay. When the thread ends the kernel marks the mutex, and the
            // death is reported to the other side.
            std::mem::forget(Arc::clone(&self.mapping));
        }
    }
}

#[cold]
fn fault(operation: Operation, errno: Errno) -> Error {
    let kind = match errno {
        Errno::TIMEDOUT => TIMED_OUT,
        Errno::DEADLK => ErrorKind::Deadlock,
        Errno::PERM => ErrorKind::NotHolder,
        Errno::NOTRECOVERABLE => {
            ErrorKind::Corrupt { what: "a holder of the mutex died and nobody repaired what it left" }
        }
        Errno::INVAL => ErrorKind::Corrupt { what: "the mutex is not one that libc made" },
        _ => return sys::fault(operation, "the pthread mutex", errno),
    };
    Error::new(operation, kind).on("posix pthread mutex").with_os_error(errno.raw_os_error())
}
