//! The victim's instruments: each call is timed and its answer compared with what the contract allows. At the end its
//! private memory, descriptors and mappings are checked.
//!
//! Time during which the thread was ready to run and the machine ran others does not count as lateness.

use crate::attack::{Done, Fallible};
use crate::guarded::{Canaries, Guarded};
use crate::process::Process;
use crate::report::Event;
use harness::Census;
use monshm::{DEFAULT_TIMEOUT, Error, ErrorKind, Guard, PreviousHolder, Segment, ring};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// For calls that never wait.
pub(crate) const AT_ONCE: Duration = Duration::ZERO;

/// How late a call may be.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// Faults that are reported; more of the same tell nothing new.
const FAULTS_MAX: u32 = 5;

/// How long the library may take to close what a peer sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The names of answers that a call may give.
pub(crate) type Answers = [&'static str];

/// The victim: a process with instruments.
#[derive(Debug)]
pub(crate) struct Victim<'a> {
    process: &'a mut Process,
    /// Whether every expectation is turned round. A scenario that then has no fault does not judge.
    inverted: bool,
    answers: BTreeMap<String, u64>,
    faults: u32,
    late: Duration,
    late_at: &'static str,
    at: &'static str,
    case: String,
    schedule: Option<File>,
    canaries: Canaries,
    before: Census,
}

impl Deref for Victim<'_> {
    type Target = Process;

    fn deref(&self) -> &Process {
        self.process
    }
}

impl DerefMut for Victim<'_> {
    fn deref_mut(&mut self) -> &mut Process {
        self.process
    }
}

impl<'a> Victim<'a> {
    pub(crate) fn new(process: &'a mut Process, inverted: bool) -> Self {
        Self {
            process,
            inverted,
            answers: BTreeMap::new(),
            faults: 0,
            late: Duration::ZERO,
            late_at: "",
            at: "",
            case: String::new(),
            schedule: File::open("/proc/thread-self/schedstat").ok(),
            canaries: Canaries::new(),
            before: Census::of_process(),
        }
    }

    /// Names what is attacked next, for the faults that follow.
    pub(crate) fn case(&mut self, name: impl Into<String>) {
        self.case = name.into();
    }

    /// Lets the attacker do its part, and waits until it has.
    pub(crate) fn let_attack(&mut self) -> io::Result<()> {
        self.signal()?;
        self.await_signal()
    }

    /// Does `call`, which shall end within `limit`, and judges its answer: the name of the error's kind, or `Ok`, must
    /// be among `allowed`. Answers the value, if there is one.
    pub(crate) fn call<T>(
        &mut self,
        what: &'static str,
        limit: Duration,
        allowed: &Answers,
        call: impl FnOnce() -> monshm::Result<T>,
    ) -> Option<T> {
        let answer = self.timed(what, limit, call);
        self.judge(what, allowed, "Ok", answer)
    }

    /// Takes the lock. A success is named `Clean` or `OwnerDied`.
    pub(crate) fn lock<'s>(&mut self, segment: &'s Segment, limit: Duration, allowed: &Answers) -> Option<Guard<'s>> {
        let answer = self.timed("lock", limit, || segment.lock_timeout(limit));
        let name = match answer.as_ref().map(Guard::previous_holder) {
            Ok(PreviousHolder::Died) => "OwnerDied",
            _ => "Clean",
        };
        self.judge("lock", allowed, name, answer)
    }

    /// Tries to take the lock. A refusal because somebody holds it is named `WouldBlock`.
    pub(crate) fn try_lock<'s>(&mut self, segment: &'s Segment, allowed: &Answers) -> Option<Guard<'s>> {
        let answer = self.timed("try_lock", AT_ONCE, || segment.try_lock());
        let name = if matches!(answer, Ok(None)) { "WouldBlock" } else { "Ok" };
        self.judge("try_lock", allowed, name, answer).flatten()
    }

    /// Releases the lock, where it was got.
    pub(crate) fn unlock(&mut self, guard: Option<Guard<'_>>, allowed: &Answers) {
        if let Some(guard) = guard {
            self.call("unlock", AT_ONCE, allowed, || guard.unlock());
        }
    }

    /// Claims the reading end.
    pub(crate) fn consumer(&mut self, segment: &Segment) -> Fallible<ring::Consumer> {
        let claimed = self.call("consumer", AT_ONCE, &["Ok"], || segment.consumer());
        Ok(claimed.ok_or("no reading end")?)
    }

    /// Claims the writing end.
    pub(crate) fn producer(&mut self, segment: &Segment) -> Fallible<ring::Producer> {
        let claimed = self.call("producer", AT_ONCE, &["Ok"], || segment.producer());
        Ok(claimed.ok_or("no writing end")?)
    }

    /// Receives what the attacker sends in place of a segment.
    pub(crate) fn receive(&mut self, allowed: &Answers) -> Fallible<Option<Segment>> {
        let (socket, attach) = (self.socket()?, self.attach());
        Ok(self.call("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&socket)))
    }

    /// Attaches by the bytes of a descriptor.
    pub(crate) fn decode(&mut self, bytes: &[u8], fd: Option<OwnedFd>, allowed: &Answers) {
        let attach = self.attach();
        self.call("decode", AT_ONCE, allowed, || attach.decode(bytes, fd));
    }

    /// Sends a segment to the attacker.
    pub(crate) fn send(&mut self, segment: &Segment, allowed: &Answers) -> io::Result<()> {
        let socket = self.socket()?;
        self.call("send", DEFAULT_TIMEOUT, allowed, || segment.send(&socket, DEFAULT_TIMEOUT));
        Ok(())
    }

    /// Checks whether the handle of `segment` was given up.
    pub(crate) fn check_poisoned(&mut self, segment: &Segment, poisoned: bool) {
        let allowed: &Answers = if poisoned { &["Poisoned"] } else { &["Ok"] };
        self.call("region", AT_ONCE, allowed, || segment.region(0, 1).map(drop));
    }

    fn timed<T>(&mut self, what: &'static str, limit: Duration, call: impl FnOnce() -> T) -> T {
        if self.at != what {
            self.at = what;
            self.report.send(&Event::At(what.into()));
        }
        let (ready_before, begin) = (self.time_ready(), Instant::now());
        let answer = call();
        let took = begin.elapsed();
        if took > limit {
            let ready = self.time_ready().saturating_sub(ready_before);
            self.note_late(took.saturating_sub(limit).saturating_sub(ready), what);
        }
        answer
    }

    /// How long this thread was ready and did not run, since it began. Second number of the file, in nanoseconds.
    fn time_ready(&self) -> Duration {
        let mut bytes = [0; 96];
        let len = self.schedule.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&bytes[..len]).unwrap_or_default();
        let number = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        Duration::from_nanos(number.unwrap_or(0))
    }

    /// Judges an answer that was got in another way.
    pub(crate) fn judge<T>(
        &mut self,
        what: &str,
        allowed: &Answers,
        success: &str,
        answer: Result<T, Error>,
    ) -> Option<T> {
        let (name, detail) = match &answer {
            Ok(_) => (success.to_owned(), String::new()),
            Err(error) => (kind_name(error.kind()), format!(" ({error})")),
        };
        if allowed.contains(&name.as_str()) == self.inverted {
            self.fault(format!("{what} answered {name}{detail}, not {}", allowed.join(" or ")));
        }
        self.note(&format!("{what}: {name}"));
        answer.ok()
    }

    /// Checks what must hold.
    pub(crate) fn check(&mut self, holds: bool, what: impl AsRef<str>) {
        if holds == self.inverted {
            self.fault(format!("does not hold: {}", what.as_ref()));
        }
    }

    /// Notes lateness that was measured in another way.
    pub(crate) fn note_late(&mut self, late: Duration, what: &'static str) {
        if late > self.late {
            (self.late, self.late_at) = (late, what);
        }
    }

    /// Counts an answer.
    pub(crate) fn note(&mut self, what: &str) {
        *self.answers.entry(what.to_owned()).or_default() += 1;
    }

    /// Reports what is wrong.
    pub(crate) fn fault(&mut self, text: impl AsRef<str>) {
        self.faults += 1;
        if self.faults <= FAULTS_MAX {
            let case = if self.case.is_empty() { String::new() } else { format!("[{}] ", self.case) };
            self.process.fault(&format!("{case}{}", text.as_ref()));
        }
    }

    /// Checks the memory around a buffer.
    pub(crate) fn check_guards(&mut self, buffer: &Guarded) {
        if !buffer.is_whole() {
            self.fault("bytes before a buffer were overwritten");
        }
    }

    /// The end: everything that this process should have released must be gone.
    pub(crate) fn finish(mut self, done: Done) {
        if let Err(error) = done {
            self.fault(format!("the victim's part ended with: {error}"));
        }
        self.case.clear();
        self.hang_up();
        if !self.canaries.are_whole() {
            self.fault("private memory was overwritten");
        }
        // What a peer sent is closed by threads of the library, a moment later.
        let mut after = Census::of_process();
        let until = Instant::now() + CLOSE_TIMEOUT;
        while (&after.fds, &after.mappings) != (&self.before.fds, &self.before.mappings) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            after = Census::of_process();
        }
        if (&after.fds, &after.mappings) != (&self.before.fds, &self.before.mappings) {
            let new = |now: &[String], before: &[String]| -> Vec<String> {
                now.iter().filter(|one| !before.contains(one)).cloned().collect()
            };
            let left = [new(&after.fds, &self.before.fds), new(&after.mappings, &self.before.mappings)].concat();
            self.fault(format!("left behind or closed: {}", left.join(", ")));
        }
        let report = &mut self.process.report;
        self.answers.iter().for_each(|(answer, count)| report.send(&Event::Answer(answer.into(), *count)));
        report.send(&Event::Late(self.late, self.late_at.into()));
        report.send(&Event::Finished);
    }
}

/// The name of an error's kind, without what it carries.
fn kind_name(kind: ErrorKind) -> String {
    let text = format!("{kind:?}");
    text.chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}
