//! Lists the names in `/dev/shm` that have monshm's form, judges each, and removes those that killed processes left.
//!
//! A name stays when its creator dies before a peer has attached, or when the peer may not remove it and the creator is
//! killed. Memfds leave nothing. Only names of our own user are judged, unless we are root.
//!
//! A name is stale if it leads to a file of a tmpfs that its owner's group and others cannot open (but for one user on
//! its access list), is older than ten seconds, and no process holds a slot in the object: the kernel releases a slot
//! when its process ends. A creator locks its slot soon after it made the name; one that was stopped in between for
//! longer finds its name removed, and makes another one.

mod mapped;

use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use monshm_core::descriptor::Name;
use monshm_core::error::{Error, ErrorKind, Operation, Result};
use monshm_core::layout::Slot;
use monshm_core::scan::{Cleanup, ScanEntry, ScanObject, ScanState};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::segment::{SHM_FOLDER, TMPFS_MAGIC, look_up};
use crate::sys;

/// How long a creator may take between making the name and locking its slot, in seconds.
const CREATION: i64 = 10;

/// How long a scan goes on before it takes up no further object.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) use mapped::mapped_object;

/// All names that have monshm's form, judged; with [`Cleanup::Remove`], the stale ones are removed.
///
/// # Errors
/// `Unsupported` where there is no `/dev/shm` to be read. An object that vanishes meanwhile is left out.
pub(crate) fn scan(cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
    let entries = sys::read_folder(SHM_FOLDER).map_err(|error| {
        Error::new(Operation::Remove, ErrorKind::Unsupported { what: "a /dev/shm that can be read" })
            .on("posix")
            .with_os_error(error.raw_os_error().unwrap_or(0))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let names = entries.flatten().filter_map(|entry| Name::new(&format!("/{}", entry.file_name().to_str()?)));
    let until = Instant::now() + PATIENCE;
    Ok(names.filter_map(|name| judge_until(until, name, now, cleanup)).collect())
}

/// The same as [`judge`], unless it is too late: what other users own can be slow to be asked about.
fn judge_until(until: Instant, name: Name, now: i64, cleanup: Cleanup) -> Option<ScanEntry> {
    if Instant::now() < until {
        return judge(name, now, cleanup);
    }
    let errno = Errno::TIMEDOUT.raw_os_error();
    name.is_random().then(|| ScanEntry::new(ScanObject::Name(name), 0, 0, Vec::new(), ScanState::Failed { errno }))
}

/// Who holds the object that this name leads to; `None` when it is not monshm's, or has gone.
fn judge(name: Name, now: i64, cleanup: Cleanup) -> Option<ScanEntry> {
    if !name.is_random() {
        return None;
    }
    let (held, status, is_there) = look_up(name).ok()?;
    // What is no file is not opened: a pipe or a device could notice. Nor is what is open to all: another program's.
    if status.file_type() != FileType::RegularFile || status.mode & 0o007 != 0 || !is_there {
        return None;
    }
    let found = |state| Some(ScanEntry::new(ScanObject::Name(name), status.size, status.uid, Vec::new(), state));
    let us = sys::own_uid();
    if status.uid != us && us != 0 {
        return found(ScanState::OtherUser);
    }
    let file = match sys::reopen(&held) {
        Ok(file) => file,
        Err(errno) => return found(ScanState::Failed { errno: errno.raw_os_error() }),
    };
    if sys::file_system(&file).ok()?.0 != TMPFS_MAGIC {
        return None;
    }
    let mut holders = 0;
    for slot in Slot::all() {
        match sys::is_byte_locked(file.as_fd(), slot.index()) {
            Ok(held) => holders += u32::from(held),
            // Where the kernel does not answer, somebody may live.
            Err(errno) => return found(ScanState::Failed { errno: errno.raw_os_error() }),
        }
    }
    let age = now.saturating_sub(status.changed_s);
    if holders > 0 {
        return found(ScanState::InUse { holders });
    }
    if age < CREATION {
        let age_s = u64::try_from(age).unwrap_or(0);
        return found(ScanState::TooNew { age_s, limit_s: CREATION.unsigned_abs() });
    }
    if cleanup == Cleanup::Report {
        return found(ScanState::Stale);
    }
    // Nobody makes this name again: it is random. But it may have been removed, and put there by an enemy.
    let path = format!("{SHM_FOLDER}{name}");
    match sys::status_of_path(&path) {
        Ok(again) if again.is_same_file(&status) => {}
        _ => return None,
    }
    match sys::unlink(&path) {
        Ok(()) => found(ScanState::Removed),
        Err(Errno::NOENT) => None,
        Err(errno) => found(ScanState::Failed { errno: errno.raw_os_error() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monshm_core::attachment::Attachment;
    use monshm_core::backend::{Access, Peer, Request};
    use monshm_core::descriptor::Identity;
    use monshm_core::kind::MemoryKind;
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::OwnedFd;

    // Each test judges its own name alone: the others' segments come and go.

    fn later() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + CREATION
    }

    fn judge(name: Name, now: i64, cleanup: Cleanup) -> Option<ScanState> {
        super::judge(name, now, cleanup).map(|entry| entry.state)
    }

    fn exists(name: Name) -> bool {
        sys::status_of_path(&format!("{SHM_FOLDER}{name}")).is_ok()
    }

    fn abandoned(mode: u32) -> (Name, OwnedFd) {
        let name = Name::from_random(sys::random_bits().unwrap());
        let flags = OFlags::CREATE | OFlags::EXCL;
        let file = sys::open(&format!("{SHM_FOLDER}{name}"), flags, Mode::from_raw_mode(0o600)).unwrap();
        sys::set_mode(&file, mode).unwrap();
        (name, file)
    }

    #[test]
    fn each_state_is_reported_and_only_a_stale_name_is_removed() {
        let (name, file) = abandoned(0o600);
        let now = later() - CREATION + 3;
        let state = judge(name, now, Cleanup::Remove);
        assert!(matches!(state, Some(ScanState::TooNew { age_s: 2.., limit_s: 10 })), "{state:?}");
        assert!(exists(name), "its creator may still be making it");
        assert!(sys::lock_byte(file.as_fd(), 0).unwrap() && sys::lock_byte(file.as_fd(), 31).unwrap());
        assert_eq!(judge(name, later(), Cleanup::Remove), Some(ScanState::InUse { holders: 2 }));
        drop(file);
        let entry = super::judge(name, later(), Cleanup::Report).unwrap();
        assert_eq!((entry.object, entry.size, entry.owner_uid), (ScanObject::Name(name), 0, sys::own_uid()));
        assert_eq!(entry.state, ScanState::Stale);
        assert!(exists(name), "a report removes nothing");
        assert_eq!(judge(name, later(), Cleanup::Remove), Some(ScanState::Removed));
        assert!(!exists(name));
        assert_eq!(judge(name, later(), Cleanup::Remove), None);
    }

    #[test]
    fn what_is_open_to_all_is_another_programs() {
        let (name, _file) = abandoned(0o666);
        assert_eq!(judge(name, later(), Cleanup::Remove), None);
        sys::unlink(&format!("{SHM_FOLDER}{name}")).unwrap();
        let other = Name::new("/mon-short").unwrap();
        std::fs::write(format!("{SHM_FOLDER}{other}"), "").unwrap();
        assert_eq!(judge(other, later(), Cleanup::Remove), None);
        sys::unlink(&format!("{SHM_FOLDER}{other}")).unwrap();
    }

    #[test]
    fn a_creator_is_alive_before_a_peer_attaches() {
        let peer = Identity { uid: sys::own_uid(), gid: u32::MAX };
        let request = Request {
            size: 65536,
            memory: MemoryKind::Named,
            peer,
            access: Access::Shared,
            reachable_by_bytes: true,
            process: Peer::AnyOfItsUser,
        };
        let creator = crate::attachment::create(&request).unwrap();
        let base = format!("{:x}-", creator.region().base().as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.starts_with(&base)).unwrap();
        let name = Name::new(line.split_once(SHM_FOLDER).unwrap().1).unwrap();
        assert_eq!(judge(name, later(), Cleanup::Remove), Some(ScanState::InUse { holders: 1 }));
        assert!(exists(name));
    }
}
