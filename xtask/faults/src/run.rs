//! One run: a process under test, its counterpart, and a deadline; and what was seen of all three.
//!
//! It judges nothing.

use super::counterpart::Counterpart;
use super::intercept::{Followed, Injection, Progress, follow};
use super::operations::{Operation, Side};
use super::report::Report;
use super::target::Target;
use super::usage::prove_pair;
use harness::census::Object;
use harness::child::within;
use harness::product::SIZE;
use harness::{Census, Child, Process, Stop};
use std::error::Error;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

/// After how long a process counts as hung. All its own waits are shorter.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a counterpart waits for a byte of the process under test.
const SILENCE: Duration = Duration::from_secs(10);

/// What was seen in one run.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) followed: Followed,
    pub(crate) report: Option<Report>,
    /// What it wrote to its error output.
    pub(crate) complaints: String,
    pub(crate) end: Stop,
    pub(crate) hung: bool,
    /// What the counterpart says is wrong.
    pub(crate) counterpart: Option<String>,
    /// What is wrong with the segment once the process under test is gone.
    pub(crate) after: Option<String>,
    /// Names and ids that are left.
    pub(crate) left: Vec<Object>,
}

/// Runs `operation`, and lets the call of `injection` fail.
pub(crate) fn run(
    target: Target,
    operation: &Operation,
    injection: Option<&Injection>,
) -> Result<Seen, Box<dyn Error>> {
    let before = Census::take();
    let segment = match operation.side {
        Side::Peer => Some(target.builder(SIZE).create()?),
        Side::Creator | Side::Neither => None,
    };
    let progress = Progress::default();
    let process = start("tested")?;
    let sockets = give_sockets(&process, &format!("{} {}", operation.name, target.index()))?;
    let (followed, hung, counterpart) = std::thread::scope(|scope| {
        let counterpart = Counterpart { segment: segment.as_ref(), sockets: &sockets, progress: &progress };
        let counterpart = scope.spawn(move || (operation.counterpart)(&counterpart));
        let (followed, hung) = within(process.child(), TIMEOUT, || to_the_end(process.child(), injection, &progress));
        progress.finish();
        for socket in &sockets {
            // The process under test is gone: its counterpart need not wait for it.
            let _ = socket.shutdown(std::net::Shutdown::Read);
        }
        (followed, hung, counterpart.join())
    });
    let counterpart = counterpart.map_err(|_| "the counterpart panicked")?.err().map(|error| error.to_string());
    let (followed, end) = followed?;
    let (report, complaints) = output(process)?;
    let after = segment.as_ref().and_then(|segment| prove_pair(segment).err()).map(|error| error.to_string());
    drop(segment);
    let left = Census::take().since(&before);
    Ok(Seen { followed, report, complaints, end, hung, counterpart, after, left })
}

/// Runs a process in a role that nobody traces and that has no counterpart; `message` says what it shall do.
pub(crate) fn run_free(role: &str, message: &str) -> Result<Seen, Box<dyn Error>> {
    let before = Census::take();
    let process = start(role)?;
    process.say(message)?;
    let (end, hung) = within(process.child(), TIMEOUT, || process.child().wait_for_end());
    let (report, complaints) = output(process)?;
    let (followed, left) = (Followed::default(), Census::take().since(&before));
    Ok(Seen { followed, report, complaints, end: end?, hung, counterpart: None, after: None, left })
}

/// Starts a process in a role, whose error output is kept.
fn start(role: &str) -> io::Result<Process> {
    Process::start_with(role, |command| _ = command.stderr(Stdio::piped()))
}

/// Sends a process what it shall do, and two sockets. Gives our ends of them.
fn give_sockets(process: &Process, message: &str) -> io::Result<[UnixStream; 2]> {
    let ((first, their_first), (second, their_second)) = (UnixStream::pair()?, UnixStream::pair()?);
    process.send(message, &[their_first.as_fd(), their_second.as_fd()])?;
    let sockets = [first, second];
    for socket in &sockets {
        socket.set_read_timeout(Some(SILENCE))?;
    }
    Ok(sockets)
}

/// Follows a process under test between its marks, and waits for its end.
fn to_the_end(child: &Child, injection: Option<&Injection>, progress: &Progress) -> io::Result<(Followed, Stop)> {
    match child.wait()? {
        Stop::Signal(libc::SIGTRAP) => child.prepare()?,
        end => {
            child.end()?;
            return Ok((Followed { end: Some(end), ..Followed::default() }, end));
        }
    }
    let followed = follow(child, injection, progress)?;
    let end = match followed.end {
        Some(signal @ Stop::Signal(_)) => {
            // A signal that nobody sent: the end that it would have been.
            child.end()?;
            signal
        }
        Some(end) => end,
        None => child.wait_for_end()?,
    };
    Ok((followed, end))
}

/// What a process that has ended said of itself, and what it complained of.
fn output(mut process: Process) -> io::Result<(Option<Report>, String)> {
    let mut complaints = String::new();
    if let Some(output) = &mut process.stderr {
        output.read_to_string(&mut complaints)?;
    }
    let said = process.hear().ok();
    Ok((said.and_then(|said| serde_json::from_str(&said).ok()), complaints))
}
