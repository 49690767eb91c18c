//! What the processes of a play tell: short lines in a pipe, each written at once.
//!
//! A line is a letter, a space and a text. What they mean together is `theatre`'s to judge.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The longest line; a pipe takes so much whole or not at all.
const LINE_MAX: usize = 500;

/// The writing end.
#[derive(Debug)]
pub(crate) struct Reporter(pub(crate) File);

impl Reporter {
    /// What the victim does now; the last one is where it fell.
    pub(crate) fn at(&mut self, what: &str) {
        self.line('@', what);
    }

    /// An answer that the victim got, and how often.
    pub(crate) fn answer(&mut self, answer: &str, count: u64) {
        self.line('A', &format!("{count} {answer}"));
    }

    /// What is wrong.
    pub(crate) fn fault(&mut self, text: &str) {
        self.line('F', text);
    }

    /// What the attacker has done.
    pub(crate) fn deed(&mut self, text: &str) {
        self.line('D', text);
    }

    /// The worst lateness, and of which call.
    pub(crate) fn late(&mut self, late: Duration, what: &str) {
        self.line('L', &format!("{} {what}", late.as_nanos()));
    }

    /// The victim's part is over.
    pub(crate) fn end(&mut self) {
        self.line('E', "");
    }

    fn line(&mut self, letter: char, text: &str) {
        let mut line = format!("{letter} {}", text.replace('\n', " "));
        let mut end = line.len().min(LINE_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('\n');
        // Nobody reads any more: then nobody wants to know.
        let _ = self.0.write_all(line.as_bytes());
    }
}

/// What was told so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) at: String,
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) faults: Vec<String>,
    pub(crate) deeds: u64,
    pub(crate) late: Duration,
    pub(crate) late_at: String,
    pub(crate) ended: bool,
    rest: String,
}

impl Told {
    /// Takes what is in the pipe, whose reading end does not block.
    pub(crate) fn take(&mut self, pipe: &mut File) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => self.rest.push_str(&String::from_utf8_lossy(&bytes[..len])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            while let Some((line, rest)) = self.rest.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.note(&line);
                self.rest = rest;
            }
        }
    }

    fn note(&mut self, line: &str) {
        let Some((letter, text)) = line.split_at_checked(2) else { return };
        let (number, tail) = text.split_once(' ').unwrap_or((text, ""));
        match letter {
            "@ " => self.at = text.to_owned(),
            "A " => *self.answers.entry(tail.to_owned()).or_default() += number.parse().unwrap_or(0),
            "F " => self.faults.push(text.to_owned()),
            "D " => self.deeds += 1,
            "L " => {
                self.late = Duration::from_nanos(number.parse().unwrap_or(u64::MAX));
                self.late_at = tail.to_owned();
            }
            "E " => self.ended = true,
            _ => {}
        }
    }
}
