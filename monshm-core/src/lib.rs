//! Contracts and values that every part of monshm shares: what a backend must do, what a lock promises, how the
//! segment is laid out, how an offset becomes a pointer.
//!
//! `no_std`, and free of any operating system: nothing here opens, maps, waits or asks for the time. The backends
//! (`monshm-posix`, `monshm-sysv`) and the facade (`monshm`) do.
//!
//! The feature `alloc` adds [`Error`] and the contracts that answer with it; without it the crate has no heap.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod descriptor;
pub mod fork;
pub mod kind;
pub mod layout;
pub mod liveness;
pub mod lock;
pub mod region;
pub mod truncation;

pub mod allocator;
#[cfg(feature = "alloc")]
pub mod attachment;
#[cfg(feature = "alloc")]
pub mod backend;
pub mod error;
#[cfg(feature = "alloc")]
pub mod groups;
#[cfg(feature = "alloc")]
pub mod scan;

pub use descriptor::{Descriptor, DescriptorFault, Identity, Name, Object, Token};
pub use error::{ErrorKind, NextStep};
pub use kind::{BackendKind, LockKind, MemoryKind};
pub use layout::{Geometry, HEADER_SIZE, Header, HeaderWords, MAX_SEGMENT_SIZE, SLOT_COUNT, Slot};
pub use liveness::Liveness;
pub use lock::{Deadline, PreviousHolder};
pub use region::read::ReadOnlyBytes;
pub use region::{MappedBytes, OutOfBounds};
pub use truncation::Truncation;

#[cfg(feature = "alloc")]
pub use attachment::{Attachment, ReadAttachment, SharedObject};
#[cfg(feature = "alloc")]
pub use backend::{Access, Backend, Peer, Request};
#[cfg(feature = "alloc")]
pub use error::{Error, Operation, Refusal, Result};
#[cfg(feature = "alloc")]
pub use lock::RawLock;
#[cfg(feature = "alloc")]
pub use scan::{Cleanup, ScanEntry, ScanObject, ScanState};
