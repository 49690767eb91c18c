//! Finds and removes what processes that were killed have left behind. Never what a living process uses.
//!
//! Two things can stay: a segment whose creator died between `shmget` and `IPC_RMID`, and a semaphore set whose last
//! process died. The list comes from /proc/sysvipc, which shows this IPC namespace.
//!
//! It judges only what its user created or owns, unless it runs as root.

use monshm_core::Result;

/// An object that was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removed {
    /// A segment into which nothing was ever written.
    Segment {
        /// Its id, as `ipcrm -m` takes it.
        id: i32,
        /// Its size in bytes, as it was asked for.
        size: u64,
        /// Who created it.
        creator_uid: u32,
    },
    /// A semaphore set.
    Set {
        /// Its id, as `ipcrm -s` takes it.
        id: i32,
        /// Who created it.
        creator_uid: u32,
    },
}

/// Removes the segments and semaphore sets that belong to nobody alive; with `dry_run`, only lists them.
///
/// A segment goes if its key carries [`KEY_PREFIX`](crate::KEY_PREFIX), nobody is attached, its creator is dead, it is
/// older than ten seconds, and it holds not one page: monshm removes the id before it uses the memory, so what holds
/// data is another program's. A set goes if key, size and [`SET_MARK`](crate::SET_MARK) are ours and no slot is taken by
/// a process that exists; one that was never used (its creator died while it made it) also has to be older than ten
/// seconds. A pid that was reused, or that another PID namespace hides, counts as alive.
///
/// # Examples
/// ```
/// for object in monshm_sysv::clean(true)? {
///     println!("would remove {object:?}");
/// }
/// # Ok::<(), monshm_core::Error>(())
/// ```
///
/// # Errors
/// `Unsupported` where the system does not list its objects. An object that vanishes or refuses meanwhile is left out.
pub fn clean(dry_run: bool) -> Result<Vec<Removed>> {
    imp::clean(dry_run)
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use monshm_core::{Error, ErrorKind, Operation, Result};

    pub(super) fn clean(_dry_run: bool) -> Result<Vec<super::Removed>> {
        Err(Error::new(Operation::Remove, ErrorKind::Unsupported { what: "a list of System V objects" })
            .on("sysv"))
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::fs;
    use std::time::{SystemTime, UNIX_EPOCH};

    use monshm_core::{Error, ErrorKind, Operation, Result};

    use super::Removed;
    use crate::liveness::{COUNT, SET_MARK, Set};
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

        /// What segments and sets have in common: our prefix, our mode, and that we may remove it. Gives the id's
        /// column and the creator.
        fn ours(&self, us: u32) -> Option<u32> {
            let uid = |name| u32::try_from(self.number(name)?).ok();
            let (creator, owner) = (uid("cuid")?, uid("uid")?);
            let key = self.number("key")? as i32;
            // "perms" is octal; 600 is read as a decimal number here.
            let ours = key::is_ours(key) && self.number("perms")? == 600 && [0, creator, owner].contains(&us);
            ours.then_some(creator)
        }

        fn id(&self, name: &str) -> Option<i32> {
            i32::try_from(self.number(name)?).ok()
        }

        fn is_old(&self, now: i64) -> Option<bool> {
            Some(now.saturating_sub(self.number("ctime")?) >= CREATION)
        }
    }

    pub(super) fn clean(dry_run: bool) -> Result<Vec<Removed>> {
        let us = sys::effective_uid();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        let mut found = left(&table("/proc/sysvipc/shm")?, |row| segment(row, us, now));
        found.extend(left(&table("/proc/sysvipc/sem")?, |row| set(row, us, now)));
        if !dry_run {
            found.retain(|object| match object {
                Removed::Segment { id, .. } => sys::shm_remove(*id).is_ok(),
                Removed::Set { id, .. } => sys::sem_remove(*id).is_ok(),
            });
        }
        Ok(found)
    }

    fn table(path: &str) -> Result<String> {
        fs::read_to_string(path).map_err(|error| {
            let kind = ErrorKind::Unsupported { what: "/proc/sysvipc" };
            Error::new(Operation::Remove, kind).on("sysv").with_os_error(error.raw_os_error().unwrap_or(0))
        })
    }

    fn left(table: &str, judge: impl Fn(&Row<'_>) -> Option<Removed>) -> Vec<Removed> {
        let mut lines = table.lines();
        let names = lines.next().unwrap_or_default();
        lines.filter_map(|line| judge(&Row { names, line })).collect()
    }

    fn segment(row: &Row<'_>, us: u32, now: i64) -> Option<Removed> {
        let creator_uid = row.ours(us)?;
        let empty = row.number("nattch")? == 0 && row.number("rss")? == 0 && row.number("swap")? == 0;
        let dead = !sys::process_exists(i32::try_from(row.number("cpid")?).ok()?);
        let left = empty && dead && row.is_old(now)?;
        let size = u64::try_from(row.number("size")?).ok()?;
        left.then_some(Removed::Segment { id: row.id("shmid")?, size, creator_uid })
    }

    fn set(row: &Row<'_>, us: u32, now: i64) -> Option<Removed> {
        let creator_uid = row.ours(us)?;
        let id = row.id("semid")?;
        if row.number("nsems")? != i64::from(COUNT) {
            return None;
        }
        // The first use takes the creator's slot: before it, free slots say nothing.
        let used = row.number("otime")? != 0;
        let expected =
            if used { Set::from_id(id).mark().ok()? == u32::from(SET_MARK) } else { row.is_old(now)? };
        (expected && Set::from_id(id).is_left().ok()?).then_some(Removed::Set { id, creator_uid })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                           atime      dtime      ctime                   rss                  swap\n";

        fn judge(row: &str) -> Vec<Removed> {
            left(&format!("{SHM}{row}"), |row| segment(row, 7, 1000))
        }

        #[test]
        fn only_an_empty_old_segment_of_a_dead_creator_is_left() {
            let dead = (1..).map(|n| i32::MAX - n).find(|pid| !sys::process_exists(*pid)).unwrap();
            let key = i32::from(0x6d53_i16) << 16 | 5;
            let row =
                |key: i32, perms: &str, pid: i32, nattch: u32, uid: u32, ctime: u32, rss: u32, swap: u32| {
                    judge(&format!(
                        "{key} 42 {perms} 8192 {pid} 0 {nattch} {uid} 0 {uid} 0 0 0 {ctime} {rss} {swap}\n"
                    ))
                };
            let good = [Removed::Segment { id: 42, size: 8192, creator_uid: 7 }];
            assert_eq!(row(key, "600", dead, 0, 7, 990, 0, 0), good);
            assert_eq!(row(key ^ 1 << 20, "600", dead, 0, 7, 990, 0, 0), [], "another program's key");
            assert_eq!(row(key, "644", dead, 0, 7, 990, 0, 0), [], "another program's mode");
            assert_eq!(row(key, "600", std::process::id() as i32, 0, 7, 990, 0, 0), [], "the creator lives");
            assert_eq!(row(key, "600", 0, 0, 7, 990, 0, 0), [], "the creator cannot be seen");
            assert_eq!(row(key, "600", dead, 1, 7, 990, 0, 0), [], "somebody is attached");
            assert_eq!(row(key, "600", dead, 0, 8, 990, 0, 0), [], "another user's");
            assert_eq!(row(key, "600", dead, 0, 7, 991, 0, 0), [], "too young");
            assert_eq!(row(key, "600", dead, 0, 7, 990, 4096, 0), [], "holds data");
            assert_eq!(row(key, "600", dead, 0, 7, 990, 0, 4096), [], "holds data in swap");
            assert_eq!(judge("nonsense\n\n"), []);
        }
    }
}
