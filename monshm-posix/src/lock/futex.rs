//! The lock whose waiters sleep on its word by futex(2). No pointer and no kernel object of its own: the only lock of
//! this backend that may be shared with a peer that is not trusted.
//!
//! A peer can wake, requeue or never wake a sleeper; each costs a slice. The state machine is not here.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use monshm_core::kind::LockKind;
use monshm_core::liveness::Slot;
use monshm_core::lock::RawLock;
use monshm_core::region::MappedBytes;

use super::word::{Sleeper, WordLock};
use crate::segment::Mapping;
use crate::sys;

#[derive(Debug)]
struct Futex;

pub(super) fn create(mapping: &Arc<Mapping>, me: Slot) -> Box<dyn RawLock> {
    Box::new(WordLock::<Futex>::new(mapping, me))
}

pub(super) fn open(mapping: &Arc<Mapping>, me: Slot) -> Box<dyn RawLock> {
    Box::new(WordLock::<Futex>::new(mapping, me).adopt())
}

impl Sleeper for Futex {
    const KIND: LockKind = LockKind::Futex;

    fn sleep(_: &MappedBytes, word: &AtomicU32, expected: u32, until_ns: u64) {
        sys::futex::wait(word, expected, until_ns);
    }

    fn wake_one(_: &MappedBytes, word: &AtomicU32) {
        sys::futex::wake(word, 1);
    }

    fn wake_all(_: &MappedBytes, word: &AtomicU32) {
        // The count is an int to the kernel.
        sys::futex::wake(word, i32::MAX as u32);
    }
}
