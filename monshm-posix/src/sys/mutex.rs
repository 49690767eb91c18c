//! The robust process-shared mutex of libc, at an address in shared memory.
//!
//! Only for words that no enemy writes: libc keeps list pointers in them and follows them.

use std::ptr::NonNull;

use libc::{c_int, pthread_mutex_t};
use rustix::io::Errno;

use super::Answer;

/// How the last holder left the mutex that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It released it.
    Properly,
    /// It died inside; the mutex is ours and inconsistent.
    Dead,
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // glibc 2.30; the libc crate does not declare it.
    fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> c_int;
}

/// A mutex in shared memory.
///
/// *Invariant PLACED*: the address is that of a mapped `pthread_mutex_t`, aligned for it, initialised by
/// [`Mutex::initialize`] in some process, and stays mapped while this value is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutex(NonNull<pthread_mutex_t>);

// SAFETY: a process-shared mutex is made to be used by any thread of any process; which thread may unlock is checked
// by libc itself.
unsafe impl Send for Mutex {}
// SAFETY: as for Send.
unsafe impl Sync for Mutex {}

impl Mutex {
    /// Takes an address as it is.
    ///
    /// # Safety
    /// PLACED holds from the first use but for `initialize`, which makes the mutex.
    pub(crate) const unsafe fn at(address: NonNull<pthread_mutex_t>) -> Self {
        Self(address)
    }

    /// Makes the mutex. Once, before any other process can reach it.
    pub(crate) fn initialize(self) -> Answer<()> {
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` is initialised by the first call before the others use it, and destroyed at the end; the
        // mutex's address is mapped, aligned and unused (PLACED). None of the values is invalid.
        unsafe {
            done(libc::pthread_mutexattr_init(attributes))?;
            let made = done(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))
                .and_then(|()| done(libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)))
                .and_then(|()| done(libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK)))
                .and_then(|()| done(libc::pthread_mutex_init(self.0.as_ptr(), attributes)));
            libc::pthread_mutexattr_destroy(attributes);
            made
        }
    }

    /// Takes the mutex if it is free; `BUSY` when it is not.
    #[inline]
    pub(crate) fn try_lock(self) -> Answer<Left> {
        // SAFETY: PLACED.
        taken(unsafe { libc::pthread_mutex_trylock(self.0.as_ptr()) })
    }

    /// Waits for the mutex until `until_ns` of CLOCK_MONOTONIC; `TIMEDOUT` then.
    #[cfg(target_env = "gnu")]
    pub(crate) fn lock_until(self, until_ns: u64) -> Answer<Left> {
        let until = super::timespec(until_ns);
        // SAFETY: PLACED; `until` lives through the call.
        taken(unsafe { pthread_mutex_clocklock(self.0.as_ptr(), libc::CLOCK_MONOTONIC, &raw const until) })
    }

    /// Waits for the mutex until `until_ns` of CLOCK_MONOTONIC; `TIMEDOUT` then. This libc can wait by the wall clock
    /// only, which may be set back while we wait; so it is asked again and again.
    #[cfg(not(target_env = "gnu"))]
    pub(crate) fn lock_until(self, until_ns: u64) -> Answer<Left> {
        loop {
            match self.try_lock() {
                Err(Errno::BUSY) if super::now_ns() < until_ns => {
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
                Err(Errno::BUSY) => return Err(Errno::TIMEDOUT),
                answer => return answer,
            }
        }
    }

    /// Makes a mutex that a dead holder left usable again. It is held by this thread.
    pub(crate) fn consistent(self) -> Answer<()> {
        // SAFETY: PLACED.
        done(unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) })
    }

    /// Releases; `PERM` when this thread does not hold it.
    #[inline]
    pub(crate) fn unlock(self) -> Answer<()> {
        // SAFETY: PLACED.
        done(unsafe { libc::pthread_mutex_unlock(self.0.as_ptr()) })
    }
}

#[inline]
fn done(answer: c_int) -> Answer<()> {
    if answer == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(answer)) }
}

#[inline]
fn taken(answer: c_int) -> Answer<Left> {
    match answer {
        0 => Ok(Left::Properly),
        libc::EOWNERDEAD => Ok(Left::Dead),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}
