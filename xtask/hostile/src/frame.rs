//! The hand-over's messages by hand: bytes and descriptors of any number, as no honest sender writes them.
//!
//! The honest form stands in `monshm/src/handover`.

pub(crate) use harness::link::MOST_FDS;
use harness::link::{receive_with_fds, send_with_fds};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A message: its length, and the bytes.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let mut message = (bytes.len() as u32).to_be_bytes().to_vec();
    message.extend_from_slice(bytes);
    message
}

/// An acknowledgement with an errno.
pub(crate) fn acknowledgement(errno: u32) -> Vec<u8> {
    let mut answer = b"MSHA".to_vec();
    answer.extend_from_slice(&errno.to_be_bytes());
    answer
}

/// Sends all of `bytes`, and the descriptors with the first of them.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += send_with_fds(socket.as_fd(), &bytes[sent..], if sent == 0 { fds } else { &[] })?;
    }
    Ok(())
}

/// Receives a message with the descriptor that may come with it.
pub(crate) fn receive(mut socket: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut length = [0; 4];
    let (len, fds) = receive_with_fds(socket.as_fd(), &mut length)?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    socket.read_exact(&mut length[len..])?;
    let mut bytes = vec![0; (u32::from_be_bytes(length) as usize).min(1 << 16)];
    socket.read_exact(&mut bytes)?;
    Ok((bytes, fds.into_iter().next()))
}

/// Receives an acknowledgement: its errno.
pub(crate) fn receive_acknowledgement(mut socket: &UnixStream) -> io::Result<u32> {
    let mut answer = [0; 8];
    socket.read_exact(&mut answer)?;
    Ok(u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]))
}
