//! Whose turn it is to look for a free range of addresses: threads of one process that attach at one time would all be
//! shown the same one, and all but one of them would find it taken.
//!
//! Not an exclusion that anything rests on: who finds its range taken looks for another one, and who has waited for long
//! goes on without a turn. So a fork in the middle of another thread's turn, or a thread that is stopped in its own,
//! delays and does not block.

use std::sync::atomic::{AtomicU32, Ordering};

use monshm_core::fork;

/// The fork generation of the process whose thread has its turn; any other number: nobody has.
static TURN: AtomicU32 = AtomicU32::new(0);

/// How often a thread lets others run before it goes on without its turn.
const PATIENCE: u32 = 20_000;

/// A turn, which ends with the value; or the lack of one.
#[derive(Debug)]
pub(crate) struct Turn {
    mark: Option<u32>,
}

impl Turn {
    /// Waits for a turn, for a while.
    pub(crate) fn take() -> Self {
        let mark = fork::generation();
        for _ in 0..PATIENCE {
            // Relaxed: nothing is handed from turn to turn.
            let taken = TURN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now != mark).then_some(mark));
            if taken.is_ok() {
                return Self { mark: Some(mark) };
            }
            std::thread::yield_now();
        }
        Self { mark: None }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mark) = self.mark {
            // Relaxed: as above. A failure means that a forked child ends its parent's turn: none of its own.
            let _ = TURN.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
