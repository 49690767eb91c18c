//! How a segment is asked for.

use monshm_core::{BackendKind, Error, ErrorKind, Geometry, Identity, LockKind, MemoryKind, Operation, Peer, Result};

use crate::creds::PeerCreds;
use crate::segment::Segment;
use crate::select::{self, Wanted, whole_pages};

/// A segment that is being asked for; made by [`Segment::builder`].
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use monshm::{BackendKind, Segment};
///
/// let segment = Segment::builder(100_000).backend(BackendKind::Auto).common_data(4096).create()?;
/// assert!(segment.size() >= 100_000);
/// println!("{}", segment.selection());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is made before `create`"]
pub struct Builder {
    pub(crate) size: usize,
    backend: BackendKind,
    memory: Option<MemoryKind>,
    lock: Option<LockKind>,
    peer: Option<PeerCreds>,
    trust_peer: bool,
    reachable_by_bytes: bool,
    refuse_truncatable: bool,
    pub(crate) common_data: usize,
}

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
}

impl Builder {
    fn new(size: usize) -> Self {
        Self {
            size,
            backend: BackendKind::Auto,
            memory: None,
            lock: None,
            peer: None,
            trust_peer: false,
            reachable_by_bytes: false,
            refuse_truncatable: false,
            common_data: 0,
        }
    }

    /// Chooses the implementation of shared memory. Default: [`BackendKind::Auto`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// use monshm::{BackendKind, Segment};
    ///
    /// let segment = Segment::builder(1 << 16).backend(BackendKind::Posix).create()?;
    /// assert_eq!(segment.selection().backend(), BackendKind::Posix);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn backend(mut self, backend: BackendKind) -> Self {
        self.backend = backend;
        self
    }

    /// Chooses the kind of memory object. Default: the backend's first that can serve.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// use monshm::{BackendKind, MemoryKind, Segment};
    ///
    /// let builder = Segment::builder(1 << 16).backend(BackendKind::Posix);
    /// assert_eq!(builder.memory(MemoryKind::Named).create()?.memory_kind(), MemoryKind::Named);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn memory(mut self, memory: MemoryKind) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Chooses the lock. Default: the backend's first that may be shared with the peer.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// use monshm::{LockKind, Segment};
    ///
    /// let segment = Segment::builder(1 << 16).lock(LockKind::Futex).create()?;
    /// assert_eq!(segment.lock_kind(), LockKind::Futex);
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn lock(mut self, lock: LockKind) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Names the process that will attach; its user gets access, and nobody else's. Default: ourselves.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use monshm::{PeerCreds, Segment};
    ///
    /// let segment = Segment::builder(1 << 16).peer(PeerCreds::ours()).create()?;
    /// assert_eq!(segment.peer(), Some(PeerCreds::ours()));
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn peer(mut self, peer: PeerCreds) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Declares a peer of another user to be trusted like ourselves, so that every lock kind may be shared with it.
    /// With `false` (the default), only our own user and root are trusted.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let builder = monshm::Segment::builder(1 << 16).peer(monshm::PeerCreds::ours());
    /// let segment = builder.trust_peer(true).create()?;
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn trust_peer(mut self, trust: bool) -> Self {
        self.trust_peer = trust;
        self
    }

    /// Asks for an object that the peer can reach by the descriptor's bytes alone, with no file descriptor passed.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use monshm::Segment;
    ///
    /// let segment = Segment::builder(1 << 16).reachable_by_bytes(true).create()?;
    /// let peer = Segment::decode(segment.encode()?.bytes, None, 1 << 16)?;
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn reachable_by_bytes(mut self, reachable: bool) -> Self {
        self.reachable_by_bytes = reachable;
        self
    }

    /// Refuses memory that a peer can truncate ([`MemoryKind::can_be_truncated`]), so that no SIGBUS handler is
    /// installed in this process. With `false` (the default) such memory is guarded by one: see
    /// [Truncation](crate#truncation).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).refuse_truncatable(true).create()?;
    /// assert!(!segment.memory_kind().can_be_truncated());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn refuse_truncatable(mut self, refuse: bool) -> Self {
        self.refuse_truncatable = refuse;
        self
    }

    /// Reserves bytes for common data, which stay available when the ring is in use. Default: 0; while the ring is not
    /// in use it gives room.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use std::alloc::Layout;
    ///
    /// let segment = monshm::Segment::builder(1 << 16).common_data(1024).create()?;
    /// let _producer = segment.producer()?;
    /// let offset = segment.alloc(Layout::new::<u64>())?;
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn common_data(mut self, common_data_bytes: usize) -> Self {
        self.common_data = common_data_bytes;
        self
    }

    /// Makes the segment.
    ///
    /// # Errors
    /// `ZeroSize`, `SizeOverflow`, `SizeOverLimit`, `CommonDataOverSize`, `Disabled`, `BackendNotBuilt`,
    /// `LockNotBuilt`, `LockNotOfBackend`, `MemoryNotOfBackend`, `LockNotTrusted`, `Truncatable`, `NoAccessForPeer`,
    /// `NoSpace`, `LimitReached`, `Unreachable`; `NoBackend` with the refusals where `Auto` found none. Nothing is left
    /// behind.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use monshm::{ErrorKind, Segment};
    ///
    /// assert!(Segment::builder(1 << 16).create()?.is_creator());
    /// assert_eq!(Segment::builder(0).create().unwrap_err().kind(), ErrorKind::ZeroSize);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(self) -> Result<Segment> {
        self.make(false)
    }

    pub(crate) fn make(self, one_way: bool) -> Result<Segment> {
        let refuse = |kind| Error::new(Operation::Create, kind);
        let size = whole_pages(self.size).map_err(refuse)?;
        let common_data = self.common_data as u64;
        let geometry = Geometry::new(size, common_data)
            .ok_or_else(|| refuse(ErrorKind::CommonDataOverSize { asked: common_data, size }))?;
        let ours = PeerCreds::ours();
        let peer = self.peer.unwrap_or(ours);
        let wanted = Wanted {
            size,
            backend: self.backend,
            memory: self.memory,
            lock: self.lock,
            process: self.peer.map_or(Peer::AnyOfItsUser, PeerCreds::process),
            peer: Identity { uid: peer.uid, gid: peer.gid },
            peer_is_other: peer.uid != ours.uid,
            peer_is_trusted: self.trust_peer || peer.uid == ours.uid || peer.uid == 0,
            reachable_by_bytes: self.reachable_by_bytes,
            one_way,
            refuse_truncatable: self.refuse_truncatable,
        };
        let (attachment, selection) = select::create(&wanted)?;
        Segment::made(attachment, selection, geometry, peer)
    }
}
