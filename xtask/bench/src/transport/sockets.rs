//! The kernel's byte streams and packets: pipe, Unix stream, Unix seqpacket. Made before the fork and inherited;
//! nothing has a name.
//!
//! A message is one call, where the kernel takes it whole. A seqpacket keeps messages apart; over a stream a long one
//! may take several calls, and the rest follows at the next.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::{Mode, Plan, Receiver, Sender, Side, Transport};

fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {errno}")
}

fn set_mode(fd: impl AsFd, mode: Mode) -> Result<(), String> {
    rustix::io::ioctl_fionbio(fd, mode == Mode::Polled).map_err(text("FIONBIO"))
}

/// The writing and the reading end of a kernel's channel.
pub(super) struct Ends {
    write: OwnedFd,
    read: OwnedFd,
}

/// Bytes through a file descriptor, and how many of the present message are through.
pub(super) struct Bytes {
    fd: OwnedFd,
    done: usize,
}

impl Bytes {
    fn new(fd: OwnedFd) -> Self {
        Self { fd, done: 0 }
    }

    /// Moves what is left of `len` bytes by `step`; true when all are through.
    #[inline(always)]
    fn go_on(&mut self, len: usize, mut step: impl FnMut(&OwnedFd, usize) -> rustix::io::Result<usize>) -> bool {
        loop {
            match step(&self.fd, self.done) {
                Ok(0) => panic!("the other end is closed"),
                Ok(moved) => self.done += moved,
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR) => {}
                Err(errno) => panic!("{}", io::Error::from(errno)),
            }
            if self.done == len {
                self.done = 0;
                return true;
            }
        }
    }
}

impl<const N: usize> Sender<N> for Bytes {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.go_on(N, |fd, done| rustix::io::write(fd, &message[done..]))
    }
}

impl<const N: usize> Receiver<N> for Bytes {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.go_on(N, |fd, done| rustix::io::read(fd, &mut message[done..]))
    }
}

/// Each side has one end of what is made before the fork.
macro_rules! channel {
    ($(#[$doc:meta])* $name:ident, $end:ty, $new:expr, $make:ident) => {
        $(#[$doc])*
        pub(super) struct $name(Ends);

        impl<const N: usize> Transport<N> for $name {
            type Sender = $end;
            type Receiver = $end;

            fn make(plan: &Plan) -> Result<Self, String> {
                $make(plan, N).map(Self)
            }

            fn sender(self, _: Side) -> Result<$end, String> {
                Ok($new(self.0.write))
            }

            fn receiver(self, _: Side) -> Result<$end, String> {
                Ok($new(self.0.read))
            }
        }
    };
}

channel!(
    /// A pipe of the ring's size.
    Pipe, Bytes, Bytes::new, pipe
);
channel!(
    /// A connected pair of Unix stream sockets.
    Stream, Bytes, Bytes::new, stream
);
channel!(
    /// A connected pair of Unix seqpacket sockets.
    Seqpacket, Packets, Packets, seqpacket
);

fn pipe(plan: &Plan, _: usize) -> Result<Ends, String> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(text("pipe2"))?;
    rustix::pipe::fcntl_setpipe_size(&write, plan.ring_len).map_err(text("F_SETPIPE_SZ"))?;
    set_mode(&write, plan.mode)?;
    set_mode(&read, plan.mode)?;
    Ok(Ends { write, read })
}

fn stream(plan: &Plan, _: usize) -> Result<Ends, String> {
    socket_pair(SocketType::STREAM, plan)
}

fn seqpacket(plan: &Plan, len: usize) -> Result<Ends, String> {
    let ends = socket_pair(SocketType::SEQPACKET, plan)?;
    // A packet and what the kernel keeps with it must fit in the buffer; the kernel says by EMSGSIZE where they do not.
    let buffer = sockopt::socket_send_buffer_size(&ends.write).map_err(text("SO_SNDBUF"))?;
    if len + 1024 > buffer {
        return Err(format!("a packet of {len} B does not fit in a send buffer of {buffer} B"));
    }
    Ok(ends)
}

/// A pair of connected sockets with a send buffer of the ring's size (the kernel doubles it for its own books).
fn socket_pair(kind: SocketType, plan: &Plan) -> Result<Ends, String> {
    let (write, read) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).map_err(text("socketpair"))?;
    // Without privilege the kernel takes no more than net.core.wmem_max, and says nothing.
    if sockopt::set_socket_send_buffer_size_force(&write, plan.ring_len).is_err() {
        sockopt::set_socket_send_buffer_size(&write, plan.ring_len).map_err(text("SO_SNDBUF"))?;
    }
    set_mode(&write, plan.mode)?;
    set_mode(&read, plan.mode)?;
    Ok(Ends { write, read })
}

pub(super) struct Packets(OwnedFd);

/// Whether a call moved a whole message of `len` bytes; false when it would have had to wait.
#[inline(always)]
fn whole(moved: rustix::io::Result<usize>, len: usize) -> bool {
    match moved {
        Ok(moved) if moved == len => true,
        Ok(0) => panic!("the other end is closed"),
        Ok(moved) => panic!("a packet of {moved} B, not {len}"),
        Err(Errno::AGAIN | Errno::INTR) => false,
        Err(errno) => panic!("{}", io::Error::from(errno)),
    }
}

impl<const N: usize> Sender<N> for Packets {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        whole(rustix::net::send(&self.0, message, SendFlags::empty()), N)
    }
}

impl<const N: usize> Receiver<N> for Packets {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        whole(rustix::net::recv(&self.0, message.as_mut_slice(), RecvFlags::empty()).map(|(len, _)| len), N)
    }
}
