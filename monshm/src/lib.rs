//! Shared memory between processes that do not trust each other.
//!
//! One sentence, and the order of everything here:
//! **create → encode → send → decode → attach → lock → ring → detach → remove.**
//!
//! # Which backend is chosen
//! [`BackendKind::Auto`] tries, at the requested size, and takes the first that can make the segment:
//!
//! 1. POSIX, a sealed memfd, which the kernel removes by itself;
//! 2. POSIX, a named `shm_open` object, removed once the peer is attached;
//! 3. System V.
//!
//! Where descriptor bytes alone must reach the peer ([`Builder::reachable_by_bytes`]), a memfd is refused if they would
//! not: see [Bytes alone](#bytes-alone). System V then goes before a named object for a peer of another user that is
//! not trusted, since a named object can be truncated under us. [`Segment::selection`] tells what was chosen and why
//! the others were not.
//! The lock is the backend's first that may be shared with the peer: see [`LockKind`].
//!
//! # Trust
//! A peer with our own effective uid, or root, is trusted: it could trace us anyway. Another one is not, unless the
//! caller says so with [`Builder::trust_peer`]. A live hostile peer can deny service and scribble over shared bytes; it
//! cannot crash this process, reach its private memory, make a call outlast its deadline, or leak a kernel object.
//! No function lends a slice or a plain reference into a segment: bytes are copied in and out.
//!
//! # Truncation
//! A named POSIX object cannot be sealed: whoever may write to it can truncate it, and the next access behind its new
//! end is a SIGBUS. The first mapping of such an object installs a SIGBUS handler in this process, which puts private
//! zeros in the place of the whole mapping; the call that was interrupted, and all later ones of that handle, answer
//! [`ErrorKind::MemoryLost`]: give up that peer. Every other SIGBUS goes where it went before. A program that installs
//! a SIGBUS handler later must pass on to the one that it replaces what is not its own; threads that use such a segment
//! must not block SIGBUS. A program that wants no handler refuses such memory: [`Builder::refuse_truncatable`],
//! [`AttachOptions::refuse_truncatable`]. A memfd and System V memory cannot be truncated, and no handler is installed
//! for them.
//!
//! A handler that a program installs later passes on as this one does: it keeps what sigaction(2) answered for the old
//! one, decides by `si_addr` whether the address is its own, and else calls the old one, as `sa_sigaction(signal, info,
//! context)` where `SA_SIGINFO` is set and as `sa_handler(signal)` where it is not, and returns. It is installed with
//! `SA_SIGINFO` and `SA_ONSTACK`, and does not reset the action to `SIG_DFL` for a fault that is not its own.
//!
//! # Bytes alone
//! A socket ([`Segment::send`]) carries the memfd's file descriptor and works for every peer, in any namespace. Without
//! it a peer opens the creator's `/proc/PID/fd/N`, which the kernel allows to a process of the same user and group, in
//! the same PID and user namespace, if the creator is dumpable (a process that changed its user is not, until
//! prctl(2) says so) and has no capability that the peer lacks; CAP_SYS_PTRACE allows it too. A creator that was asked
//! for [`Builder::reachable_by_bytes`] refuses a memfd where one of these is missing
//! ([`ErrorKind::Unreachable`]), and `Auto` takes a named object, else System V. A peer with pid 0 in [`PeerCreds`] is
//! taken to live in another namespace. Names reach as far as `/dev/shm` is the same mount, System V as far as the IPC
//! namespace: between containers only a socket does.
//!
//! # File descriptors
//! The library keeps descriptors open, all closed on exec: for a POSIX segment its creator has the object's, and each
//! side, once the segment is shared, one more, whose file lock *is* the attach slot. A program that closes descriptors
//! that are not its own (`closefrom`, a loop over all numbers, a double close elsewhere) closes them too. With the
//! lock's descriptor the kernel releases the slot: to the other side this process has died, the lock that it holds is
//! taken over, its endpoints are claimed by others, and the creator's descriptors answer `Gone`. A daemon closes what
//! it inherited before it makes its first segment. System V segments keep none.
//!
//! # Without /proc
//! POSIX memory needs `/proc` on both sides, since a file lock of one's own needs a description of one's own: in a
//! chroot without it `create` and `decode` answer [`ErrorKind::Unsupported`], which names it. System V works there, and
//! `Auto` takes it in a creator that has no `/proc`. What the *peer* lacks, a creator cannot see: for a peer in such a
//! chroot ask for [`BackendKind::Sysv`], or take it when [`Segment::send`] answers [`ErrorKind::PeerRefused`].
//!
//! # One way
//! [`Builder::create_publisher`] makes a segment that its peers can read and not write, not even by scribbling: a memfd
//! that is sealed after its creator has mapped it. What is published is read whole or not at all. Two of them, one for
//! each direction, let each side write only its own object.
//!
//! # Example
//! The creator and the peer, here in one process:
//!
//! ```
//! # #[cfg(all(feature = "posix", feature = "futex"))] {
//! use monshm::Segment;
//!
//! let creator = Segment::builder(64 * 1024).create()?;
//! let descriptor = creator.encode()?;
//!
//! // The bytes and the file descriptor travel over a socket: [`Segment::send`] does all of it.
//! let peer = Segment::decode(&descriptor.bytes, descriptor.fd, 64 * 1024)?;
//!
//! peer.lock()?.ring()?.append(b"measured: 42")?;
//! let mut bytes = [0; 12];
//! creator.lock()?.ring()?.read(&mut bytes)?;
//! assert_eq!(&bytes, b"measured: 42");
//! # }
//! # Ok::<(), monshm::Error>(())
//! ```
//!
//! # What it does not do
//! It encrypts nothing, moves nothing between machines, and hides no timing. It does not watch its users' own data in
//! the common area: after [`PreviousHolder::Died`] that may be torn.

mod attach;
mod backends;
mod builder;
#[cfg(feature = "capi")]
pub mod capi;
mod creds;
pub mod errno;
mod features;
mod foreign;
mod handover;
mod health;
mod inspect;
mod lock;
mod one_way;
mod region;
pub mod ring;
mod scan;
mod segment;
mod select;
mod sys;

pub use attach::AttachOptions;
pub use builder::Builder;
pub use creds::PeerCreds;
pub use inspect::AttachedPeer;
pub use lock::{Guard, OwnedGuard};
pub use one_way::{Publisher, Reader};
pub use region::Region;
pub use ring::{Consumer, Drops, Label, Producer, Record};
pub use scan::{Report, clean, list};
pub use segment::{Encoded, Segment};
pub use select::Selection;
pub use sys::DEFAULT_TIMEOUT;

pub use monshm_core::{
    BackendKind, Cleanup, DescriptorFault, Error, ErrorKind, HeaderWords, LockKind, MemoryKind, NextStep, Operation,
    OutOfBounds, PreviousHolder, Refusal, Result, ScanEntry, ScanObject, ScanState,
};

/// The program of the README is a test.
#[cfg(all(doctest, any(feature = "posix", feature = "sysv")))]
#[doc = include_str!("../../README.md")]
struct Readme;
