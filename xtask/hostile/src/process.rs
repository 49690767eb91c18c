//! What each process of a scenario knows: its role, how it meets the others, and how it makes or gets the segment.
//!
//! Everything here is honest but [`Process::edit`] and [`Process::race`], which do for an attack what its table says.

use crate::attack::{Done, Fallible, Side};
use crate::raw::Raw;
use crate::report::{Event, Reporter};
use crate::runner::Scenario;
use harness::product::SIZE;
use harness::{Cell, Random, users};
use monshm::{AttachOptions, Builder, DEFAULT_TIMEOUT, PeerCreds, Segment};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// How long a process waits for another's signal. To wait longer is a failure of the scenario, not of the product.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(20);

/// What a process is in the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Victim,
    Attacker,
    Third,
}

/// The users of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserIds {
    pub(crate) victim: u32,
    pub(crate) attacker: u32,
    pub(crate) third: u32,
}

/// One process of a scenario.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) cell: Cell,
    /// The victim's side of the segment.
    pub(crate) side: Side,
    pub(crate) users: UserIds,
    pub(crate) random: Random,
    pub(crate) report: Reporter,
    /// Between victim and attacker: signals and numbers.
    pub(crate) other: UnixStream,
    /// Between victim and third.
    pub(crate) third: UnixStream,
    /// The abstract name on which the victim listens.
    pub(crate) address: String,
    listener: Option<UnixListener>,
    socket: Option<UnixStream>,
    /// An attacker's last segment. It stays attached until the attacker joins another, else its slot would be free.
    attached: Option<Segment>,
}

impl Process {
    /// A process of `scenario` that talks to the others by `other` and `third`.
    pub(crate) fn new(
        scenario: &Scenario<'_>,
        (role, users, address): (Role, UserIds, &str),
        report: Reporter,
        [other, third]: [UnixStream; 2],
    ) -> io::Result<Self> {
        for socket in [&other, &third] {
            socket.set_read_timeout(Some(SIGNAL_TIMEOUT))?;
            socket.set_write_timeout(Some(SIGNAL_TIMEOUT))?;
        }
        let (cell, side) = (scenario.cell, scenario.side);
        let random = Random::of(scenario.seed, &[cell.index() as u64, role as u64]);
        let (address, listener, socket, attached) = (address.to_owned(), None, None, None);
        Ok(Self { role, cell, side, users, random, report, other, third, address, listener, socket, attached })
    }

    /// Becomes the role's user. A victim listens from then on, so that the kernel names that user to a peer.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        users::become_user(match self.role {
            Role::Victim => self.users.victim,
            Role::Attacker => self.users.attacker,
            Role::Third => self.users.third,
        })?;
        if self.role == Role::Victim {
            self.listener = Some(UnixListener::bind_addr(&SocketAddr::from_abstract_name(&self.address)?)?);
        }
        Ok(())
    }

    /// The socket between victim and attacker, on which each finds the other's user.
    pub(crate) fn socket(&mut self) -> io::Result<UnixStream> {
        if self.socket.is_none() {
            let socket = match &self.listener {
                Some(listener) => listener.accept()?.0,
                None => connect(&self.address)?,
            };
            self.socket = Some(socket);
        }
        self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }

    /// Closes the socket. The next [`Process::socket`] is a new one.
    pub(crate) fn hang_up(&mut self) {
        self.socket = None;
    }

    /// Whether this process makes the segment.
    pub(crate) fn creates(&self) -> bool {
        (self.role == Role::Victim) == (self.side == Side::Creator)
    }

    /// A builder of the cell's segment for the other's user. The lock kinds that need trust get it.
    pub(crate) fn builder(&self) -> Builder {
        let uid = if self.role == Role::Victim { self.users.attacker } else { self.users.victim };
        let peer = PeerCreds::of_user(uid);
        let trust = !self.cell.is_for_untrusted();
        self.cell.builder().peer(peer).trust_peer(trust).common_data(4096)
    }

    /// How the cell's segment is attached to.
    pub(crate) fn attach(&self) -> AttachOptions {
        AttachOptions::new(SIZE).trust_peer(!self.cell.is_for_untrusted())
    }

    /// Makes the segment and sends it, or receives it, whichever falls to this process.
    pub(crate) fn join(&mut self) -> Fallible<Segment> {
        let socket = self.socket()?;
        let segment = if self.creates() {
            let segment = self.builder().create()?;
            segment.send(&socket, DEFAULT_TIMEOUT)?;
            segment
        } else {
            self.attach().receive(&socket)?
        };
        if self.role != Role::Victim {
            self.stay_attached(segment.clone());
        }
        Ok(segment)
    }

    /// Stays attached to a segment until the next one comes.
    pub(crate) fn stay_attached(&mut self, segment: Segment) {
        self.attached = Some(segment);
    }

    /// The segment that this process has stayed attached to.
    pub(crate) fn segment(&self) -> io::Result<Segment> {
        Ok(self.attached.as_ref().ok_or(io::ErrorKind::NotFound)?.clone())
    }

    /// Leaves the segment attached for good: its memory must not be touched again.
    pub(crate) fn abandon(&mut self) {
        std::mem::forget(self.attached.take());
    }

    /// Lets the other go on.
    pub(crate) fn signal(&mut self) -> io::Result<()> {
        self.other.write_all(&[1])
    }

    /// Waits until the other says to go on.
    pub(crate) fn await_signal(&mut self) -> io::Result<()> {
        self.other.read_exact(&mut [0])
    }

    /// Sends a number to the other.
    pub(crate) fn send_number(&mut self, number: u64) -> io::Result<()> {
        self.other.write_all(&number.to_ne_bytes())
    }

    /// Takes a number from the other.
    pub(crate) fn receive_number(&mut self) -> io::Result<u64> {
        read_number(&self.other)
    }

    /// Notes that the attack, or a part of it, was done.
    pub(crate) fn acted(&mut self) {
        self.report.send(&Event::Acted);
    }

    /// Reports what is wrong.
    pub(crate) fn fault(&mut self, text: &str) {
        self.report.send(&Event::Fault(text.into()));
    }

    /// Waits until the victim's part is over. The runner does so at the end of every attacker's part.
    pub(crate) fn await_end(&mut self) {
        // Whatever comes: this process has nothing more to do.
        let _ = self.other.set_read_timeout(None);
        while self.other.read(&mut [0; 64]).is_ok_and(|len| len != 0) {}
    }

    /// Looks what the other has sent: 0 when it is gone, below 0 when nothing is there.
    fn peek(&self) -> isize {
        let mut byte = 0u8;
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: one byte of ours, for the length of the call.
        unsafe { libc::recv(self.other.as_raw_fd(), (&raw mut byte).cast(), 1, flags) }
    }

    /// Whether the other has signalled, or is gone.
    pub(crate) fn is_signalled(&self) -> bool {
        self.peek() >= 0
    }

    /// Whether the other is gone.
    pub(crate) fn is_other_gone(&self) -> bool {
        self.peek() == 0
    }

    /// Joins a segment, edits it once the victim has signalled, and signals back.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&Raw)) -> Done {
        let segment = self.join()?;
        self.await_signal()?;
        edit(&Raw::of(&segment)?);
        self.acted();
        Ok(self.signal()?)
    }

    /// Edits segment after segment as fast as it can, until the victim is gone: `prepare` once for each, then `edit`
    /// with random numbers and the segment's number, from `let_attack` to the victim's next signal.
    pub(crate) fn race(&mut self, prepare: impl Fn(&Raw), edit: impl Fn(&Raw, u64, u64)) -> Done {
        for round in 0.. {
            let Ok(segment) = self.join() else { break };
            self.await_signal()?;
            let raw = Raw::of(&segment)?;
            prepare(&raw);
            self.signal()?;
            while !self.is_signalled() {
                for _ in 0..500 {
                    edit(&raw, self.random.next(), round);
                }
            }
            self.acted();
            self.await_signal()?;
        }
        Ok(())
    }
}

/// Takes a number from a socket.
pub(crate) fn read_number(mut socket: &UnixStream) -> io::Result<u64> {
    let mut bytes = [0; 8];
    socket.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Connects to an abstract name. Its listener may not be there yet.
pub(crate) fn connect(address: &str) -> io::Result<UnixStream> {
    let address = SocketAddr::from_abstract_name(address)?;
    let begin = Instant::now();
    loop {
        match UnixStream::connect_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && begin.elapsed() < SIGNAL_TIMEOUT => {
                std::thread::sleep(Duration::from_micros(200));
            }
            answer => return answer,
        }
    }
}

/// Stops this process for ever. Nobody continues it; the runner ends a process that is stopped.
pub(crate) fn stop() {
    // SAFETY: plain number.
    unsafe { libc::raise(libc::SIGSTOP) };
}
