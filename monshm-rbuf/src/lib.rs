//! A single-producer single-consumer byte ring for shared memory: `no_std`, no alloc, no OS, no dependencies, proof
//! against a hostile peer.
//!
//! The ring is a control block ([`layout::Control`], `mon_shm_rbuf` in C) and the bytes `[begin, end)` of the same
//! segment. `head` is the offset of the first data byte, `tail` the offset of the first free byte; `head == tail` means
//! empty, so a ring of n bytes holds at most n − 1. The same words serve two uses:
//!
//! * **locked**: [`Ring`] has `append`, `read`, `skip`, `avail` and `len` for a caller that holds a lock of the layer
//!   above;
//! * **lock-free**: one [`Producer`] and one [`Consumer`], each claimed exclusively, each the only writer of its index,
//!   over bytes, grants, batches and records.
//!
//! # Laws
//! 1. **Private truth.** The bounds, each side's own index and its claim live in private memory. What the peer writes
//!    is loaded once, checked, and used from the private copy. A peer that writes anything at any time gets
//!    [`Error::Corrupt`], which poisons the handle; it never gets an access outside the ring.
//! 2. **Copy in, then use.** No function lends a reference into the ring, and the compiler cannot read a shared byte
//!    twice: every payload byte passes through [`copy`], which is opaque to it.
//! 3. **Publish last.** One Release store of an index makes a write or a read take effect; a process killed between any
//!    two instructions leaves the old state or the new one.
//! 4. **Bounded work.** No call waits for the other side. No loop's count depends on shared bytes. A consumer with the
//!    policy [`Adaptive`] may spin before it polls, for at most 1,024 spin-loop hints; [`Plain`] never does.
//!
//! # Where to start reading
//! | in the order of the data's flow | |
//! |---|---|
//! | [`layout`] | the control block, byte for byte |
//! | `bounds`, `cursor` | index arithmetic: where the bytes lie, how far a side may go |
//! | `claim` | the exclusive claim of a role, close, and the waiting flags: what both endpoints have in common |
//! | `producer`, `consumer` | the plain ring: head, tail, cached head, cached tail; then where the policy is asked |
//! | `batch`, `grant`, `record/` | many calls under one publication; views; messages |
//! | `ring` | the locked use |
//! | [`memory`] | what the engine asks of memory, the production memory, and hints on which no safety rests |
//! | `policy/` | when the consumer polls, and which lines it flushes: [`Plain`], [`Adaptive`], one auto-tuner |
//! | `arch/` | the copies and hints of each CPU, and what the CPU can do |
//!
//! This crate does not map memory, sleep, lock, or know which process is alive. Those belong to the layer above. It
//! depends on no crate: a driver or a firmware that takes it takes nothing else.
//!
//! # Examples
//! ```
//! use core::num::NonZeroU32;
//! use monshm_rbuf::{Consumer, Producer, StaticRing};
//!
//! static RING: StaticRing<1024> = StaticRing::new();
//!
//! let me = NonZeroU32::MIN;
//! let mut producer = Producer::claim(RING.memory(), me)?;
//! let mut consumer = Consumer::claim(RING.memory(), me)?;
//! producer.write(b"twelve bytes")?;
//! let mut bytes = [0; 12];
//! consumer.read(&mut bytes)?;
//! assert_eq!(&bytes, b"twelve bytes");
//! # Ok::<(), monshm_rbuf::Error>(())
//! ```
#![no_std]

mod arch;
mod batch;
mod bounds;
mod claim;
mod consumer;
mod cursor;
mod error;
mod grant;
pub mod layout;
pub mod memory;
mod policy;
mod producer;
pub mod record;
mod ring;

pub use arch::copy;
pub use batch::{ReadBatch, WriteBatch};
pub use bounds::Bounds;
pub use consumer::{Consumer, Drops};
pub use error::{BoundsFault, Corruption, Error};
pub use grant::{ReadGrant, WriteGrant};
pub use memory::{Hints, Memory, Shared, StaticRing};
pub use policy::{Adaptive, Burst, Plain, Policy};
pub use producer::Producer;
pub use record::{Label, Record, RecordReadGrant, RecordWriteGrant};
pub use ring::Ring;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
