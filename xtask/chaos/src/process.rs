//! Starts a victim: this program again, with an operation to do, a socket, and the page of its progress.
//!
//! It hands no segment over: that is the survivor's.

use crate::Outcome;
use crate::progress::{Progress, phase};
use harness::trace::Stride;
use harness::{Child, Process, Stop};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A started victim. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Victim {
    process: Process,
    socket: Option<UnixStream>,
}

impl Victim {
    /// Starts a victim whose socket's other end we keep.
    pub(crate) fn start(operation: &str, progress: &Progress) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = spawn(operation, progress, &theirs, |_| {})?;
        Ok(Self { process, socket: Some(ours) })
    }

    /// Starts a victim whose socket's other end is another victim's. What it complains of is not shown.
    pub(crate) fn start_quietly(operation: &str, progress: &Progress, theirs: &UnixStream) -> io::Result<Self> {
        let process = spawn(operation, progress, theirs, |command| _ = command.stderr(Stdio::null()))?;
        Ok(Self { process, socket: None })
    }

    /// Its process.
    pub(crate) fn child(&self) -> &Child {
        self.process.child()
    }

    /// Our end of its socket.
    ///
    /// # Errors
    /// When the other end is another victim's.
    pub(crate) fn socket(&self) -> io::Result<UnixStream> {
        self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }

    /// Waits until the page says that the victim is in its loop; not for ever.
    pub(crate) fn wait_until_ready(progress: &Progress) -> bool {
        let begin = Instant::now();
        while progress.words().phase.load(Ordering::Acquire) == phase::STARTED {
            if begin.elapsed() > Duration::from_secs(10) {
                return false;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        true
    }

    /// Waits until the victim stands at its mark.
    pub(crate) fn come_to_mark(&self) -> Outcome {
        match self.child().wait()? {
            Stop::Signal(libc::SIGTRAP) => Ok(self.child().prepare()?),
            other => Err(format!("a victim did not come to its mark: {other:?}").into()),
        }
    }

    /// Lets a victim that stands at its mark make `point` strides, or less if its operation returns before.
    pub(crate) fn follow(&self, progress: &Progress, stride: Stride, point: u64) -> Outcome<u64> {
        let mut made = 0;
        while made < point && progress.words().phase.load(Ordering::Acquire) != phase::DONE {
            self.child().go_on(stride)?;
            match self.child().wait()? {
                Stop::Signal(_) => made += 1,
                other => return Err(format!("a victim ended by itself after {made} strides: {other:?}").into()),
            }
        }
        Ok(made)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may stand at a mark, where it would not hear that its link is closed.
        self.child().kill();
    }
}

fn spawn(
    operation: &str,
    progress: &Progress,
    theirs: &UnixStream,
    set: impl FnOnce(&mut Command),
) -> io::Result<Process> {
    progress.clear();
    let process = Process::start_with("victim", set)?;
    process.send(operation, &[progress.fd(), theirs.as_fd()])?;
    Ok(process)
}
