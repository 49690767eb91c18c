//! One run: a subject, its partner, and a deadline; and what was seen of all three.
//!
//! It judges nothing.

use super::intercept::{Followed, Injection, Progress, follow};
use super::report::Report;
use super::scene::{Place, Scene, Side};
use super::usage::prove_pair;
use super::{SUBJECT, partner};
use crate::cell::SIZE;
use crate::census::Census;
use crate::tracer::{Pid, Stop};
use std::error::Error;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::scope;
use std::time::Duration;

/// After how long a subject counts as hung. All its own waits are shorter.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long a partner waits for a byte of its subject.
const SILENCE: Duration = Duration::from_secs(10);

/// A started subject.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) pid: Pid,
    /// Our ends of its sockets.
    pub(crate) sockets: [UnixStream; 2],
}

/// What was seen in one run.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) followed: Followed,
    pub(crate) report: Option<Report>,
    /// What it wrote to its error output.
    pub(crate) complaints: String,
    pub(crate) end: Stop,
    pub(crate) hung: bool,
    /// What the partner says is wrong.
    pub(crate) partner: Option<String>,
    /// What is wrong with the segment once the subject is gone.
    pub(crate) after: Option<String>,
    /// Names and ids that are left.
    pub(crate) left: Vec<String>,
}

/// Starts a subject.
pub(crate) fn start(operation: &str, place: Place) -> io::Result<Started> {
    let ((ours, theirs), (our_second, their_second)) = (UnixStream::pair()?, UnixStream::pair()?);
    let mut command = Command::new("/proc/self/exe");
    command.args([SUBJECT, operation, &place.index().to_string()]);
    for socket in [&theirs, &their_second] {
        // SAFETY: the descriptor is open; the call changes a flag of it.
        if unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        command.arg(socket.as_raw_fd().to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let sockets = [ours, our_second];
    for socket in &sockets {
        socket.set_read_timeout(Some(SILENCE))?;
    }
    Ok(Started { pid: Pid(child.id() as libc::pid_t), child, sockets })
}

/// Runs `scene`, and lets the call of `injection` fail.
pub(crate) fn run(place: Place, scene: Scene, injection: Option<&Injection>) -> Result<Seen, Box<dyn Error>> {
    let before = Census::take();
    let segment = match scene.side {
        Side::Peer => Some(place.builder(SIZE).create()?),
        Side::Creator | Side::Neither => None,
    };
    let progress = Progress::default();
    let mut started = start(scene.name, place)?;
    let (pid, sockets) = (started.pid, started.sockets);
    let (over, is_over) = channel::<()>();
    let (followed, end, hung, partner) = scope(|scope| {
        let partner = scope.spawn(|| {
            let said = partner::act(place, scene, segment.as_ref(), &sockets, &progress);
            said.err().map(|error| error.to_string())
        });
        let watchdog = scope.spawn(move || {
            let late = is_over.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
            if late {
                pid.kill();
            }
            late
        });
        let outcome = follow_to_end(pid, injection, &progress);
        drop(over);
        progress.finish();
        let hung = watchdog.join().map_err(|_| "the watchdog panicked")?;
        for socket in &sockets {
            // The subject is gone: its partner need not wait for it.
            let _ = socket.shutdown(std::net::Shutdown::Read);
        }
        let partner = partner.join().map_err(|_| "the partner panicked")?;
        let (followed, end) = outcome?;
        Ok::<_, Box<dyn Error>>((followed, end, hung, partner))
    })?;
    let (report, complaints) = output(&mut started.child)?;
    let after = segment.as_ref().and_then(|segment| prove_pair(segment).err()).map(|error| error.to_string());
    drop(segment);
    let left = Census::take().since(&before);
    Ok(Seen { followed, report, complaints, end, hung, partner, after, left })
}

/// Runs a subject that nobody traces and that has no partner.
pub(crate) fn run_free(operation: &str, place: Place) -> Result<Seen, Box<dyn Error>> {
    let before = Census::take();
    let mut started = start(operation, place)?;
    let pid = started.pid;
    let (over, is_over) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = is_over.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
        if late {
            pid.kill();
        }
        late
    });
    let end = pid.wait()?;
    drop(over);
    let hung = watchdog.join().map_err(|_| "the watchdog panicked")?;
    let (report, complaints) = output(&mut started.child)?;
    let followed = Followed { calls: Vec::new(), hit: false, end: None };
    let left = Census::take().since(&before);
    Ok(Seen { followed, report, complaints, end, hung, partner: None, after: None, left })
}

/// Follows a subject between its marks, and waits for its end.
fn follow_to_end(
    pid: Pid,
    injection: Option<&Injection>,
    progress: &Progress,
) -> Result<(Followed, Stop), Box<dyn Error>> {
    match pid.wait()? {
        Stop::Signal(libc::SIGTRAP) => pid.prepare()?,
        end => {
            let followed = Followed { calls: Vec::new(), hit: false, end: Some(end) };
            return Ok((followed, end));
        }
    }
    let followed = follow(pid, injection, progress)?;
    let end = match followed.end {
        Some(end @ (Stop::Exited(_) | Stop::Killed(_))) => return Ok((followed, end)),
        Some(signal @ Stop::Signal(_)) => {
            // A signal that nobody sent: the end that it would have been.
            pid.kill();
            pid.wait()?;
            signal
        }
        None => loop {
            match pid.wait()? {
                Stop::Signal(_) => {}
                end => break end,
            }
        },
    };
    Ok((followed, end))
}

/// What a subject that has ended said of itself, and what it complained of.
fn output(child: &mut Child) -> io::Result<(Option<Report>, String)> {
    let (mut said, mut complaints) = (String::new(), String::new());
    if let Some(output) = &mut child.stdout {
        output.read_to_string(&mut said)?;
    }
    if let Some(output) = &mut child.stderr {
        output.read_to_string(&mut complaints)?;
    }
    Ok((serde_json::from_str(said.trim()).ok(), complaints))
}
