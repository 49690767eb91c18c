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
pub mod header;
pub mod kind;
pub mod liveness;
pub mod lock_word;
pub mod loss;
pub mod reading;
pub mod region;

#[cfg(feature = "alloc")]
pub mod allocator;
#[cfg(feature = "alloc")]
pub mod backend;
#[cfg(feature = "alloc")]
pub mod error;
#[cfg(feature = "alloc")]
pub mod lock;
#[cfg(feature = "alloc")]
pub mod survey;

pub use descriptor::{Descriptor, DescriptorFault, Identity, Name, Object, Token};
pub use header::{Geometry, HEADER_SIZE, Header, MAX_SEGMENT_SIZE};
pub use kind::{BackendKind, LockKind, MemoryKind};
pub use liveness::{Liveness, SLOT_COUNT, Slot};
pub use loss::Loss;
pub use reading::ReadRegion;
pub use region::{OutOfBounds, Region};

#[cfg(feature = "alloc")]
pub use backend::{Attachment, Backend, Request};
#[cfg(feature = "alloc")]
pub use error::{Error, ErrorKind, NextStep, Operation, Refusal, Result};
#[cfg(feature = "alloc")]
pub use lock::{Acquired, Deadline, RawLock};
#[cfg(feature = "alloc")]
pub use survey::{Found, FoundObject, FoundState};
