//! Messages over a Unix stream socket: text, and file descriptors beside it.
//!
//! This is the tests' own wire, between a test and the processes that it starts. It is not the hand-over.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The most file descriptors in one message.
pub(crate) const MOST_FDS: usize = 200;

/// One end.
#[derive(Debug)]
pub(crate) struct Link(pub(crate) UnixStream);

impl Link {
    /// Sends a message.
    pub(crate) fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let head = u32::try_from(text.len()).unwrap().to_ne_bytes();
        let sent = send_with_fds(self.0.as_fd(), &head, fd.as_slice())?;
        assert_eq!(sent, head.len());
        (&self.0).write_all(text.as_bytes())
    }

    /// Waits for the next message; `None` when the other end has closed.
    pub(crate) fn receive(&self) -> io::Result<Option<(String, Option<OwnedFd>)>> {
        let mut head = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut fd = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                fd = fds.next();
            }
        }
        (&self.0).read_exact(&mut head[received.bytes..])?;
        let mut text = vec![0; u32::from_ne_bytes(head) as usize];
        (&self.0).read_exact(&mut text)?;
        Ok(Some((String::from_utf8(text).unwrap(), fd)))
    }
}

/// Sends bytes with file descriptors beside the first of them.
pub(crate) fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}
