//! The subject: the process in which a call fails. It comes to its operation, does it between two marks, and then looks
//! at itself: does what it got work, does a later attempt, has it kept a descriptor or a mapping.
//!
//! Which call fails is the driver's business; what the answer is worth is the judge's.

use super::hardship::{CASES, OPERATION};
use super::report::{Report, Told};
use super::scene::Place;
use super::usage::{prove, prove_pair};
use super::{life, stage};
use crate::cell::SIZE;
use crate::census::Census;
use crate::tracer;
use monshm::{AttachOptions, DEFAULT_TIMEOUT, ErrorKind, PreviousHolder, Segment, rbuf};
use std::alloc::Layout;
use std::cell::RefCell;
use std::error::Error;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a subject waits for what its partner will do.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits for what will not happen.
const SHORT: Duration = Duration::from_millis(150);

/// By how much a deadline may be missed here: the machine may be busy, and the subject is traced.
const LATE: Duration = Duration::from_secs(2);

/// One record, with its label.
const LABEL: rbuf::record::Label = rbuf::record::Label::kind(1);
const RECORD: [u8; 1000] = [7; 1000];

type Outcome = Result<(), Box<dyn Error>>;

/// Runs a subject: operation, number of the place, descriptors of the first and the second socket.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let operation = arguments.next().unwrap_or_default();
    let mut number = || arguments.next().and_then(|text| text.parse::<i32>().ok()).unwrap_or(-1);
    let (place, first, second) = (number(), number(), number());
    let places = Place::all();
    let Some(place) = places.get(place as usize).copied() else { return ExitCode::FAILURE };
    // SAFETY: the driver gave us these sockets by number, and nothing else here uses them.
    let sockets = [first, second].map(|fd| UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) }));
    let subject = Subject { place, sockets, before: Census::take(), report: RefCell::default() };
    if let Err(error) = subject.run(&operation) {
        subject.find(format!("the subject came to no end: {error}"));
    }
    // Nothing of a segment may be left in this process, as far as it can still look at itself.
    if !operation.starts_with(OPERATION) {
        subject.look_back();
    }
    match serde_json::to_string(&*subject.report.borrow()) {
        Ok(line) => println!("{line}"),
        Err(_) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

struct Subject {
    place: Place,
    sockets: [UnixStream; 2],
    /// What was there before the segment.
    before: Census,
    report: RefCell<Report>,
}

impl Subject {
    fn run(&self, operation: &str) -> Outcome {
        if let Some(name) = operation.strip_prefix(OPERATION) {
            return self.suffer(name.trim_start());
        }
        let first = &self.sockets[0];
        let create = || self.place.builder(SIZE).create();
        match operation {
            "create" => self.attempt(|_| create(), |made| self.chosen(made, prove_pair)),
            "create-for-other" => {
                self.attempt(|_| self.place.builder_for_other(SIZE).create(), |made| self.chosen(made, prove))
            }
            "create-by-bytes-for-other" => self.attempt(
                |_| self.place.builder_for_other(SIZE).reachable_by_bytes(true).create(),
                |made| self.chosen(made, prove),
            ),
            "encode" => {
                let segment = create()?;
                self.attempt(
                    |_| segment.encode(),
                    |encoded| {
                        let fd = encoded.fd.as_ref().map(OwnedFd::try_clone).transpose()?;
                        prove(&Segment::decode(&encoded.bytes, fd, SIZE)?)
                    },
                )
            }
            "send" => {
                let segment = create()?;
                self.attempt(|socket| segment.send(socket, DEFAULT_TIMEOUT), |()| prove(&segment))
            }
            "drop" => {
                let segment = create()?;
                segment.send(first, DEFAULT_TIMEOUT)?;
                self.sync()?;
                marked(move || drop(segment));
                Ok(())
            }
            "drop-alone" => {
                let segment = create()?;
                drop(segment.encode()?);
                marked(move || drop(segment));
                Ok(())
            }
            "receive" => self.attempt(|socket| Segment::receive(socket, SIZE, DEFAULT_TIMEOUT), prove),
            "decode" => {
                let bytes = [bytes_from(first)?, bytes_from(&self.sockets[1])?];
                let which = |socket| if std::ptr::eq(socket, first) { &bytes[0] } else { &bytes[1] };
                self.attempt(|socket| AttachOptions::new(SIZE).decode(which(socket), None), prove)
            }
            "clean" => self.attempt(
                |_| {
                    let report = monshm::clean(true)?;
                    match report.unseen().first() {
                        Some((_, error)) => Err(error.clone()),
                        None => Ok(report.left().count()),
                    }
                },
                |_| Ok(()),
            ),
            "die-inside" => {
                let segment = Segment::receive(first, SIZE, DEFAULT_TIMEOUT)?;
                let _guard = segment.lock()?;
                self.sync()?;
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            "abandon" => {
                std::mem::forget(create()?);
                Ok(())
            }
            _ => {
                let segment = Segment::receive(first, SIZE, DEFAULT_TIMEOUT)?;
                match operation {
                    "detach" => {
                        marked(move || drop(segment));
                        Ok(())
                    }
                    "push-wait" | "push-timed-out" | "push-waking" => self.push(operation, &segment),
                    "pop-wait" | "pop-timed-out" => self.pop(operation, &segment),
                    _ => self.work(operation, &segment),
                }
            }
        }
    }

    /// Lives under a hardship.
    fn suffer(&self, name: &str) -> Outcome {
        let case = CASES.iter().find(|case| case.name == name).ok_or("there is no such case")?;
        // Started before: it is spared. Where calls are refused for good, waits must end all the same.
        let waits = case.name.contains("futex") || case.name.contains("membarrier") || case.name == "old kernel";
        let holder = if waits { Some(stage::start("die-inside", self.place)?) } else { None };
        (case.arrange)()?;
        life::live(self.place, case.size, holder, &mut self.report.borrow_mut());
        Ok(())
    }

    /// Notes what was chosen and why, and proves that it works.
    fn chosen(&self, made: &Segment, prove: fn(&Segment) -> Outcome) -> Outcome {
        let mut report = self.report.borrow_mut();
        report.selection = Some(made.selection().to_string());
        let refusals = made.selection().refusals();
        report.refusals = refusals.iter().map(|refusal| Told::from(&refusal.error)).collect();
        drop(report);
        prove(made)
    }

    /// Locks, and what is done under them.
    fn work(&self, operation: &str, segment: &Segment) -> Outcome {
        match operation {
            "lock" | "lock-contended" => {
                self.sync()?;
                self.attempt(|_| segment.lock_timeout(PATIENCE), |_| Ok(()))
            }
            "take-over" => {
                self.sync()?;
                self.attempt(
                    |_| segment.lock_timeout(PATIENCE),
                    |guard| match guard.previous_holder() {
                        PreviousHolder::Died => Ok(()),
                        PreviousHolder::Released => Err("a dead holder was not told of".into()),
                    },
                )
            }
            "try-lock-held" => {
                self.sync()?;
                self.attempt_once(
                    |_| segment.try_lock().map(|guard| guard.is_none()),
                    |held| if *held { Ok(()) } else { Err("a lock was given that is held".into()) },
                    |_| Ok(()),
                )
            }
            "lock-timed-out" => {
                self.sync()?;
                self.attempt_once(|_| timed(|| segment.lock_timeout(SHORT)), on_time, |_| Ok(()))
            }
            "unlock" | "unlock-waited" => {
                let guard = segment.lock_timeout(PATIENCE)?;
                self.sync()?;
                if operation == "unlock-waited" {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let guard = RefCell::new(Some(guard));
                let unlock = || guard.borrow_mut().take().map_or(Ok(()), monshm::Guard::unlock);
                self.attempt(|_| unlock(), |()| Ok(()))
            }
            "alloc" => {
                self.sync()?;
                let layout = Layout::from_size_align(64, 8)?;
                self.attempt(|_| segment.alloc(layout), |_| Ok(()))
            }
            "ring" => {
                self.sync()?;
                self.attempt(|_| segment.ring().map(drop), |()| Ok(()))
            }
            "append-read" => {
                self.sync()?;
                let ring = segment.ring()?;
                let guard = segment.lock_timeout(PATIENCE)?;
                let mut back = [0; 16];
                let attempted = self.attempt(
                    |_| {
                        ring.append(&[5; 16])?;
                        Ok(())
                    },
                    |()| Ok(()),
                );
                ring.read(&mut back)?;
                drop(guard);
                attempted
            }
            "claim" => {
                self.sync()?;
                self.attempt(|_| Ok((segment.producer()?, segment.consumer()?)), |_| Ok(()))
            }
            other => Err(format!("there is no operation `{other}`").into()),
        }
    }

    /// The producer's waits.
    fn push(&self, operation: &str, segment: &Segment) -> Outcome {
        let mut producer = segment.producer()?;
        if operation != "push-waking" {
            while producer.push_wait(LABEL, &RECORD, Duration::ZERO).is_ok() {}
        }
        self.sync()?;
        if operation == "push-waking" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let producer = RefCell::new(producer);
        let push = |timeout| producer.borrow_mut().push_wait(LABEL, &RECORD, timeout);
        if operation == "push-timed-out" {
            self.attempt_once(|_| timed(|| push(SHORT)), on_time, |_| Ok(()))
        } else {
            self.attempt(|_| push(PATIENCE), |()| Ok(()))
        }
    }

    /// The consumer's waits.
    fn pop(&self, operation: &str, segment: &Segment) -> Outcome {
        let consumer = RefCell::new(segment.consumer()?);
        self.sync()?;
        let pop = |timeout| {
            let mut record = [0; RECORD.len()];
            let found = consumer.borrow_mut().pop_wait(&mut record, timeout)?;
            Ok(found.len() == RECORD.len() && record == RECORD)
        };
        if operation == "pop-timed-out" {
            self.attempt_once(|_| timed(|| pop(SHORT)), on_time, |_| Ok(()))
        } else {
            let whole = |whole: &bool| if *whole { Ok(()) } else { Err("another record came".into()) };
            self.attempt(|_| pop(PATIENCE), whole)
        }
    }

    /// Tries between two marks, on the first socket; if that fails, once more, on the second.
    fn attempt<T>(
        &self,
        operation: impl Fn(&UnixStream) -> monshm::Result<T>,
        check: impl Fn(&T) -> Outcome,
    ) -> Outcome {
        self.attempt_once(operation, &check, &check)
    }

    /// The same, where the later attempt meets other circumstances: its partner has ended.
    fn attempt_once<T>(
        &self,
        operation: impl Fn(&UnixStream) -> monshm::Result<T>,
        check: impl Fn(&T) -> Outcome,
        check_later: impl Fn(&T) -> Outcome,
    ) -> Outcome {
        let outcome = marked(|| operation(&self.sockets[0]));
        match outcome {
            Ok(value) => {
                if let Err(error) = check(&value) {
                    self.find(format!("it answered that all is well, but: {error}"));
                }
            }
            Err(error) => {
                self.report.borrow_mut().error = Some(Told::from(&error));
                let poisoned = matches!(error.kind(), ErrorKind::Corrupt { .. } | ErrorKind::Poisoned);
                drop(error);
                self.sockets[0].shutdown(Shutdown::Both)?;
                match operation(&self.sockets[1]) {
                    Ok(value) => {
                        if let Err(error) = check_later(&value) {
                            self.find(format!("a later attempt answered that all is well, but: {error}"));
                        }
                    }
                    Err(error) if poisoned && error.kind() == ErrorKind::Poisoned => {}
                    Err(error) => self.find(format!("a later attempt failed as well: {error}")),
                }
            }
        }
        Ok(())
    }

    fn look_back(&self) {
        let (before, after) = (&self.before, Census::take());
        if (after.fds, after.mappings) != (before.fds, before.mappings) {
            self.find(format!(
                "leaked: {} file descriptors and {} mappings, before {} and {}",
                after.fds, after.mappings, before.fds, before.mappings
            ));
        }
    }

    /// Tells the partner that we have come so far, and waits until it has.
    fn sync(&self) -> Outcome {
        let mut socket = &self.sockets[0];
        socket.write_all(b"!")?;
        socket.read_exact(&mut [0])?;
        Ok(())
    }

    fn find(&self, finding: String) {
        self.report.borrow_mut().findings.push(finding);
    }
}

/// Does `operation` between two marks.
fn marked<T>(operation: impl FnOnce() -> T) -> T {
    tracer::be_traced();
    tracer::mark();
    let value = operation();
    tracer::mark();
    value
}

/// Waits for what will not happen. How long that took, if the time was up.
fn timed<T>(wait: impl FnOnce() -> monshm::Result<T>) -> monshm::Result<Option<Duration>> {
    let begin = Instant::now();
    match wait() {
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => Ok(Some(begin.elapsed())),
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    }
}

fn on_time(took: &Option<Duration>) -> Outcome {
    match took {
        None => Err("what was waited for cannot have come".into()),
        Some(took) if *took < SHORT => Err(format!("a wait of {SHORT:?} ended after {took:?}").into()),
        Some(took) if *took > SHORT + LATE => Err(format!("a wait of {SHORT:?} took {took:?}").into()),
        Some(_) => Ok(()),
    }
}

/// Descriptor bytes, behind their length.
fn bytes_from(mut socket: &UnixStream) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut len = [0; 4];
    socket.read_exact(&mut len)?;
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}
