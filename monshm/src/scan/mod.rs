//! What is shared on this machine, and the removal of what two SIGKILLs leave behind.
//!
//! How objects are found and judged is each backend's work. Nothing is attached to, and no byte of a segment is read.

use std::collections::HashMap;
use std::fmt;

use monshm_core::{BackendKind, Cleanup, Error, Result, ScanEntry, ScanObject, ScanState};

use crate::backends::{AnyBackend, BACKENDS};

mod mappings;

use mappings::Process;

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
    unanswered: usize,
}

/// Removes what belongs to nobody alive, as nearly as the kernel can tell; with [`Cleanup::Report`] it only says what
/// it would remove.
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
/// mapped, with their pids. Of other users' processes only root sees mappings. Changes nothing.
///
/// A process can keep those waiting that read its mappings; one that does is passed over, see [`Report::unanswered`].
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
    let (processes, unanswered) = mappings::of_all_processes();
    report.unanswered = unanswered;
    report.add_mapped(&processes);
    Ok(report)
}

impl Report {
    /// Enters who has mapped what: with the pids of objects that were found, and the objects that were not.
    fn add_mapped(&mut self, processes: &[Process]) {
        let mut places: HashMap<ScanObject, usize> =
            self.found.iter().enumerate().map(|(place, (_, found))| (found.object, place)).collect();
        // Of objects that a scan found the pids are replaced, once: it can know processes that have gone.
        let mut mapped_by: HashMap<ScanObject, Vec<u32>> = HashMap::new();
        for process in processes {
            for mapped in &process.mapped {
                let object_of = |backend: &&AnyBackend| {
                    backend.mapped_object(&mapped.path, mapped.inode).map(|object| (backend.kind(), object))
                };
                let Some((backend, object)) = BACKENDS.iter().find_map(object_of) else { continue };
                let pids = mapped_by.entry(object).or_default();
                if pids.last() != Some(&process.pid) {
                    pids.push(process.pid);
                }
                places.entry(object).or_insert_with(|| {
                    // The owner of the process that maps it: the object shows its own only to those who can open it.
                    let (owner, state) = (process.owner_uid, ScanState::InUse { holders: 0 });
                    self.found.push((backend, ScanEntry::new(object, mapped.size, owner, Vec::new(), state)));
                    self.found.len() - 1
                });
            }
        }
        for (object, pids) in mapped_by {
            let found = &mut self.found[places[&object]].1;
            if let ScanState::InUse { holders } = &mut found.state {
                *holders = pids.len() as u32;
            }
            found.pids = pids;
        }
    }

    /// How many processes did not let their mappings be read in time. Only [`list`] reads them.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

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
        if self.unanswered > 0 {
            writeln!(f, "{} processes did not let their mappings be read in time", self.unanswered)?;
        }
        Ok(())
    }
}
