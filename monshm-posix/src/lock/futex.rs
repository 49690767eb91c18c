//! The lock whose waiters sleep on its word by futex(2). No pointer and no kernel object of its own: the only lock of
//! this backend that may be shared with a peer that is not trusted.
//!
//! A peer can wake, requeue or never wake a sleeper; each costs a slice. The state machine is `monshm_core`'s.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use monshm_core::kind::LockKind;
use monshm_core::layout::Slot;
use monshm_core::liveness::Liveness;
use monshm_core::lock::word_lock::{Parker, WordLock};

use crate::mapping::Mapping;
use crate::sys;

/// Sleeps on the word itself.
#[derive(Debug)]
pub(super) struct Futex {
    mapping: Arc<Mapping>,
}

/// The lock of a segment in which our slot is taken.
pub(super) fn lock(mapping: &Arc<Mapping>, me: Slot) -> WordLock<Futex> {
    let parker = Futex { mapping: Arc::clone(mapping) };
    // SAFETY: the parker owns a share of the mapping.
    unsafe { WordLock::new(mapping.region(), parker, LockKind::Futex, me, sys::register_for_fences()) }
}

impl Parker for Futex {
    fn name(&self) -> String {
        "posix futex".to_owned()
    }

    fn sleep(&self, word: &AtomicU32, expected: u32, until_ns: u64) {
        sys::futex_wait(word, expected, until_ns);
    }

    fn wake(&self, word: &AtomicU32, count: u32) {
        sys::futex_wake(word, count);
    }

    fn heavy_fence(&self) {
        sys::heavy_fence();
    }

    fn now_ns(&self) -> u64 {
        sys::now_ns()
    }

    fn is_alive(&self, slot: Slot) -> bool {
        self.mapping.slots().is_alive(slot)
    }
}
