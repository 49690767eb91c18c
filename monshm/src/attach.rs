//! How a segment that another process made is attached to: what is expected of it, and the order of the checks.

use std::os::fd::OwnedFd;
use std::time::Duration;

use monshm_core::{Descriptor, Error, ErrorKind, Identity, Operation, Result, Slot};

use crate::backends::{AnyBackend, find};
use crate::creds::PeerCreds;
use crate::foreign::ForeignFd;
use crate::health::check_memory;
use crate::lock::state::LockState;
use crate::segment::Segment;
use crate::select::{Selection, lock_missing, whole_pages};
use crate::sys::DEFAULT_TIMEOUT;

/// An attach that is being asked for. [`Segment::decode`] and [`Segment::receive`] are its short forms.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::time::Duration;
/// use monshm::{AttachOptions, Segment};
///
/// let creator = Segment::builder(1 << 16).create()?;
/// let encoded = creator.encode()?;
/// let options = AttachOptions::new(1 << 16).timeout(Duration::from_secs(1)).refuse_truncatable(true);
/// let segment = options.decode(&encoded.bytes, encoded.fd)?;
/// assert_eq!(segment.memory_kind(), creator.memory_kind());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is attached before `decode` or `receive`"]
pub struct AttachOptions {
    expected_size: usize,
    trust_peer: bool,
    refuse_truncatable: bool,
    pub(crate) timeout: Duration,
}

impl Segment {
    /// Attaches to the segment that descriptor bytes name. `fd` is the file descriptor that came with them, if one did;
    /// `expected_size_bytes` the size that was asked for: it matches when, rounded up to pages, it is the segment's.
    ///
    /// Object, owner, seals, size, header and token are checked before the first byte is written. Who sent the bytes is
    /// for the caller to know: [`Segment::receive`] asks the socket. [`AttachOptions`] has more to choose.
    ///
    /// # Errors
    /// As [`AttachOptions::decode`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// # let creator = monshm::Segment::builder(1 << 16).create()?;
    /// # let encoded = creator.encode()?;
    /// let segment = monshm::Segment::decode(&encoded.bytes, encoded.fd, 1 << 16)?;
    /// assert_eq!(segment.size(), 1 << 16);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(bytes: impl AsRef<[u8]>, fd: Option<OwnedFd>, expected_size_bytes: usize) -> Result<Self> {
        AttachOptions::new(expected_size_bytes).decode(bytes, fd)
    }
}

impl AttachOptions {
    /// Expects a segment of `size_bytes`, as the creator was asked for it: it matches when, rounded up to pages, it is
    /// the segment's.
    pub fn new(size_bytes: usize) -> Self {
        Self { expected_size: size_bytes, trust_peer: false, refuse_truncatable: false, timeout: DEFAULT_TIMEOUT }
    }

    /// Declares a creator of another user to be trusted like ourselves, so that every lock kind may be shared with it.
    /// With `false` (the default), only our own user and root are trusted.
    pub fn trust_peer(mut self, trust: bool) -> Self {
        self.trust_peer = trust;
        self
    }

    /// Refuses memory that a peer can truncate ([`MemoryKind::can_be_truncated`](crate::MemoryKind::can_be_truncated)),
    /// so that no SIGBUS handler is installed in this process. With `false` (the default) such memory is guarded by
    /// one: see [Truncation](crate#truncation).
    pub fn refuse_truncatable(mut self, refuse: bool) -> Self {
        self.refuse_truncatable = refuse;
        self
    }

    /// How long [`receive`](Self::receive) and [`receive_reader`](Self::receive_reader) wait for the other side of the
    /// socket, in all. Default: [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Attaches by descriptor bytes, and the file descriptor that came with them, if one did.
    ///
    /// # Errors
    /// `Descriptor` with the fault; `SizeMismatch`; `BackendNotBuilt`, `LockNotBuilt`; `HandleMissing`,
    /// `HandleUnexpected`, `HandleType`, `Unsealed`, `SealedAgainstWriting`, `WrongOwner`, `OpenToOthers`,
    /// `ObjectSize`, `Gone`, `Unreachable`, `Header`, `TokenSpent`, `SlotsTaken`, `LockNotTrusted`, `Truncatable`,
    /// `MemoryLost`. The fd is closed; nothing is left mapped.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use monshm::{AttachOptions, ErrorKind, Segment};
    ///
    /// let encoded = Segment::builder(1 << 16).create()?.encode()?;
    /// let refused = AttachOptions::new(1 << 20).decode(&encoded.bytes, encoded.fd);
    /// assert!(matches!(refused.unwrap_err().kind(), ErrorKind::SizeMismatch { .. }));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(&self, bytes: impl AsRef<[u8]>, fd: Option<OwnedFd>) -> Result<Segment> {
        let descriptor = monshm_proto::decode(bytes.as_ref())
            .map_err(|fault| Error::new(Operation::Decode, ErrorKind::Descriptor(fault)))?;
        self.attach(&descriptor, fd.map(ForeignFd::new), None)
    }

    /// Attaches to what `descriptor` names. `sender` is who vouches for it, where that is known.
    pub(crate) fn attach(
        &self,
        descriptor: &Descriptor,
        mut fd: Option<ForeignFd>,
        sender: Option<PeerCreds>,
    ) -> Result<Segment> {
        let refuse = |kind| Error::new(Operation::Attach, kind).on(descriptor.object.to_string());
        // Zeros in the place of truncated memory hold no token either.
        let no_token = |truncation| {
            check_memory(truncation, Operation::Attach).err().unwrap_or_else(|| refuse(ErrorKind::TokenSpent))
        };
        let lock = descriptor.lock;
        let entry = self.check(descriptor, sender).map_err(refuse)?;
        let mut attachment = entry.attach(descriptor, fd.as_mut().map_or(&mut None, ForeignFd::slot))?;
        let region = attachment.region();
        let header = region.header();
        // Nothing has been written so far, and nothing is before header and token are found in order.
        let checked = header.check(region.len() as u64, lock);
        check_memory(attachment.truncation(), Operation::Attach)?;
        let geometry = checked.map_err(|fault| refuse(ErrorKind::Header(fault)))?;
        if !header.knows_token(descriptor.token) {
            return Err(no_token(attachment.truncation()));
        }
        let slot = attachment.take_slot()?;
        if !attachment.liveness().is_alive(Slot::CREATOR) {
            attachment.remove_name();
            return Err(refuse(ErrorKind::Gone { what: "its creator has detached" }));
        }
        if !header.spend_token(descriptor.token) {
            return Err(no_token(attachment.truncation()));
        }
        let ours = PeerCreds::ours();
        header.record_slot(slot, ours.pid as u32, Identity { uid: ours.uid, gid: ours.gid });
        let raw = attachment.open_lock(lock)?;
        check_memory(attachment.truncation(), Operation::Attach)?;
        // The creator then knows that we need the name no more.
        header.count_attach();
        attachment.remove_name();
        let selection = Selection::of_descriptor(attachment.memory(), lock);
        Ok(Segment::assemble(attachment, LockState::new(raw), geometry, selection, sender, false))
    }

    /// Checks what needs no kernel object: size, owner, and that this build has the parts and may trust them.
    fn check(&self, descriptor: &Descriptor, sender: Option<PeerCreds>) -> Result<&'static AnyBackend, ErrorKind> {
        let entry = self.check_object(descriptor, sender)?;
        let (lock, ours) = (descriptor.lock, PeerCreds::ours().uid);
        if !entry.locks().contains(&lock) {
            return Err(lock_missing(lock, entry));
        }
        let creator = sender.map_or(descriptor.owner.uid, |sender| sender.uid);
        let trusted = self.trust_peer || creator == ours || creator == 0;
        if !trusted && !lock.safe_with_untrusted_peer() {
            return Err(ErrorKind::LockNotTrusted { lock, peer_uid: creator });
        }
        Ok(entry)
    }

    /// The part of it that does not speak of the lock.
    pub(crate) fn check_object(
        &self,
        descriptor: &Descriptor,
        sender: Option<PeerCreds>,
    ) -> Result<&'static AnyBackend, ErrorKind> {
        if descriptor.size != whole_pages(self.expected_size)? {
            return Err(ErrorKind::SizeMismatch { expected: self.expected_size as u64, found: descriptor.size });
        }
        let ours = PeerCreds::ours().uid;
        let owner = descriptor.owner.uid;
        // A privileged creator gives a named object to its peer, who then finds himself the owner.
        if let Some(sender) = sender.filter(|sender| owner != sender.uid && owner != ours) {
            return Err(ErrorKind::WrongOwner { expected: sender.uid, found: owner });
        }
        let memory = descriptor.object.memory();
        if self.refuse_truncatable && memory.can_be_truncated() {
            return Err(ErrorKind::Truncatable { memory });
        }
        let backend = descriptor.backend();
        find(backend).ok_or(ErrorKind::BackendNotBuilt { backend })
    }
}
