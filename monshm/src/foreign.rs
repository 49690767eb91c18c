//! File descriptors that a peer chose, and their end: none is asked or closed where that can block the caller.
//!
//! Closing a socket can wait for as long as its sender said (`SO_LINGER`), closing a file of a file system that a
//! process serves (FUSE) for ever. Shared memory does neither, and is known without asking a file system. So everything
//! else is closed by threads of our own: a few, with small stacks, which start when there is something to close and end
//! when there is nothing. While too many descriptors wait for them, nothing more is received.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monshm_core::ErrorKind;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::sys;

/// The lowest number that a descriptor of ours may have: those below are the program's standard input, output and
/// error.
const ABOVE_STDIO: i32 = 3;

/// How many threads close at a time.
const THREADS_MAX: usize = 4;

/// How many descriptors may wait for them before nothing more is received. One message can bring 253 beyond it.
const WAITING_MAX: usize = 256;

/// What a closing thread has as stack, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// How long a closing thread waits for more to do.
const IDLE: Duration = Duration::from_millis(200);

/// A descriptor that a peer chose. Dropping it waits for nobody.
#[derive(Debug)]
pub(crate) struct ForeignFd(Option<OwnedFd>);

impl ForeignFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }

    /// The descriptor, for a call that takes it once it knows what it is.
    pub(crate) fn slot(&mut self) -> &mut Option<OwnedFd> {
        &mut self.0
    }

    /// Moves it away from the numbers of standard input, output and error, which a program that closed them can use for
    /// something else at any time.
    ///
    /// # Errors
    /// `MFILE` when the table is full.
    pub(crate) fn above_stdio(self) -> Result<Self, Errno> {
        match &self.0 {
            Some(fd) if fd.as_raw_fd() < ABOVE_STDIO => Ok(Self::new(fcntl_dupfd_cloexec(fd, ABOVE_STDIO)?)),
            _ => Ok(self),
        }
    }

    /// Gives it to the program, whose it is from then on.
    #[cfg(feature = "capi")]
    pub(crate) fn into_fd(mut self) -> Option<OwnedFd> {
        self.0.take()
    }
}

impl Drop for ForeignFd {
    fn drop(&mut self) {
        if let Some(fd) = self.0.take().filter(|fd| !is_memory(fd.as_fd())) {
            Closer::of_this_process().close(fd);
        }
    }
}

/// Whether it is memory of the kernel's own file systems: they alone know seals, and they never let a close wait.
fn is_memory(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(fd).is_ok()
}

/// Whether more descriptors of peers may come.
///
/// # Errors
/// `LimitReached` while too many of them wait for their end.
pub(crate) fn admit() -> Result<(), ErrorKind> {
    Closer::existing().map_or(Ok(()), Closer::admit)
}

/// Closes descriptors, in threads of its own.
struct Closer {
    state: Mutex<State>,
    work: Condvar,
    /// How a descriptor ends.
    end: fn(OwnedFd),
    /// The process whose threads these are: a forked child has none of them.
    process: u32,
}

struct State {
    waiting: VecDeque<OwnedFd>,
    threads: usize,
    idle: usize,
}

/// The one of this process, or of an ancestor that it was forked from. Never freed: threads and children use it.
static CURRENT: AtomicPtr<Closer> = AtomicPtr::new(std::ptr::null_mut());

impl Closer {
    fn new(end: fn(OwnedFd)) -> Self {
        let state = State { waiting: VecDeque::new(), threads: 0, idle: 0 };
        Self { state: Mutex::new(state), work: Condvar::new(), end, process: std::process::id() }
    }

    /// The one of this process, if it was needed before.
    fn existing() -> Option<&'static Self> {
        // Acquire: pairs with the exchange below.
        // SAFETY: null, or a box that is never freed and never changed through another reference.
        let current = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
        current.filter(|closer| closer.process == std::process::id())
    }

    /// The one of this process. A forked child begins with an empty one: what its parent was closing, the child has
    /// too, until it execs or ends.
    fn of_this_process() -> &'static Self {
        loop {
            let found = CURRENT.load(Ordering::Acquire);
            if let Some(closer) = Self::existing() {
                return closer;
            }
            let new = Box::into_raw(Box::new(Self::new(reset_and_close)));
            // Release: pairs with the load of whoever finds it.
            if CURRENT.compare_exchange(found, new, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: made above and given to nobody; another thread was faster.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }

    fn admit(&'static self) -> Result<(), ErrorKind> {
        let mut state = self.lock();
        if state.waiting.len() < WAITING_MAX {
            return Ok(());
        }
        // A thread that could not be had before may be had now.
        self.add_thread(&mut state);
        Err(ErrorKind::LimitReached {
            what: "file descriptors from peers that wait to be closed, as peers hold them up",
        })
    }

    fn close(&'static self, fd: OwnedFd) {
        let mut state = self.lock();
        if state.waiting.try_reserve(1).is_err() {
            // Better one descriptor too many than a caller that waits for its peer.
            std::mem::forget(fd);
            return;
        }
        state.waiting.push_back(fd);
        self.add_thread(&mut state);
        self.work.notify_one();
    }

    /// Starts a thread if there is work for one more. Where none can be had, the next call tries again.
    fn add_thread(&'static self, state: &mut State) {
        if state.idle >= state.waiting.len() || state.threads == THREADS_MAX {
            return;
        }
        let builder = std::thread::Builder::new().name("monshm-close".to_owned()).stack_size(STACK_BYTES);
        // The program's signals are not for a thread that it does not know, with a stack so small.
        let started = sys::with_signals_blocked(|| builder.spawn(|| self.run()));
        state.threads += usize::from(started.is_ok());
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(fd) = state.waiting.pop_front() {
                drop(state);
                (self.end)(fd);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (woken, timeout) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                state.waiting.shrink_to(0);
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes, after a socket was told not to wait for what it has not sent.
fn reset_and_close(fd: OwnedFd) {
    // Fails for what is no socket.
    let _ = rustix::net::sockopt::set_socket_linger(&fd, Some(Duration::ZERO));
    drop(fd);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_socket_that_lingers_is_closed_at_once_and_waited_for_by_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (unread, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 1 << 16]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::from_secs(20))).unwrap();
        let begin = Instant::now();
        drop(ForeignFd::new(socket.into()));
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        // What was not sent is given up: the other end reads a reset, or what had come before it.
        let mut unread = unread;
        let read = std::thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            while matches!(std::io::Read::read(&mut unread, &mut bytes), Ok(1..)) {}
        });
        read.join().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }

    static GATE: AtomicBool = AtomicBool::new(false);

    fn wait_for_gate(fd: OwnedFd) {
        until("the gate", || GATE.load(Ordering::Relaxed));
        drop(fd);
    }

    #[test]
    fn what_waits_is_bounded_and_threads_end() {
        let closer: &'static Closer = Box::leak(Box::new(Closer::new(wait_for_gate)));
        for _ in 0..WAITING_MAX + THREADS_MAX {
            assert_eq!(closer.admit(), Ok(()));
            closer.close(null());
            until("a thread takes it", || {
                let state = closer.lock();
                state.threads == THREADS_MAX || state.waiting.is_empty()
            });
        }
        until("the threads are busy", || closer.lock().waiting.len() == WAITING_MAX);
        assert_eq!(closer.lock().threads, THREADS_MAX);
        let refused = closer.admit().unwrap_err();
        assert!(refused.to_string().contains("file descriptors from peers"), "{refused}");
        GATE.store(true, Ordering::Relaxed);
        until("threads that have nothing to do end", || closer.lock().threads == 0);
        assert_eq!(closer.admit(), Ok(()));
        assert_eq!(closer.lock().waiting.capacity(), 0);
    }

    #[test]
    fn memory_is_closed_in_place() {
        let memory = rustix::fs::memfd_create("monshm", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(is_memory(memory.as_fd()) && !is_memory(null().as_fd()));
    }
}
