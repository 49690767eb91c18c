//! The segment: made or attached to, shared by reference count, checked at every use.
//!
//! Here stand making, attaching, encoding and what a handle knows; locking, addressing, the ring and the hand-over are
//! in files of their own.

use std::alloc::Layout;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use monshm_core::{
    Descriptor, Error, ErrorKind, Geometry, Identity, LockKind, MemoryKind, Operation, Result, Slot, Token, Truncation,
    allocator, fork, layout::layout_hash,
};

use crate::attach::AttachOptions;
use crate::backends::AnyAttachment;
use crate::builder::Builder;
use crate::creds::PeerCreds;
use crate::encoded::Encoded;
use crate::locking::Locking;
use crate::select::Selection;

/// A shared memory segment. Cloning counts a reference (`mon_shm_ref`), dropping gives one back (`mon_shm_done`); the
/// last one detaches, and the creator's removes the segment's name.
///
/// All methods may be called from any thread. After the creator's last handle has gone, attached peers go on with
/// memory and lock, and nobody new can attach.
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

/// What the handles of one attachment share. Private memory: no peer can change any of it.
pub(crate) struct Inner {
    // Before the attachment: the lock's words lie in its mapping.
    pub(crate) locking: Locking,
    pub(crate) attachment: AnyAttachment,
    pub(crate) geometry: Geometry,
    /// The bounds of the ring once it is in use, which is once for all.
    pub(crate) ring_bounds: OnceLock<(u64, u64)>,
    /// Which ends of the ring this process has, by role, so that a claim in our slot's name that we did not make is
    /// known as a dead predecessor's.
    pub(crate) ends: [AtomicBool; 2],
    /// The fork generation in which the handle may be used; 0 once it is poisoned; with `NAME_PENDING` while a name
    /// waits for the peer. One comparison on the fast path tells all three.
    usable: AtomicU32,
    /// Whether the memory was taken away; looked at after each use of it.
    pub(crate) loss: Truncation,
    selection: Selection,
    peer: Option<PeerCreds>,
    generation: u32,
    tokens_issued: AtomicUsize,
}

/// Set in `usable` while this process owes the removal of a name: the generation never gets so far.
const NAME_PENDING: u32 = 1 << 31;

impl Segment {
    /// Asks for a new segment of `size_bytes`, rounded up to whole pages.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sysv")] {
    /// use monshm::{BackendKind, Segment};
    ///
    /// let segment = Segment::builder(100_000).backend(BackendKind::Sysv).common_data(4096).create()?;
    /// assert_eq!(segment.size() % 4096, 0);
    /// println!("{}", segment.selection());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn builder(size_bytes: usize) -> Builder {
        Builder::new(size_bytes)
    }

    /// Turns fresh memory into a segment: header, lock, and at last the mark that it is ready.
    pub(crate) fn made(
        attachment: AnyAttachment,
        selection: Selection,
        geometry: Geometry,
        peer: PeerCreds,
    ) -> Result<Self> {
        let region = attachment.region();
        let header = region.header();
        header.initialize(&geometry, selection.lock());
        let ours = PeerCreds::ours();
        header.record_slot(Slot::CREATOR, ours.pid as u32, Identity { uid: ours.uid, gid: ours.gid });
        let lock = attachment.create_lock(selection.lock())?;
        header.publish();
        kept(attachment.truncation(), Operation::Create)?;
        let pending = if attachment.memory() == MemoryKind::Named { NAME_PENDING } else { 0 };
        Ok(Self::assemble(attachment, Locking::new(lock), geometry, selection, Some(peer), pending))
    }

    /// Attaches to the segment that descriptor bytes name. `fd` is the file descriptor that came with them, if one did;
    /// `expected_size_bytes` the size that was asked for: it matches when, rounded up to pages, it is the segment's.
    ///
    /// Object, owner, seals, size, header and token are checked before the first byte is written. Who sent the bytes is
    /// for the caller to know: [`Segment::receive`] asks the socket. [`AttachOptions`] has more to choose.
    ///
    /// # Errors
    /// As [`AttachOptions::decode`].
    pub fn decode(bytes: impl AsRef<[u8]>, fd: Option<OwnedFd>, expected_size_bytes: usize) -> Result<Self> {
        AttachOptions::new(expected_size_bytes).decode(bytes, fd)
    }

    pub(crate) fn assemble(
        attachment: AnyAttachment,
        locking: Locking,
        geometry: Geometry,
        selection: Selection,
        peer: Option<PeerCreds>,
        pending: u32,
    ) -> Self {
        let generation = fork::generation();
        let loss = attachment.truncation();
        Self(Arc::new(Inner {
            locking,
            attachment,
            geometry,
            ring_bounds: OnceLock::new(),
            ends: [AtomicBool::new(false), AtomicBool::new(false)],
            usable: AtomicU32::new(generation | pending),
            loss,
            selection,
            peer,
            generation,
            tokens_issued: AtomicUsize::new(0),
        }))
    }

    /// Makes a descriptor for one attach. May be called again; each call gives a fresh one, and only the last 16 are
    /// good.
    ///
    /// # Errors
    /// `NotCreator`; `Unsupported`, `LimitReached`, `System` as the backend finds them.
    pub fn encode(&self) -> Result<Encoded> {
        self.encode_with_token().map(|(encoded, _)| encoded)
    }

    /// As [`Segment::encode`], with what makes the descriptor good for one attach.
    pub(crate) fn encode_with_token(&self) -> Result<(Encoded, Token)> {
        let inner = self.inner();
        inner.check_usable(Operation::Encode)?;
        if !self.is_creator() {
            return Err(Error::new(Operation::Encode, ErrorKind::NotCreator));
        }
        let shared = inner.attachment.share()?;
        let token = random_token().map_err(|error| error.on(shared.object.to_string()))?;
        let region = inner.attachment.region();
        region.header().issue_token(inner.tokens_issued.fetch_add(1, Ordering::Relaxed), token);
        inner.kept(Operation::Encode)?;
        let lock = self.lock_kind();
        let descriptor = Descriptor {
            lock,
            size: inner.geometry.size,
            layout: layout_hash(lock),
            token,
            owner: shared.owner,
            object: shared.object,
        };
        let bytes = monshm_proto::encode(&descriptor).to_vec();
        Ok((Encoded { bytes, fd: shared.handle }, token))
    }

    /// Takes room for common data and gives its offset in bytes from the base of the segment. Takes the lock itself,
    /// unless this thread holds it. Room is never given back.
    ///
    /// # Errors
    /// `ZeroSize`; `Misaligned` over 4096; `NoRoom` with both numbers; `Corrupt`; else as [`Segment::lock`].
    pub fn alloc(&self, layout: Layout) -> Result<u64> {
        self.locked(Operation::Allocate, || {
            let inner = self.inner();
            let region = inner.attachment.region();
            let offset = allocator::allocate(region.header(), &inner.geometry, layout);
            let offset = offset.map_err(|kind| inner.noted(Error::new(Operation::Allocate, kind)))?;
            inner.kept(Operation::Allocate)?;
            Ok(offset)
        })
    }

    /// Whether the handle can be used: for those who read words of the segment by themselves, after they did.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    pub fn check(&self) -> Result<()> {
        self.inner().check_usable(Operation::Address)?;
        self.inner().kept(Operation::Address)
    }

    /// The size of the segment in bytes, whole pages.
    pub fn size(&self) -> usize {
        self.inner().geometry.size as usize
    }

    /// The kind of memory object in use.
    pub fn memory_kind(&self) -> MemoryKind {
        self.selection().memory()
    }

    /// The kind of lock in use.
    pub fn lock_kind(&self) -> LockKind {
        self.selection().lock()
    }

    /// Why this backend, memory and lock.
    pub fn selection(&self) -> &Selection {
        &self.inner().selection
    }

    /// Whether this process made the segment ('master' in the reference).
    pub fn is_creator(&self) -> bool {
        self.inner().attachment.slot() == Slot::CREATOR
    }

    /// The peer: whom the creator named, or who handed the segment over. `None` after [`Segment::decode`], which does
    /// not know.
    pub fn peer(&self) -> Option<PeerCreds> {
        self.inner().peer
    }

    /// Whether the lock that is held now was left by a holder that died inside: [`crate::PreviousHolder::Died`] of the last
    /// acquisition through this handle.
    pub fn owner_died(&self) -> bool {
        self.inner().locking.owner_died()
    }

    /// How many handles this process has (`refcnt` of the reference).
    pub fn handle_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    #[inline]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Whether the handle may be used: not poisoned, not inherited by a fork.
    #[inline]
    pub(crate) fn check_usable(&self, operation: Operation) -> Result<()> {
        if self.usable.load(Ordering::Relaxed) == fork::generation() { Ok(()) } else { self.explain(operation) }
    }

    #[cold]
    fn explain(&self, operation: Operation) -> Result<()> {
        if self.is_forked() {
            return Err(Error::new(operation, ErrorKind::Forked));
        }
        self.kept(operation)?;
        if self.usable.load(Ordering::Relaxed) == 0 {
            return Err(Error::new(operation, ErrorKind::Poisoned));
        }
        self.settle_name();
        Ok(())
    }

    /// Whether the memory that was just used is still the segment's: to be asked before anything that was seen there is
    /// believed.
    #[inline]
    pub(crate) fn kept(&self, operation: Operation) -> Result<()> {
        if self.loss.happened() { Err(self.lost(operation)) } else { Ok(()) }
    }

    #[cold]
    fn lost(&self, operation: Operation) -> Error {
        self.usable.store(0, Ordering::Relaxed);
        Error::new(operation, ErrorKind::MemoryLost)
    }

    /// Whether this process is a forked child of the one that made the handle.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Removes the object's name once the peer no longer needs it. Most peers do that themselves; one that may not
    /// unlink in a directory with the sticky bit leaves it to the creator.
    pub(crate) fn settle_name(&self) {
        if self.attachment.region().header().attaches() != 0 {
            self.attachment.remove_name();
            // A handle that was poisoned meanwhile stays so.
            let pending = self.generation | NAME_PENDING;
            let _ = self.usable.compare_exchange(pending, self.generation, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Passes an error on; one that speaks of corruption poisons the handle. What was found wrong in memory that was taken
    /// away is answered as that.
    pub(crate) fn noted(&self, error: Error) -> Error {
        if self.loss.happened() {
            return self.lost(error.operation());
        }
        self.note(&error);
        error
    }

    pub(crate) fn note(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::Corrupt { .. }) {
            self.usable.store(0, Ordering::Relaxed);
        }
    }

    /// Brings allocator and ring back to their last committed state, after a holder died inside.
    pub(crate) fn repair(&self) -> Result<()> {
        let region = self.attachment.region();
        allocator::repair(region.header(), &self.geometry).map_err(|kind| self.noted(Error::new(Operation::Lock, kind)))
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("Segment")
            .field("selection", &inner.selection)
            .field("geometry", &inner.geometry)
            .field("slot", &inner.attachment.slot())
            .finish_non_exhaustive()
    }
}

/// As [`Inner::kept`], before there is a handle.
pub(crate) fn kept(loss: Truncation, operation: Operation) -> Result<()> {
    if loss.happened() { Err(Error::new(operation, ErrorKind::MemoryLost)) } else { Ok(()) }
}

/// 128 bits that nobody can guess, the first word not 0.
fn random_token() -> Result<Token> {
    let mut bytes = [0; 16];
    loop {
        match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(len) if len == bytes.len() && Token(bytes).words()[0] != 0 => return Ok(Token(bytes)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                let kind = match errno {
                    rustix::io::Errno::NOSYS => ErrorKind::Unsupported { what: "getrandom(2)" },
                    _ => ErrorKind::System { what: "getrandom" },
                };
                return Err(Error::new(Operation::Encode, kind).with_os_error(errno.raw_os_error()));
            }
        }
    }
}
