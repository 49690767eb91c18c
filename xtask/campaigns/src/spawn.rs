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
    pub(crate) socket: UnixStream,
    waited_for: bool,
}

impl Victim {
    /// Starts a victim whose socket's other end is kept.
    pub(crate) fn start(operation: &str, ledger: &Ledger) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        Self::start_with(operation, ledger, socket, theirs)
    }

    /// Starts a victim with one end of a socket pair; the other end stays with us.
    pub(crate) fn start_with(
        operation: &str,
        ledger: &Ledger,
        ours: UnixStream,
        theirs: UnixStream,
    ) -> io::Result<Self> {
        ledger.clear();
        let mut command = Command::new("/proc/self/exe");
        command.args([VICTIM, operation, &ledger.fd().to_string()]);
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        // Waited for by number: ptrace stops are none of Child's business.
        Ok(Self { pid: Pid(child.id() as libc::pid_t), socket: ours, waited_for: false })
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
