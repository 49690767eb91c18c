//! What a backend must do. `monshm-posix` and `monshm-sysv` implement it; the facade alone calls it.
//!
//! The life of a segment, and who does what:
//!
//! 1. [`Backend::create`] makes a kernel object of exactly the size asked for, **reserves its memory**, gives the
//!    peer's uid access and nobody else, and maps it. Bytes are zero. If any step fails, all steps before it are undone
//!    and the first error is told.
//! 2. The facade writes the header; [`Attachment::create_lock`] sets up the lock; the facade publishes the header.
//! 3. [`Attachment::share`] makes the object reachable: from now on the creator's slot shows that it lives.
//! 4. In the peer, [`Backend::attach`] opens the object that a descriptor names, checks type, owner, access and size
//!    **before** it maps, and maps. It writes nothing. The facade checks header and token, then
//!    [`Attachment::take_slot`] takes a slot, and only then is the first byte written.
//! 5. [`Attachment::remove_name`] takes the object's name away as soon as the peer is attached, where there is one and
//!    the platform allows it.
//! 6. Dropping an attachment unmaps and gives the slot back. The creator's drop also removes the name; whoever is the
//!    last removes what the kernel does not. In a forked child ([`crate::fork`]) dropping only unmaps.
//!
//! A backend never trusts a word in the segment; what it knows it keeps in private memory.

use core::fmt::Debug;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::descriptor::{Descriptor, Identity, Object};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::kind::{BackendKind, LockKind, MemoryKind};
use crate::liveness::{Liveness, Slot};
use crate::lock::RawLock;
use crate::loss::Loss;
use crate::reading::ReadRegion;
use crate::region::Region;
use crate::survey::Found;

/// What a segment shall be. Checked by the facade before a backend sees it: `size` is a positive number of whole pages
/// not over the limit, `memory` one of the backend's.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Size in bytes, whole pages.
    pub size: u64,
    /// The kind of memory.
    pub memory: MemoryKind,
    /// Whose access is wanted besides our own.
    pub peer: Identity,
    /// Whether the peer's own descriptor bytes must suffice to attach, with no file descriptor passed.
    pub reachable_by_bytes: bool,
}

/// One way to share memory.
pub trait Backend {
    /// Which choice of the caller it answers to.
    const KIND: BackendKind;

    /// The lock kinds that this build of it has; the first is the default.
    const LOCKS: &'static [LockKind];

    /// The kinds of memory that it has; the first is the default.
    const MEMORIES: &'static [MemoryKind];

    /// The kinds of memory that can be made one-way: only the creator can write, by whatever means.
    const ONE_WAY: &'static [MemoryKind] = &[];

    /// What travels beside the descriptor's bytes: an owned file descriptor, where there is one.
    type Handle;

    /// Makes a segment, see the steps above.
    ///
    /// # Errors
    /// `NoSpace`, `LimitReached`, `NoAccessForPeer`, `Unsupported`, `System`; nothing is left behind.
    fn create(request: &Request) -> Result<Box<dyn Attachment<Handle = Self::Handle>>>;

    /// Opens, checks and maps the object that `descriptor` names. `handle` is what came with it.
    ///
    /// # Errors
    /// `HandleMissing`, `HandleUnexpected`, `HandleType`, `Unsealed`, `WrongOwner`, `OpenToOthers`, `ObjectSize`,
    /// `Gone`, `LimitReached`, `System`; the handle is closed and nothing is left mapped.
    fn attach(
        descriptor: &Descriptor,
        handle: Option<Self::Handle>,
    ) -> Result<Box<dyn Attachment<Handle = Self::Handle>>>;

    /// As [`Backend::create`], with memory of [`Backend::ONE_WAY`] that nobody but this attachment can write to, from before
    /// it is shared on.
    ///
    /// # Errors
    /// `Unsupported`; else as [`Backend::create`].
    fn create_one_way(_request: &Request) -> Result<Box<dyn Attachment<Handle = Self::Handle>>> {
        Err(Error::new(Operation::Create, ErrorKind::Unsupported { what: "one-way memory" }))
    }

    /// Opens, checks and maps for reading what `descriptor` names, which must be one-way. Takes no slot and writes nothing.
    ///
    /// # Errors
    /// `Unsealed` when its creator is not the only one that can write; `Unsupported`; else as [`Backend::attach`].
    fn attach_reader(_descriptor: &Descriptor, _handle: Option<Self::Handle>) -> Result<Box<dyn Reading>> {
        Err(Error::new(Operation::Attach, ErrorKind::Unsupported { what: "one-way memory" }))
    }

    /// Finds what of this backend's is on the machine and can be found by a name or an id, judges who has it, and with
    /// `remove` removes what nobody alive has: what two SIGKILLs leave. Never what a living process uses or is making,
    /// and never another user's, unless we are root.
    ///
    /// # Errors
    /// `Unsupported` where the system does not list its objects. What vanishes meanwhile is left out.
    fn survey(remove: bool) -> Result<Vec<Found>>;

    /// Finds what living processes have mapped and nothing else shows: memory without a name. Only what this process may
    /// look at; where the system does not tell, nothing.
    fn mapped() -> Vec<Found> {
        Vec::new()
    }
}

/// What must be known to attach, and what must travel.
#[derive(Debug)]
pub struct Shared<Handle> {
    /// The kernel object.
    pub object: Object,
    /// Its owner, as the peer will find it.
    pub owner: Identity,
    /// What must travel beside the bytes; `None` where bytes suffice.
    pub handle: Option<Handle>,
}

/// One mapped segment that this process can read and not write.
pub trait Reading: Debug + Send + Sync {
    /// The mapping. Valid until the value is dropped.
    fn region(&self) -> ReadRegion;

    /// Who lives, by the kernel's books.
    fn liveness(&self) -> &dyn Liveness;
}

/// One mapped segment, as one process sees it.
pub trait Attachment: Debug + Send + Sync {
    /// What travels beside the descriptor's bytes.
    type Handle;

    /// The mapping. Valid until the attachment is dropped.
    fn region(&self) -> Region;

    /// Whether the memory was taken away. A backend whose memory can be says so here, keeps the process alive when it
    /// is, and puts zeros in its place; the facade asks after each access that matters.
    fn loss(&self) -> Loss {
        Loss::NEVER
    }

    /// What kind of kernel object it is.
    fn memory(&self) -> MemoryKind;

    /// The slot of this process: the creator's from the beginning, a peer's after [`Attachment::take_slot`].
    fn slot(&self) -> Slot;

    /// Who lives, by the kernel's books.
    fn liveness(&self) -> &dyn Liveness;

    /// Takes a free slot for this process; the kernel gives it back when the process dies.
    ///
    /// # Errors
    /// `SlotsTaken`, `Gone`, `System`.
    fn take_slot(&mut self) -> Result<Slot>;

    /// Sets up the lock in a new segment whose header is written but not published.
    ///
    /// # Errors
    /// `LockNotBuilt`, `System`.
    fn create_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>>;

    /// Opens the lock of a segment that was attached to, after the slot is taken.
    ///
    /// # Errors
    /// `LockNotBuilt`, `Corrupt`, `System`.
    fn open_lock(&self, kind: LockKind) -> Result<Box<dyn RawLock>>;

    /// Makes the object reachable for the peer. May be called again; each call gives a fresh handle. Creator only.
    ///
    /// # Errors
    /// `Unsupported`, `LimitReached`, `Gone`, `System`.
    fn share(&self) -> Result<Shared<Self::Handle>>;

    /// Takes the object's name away, if it still has one and this process may. Idempotent; what cannot be removed here
    /// is removed by the creator.
    fn remove_name(&self);
}
