//! The hand-over's messages by hand: bytes and descriptors of any number, as no honest sender writes them.
//!
//! The honest form stands in `monshm/src/handover`.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The most descriptors that the kernel passes at a time.
pub(crate) const FDS_MAX: usize = 253;

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
        sent += send_part(socket, &bytes[sent..], if sent == 0 { fds } else { &[] })?;
    }
    Ok(())
}

fn send_part(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    assert!(fds.len() <= FDS_MAX);
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = [0u64; 160];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    if !numbers.is_empty() {
        let len = size_of_val(numbers.as_slice());
        // SAFETY: the buffer has 1280 aligned bytes, more than the space of 253 descriptors; what is written lies in it.
        unsafe {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(len as u32) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(len as u32) as _;
            libc::CMSG_DATA(first).copy_from_nonoverlapping(numbers.as_ptr().cast(), len);
        }
    }
    // SAFETY: header and all that it points to live through the call.
    match unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) } {
        -1 => Err(io::Error::last_os_error()),
        sent => Ok(sent as usize),
    }
}

/// Receives a message with the descriptor that may come with it.
pub(crate) fn receive(mut socket: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut length = [0; 4];
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: length.as_mut_ptr().cast(), iov_len: length.len() };
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
    // SAFETY: header and all that it points to live through the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC | libc::MSG_WAITALL) };
    if len != 4 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the kernel has filled the header; a first control message with rights holds a descriptor, now ours.
    let fd = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        let rights = !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS;
        rights.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<RawFd>().read_unaligned()))
    };
    let mut bytes = vec![0; (u32::from_be_bytes(length) as usize).min(1 << 16)];
    socket.read_exact(&mut bytes)?;
    Ok((bytes, fd))
}

/// Receives an acknowledgement: its errno.
pub(crate) fn receive_acknowledgement(mut socket: &UnixStream) -> io::Result<u32> {
    let mut answer = [0; 8];
    socket.read_exact(&mut answer)?;
    Ok(u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]))
}
