//! A process that does what a test tells it: the test's side.
//!
//! It is the test binary itself, started again. What it can do stands in [`super::orders`].

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use harness::{Message, Process};
use monshm::{DEFAULT_TIMEOUT, Segment};

use super::{Choice, from_hex, to_hex};

/// The process. Dropping it tells it to end, and kills it when it does not.
#[derive(Debug)]
pub(crate) struct Helper(Process);

/// What a helper's call was refused with.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The `ErrorKind` as `Debug` writes it.
    pub(crate) kind: String,
    /// The message.
    pub(crate) text: String,
}

impl Refused {
    /// Whether the message has these words.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// Whether the kind has this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.kind.split([' ', '(']).next() == Some(name)
    }
}

impl Helper {
    /// Starts a process of our own user.
    pub(crate) fn new() -> Self {
        Self(Process::start("helper").unwrap())
    }

    /// Starts a process of the user `uid`; we must be privileged.
    pub(crate) fn of_user(uid: u32) -> Self {
        let helper = Self::new();
        helper.ask(format!("become {uid}")).unwrap();
        helper
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.child().pid().unsigned_abs()
    }

    /// Tells it to do something, and does not wait.
    pub(crate) fn start(&self, order: impl Display) {
        self.0.say(order).unwrap();
    }

    /// Waits for what came of the order that was started first.
    pub(crate) fn finish(&self) -> Result<String, Refused> {
        self.finish_with_fd().map(|(text, _)| text)
    }

    fn finish_with_fd(&self) -> Result<(String, Option<OwnedFd>), Refused> {
        let answer = self.0.receive().expect("the helper hangs, or has died");
        let Message { text, mut fds } = answer.expect("the helper has died");
        match text.split_once('\t') {
            Some(("ok", rest)) => Ok((rest.to_owned(), fds.pop())),
            Some((kind, text)) => Err(Refused { kind: kind.to_owned(), text: text.to_owned() }),
            None => panic!("no answer of a helper: {text}"),
        }
    }

    /// Tells it to do something, and waits for what came of it.
    pub(crate) fn ask(&self, order: impl Display) -> Result<String, Refused> {
        self.start(order);
        self.finish()
    }

    /// The same, with a file descriptor that goes with the order.
    pub(crate) fn ask_with(&self, order: impl Display, fd: BorrowedFd<'_>) -> Result<String, Refused> {
        self.0.send(&order.to_string(), &[fd]).unwrap();
        self.finish()
    }

    /// Asks for a number.
    pub(crate) fn number(&self, order: impl Display) -> u64 {
        self.ask(order).unwrap().parse().unwrap()
    }

    /// Our end of a new socket to it, for hand-overs. Both ends have the credentials of this process.
    pub(crate) fn wire(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.ask_with("stream", theirs.as_fd()).unwrap();
        ours
    }

    /// Hands it a segment; it is the helper's current one from now on.
    pub(crate) fn take(&self, segment: &Segment) {
        let wire = self.wire();
        self.start(format!("receive {} false", segment.size()));
        segment.send(&wire, DEFAULT_TIMEOUT).unwrap();
        self.finish().unwrap();
    }

    /// Has it attach by bytes, and the descriptor if there is one.
    pub(crate) fn decode(
        &self,
        bytes: &[u8],
        fd: Option<BorrowedFd<'_>>,
        size: usize,
        trust: bool,
    ) -> Result<String, Refused> {
        let order = format!("decode {} {size} {trust}", to_hex(bytes));
        match fd {
            Some(fd) => self.ask_with(order, fd),
            None => self.ask(order),
        }
    }

    /// Has it make a segment for our user.
    pub(crate) fn create(&self, choice: Choice, size: usize) {
        self.ask(format!("create {choice} {size} {} false false", monshm::PeerCreds::ours().uid)).unwrap();
    }

    /// Has it make a segment and hand it to us.
    pub(crate) fn give(&self, choice: Choice, size: usize) -> Segment {
        self.create(choice, size);
        let wire = self.wire();
        self.start("send");
        let segment = Segment::receive(&wire, size, DEFAULT_TIMEOUT).unwrap();
        self.finish().unwrap();
        segment
    }

    /// Its descriptor of the segment that it made.
    pub(crate) fn encode(&self) -> (Vec<u8>, Option<OwnedFd>) {
        self.start("encode");
        let (hex, fd) = self.finish_with_fd().unwrap();
        (from_hex(&hex), fd)
    }

    /// Waits until it sleeps in the kernel: until an order that waits has begun to.
    pub(crate) fn until_asleep(&self) {
        self.0.child().until_asleep(harness::process::TIMEOUT);
    }

    /// Kills it by SIGKILL and waits until it has gone.
    pub(crate) fn kill(self) {
        self.0.child().end().unwrap();
    }

    /// Has it release everything and end, and waits for that.
    pub(crate) fn end(self) {
        assert!(self.0.finish(), "the helper did not end");
    }
}
