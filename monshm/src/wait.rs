//! Time, and sleeping until a word in the segment changes, in slices.
//!
//! A wake-up that a peer steals costs a slice, never the wait: whoever sleeps here looks again by itself.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::thread::{MembarrierCommand, membarrier};

/// The longest sleep before a waiter looks again by itself.
const SLICE: Duration = Duration::from_millis(5);

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Positive since boot; 2^64 ns are 584 years.
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Asks that every [`barrier_everywhere`] reach the threads of this process too; whether they do.
#[cfg(target_os = "linux")]
pub(crate) fn barriers_reach_us() -> bool {
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
pub(crate) fn barriers_reach_us() -> bool {
    false
}

/// Nothing to do: both sides pass barriers.
#[cfg(not(target_os = "linux"))]
pub(crate) fn barrier_everywhere() {}

/// Sleeps while `word` is `expected`, until woken, at most for one slice or `remaining`.
#[cfg(target_os = "linux")]
pub(crate) fn sleep_on(word: &AtomicU32, expected: u32, remaining: Duration) {
    use rustix::thread::futex;
    let slice = SLICE.min(remaining);
    let timeout = futex::Timespec { tv_sec: 0, tv_nsec: slice.subsec_nanos().into() };
    // Not private: the word is shared between processes. Any outcome, error or not, leads to another look.
    let answer = futex::wait(word, futex::Flags::empty(), expected, Some(&timeout));
    if matches!(answer, Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)) {
        // A container that forbids it: without a sleep the caller would look again at once, and so without end.
        std::thread::sleep(Duration::from_millis(1).min(slice));
    }
}

/// Wakes who sleeps on `word`.
#[cfg(target_os = "linux")]
pub(crate) fn wake(word: &AtomicU32) {
    use rustix::thread::futex;
    // A failure costs the sleeper a slice.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

/// Sleeps for a slice: this system has no futex.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sleep_on(_: &AtomicU32, _: u32, remaining: Duration) {
    std::thread::sleep(Duration::from_millis(1).min(SLICE).min(remaining));
}

/// Nothing to do: sleepers look again by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wake(_: &AtomicU32) {}
