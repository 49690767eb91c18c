//! A single-producer single-consumer byte ring for shared memory: `no_std`, no alloc, no OS, proof against
//! a hostile peer.
//!
//! The ring is a control block ([`layout::Control`], `mon_shm_rbuf` in C) and the bytes `[begin, end)` of
//! the same segment. `head` is the offset of the first data byte, `tail` the offset of the first free one;
//! `head == tail` means empty, so a ring of n bytes holds at most n − 1. The same words serve two uses:
//!
//! * **locked**: [`Ring`] has `append`, `read`, `skip`, `avail` and `len` for whoever holds a lock of the
//!   layer above;
//! * **lock-free**: one [`Producer`] and one [`Consumer`], each claimed exclusively, each the only writer of
//!   its index, over bytes, over grants, over batches and over records.
//!
//! # Laws
//! 1. **Private truth.** The bounds, each side's own cursor and its claim live in private memory. What the
//!    peer writes is loaded once, checked, and used from the private copy. A peer that writes anything at any
//!    time gets [`Error::Corrupt`], which poisons the handle; it never gets an access outside the ring.
//! 2. **Copy in, then use.** No function lends a reference into the ring, and the compiler cannot read a
//!    shared byte twice: every payload byte passes through [`copy`], which is opaque to it.
//! 3. **Publish last.** One Release store of an index makes a write or a read take effect; a process killed
//!    between any two instructions leaves the old state or the new one.
//! 4. **Bounded work.** No call waits for the other side, and no call loops a number of times that shared bytes decide. A
//!    consumer in a stream may pause before it looks, for at most 1,024 spin-loop hints, where that was seen to be faster.
//!
//! # Where the parts are
//! [`layout`] is the control block, [`memory`] what the engine asks of memory and the production memory,
//! [`copy`] the copy primitive, [`record`] the record header. What this crate does not do: map memory, wait,
//! lock, know which process is alive. Those belong to the layer above.
//!
//! # Examples
//! ```
//! use core::num::NonZeroU32;
//! use monshm_rbuf::{Consumer, StaticRing, Producer};
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

mod batch;
mod consumer;
pub mod copy;
mod cpu;
mod crc;
mod cursor;
mod error;
mod grant;
pub mod layout;
pub mod memory;
mod pace;
mod patience;
mod pop;
mod position;
mod producer;
mod push;
pub mod record;
mod ring;
mod seat;
mod shared;
mod tuner;

pub use batch::{ReadBatch, WriteBatch};
pub use consumer::{Consumer, Drops};
pub use error::{BoundsFault, Corruption, Error};
pub use grant::{ReadGrant, WriteGrant};
pub use memory::{Memory, Shared, StaticRing};
pub use pop::RecordReadGrant;
pub use position::Bounds;
pub use producer::Producer;
pub use push::RecordWriteGrant;
pub use record::{Label, Record};
pub use ring::Ring;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
