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
//! A memfd is left out when descriptor bytes alone must reach a peer of another user
//! ([`Builder::reachable_by_bytes`]), and System V then goes before a named object if that peer is not trusted, since
//! a named object can be truncated under us. [`Segment::selection`] tells what was chosen and why the others were not.
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
mod handover;
mod health;
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
pub use lock::Guard;
pub use one_way::{Publisher, Reader};
pub use region::Region;
pub use ring::{Consumer, Drops, Label, Producer, Record};
pub use scan::{Report, clean, list};
pub use segment::{Encoded, Segment};
pub use select::Selection;
pub use sys::DEFAULT_TIMEOUT;

pub use monshm_core::{
    BackendKind, Cleanup, DescriptorFault, Error, ErrorKind, LockKind, MemoryKind, NextStep, Operation, OutOfBounds,
    PreviousHolder, Refusal, Result, ScanEntry, ScanObject, ScanState,
};

/// The program of the README is a test.
#[cfg(all(doctest, any(feature = "posix", feature = "sysv")))]
#[doc = include_str!("../../README.md")]
struct Readme;
