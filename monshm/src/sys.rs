//! The facade's calls of the operating system: clock, futex, membarrier, random bytes, page size, signal mask, /proc.
//!
//! Sockets are called in `handover::{frame, control}`, what a peer sent is closed in `foreign`, credentials are read in
//! `creds`; nothing else of the facade talks to the operating system.

use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::thread::{MembarrierCommand, membarrier};

/// How long calls wait that are given no timeout of their own: [`AttachOptions`](crate::AttachOptions) for the other
/// side of a socket, [`Segment::alloc`](crate::Segment::alloc) and the first use of a ring for the lock, and the
/// endpoints of a ring as [`std::io`] uses them.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest sleep: a wake-up that is lost or stolen costs its sleeper no more than this.
const SLICE: Duration = Duration::from_millis(5);

/// A file of /proc as text; `None` when it cannot be read.
pub(crate) fn read_text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Who owns what this path leads to.
pub(crate) fn owner_of(path: &str) -> Option<u32> {
    rustix::fs::lstat(path).ok().map(|stat| stat.st_uid)
}

/// The pids of all processes, where the system lists them.
pub(crate) fn process_ids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Positive since boot; 2^64 ns are 584 years.
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Registers this process so that every [`barrier_everywhere`] reaches its threads; tells whether it does.
#[cfg(target_os = "linux")]
pub(crate) fn register_for_barriers() -> bool {
    // Once for the process: the kernel keeps it with the address space.
    static REGISTERED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok())
}

/// A full barrier on every core that runs a process which asked for it (membarrier(2), Linux 4.16). Where it fails, a
/// wake-up can be lost to a process that counts on it, and costs a slice.
#[cfg(target_os = "linux")]
pub(crate) fn barrier_everywhere() {
    let _ = membarrier(MembarrierCommand::GlobalExpedited);
}

/// Barriers are passed by both sides here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn register_for_barriers() -> bool {
    false
}

/// Nothing to do: both sides pass barriers.
#[cfg(not(target_os = "linux"))]
pub(crate) fn barrier_everywhere() {}

/// Sleeps while `word` is `expected`, until woken, at most for one slice or `remaining`.
#[cfg(target_os = "linux")]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, remaining: Duration) {
    use rustix::thread::futex;
    let slice = SLICE.min(remaining);
    let timeout = futex::Timespec { tv_sec: 0, tv_nsec: slice.subsec_nanos().into() };
    // Not private: the word is shared between processes. After any outcome, error or not, the caller tries again.
    let answer = futex::wait(word, futex::Flags::empty(), expected, Some(&timeout));
    if matches!(answer, Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)) {
        // A container that forbids it: without a sleep here the caller would spin.
        std::thread::sleep(Duration::from_millis(1).min(slice));
    }
}

/// Wakes one sleeper on `word`.
#[cfg(target_os = "linux")]
pub(crate) fn futex_wake(word: &AtomicU32) {
    use rustix::thread::futex;
    // A failure costs the sleeper a slice.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

/// Sleeps for a slice: this system has no futex.
#[cfg(not(target_os = "linux"))]
pub(crate) fn futex_wait(_: &AtomicU32, _: u32, remaining: Duration) {
    std::thread::sleep(Duration::from_millis(1).min(SLICE).min(remaining));
}

/// Nothing to do: sleepers wake by themselves after a slice.
#[cfg(not(target_os = "linux"))]
pub(crate) fn futex_wake(_: &AtomicU32) {}

/// The size of a page in bytes.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Fills `bytes` with random bytes that nobody can guess.
///
/// # Errors
/// The errno value of getrandom(2).
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), rustix::io::Errno> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(len) => filled += len,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Runs `work` with every signal blocked in this thread; a thread that it starts begins so.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are ours; the first call fills one, the second reads it and fills the other.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let outcome = work();
    if blocked {
        // SAFETY: the call above filled `before`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    outcome
}
