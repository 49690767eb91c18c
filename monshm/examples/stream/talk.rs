//! What the two processes say to each other over the socket beside the ring: lines of words.
//!
//! The segment itself travels over the same socket before, by `monshm::handover`.

use crate::Failure;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longer than a block takes to be hashed on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One side of the talk.
#[derive(Debug)]
pub(crate) struct Talk<'a> {
    writer: &'a UnixStream,
    reader: BufReader<&'a UnixStream>,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(socket: &'a UnixStream) -> Result<Self, Failure> {
        socket.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { writer: socket, reader: BufReader::new(socket) })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        let told = self.writer.write_all(format!("{line}\n").as_bytes());
        told.map_err(|error| format!("the other process cannot be told `{line}`: {error}").into())
    }

    /// The next line, without its end.
    pub(crate) fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err("the other process has gone".into()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("the other process says nothing: {error}").into()),
        }
    }

    /// An error when the other process has gone; what it has said meanwhile stays to be heard.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        self.writer.set_nonblocking(true)?;
        let is_gone = match self.reader.fill_buf() {
            Ok(said) => said.is_empty(),
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        self.writer.set_nonblocking(false)?;
        if is_gone { Err("the other process has gone".into()) } else { Ok(()) }
    }

    /// The next line, which must begin with `word`; answers the rest.
    pub(crate) fn hear_word(&mut self, word: &str) -> Result<String, Failure> {
        let line = self.hear()?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(format!("the other process said `{line}` where `{word}` was due").into()),
        }
    }
}
