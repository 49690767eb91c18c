//! The state machine of the lock that lives in one `u32`: acquire, contend, release, take over from the dead.
//!
//! How a process sleeps and wakes, what time it is and who lives is the [`Environment`]'s; `loom` brings its own word
//! and its own environment (`tests/loom.rs`), production an `AtomicU32` and futex(2) or a `sem_t`. The truth is the
//! word alone: a wake-up that is lost, stolen or spurious costs a slice, never the lock.
//!
//! | bits  | meaning |
//! |-------|---------|
//! | 0–15  | tag of the slot that holds the lock (index + 1); 0: nobody does |
//! | 16–28 | 0; anything else is corrupt |
//! | 29    | `OWNER_DIED`: nobody holds the lock and the last holder died inside; only with owner 0 |
//! | 30    | `HANDOFF`: a waiter has waited for a whole slice; newcomers queue behind it |
//! | 31    | `WAITERS`: somebody may be asleep; whoever lets go must wake |

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::liveness::Slot;

const OWNER: u32 = 0xffff;
const OWNER_DIED: u32 = 1 << 29;
const HANDOFF: u32 = 1 << 30;
const WAITERS: u32 = 1 << 31;
const FREE: u32 = 0;

/// The first wait of an acquisition before it asks whether the holder lives; each further one is twice as long.
pub const FIRST_SLICE: Duration = Duration::from_millis(1);

/// The longest wait before an acquisition asks again.
pub const LAST_SLICE: Duration = Duration::from_millis(20);

/// A shared 32-bit word: `AtomicU32` in production, loom's in models.
pub trait Word {
    /// Loads the word, Relaxed.
    fn peek(&self) -> u32;

    /// Compare and exchange; `ordering` is for success, failure is Relaxed.
    fn replace(&self, current: u32, new: u32, ordering: Ordering) -> bool;
}

impl Word for AtomicU32 {
    #[inline]
    fn peek(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn replace(&self, current: u32, new: u32, ordering: Ordering) -> bool {
        self.compare_exchange(current, new, ordering, Ordering::Relaxed).is_ok()
    }
}

/// What the state machine asks of the system around it.
pub trait Environment {
    /// How often the word is looked at again before the first sleep.
    const SPINS: u32;

    /// Sleeps while the word is `expected`, until a wake-up, at most for `slice`; may return early for no reason.
    /// Answers whether the whole slice passed.
    fn wait(&self, expected: u32, slice: Duration) -> bool;

    /// Wakes one sleeper.
    fn wake_one(&self);

    /// Wakes every sleeper.
    fn wake_all(&self);

    /// What is left until the caller's deadline; `None` once it has passed.
    fn remaining(&self) -> Option<Duration>;

    /// Whether the process behind a slot lives; our own slot always does.
    fn is_alive(&self, slot: Slot) -> bool;
}

/// What an acquisition of the word found. The words of [`crate::lock::Acquired`], for builds without `alloc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The last holder let go.
    Clean,
    /// The last holder died inside.
    OwnerDied,
}

/// Why the word was not acquired or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordFault {
    /// The deadline passed.
    TimedOut,
    /// The word holds what no honest process writes.
    Corrupt(u32),
}

/// The holder that `value` names, if any.
///
/// # Errors
/// [`WordFault::Corrupt`] for bits and tags without a meaning.
pub fn owner(value: u32) -> Result<Option<Slot>, WordFault> {
    let tag = value & OWNER;
    let owner = Slot::from_tag(tag);
    let known = value & !(OWNER | OWNER_DIED | HANDOFF | WAITERS) == 0;
    let died_and_held = tag != 0 && value & OWNER_DIED != 0;
    if !known || died_and_held || owner.is_none() != (tag == 0) {
        return Err(WordFault::Corrupt(value));
    }
    Ok(owner)
}

/// Takes the word if it is free and nobody was promised it: one compare-exchange.
#[inline]
pub fn acquire_now(word: &impl Word, me: Slot) -> bool {
    // Acquire: pairs with the Release in `release`.
    word.replace(FREE, me.tag(), Ordering::Acquire)
}

/// Takes the word if nobody holds it, passing by those who wait.
///
/// # Errors
/// [`WordFault::Corrupt`].
pub fn try_acquire(word: &impl Word, me: Slot) -> Result<Option<Taken>, WordFault> {
    let current = word.peek();
    if owner(current)?.is_some() {
        return Ok(None);
    }
    Ok(take_free(word, current, me, current & WAITERS))
}

/// Waits for the word until the environment's deadline.
///
/// # Errors
/// [`WordFault::TimedOut`], [`WordFault::Corrupt`].
pub fn acquire<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<Taken, WordFault> {
    let mut slice = FIRST_SLICE;
    let mut spins = E::SPINS;
    // Whether a whole slice has passed: then the holder may be dead, and newcomers shall not pass us by.
    let mut aged = false;
    // Whether we slept: then others may sleep too, whom our release must wake.
    let mut keep = 0;
    loop {
        let current = word.peek();
        let owner = owner(current)?;
        if owner.is_some() && spins > 0 {
            spins -= 1;
            core::hint::spin_loop();
            continue;
        }
        if owner.is_none() && (aged || current & HANDOFF == 0) {
            if let Some(taken) = take_free(word, current, me, keep | current & WAITERS) {
                return Ok(taken);
            }
        } else if owner.is_some_and(|owner| aged && !environment.is_alive(owner)) {
            // Acquire: the dead holder's last stores were made visible by its death, which the kernel orders.
            if word.replace(current, me.tag() | WAITERS, Ordering::Acquire) {
                return Ok(Taken::OwnerDied);
            }
        } else {
            let expected = current | WAITERS | if aged { HANDOFF } else { 0 };
            if expected == current || word.replace(current, expected, Ordering::Relaxed) {
                let Some(remaining) = environment.remaining() else {
                    return give_up(word);
                };
                keep = WAITERS;
                if environment.wait(expected, slice.min(remaining)) {
                    aged = true;
                    slice = (slice * 2).min(LAST_SLICE);
                }
            }
        }
        if environment.remaining().is_none() {
            return give_up(word);
        }
    }
}

/// Lets go of the word and wakes who waits.
///
/// # Errors
/// [`WordFault::Corrupt`] when the word does not say that `me` holds it; it is then left as it is.
#[inline]
pub fn release<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<(), WordFault> {
    // Release: pairs with the Acquire of the next acquisition.
    if word.replace(me.tag(), FREE, Ordering::Release) {
        Ok(())
    } else {
        release_contended(word, me, environment)
    }
}

/// Says that the process which held `me` before us, if it held the word, died: its slot has come to us.
///
/// To be called by a process that has just taken a slot, before its first acquisition: without it, a word left by the
/// dead would look as if we held it.
pub fn adopt<E: Environment>(word: &impl Word, me: Slot, environment: &E) {
    // A hostile peer can make each exchange fail; giving up then leaves a lock that only it can have broken.
    for _ in 0..64 {
        let current = word.peek();
        if current & OWNER != me.tag() {
            return;
        }
        // Release: passes on what the dead holder's death made visible to us.
        if word.replace(current, OWNER_DIED | current & (WAITERS | HANDOFF), Ordering::Release) {
            environment.wake_all();
            return;
        }
    }
}

fn take_free(word: &impl Word, current: u32, me: Slot, flags: u32) -> Option<Taken> {
    // Acquire: pairs with the Release in `release` and `adopt`.
    word.replace(current, me.tag() | flags, Ordering::Acquire).then_some(if current & OWNER_DIED != 0 {
        Taken::OwnerDied
    } else {
        Taken::Clean
    })
}

/// Takes back the promise that newcomers will queue, which else would cost the next one a slice.
fn give_up(word: &impl Word) -> Result<Taken, WordFault> {
    let current = word.peek();
    if current & HANDOFF != 0 {
        // One try: a waiter that still wants the promise makes it again within a slice, and so it may fail.
        word.replace(current, current & !HANDOFF, Ordering::Relaxed);
    }
    Err(WordFault::TimedOut)
}

#[cold]
fn release_contended<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<(), WordFault> {
    // An honest peer only ever adds WAITERS and HANDOFF or takes HANDOFF back: a few rounds see them all.
    for _ in 0..64 {
        let current = word.peek();
        if current & OWNER != me.tag() || owner(current).is_err() {
            return Err(WordFault::Corrupt(current));
        }
        let promised = current & HANDOFF != 0;
        let free = if promised { HANDOFF | WAITERS } else { FREE };
        // Release: pairs with the Acquire of the next acquisition.
        if word.replace(current, free, Ordering::Release) {
            if promised {
                // Only who has waited for a slice may take it, and one wake-up could reach somebody else.
                environment.wake_all();
            } else if current & WAITERS != 0 {
                environment.wake_one();
            }
            return Ok(());
        }
    }
    Err(WordFault::Corrupt(word.peek()))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::liveness::SLOT_COUNT;
    use std::cell::{Cell, RefCell};
    use std::vec::Vec;

    /// A world in which nobody else moves: waits take their slice at once.
    #[derive(Default)]
    struct Alone {
        waited: RefCell<Vec<Duration>>,
        woken_one: Cell<u32>,
        woken_all: Cell<u32>,
        dead: Option<u32>,
        budget: Cell<u32>,
    }

    impl Environment for Alone {
        const SPINS: u32 = 2;
        fn wait(&self, _: u32, slice: Duration) -> bool {
            self.waited.borrow_mut().push(slice);
            true
        }
        fn wake_one(&self) {
            self.woken_one.set(self.woken_one.get() + 1);
        }
        fn wake_all(&self) {
            self.woken_all.set(self.woken_all.get() + 1);
        }
        fn remaining(&self) -> Option<Duration> {
            self.budget.set(self.budget.get().checked_sub(1)?);
            Some(Duration::from_secs(1))
        }
        fn is_alive(&self, slot: Slot) -> bool {
            self.dead != Some(slot.index())
        }
    }

    const ME: Slot = Slot::CREATOR;

    fn peer() -> Slot {
        Slot::new(5).unwrap()
    }

    #[test]
    fn a_live_holder_is_waited_for_until_the_deadline_in_growing_slices() {
        let word = AtomicU32::new(peer().tag());
        let world = Alone { budget: Cell::new(20), ..Alone::default() };
        assert_eq!(acquire(&word, ME, &world), Err(WordFault::TimedOut));
        let waited = world.waited.borrow();
        assert_eq!(waited[..6].iter().map(Duration::as_millis).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 20]);
        assert_eq!(word.peek() & HANDOFF, 0, "the promise is taken back");
    }

    #[test]
    fn a_dead_holder_is_found_after_one_slice_and_told_of_once() {
        let word = AtomicU32::new(peer().tag());
        let world = Alone { budget: Cell::new(20), dead: Some(5), ..Alone::default() };
        assert_eq!(acquire(&word, ME, &world), Ok(Taken::OwnerDied));
        assert_eq!(world.waited.borrow().len(), 1);
        assert_eq!(release(&word, ME, &world), Ok(()));
        assert_eq!(try_acquire(&word, ME), Ok(Some(Taken::Clean)));
    }

    #[test]
    fn whoever_takes_a_dead_holders_slot_sets_the_lock_free_and_marks_it() {
        let word = AtomicU32::new(peer().tag() | WAITERS);
        let world = Alone::default();
        adopt(&word, ME, &world);
        assert_eq!(word.peek(), peer().tag() | WAITERS, "another slot's lock is left alone");
        adopt(&word, peer(), &world);
        assert_eq!(world.woken_all.get(), 1);
        assert!(!acquire_now(&word, ME));
        assert_eq!(try_acquire(&word, ME), Ok(Some(Taken::OwnerDied)));
    }

    #[test]
    fn a_promise_lets_the_old_waiter_through_and_keeps_the_newcomer_back() {
        let word = AtomicU32::new(ME.tag() | WAITERS | HANDOFF);
        let world = Alone { budget: Cell::new(20), ..Alone::default() };
        release(&word, ME, &world).unwrap();
        assert_eq!(world.woken_all.get(), 1);
        assert!(!acquire_now(&word, ME), "a newcomer queues");
        assert_eq!(acquire(&word, ME, &world), Ok(Taken::Clean));
        assert_eq!(world.waited.borrow().len(), 1, "after a slice it is an old waiter itself");
        assert_eq!(word.peek(), ME.tag() | WAITERS);
    }

    #[test]
    fn every_word_is_either_a_state_or_corrupt() {
        let world = Alone { budget: Cell::new(u32::MAX), dead: Some(0), ..Alone::default() };
        let flags = [
            0,
            WAITERS,
            HANDOFF,
            OWNER_DIED,
            WAITERS | HANDOFF,
            WAITERS | HANDOFF | OWNER_DIED,
            1 << 28,
            1 << 16,
        ];
        for tag in (0..=SLOT_COUNT + 1).chain([0x7fff, 0xffff]) {
            for flag in flags {
                let value = tag | flag;
                let sane = tag <= SLOT_COUNT
                    && flag & (3 << 28 | 1 << 16) & !OWNER_DIED == 0
                    && (flag & OWNER_DIED == 0 || tag == 0);
                assert_eq!(owner(value).is_ok(), sane, "{value:#x}");
                if !sane {
                    let word = AtomicU32::new(value);
                    assert_eq!(try_acquire(&word, ME), Err(WordFault::Corrupt(value)));
                    assert_eq!(acquire(&word, ME, &world), Err(WordFault::Corrupt(value)));
                }
                let word = AtomicU32::new(value);
                let held = tag == ME.tag() && sane;
                assert_eq!(release(&word, ME, &world).is_ok(), held, "{value:#x}");
            }
        }
    }
}
