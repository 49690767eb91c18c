//! The other side of the process under test. It meets that process, does its own part after the fault has happened, and
//! says what it saw.
//!
//! Nothing fails here: it runs in the driver, which nobody traces.

use super::intercept::Progress;
use super::operations::Outcome;
use super::usage::prove;
use harness::Process;
use harness::product::SIZE;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long the counterpart waits for anything: longer than the process under test.
pub(crate) const LONGER: Duration = Duration::from_secs(8);

/// How long the process under test goes on waiting after its fault.
const AFTER: Duration = Duration::from_millis(3);

/// How late a wake-up may be that failed once: slices are shorter, but the machine may be busy.
const WOKEN_WITHIN: Duration = Duration::from_secs(2);

/// The counterpart.
#[derive(Debug)]
pub(crate) struct Counterpart<'a> {
    /// The segment, where the driver made it.
    pub(crate) segment: Option<&'a Segment>,
    /// Our ends of the sockets of the process under test.
    pub(crate) sockets: &'a [UnixStream; 2],
    pub(crate) progress: &'a Progress,
}

impl<'a> Counterpart<'a> {
    /// The segment that the driver made.
    pub(crate) fn segment(&self) -> io::Result<&'a Segment> {
        Ok(self.segment.ok_or(io::ErrorKind::NotFound)?)
    }

    /// Sends it.
    pub(crate) fn send(&self) -> Result<&'a Segment, Box<dyn std::error::Error + Send + Sync>> {
        let segment = self.segment()?;
        segment.send(&self.sockets[0], DEFAULT_TIMEOUT)?;
        Ok(segment)
    }

    /// Takes a segment that the process under test sends, or the news that it cannot.
    pub(crate) fn take(socket: &UnixStream) -> Outcome {
        match Segment::receive(socket, SIZE, DEFAULT_TIMEOUT) {
            Ok(segment) => prove(&segment).map_err(|error| format!("what was received: {error}").into()),
            Err(error) => Self::accept(&error),
        }
    }

    /// Whether an error is what a failing process under test may cause on this side.
    pub(crate) fn accept(error: &monshm::Error) -> Outcome {
        match error.kind() {
            ErrorKind::PeerGone { .. } | ErrorKind::PeerRefused { .. } => Ok(()),
            // A process that gave up and sends anew makes a new token, and this side may still be at the first message.
            ErrorKind::TokenSpent => Ok(()),
            _ => Err(format!("the counterpart of a process that failed: {error}").into()),
        }
    }

    /// Waits until the process under test has come so far, does `work`, and lets it go on.
    pub(crate) fn meet(&self, work: impl FnOnce() -> Outcome) -> Outcome {
        let mut socket = &self.sockets[0];
        socket.read_exact(&mut [0]).map_err(|error| format!("the process under test did not come: {error}"))?;
        work()?;
        Ok(socket.write_all(b"!")?)
    }

    /// Waits until the process under test shuts its end, or ends itself.
    pub(crate) fn wait_for_end(&self) {
        // A time-out is the driver's business: it has a deadline for the process under test.
        let _ = (&self.sockets[0]).read(&mut [0]);
    }

    /// Waits until the fault has happened.
    pub(crate) fn wait_for_fault(&self) {
        let begin = Instant::now();
        while !self.progress.is_over() && begin.elapsed() < LONGER / 2 {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(AFTER);
    }

    /// The process under test has done its part: what came of it must be here soon.
    pub(crate) fn within(&self, what: &str) -> Outcome {
        match self.progress.over_for() {
            Some(late) if late > WOKEN_WITHIN => Err(format!("{what} {late:?} after it was given").into()),
            _ => Ok(()),
        }
    }

    /// Has another process die inside the lock.
    pub(crate) fn kill_inside(&self, segment: &Segment) -> Outcome {
        let dying = Process::start("die-inside")?;
        segment.send(&dying.link().0, DEFAULT_TIMEOUT)?;
        let inside = dying.hear();
        dying.child().end()?;
        inside.map(drop).map_err(|error| format!("the process that should die inside the lock: {error}").into())
    }
}
