//! System V calls as a test or an attacker makes them: by hand, without the crate under test.

use harness::census::{self, Kind, Object};
use std::ffi::c_int;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const GETPID: c_int = 11;

/// Semaphores of a set: lock, 32 slots, mark.
pub(crate) const COUNT: i32 = 34;

#[repr(C)]
union Semun {
    value: c_int,
    buf: *mut libc::c_void,
    array: *const u16,
}

/// Keeps what a test leaves behind from the `clean` of another: by an IPC namespace of its own for this thread and the
/// processes it starts, where that is allowed, and one such test at a time.
pub(crate) fn quiet() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Where that is not allowed, others' objects are seen too.
    let _ = harness::users::isolate_ipc();
    guard
}

pub(crate) fn set_value(id: i32, semaphore: i32, value: i32) -> bool {
    // SAFETY: SETVAL takes the union by value and keeps no pointer.
    unsafe { libc::semctl(id, semaphore, libc::SETVAL, Semun { value }) == 0 }
}

/// `values` has as many as the set.
pub(crate) fn set_all(id: i32, values: &[u16]) -> bool {
    // SAFETY: SETALL reads as many values as the set has.
    unsafe { libc::semctl(id, 0, libc::SETALL, Semun { array: values.as_ptr() }) == 0 }
}

pub(crate) fn value(id: i32, semaphore: i32) -> Option<i32> {
    // SAFETY: GETVAL uses no fourth argument.
    Some(unsafe { libc::semctl(id, semaphore, libc::GETVAL) }).filter(|value| *value >= 0)
}

pub(crate) fn last_pid(id: i32, semaphore: i32) -> i32 {
    // SAFETY: GETPID uses no fourth argument.
    unsafe { libc::semctl(id, semaphore, GETPID) }
}

pub(crate) fn change(id: i32, semaphore: u16, delta: i16, flags: c_int) -> bool {
    let mut operation = libc::sembuf { sem_num: semaphore, sem_op: delta, sem_flg: flags as i16 };
    // SAFETY: the kernel reads one sembuf.
    unsafe { libc::semop(id, &raw mut operation, 1) == 0 }
}

pub(crate) fn new_set(key: i32, count: i32) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { libc::semget(key, count, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) }
}

/// Has the next set get this id, where the system allows that (CONFIG_CHECKPOINT_RESTORE, privileges).
pub(crate) fn choose_next_set(id: i32) -> bool {
    fs::write("/proc/sys/kernel/sem_next_id", id.to_string()).is_ok()
}

pub(crate) fn remove_set(id: i32) -> bool {
    // SAFETY: IPC_RMID uses no fourth argument.
    unsafe { libc::semctl(id, 0, libc::IPC_RMID) == 0 }
}

pub(crate) fn new_segment(key: i32, size: usize, flags: c_int) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | flags | 0o600) }
}

pub(crate) fn remove_segment(id: i32) -> bool {
    // SAFETY: IPC_RMID uses no pointer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) == 0 }
}

/// Writes into the first byte of a segment and stays attached.
pub(crate) fn write_into_segment(id: i32) {
    // SAFETY: the kernel chooses a free address; the byte written is the mapping's first.
    unsafe {
        let base = libc::shmat(id, std::ptr::null(), 0);
        assert_ne!(base.addr(), usize::MAX);
        base.cast::<u8>().write_volatile(1);
        libc::shmdt(base);
    }
}

/// `IPC_SET` of a segment: owner and mode.
pub(crate) fn chmod_segment(id: i32, uid: u32, mode: u16) -> bool {
    // SAFETY: plain integers; the kernel reads one shmid_ds.
    unsafe {
        let mut status: libc::shmid_ds = std::mem::zeroed();
        (status.shm_perm.uid, status.shm_perm.mode) = (uid, mode as _);
        libc::shmctl(id, libc::IPC_SET, &raw mut status) == 0
    }
}

/// `IPC_SET` of a set: owner and mode.
pub(crate) fn chmod_set(id: i32, uid: u32, mode: u16) -> bool {
    // SAFETY: semid_ds begins with an ipc_perm and is no longer than four of them; the kernel reads one.
    unsafe {
        let mut status: [libc::ipc_perm; 4] = std::mem::zeroed();
        (status[0].uid, status[0].mode) = (uid, mode as _);
        libc::semctl(id, 0, libc::IPC_SET, Semun { buf: status.as_mut_ptr().cast() }) == 0
    }
}

pub(crate) fn set_exists(id: i32) -> bool {
    row("sem", "semid", id).is_some()
}

pub(crate) fn segment_exists(id: i32) -> bool {
    row("shm", "shmid", id).is_some()
}

/// The column `wanted` of a segment's line.
pub(crate) fn segment_column(id: i32, wanted: &str) -> u64 {
    row("shm", "shmid", id).unwrap().into_iter().find(|(name, _)| name == wanted).unwrap().1 as u64
}

/// How many segments and sets processes of `uid` have created, together.
pub(crate) fn count_of(uid: u32) -> usize {
    let counted = |object: &Object| object.creator == uid && object.kind != Kind::Name;
    census::objects().iter().filter(|object| counted(object)).count()
}

type Row = Vec<(String, i64)>;

fn rows(table: &str) -> Vec<Row> {
    let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let row = |line: &str| {
        let values = line.split_whitespace().map(|value| value.parse().unwrap_or(-1));
        names.iter().map(ToString::to_string).zip(values).collect()
    };
    lines.map(row).collect()
}

fn row(table: &str, column: &str, id: i32) -> Option<Row> {
    rows(table).into_iter().find(|row| row.contains(&(column.into(), i64::from(id))))
}

/// Has SIGALRM interrupt the calling thread every `every_us` microseconds, with a handler that does nothing and
/// `SA_RESTART` set, for as long as the process lives.
pub(crate) fn interrupt(every_us: u64) {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: the handler does nothing, which is async-signal-safe; the structures are valid for the call.
    let thread = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
        libc::syscall(libc::SYS_gettid)
    };
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_micros(every_us));
            // SAFETY: takes no pointer; a thread that is no more is ESRCH.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGALRM) };
        }
    });
}

/// Runs `work` in a forked child, which then stays; returns when the work is done.
pub(crate) fn in_forked_child(work: impl FnOnce()) -> libc::pid_t {
    let mut ends = [0; 2];
    // SAFETY: the child runs `work` with the one thread that it has and leaves only by a signal; the pipe's ends are
    // used and closed here alone.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            work();
            libc::write(ends[1], ends.as_ptr().cast(), 1);
            loop {
                libc::pause();
            }
        }
        assert!(child > 0);
        let mut byte = 0_u8;
        assert_eq!(libc::read(ends[0], (&raw mut byte).cast(), 1), 1);
        libc::close(ends[0]);
        libc::close(ends[1]);
        child
    }
}

/// Ends a child by SIGKILL.
pub(crate) fn end_child(child: libc::pid_t) {
    // SAFETY: the child is ours and not waited for yet.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
    }
}
