//! What the processes of a scenario report: one line of JSON for each event, in a pipe, written at once.
//!
//! What the events mean together is for `runner` to judge.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The longest line: a pipe takes so much whole or not at all.
const LINE_MAX: usize = libc::PIPE_BUF;

/// The longest text of a fault, in characters: it must fit a line with its escapes.
const TEXT_MAX: usize = 450;

/// One event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event<'a> {
    /// The victim begins a call; the last one is where it fell.
    At(Cow<'a, str>),
    /// An answer that the victim got, and how often.
    Answer(Cow<'a, str>, u64),
    /// What is wrong.
    Fault(Cow<'a, str>),
    /// The attacker has done its part, or a piece of it.
    Acted,
    /// The victim's worst lateness, and of which call.
    Late(Duration, Cow<'a, str>),
    /// The victim's part is over.
    Finished,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Reporter(pub(crate) File);

impl Reporter {
    /// Reports an event.
    pub(crate) fn send(&mut self, event: &Event<'_>) {
        let shortened = match event {
            Event::Fault(text) => &Event::Fault(text.chars().take(TEXT_MAX).collect()),
            other => other,
        };
        let line = serde_json::to_string(shortened).unwrap_or_default() + "\n";
        debug_assert!(line.len() <= LINE_MAX);
        // Without a reader nobody needs to know.
        let _ = self.0.write_all(line.as_bytes());
    }
}

/// What was reported so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reported {
    pub(crate) at: String,
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) faults: Vec<String>,
    pub(crate) acts: u64,
    pub(crate) late: Duration,
    pub(crate) late_at: String,
    pub(crate) ended: bool,
    rest: Vec<u8>,
}

impl Reported {
    /// Takes what is in the pipe, whose reading end does not block.
    pub(crate) fn take(&mut self, pipe: &mut File) -> io::Result<()> {
        match pipe.read_to_end(&mut self.rest) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n') {
            if let Ok(event) = serde_json::from_slice(line) {
                self.note(event);
            }
        }
        Ok(())
    }

    /// Counts an answer.
    pub(crate) fn answer(&mut self, answer: String, count: u64) {
        *self.answers.entry(answer).or_default() += count;
    }

    fn note(&mut self, event: Event<'_>) {
        match event {
            Event::At(what) => self.at = what.into(),
            Event::Answer(answer, count) => self.answer(answer.into(), count),
            Event::Fault(text) => self.faults.push(text.into()),
            Event::Acted => self.acts += 1,
            Event::Late(late, what) => (self.late, self.late_at) = (late, what.into()),
            Event::Finished => self.ended = true,
        }
    }
}
