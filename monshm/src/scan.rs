//! What is shared on this machine, and the removal of what two SIGKILLs leave behind.
//!
//! How objects are found and judged is each backend's work. Nothing is attached to, and no byte of a segment is read.

use std::fmt;

use monshm_core::{BackendKind, Cleanup, Error, Result, ScanEntry, ScanState};

use crate::backends::BACKENDS;

/// What was found on the machine, and what was done about it.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// let report = monshm::list()?;
/// println!("{} stale objects", report.stale().count());
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Report {
    found: Vec<(BackendKind, ScanEntry)>,
    unseen: Vec<(BackendKind, Error)>,
}

/// Removes what belongs to nobody alive, as nearly as the kernel can tell; with [`Cleanup::Report`] it only says what it
/// would remove.
///
/// A single death leaves nothing: the survivor removes what the kernel does not. Two SIGKILLs can leave a name in
/// `/dev/shm`, a System V segment that was being made, or a semaphore set. Each is removed when it has monshm's form,
/// no process holds a slot in it, and it is old enough (ten seconds) not to be under creation. What a living process
/// has or makes, what another program made, and what another user made (unless we are root) is left alone; the report
/// says why. It may run at any time, and twice at a time.
///
/// # Examples
/// ```
/// let report = monshm::clean(monshm::Cleanup::Report)?;
/// for (backend, found) in report.stale() {
///     println!("{backend}: would remove {} {}", found.object.kind(), found.object);
/// }
/// # Ok::<(), monshm::Error>(())
/// ```
///
/// # Errors
/// `Unsupported` when no backend of this build can look at the system; one of several that cannot is in
/// [`Report::unseen`].
pub fn clean(cleanup: Cleanup) -> Result<Report> {
    let mut report = Report::default();
    for entry in BACKENDS {
        match entry.scan(cleanup) {
            Ok(found) => report.found.extend(found.into_iter().map(|found| (entry.kind(), found))),
            Err(error) => report.unseen.push((entry.kind(), error)),
        }
    }
    match report.unseen.first() {
        Some((_, error)) if report.unseen.len() == BACKENDS.len() => Err(error.clone()),
        _ => Ok(report),
    }
}

/// Everything of monshm's that can be found on this machine: what [`clean`] looks at, and what living processes have
/// mapped without a name. Of other users' processes only root sees mappings. Changes nothing.
///
/// # Errors
/// As [`clean`].
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// print!("{}", monshm::list()?);
/// # }
/// # Ok::<(), monshm::Error>(())
/// ```
pub fn list() -> Result<Report> {
    let mut report = clean(Cleanup::Report)?;
    for entry in BACKENDS {
        let mapped = entry.list_anonymous();
        report.found.extend(mapped.into_iter().map(|found| (entry.kind(), found)));
    }
    Ok(report)
}

impl Report {
    /// Everything that was found, with its backend.
    pub fn found(&self) -> impl Iterator<Item = (BackendKind, &ScanEntry)> {
        self.found.iter().map(|(backend, found)| (*backend, found))
    }

    /// What nobody alive has: removed, or to be removed.
    pub fn stale(&self) -> impl Iterator<Item = (BackendKind, &ScanEntry)> {
        self.found().filter(|(_, found)| found.is_stale())
    }

    /// What was left alone, and [`ScanEntry::state`] says why.
    pub fn retained(&self) -> impl Iterator<Item = (BackendKind, &ScanEntry)> {
        self.found().filter(|(_, found)| !found.is_stale())
    }

    /// What could not be judged or removed, although nobody else has a say in it.
    pub fn failed(&self) -> impl Iterator<Item = (BackendKind, &ScanEntry)> {
        self.found().filter(|(_, found)| matches!(found.state, ScanState::Failed { .. }))
    }

    /// The backends whose objects could not be looked at, and why.
    pub fn unseen(&self) -> &[(BackendKind, Error)] {
        &self.unseen
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (backend, found) in self.found() {
            writeln!(
                f,
                "{backend}: {} {}, {} bytes, uid {}: {}",
                found.object.kind(),
                found.object,
                found.size,
                found.owner_uid,
                found.state
            )?;
        }
        for (backend, error) in &self.unseen {
            writeln!(f, "{backend}: not looked at: {error}")?;
        }
        Ok(())
    }
}
