//! The frame of a handover on a Unix stream socket: length, bytes, file descriptors, and the deadline of the whole.
//!
//! What is sent and what it means is in the file above. Every file descriptor that comes is owned, and closed unless it is
//! asked for.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use monshm_core::{Deadline, Error, ErrorKind, Operation, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::sys::now_ns;

/// The longest message, in bytes.
pub(crate) const MESSAGE_MAX: usize = 16 << 20;

/// How much of a message is received at a time, in bytes.
const MESSAGE_STEP: usize = 64 << 10;

/// File descriptors that a message may bring before the kernel cuts it off. One is right; the others are owned and
/// closed, so that a hostile sender leaks none into this process.
const ROOM_FOR_FDS: usize = 16;

/// One side of a handover under way.
pub(super) struct Frames<'a> {
    pub(super) socket: BorrowedFd<'a>,
    operation: Operation,
    deadline: Deadline,
}

impl<'a> Frames<'a> {
    pub(super) fn new(socket: BorrowedFd<'a>, operation: Operation, timeout: Duration) -> Self {
        Self { socket, operation, deadline: Deadline::after(now_ns(), timeout) }
    }

    /// Sends length and bytes, and the fd with the first of them.
    pub(super) fn send_message(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let (asked, limit) = (bytes.len() as u64, MESSAGE_MAX as u64);
        if asked > limit {
            return Err(self.error(ErrorKind::SizeOverLimit { asked, limit }));
        }
        let mut message = (asked as u32).to_be_bytes().to_vec();
        message.extend_from_slice(bytes);
        self.send(&message, fd)
    }

    /// The length, at most `limit`, the bytes, and the one fd that may come with them.
    pub(super) fn receive_message(&self, limit: usize) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut fds = Vec::new();
        let mut length = [0; 4];
        self.receive_exactly(&mut length, &mut fds, "it sent a message")?;
        let length = u32::from_be_bytes(length) as usize;
        if length > limit {
            return Err(self.error(ErrorKind::Protocol { what: "the length is over the limit" }));
        }
        // In steps, so that a length alone makes nobody allocate more than a step.
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let filled = bytes.len();
            bytes.resize(length.min(filled + MESSAGE_STEP), 0);
            self.receive_exactly(&mut bytes[filled..], &mut fds, "the message was complete")?;
        }
        let fd = fds.pop();
        if !fds.is_empty() {
            return Err(self.error(ErrorKind::Protocol { what: "more than one file descriptor came" }));
        }
        Ok((bytes, fd))
    }

    /// Fills `buffer`. Every fd that comes is pushed to `fds`, owned and close-on-exec, before anything is refused.
    pub(super) fn receive_exactly(
        &self,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        before: &'static str,
    ) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.wait_for(PollFlags::IN)?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM_FOR_FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let mut parts = [IoSliceMut::new(&mut buffer[filled..])];
            let message = match recvmsg(self.socket, &mut parts, &mut control, flags) {
                Ok(message) => message,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(errno @ Errno::CONNRESET) => {
                    let gone = self.error(ErrorKind::PeerGone { what: before });
                    return Err(gone.with_os_error(errno.raw_os_error()));
                }
                Err(errno) => return Err(self.system("recvmsg", errno)),
            };
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = part {
                    fds.extend(came);
                }
            }
            if message.flags.contains(ReturnFlags::CTRUNC) {
                return Err(self.error(ErrorKind::Protocol { what: "file descriptors were cut off" }));
            }
            if message.bytes == 0 {
                return Err(self.error(ErrorKind::PeerGone { what: before }));
            }
            filled += message.bytes;
        }
        Ok(())
    }

    /// Sends all of `bytes`, `fd` with the first of them.
    pub(super) fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            self.wait_for(PollFlags::OUT)?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = fd.map(|fd| [fd]);
            if let (Some(fds), 0) = (&fds, sent) {
                control.push(SendAncillaryMessage::ScmRights(fds));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(self.socket, &[IoSlice::new(&bytes[sent..])], &mut control, flags) {
                Ok(count) => sent += count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno @ (Errno::PIPE | Errno::CONNRESET)) => {
                    let gone = self.error(ErrorKind::PeerGone { what: "all was sent" });
                    return Err(gone.with_os_error(errno.raw_os_error()));
                }
                Err(errno) => return Err(self.system("sendmsg", errno)),
            }
        }
        Ok(())
    }

    /// Waits until the socket is ready, for what is left of the deadline.
    fn wait_for(&self, events: PollFlags) -> Result<()> {
        loop {
            let Some(remaining) = self.deadline.remaining(now_ns()) else {
                return Err(self.error(ErrorKind::TimedOut { what: "the other side of the socket did not answer" }));
            };
            let timeout = Timespec {
                tv_sec: remaining.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: remaining.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::from_borrowed_fd(self.socket, events)], Some(&timeout)) {
                // A signal, or no event yet: the deadline is looked at again.
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(self.system("poll", errno)),
            }
        }
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.operation, kind).on(name_of(self.socket))
    }

    fn system(&self, what: &'static str, errno: Errno) -> Error {
        let kind = match errno {
            Errno::NOMEM | Errno::NOBUFS => ErrorKind::LimitReached { what: "memory for messages" },
            Errno::TOOMANYREFS => ErrorKind::LimitReached { what: "file descriptors under way in sockets" },
            _ => ErrorKind::System { what },
        };
        self.error(kind).with_os_error(errno.raw_os_error())
    }
}

/// What messages call a socket.
fn name_of(socket: BorrowedFd<'_>) -> String {
    format!("socket {}", socket.as_raw_fd())
}
