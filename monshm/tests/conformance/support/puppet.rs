//! A process that does what a test tells it: the test's side.
//!
//! It is the test binary itself, started again. What it can do stands in [`super::peer`]. A puppet that is dropped is told
//! to end, and killed if it does not.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use monshm::{DEFAULT_TIMEOUT, Segment};

use super::link::Link;
use super::{Choice, peer, to_hex};

/// How long a puppet may take to answer. Nothing is measured by it: who waits so long has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process.
#[derive(Debug)]
pub(crate) struct Puppet {
    child: Child,
    link: Link,
}

/// What a puppet's call was refused with.
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

impl Puppet {
    /// Starts a process of our own user.
    pub(crate) fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .env(peer::VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, link: Link(ours) }
    }

    /// Starts a process of the user `uid`; we must be privileged.
    pub(crate) fn of_user(uid: u32) -> Self {
        let puppet = Self::new();
        puppet.ask(format!("become {uid}")).unwrap();
        puppet
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to do something, and does not wait.
    pub(crate) fn start(&self, order: impl Display) {
        self.link.send(&order.to_string(), None).unwrap();
    }

    /// Waits for what came of the order that was started first.
    pub(crate) fn finish(&self) -> Result<String, Refused> {
        self.finish_with_fd().map(|(text, _)| text)
    }

    fn finish_with_fd(&self) -> Result<(String, Option<OwnedFd>), Refused> {
        let answer = self.link.receive().expect("the puppet has hung, or died");
        let (text, fd) = answer.expect("the puppet has died");
        match text.split_once('\t') {
            Some(("ok", rest)) => Ok((rest.to_owned(), fd)),
            Some((kind, text)) => Err(Refused { kind: kind.to_owned(), text: text.to_owned() }),
            None => panic!("no answer of a puppet: {text}"),
        }
    }

    /// Tells it to do something, and waits for what came of it.
    pub(crate) fn ask(&self, order: impl Display) -> Result<String, Refused> {
        self.start(order);
        self.finish()
    }

    /// The same, with a file descriptor that goes with the order.
    pub(crate) fn ask_with(&self, order: impl Display, fd: BorrowedFd<'_>) -> Result<String, Refused> {
        self.link.send(&order.to_string(), Some(fd)).unwrap();
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

    /// Hands it a segment; it is the puppet's current one from now on.
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
        (super::from_hex(&hex), fd)
    }

    /// Waits until it sleeps in the kernel: until an order that waits has begun to.
    pub(crate) fn until_asleep(&self) {
        let began = Instant::now();
        let asleep = |text: String| {
            let state = text.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('S'));
            state.unwrap_or(true)
        };
        let mut seen = 0;
        // Twice in a row: it may have slept for something else on its way.
        while seen < 3 && began.elapsed() < PATIENCE {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            seen = if asleep(stat) { seen + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Kills it by SIGKILL and waits until it has gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it let go of everything and end, and waits for that.
    pub(crate) fn end(mut self) {
        self.link.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(self.wait_for_end(), "the puppet did not end");
    }

    fn wait_for_end(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        // It may be dead already, or be waited for.
        let _ = self.link.0.shutdown(std::net::Shutdown::Write);
        if !self.wait_for_end() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
