//! The lock whose waiters sleep on a process-shared `sem_t` beside the word. For trusted peers, see `LockKind`.
//!
//! ```text
//! lock area   0  the word u32, see `monshm_core::lock::word`
//!             4  unused
//!             8  sem_t: how many wake-ups were given and not taken
//! ```
//!
//! The semaphore decides nothing. A wake-up that a killed process took with it costs the others a slice; one that
//! nobody needed makes the next sleeper check the word once more.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use monshm_core::error::{Operation, Result};
use monshm_core::kind::LockKind;
use monshm_core::layout::LOCK_AREA_SIZE;
use monshm_core::layout::{SLOT_COUNT, Slot};
use monshm_core::liveness::Liveness;
use monshm_core::lock::word_lock::{Parker, WordLock};

use crate::mapping::Mapping;
use crate::sys;

/// Where the `sem_t` stands in the lock area, in bytes.
const OFFSET: usize = 8;

const _: () = {
    assert!(OFFSET + size_of::<libc::sem_t>() <= LOCK_AREA_SIZE && OFFSET % align_of::<libc::sem_t>() == 0);
    assert!(align_of::<libc::sem_t>() <= 8);
};

/// Sleeps on the semaphore.
#[derive(Debug)]
pub(super) struct Semaphore {
    mapping: Arc<Mapping>,
}

/// Initialises the semaphore of a new segment.
pub(super) fn initialize(mapping: &Arc<Mapping>) -> Result<()> {
    let made = semaphore(mapping).initialize();
    made.map_err(|errno| sys::fault(Operation::Create, "sem_init", errno))
}

/// The lock of a segment in which our slot is taken.
pub(super) fn lock(mapping: &Arc<Mapping>, me: Slot) -> WordLock<Semaphore> {
    let parker = Semaphore { mapping: Arc::clone(mapping) };
    // SAFETY: the parker owns a share of the mapping.
    unsafe { WordLock::new(mapping.region(), parker, LockKind::Semaphore, me, sys::register_for_fences()) }
}

impl Parker for Semaphore {
    fn name(&self) -> String {
        "posix semaphore".to_owned()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, until_ns: u64) {
        // A word that changed before this was followed by a post, which is still there to be taken.
        semaphore(&self.mapping).wait_until(until_ns);
    }

    fn wake(&self, _: &AtomicU32, count: u32) {
        let semaphore = semaphore(&self.mapping);
        // One process sleeps at most once, since the facade lets one thread at a time wait: more wake-ups than there
        // can be sleepers help nobody.
        for _ in 0..count.min(SLOT_COUNT) {
            if semaphore.value() < SLOT_COUNT {
                semaphore.post();
            }
        }
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

fn semaphore(mapping: &Mapping) -> sys::semaphore::Semaphore {
    let area: NonNull<u8> = mapping.region().header().lock_area();
    // SAFETY: OFFSET and the bytes of a sem_t behind it lie in the lock area, at its alignment (asserted above); the
    // area is mapped while the mapping is borrowed, which covers every use of what is answered; the creator initialises
    // it before it shares the segment.
    unsafe { sys::semaphore::Semaphore::at(area.add(OFFSET).cast()) }
}
