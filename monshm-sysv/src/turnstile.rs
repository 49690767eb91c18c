//! An advisory lock with bounded spinning around the search for a free range of addresses: threads of one process that
//! attach at one time would all be shown the same range, and all but one of them would find it taken.
//!
//! No safety rests on it: a thread that finds its range taken looks for another one, and a thread that has waited for
//! long goes on without it. So a fork while another thread is inside, or a thread that is stopped inside, delays and
//! does not block.

use std::sync::atomic::{AtomicU32, Ordering};

use monshm_core::fork;

/// The fork generation of the process whose thread is inside; any other number: nobody is.
static INSIDE: AtomicU32 = AtomicU32::new(0);

/// How often a thread lets others run before it goes on without the lock.
const YIELDS: u32 = 20_000;

/// The lock, held until the value is dropped; or the lack of it.
#[derive(Debug)]
pub(crate) struct Turnstile {
    held_in: Option<u32>,
}

impl Turnstile {
    /// Waits for the lock, for a while.
    pub(crate) fn enter() -> Self {
        let generation = fork::generation();
        for _ in 0..YIELDS {
            // Relaxed, here and below: nothing is handed from thread to thread.
            let entered = INSIDE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |inside| {
                (inside != generation).then_some(generation)
            });
            if entered.is_ok() {
                return Self { held_in: Some(generation) };
            }
            std::thread::yield_now();
        }
        Self { held_in: None }
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        if let Some(generation) = self.held_in {
            // A failure means that a forked child drops its parent's: it holds none of its own.
            let _ = INSIDE.compare_exchange(generation, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
