//! The lock whose waiters sleep on a process-shared `sem_t` beside the word. For trusted peers, see `LockKind`.
//!
//! ```text
//! lock area   0  owner word u32, the state machine of `monshm_core::lock::word`
//!             4  unused
//!             8  sem_t: how many wake-ups were given and not taken
//! ```
//!
//! The semaphore holds no truth. A wake-up that a killed process took with it costs the others a slice; one that nobody
//! needed lets the next sleeper look once too often.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use monshm_core::error::{Operation, Result};
use monshm_core::kind::LockKind;
use monshm_core::layout::Header;
use monshm_core::liveness::{SLOT_COUNT, Slot};
use monshm_core::lock::RawLock;
use monshm_core::region::MappedBytes;

use super::word::{Sleeper, WordLock};
use crate::segment::Mapping;
use crate::sys;

/// Where the `sem_t` stands in the lock area, in bytes.
const PLACE: usize = 8;

const _: () = {
    let area = size_of::<[u64; 8]>();
    assert!(PLACE + size_of::<libc::sem_t>() <= area && PLACE % align_of::<libc::sem_t>() == 0);
    assert!(std::mem::offset_of!(Header, lock_area) % 8 == 0 && align_of::<libc::sem_t>() <= 8);
};

#[derive(Debug)]
struct Semaphore;

pub(super) fn create(mapping: &Arc<Mapping>, me: Slot) -> Result<Box<dyn RawLock>> {
    let made = semaphore(mapping.region()).initialize();
    made.map_err(|errno| sys::fault(Operation::Create, "sem_init", errno))?;
    Ok(Box::new(WordLock::<Semaphore>::new(mapping, me)))
}

pub(super) fn open(mapping: &Arc<Mapping>, me: Slot) -> Box<dyn RawLock> {
    Box::new(WordLock::<Semaphore>::new(mapping, me).adopt())
}

impl Sleeper for Semaphore {
    const KIND: LockKind = LockKind::Semaphore;

    fn sleep(region: &MappedBytes, _: &AtomicU32, _: u32, until_ns: u64) {
        // A word that changed before this was followed by a post, which is still there to be taken.
        semaphore(region).wait_until(until_ns);
    }

    fn wake_one(region: &MappedBytes, _: &AtomicU32) {
        let semaphore = semaphore(region);
        // More wake-ups than there can be sleepers help nobody.
        if semaphore.value() < SLOT_COUNT {
            semaphore.post();
        }
    }

    fn wake_all(region: &MappedBytes, word: &AtomicU32) {
        // One process sleeps at most once: the facade lets one thread at a time wait.
        for _ in 0..SLOT_COUNT {
            Self::wake_one(region, word);
        }
    }
}

fn semaphore(region: &MappedBytes) -> sys::semaphore::Semaphore {
    let area = std::ptr::from_ref(&region.header().lock_area).cast::<u8>().cast_mut();
    // SAFETY: PLACE and the bytes of a sem_t behind it lie in the 64 bytes of the area, at its alignment (asserted
    // above), so the address is not null; the area is mapped while the caller's borrow of the region lasts, which
    // covers every use below; the creator initialises it before it shares the segment.
    unsafe {
        let address = std::ptr::NonNull::new_unchecked(area.add(PLACE));
        sys::semaphore::Semaphore::at(address.cast())
    }
}
