//! Whole lives of a segment under resource limits: small and full file systems, limits of a process, kernels and
//! containers that lack parts.
//!
//! Each case is arranged in a process of its own, in namespaces of its own, before its first call of the library. How
//! that is done stands in `arrange`; nothing is traced here.

use super::arrange::{self, limit, refuse, room_for_files, room_for_maps, shm};
use super::judge::{self, Outcome};
use super::life;
use super::report::Report;
use super::run::{Seen, run_free};
use super::target::Target;
use harness::product::SIZE;
use harness::{Link, Process};
use monshm::MemoryKind;
use rustix::process::Resource;
use std::error::Error;
use std::io;

/// The name under which the cases are counted, and the role of the process under test in them.
pub(crate) const OPERATION: &str = "limits";

/// One case: its name, the size of the segment that is asked for in bytes, how it is made, and what it takes away.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    size: usize,
    arrange: fn() -> io::Result<()>,
    lacks: Lacks,
}

/// What a case takes away, so that a segment of that kind must be refused with a clear error. All others must work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    Names,
    Memfd,
    Posix,
    Sysv,
    LocksOfLibc,
    Everything,
    /// Either answer is right, if it is clear.
    Perhaps,
}

use Lacks::{Everything, LocksOfLibc, Memfd, Names, Nothing, Perhaps, Posix, Sysv};

const fn case(name: &'static str, lacks: Lacks, arrange: fn() -> io::Result<()>) -> Case {
    Case { name, size: SIZE, arrange, lacks }
}

const fn large(name: &'static str, lacks: Lacks, arrange: fn() -> io::Result<()>) -> Case {
    Case { name, size: 16 << 20, arrange, lacks }
}

/// All of them.
const CASES: &[Case] = &[
    large("1 MiB of shm", Names, || shm("size=1m")),
    case("full shm", Names, arrange::full_shm),
    case("shm without inodes", Names, || shm("nr_inodes=1")),
    case("no shm", Names, arrange::no_shm),
    case("shm read-only", Names, || shm("ro")),
    case("no proc", Posix, arrange::no_proc),
    case("fsize 65535", Posix, || limit(Resource::Fsize, 65_535)),
    case("fsize 0", Posix, || limit(Resource::Fsize, 0)),
    case("memlock 0", Nothing, || limit(Resource::Memlock, 0)),
    case("nofile +0", Posix, || room_for_files(0)),
    case("nofile +1", Perhaps, || room_for_files(1)),
    case("nofile +2", Perhaps, || room_for_files(2)),
    case("nofile +3", Perhaps, || room_for_files(3)),
    case("nofile +4", Perhaps, || room_for_files(4)),
    case("nofile +5", Perhaps, || room_for_files(5)),
    case("nofile +8", Nothing, || room_for_files(8)),
    large("as +8 MiB", Everything, || room_for_maps(8 << 20)),
    large("as +24 MiB", Everything, || room_for_maps(24 << 20)),
    large("as +64 MiB", Nothing, || room_for_maps(64 << 20)),
    case("shmmax 8192", Sysv, || arrange::ipc("shmmax", "8192")),
    case("shmall 15", Sysv, || arrange::ipc("shmall", "15")),
    case("shmmni 0", Sysv, || arrange::ipc("shmmni", "0")),
    case("semmni 0", Sysv, || arrange::ipc("sem", "32000 1024000000 500 0")),
    case("semmsl 33", Sysv, || arrange::ipc("sem", "33 1024000000 500 32000")),
    case("semmns 10", Sysv, || arrange::ipc("sem", "32000 10 500 32000")),
    case("no memfd_create", Memfd, || refuse(&[libc::SYS_memfd_create], libc::ENOSYS)),
    case("memfd_create forbidden", Memfd, || refuse(&[libc::SYS_memfd_create], libc::EPERM)),
    case("no futex", LocksOfLibc, || refuse(&[libc::SYS_futex], libc::ENOSYS)),
    case("futex forbidden", LocksOfLibc, || refuse(&[libc::SYS_futex], libc::EPERM)),
    case("no membarrier", Nothing, || refuse(&[libc::SYS_membarrier], libc::ENOSYS)),
    case("membarrier forbidden", Nothing, || refuse(&[libc::SYS_membarrier], libc::EPERM)),
    case("old kernel", Memfd, || refuse(&OLD, libc::ENOSYS)),
    case("no getrandom", Perhaps, || refuse(&[libc::SYS_getrandom], libc::ENOSYS)),
    case("no System V", Sysv, || refuse(&[libc::SYS_shmget], libc::ENOSYS)),
    case("no memfd_create, no shm", Posix, || without_shm(&[libc::SYS_memfd_create])),
    case("nothing at all", Everything, || without_shm(&[libc::SYS_memfd_create, libc::SYS_shmget])),
];

/// What kernels of 2014 to 2018 do not have.
const OLD: [i64; 3] = [libc::SYS_memfd_create, libc::SYS_membarrier, libc::SYS_statx];

fn without_shm(calls: &[i64]) -> io::Result<()> {
    arrange::no_shm()?;
    refuse(calls, libc::ENOSYS)
}

impl Lacks {
    /// Whether a segment must be refused; `None` where it may be.
    fn refuses(self, target: Target) -> Option<bool> {
        let memory = target.memory();
        let posix = matches!(memory, Some(MemoryKind::Memfd | MemoryKind::Named));
        Some(match self {
            Nothing => false,
            Names => memory == Some(MemoryKind::Named),
            Memfd => memory == Some(MemoryKind::Memfd),
            Posix => posix,
            Sysv => memory == Some(MemoryKind::SysvShm),
            LocksOfLibc => target.has_lock_of_libc(),
            Everything => true,
            Perhaps => return None,
        })
    }
}

/// The cases, or the one that is asked for.
pub(crate) fn cases(only: Option<String>) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(move |case| only.as_ref().is_none_or(|name| name == case.name))
}

/// Runs a case.
pub(crate) fn run(target: Target, case: &Case) -> Result<Outcome, Box<dyn Error>> {
    let seen = run_free(OPERATION, &format!("{} {}", target.index(), case.name))?;
    let failed = seen.report.as_ref().is_some_and(|report| report.error.is_some());
    let good = if failed { Outcome::Refused } else { Outcome::Recovered };
    let findings = judge(target, case, &seen);
    Ok(if findings.is_empty() { good } else { Outcome::Wrong(findings) })
}

fn judge(target: Target, case: &Case, seen: &Seen) -> Vec<String> {
    let mut findings = judge::ends(seen);
    findings.extend(judge::left(seen));
    let Some(report) = &seen.report else { return findings };
    match (&report.error, case.lacks.refuses(target)) {
        (Some(failure), Some(false)) => findings.push(format!("it should work here: {}", failure.message)),
        (None, Some(true)) => findings.push("it answered that all is well, which cannot be".to_owned()),
        (Some(failure), _) => {
            if failure.object.is_none() && failure.refusals.iter().all(|refusal| refusal.object.is_none()) {
                findings.push(format!("the error names no object: {}", failure.message));
            }
            let without_kind = |failure: &&super::report::Failure| failure.kind.starts_with("System");
            for failure in failure.refusals.iter().chain([failure]).filter(without_kind) {
                findings.push(format!("a limit is reported as a failure without a kind: {}", failure.message));
            }
        }
        // `Auto` that did not take its first choice says why.
        (None, _) => {
            let chosen = report.selection.as_deref().unwrap_or_default();
            if chosen.contains("first of") && report.refusals.is_empty() {
                findings.push(format!("no reason is given: {chosen}"));
            }
        }
    }
    findings
}

/// The role of a process under limits. It gets the number of its target, and the case.
pub(crate) fn role(link: &Link) -> harness::process::Outcome {
    let message = link.hear()?;
    let (number, name) = message.split_once(' ').ok_or("no case")?;
    let target = Target::all().nth(number.parse()?).ok_or("no such target")?;
    let case = CASES.iter().find(|case| case.name == name).ok_or("no such case")?;
    // Started before: it is spared. Where calls are refused for good, waits must end all the same.
    let waits = name.contains("futex") || name.contains("membarrier") || name == "old kernel";
    let holder = if waits { Some(Process::start("die-inside")?) } else { None };
    (case.arrange)()?;
    let mut report = Report::default();
    life::live(target, case.size, holder, &mut report);
    Ok(link.say(serde_json::to_string(&report)?)?)
}
