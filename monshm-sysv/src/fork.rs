//! Registers, once, the handler that tells a forked child that it is one, and the one that runs when the process ends.
//! What handles and sets do about it is theirs.
//!
//! A child made by a bare `clone(2)` runs no handler and is not noticed.

use std::sync::OnceLock;

use monshm_core::{Error, ErrorKind, Operation, Result};
use rustix::io::Errno;

use crate::slots::Slots;
use crate::sys;

extern "C" fn at_exit() {
    Slots::remove_at_exit();
}

extern "C" fn in_child() {
    monshm_core::fork::entered_child();
}

/// Sees to it that forks are noticed from now on.
///
/// # Errors
/// `LimitReached` when libc has no memory for the handler.
pub(crate) fn register(operation: Operation) -> Result<()> {
    static REGISTERED: OnceLock<Result<(), Errno>> = OnceLock::new();
    let register = || {
        sys::at_exit(at_exit);
        sys::at_fork_in_child(in_child)
    };
    REGISTERED.get_or_init(register).map_err(|errno| {
        Error::new(operation, ErrorKind::LimitReached { what: "fork handlers" }).with_os_error(errno.raw_os_error())
    })
}
