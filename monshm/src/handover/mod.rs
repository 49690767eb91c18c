//! Handing a segment over a connected Unix stream socket: bytes, file descriptor, credentials, acknowledgement.
//!
//! ```text
//! creator → peer   length u32 (big-endian), descriptor of that length; one fd in SCM_RIGHTS where there is one
//! peer → creator   "MSHA", errno u32 (big-endian), 0 when attached
//! ```
//!
//! The credentials of the other end are read once from the kernel (`SO_PEERCRED`: those at the time of connecting).
//! One socket may carry several segments, one after the other. Each side waits as long as its caller says.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use monshm_core::{Descriptor, ErrorKind, Operation, Result};

use crate::attach::AttachOptions;
use crate::creds::PeerCreds;
use crate::errno::errno;
use crate::foreign::ForeignFd;
use crate::segment::{Encoded, Segment};
mod control;
mod frame;

use control::Came;
use frame::Frames;
#[cfg(feature = "capi")]
pub(crate) use frame::MESSAGE_MAX;

#[cfg(feature = "capi")]
use crate::sys::DEFAULT_TIMEOUT;

/// The first word of an acknowledgement.
const ACKNOWLEDGED: [u8; 4] = *b"MSHA";

impl Segment {
    /// Sends the segment to the peer at the other end of a connected Unix stream socket, and waits until it has
    /// attached, for at most `timeout` in all.
    ///
    /// # Errors
    /// `WrongPeer` when the other end is not of the user that the segment was made for; `PeerRefused` with its errno;
    /// `PeerGone`; `TimedOut`; `Protocol`; `SocketType`; `NotCreator` and others as [`Segment::encode`]. The segment
    /// can be sent again.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    /// use monshm::Segment;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let peer = std::thread::spawn(move || Segment::receive(&theirs, 1 << 16, Duration::from_secs(5)));
    /// let segment = Segment::builder(1 << 16).create()?;
    /// segment.send(&ours, Duration::from_secs(5))?;
    /// assert!(!peer.join().expect("no panic")?.is_creator());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&self, socket: impl AsFd, timeout: Duration) -> Result<()> {
        let frames = Frames::new(socket.as_fd(), Operation::Send, timeout)?;
        frames.admit()?;
        let found = PeerCreds::of(frames.socket)?;
        if let Some(expected) = self.peer().filter(|peer| peer.uid != found.uid) {
            return Err(frames.error(ErrorKind::WrongPeer { expected: expected.uid, found: found.uid }));
        }
        let (encoded, token) = self.encode_with_token().map_err(|error| error.during(Operation::Send))?;
        let outcome = hand_over(&frames, encoded);
        // Good for this one attach alone: spent by now, or void. A reader of a one-way segment could not spend it.
        self.inner().attachment.region().header().spend_token(token);
        outcome?;
        self.inner().remove_name_if_attached();
        Ok(())
    }

    /// Receives the segment that the process at the other end of a connected Unix stream socket sends, attaches to it,
    /// and acknowledges, waiting for at most `timeout` in all. [`AttachOptions`] has more to choose.
    ///
    /// # Errors
    /// As [`AttachOptions::receive`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    /// use monshm::{ErrorKind, Segment};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// drop(theirs);
    /// let refused = Segment::receive(&ours, 1 << 16, Duration::from_secs(5)).unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::PeerGone { .. }));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive(socket: impl AsFd, expected_size_bytes: usize, timeout: Duration) -> Result<Self> {
        AttachOptions::new(expected_size_bytes).timeout(timeout).receive(socket)
    }
}

impl AttachOptions {
    /// Attaches to the segment that the process at the other end of a connected Unix stream socket sends, and
    /// acknowledges.
    ///
    /// The object must be owned by the user at the other end (or by ourselves, where a privileged creator gave it to
    /// us).
    ///
    /// # Errors
    /// `SocketType` for another socket than a stream; `PeerGone`, `TimedOut`, `Protocol`; `LimitReached` when the table
    /// of descriptors is full, or when descriptors of earlier messages wait to be closed; and all of
    /// [`AttachOptions::decode`], whose errno value is sent to the other side. Every file descriptor that came is
    /// closed: by a thread of this library where closing can block.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    /// use monshm::{AttachOptions, ErrorKind};
    ///
    /// let (ours, _silent) = UnixStream::pair()?;
    /// let options = AttachOptions::new(1 << 16).timeout(Duration::from_millis(1));
    /// let refused = options.receive(&ours).unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::TimedOut { .. }));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive(&self, socket: impl AsFd) -> Result<Segment> {
        let attach = |descriptor: &_, fd: Option<_>, sender| self.attach(descriptor, fd, Some(sender));
        receive_with(socket.as_fd(), self.timeout, attach)
    }
}

/// Sends what names the segment, and waits for the answer.
fn hand_over(frames: &Frames<'_>, encoded: Encoded) -> Result<()> {
    frames.send_message(&encoded.bytes, encoded.fd.as_ref().map(AsFd::as_fd))?;
    // The peer has the descriptor in its own right now, or nobody has.
    drop(encoded);

    let mut answer = [0; 8];
    frames.receive_exactly(&mut answer, &mut Came::default(), "it acknowledged the segment")?;
    let [m, s, h, a, code @ ..] = answer;
    if [m, s, h, a] != ACKNOWLEDGED {
        return Err(frames.error(ErrorKind::Protocol { what: "the answer is no acknowledgement" }));
    }
    match u32::from_be_bytes(code) {
        0 => Ok(()),
        errno => Err(frames.error(ErrorKind::PeerRefused { errno })),
    }
}

/// Receives a descriptor, has `attach` attach to what it names, and acknowledges.
pub(crate) fn receive_with<T>(
    socket: BorrowedFd<'_>,
    timeout: Duration,
    attach: impl FnOnce(&Descriptor, Option<ForeignFd>, PeerCreds) -> Result<T>,
) -> Result<T> {
    let frames = Frames::new(socket, Operation::Receive, timeout)?;
    frames.admit()?;
    let sender = PeerCreds::of(frames.socket).map_err(|error| error.during(Operation::Receive))?;
    let attached = frames.receive_message(monshm_proto::MAX_LEN).and_then(|(bytes, fd)| {
        let descriptor = monshm_proto::decode(&bytes).map_err(|fault| frames.error(ErrorKind::Descriptor(fault)))?;
        attach(&descriptor, fd, sender)
    });
    let code = match &attached {
        Ok(_) => 0,
        // Nobody is there to receive an answer.
        Err(error) if matches!(error.kind(), ErrorKind::PeerGone { .. }) => return attached,
        Err(error) => errno(error) as u32,
    };
    let mut answer = ACKNOWLEDGED.to_vec();
    answer.extend_from_slice(&code.to_be_bytes());
    let acknowledged = frames.send(&answer, None);
    let segment = attached?;
    acknowledged?;
    Ok(segment)
}

/// Sends one message of bytes, and a file descriptor with them, in the frame of a handover. For programs that carry
/// descriptors themselves.
///
/// # Errors
/// `SizeOverLimit` over [`MESSAGE_MAX`]; `PeerGone`, `TimedOut`, `System`.
#[cfg(feature = "capi")]
pub(crate) fn send_message(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    Frames::new(socket, Operation::Send, DEFAULT_TIMEOUT)?.send_message(bytes, fd)
}

/// Receives one message of bytes, and the file descriptor that may come with them.
///
/// # Errors
/// `Protocol`, also for a length over [`MESSAGE_MAX`]; `PeerGone`, `TimedOut`, `System`. Every file descriptor that
/// came is closed.
#[cfg(feature = "capi")]
pub(crate) fn receive_message(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Option<ForeignFd>)> {
    let frames = Frames::new(socket, Operation::Receive, DEFAULT_TIMEOUT)?;
    frames.admit()?;
    frames.receive_message(MESSAGE_MAX)
}
