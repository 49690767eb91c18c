//! Registers, once, the handler that tells a forked child that it is one. What handles do about it is theirs.
//!
//! A child made by a bare `clone(2)` runs no handler and is not noticed.

use std::sync::OnceLock;

use monshm_core::{Error, ErrorKind, Operation, Result};
use rustix::io::Errno;

use crate::sys;

extern "C" fn in_child() {
    monshm_core::fork::entered_child();
}

/// Sees to it that forks are noticed from now on.
///
/// # Errors
/// `LimitReached` when libc has no memory for the handler.
pub(crate) fn register(operation: Operation) -> Result<()> {
    static REGISTERED: OnceLock<Result<(), Errno>> = OnceLock::new();
    REGISTERED.get_or_init(|| sys::at_fork_in_child(in_child)).map_err(|errno| {
        Error::new(operation, ErrorKind::LimitReached { what: "fork handlers" }).with_os_error(errno.raw_os_error())
    })
}
