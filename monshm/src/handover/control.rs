//! recvmsg(2), and what comes beside the bytes: every descriptor is owned from the first, whichever message brings it.
//!
//! By libc, since rustix leaves alone what it does not know: a socket with `SO_PASSPIDFD` gets a pidfd with each
//! message.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::foreign::ForeignFd;

/// As much as comes with one message at most: `SCM_MAX_FD` (253) descriptors, credentials, a pidfd, a security label.
/// What has no room the kernel closes, in our time.
const CONTROL_BYTES: usize = 2048;

/// `SCM_PIDFD`, Linux 6.5.
const SCM_PIDFD: libc::c_int = 4;

/// The descriptors that came so far. One is kept; each further one is at its end at once, and remembered.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) fd: Option<ForeignFd>,
    pub(super) too_many: bool,
}

/// What one message brought.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) count_bytes: usize,
    /// Whether descriptors were lost: not for want of room in the message, there is enough.
    pub(super) lost_some: bool,
}

/// Receives what there is, without waiting.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], came: &mut Came) -> Result<Received, Errno> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_BYTES / size_of::<u64>()];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), CONTROL_BYTES as _);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the header names our buffer and our control space, each with its length, and all live through the call.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let Ok(count_bytes) = usize::try_from(count) else {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(errno.map_or(Errno::IO, Errno::from_raw_os_error));
    };
    // SAFETY: the kernel filled `msg_controllen` bytes of the control space, which lives on.
    unsafe { take_fds(&header, came) };
    Ok(Received { count_bytes, lost_some: header.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// Takes the descriptors out of the control messages.
///
/// # Safety
/// `header` is as a successful recvmsg(2) left it, and its control space is alive. Called once for it.
unsafe fn take_fds(header: &libc::msghdr, came: &mut Came) {
    // SAFETY: by the contract above; the macros stay within `msg_controllen`.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: null or a whole header within the space, which is aligned for it.
    while let Some(message) = unsafe { next.as_ref() } {
        if message.cmsg_level == libc::SOL_SOCKET && matches!(message.cmsg_type, libc::SCM_RIGHTS | SCM_PIDFD) {
            // SAFETY: the length without data is a constant of the platform.
            let head_bytes = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "musl has another type")]
            let count = (message.cmsg_len as usize).saturating_sub(head_bytes) / size_of::<RawFd>();
            // SAFETY: `next` is a header with `count` numbers behind it.
            let numbers: *const RawFd = unsafe { libc::CMSG_DATA(next) }.cast();
            for index in 0..count {
                // SAFETY: within the message's data; numbers are not aligned by more than the header is.
                let number = unsafe { numbers.add(index).read_unaligned() };
                // A pidfd that the kernel could not open is an errno value below 0.
                if number < 0 {
                    continue;
                }
                // SAFETY: the kernel has just opened it for us, and nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                came.add(fd, message.cmsg_type == libc::SCM_RIGHTS);
            }
        }
        // SAFETY: as for the first.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

impl Came {
    fn add(&mut self, fd: OwnedFd, sent: bool) {
        // A pidfd is the kernel's own, and closing it waits for nobody.
        if sent {
            let fd = ForeignFd::new(fd);
            if self.fd.is_some() {
                self.too_many = true;
            } else {
                self.fd = Some(fd);
            }
        }
    }
}
