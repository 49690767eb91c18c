//! What a hostile process sends over the socket of a hand-over: bytes in any frame, in pieces, with up to 20 file
//! descriptors beside each piece; to a receiver, to a sender that waits for its answer, and to `mon_ipc_recv_fd`.
//!
//! No piece follows the last one, and the socket says so: nobody has a reason to wait. Checked: an answer that is
//! documented, and that every file descriptor which came is closed in the end.

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use monshm::capi::{MonBuffer, buf_destroy, buf_init, buf_init_fixed, buf_len, mon_ipc_recv_fd};
use monshm::{BackendKind, DEFAULT_TIMEOUT, Error, ErrorKind, MemoryKind, Segment};

use crate::attach::lowest_free_fd;
use crate::decode::crc32c;
use crate::input::Input;
use crate::room::PAGE;

/// More than a receiver has room for.
const FDS_MAX: usize = 20;

/// Runs `input`.
pub fn run(input: &[u8]) {
    // A process that is stopped in the middle of a call finds its time up; not thrice.
    let ended = (0..3).any(|_| {
        let before = lowest_free_fd();
        let in_time = play(&mut Input::new(input));
        assert_eq!(lowest_free_fd(), before, "a file descriptor was left open");
        in_time
    });
    assert!(ended, "a call waits for a peer that will send nothing more");
}

/// One hand-over; whether it ended before its time was up.
fn play(input: &mut Input<'_>) -> bool {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let what = input.byte();
    let segment = Segment::builder(PAGE).backend(BackendKind::Posix).memory(MemoryKind::Memfd).create().unwrap();
    match what % 4 {
        0 => {
            speak(&theirs, input);
            theirs.shutdown(Shutdown::Write).unwrap();
            judge(segment.send(&ours, DEFAULT_TIMEOUT).err())
        }
        1 => {
            speak(&theirs, input);
            theirs.shutdown(Shutdown::Write).unwrap();
            receive_in_c(&ours, input.byte())
        }
        _ => {
            honest(&theirs, &segment, input);
            speak(&theirs, input);
            theirs.shutdown(Shutdown::Write).unwrap();
            judge(Segment::receive(&ours, PAGE, DEFAULT_TIMEOUT).err())
        }
    }
}

/// A true message, perhaps with bytes changed or its end cut off.
fn honest(socket: &UnixStream, segment: &Segment, input: &mut Input<'_>) {
    let what = input.byte();
    if what & 3 == 0 {
        return;
    }
    let encoded = segment.encode().unwrap();
    let mut bytes = encoded.bytes;
    if what & 4 != 0 {
        let body = bytes.len() - 4;
        let at = input.below(body);
        bytes[at] = input.byte();
        let sum = crc32c(&bytes[..body]).to_be_bytes();
        bytes[body..].copy_from_slice(&sum);
    }
    let len = (bytes.len() as u32).wrapping_add_signed(if what & 8 != 0 { i32::from(input.byte() as i8) } else { 0 });
    let mut message = len.to_be_bytes().to_vec();
    message.extend_from_slice(&bytes);
    if what & 16 != 0 {
        message.truncate(input.below(message.len()));
    }
    let fds: Vec<BorrowedFd<'_>> = encoded.fd.as_ref().map(AsFd::as_fd).into_iter().collect();
    let copies = if what & 32 != 0 { input.below(3) } else { 1 };
    let fds: Vec<BorrowedFd<'_>> = (0..copies).flat_map(|_| fds.iter().copied()).collect();
    // In two pieces, split anywhere.
    let middle = input.below(message.len() + 1).min(message.len());
    send(socket, &message[..middle], if what & 64 == 0 { &fds } else { &[] });
    send(socket, &message[middle..], if what & 64 == 0 { &[] } else { &fds });
}

/// Pieces of the input, with file descriptors beside them.
fn speak(socket: &UnixStream, input: &mut Input<'_>) {
    for _ in 0..8 {
        if input.is_empty() {
            return;
        }
        let (fds, len) = (input.below(FDS_MAX + 1), input.below(200));
        let fds = vec![socket.as_fd(); fds];
        send(socket, input.take(len), &fds);
    }
}

/// One sendmsg(2). What the kernel refuses is not sent.
fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let numbers: Vec<libc::c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // Aligned as a control message must be, and long enough for FDS_MAX numbers.
    let mut control = [0_u64; 16];
    let len = size_of_val(numbers.as_slice()) as u32;
    // SAFETY: msghdr is integers and pointers, for which zeros are a value; all that it points to lives until the call
    // is over and is as long as it says: CMSG_SPACE of 20 numbers is 96 bytes, and `control` has 128.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if !numbers.is_empty() {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(len) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len) as _;
            libc::CMSG_DATA(header).copy_from_nonoverlapping(numbers.as_ptr().cast(), len as usize);
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
    }
}

/// Whether the call ended before its time was up; panics on an answer that is not documented.
fn judge(refusal: Option<Error>) -> bool {
    use ErrorKind as Kind;
    let Some(error) = refusal else { return true };
    let kind = error.kind();
    let documented = matches!(
        kind,
        Kind::PeerGone { .. }
            | Kind::PeerRefused { .. }
            | Kind::Protocol { .. }
            | Kind::TimedOut { .. }
            | Kind::Descriptor(_)
            | Kind::SizeMismatch { .. }
            | Kind::HandleMissing
            | Kind::HandleUnexpected
            | Kind::HandleType { .. }
            | Kind::Unsealed { .. }
            | Kind::WrongOwner { .. }
            | Kind::ObjectSize { .. }
            | Kind::LockNotBuilt { .. }
            | Kind::LockNotOfBackend { .. }
            | Kind::Header(_)
            | Kind::TokenSpent
            | Kind::Gone { .. }
            | Kind::Unreachable { .. }
            | Kind::NoAccess { .. }
    );
    assert!(documented, "{error}");
    !matches!(kind, Kind::TimedOut { .. })
}

/// The same by the C interface: bytes arrive in a buffer, or an errno.
fn receive_in_c(socket: &UnixStream, what: u8) -> bool {
    let mut buffer = std::mem::MaybeUninit::<MonBuffer>::uninit();
    let mut fd = -2;
    // SAFETY: the buffer is initialised first and destroyed last, by this thread alone; socket and fd are valid.
    let (code, len) = unsafe {
        match what & 1 {
            0 => buf_init(buffer.as_mut_ptr()),
            _ => assert_eq!(buf_init_fixed(buffer.as_mut_ptr(), usize::from(what)), 0),
        }
        let code = mon_ipc_recv_fd(socket.as_raw_fd(), buffer.as_mut_ptr(), &raw mut fd);
        let len = buf_len(buffer.as_mut_ptr());
        buf_destroy(buffer.as_mut_ptr());
        (code, len)
    };
    assert!(code == 0 || (len == 0 && fd == -1), "a refused message left something");
    if fd >= 0 {
        // SAFETY: it came to us, and nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    assert!(
        [0, libc::EPROTO, libc::EPIPE, libc::ECONNRESET, libc::ENOSPC, libc::ETIMEDOUT, libc::EBADMSG].contains(&code),
        "errno {code}"
    );
    code != libc::ETIMEDOUT
}
