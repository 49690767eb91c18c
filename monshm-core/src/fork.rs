//! How a handle knows that it stands in a forked child.
//!
//! A forked child inherits the parent's mappings and handles but not its place in the protocol: it must never unlock,
//! unlink or remove for the parent. Asking for the pid costs a system call on every lock; comparing a counter costs a
//! load. The backends bump the counter from a `pthread_atfork` child handler; this file does not register one.

use core::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(1);

/// The number of this process in its line of forks. A handle remembers the number it was made under; another number
/// later means that the handle belongs to an ancestor. Never 0.
#[inline]
pub fn generation() -> u32 {
    // Relaxed: the child has one thread and inherits the value that its own atfork handler wrote.
    GENERATION.load(Ordering::Relaxed)
}

/// Says that this process is a new one. To be called from an atfork child handler only; async-signal-safe.
pub fn entered_child() {
    // Relaxed: one thread, see `generation`. A wrap to 0 would collide with "never", so it is stepped over.
    if GENERATION.fetch_add(1, Ordering::Relaxed) == u32::MAX {
        GENERATION.store(1, Ordering::Relaxed);
    }
}
