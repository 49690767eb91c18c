//! The process under test, in which a call fails: it does its operation between two marks, and then checks itself. Does
//! what it got work, does a later attempt, has it kept a descriptor or a mapping?
//!
//! Which call fails is the driver's business, and what the answer is worth the judge's.

use super::operations::{Operation, Outcome};
use super::report::{Failure, Report};
use super::target::Target;
use harness::product::SIZE;
use harness::{Census, Link, trace};
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long the process under test waits for what its counterpart will do.
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// How long it waits for what will not happen.
pub(crate) const DEADLINE: Duration = Duration::from_millis(150);

/// By how much a deadline may be missed here: the machine may be busy, and the process is traced.
const LATE: Duration = Duration::from_secs(2);

/// The process under test.
#[derive(Debug)]
pub(crate) struct Tested {
    pub(crate) target: Target,
    /// Each attempt has a socket of its own.
    pub(crate) sockets: [UnixStream; 2],
    report: RefCell<Report>,
}

/// The role of the process under test. It gets its operation, the number of its target, and two sockets.
pub(crate) fn role(link: &Link) -> harness::process::Outcome {
    let message = link.receive()?.ok_or("no message came")?;
    let (name, number) = message.text.split_once(' ').ok_or("no number of a target")?;
    let target = Target::all().nth(number.parse()?).ok_or("no such target")?;
    let name = name.to_owned();
    let test = Tested { target, sockets: message.sockets()?, report: RefCell::default() };
    let operation = Operation::all(target).iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| format!("there is no operation `{name}`"))?;
    // What is there before the segment.
    let before = Census::of_process();
    if let Err(error) = (operation.tested)(&test) {
        test.find(format!("the process under test came to no end: {error}"));
    }
    let after = Census::of_process();
    if (&after.fds, &after.mappings) != (&before.fds, &before.mappings) {
        test.find(format!("leaked or closed: {after:?}, before {before:?}"));
    }
    Ok(link.say(serde_json::to_string(&*test.report.borrow())?)?)
}

impl Tested {
    /// Receives the segment that the counterpart made.
    pub(crate) fn receive(&self) -> monshm::Result<Segment> {
        Segment::receive(&self.sockets[0], SIZE, DEFAULT_TIMEOUT)
    }

    /// The same, and meets the counterpart.
    pub(crate) fn join(&self) -> Result<Segment, Box<dyn std::error::Error + Send + Sync>> {
        let segment = self.receive()?;
        self.meet()?;
        Ok(segment)
    }

    /// Tells the counterpart that this process has come so far, and waits until that one has.
    pub(crate) fn meet(&self) -> io::Result<()> {
        let mut socket = &self.sockets[0];
        socket.write_all(b"!")?;
        socket.read_exact(&mut [0])
    }

    /// Notes what was chosen and why, and proves that it works.
    pub(crate) fn chosen(&self, made: &Segment, prove: fn(&Segment) -> Outcome) -> Outcome {
        self.report.borrow_mut().chose(made);
        prove(made)
    }

    /// Tries between two marks, on the first socket; if that fails, once more, on the second.
    pub(crate) fn attempt<T>(
        &self,
        operation: impl Fn(&UnixStream) -> monshm::Result<T>,
        check: impl Fn(&T) -> Outcome,
    ) -> Outcome {
        self.attempt_once(operation, &check, &check)
    }

    /// The same, where the later attempt meets other circumstances: its counterpart has ended.
    pub(crate) fn attempt_once<T>(
        &self,
        operation: impl Fn(&UnixStream) -> monshm::Result<T>,
        check: impl Fn(&T) -> Outcome,
        check_later: impl Fn(&T) -> Outcome,
    ) -> Outcome {
        let error = match marked(|| operation(&self.sockets[0])) {
            Ok(value) => {
                if let Err(error) = check(&value) {
                    self.find(format!("it answered that all is well, but: {error}"));
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.report.borrow_mut().error = Some(Failure::from(&error));
        let poisoned = matches!(error.kind(), ErrorKind::Corrupt { .. } | ErrorKind::Poisoned);
        // The id of a semaphore set that was found gone once is never used again: another set may have it.
        let gone = matches!(error.kind(), ErrorKind::Gone { .. });
        drop(error);
        self.sockets[0].shutdown(Shutdown::Both)?;
        match operation(&self.sockets[1]) {
            Ok(value) => {
                if let Err(error) = check_later(&value) {
                    self.find(format!("a later attempt answered that all is well, but: {error}"));
                }
            }
            Err(error) if poisoned && error.kind() == ErrorKind::Poisoned => {}
            Err(error) if gone && matches!(error.kind(), ErrorKind::Gone { .. }) => {}
            Err(error) => self.find(format!("a later attempt failed as well: {error}")),
        }
        Ok(())
    }

    fn find(&self, finding: String) {
        self.report.borrow_mut().findings.push(finding);
    }
}

/// Does `operation` between two marks.
pub(crate) fn marked<T>(operation: impl FnOnce() -> T) -> T {
    trace::be_traced();
    trace::mark();
    let value = operation();
    trace::mark();
    value
}

/// Waits for what will not happen. How long that took, if the time was up.
pub(crate) fn timed<T>(wait: impl FnOnce() -> monshm::Result<T>) -> monshm::Result<Option<Duration>> {
    let begin = Instant::now();
    match wait() {
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => Ok(Some(begin.elapsed())),
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    }
}

/// Whether a wait took as long as it should.
pub(crate) fn on_time(took: &Option<Duration>) -> Outcome {
    match took {
        None => Err("what was waited for cannot have come".into()),
        Some(took) if *took < DEADLINE => Err(format!("a wait of {DEADLINE:?} ended after {took:?}").into()),
        Some(took) if *took > DEADLINE + LATE => Err(format!("a wait of {DEADLINE:?} took {took:?}").into()),
        Some(_) => Ok(()),
    }
}

/// The role of a process that receives a segment over its link, takes the lock, and waits for its end.
pub(crate) fn die_inside(link: &Link) -> harness::process::Outcome {
    let segment = Segment::receive(&link.0, SIZE, DEFAULT_TIMEOUT)?;
    let _guard = segment.lock()?;
    link.say("inside")?;
    // Nothing comes: it ends with the link at the latest.
    let _ = link.receive();
    Ok(())
}

/// The role of a creator that ends without releasing its segment: it gets the number of its target.
pub(crate) fn abandon(link: &Link) -> harness::process::Outcome {
    let target = Target::all().nth(link.hear()?.parse()?).ok_or("no such target")?;
    std::mem::forget(target.builder(SIZE).create()?);
    Ok(())
}
