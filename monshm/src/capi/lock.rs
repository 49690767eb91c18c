//! The lock: `mon_shm_lock` and its kin.
//!
//! A guard of the facade would unlock when it is dropped; in C the program says when.

use std::ffi::{c_int, c_uint};
use std::time::Duration;

use super::arena::find;
use super::fault::{Fault, Outcome, coded, or_errno};
use super::types::MonShmDesc;
use crate::lock::Guard;

/// `mon_shm_lock`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_lock(desc: *mut MonShmDesc) -> c_int {
    coded(|| held(find(desc)?.segment().lock()))
}

/// `mon_shm_trylock`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_trylock(desc: *mut MonShmDesc) -> c_int {
    coded(|| match find(desc)?.segment().try_lock() {
        // Without an error of the facade, which would have to be allocated: a caller that tries comes often.
        Ok(None) => Err(Fault::Plain(libc::EAGAIN, "lock: the lock is held; try again, or wait for it")),
        Ok(Some(guard)) => held(Ok(guard)),
        Err(error) => Err(Fault::Refused(error)),
    })
}

/// `mon_shm_lock_timeout`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_lock_timeout(desc: *mut MonShmDesc, timeout_ms: c_uint) -> c_int {
    coded(|| held(find(desc)?.segment().lock_timeout(Duration::from_millis(timeout_ms.into()))))
}

/// `mon_shm_unlock`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_unlock(desc: *mut MonShmDesc) -> c_int {
    coded(|| Ok(find(desc)?.segment().unlock()?))
}

/// `mon_shm_owner_died`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_owner_died(desc: *mut MonShmDesc) -> c_int {
    or_errno(0, || Ok(find(desc)?.segment().owner_died().into()))
}

/// Keeps the lock until `mon_shm_unlock`.
#[inline(always)]
fn held(guard: Result<Guard<'static>, monshm_core::Error>) -> Outcome<()> {
    match guard {
        Ok(guard) => {
            std::mem::forget(guard);
            Ok(())
        }
        Err(error) => Err(Fault::Refused(error)),
    }
}
