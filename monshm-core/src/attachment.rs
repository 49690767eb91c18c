//! One mapped segment as one process has it: what a backend gives to the facade.
//!
//! How a segment is made or attached to is [`crate::backend`]'s.

use core::fmt::Debug;

use alloc::boxed::Box;

use crate::descriptor::{Identity, Object};
use crate::error::Result;
use crate::kind::{LockKind, MemoryKind};
use crate::layout::Slot;
use crate::liveness::Liveness;
use crate::lock::RawLock;
use crate::region::MappedBytes;
use crate::region::read::ReadOnlyBytes;
use crate::truncation::Truncation;

/// What must be known to attach, and what must travel.
#[derive(Debug)]
pub struct SharedObject<Handle> {
    /// The kernel object.
    pub object: Object,
    /// Its owner, as the peer will find it.
    pub owner: Identity,
    /// What must travel beside the bytes; `None` where bytes suffice.
    pub handle: Option<Handle>,
}

/// One mapped segment that this process can read and not write.
pub trait ReadAttachment: Debug + Send + Sync {
    /// The mapping. Valid until the value is dropped.
    fn region(&self) -> ReadOnlyBytes;

    /// Who lives, as the kernel reports it.
    fn liveness(&self) -> &dyn Liveness;
}

/// One mapped segment, as one process sees it.
pub trait Attachment: Debug + Send + Sync {
    /// What travels beside the descriptor's bytes.
    type Handle;

    /// The mapping. Valid until the attachment is dropped.
    fn region(&self) -> MappedBytes;

    /// Whether the memory was truncated. A backend whose memory can be truncated reports it here, keeps the process
    /// alive when it happens, and maps zeros in its place; the facade asks after each access that matters.
    fn truncation(&self) -> Truncation {
        Truncation::NEVER
    }

    /// What kind of kernel object it is.
    fn memory(&self) -> MemoryKind;

    /// The slot of this process: the creator's from the beginning, a peer's after [`Attachment::take_slot`].
    fn slot(&self) -> Slot;

    /// Who lives, as the kernel reports it.
    fn liveness(&self) -> &dyn Liveness;

    /// Takes a free slot for this process; the kernel gives it back when the process dies.
    ///
    /// # Errors
    /// `SlotsTaken`, `Gone`, `System`.
    fn take_slot(&mut self) -> Result<Slot>;

    /// Sets up the lock in a new segment whose header is written but not published.
    ///
    /// # Errors
    /// `LockNotBuilt`, `LockNotOfBackend`, `System`.
    fn create_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>>;

    /// Opens the lock of a segment that was attached to, after the slot is taken.
    ///
    /// # Errors
    /// `LockNotBuilt`, `LockNotOfBackend`, `Corrupt`, `System`.
    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>>;

    /// Makes the object reachable for the peer. May be called again; each call gives a fresh handle. Creator only.
    ///
    /// # Errors
    /// `Unsupported`, `LimitReached`, `Gone`, `System`.
    fn share(&self) -> Result<SharedObject<Self::Handle>>;

    /// Removes the object's name, if it still has one and this process may. Idempotent; a name that cannot be removed
    /// here is removed by the creator.
    fn remove_name(&self);
}
