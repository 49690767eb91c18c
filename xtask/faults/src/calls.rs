//! The system calls that the library makes: their names, what they may plausibly answer, and which are not its own.
//!
//! Plausible is what the manual pages name and what containers and older kernels answer (ENOSYS, EPERM, EINVAL). A call
//! that is not in the table is shown as such, never passed over in silence.

#![allow(non_upper_case_globals, reason = "the names of calls are libc's")]

use super::intercept::Call;
use libc::*;

/// What a call may be made to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plausible {
    /// Each of these once.
    Errnos(&'static [i32]),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

use Plausible::{Errnos, Nothing};

/// What a file is opened for.
const OPEN_FLAGS: i64 = (O_CREAT | O_PATH | O_DIRECTORY) as i64;

const FUTEX_WAIT_BITSET: i64 = 9;

impl Call {
    /// Whether both are of one sort: the same call, doing the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.number == other.number && self.command() == other.command()
    }

    /// What tells apart the uses of calls that do many things.
    fn command(&self) -> i64 {
        let argument = |index: usize| self.arguments[index] as i64;
        match self.number {
            SYS_fcntl | SYS_shmctl => argument(1) & 0xffff,
            SYS_semctl => argument(2) & 0xff,
            SYS_madvise => argument(2),
            SYS_futex => argument(1),
            // Whether it may wait.
            SYS_semtimedop => i64::from(argument(3) != 0),
            SYS_membarrier => argument(0),
            // Whether it makes a file, or opens a place only.
            SYS_open => argument(1) & OPEN_FLAGS,
            SYS_openat => argument(2) & OPEN_FLAGS,
            SYS_mmap => argument(3) & i64::from(MAP_ANONYMOUS | MAP_NORESERVE),
            _ => 0,
        }
    }

    /// Its name, with what it does.
    pub(crate) fn name(&self) -> String {
        let Some((_, name, _)) = TABLE.iter().find(|(number, ..)| *number == self.number) else {
            return format!("call {}", self.number);
        };
        let command = self.command();
        let detail = match self.number {
            SYS_fcntl => COMMANDS.iter().find(|(number, _)| i64::from(*number) == command),
            SYS_shmctl | SYS_semctl => CONTROLS.iter().find(|(number, _)| i64::from(*number) == command),
            _ => None,
        };
        match (self.number, detail) {
            (_, Some((_, detail))) => format!("{name} {detail}"),
            (SYS_futex, _) => format!("{name} {}", if self.is_futex_wait() { "WAIT" } else { "WAKE" }),
            (SYS_open | SYS_openat, _) if command & i64::from(O_CREAT) != 0 => format!("{name} CREAT"),
            (SYS_open | SYS_openat, _) if command & i64::from(O_PATH) != 0 => format!("{name} PATH"),
            _ => (*name).to_owned(),
        }
    }

    /// Whether it sleeps on a word.
    fn is_futex_wait(&self) -> bool {
        matches!(self.arguments[1] as i64 & 0x7f, 0 | FUTEX_WAIT_BITSET)
    }

    /// Whether it can sleep until a deadline that the caller of the library set.
    pub(crate) fn is_wait(&self) -> bool {
        match self.number {
            SYS_futex => self.is_futex_wait(),
            SYS_semtimedop => self.command() != 0,
            SYS_poll | SYS_ppoll => true,
            _ => false,
        }
    }

    /// Whether an old kernel or a container may refuse it always, so that it fails for good.
    pub(crate) fn may_be_missing(&self) -> bool {
        matches!(self.number, SYS_memfd_create | SYS_membarrier | SYS_futex)
    }

    /// Whether it takes a name away.
    pub(crate) fn is_unlink(&self) -> bool {
        matches!(self.number, SYS_unlink | SYS_unlinkat)
    }

    /// Whether it takes an object away, or asks whether it may go: where that is refused the object stays for `clean`.
    pub(crate) fn removes(&self) -> bool {
        match self.number {
            SYS_newfstatat | SYS_lstat | SYS_kill => true,
            SYS_shmctl | SYS_semctl | SYS_semop | SYS_semtimedop => true,
            _ => self.is_unlink(),
        }
    }

    /// What it may be made to answer. `of_libc` says that the lock is libc's, which ends the process when futex(2)
    /// answers what it does not expect.
    pub(crate) fn plausible(&self, of_libc: bool) -> Plausible {
        match self.number {
            SYS_futex if self.arguments[1] as i64 & i64::from(FUTEX_PRIVATE_FLAG) != 0 => {
                Nothing("between the threads of this process")
            }
            SYS_futex if of_libc => Errnos(if self.is_futex_wait() { &[EINTR, EAGAIN] } else { &[] }),
            SYS_futex if !self.is_futex_wait() => Errnos(&[ENOSYS, EPERM]),
            SYS_mmap if self.is_private_memory() => Nothing("the allocator's"),
            SYS_madvise if self.arguments[2] != MADV_POPULATE_WRITE as u64 => Nothing("the allocator's"),
            SYS_fcntl => self.of_fcntl(),
            SYS_semctl | SYS_shmctl => self.of_control(),
            SYS_open | SYS_openat => self.of_open(),
            _ => TABLE
                .iter()
                .find(|(number, ..)| *number == self.number)
                .map_or(Nothing("not in the table"), |(.., plausible)| *plausible),
        }
    }

    fn is_private_memory(&self) -> bool {
        let flags = self.arguments[3] as i32;
        flags & MAP_ANONYMOUS != 0 && flags & MAP_NORESERVE == 0
            || flags & MAP_STACK != 0
            || self.arguments[2] as i32 & PROT_WRITE != 0 && flags & MAP_ANONYMOUS != 0
    }

    fn of_fcntl(&self) -> Plausible {
        match self.command() as i32 {
            F_ADD_SEALS => Errnos(&[EPERM, EINVAL, EBUSY]),
            F_GET_SEALS => Errnos(&[EINVAL]),
            F_OFD_SETLK => Errnos(&[EINTR, EAGAIN, ENOLCK, EINVAL, ENOMEM]),
            F_OFD_GETLK => Errnos(&[EINTR, ENOLCK, EINVAL, ENOMEM]),
            F_DUPFD_CLOEXEC => Errnos(&[EMFILE, ENFILE, ENOMEM, EINVAL]),
            F_GETFL | F_GETFD | F_SETFD => Nothing("cannot fail"),
            _ => Nothing("not in the table"),
        }
    }

    fn of_control(&self) -> Plausible {
        match self.command() as i32 {
            IPC_RMID => Errnos(&[EINTR, EPERM, EIDRM, EINVAL]),
            IPC_SET => Errnos(&[EINTR, EPERM, EIDRM, EINVAL, ENOMEM]),
            IPC_STAT => Errnos(&[EINTR, EACCES, EIDRM, EINVAL, EOVERFLOW]),
            SHM_INFO => Errnos(&[EINTR, EACCES, EINVAL]),
            SEM_SETALL => Errnos(&[EINTR, EACCES, EIDRM, ENOMEM]),
            // Not EACCES: a process that is shut out of a set is so for good, and removes it.
            _ => Errnos(&[EINTR, EIDRM, EINVAL]),
        }
    }

    fn of_open(&self) -> Plausible {
        if self.command() & i64::from(O_CREAT) != 0 {
            return Errnos(&[EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, EACCES, EPERM, EROFS, ENOENT, EEXIST, ELOOP]);
        }
        Errnos(&[EINTR, EMFILE, ENFILE, ENOMEM, EACCES, EPERM, ENOENT])
    }
}

const SHM_INFO: i32 = 14;
const SEM_SETALL: i32 = 17;

const COMMANDS: [(i32, &str); 9] = [
    (F_ADD_SEALS, "ADD_SEALS"),
    (F_GET_SEALS, "GET_SEALS"),
    (F_OFD_SETLK, "OFD_SETLK"),
    (F_OFD_GETLK, "OFD_GETLK"),
    (F_DUPFD_CLOEXEC, "DUPFD"),
    (F_GETFL, "GETFL"),
    (F_GETFD, "GETFD"),
    (F_SETFD, "SETFD"),
    (F_SETFL, "SETFL"),
];

const CONTROLS: [(i32, &str); 7] = [
    (IPC_RMID, "RMID"),
    (IPC_SET, "SET"),
    (IPC_STAT, "STAT"),
    (11, "GETPID"),
    (12, "GETVAL"),
    (SEM_SETALL, "SETALL"),
    (SHM_INFO, "INFO"),
];

/// Number, name, and what it may answer.
const TABLE: &[(i64, &str, Plausible)] = &[
    (SYS_memfd_create, "memfd_create", Errnos(&[ENOSYS, EPERM, EACCES, EINVAL, EMFILE, ENFILE, ENOMEM])),
    (SYS_fallocate, "fallocate", Errnos(&[EINTR, ENOSPC, ENOMEM, EOPNOTSUPP, ENOSYS, EPERM, EFBIG, EDQUOT, EIO])),
    (SYS_fcntl, "fcntl", Nothing("see `of_fcntl`")),
    (SYS_fstat, "fstat", Errnos(&[ENOMEM, EOVERFLOW])),
    (SYS_newfstatat, "newfstatat", Errnos(&[ENOMEM, EACCES])),
    (SYS_lstat, "lstat", Errnos(&[ENOMEM, EACCES])),
    (SYS_stat, "stat", Errnos(&[ENOMEM, EACCES])),
    (SYS_statx, "statx", Errnos(&[ENOSYS, EPERM, ENOMEM, EACCES])),
    (SYS_fstatfs, "fstatfs", Errnos(&[EINTR, EIO, ENOMEM, ENOSYS])),
    (SYS_fchmod, "fchmod", Errnos(&[EPERM, EROFS, EIO])),
    (SYS_fchown, "fchown", Errnos(&[EPERM, EACCES, ENOMEM])),
    (SYS_fsetxattr, "fsetxattr", Errnos(&[EOPNOTSUPP, EPERM, ENOSPC, ENOMEM, EINVAL])),
    (SYS_fgetxattr, "fgetxattr", Errnos(&[ENODATA, ERANGE, EOPNOTSUPP, EACCES, ENOMEM])),
    (SYS_open, "open", Nothing("see `of_open`")),
    (SYS_openat, "openat", Nothing("see `of_open`")),
    (SYS_mmap, "mmap", Errnos(&[ENOMEM, EACCES, EPERM, EAGAIN, ENODEV])),
    (SYS_madvise, "madvise", Errnos(&[EINTR, ENOMEM, EFAULT, EAGAIN, EINVAL, ENOSYS, EHWPOISON])),
    (SYS_getrandom, "getrandom", Errnos(&[EINTR, ENOSYS, EPERM, EAGAIN])),
    (SYS_unlink, "unlink", Errnos(&[EPERM, EACCES, EBUSY, ENOENT, ENOMEM, EROFS])),
    (SYS_unlinkat, "unlinkat", Errnos(&[EPERM, EACCES, EBUSY, ENOENT, ENOMEM, EROFS])),
    // Not EIO: that tells of writes to a disk that failed, and nothing here lies on one.
    (SYS_close, "close", Errnos(&[EINTR])),
    (SYS_shmget, "shmget", Errnos(&[EINTR, ENOSPC, ENOMEM, EINVAL, EEXIST, ENOSYS, EPERM, EACCES, ENFILE])),
    (SYS_shmat, "shmat", Errnos(&[ENOMEM, EINVAL, EACCES, EIDRM, EMFILE, ENOSYS])),
    (SYS_shmctl, "shmctl", Nothing("see `of_control`")),
    (SYS_semget, "semget", Errnos(&[EINTR, ENOSPC, ENOMEM, EINVAL, EEXIST, ENOSYS, EPERM, EACCES])),
    (SYS_semctl, "semctl", Nothing("see `of_control`")),
    (SYS_semop, "semop", Errnos(&[EINTR, ENOSPC, ENOMEM, EIDRM, EINVAL, EACCES, ERANGE, EAGAIN])),
    (SYS_semtimedop, "semtimedop", Errnos(&[EINTR, ENOSPC, ENOMEM, EIDRM, EINVAL, EACCES, ERANGE, EAGAIN, ENOSYS])),
    (SYS_futex, "futex", Errnos(&[EINTR, EAGAIN, ENOSYS, EPERM, ENOMEM, EINVAL])),
    (SYS_membarrier, "membarrier", Errnos(&[ENOSYS, EPERM, EINVAL, ENOMEM])),
    (SYS_sendmsg, "sendmsg", Errnos(&[EINTR, EAGAIN, ENOBUFS, ENOMEM, EPIPE, ECONNRESET, ETOOMANYREFS, EPERM, EACCES])),
    (SYS_recvmsg, "recvmsg", Errnos(&[EINTR, EAGAIN, ENOMEM, ENOBUFS, ECONNRESET])),
    (SYS_poll, "poll", Errnos(&[EINTR, ENOMEM, EINVAL])),
    (SYS_ppoll, "ppoll", Errnos(&[EINTR, ENOMEM, EINVAL])),
    (SYS_getsockopt, "getsockopt", Errnos(&[ENOBUFS, ENOMEM, EPERM])),
    (SYS_read, "read", Errnos(&[EINTR, EIO, ENOMEM, EAGAIN])),
    (SYS_pread64, "pread64", Errnos(&[EINTR, EIO, ENOMEM])),
    (SYS_getdents64, "getdents64", Errnos(&[ENOMEM, ENOENT])),
    (SYS_lseek, "lseek", Errnos(&[EINVAL])),
    // ESRCH would be a lie about who lives, which no kernel tells.
    (SYS_kill, "kill", Errnos(&[EPERM])),
    (SYS_munmap, "munmap", Nothing("a whole mapping is always released")),
    (SYS_shmdt, "shmdt", Nothing("a whole mapping is always released")),
    (SYS_brk, "brk", Nothing("the allocator's")),
    (SYS_mprotect, "mprotect", Nothing("the allocator's")),
    (SYS_mremap, "mremap", Nothing("the allocator's")),
    (SYS_getpid, "getpid", Nothing("cannot fail")),
    (SYS_gettid, "gettid", Nothing("cannot fail")),
    (SYS_geteuid, "geteuid", Nothing("cannot fail")),
    (SYS_getegid, "getegid", Nothing("cannot fail")),
    (SYS_prlimit64, "prlimit64", Nothing("cannot fail for our own limits")),
    (SYS_getrlimit, "getrlimit", Nothing("cannot fail for our own limits")),
    (SYS_rt_sigaction, "rt_sigaction", Nothing("cannot fail for signals that exist")),
    (SYS_rt_sigprocmask, "rt_sigprocmask", Nothing("cannot fail for signals that exist")),
    (SYS_sched_yield, "sched_yield", Nothing("cannot fail")),
    (SYS_clock_gettime, "clock_gettime", Nothing("cannot fail")),
    (SYS_clock_nanosleep, "clock_nanosleep", Errnos(&[EINTR])),
    (SYS_nanosleep, "nanosleep", Errnos(&[EINTR])),
];

/// The name of an errno, as people search for it.
pub(crate) fn errno_name(errno: i32) -> String {
    NAMES.iter().find(|(number, _)| *number == errno).map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

/// Errnos with their names.
macro_rules! named {
    ($($errno:ident)*) => { &[$(($errno, stringify!($errno))),*] };
}

const NAMES: &[(i32, &str)] = named! {
    EPERM ENOENT EINTR EIO EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV EINVAL ENFILE EMFILE EFBIG ENOSPC EROFS
    EPIPE ERANGE ENOLCK ENOSYS ELOOP EIDRM ENODATA EOVERFLOW EOPNOTSUPP ECONNRESET ENOBUFS ETOOMANYREFS EDQUOT
};
