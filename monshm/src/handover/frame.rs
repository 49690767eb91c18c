//! The frame of a handover on a Unix stream socket: length, bytes, file descriptors, and the deadline of the whole.
//!
//! What is sent and what it means is in the file above; how descriptors are taken out of a message, in `control`.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use monshm_core::{Deadline, Error, ErrorKind, Operation, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, sockopt};

use super::control::{Came, receive};
use crate::foreign::{self, ForeignFd};
use crate::sys::now_ns;

/// The longest message, in bytes.
pub(crate) const MESSAGE_MAX: usize = 16 << 20;

/// The bytes of the length in front of a message.
const LENGTH_BYTES: usize = 4;

/// How much of a message is received at a time, in bytes.
const MESSAGE_STEP: usize = 64 << 10;

/// One side of a handover under way.
pub(super) struct Frames<'a> {
    pub(super) socket: BorrowedFd<'a>,
    operation: Operation,
    deadline: Deadline,
}

impl<'a> Frames<'a> {
    /// # Errors
    /// `SocketType` for a socket that keeps messages apart; `System` for what is no socket.
    pub(super) fn new(socket: BorrowedFd<'a>, operation: Operation, timeout: Duration) -> Result<Self> {
        let frames = Self { socket, operation, deadline: Deadline::after(now_ns(), timeout) };
        let found = match sockopt::socket_type(socket) {
            Ok(SocketType::STREAM) => return Ok(frames),
            Ok(SocketType::SEQPACKET) => "SOCK_SEQPACKET",
            Ok(SocketType::DGRAM) => "SOCK_DGRAM",
            Ok(_) => "of another type",
            Err(errno) => return Err(frames.system("reading the socket's type (SO_TYPE)", errno)),
        };
        Err(frames.error(ErrorKind::SocketType { found }).with_os_error(Errno::PROTOTYPE.raw_os_error()))
    }

    /// Refuses to receive while too many descriptors of earlier messages wait to be closed.
    pub(super) fn admit(&self) -> Result<()> {
        foreign::admit().map_err(|kind| self.error(kind))
    }

    /// Sends length and bytes, and the fd with the first of them.
    pub(super) fn send_message(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let (asked, limit) = (bytes.len() as u64, MESSAGE_MAX as u64);
        if asked > limit {
            return Err(self.error(ErrorKind::SizeOverLimit { asked, limit }));
        }
        let mut message = Vec::new();
        self.make_room(&mut message, LENGTH_BYTES + bytes.len())?;
        message.extend_from_slice(&(asked as u32).to_be_bytes());
        message.extend_from_slice(bytes);
        self.send(&message, fd)
    }

    /// The length, at most `limit`, the bytes, and the one fd that may come with them.
    pub(super) fn receive_message(&self, limit: usize) -> Result<(Vec<u8>, Option<ForeignFd>)> {
        let mut came = Came::default();
        let mut length = [0; LENGTH_BYTES];
        self.receive_exactly(&mut length, &mut came, "it sent a message")?;
        let length = u32::from_be_bytes(length) as usize;
        if length > limit {
            return Err(self.error(ErrorKind::Protocol { what: "the length is over the limit" }));
        }
        // In steps, so that a length alone makes nobody allocate more than a step.
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let filled = bytes.len();
            let next = length.min(filled + MESSAGE_STEP);
            self.make_room(&mut bytes, next)?;
            bytes.resize(next, 0);
            self.receive_exactly(&mut bytes[filled..], &mut came, "the message was complete")?;
        }
        let fd = came.fd.map(ForeignFd::above_stdio).transpose();
        Ok((bytes, fd.map_err(|errno| self.system("moving a descriptor", errno))?))
    }

    /// Has room for `len` bytes in all, where the other side says how long they are.
    fn make_room(&self, bytes: &mut Vec<u8>, len: usize) -> Result<()> {
        let room = bytes.try_reserve(len - bytes.len());
        room.map_err(|_| self.system("making room for a message", Errno::NOMEM))
    }

    /// Fills `buffer`. Every descriptor that comes is owned and close-on-exec; the second one ends it.
    pub(super) fn receive_exactly(&self, buffer: &mut [u8], came: &mut Came, before: &'static str) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.wait_for(PollFlags::IN)?;
            let message = match receive(self.socket, &mut buffer[filled..], came) {
                Ok(message) => message,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(errno @ Errno::CONNRESET) => {
                    let gone = self.error(ErrorKind::PeerGone { what: before });
                    return Err(gone.with_os_error(errno.raw_os_error()));
                }
                Err(errno) => return Err(self.system("recvmsg", errno)),
            };
            if message.lost_some {
                return Err(self.lost_some());
            }
            if came.too_many {
                return Err(self.error(ErrorKind::Protocol { what: "more than one file descriptor came" }));
            }
            if message.count_bytes == 0 {
                return Err(self.error(ErrorKind::PeerGone { what: before }));
            }
            filled += message.count_bytes;
        }
        Ok(())
    }

    /// Why the kernel did not give us a descriptor that was sent: a full table, or else a security module.
    #[cold]
    fn lost_some(&self) -> Error {
        match rustix::io::fcntl_dupfd_cloexec(self.socket, 0) {
            Err(errno) => self.system("opening the file descriptor that came", errno),
            Ok(_) => self.system("opening the file descriptor that came", Errno::ACCESS),
        }
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
            Errno::MFILE => ErrorKind::LimitReached { what: "open files of this process (RLIMIT_NOFILE)" },
            Errno::NFILE => ErrorKind::LimitReached { what: "open files of the system (fs.file-max)" },
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
