//! Lists the objects that have monshm's form, judges each, and removes those that killed processes left.
//!
//! Two things can stay: a segment whose creator died between `shmget` and `IPC_RMID`, and a semaphore set whose last
//! process died. The list comes from /proc/sysvipc, which shows this IPC namespace. Only objects that our own user
//! created or owns are judged, unless we are root.
//!
//! A segment is stale if its key carries [`KEY_PREFIX`](crate::KEY_PREFIX), nobody is attached, its creator is dead, it
//! is older than ten seconds, and it holds not one page: monshm removes the id before it uses the memory, so a segment
//! that holds data is another program's. A set is stale, whatever mode a peer has given it, if key, size and
//! [`SET_MARK`](crate::SET_MARK) are ours and no slot is taken by a process that exists; a set that was never used (its
//! creator died while it made it) also has to be older than ten seconds. A pid that was reused, or that another PID
//! namespace hides, counts as alive.

use monshm_core::{Cleanup, Result, ScanEntry, ScanObject, ScanState};

use crate::key;

/// All segments and sets that have monshm's form, judged; with [`Cleanup::Remove`], the stale ones are removed.
///
/// # Errors
/// `Unsupported` where the system does not list its objects. An object that vanishes meanwhile is left out.
pub(crate) fn scan(cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
    imp::scan(cleanup)
}

/// The object that a mapping with this path shows: the kernel names a segment by its key, and its inode is the id.
pub(crate) fn mapped_object(path: &str, inode: u64) -> Option<ScanObject> {
    let key = path.strip_prefix("/SYSV")?.get(..8)?;
    let is_ours = key::is_ours(u32::from_str_radix(key, 16).ok()? as i32);
    is_ours.then_some(ScanObject::Segment { id: i32::try_from(inode).ok()? })
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use monshm_core::{Error, ErrorKind, Operation, Result};

    pub(super) fn scan(_cleanup: super::Cleanup) -> Result<Vec<super::ScanEntry>> {
        Err(Error::new(Operation::Remove, ErrorKind::Unsupported { what: "a list of System V objects" }).on("sysv"))
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::fs;
    use std::time::{SystemTime, UNIX_EPOCH};

    use monshm_core::{Error, ErrorKind, Operation, Result};
    use rustix::io::Errno;

    use super::{Cleanup, ScanEntry, ScanObject, ScanState};
    use crate::slots::{COUNT, SET_MARK, Slots};
    use crate::{key, sys};

    /// How long a creation may take, in seconds.
    const CREATION: i64 = 10;

    /// One line of a table of /proc/sysvipc, with the names of its columns.
    struct Row<'a> {
        names: &'a str,
        line: &'a str,
    }

    impl Row<'_> {
        fn number(&self, name: &str) -> Option<i64> {
            let column = self.names.split_whitespace().position(|found| found == name)?;
            self.line.split_whitespace().nth(column)?.parse().ok()
        }

        /// What segments and sets have in common: our prefix. Gives the creator, and whether we may remove it.
        fn ours(&self, us: u32) -> Option<(u32, bool)> {
            let uid = |name| u32::try_from(self.number(name)?).ok();
            let (creator, owner) = (uid("cuid")?, uid("uid")?);
            let key = self.number("key")? as i32;
            key::is_ours(key).then_some((creator, [0, creator, owner].contains(&us)))
        }

        fn id(&self, name: &str) -> Option<i32> {
            i32::try_from(self.number(name)?).ok()
        }

        /// Left behind, if it is old enough for that.
        fn by_age(&self, now: i64) -> Option<ScanState> {
            let age = now.saturating_sub(self.number("ctime")?);
            if age >= CREATION {
                return Some(ScanState::Stale);
            }
            let age_s = u64::try_from(age).unwrap_or(0);
            Some(ScanState::TooNew { age_s, limit_s: CREATION.unsigned_abs() })
        }
    }

    /// An entry, and what the object is known by beside its id, which can be another one's when it is to be removed.
    struct Judged {
        entry: ScanEntry,
        key: i32,
        creator_uid: u32,
    }

    impl Judged {
        /// Removes the object, if it still is the one that was judged, and nobody has come since.
        fn remove(&self) -> std::result::Result<(), Errno> {
            let another = Err(Errno::IDRM);
            match self.entry.object {
                ScanObject::Segment { id } => {
                    let status = sys::shm_status(id)?;
                    let is_same = (status.key, status.permissions.creator_uid) == (self.key, self.creator_uid);
                    let is_stale = status.mappings == 0 && !sys::process_exists(status.creator_pid);
                    if is_same && is_stale { sys::shm_remove(id) } else { another }
                }
                ScanObject::Semaphores { id } => {
                    let set = Slots::new(id, self.key, self.creator_uid);
                    if set.is_stale()? { set.remove() } else { another }
                }
                _ => another,
            }
        }
    }

    pub(super) fn scan(cleanup: Cleanup) -> Result<Vec<ScanEntry>> {
        let us = sys::own_uid();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        let mut all = judged(&table("/proc/sysvipc/shm")?, |row| segment(row, us, now));
        all.extend(judged(&table("/proc/sysvipc/sem")?, |row| set(row, us, now)));
        if cleanup == Cleanup::Remove {
            for found in all.iter_mut().filter(|found| found.entry.is_stale()) {
                found.entry.state = match found.remove() {
                    Ok(()) => ScanState::Removed,
                    Err(errno) => ScanState::Failed { errno: errno.raw_os_error() },
                };
            }
            // Another one was faster.
            let gone = |errno| matches!(errno, libc::EINVAL | libc::EIDRM);
            all.retain(|found| !matches!(found.entry.state, ScanState::Failed { errno } if gone(errno)));
        }
        Ok(all.into_iter().map(|found| found.entry).collect())
    }

    fn table(path: &str) -> Result<String> {
        fs::read_to_string(path).map_err(|error| {
            let kind = ErrorKind::Unsupported { what: "/proc/sysvipc" };
            Error::new(Operation::Remove, kind).on("sysv").with_os_error(error.raw_os_error().unwrap_or(0))
        })
    }

    fn judged(table: &str, judge: impl Fn(&Row<'_>) -> Option<ScanEntry>) -> Vec<Judged> {
        let mut lines = table.lines();
        let names = lines.next().unwrap_or_default();
        let judged = |line| {
            let row = Row { names, line };
            let (key, creator_uid) = (row.number("key")? as i32, u32::try_from(row.number("cuid")?).ok()?);
            Some(Judged { entry: judge(&row)?, key, creator_uid })
        };
        lines.filter_map(judged).collect()
    }

    fn segment(row: &Row<'_>, us: u32, now: i64) -> Option<ScanEntry> {
        let (owner_uid, may_remove) = row.ours(us)?;
        // "perms" is octal; 600 is read as a decimal number here. While a segment can still be found its creator has
        // it for itself, so that no peer has changed its mode.
        if row.number("perms")? != 600 {
            return None;
        }
        let attached = u32::try_from(row.number("nattch")?).ok()?;
        let creator = i32::try_from(row.number("cpid")?).ok()?;
        let state = if !may_remove {
            ScanState::OtherUser
        } else if attached > 0 {
            ScanState::InUse { holders: attached }
        } else if row.number("rss")? != 0 || row.number("swap")? != 0 {
            // Holds data, and nobody is attached: another program's.
            return None;
        } else if sys::process_exists(creator) {
            ScanState::InUse { holders: 1 }
        } else {
            row.by_age(now)?
        };
        let size = u64::try_from(row.number("size")?).ok()?;
        let pids = u32::try_from(creator).ok().filter(|_| matches!(state, ScanState::InUse { .. }));
        let object = ScanObject::Segment { id: row.id("shmid")? };
        Some(ScanEntry::new(object, size, owner_uid, pids.into_iter().collect(), state))
    }

    fn set(row: &Row<'_>, us: u32, now: i64) -> Option<ScanEntry> {
        // Whatever its mode: a hostile peer, as the owner, can have changed it.
        let (owner_uid, may_remove) = row.ours(us)?;
        let id = row.id("semid")?;
        if row.number("nsems")? != i64::from(COUNT) {
            return None;
        }
        let found = |state, pids| {
            let object = ScanObject::Semaphores { id };
            // A set has no bytes of its own.
            Some(ScanEntry::new(object, 0, owner_uid, pids, state))
        };
        if !may_remove {
            return found(ScanState::OtherUser, Vec::new());
        }
        let failed = |errno: Errno| match errno {
            // It went meanwhile.
            Errno::INVAL | Errno::IDRM => None,
            _ => found(ScanState::Failed { errno: errno.raw_os_error() }, Vec::new()),
        };
        let set = Slots::new(id, row.number("key")? as i32, u32::try_from(row.number("cuid")?).ok()?);
        let state = if row.number("otime")? != 0 {
            match set.mark() {
                Ok(mark) if mark == u32::from(SET_MARK) => ScanState::Stale,
                Ok(_) => return None,
                Err(errno) => return failed(errno),
            }
        } else {
            // The first use takes the creator's slot: before it, free slots say nothing.
            match set.maker() {
                Ok(Some(pid)) => return found(ScanState::InUse { holders: 1 }, vec![pid]),
                Ok(None) => row.by_age(now)?,
                Err(errno) => return failed(errno),
            }
        };
        match set.holders() {
            Ok(pids) if pids.is_empty() => found(state, pids),
            Ok(pids) => found(ScanState::InUse { holders: pids.len() as u32 }, pids),
            Err(errno) => failed(errno),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  \
                           cgid      atime      dtime      ctime                   rss                  swap\n";

        fn states(row: &str) -> Vec<ScanState> {
            let found = judged(&format!("{SHM}{row}"), |row| segment(row, 7, 1000));
            found.iter().map(|found| found.entry.state).collect()
        }

        #[test]
        fn only_an_empty_old_segment_of_a_dead_creator_is_left() {
            let dead = (1..).map(|n| i32::MAX - n).find(|pid| !sys::process_exists(*pid)).unwrap();
            let key = i32::from(0x6d53_i16) << 16 | 5;
            let row = |key: i32, perms: &str, pid: i32, nattch: u32, uid: u32, ctime: u32, rss: u32, swap: u32| {
                states(&format!("{key} 42 {perms} 8192 {pid} 0 {nattch} {uid} 0 {uid} 0 0 0 {ctime} {rss} {swap}\n"))
            };
            let in_use = [ScanState::InUse { holders: 1 }];
            let too_new = [ScanState::TooNew { age_s: 9, limit_s: 10 }];
            assert_eq!(row(key, "600", dead, 0, 7, 990, 0, 0), [ScanState::Stale]);
            assert_eq!(row(key ^ 1 << 20, "600", dead, 0, 7, 990, 0, 0), [], "another program's key");
            assert_eq!(row(key, "644", dead, 0, 7, 990, 0, 0), [], "another program's mode");
            let us = std::process::id() as i32;
            assert_eq!(row(key, "600", us, 0, 7, 990, 0, 0), in_use, "the creator lives");
            assert_eq!(row(key, "600", 0, 0, 7, 990, 0, 0), in_use, "the creator cannot be seen");
            assert_eq!(row(key, "600", dead, 1, 7, 990, 0, 0), in_use, "somebody is attached");
            assert_eq!(row(key, "600", dead, 0, 8, 990, 0, 0), [ScanState::OtherUser]);
            assert_eq!(row(key, "600", dead, 0, 7, 991, 0, 0), too_new);
            assert_eq!(row(key, "600", dead, 0, 7, 990, 4096, 0), [], "holds data");
            assert_eq!(row(key, "600", dead, 0, 7, 990, 0, 4096), [], "holds data in swap");
            assert_eq!(states("nonsense\n\n"), []);
        }
    }
}
