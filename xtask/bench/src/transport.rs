//! Transports of messages between two sides, each behind the same few calls, so that the same traffic and the same
//! checks run over all of them.
//!
//! A transport is copied into and copied out of, polled or blocking; it does not time anything and does not look at a
//! message. The traffic is in `traffic`, the two processes in `pair`, one transport in each other file.

#[cfg(has_boost)]
mod boost;
pub(crate) mod engine;
#[cfg(feature = "peers-heavy")]
mod iceoryx;
#[cfg(feature = "peers-heavy")]
mod ipc_channel;
mod list;
mod mq;
mod ours;
pub(crate) mod pair;
mod raw;
#[cfg(feature = "peers-heavy")]
mod shmem_ipc;
mod sockets;
mod threads;
pub(crate) mod traffic;

#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use list::{Scope, Way, limit, ways};

/// How a side waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// It asks again and again, and never sleeps.
    Polled,
    /// It sleeps in the transport's own call.
    Blocking,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Polled => "polled",
            Self::Blocking => "blocking",
        })
    }
}

/// What is asked of a transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How much it holds, bytes; a queue of messages has as many places as fit in.
    pub(crate) ring_len: usize,
    pub(crate) mode: Mode,
    /// The cores of the two sides.
    pub(crate) cores: (usize, usize),
}

impl Plan {
    /// Places of a queue of messages.
    ///
    /// # Errors
    /// None fits.
    fn places(&self, message_len: usize) -> Result<usize, String> {
        match self.ring_len / message_len {
            0 => Err(format!("a message of {message_len} B does not fit in {} B", self.ring_len)),
            places => Ok(places),
        }
    }

    fn polled_only(&self, name: &str) -> Result<(), String> {
        match self.mode {
            Mode::Polled => Ok(()),
            Mode::Blocking => Err(format!("{name} has no call that waits")),
        }
    }
}

/// Which of the two processes: the one that starts a round trip, or the one that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

/// The writing end of a transport of N-byte messages.
pub(crate) trait Sender<const N: usize> {
    /// Sends a message; false when a polled transport has no room now.
    ///
    /// # Panics
    /// On any fault of the transport: the pair ends, and the text is told.
    fn send(&mut self, message: &[u8; N]) -> bool;

    /// After each attempt that found no room, and at the end.
    fn flush(&mut self) {}
}

/// The reading end.
pub(crate) trait Receiver<const N: usize> {
    /// Receives a message; false when a polled transport has none now.
    ///
    /// # Panics
    /// On any fault of the transport, a message of another length included.
    fn receive(&mut self, message: &mut [u8; N]) -> bool;
}

/// A transport between two processes.
pub(crate) trait Transport<const N: usize>: Sized {
    type Sender: Sender<N>;
    type Receiver: Receiver<N>;

    /// Makes what both processes inherit, before there are two. What has a name loses it here, so that nothing stays
    /// behind whatever becomes of the processes.
    ///
    /// # Errors
    /// Why the plan cannot be met; the case is skipped.
    fn make(plan: &Plan) -> Result<Self, String>;

    /// Opens the writing end, in the process that writes. Where the ends meet, the other process opens at the same
    /// time.
    ///
    /// # Errors
    /// What failed; the case has failed.
    fn sender(self, side: Side) -> Result<Self::Sender, String>;

    /// Opens the reading end, in the process that reads.
    ///
    /// # Errors
    /// As for the writing end.
    fn receiver(self, side: Side) -> Result<Self::Receiver, String>;

    /// Removes what processes that were killed may have left.
    fn sweep() {}
}

/// A transport between two threads of one process.
pub(crate) trait ThreadTransport<const N: usize> {
    type Sender: Sender<N> + Send;
    type Receiver: Receiver<N> + Send;

    /// Makes both ends.
    ///
    /// # Errors
    /// Why the plan cannot be met; the case is skipped.
    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String>;
}

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The transport cannot do what is asked; the reason.
    Skipped(String),
    /// It should have, and did not: a message was lost or damaged, a call failed, or nothing moved any more.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}
