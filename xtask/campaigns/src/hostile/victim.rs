//! The victim's instruments: each call is timed and its answer compared with what the contract allows; at the end its
//! private memory, descriptors and mappings are looked at.
//!
//! Time during which the thread was ready to run and the machine ran others does not count as lateness.

use super::guarded::{Canaries, Guarded};
use super::stage::Stage;
use crate::census::Census;
use monshm::{Error, ErrorKind, Guard, PreviousHolder, Segment};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// For calls that never wait.
pub(crate) const AT_ONCE: Duration = Duration::ZERO;

/// How late a call may be.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// Faults that are told; more of the same tell nothing new.
const FAULTS_TOLD: u32 = 5;

/// The victim.
#[derive(Debug)]
pub(crate) struct Victim<'a> {
    pub(crate) stage: &'a mut Stage,
    /// Whether every expectation is turned round: a play that then has no fault does not judge.
    contrary: bool,
    answers: BTreeMap<String, u64>,
    faults: u32,
    late: Duration,
    late_at: &'static str,
    at: &'static str,
    scene: String,
    waits: Option<File>,
    canaries: Canaries,
    before: Census,
}

impl<'a> Victim<'a> {
    pub(crate) fn new(stage: &'a mut Stage, contrary: bool) -> Self {
        let waits = File::open("/proc/thread-self/schedstat").ok();
        let canaries = Canaries::new();
        Self {
            stage,
            contrary,
            answers: BTreeMap::new(),
            faults: 0,
            late: Duration::ZERO,
            late_at: "",
            at: "",
            scene: String::new(),
            waits,
            canaries,
            before: Census::take(),
        }
    }

    /// Names what is being attacked with, for the faults that follow.
    pub(crate) fn scene(&mut self, name: impl Into<String>) {
        self.scene = name.into();
    }

    /// Does `call`, which shall end within `limit`, and judges its answer: the name of the error's kind, or `Ok`, must be
    /// among `allowed`. Answers the value, if there is one.
    pub(crate) fn ask<T>(
        &mut self,
        what: &'static str,
        limit: Duration,
        allowed: &[&str],
        call: impl FnOnce() -> monshm::Result<T>,
    ) -> Option<T> {
        let answer = self.timed(what, limit, call);
        self.judge(what, allowed, "Ok", answer)
    }

    /// Takes the lock; a success is named `Clean` or `OwnerDied`.
    pub(crate) fn lock<'s>(&mut self, segment: &'s Segment, limit: Duration, allowed: &[&str]) -> Option<Guard<'s>> {
        let answer = self.timed("lock", limit, || segment.lock_timeout(limit));
        let name = match answer.as_ref().map(Guard::previous_holder) {
            Ok(PreviousHolder::Died) => "OwnerDied",
            _ => "Clean",
        };
        self.judge("lock", allowed, name, answer)
    }

    /// Tries to take the lock; a refusal because somebody holds it is named `WouldBlock`.
    pub(crate) fn try_lock<'s>(&mut self, segment: &'s Segment, allowed: &[&str]) -> Option<Guard<'s>> {
        let answer = self.timed("try_lock", AT_ONCE, || segment.try_lock());
        let name = if matches!(answer, Ok(None)) { "WouldBlock" } else { "Ok" };
        self.judge("try_lock", allowed, name, answer).flatten()
    }

    fn timed<T>(&mut self, what: &'static str, limit: Duration, call: impl FnOnce() -> T) -> T {
        if self.at != what {
            self.at = what;
            self.stage.report.at(what);
        }
        let (kept_waiting, begin) = (self.kept_waiting(), Instant::now());
        let answer = call();
        let took = begin.elapsed();
        if took > limit {
            let waited = self.kept_waiting().saturating_sub(kept_waiting);
            let late = took.saturating_sub(limit).saturating_sub(waited);
            self.note_late(late, what);
        }
        answer
    }

    /// How long this thread was ready and did not run, since it began. Second number of the file, in nanoseconds.
    fn kept_waiting(&self) -> Duration {
        let mut bytes = [0; 96];
        let len = self.waits.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&bytes[..len]).unwrap_or_default();
        let number = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        Duration::from_nanos(number.unwrap_or(0))
    }

    /// Judges an answer that was got in another way.
    pub(crate) fn judge<T>(
        &mut self,
        what: &str,
        allowed: &[&str],
        success: &str,
        answer: Result<T, Error>,
    ) -> Option<T> {
        let (name, detail) = match &answer {
            Ok(_) => (success.to_owned(), String::new()),
            Err(error) => (kind_name(error.kind()), format!(" ({error})")),
        };
        if allowed.contains(&name.as_str()) == self.contrary {
            self.fault(format!("{what} answered {name}{detail}, not {}", allowed.join(" or ")));
        }
        *self.answers.entry(format!("{what}: {name}")).or_default() += 1;
        answer.ok()
    }

    /// Checks what must hold.
    pub(crate) fn check(&mut self, holds: bool, what: impl AsRef<str>) {
        if holds == self.contrary {
            self.fault(format!("does not hold: {}", what.as_ref()));
        }
    }

    /// Notes lateness that was measured in another way.
    pub(crate) fn note_late(&mut self, late: Duration, what: &'static str) {
        if late > self.late {
            (self.late, self.late_at) = (late, what);
        }
    }

    /// Tells an answer that is not an error of the product.
    pub(crate) fn note(&mut self, what: &str) {
        *self.answers.entry(what.to_owned()).or_default() += 1;
    }

    /// Tells what is wrong.
    pub(crate) fn fault(&mut self, text: impl AsRef<str>) {
        self.faults += 1;
        if self.faults <= FAULTS_TOLD {
            let scene = if self.scene.is_empty() { String::new() } else { format!("[{}] ", self.scene) };
            self.stage.report.fault(&format!("{scene}{}", text.as_ref()));
        }
    }

    /// A buffer for what the product writes, between guards.
    pub(crate) fn buffer(&mut self, len: usize) -> Result<Guarded, Box<dyn std::error::Error>> {
        Ok(Guarded::new(len)?)
    }

    /// Looks whether the guards of a buffer are whole.
    pub(crate) fn is_whole(&mut self, buffer: &Guarded) {
        if !buffer.is_whole() {
            self.fault("bytes before a buffer were overwritten");
        }
    }

    /// The end: everything that this process should have let go of must be gone.
    pub(crate) fn finish(mut self) {
        self.scene.clear();
        self.stage.hang_up();
        if !self.canaries.are_whole() {
            self.fault("private memory was overwritten");
        }
        let after = Census::take();
        if after.fds != self.before.fds || after.mappings != self.before.mappings {
            self.fault(format!(
                "left behind: {} descriptors were {}, {} shared mappings were {}",
                after.fds, self.before.fds, after.mappings, self.before.mappings
            ));
        }
        for (answer, count) in &self.answers {
            self.stage.report.answer(answer, *count);
        }
        self.stage.report.late(self.late, self.late_at);
        self.stage.report.end();
    }
}

/// The name of an error's kind, without what it carries.
pub(crate) fn kind_name(kind: ErrorKind) -> String {
    let text = format!("{kind:?}");
    text.chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}
