//! Messages over a Unix stream socket, and the credentials of its other end: `mon_ipc_*`.
//!
//! The frame, its deadline and its care for file descriptors are `handover`'s.

use std::ffi::c_int;
use std::os::fd::{BorrowedFd, IntoRawFd};

use super::buffer::Buffer;
use super::fault::{Fault, Outcome, coded_uncancelled, invalid};
use super::types::{MonBuffer, MonIpcCreds};
use crate::creds::PeerCreds;
use crate::foreign::ForeignFd;
use crate::handover;

/// The file descriptor, unless its number cannot be one.
///
/// # Safety
/// Nobody closes `fd` while the value lives; one that is not open makes system calls fail with EBADF.
pub(super) unsafe fn borrow<'a>(fd: c_int) -> Outcome<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Fault::Plain(libc::EBADF, "this is not a file descriptor"));
    }
    // SAFETY: not -1, and not closed meanwhile, by our caller.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// `mon_ipc_peer_creds`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_ipc_peer_creds(fd: c_int, creds: *mut MonIpcCreds) -> c_int {
    coded_uncancelled(|| {
        if creds.is_null() {
            return invalid("creds is NULL");
        }
        // SAFETY: CALLER: nobody closes fd during the call.
        let found = PeerCreds::of(unsafe { borrow(fd) }?)?;
        // SAFETY: not NULL, and valid for writing by CALLER.
        unsafe { creds.write(MonIpcCreds { pid: found.pid, uid: found.uid, gid: found.gid }) };
        Ok(())
    })
}

/// `mon_ipc_send_fd`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_ipc_send_fd(socket: c_int, buf: *mut MonBuffer, fd: c_int) -> c_int {
    coded_uncancelled(|| {
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        // SAFETY: CALLER: nobody closes them during the call.
        let (socket, fd) = unsafe { (borrow(socket)?, if fd == -1 { None } else { Some(borrow(fd)?) }) };
        if buffer.len() > handover::MESSAGE_MAX {
            return Err(Fault::Plain(libc::EMSGSIZE, "the buffer holds more than the 16 MiB of one message"));
        }
        handover::send_message(socket, buffer.bytes(), fd)?;
        buffer.consume(buffer.len());
        Ok(())
    })
}

/// `mon_ipc_recv_fd`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_ipc_recv_fd(socket: c_int, buf: *mut MonBuffer, fd: *mut c_int) -> c_int {
    coded_uncancelled(|| {
        if fd.is_null() {
            return invalid("fd is NULL");
        }
        // SAFETY: not NULL, and valid for writing by CALLER.
        unsafe { fd.write(-1) };
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        // SAFETY: CALLER: nobody closes the socket during the call.
        let (bytes, came) = handover::receive_message(unsafe { borrow(socket) }?)?;
        // What came is closed if there is no room for the bytes.
        buffer.append(&bytes)?;
        if let Some(came) = came.and_then(ForeignFd::into_fd) {
            // SAFETY: as above.
            unsafe { fd.write(came.into_raw_fd()) };
        }
        Ok(())
    })
}
