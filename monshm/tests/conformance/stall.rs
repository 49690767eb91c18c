//! A peer that stops answering in the middle of a hand-over: each side gives up in time, also under a rain of signals.
//!
//! Costs the whole five seconds, so all of it is waited for at once, and for one cell: the socket knows no backend.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use monshm::{DEFAULT_TIMEOUT, Error, ErrorKind, Segment};

use crate::support::SIZE;
use harness::link::send_with_fds;

/// A wait's end and its outcome.
fn timed(call: impl FnOnce() -> Result<(), Error>) -> (Duration, Error) {
    let began = Instant::now();
    let error = pestered(call).unwrap_err();
    (began.elapsed(), error)
}

/// Calls while a signal reaches this thread every few milliseconds, after which no system call is restarted.
fn pestered<T>(call: impl FnOnce() -> T) -> T {
    extern "C" fn on_signal(_: libc::c_int) {}
    // SAFETY: numbers and pointers, for which zero is a value; the handler does nothing, and is set without SA_RESTART.
    let target = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
        libc::pthread_self()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread waits for this one at the end of the scope, so it is there.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let outcome = call();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

#[test]
fn a_peer_that_stalls_is_given_up_in_time() {
    let segment = Segment::builder(SIZE).create().unwrap();
    // Each far end stays open, and silent or too slow.
    let (sender, _silent_peer) = UnixStream::pair().unwrap();
    let (receiver, _silent_creator) = UnixStream::pair().unwrap();
    let (half, mut half_creator) = UnixStream::pair().unwrap();
    let (trickle, mut slow_creator) = UnixStream::pair().unwrap();
    half_creator.write_all(&[0, 0, 0, 100, 1, 2, 3]).unwrap();
    slow_creator.write_all(&100_u32.to_be_bytes()).unwrap();
    let outcomes = std::thread::scope(|scope| {
        let waits = [
            scope.spawn(|| timed(|| segment.send(&sender, DEFAULT_TIMEOUT))),
            scope.spawn(|| timed(|| Segment::receive(&receiver, SIZE, DEFAULT_TIMEOUT).map(drop))),
            scope.spawn(|| timed(|| Segment::receive(&half, SIZE, DEFAULT_TIMEOUT).map(drop))),
            scope.spawn(|| timed(|| Segment::receive(&trickle, SIZE, DEFAULT_TIMEOUT).map(drop))),
        ];
        scope.spawn(move || {
            // Bytes that keep coming do not put the deadline off.
            for _ in 0..60 {
                std::thread::sleep(Duration::from_millis(100));
                let _ = slow_creator.write_all(&[0]);
            }
        });
        waits.map(|wait| wait.join().unwrap())
    });
    for (took, error) in outcomes {
        assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
        // The promise is 50 ms; the rest is for a machine that is busy with something else.
        assert!(took >= DEFAULT_TIMEOUT && took < DEFAULT_TIMEOUT + Duration::from_secs(1), "{took:?}");
    }
    assert!(segment.lock().is_ok(), "the segment is as good as before");
}

/// A TCP socket whose close waits for `linger`, since it has bytes that nobody reads; and its other end.
fn lingering(linger: Duration) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (unread, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 1 << 16]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    rustix::net::sockopt::set_socket_linger(&socket, Some(linger)).unwrap();
    (socket, unread)
}

/// The sockets come in place of the memory, one too many, beside the acknowledgement, and by hand.
#[test]
fn a_descriptor_whose_close_waits_holds_nobody_up() {
    let linger = Duration::from_secs(20);
    let segment = Segment::builder(SIZE).create().unwrap();
    let bytes = segment.encode().unwrap().bytes;
    let message = [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat();
    let begin = Instant::now();
    for count in [1, 3] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sockets, _unread): (Vec<_>, Vec<_>) = (0..count).map(|_| lingering(linger)).unzip();
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        send_with_fds(theirs.as_fd(), &message, &fds).unwrap();
        drop(sockets);
        assert!(Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT).is_err());
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (socket, _unread) = lingering(linger);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| segment.send(&ours, DEFAULT_TIMEOUT));
        send_with_fds(theirs.as_fd(), b"MSHA\0\0\0\0", &[socket.as_fd()]).unwrap();
        drop(socket);
        sender.join().unwrap().unwrap();
    });
    let (socket, _unread) = lingering(linger);
    assert!(Segment::decode(&bytes, Some(socket.into()), SIZE).is_err());
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}
