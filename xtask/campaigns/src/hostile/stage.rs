//! One process's view of a play: which part it has, how it meets the others, and how it makes or gets the segment.
//!
//! Everything here is honest; what is hostile stands in the attacks.

use super::attack::Side;
use super::report::Reporter;
use super::users::Cast;
use crate::cell::{Cell, SIZE};
use crate::random::Random;
use monshm::{AttachOptions, Builder, DEFAULT_TIMEOUT, PeerCreds, Segment};
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// How long a process waits for another's cue: a failure of the play, not of the product.
const CUE_TIMEOUT: Duration = Duration::from_secs(20);

/// Which part a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Victim,
    Attacker,
    Third,
}

/// The view.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) part: Part,
    pub(crate) cell: Cell,
    /// The victim's part in making the segment.
    pub(crate) side: Side,
    pub(crate) cast: Cast,
    pub(crate) random: Random,
    pub(crate) report: Reporter,
    /// To the other: the victim's to the attacker, and the other way round.
    pub(crate) other: UnixStream,
    /// Between victim and third.
    pub(crate) third: UnixStream,
    /// The abstract name on which the victim listens.
    pub(crate) place: String,
    pub(crate) listener: Option<UnixListener>,
    wire: Option<UnixStream>,
    /// An attacker's last segment: it stays attached until it joins another, else it would look dead.
    kept: Option<Segment>,
}

/// What `theatre` hands to each process.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) part: Part,
    pub(crate) cell: Cell,
    pub(crate) side: Side,
    pub(crate) cast: Cast,
    pub(crate) seed: u64,
    pub(crate) report: Reporter,
    pub(crate) other: UnixStream,
    pub(crate) third: UnixStream,
    pub(crate) place: String,
}

impl Stage {
    pub(crate) fn new(setting: Setting) -> io::Result<Self> {
        let Setting { part, cell, side, cast, seed, report, other, third, place } = setting;
        for socket in [&other, &third] {
            socket.set_read_timeout(Some(CUE_TIMEOUT))?;
            socket.set_write_timeout(Some(CUE_TIMEOUT))?;
        }
        // By the victim's user, so that the kernel names it to who connects.
        let listener = (part == Part::Victim).then(|| {
            let address = SocketAddr::from_abstract_name(&place)?;
            UnixListener::bind_addr(&address)
        });
        let random = Random::of(seed, &[cell.index() as u64, part as u64]);
        let listener = listener.transpose()?;
        Ok(Self { part, cell, side, cast, random, report, other, third, place, listener, wire: None, kept: None })
    }

    /// The socket between victim and attacker, on which each finds the other's user.
    pub(crate) fn wire(&mut self) -> io::Result<UnixStream> {
        if self.wire.is_none() {
            let wire = match &self.listener {
                Some(listener) => listener.accept()?.0,
                None => connect(&self.place)?,
            };
            self.wire = Some(wire);
        }
        self.wire.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }

    /// Forgets the socket; the next [`Stage::wire`] is a new one.
    pub(crate) fn hang_up(&mut self) {
        self.wire = None;
    }

    /// Whether this process makes the segment.
    pub(crate) fn creates(&self) -> bool {
        (self.part == Part::Victim) == (self.side == Side::Creator)
    }

    /// The user whom this process shares the segment with.
    pub(crate) fn other_uid(&self) -> u32 {
        if self.part == Part::Victim { self.cast.attacker } else { self.cast.victim }
    }

    /// A builder of the cell's segment for the other. The lock kinds that need trust get it.
    pub(crate) fn builder(&self) -> Builder {
        let uid = self.other_uid();
        let peer = PeerCreds { pid: PeerCreds::PID_UNKNOWN, uid, gid: PeerCreds::GID_UNKNOWN };
        let trust = !self.cell.lock.safe_with_untrusted_peer();
        self.cell.builder().peer(peer).trust_peer(trust).common_data(4096)
    }

    /// How the cell's segment is attached to.
    pub(crate) fn attach(&self) -> AttachOptions {
        AttachOptions::new(SIZE).trust_peer(!self.cell.lock.safe_with_untrusted_peer())
    }

    /// Makes the segment and sends it, or receives it, as this process's part is.
    pub(crate) fn join(&mut self) -> Result<Segment, Box<dyn std::error::Error>> {
        let wire = self.wire()?;
        let segment = if self.creates() {
            let segment = self.builder().create()?;
            segment.send(&wire, DEFAULT_TIMEOUT)?;
            segment
        } else {
            self.attach().receive(&wire)?
        };
        self.kept = (self.part != Part::Victim).then(|| segment.clone());
        Ok(segment)
    }

    /// Keeps a segment attached until the next one comes.
    pub(crate) fn keep(&mut self, segment: Segment) {
        self.kept = Some(segment);
    }

    /// Tells the other to go on.
    pub(crate) fn cue(&mut self) -> io::Result<()> {
        self.other.write_all(&[1])
    }

    /// Waits until the other says to go on.
    pub(crate) fn await_cue(&mut self) -> io::Result<()> {
        self.other.read_exact(&mut [0])
    }

    /// Tells a number to the other.
    pub(crate) fn tell(&mut self, number: u64) -> io::Result<()> {
        self.other.write_all(&number.to_ne_bytes())
    }

    /// Takes a number from the other.
    pub(crate) fn hear(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.other.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Notes that the attack, or a part of it, was done.
    pub(crate) fn did(&mut self, what: impl AsRef<str>) {
        self.report.deed(what.as_ref());
    }

    /// Waits until the victim's part is over.
    pub(crate) fn until_the_end(&mut self) {
        // Its end, and whatever else comes: this process has nothing more to do.
        let _ = self.other.set_read_timeout(None);
        while self.other.read(&mut [0; 64]).is_ok_and(|len| len != 0) {}
    }

    /// Looks what the other has told: 0 when it is gone, below 0 when nothing is there.
    fn peek(&self) -> isize {
        let mut byte = 0u8;
        let (fd, flags) = (std::os::fd::AsRawFd::as_raw_fd(&self.other), libc::MSG_PEEK | libc::MSG_DONTWAIT);
        // SAFETY: one byte of ours, for the length of the call.
        unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) }
    }

    /// Whether the victim has given a cue, or is gone.
    pub(crate) fn is_called(&self) -> bool {
        self.peek() >= 0
    }

    /// Whether the other is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.peek() == 0
    }
}

/// Connects to an abstract name; its listener may not be there yet.
pub(crate) fn connect(place: &str) -> io::Result<UnixStream> {
    let address = SocketAddr::from_abstract_name(place)?;
    let begin = Instant::now();
    loop {
        match UnixStream::connect_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && begin.elapsed() < CUE_TIMEOUT => {
                std::thread::sleep(Duration::from_micros(200));
            }
            answer => return answer,
        }
    }
}
