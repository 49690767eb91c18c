//! Handing a segment over a connected Unix stream socket: bytes, file descriptor, credentials, acknowledgement.
//!
//! ```text
//! creator → peer   length u32 (big-endian), descriptor of that length; one fd in SCM_RIGHTS where there is one
//! peer → creator   "MSHA", errno u32 (big-endian), 0 when attached
//! ```
//!
//! Who is at the other end is read once from the kernel (`SO_PEERCRED`, the credentials at the time of connecting).
//! One socket may carry several segments, one after the other. Each side waits as long as its caller says.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use monshm_core::{Deadline, Descriptor, Error, ErrorKind, Operation, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::attach::AttachOptions;
use crate::creds::PeerCreds;
use crate::errno::errno;
use crate::segment::{Encoded, Segment};
#[cfg(feature = "capi")]
use crate::sys::DEFAULT_TIMEOUT;
use crate::sys::now_ns;

/// The first word of an acknowledgement.
const ACKNOWLEDGED: [u8; 4] = *b"MSHA";

/// The longest message, in bytes.
pub(crate) const MESSAGE_MAX: usize = 16 << 20;

/// How much of a message is received at a time, in bytes.
const MESSAGE_STEP: usize = 64 << 10;

/// File descriptors that a message may bring before the kernel cuts it off. One is right; the others are taken as owned
/// and closed, so that a hostile sender leaks none into this process.
const ROOM_FOR_FDS: usize = 16;

impl Segment {
    /// Sends the segment to the peer at the other end of a connected Unix stream socket, and waits until it has attached,
    /// for at most `timeout` in all.
    ///
    /// # Errors
    /// `WrongPeer` when the other end is not of the user that the segment was made for; `PeerRefused` with its errno;
    /// `PeerGone`; `TimedOut`; `Protocol`; `NotCreator` and others as [`Segment::encode`]. The segment can be sent again.
    pub fn send(&self, socket: impl AsFd, timeout: Duration) -> Result<()> {
        let wire = Wire::new(socket.as_fd(), Operation::Send, timeout);
        let found = PeerCreds::of(wire.socket)?;
        if let Some(expected) = self.peer().filter(|peer| peer.uid != found.uid) {
            return Err(wire.error(ErrorKind::WrongPeer { expected: expected.uid, found: found.uid }));
        }
        let (encoded, token) = self.encode_with_token().map_err(|error| error.during(Operation::Send))?;
        let outcome = hand_over(&wire, encoded);
        // Good for this one attach alone: spent by now, or void. A reader of a one-way segment could not spend it.
        self.inner().attachment.region().header().spend_token(token);
        outcome?;
        self.inner().remove_name_if_attached();
        Ok(())
    }

    /// Receives the segment that the process at the other end of a connected Unix stream socket sends, attaches to it, and
    /// acknowledges, waiting for at most `timeout` in all. [`AttachOptions`] has more to choose.
    ///
    /// # Errors
    /// As [`AttachOptions::receive`].
    pub fn receive(socket: impl AsFd, expected_size_bytes: usize, timeout: Duration) -> Result<Self> {
        AttachOptions::new(expected_size_bytes).timeout(timeout).receive(socket)
    }
}

impl AttachOptions {
    /// Attaches to the segment that the process at the other end of a connected Unix stream socket sends, and
    /// acknowledges.
    ///
    /// The object must be owned by the user at the other end (or by ourselves, where a privileged creator gave it to us).
    ///
    /// # Errors
    /// `PeerGone`, `TimedOut`, `Protocol`; and all of [`AttachOptions::decode`], of which the sender is told by errno. Every
    /// file descriptor that came is closed.
    pub fn receive(&self, socket: impl AsFd) -> Result<Segment> {
        let attach = |descriptor: &_, fd, sender| self.attach(descriptor, fd, Some(sender));
        receive_with(socket.as_fd(), self.timeout, attach)
    }
}

/// Sends what names the segment, and waits for the answer.
fn hand_over(wire: &Wire<'_>, encoded: Encoded) -> Result<()> {
    wire.send_message(&encoded.bytes, encoded.fd.as_ref().map(AsFd::as_fd))?;
    // The peer has the descriptor in its own right now, or nobody has.
    drop(encoded);

    let mut answer = [0; 8];
    wire.receive_exactly(&mut answer, &mut Vec::new(), "it acknowledged the segment")?;
    let [m, s, h, a, code @ ..] = answer;
    if [m, s, h, a] != ACKNOWLEDGED {
        return Err(wire.error(ErrorKind::Protocol { what: "the answer is no acknowledgement" }));
    }
    match u32::from_be_bytes(code) {
        0 => Ok(()),
        errno => Err(wire.error(ErrorKind::PeerRefused { errno })),
    }
}

/// Receives a descriptor, has `attach` attach to what it names, and acknowledges.
pub(crate) fn receive_with<T>(
    socket: BorrowedFd<'_>,
    timeout: Duration,
    attach: impl FnOnce(&Descriptor, Option<OwnedFd>, PeerCreds) -> Result<T>,
) -> Result<T> {
    let wire = Wire::new(socket, Operation::Receive, timeout);
    let sender = PeerCreds::of(wire.socket).map_err(|error| error.during(Operation::Receive))?;
    let attached = wire.receive_message(monshm_proto::MAX_LEN).and_then(|(bytes, fd)| {
        let descriptor = monshm_proto::decode(&bytes).map_err(|fault| wire.error(ErrorKind::Descriptor(fault)))?;
        attach(&descriptor, fd, sender)
    });
    let code = match &attached {
        Ok(_) => 0,
        // Nobody is there to be told.
        Err(error) if matches!(error.kind(), ErrorKind::PeerGone { .. }) => return attached,
        Err(error) => errno(error) as u32,
    };
    let mut answer = ACKNOWLEDGED.to_vec();
    answer.extend_from_slice(&code.to_be_bytes());
    let told = wire.send(&answer, None);
    let segment = attached?;
    told?;
    Ok(segment)
}

/// Sends one message of bytes, and a file descriptor with them, in the frame of a hand-over. For programs that carry
/// descriptors themselves.
///
/// # Errors
/// `SizeOverLimit` over [`MESSAGE_MAX`]; `PeerGone`, `TimedOut`, `System`.
#[cfg(feature = "capi")]
pub(crate) fn send_message(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    Wire::new(socket, Operation::Send, DEFAULT_TIMEOUT).send_message(bytes, fd)
}

/// Receives one message of bytes, and the file descriptor that may come with them.
///
/// # Errors
/// `Protocol`, also for a length over [`MESSAGE_MAX`]; `PeerGone`, `TimedOut`, `System`. Every file descriptor that came
/// is closed.
#[cfg(feature = "capi")]
pub(crate) fn receive_message(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Option<OwnedFd>)> {
    Wire::new(socket, Operation::Receive, DEFAULT_TIMEOUT).receive_message(MESSAGE_MAX)
}

/// One side of a hand-over under way.
struct Wire<'a> {
    socket: BorrowedFd<'a>,
    operation: Operation,
    deadline: Deadline,
}

impl<'a> Wire<'a> {
    fn new(socket: BorrowedFd<'a>, operation: Operation, timeout: Duration) -> Self {
        Self { socket, operation, deadline: Deadline::after(now_ns(), timeout) }
    }

    /// Sends length and bytes, and the fd with the first of them.
    fn send_message(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let (asked, limit) = (bytes.len() as u64, MESSAGE_MAX as u64);
        if asked > limit {
            return Err(self.error(ErrorKind::SizeOverLimit { asked, limit }));
        }
        let mut message = (asked as u32).to_be_bytes().to_vec();
        message.extend_from_slice(bytes);
        self.send(&message, fd)
    }

    /// The length, at most `limit`, the bytes, and the one fd that may come with them.
    fn receive_message(&self, limit: usize) -> Result<(Vec<u8>, Option<OwnedFd>)> {
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
    fn receive_exactly(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>, before: &'static str) -> Result<()> {
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
    fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
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

    fn error(&self, kind: ErrorKind) -> Error {
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
