//! The choice of backend, memory and lock, in one place. It tries what it chooses, at the requested size.

use std::fmt;

use monshm_core::error::Choices;
use monshm_core::{
    Access, BackendKind, Error, ErrorKind, Identity, LockKind, MAX_SEGMENT_SIZE, MemoryKind, Operation, Peer, Refusal,
    Request, Result,
};

use crate::backends::{AnyAttachment, AnyBackend, BACKENDS, find};
use crate::sys;

/// What the caller wants, checked as far as that needs no system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Bytes, whole pages, within the limit.
    pub(crate) size: u64,
    pub(crate) backend: BackendKind,
    pub(crate) memory: Option<MemoryKind>,
    pub(crate) lock: Option<LockKind>,
    pub(crate) peer: Identity,
    pub(crate) process: Peer,
    /// Whether the peer has another user id than we.
    pub(crate) peer_is_other: bool,
    pub(crate) peer_is_trusted: bool,
    pub(crate) reachable_by_bytes: bool,
    /// Whether the peer shall only read.
    pub(crate) one_way: bool,
    /// Whether memory that the peer could truncate is refused.
    pub(crate) refuse_truncatable: bool,
}

/// What was chosen, and why.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// # let segment = monshm::Segment::builder(1 << 16).create()?;
/// let selection = segment.selection();
/// println!("{} by {}", selection.lock(), selection.backend());
/// for refusal in selection.refusals() {
///     println!("not {}: {}", refusal.backend, refusal.error);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Selection {
    asked: BackendKind,
    backend: BackendKind,
    memory: MemoryKind,
    lock: LockKind,
    refusals: Vec<Refusal>,
}

impl Selection {
    /// What the caller asked for; for a segment that was attached to, its backend.
    pub fn asked(&self) -> BackendKind {
        self.asked
    }

    /// The backend.
    pub fn backend(&self) -> BackendKind {
        self.backend
    }

    /// The kind of memory object.
    pub fn memory(&self) -> MemoryKind {
        self.memory
    }

    /// The kind of lock.
    pub fn lock(&self) -> LockKind {
        self.lock
    }

    /// Why each candidate that was tried before was refused, in order.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// What stands in the descriptor of a segment that another process made.
    pub(crate) fn of_descriptor(memory: MemoryKind, lock: LockKind) -> Self {
        Self { asked: memory.backend(), backend: memory.backend(), memory, lock, refusals: Vec::new() }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) with lock {}: ", self.backend, self.memory, self.lock)?;
        if self.asked == self.backend {
            write!(f, "as asked for")?;
        } else if self.refusals.is_empty() {
            write!(f, "first choice of {} at this size", self.asked)?;
        } else {
            write!(f, "first of {} that could", self.asked)?;
        }
        for refusal in &self.refusals {
            write!(f, "; not {}: {}", refusal.memory, refusal.error)?;
        }
        Ok(())
    }
}

/// Rounds a size that was asked for up to whole pages.
pub(crate) fn whole_pages(asked: usize) -> Result<u64, ErrorKind> {
    if asked == 0 {
        return Err(ErrorKind::ZeroSize);
    }
    let asked_bytes = asked as u64;
    let rounded = asked_bytes.checked_next_multiple_of(sys::page_size());
    let rounded = rounded.ok_or(ErrorKind::SizeOverflow { asked: asked_bytes })?;
    if rounded > MAX_SEGMENT_SIZE {
        return Err(ErrorKind::SizeOverLimit { asked: asked_bytes, limit: MAX_SEGMENT_SIZE });
    }
    Ok(rounded)
}

/// Makes a segment by the first candidate that can.
///
/// # Errors
/// For a named backend its own error; for `Auto` `NoBackend` with the refusals; `Disabled`, `BackendNotBuilt`.
pub(crate) fn create(wanted: &Wanted) -> Result<(AnyAttachment, Selection)> {
    let refuse = |kind| Error::new(Operation::Create, kind);
    match wanted.backend {
        BackendKind::None => return Err(refuse(ErrorKind::Disabled)),
        BackendKind::Auto => {}
        backend if find(backend).is_none() => return Err(refuse(ErrorKind::BackendNotBuilt { backend })),
        _ => {}
    }
    let mut refusals: Vec<Refusal> = Vec::new();
    for (entry, memory) in candidates(wanted) {
        match try_candidate(wanted, entry, memory) {
            Ok((attachment, lock)) => {
                let selection = Selection {
                    asked: wanted.backend,
                    backend: entry.kind(),
                    memory: attachment.memory(),
                    lock,
                    refusals,
                };
                return Ok((attachment, selection));
            }
            Err(error) => refusals.push(Refusal::new(memory, error)),
        }
    }
    // A backend that was asked for by name answers for itself, with the reason of its first choice that would do.
    if wanted.backend != BackendKind::Auto && !refusals.is_empty() {
        let would_do = |refusal: &Refusal| !matches!(refusal.error.kind(), ErrorKind::Unreachable { .. });
        let first = refusals.iter().position(would_do).unwrap_or(0);
        return Err(refusals.swap_remove(first).error);
    }
    match (wanted.memory, find(wanted.backend)) {
        (Some(memory), Some(entry)) => {
            let choices = Choices(entry.memories());
            Err(refuse(ErrorKind::MemoryNotOfBackend { memory, backend: entry.kind(), choices }))
        }
        _ => Err(refuse(ErrorKind::NoBackend).with_refusals(refusals)),
    }
}

/// The backends and memories that may serve, best first.
fn candidates(wanted: &Wanted) -> Vec<(&'static AnyBackend, MemoryKind)> {
    let mut candidates: Vec<_> = BACKENDS
        .iter()
        .copied()
        .filter(|entry| matches!(wanted.backend, BackendKind::Auto) || wanted.backend == entry.kind())
        .flat_map(|entry| entry.memories().iter().map(move |memory| (entry, *memory)))
        .filter(|(_, memory)| wanted.memory.is_none_or(|wanted| wanted == *memory))
        .collect();
    if wanted.reachable_by_bytes && wanted.peer_is_other && !wanted.peer_is_trusted {
        // A named object can be truncated under us by a peer that may write to it; a SysV segment cannot.
        candidates.sort_by_key(|(_, memory)| *memory == MemoryKind::Named);
    }
    candidates
}

fn try_candidate(wanted: &Wanted, entry: &AnyBackend, memory: MemoryKind) -> Result<(AnyAttachment, LockKind)> {
    let lock = choose_lock(wanted, entry).map_err(|kind| Error::new(Operation::Create, kind))?;
    if wanted.refuse_truncatable && memory.can_be_truncated() {
        return Err(Error::new(Operation::Create, ErrorKind::Truncatable { memory }));
    }
    let reachable_by_bytes = wanted.reachable_by_bytes || memory == MemoryKind::Named;
    let access = if wanted.one_way { Access::OneWay } else { Access::Shared };
    let (size, peer, process) = (wanted.size, wanted.peer, wanted.process);
    let request = Request { size, memory, peer, process, access, reachable_by_bytes };
    Ok((entry.create(&request)?, lock))
}

/// The lock asked for, if it is the backend's and may be shared with this peer; else the backend's first that may.
fn choose_lock(wanted: &Wanted, entry: &AnyBackend) -> Result<LockKind, ErrorKind> {
    let may_share = |lock: &LockKind| wanted.peer_is_trusted || lock.safe_with_untrusted_peer();
    let peer_uid = wanted.peer.uid;
    match (wanted.lock, entry.locks().first()) {
        (Some(lock), _) if !entry.locks().contains(&lock) => Err(lock_missing(lock, entry)),
        (Some(lock), _) if !may_share(&lock) => Err(ErrorKind::LockNotTrusted { lock, peer_uid }),
        (Some(lock), _) => Ok(lock),
        (None, Some(first)) => {
            let lock = entry.locks().iter().copied().find(may_share);
            lock.ok_or(ErrorKind::LockNotTrusted { lock: *first, peer_uid })
        }
        (None, None) => Err(ErrorKind::LockNotBuilt { lock: LockKind::Futex }),
    }
}

/// Why a backend of this build does not have a lock: it never has, or the feature is off.
pub(crate) fn lock_missing(lock: LockKind, entry: &AnyBackend) -> ErrorKind {
    let ever = match entry.kind() {
        BackendKind::Sysv => matches!(lock, LockKind::SysvSem | LockKind::Futex),
        _ => lock != LockKind::SysvSem,
    };
    if ever {
        ErrorKind::LockNotBuilt { lock }
    } else {
        ErrorKind::LockNotOfBackend { lock, backend: entry.kind(), choices: Choices(entry.locks()) }
    }
}
