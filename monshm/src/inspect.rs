//! What a segment's page says of itself, for people: who is attached, and where common data and ring stand.
//!
//! Any attached process can write these words, so nothing here is a base for a decision; the product decides by private
//! copies and by what the kernel reports.

use monshm_core::{HeaderWords, Operation, Result, Slot};

use crate::segment::Segment;

/// A slot of the segment that somebody has or had. What stands in it was written by that process and can be changed by
/// any other; whether it lives is the kernel's answer.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let creator = monshm::Segment::builder(1 << 16).create()?;
/// # let encoded = creator.encode()?;
/// let peer = monshm::Segment::decode(&encoded.bytes, encoded.fd, 1 << 16)?;
/// for attached in creator.attached_peers()? {
///     println!("{}: pid {}, uid {}, lives: {}", attached.slot, attached.pid, attached.uid, attached.lives);
/// }
/// # assert_eq!(creator.attached_peers()?.len(), 1);
/// # drop(peer);
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AttachedPeer {
    /// The number of the slot: 0 is the creator's.
    pub slot: u32,
    /// The process id in its own PID namespace, as it recorded itself; 0 where nothing is recorded.
    pub pid: u32,
    /// The effective user id, as it recorded itself.
    pub uid: u32,
    /// Whether the kernel reports that a process has the slot. The record of one that detached or died stays until
    /// another takes the slot.
    pub lives: bool,
}

impl Segment {
    /// Who else is attached, or was, by slot: 31 at most, this handle left out. For people: see [`AttachedPeer`].
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// assert!(segment.attached_peers()?.is_empty());
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn attached_peers(&self) -> Result<Vec<AttachedPeer>> {
        let inner = self.inner();
        inner.check_usable(Operation::Address)?;
        let region = inner.attachment.region();
        let (own, liveness) = (inner.attachment.slot(), inner.attachment.liveness());
        let peers = Slot::all().filter(|slot| *slot != own).filter_map(|slot| {
            let (pid, uid) = region.header().recorded(slot);
            let lives = liveness.is_alive(slot);
            (lives || pid != 0).then_some(AttachedPeer { slot: slot.index(), pid, uid, lives })
        });
        let peers = peers.collect();
        inner.health.check_memory(Operation::Address)?;
        Ok(peers)
    }

    /// The words of the page that the C interface shows as `mon_shm_header`, each loaded once. Hints: any attached
    /// process can change them, and this handle's own calls do not rely on them.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let segment = monshm::Segment::builder(1 << 16).create()?;
    /// let words = segment.header_words()?;
    /// assert_eq!((words.size, words.cdata_begin), (1 << 16, words.cdata_end));
    /// assert_eq!(words.ring_head, words.ring_tail); // the ring is empty
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn header_words(&self) -> Result<HeaderWords> {
        let inner = self.inner();
        inner.check_usable(Operation::Address)?;
        let words = inner.attachment.region().header().words();
        inner.health.check_memory(Operation::Address)?;
        Ok(words)
    }
}
