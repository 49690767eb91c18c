//! The process-shared semaphore of libc, at an address in shared memory.
//!
//! Only for words that no enemy writes: libc aborts when it finds values that it did not write.

use std::ptr::NonNull;

use libc::{c_int, sem_t};

use super::{Answer, last_errno};

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // POSIX, and glibc 2.30; the libc crate does not declare them.
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn sem_clockwait(semaphore: *mut sem_t, clock: libc::clockid_t, until: *const libc::timespec) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE` of glibc.
#[cfg(target_env = "gnu")]
const CANCEL_DISABLE: c_int = 1;

/// A semaphore in shared memory.
///
/// *Invariant PLACED*: the address is that of a mapped `sem_t`, aligned for it, initialised by
/// [`Semaphore::initialize`] in some process, and stays mapped while this value is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Semaphore(NonNull<sem_t>);

impl Semaphore {
    /// Takes an address as it is.
    ///
    /// # Safety
    /// PLACED holds from the first use but for `initialize`, which makes the semaphore.
    pub(crate) const unsafe fn at(address: NonNull<sem_t>) -> Self {
        Self(address)
    }

    /// Makes the semaphore, with value 0. Once, before any other process can reach it.
    pub(crate) fn initialize(self) -> Answer<()> {
        // SAFETY: the address is mapped, aligned and unused (PLACED).
        if unsafe { libc::sem_init(self.0.as_ptr(), 1, 0) } == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// Takes one from the value, waiting until `until_ns` of CLOCK_MONOTONIC for it. May return for no reason.
    #[cfg(target_env = "gnu")]
    pub(crate) fn wait_until(self, until_ns: u64) {
        let until = super::timespec(until_ns);
        let mut before = 0;
        // SAFETY: PLACED; `until` lives through the call. Every way to return means "check again". It is a cancellation
        // point, and a cancelled thread must not be unwound through frames of Rust, which would end the process; the
        // other two calls change a mark of the calling thread.
        unsafe {
            pthread_setcancelstate(CANCEL_DISABLE, &raw mut before);
            sem_clockwait(self.0.as_ptr(), libc::CLOCK_MONOTONIC, &raw const until);
            pthread_setcancelstate(before, std::ptr::null_mut());
        }
    }

    /// Takes one from the value, waiting until `until_ns` of CLOCK_MONOTONIC for it. This libc can wait by the wall
    /// clock only, which may be set back while we wait; so it is asked again and again.
    #[cfg(not(target_env = "gnu"))]
    pub(crate) fn wait_until(self, until_ns: u64) {
        // SAFETY: PLACED.
        while unsafe { libc::sem_trywait(self.0.as_ptr()) } != 0 && super::now_ns() < until_ns {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }

    /// The value; 0 when somebody may be waiting.
    pub(crate) fn value(self) -> u32 {
        let mut value = 0;
        // SAFETY: PLACED; `value` lives through the call.
        unsafe { libc::sem_getvalue(self.0.as_ptr(), &raw mut value) };
        u32::try_from(value).unwrap_or(0)
    }

    /// Adds one to the value, and wakes somebody who waits.
    pub(crate) fn post(self) {
        // SAFETY: PLACED. It fails only at a value that the caller does not let it reach.
        unsafe { libc::sem_post(self.0.as_ptr()) };
    }
}
