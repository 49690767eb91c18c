//! The lock that is libc's robust process-shared mutex, in the lock area. For trusted peers, see `LockKind`.
//!
//! The kernel tells of a holder that died, whether its process or only its thread did; slots are not asked. Nothing
//! here reads the mutex's bytes. A holder that lets go without [`RawLock::repaired`] after it was told of a death
//! makes the mutex unusable for all: that is libc's rule, and shows as `Corrupt`.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::kind::LockKind;
use monshm_core::layout::Header;
use monshm_core::liveness::Slot;
use monshm_core::lock::word::LAST_SLICE;
use monshm_core::lock::{Deadline, PreviousHolder, RawLock};
use rustix::io::Errno;

use crate::segment::Mapping;
use crate::sys;
use crate::sys::mutex::{Left, Mutex};

const _: () = {
    assert!(size_of::<libc::pthread_mutex_t>() <= size_of::<[u64; 8]>());
    let align = align_of::<libc::pthread_mutex_t>();
    assert!(std::mem::offset_of!(Header, lock_area) % align == 0 && align <= 8);
};

/// The lock, as one handle sees it.
#[derive(Debug)]
struct Pthread {
    mutex: Mutex,
    /// Whether this handle holds the mutex.
    held: AtomicBool,
    /// Whether libc said once that nobody repaired it. glibc's trylock then leaves it held by the thread that was told,
    /// and says "held" from then on.
    lost: AtomicBool,
    mapping: Arc<Mapping>,
}

pub(super) fn create(mapping: &Arc<Mapping>, _: Slot) -> Result<Box<dyn RawLock>> {
    let lock = Pthread::new(mapping);
    lock.mutex.initialize().map_err(|errno| sys::fault(Operation::Create, "pthread_mutex_init", errno))?;
    Ok(Box::new(lock))
}

pub(super) fn open(mapping: &Arc<Mapping>, _: Slot) -> Box<dyn RawLock> {
    Box::new(Pthread::new(mapping))
}

impl Pthread {
    fn new(mapping: &Arc<Mapping>) -> Self {
        let area = NonNull::from(&mapping.region().header().lock_area);
        // SAFETY: PLACED: the area is mapped for as long as the share of the mapping that the lock owns, large and
        // aligned enough (asserted above); `create` initialises it, before the segment is shared.
        let mutex = unsafe { Mutex::at(area.cast()) };
        Self { mutex, held: AtomicBool::new(false), lost: AtomicBool::new(false), mapping: Arc::clone(mapping) }
    }

    /// Refuses a mutex whose memory was taken away. libc would take the zeros in its place for one that is not robust, and
    /// leave it in the list of its holder's thread: see the drop.
    #[inline]
    fn check_kept(&self, operation: Operation) -> Result<()> {
        if self.mapping.truncation().happened() {
            let kind = ErrorKind::Corrupt { what: "the mutex was taken away with its memory" };
            return Err(Error::new(operation, kind).on("posix pthread mutex"));
        }
        Ok(())
    }

    fn took(&self, left: Left) -> PreviousHolder {
        // Relaxed: written by who holds the lock, read by who drops the handle, whom the handle's owner orders.
        self.held.store(true, Ordering::Relaxed);
        match left {
            Left::Properly => PreviousHolder::Released,
            Left::Dead => PreviousHolder::Died,
        }
    }

    /// What it means that the mutex was not free.
    #[cold]
    fn not_taken(&self, errno: Errno) -> Result<Option<PreviousHolder>> {
        match errno {
            // The second one: by this thread, through another handle.
            Errno::BUSY | Errno::DEADLK if !self.lost.load(Ordering::Relaxed) => Ok(None),
            errno => Err(self.fault(errno)),
        }
    }

    #[cold]
    fn fault(&self, errno: Errno) -> Error {
        // Relaxed: a note of this handle to itself.
        self.lost.fetch_or(errno == Errno::NOTRECOVERABLE, Ordering::Relaxed);
        let errno = if self.lost.load(Ordering::Relaxed) { Errno::NOTRECOVERABLE } else { errno };
        fault(Operation::Lock, errno)
    }
}

impl RawLock for Pthread {
    fn kind(&self) -> LockKind {
        LockKind::PthreadMutex
    }

    #[inline]
    fn acquire_now(&self) -> Result<Option<PreviousHolder>> {
        self.check_kept(Operation::Lock)?;
        match self.mutex.try_lock() {
            Ok(left) => Ok(Some(self.took(left))),
            Err(errno) => self.not_taken(errno),
        }
    }

    fn acquire(&self, deadline: Deadline) -> Result<PreviousHolder> {
        loop {
            self.check_kept(Operation::Lock)?;
            let now_ns = sys::now_ns();
            // The kernel wakes us when the holder dies; the slices are for wake-ups that somebody else stole.
            let slice = deadline.remaining(now_ns).map(|remaining| remaining.min(LAST_SLICE));
            let until_ns = now_ns.saturating_add(slice.unwrap_or(Duration::ZERO).as_nanos() as u64);
            match self.mutex.lock_until(until_ns) {
                Ok(left) => return Ok(self.took(left)),
                Err(Errno::TIMEDOUT) if slice.is_some() => {}
                Err(errno) => return Err(self.fault(errno)),
            }
        }
    }

    fn repaired(&self) -> Result<()> {
        self.mutex.consistent().map_err(|errno| fault(Operation::Lock, errno))
    }

    #[inline]
    fn release(&self) -> Result<()> {
        self.check_kept(Operation::Unlock)?;
        let outcome = self.mutex.unlock();
        // It may have gone just now: then `held` stays, for the drop.
        self.check_kept(Operation::Unlock)?;
        self.held.store(false, Ordering::Relaxed);
        outcome.map_err(|errno| fault(Operation::Unlock, errno))
    }
}

impl Drop for Pthread {
    fn drop(&mut self) {
        if self.held.load(Ordering::Relaxed) {
            // The holder's thread has this mutex in its list of robust mutexes, and libc writes through the list at the
            // thread's next lock: the mapping must stay. When the thread ends the kernel marks the mutex, and the
            // other side is told.
            std::mem::forget(Arc::clone(&self.mapping));
        }
    }
}

#[cold]
fn fault(operation: Operation, errno: Errno) -> Error {
    let kind = match errno {
        Errno::TIMEDOUT => ErrorKind::TimedOut { what: "the holder of the lock did not let go" },
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
