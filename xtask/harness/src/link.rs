//! Messages over a Unix stream socket: text, and file descriptors beside it.
//!
//! This is the harness's own wire, between a test and the processes that it starts. It is not the hand-over.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::fmt::Display;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The most file descriptors in one message: the kernel's limit.
pub const MOST_FDS: usize = 253;

/// One end.
#[derive(Debug)]
pub struct Link(pub UnixStream);

/// A message.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// What came beside it.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// The descriptor that came beside it, if exactly one did.
    pub fn fd(self) -> Option<OwnedFd> {
        <[OwnedFd; 1]>::try_from(self.fds).ok().map(|[fd]| fd)
    }

    /// The descriptors as sockets, if there are `N`.
    ///
    /// # Errors
    /// `InvalidData`, when there are fewer or more.
    pub fn sockets<const N: usize>(self) -> io::Result<[UnixStream; N]> {
        let fds = <[OwnedFd; N]>::try_from(self.fds).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(fds.map(UnixStream::from))
    }
}

impl Link {
    /// Both ends of a new one.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message.
    pub fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let head = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_ne_bytes();
        let sent = send_with_fds(self.0.as_fd(), &head, fds)?;
        (&self.0).write_all(&head[sent..])?;
        (&self.0).write_all(text.as_bytes())
    }

    /// Sends text alone.
    pub fn say(&self, text: impl Display) -> io::Result<()> {
        self.send(&text.to_string(), &[])
    }

    /// Waits for the next message; `None` when the other end has closed.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        let mut head = [0; 4];
        let (len, fds) = receive_with_fds(self.0.as_fd(), &mut head)?;
        if len == 0 {
            return Ok(None);
        }
        (&self.0).read_exact(&mut head[len..])?;
        let mut text = vec![0; u32::from_ne_bytes(head) as usize];
        (&self.0).read_exact(&mut text)?;
        let text = String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Some(Message { text, fds }))
    }

    /// Waits for the next message's text.
    pub fn hear(&self) -> io::Result<String> {
        Ok(self.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?.text)
    }

    /// Sends text, and waits for the answer.
    pub fn ask(&self, text: impl Display) -> io::Result<String> {
        self.say(text)?;
        self.hear()
    }
}

/// Sends bytes with file descriptors beside the first of them; gives how many bytes were sent.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and the file descriptors beside them. Gives how many bytes came; 0 at the end.
pub fn receive_with_fds(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            fds.extend(came);
        }
    }
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_descriptors_arrive_together_and_an_end_is_told() {
        let (one, other) = Link::pair().unwrap();
        let (inner, innermost) = Link::pair().unwrap();
        one.say("first").unwrap();
        one.send("second", &[innermost.0.as_fd()]).unwrap();
        drop((one, innermost));
        assert_eq!(other.hear().unwrap(), "first");
        let message = other.receive().unwrap().unwrap();
        assert_eq!(message.text, "second");
        Link(UnixStream::from(message.fd().unwrap())).say("through").unwrap();
        assert_eq!(inner.hear().unwrap(), "through");
        assert!(other.receive().unwrap().is_none());
        assert_eq!(other.hear().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
