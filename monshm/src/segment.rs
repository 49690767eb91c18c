//! The segment: made or attached to, shared by reference count, checked at every use.
//!
//! Here are the making, the encoding and what a handle knows. Building, attaching, the lock, regions, the ring and the
//! handover are in files of their own.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use monshm_core::{
    Descriptor, Error, ErrorKind, Geometry, Identity, LockKind, MemoryKind, Operation, Result, Slot, Token,
    layout::layout_hash,
};

use crate::backends::AnyAttachment;
use crate::creds::PeerCreds;
use crate::health::{Health, check_memory};
use crate::lock::state::LockState;
use crate::select::Selection;
use crate::sys;

/// A shared memory segment. Cloning counts a reference (`mon_shm_ref`), dropping gives one back (`mon_shm_done`); the
/// last one detaches, and the creator's removes the segment's name.
///
/// All methods may be called from any thread. After the creator's last handle has gone, attached peers go on with
/// memory and lock, and nobody new can attach.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let second = segment.clone();
/// assert_eq!(segment.handle_count(), 2);
/// drop(segment);
/// second.lock()?.ring()?.append(b"still mapped")?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

/// What the handles of one attachment share. Private memory: no peer can change any of it.
pub(crate) struct Inner {
    // Before the attachment: the lock's words lie in its mapping.
    pub(crate) lock: LockState,
    pub(crate) attachment: AnyAttachment,
    pub(crate) geometry: Geometry,
    /// The bounds of the ring once it is in use, which is once for all.
    pub(crate) ring_bounds: OnceLock<(u64, u64)>,
    /// Which endpoints of the ring this process has, by role, so that a claim in our slot's name that we did not make
    /// is known as a dead predecessor's.
    pub(crate) endpoints: [AtomicBool; 2],
    pub(crate) health: Health,
    selection: Selection,
    peer: Option<PeerCreds>,
    tokens_issued: AtomicUsize,
}

impl Segment {
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
        check_memory(attachment.truncation(), Operation::Create)?;
        let pending = attachment.memory() == MemoryKind::Named;
        Ok(Self::assemble(attachment, LockState::new(lock), geometry, selection, Some(peer), pending))
    }

    pub(crate) fn assemble(
        attachment: AnyAttachment,
        lock: LockState,
        geometry: Geometry,
        selection: Selection,
        peer: Option<PeerCreds>,
        name_pending: bool,
    ) -> Self {
        let health = Health::new(attachment.truncation(), name_pending);
        Self(Arc::new(Inner {
            lock,
            attachment,
            geometry,
            ring_bounds: OnceLock::new(),
            endpoints: [AtomicBool::new(false), AtomicBool::new(false)],
            health,
            selection,
            peer,
            tokens_issued: AtomicUsize::new(0),
        }))
    }

    /// Makes a descriptor for one attach. May be called again; each call gives a fresh one, and only the last 16 are
    /// good. Of memory with a name (`shm_open`) its bytes alone serve one attach in all, since the name goes with it:
    /// further peers need the descriptor's `fd` too, which [`Segment::send`] hands over.
    ///
    /// # Errors
    /// `NotCreator`; `Unsupported`, `LimitReached`, `System` as the backend finds them.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let encoded = segment.encode()?;
    /// let peer = monshm::Segment::decode(&encoded.bytes, encoded.fd, 1 << 16)?;
    /// assert!(segment.is_creator() && !peer.is_creator());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        inner.health.check_memory(Operation::Encode)?;
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

    /// Whether the handle can be used: for those who read words of the segment by themselves, after they did.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let region = segment.region(4096, 8)?;
    /// let value = region.atomic_u64(0)?.load(std::sync::atomic::Ordering::Relaxed);
    /// segment.check()?; // the value is the segment's
    /// # assert_eq!(value, 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<()> {
        self.inner().check_usable(Operation::Address)?;
        self.inner().health.check_memory(Operation::Address)
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
    /// Whether the handle may be used: not poisoned, not truncated, not inherited across a fork.
    #[inline]
    pub(crate) fn check_usable(&self, operation: Operation) -> Result<()> {
        if self.health.is_sound() { Ok(()) } else { self.explain(operation) }
    }

    #[cold]
    fn explain(&self, operation: Operation) -> Result<()> {
        self.health.explain(operation)?;
        self.remove_name_if_attached();
        Ok(())
    }

    /// Removes the object's name once the peer no longer needs it. Most peers do that themselves; one that may not
    /// unlink in the directory leaves it to us.
    pub(crate) fn remove_name_if_attached(&self) {
        if self.attachment.region().header().attaches() != 0 {
            self.attachment.remove_name();
            self.health.name_removed();
        }
    }
}

/// What a peer needs to attach: the bytes, and the file descriptor that must travel with them.
///
/// Each is good for one attach. The bytes let whoever may open the object attach: do not publish them.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// let encoded = segment.encode()?;
/// assert!(encoded.bytes.len() < 1024);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Encoded {
    /// XDR, as `monshm-proto` documents it.
    pub bytes: Vec<u8>,
    /// The descriptor of the memory object, to be sent with `SCM_RIGHTS`; `None` where bytes are enough. A process of
    /// the same user, in the same PID namespace, can attach to a memfd without it.
    pub fd: Option<OwnedFd>,
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

/// 128 bits that nobody can guess, the first word not 0.
fn random_token() -> Result<Token> {
    let mut bytes = [0; 16];
    loop {
        if let Err(errno) = sys::fill_random(&mut bytes) {
            let kind = match errno {
                rustix::io::Errno::NOSYS => ErrorKind::Unsupported { what: "getrandom(2)" },
                _ => ErrorKind::System { what: "getrandom" },
            };
            return Err(Error::new(Operation::Encode, kind).with_os_error(errno.raw_os_error()));
        }
        if Token(bytes).words()[0] != 0 {
            return Ok(Token(bytes));
        }
    }
}
