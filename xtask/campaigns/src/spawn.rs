//! Starts a victim: this program again, with an operation to do, a socket, and the ledger.
//!
//! It hands nothing over: that is the survivor's.

use crate::ledger::{Ledger, phase};
use crate::tracer::{Pid, Stop};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The argument that makes this program a victim; operation and ledger follow.
pub(crate) const VICTIM: &str = "--victim";

/// A started victim. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Victim {
    pub(crate) pid: Pid,
    socket: Option<UnixStream>,
    waited_for: bool,
}

impl Victim {
    /// Starts a victim whose socket's other end we keep.
    pub(crate) fn start(operation: &str, ledger: &Ledger) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        Self::spawn(operation, ledger, theirs, Some(ours))
    }

    /// Starts a victim whose socket's other end is another victim's. What it complains of is not shown.
    pub(crate) fn start_quietly(operation: &str, ledger: &Ledger, theirs: UnixStream) -> io::Result<Self> {
        Self::spawn(operation, ledger, theirs, None)
    }

    fn spawn(operation: &str, ledger: &Ledger, theirs: UnixStream, socket: Option<UnixStream>) -> io::Result<Self> {
        ledger.clear();
        let mut command = Command::new("/proc/self/exe");
        command.args([VICTIM, operation, &ledger.fd().to_string()]);
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        if socket.is_none() {
            command.stderr(Stdio::null());
        }
        let child = command.spawn()?;
        // Waited for by number: ptrace stops are none of Child's business.
        Ok(Self { pid: Pid(child.id() as libc::pid_t), socket, waited_for: false })
    }

    /// Our end of its socket.
    ///
    /// # Errors
    /// When the other end is another victim's.
    pub(crate) fn socket(&self) -> io::Result<UnixStream> {
        self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }

    /// Waits until the ledger says that the victim is in its loop; not for ever.
    pub(crate) fn wait_until_ready(ledger: &Ledger) -> bool {
        let begin = Instant::now();
        while ledger.words().phase.load(Ordering::Acquire) == phase::STARTED {
            if begin.elapsed() > Duration::from_secs(10) {
                return false;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        true
    }

    /// Waits for the end of a victim that was killed. Answers how it ended.
    pub(crate) fn reap(&mut self) -> io::Result<Stop> {
        loop {
            match self.pid.wait()? {
                Stop::Signal(_) => {}
                end => {
                    self.waited_for = true;
                    return Ok(end);
                }
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !self.waited_for {
            self.pid.kill();
            // A failure means that somebody waited for it already.
            let _ = self.reap();
        }
    }
}
