//! The lock whose waiters sleep on its word by futex(2); the slots' semaphores tell who lives.
//!
//! The futex is never private: that flag would make each process wait in a queue of its own. The state machine is
//! `monshm_core`'s.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use monshm_core::lock::word_lock::{Parker, WordLock};
use monshm_core::{Error, LockKind, Operation, Slot};

use crate::mapping::Mapping;
use crate::sys;

/// Sleeps on the word itself.
#[derive(Debug)]
pub(super) struct Futex {
    mapping: Arc<Mapping>,
    me: Slot,
}

/// The lock of a segment in which our slot is taken.
pub(super) fn lock(mapping: &Arc<Mapping>) -> WordLock<Futex> {
    let me = mapping.slot();
    let parker = Futex { mapping: Arc::clone(mapping), me };
    // SAFETY: the parker owns a share of what keeps the segment mapped.
    unsafe { WordLock::new(&mapping.region(), parker, LockKind::Futex, me, sys::register_for_fences()) }
}

impl Parker for Futex {
    fn name(&self) -> String {
        self.mapping.name()
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
        slot == self.me
            // Unknown counts as alive.
            || self.mapping.slots().is_taken(slot).unwrap_or(true)
    }

    fn gone(&self) -> Option<Error> {
        let set = self.mapping.slots();
        set.is_known_gone().err().map(|errno| set.fault(Operation::Lock, errno))
    }
}
