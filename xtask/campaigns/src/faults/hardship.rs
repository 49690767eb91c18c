//! Whole lives of a segment under hardship: small and full file systems, limits, kernels and containers that lack parts.
//!
//! Each case is arranged in a subject of its own, in namespaces of its own, before its first call of the library. How
//! the hardships are made stands in `arrange`; nothing is traced here.

use super::arrange::{self, Place as At};
use super::report::Report;
use super::scene::Place;
use super::stage::{self, Seen};
use super::table::{Row, Tally};
use crate::cell::SIZE;
use crate::tracer::Stop;
use monshm::{LockKind, MemoryKind};
use std::error::Error;

/// One hardship.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The size of the segment that is asked for, in bytes.
    pub(crate) size: usize,
    pub(crate) arrange: fn() -> std::io::Result<()>,
    expect: fn(Place) -> Expect,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A segment that works.
    Works,
    /// A clear error.
    Refused,
    /// Either.
    Either,
}

use Expect::{Either, Refused, Works};

const LARGE: usize = 16 << 20;

/// All of them.
pub(crate) const CASES: &[Case] = &[
    Case { name: "1 MiB of shm", size: LARGE, arrange: || arrange::shm("size=1m"), expect: without_names },
    Case { name: "full shm", size: SIZE, arrange: arrange::full_shm, expect: without_names },
    Case { name: "shm without inodes", size: SIZE, arrange: || arrange::shm("nr_inodes=1"), expect: without_names },
    Case { name: "no shm", size: SIZE, arrange: arrange::no_shm, expect: without_names },
    Case { name: "shm read-only", size: SIZE, arrange: || arrange::shm("ro"), expect: without_names },
    Case { name: "no proc", size: SIZE, arrange: arrange::no_proc, expect: without_posix },
    Case { name: "fsize 65535", size: SIZE, arrange: || arrange::limit(At::FileSize, 65_535), expect: without_posix },
    Case { name: "fsize 0", size: SIZE, arrange: || arrange::limit(At::FileSize, 0), expect: without_posix },
    Case { name: "memlock 0", size: SIZE, arrange: || arrange::limit(At::Locked, 0), expect: |_| Works },
    Case { name: "nofile +0", size: SIZE, arrange: || arrange::room_for_files(0), expect: without_posix },
    Case { name: "nofile +1", size: SIZE, arrange: || arrange::room_for_files(1), expect: |_| Either },
    Case { name: "nofile +2", size: SIZE, arrange: || arrange::room_for_files(2), expect: |_| Either },
    Case { name: "nofile +3", size: SIZE, arrange: || arrange::room_for_files(3), expect: |_| Either },
    Case { name: "nofile +4", size: SIZE, arrange: || arrange::room_for_files(4), expect: |_| Either },
    Case { name: "nofile +5", size: SIZE, arrange: || arrange::room_for_files(5), expect: |_| Either },
    Case { name: "nofile +8", size: SIZE, arrange: || arrange::room_for_files(8), expect: |_| Works },
    Case { name: "as +8 MiB", size: LARGE, arrange: || arrange::room_for_maps(8 << 20), expect: |_| Refused },
    Case { name: "as +24 MiB", size: LARGE, arrange: || arrange::room_for_maps(24 << 20), expect: |_| Refused },
    Case { name: "as +64 MiB", size: LARGE, arrange: || arrange::room_for_maps(64 << 20), expect: |_| Works },
    Case { name: "shmmax 8192", size: SIZE, arrange: || arrange::ipc("shmmax", "8192"), expect: without_sysv },
    Case { name: "shmall 15", size: SIZE, arrange: || arrange::ipc("shmall", "15"), expect: without_sysv },
    Case { name: "shmmni 0", size: SIZE, arrange: || arrange::ipc("shmmni", "0"), expect: without_sysv },
    Case {
        name: "semmni 0",
        size: SIZE,
        arrange: || arrange::ipc("sem", "32000 1024000000 500 0"),
        expect: without_sysv,
    },
    Case {
        name: "semmsl 33",
        size: SIZE,
        arrange: || arrange::ipc("sem", "33 1024000000 500 32000"),
        expect: without_sysv,
    },
    Case { name: "semmns 10", size: SIZE, arrange: || arrange::ipc("sem", "32000 10 500 32000"), expect: without_sysv },
    Case {
        name: "no memfd_create",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_memfd_create], libc::ENOSYS),
        expect: without_memfd,
    },
    Case {
        name: "memfd_create forbidden",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_memfd_create], libc::EPERM),
        expect: without_memfd,
    },
    Case {
        name: "no futex",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_futex], libc::ENOSYS),
        expect: without_locks_of_libc,
    },
    Case {
        name: "futex forbidden",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_futex], libc::EPERM),
        expect: without_locks_of_libc,
    },
    Case {
        name: "no membarrier",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_membarrier], libc::ENOSYS),
        expect: |_| Works,
    },
    Case {
        name: "membarrier forbidden",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_membarrier], libc::EPERM),
        expect: |_| Works,
    },
    Case { name: "old kernel", size: SIZE, arrange: || refuse(&OLD, libc::ENOSYS), expect: without_memfd },
    Case {
        name: "no getrandom",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_getrandom], libc::ENOSYS),
        expect: |_| Either,
    },
    Case {
        name: "no System V",
        size: SIZE,
        arrange: || refuse(&[libc::SYS_shmget], libc::ENOSYS),
        expect: without_sysv,
    },
    Case { name: "no memfd_create, no shm", size: SIZE, arrange: no_posix, expect: without_posix },
    Case { name: "nothing at all", size: SIZE, arrange: nothing, expect: |_| Refused },
];

/// What kernels of 2014 to 2018 do not have.
const OLD: [i64; 3] = [libc::SYS_memfd_create, libc::SYS_membarrier, libc::SYS_statx];

fn refuse(calls: &[i64], errno: i32) -> std::io::Result<()> {
    arrange::refuse(calls, errno)
}

fn no_posix() -> std::io::Result<()> {
    arrange::no_shm()?;
    refuse(&[libc::SYS_memfd_create], libc::ENOSYS)
}

fn nothing() -> std::io::Result<()> {
    arrange::no_shm()?;
    refuse(&[libc::SYS_memfd_create, libc::SYS_shmget], libc::ENOSYS)
}

fn memory(place: Place) -> Option<MemoryKind> {
    match place {
        Place::Auto => None,
        Place::Cell(cell) => Some(cell.memory),
    }
}

fn without_names(place: Place) -> Expect {
    if memory(place) == Some(MemoryKind::Named) { Refused } else { Works }
}

fn without_memfd(place: Place) -> Expect {
    if memory(place) == Some(MemoryKind::Memfd) { Refused } else { Works }
}

fn without_posix(place: Place) -> Expect {
    if matches!(memory(place), Some(MemoryKind::Memfd | MemoryKind::Named)) { Refused } else { Works }
}

fn without_sysv(place: Place) -> Expect {
    if memory(place) == Some(MemoryKind::SysvShm) { Refused } else { Works }
}

fn without_locks_of_libc(place: Place) -> Expect {
    match place {
        Place::Cell(cell) if matches!(cell.lock, LockKind::PthreadMutex | LockKind::Semaphore) => Refused,
        _ => Works,
    }
}

/// The name under which the cases are counted, and by which a subject is told to live.
pub(crate) const OPERATION: &str = "hardship";

/// Runs all cases at `place`, or the one that is asked for.
pub(crate) fn run(place: Place, only: Option<&str>, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let mut row = Row { place: place.to_string(), operation: OPERATION.to_owned(), ..Row::default() };
    for case in CASES.iter().filter(|case| only.is_none_or(|name| name == case.name)) {
        let seen = stage::run_free(&format!("{OPERATION} {}", case.name), place)?;
        let findings = judge(place, case, &seen);
        row.injections += 1;
        match (&findings[..], seen.report.as_ref().and_then(|report| report.error.as_ref())) {
            ([], None) => row.recovered += 1,
            ([], Some(_)) => row.refused += 1,
            _ => row.findings += 1,
        }
        let named: Vec<String> = findings.iter().map(|finding| format!("{place} {}: {finding}", case.name)).collect();
        let place = super::arguments(place);
        tally.find(&named, &format!("{place} --operation {OPERATION} --case \"{}\"", case.name));
    }
    tally.rows.push(row);
    Ok(())
}

fn judge(place: Place, case: &Case, seen: &Seen) -> Vec<String> {
    let complaint = seen.complaints.lines().next().unwrap_or("it said nothing");
    if seen.hung || seen.end != Stop::Exited(0) {
        return vec![format!("it ended otherwise (hung: {}, {:?}): {complaint}", seen.hung, seen.end)];
    }
    let Some(report) = &seen.report else { return vec![format!("it gave no report: {complaint}")] };
    let mut findings = report.findings.clone();
    if !seen.left.is_empty() {
        findings.push(format!("left behind: {}", seen.left.join(", ")));
    }
    match (&report.error, (case.expect)(place)) {
        (Some(told), Works) => findings.push(format!("it should work here: {}", told.message)),
        (None, Refused) => findings.push("it answered that all is well, which cannot be".to_owned()),
        (Some(told), _) => {
            if told.object.is_none() && told.refusals.iter().all(|refusal| refusal.object.is_none()) {
                findings.push(format!("the error names no object: {}", told.message));
            }
            for told in told.refusals.iter().chain([told]).filter(|told| told.kind.starts_with("System")) {
                findings.push(format!("a hardship is told as a failure without a kind: {}", told.message));
            }
        }
        (None, _) => findings.extend(unexplained(report)),
    }
    findings
}

/// `Auto` that did not take its first choice says why.
fn unexplained(report: &Report) -> Option<String> {
    let chosen = report.selection.as_deref().unwrap_or_default();
    (chosen.contains("first of") && report.refusals.is_empty()).then(|| format!("no reason is told: {chosen}"))
}
