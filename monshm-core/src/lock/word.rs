//! The state machine of the lock that lives in one `u32`: acquire, contend, release, take over from the dead.
//!
//! How a process sleeps and wakes, what time it is and who lives is the [`WaitContext`]'s; `loom` brings its own word
//! and its own context (`tests/loom.rs`), production [`super::word_lock`] over a backend's `Parker`. The word alone
//! decides: a wake-up that is lost, stolen or spurious costs a slice, never the lock.
//!
//! | bits  | meaning |
//! |-------|---------|
//! | 0–15  | tag of the slot that holds the lock (index + 1); 0: nobody does |
//! | 16–21 | tag of the waiter that last asked whether the holder lives; 0: none. Only with an owner |
//! | 22–28 | 0; anything else is corrupt |
//! | 29    | `OWNER_DIED`: nobody holds the lock, and what a dead holder left is not repaired; only with owner 0 |
//! | 30    | `HANDOFF`: a waiter has waited for a whole slice; newcomers queue behind it |
//! | 31    | `WAITERS`: somebody may be asleep; the release must wake |
//!
//! A release of a word without flags is a plain store, at half the price of an exchange: what a waiter wrote into the
//! word at the same moment is then lost. A second word makes up for it, `sleepers`, with a bit for each slot. A waiter
//! sets its bit, passes a fence and loads the word once more before its first sleep, and clears the bit when it waits
//! no more; a holder stores, passes a fence and loads `sleepers`. One of the two sees the other. This is an asymmetric
//! fence: where the waiter's side is heavy, for all cores (membarrier(2)), the holder's light side need only keep the
//! compiler from reordering.
//!
//! A slot is reused, so the same word can stand for another process than the one that was asked after. A waiter
//! therefore leaves its tag in bits 16–21 before it asks, every end of a hold clears them, and only a waiter that finds
//! its own tag untouched takes over: the holder it asked after is then the one that still holds.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crossbeam_utils::Backoff;

use super::PreviousHolder;
use crate::error::ErrorKind;
use crate::layout::{SLOT_COUNT, Slot};

const OWNER: u32 = 0xffff;
const ASKER_SHIFT: u32 = 16;
const ASKER: u32 = 0x3f << ASKER_SHIFT;
const OWNER_DIED: u32 = 1 << 29;
const HANDOFF: u32 = 1 << 30;
const WAITERS: u32 = 1 << 31;
const FREE: u32 = 0;

/// The first wait of an acquisition before it asks whether the holder lives; each further one is twice as long.
pub const FIRST_SLICE: Duration = Duration::from_millis(1);

/// The longest wait before an acquisition asks again.
pub const LAST_SLICE: Duration = Duration::from_millis(20);

/// After how many sleeps that a wake-up ended in vain a waiter counts as one that waited a whole slice: else a holder
/// that comes back at once, or a stream of spurious wake-ups, would keep it a newcomer for good.
pub const VAIN_WAKES: u32 = 32;

/// How often a waiter spins before its first sleep. [`Backoff`] doubles the pauses up to the last of these; longer ones
/// would cost more than a sleep where the holder does not run.
const SPIN_TRIES: u32 = 7;

/// How often an exchange is tried that only hostile peers can make fail time and again.
const TRIES: u32 = 64;

/// The answer to a word that no honest process writes.
pub const CORRUPT: ErrorKind = ErrorKind::Corrupt { what: "the lock word holds what no honest process writes" };

/// The answer when the deadline has passed.
pub const TIMED_OUT: ErrorKind = ErrorKind::TimedOut { what: "the lock stayed held" };

/// A shared 32-bit word: `AtomicU32` in production, loom's in models. The methods are std's.
pub trait Word {
    /// Loads the value.
    fn load(&self, order: Ordering) -> u32;

    /// Stores a value.
    fn store(&self, value: u32, order: Ordering);

    /// Sets bits.
    fn fetch_or(&self, bits: u32, order: Ordering) -> u32;

    /// Clears the bits that are not in `mask`.
    fn fetch_and(&self, mask: u32, order: Ordering) -> u32;

    /// Stores `new` if the value is `current`.
    ///
    /// # Errors
    /// The value, when it is another one.
    fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32>;
}

impl Word for AtomicU32 {
    #[inline]
    fn load(&self, order: Ordering) -> u32 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u32, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.fetch_or(bits, order)
    }

    fn fetch_and(&self, mask: u32, order: Ordering) -> u32 {
        self.fetch_and(mask, order)
    }

    #[inline]
    fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        self.compare_exchange(current, new, success, failure)
    }
}

/// What one call of the state machine asks of the system around it.
pub trait WaitContext {
    /// Whether to spin before the first sleep.
    const SPINS: bool;

    /// The word that shows who sleeps, beside the lock word: bit N for slot N.
    fn sleepers(&self) -> &impl Word;

    /// The waiter's fence, between setting its bit in `sleepers` and the last load of the word: either that load sees
    /// the store of a release, or the release sees the bit.
    fn heavy_fence(&self);

    /// The holder's fence, between its store to the word and its load of `sleepers`.
    fn light_fence(&self);

    /// Sleeps while the word is `expected`, until a wake-up, at most for `slice`; may return early for no reason.
    /// Answers whether the whole slice passed.
    fn park(&self, expected: u32, slice: Duration) -> bool;

    /// Wakes one sleeper.
    fn unpark_one(&self);

    /// Wakes every sleeper.
    fn unpark_all(&self);

    /// What is left until the caller's deadline; `None` once it has passed, or when waiting is of no use any more.
    fn remaining(&self) -> Option<Duration>;

    /// Whether the process behind a slot lives; our own slot always does.
    fn is_alive(&self, slot: Slot) -> bool;
}

/// The holder that `value` names, if any.
///
/// # Errors
/// [`CORRUPT`] for bits and tags without a meaning.
pub fn owner(value: u32) -> Result<Option<Slot>, ErrorKind> {
    let tag = value & OWNER;
    let owner = Slot::from_tag(tag);
    let asker = (value & ASKER) >> ASKER_SHIFT;
    let known = value & !(OWNER | ASKER | OWNER_DIED | HANDOFF | WAITERS) == 0;
    let died_and_held = tag != 0 && value & OWNER_DIED != 0;
    let asked_in_vain = asker != 0 && (tag == 0 || Slot::from_tag(asker).is_none());
    if !known || died_and_held || asked_in_vain || owner.is_none() != (tag == 0) {
        return Err(CORRUPT);
    }
    Ok(owner)
}

/// Compare and exchange; `order` is for success, failure is Relaxed.
#[inline]
fn exchange(word: &impl Word, current: u32, new: u32, order: Ordering) -> bool {
    word.compare_exchange(current, new, order, Ordering::Relaxed).is_ok()
}

/// Takes the word if it is free and nobody was promised it: one compare-exchange.
#[inline]
pub fn acquire_now(word: &impl Word, me: Slot) -> bool {
    // Acquire: pairs with the Release in `release`.
    exchange(word, FREE, me.tag(), Ordering::Acquire)
}

/// Takes the word if nobody holds it, passing by those who wait.
///
/// # Errors
/// [`CORRUPT`].
pub fn try_acquire(word: &impl Word, me: Slot) -> Result<Option<PreviousHolder>, ErrorKind> {
    let current = word.load(Ordering::Relaxed);
    if owner(current)?.is_some() {
        return Ok(None);
    }
    Ok(take_free(word, current, me, current & WAITERS))
}

/// Waits for the word until the context's deadline.
///
/// However short that is, also when it has passed before the call: a dead holder is found, and a word that is free and
/// promised to nobody is taken.
///
/// # Errors
/// [`TIMED_OUT`], [`CORRUPT`].
pub fn acquire<C: WaitContext>(word: &impl Word, me: Slot, context: &C) -> Result<PreviousHolder, ErrorKind> {
    let mut waiter = Waiter::default();
    let outcome = waiter.acquire(word, me, context);
    if waiter.is_announced {
        context.sleepers().fetch_and(!bit(me), Ordering::Relaxed);
    }
    outcome
}

/// What one acquisition knows of its own waiting.
#[derive(Default)]
struct Waiter {
    /// How many slices have passed.
    slices: u32,
    /// How many sleeps in this slice a wake-up ended in vain.
    vain_wakes: u32,
    /// Whether we have waited for a whole slice: then newcomers shall not pass us by.
    aged: bool,
    /// Whether to ask if the holder lives: once a slice, and once before giving up.
    ask: bool,
    /// Whether this round is the last one before giving up.
    last: bool,
    /// `WAITERS` once we slept: then others may sleep too, whom our release must wake.
    keep: u32,
    /// Whether our bit in `sleepers` is set.
    is_announced: bool,
}

impl Waiter {
    fn acquire<C: WaitContext>(
        &mut self,
        word: &impl Word,
        me: Slot,
        context: &C,
    ) -> Result<PreviousHolder, ErrorKind> {
        let backoff = Backoff::new();
        let mut spins = if C::SPINS { SPIN_TRIES } else { 0 };
        loop {
            let current = word.load(Ordering::Relaxed);
            let owner = owner(current)?;
            if owner.is_some() && spins > 0 {
                spins -= 1;
                backoff.spin();
                continue;
            }
            if owner.is_none() && (self.aged || current & HANDOFF == 0) {
                if let Some(previous) = take_free(word, current, me, self.keep | current & WAITERS) {
                    return Ok(previous);
                }
            } else if let Some(expected) = self.queue(word, current, me, owner.is_some()) {
                let asked_after = owner.filter(|_| core::mem::take(&mut self.ask));
                if asked_after.is_some_and(|owner| !context.is_alive(owner)) {
                    // Acquire: the dead holder's last stores were made visible by its death, which the kernel orders.
                    if exchange(word, expected, me.tag() | WAITERS, Ordering::Acquire) {
                        return Ok(PreviousHolder::Died);
                    }
                } else if let Some(remaining) = context.remaining() {
                    self.sleep(word, expected, me, remaining, context);
                    // One more round even if the deadline has passed: the only wake-up may have been ours.
                    continue;
                } else if !self.aged && !self.last {
                    // A caller with short deadlines only must find a dead holder too.
                    (self.last, self.ask) = (true, true);
                    continue;
                }
            }
            if context.remaining().is_none() {
                return give_up(word, context);
            }
        }
    }

    /// Marks in the word, which is not ours to take, that we wait: newcomers queue once we are aged, and a waiter that
    /// asks after the holder leaves its tag. Answers the word to sleep on; `None` when it changed meanwhile.
    fn queue(&self, word: &impl Word, current: u32, me: Slot, is_held: bool) -> Option<u32> {
        let mut expected = current | WAITERS;
        if self.aged {
            expected |= HANDOFF;
        }
        if self.ask && is_held {
            expected = expected & !ASKER | me.tag() << ASKER_SHIFT;
        }
        // Acquire: pairs with nothing; it keeps the question that follows behind the tag, see the top of the file.
        (expected == current || exchange(word, current, expected, Ordering::Acquire)).then_some(expected)
    }

    /// Sleeps once, at most for a slice, unless the word is not `expected` any more.
    fn sleep<C: WaitContext>(&mut self, word: &impl Word, expected: u32, me: Slot, remaining: Duration, context: &C) {
        self.keep = WAITERS;
        self.vain_wakes += 1;
        if !self.is_announced {
            self.is_announced = true;
            context.sleepers().fetch_or(bit(me), Ordering::Relaxed);
            // Pairs with the light fence in `release`.
            context.heavy_fence();
        }
        // A holder that released meanwhile without having seen us may wake nobody: no sleep then.
        let still = word.load(Ordering::Relaxed) == expected;
        let slice = LAST_SLICE.min(FIRST_SLICE * (1 << self.slices.min(8)));
        if (still && context.park(expected, slice.min(remaining))) || self.vain_wakes == VAIN_WAKES {
            self.slices += 1;
            (self.vain_wakes, self.aged, self.ask) = (0, true, true);
        }
    }
}

/// Releases the word and wakes whoever waits.
///
/// # Errors
/// [`CORRUPT`] when the word does not say that `me` holds it; it is then left as it is.
#[inline]
pub fn release<C: WaitContext>(word: &impl Word, me: Slot, context: &C) -> Result<(), ErrorKind> {
    if word.load(Ordering::Relaxed) != me.tag() {
        return release_contended(word, me, FREE, context);
    }
    release_plain(word, me, context);
    Ok(())
}

/// Releases a word that was just seen to hold our tag and no flag.
#[inline]
pub fn release_plain<C: WaitContext>(word: &impl Word, me: Slot, context: &C) {
    // Its Release pairs with the Acquire of the next acquisition.
    word.store(FREE, Ordering::Release);
    // Pairs with the heavy fence in `sleep`.
    context.light_fence();
    if context.sleepers().load(Ordering::Relaxed) != 0 {
        wake_unseen(me, context);
    }
}

/// Releases the word as a dead holder left it: the death is reported to the next holder.
///
/// # Errors
/// As [`release`].
#[cold]
pub fn release_unrepaired<C: WaitContext>(word: &impl Word, me: Slot, context: &C) -> Result<(), ErrorKind> {
    release_contended(word, me, OWNER_DIED, context)
}

/// Marks the death of the process which held `me` before us, if it held the word: its slot has come to us.
///
/// To be called by a process that has just taken a slot, before its first acquisition: without it, a word left by the
/// dead would look as if we held it.
pub fn adopt<C: WaitContext>(word: &impl Word, me: Slot, context: &C) {
    // A hostile peer can make each exchange fail; giving up then leaves a lock that only it can have broken.
    for _ in 0..TRIES {
        let current = word.load(Ordering::Relaxed);
        if current & OWNER != me.tag() {
            return;
        }
        // Release: passes on what the dead holder's death made visible to us.
        if exchange(word, current, OWNER_DIED | current & (WAITERS | HANDOFF), Ordering::Release) {
            context.unpark_all();
            return;
        }
    }
}

fn take_free(word: &impl Word, current: u32, me: Slot, flags: u32) -> Option<PreviousHolder> {
    // Acquire: pairs with the Release in `release` and `adopt`.
    exchange(word, current, me.tag() | flags, Ordering::Acquire).then_some(if current & OWNER_DIED != 0 {
        PreviousHolder::Died
    } else {
        PreviousHolder::Released
    })
}

/// Takes back the promise that newcomers will queue, and passes on the wake-up that may have ended our last sleep.
fn give_up<C: WaitContext>(word: &impl Word, context: &C) -> Result<PreviousHolder, ErrorKind> {
    for _ in 0..TRIES {
        let current = word.load(Ordering::Relaxed);
        if current & HANDOFF == 0 || exchange(word, current, current & !HANDOFF, Ordering::Relaxed) {
            // A holder that knows of waiters will wake one; nobody else will.
            if current & OWNER == 0 || current & WAITERS == 0 {
                context.unpark_one();
            }
            break;
        }
    }
    Err(TIMED_OUT)
}

/// The word was released as if nobody waited, but somebody may sleep.
#[cold]
fn wake_unseen<C: WaitContext>(me: Slot, context: &C) {
    // Whoever is woken takes the word with WAITERS, or marks anew in the word that it waits.
    context.unpark_one();
    let asleep = context.sleepers().load(Ordering::Relaxed);
    for slot in Slot::all().filter(|slot| asleep & bit(*slot) != 0) {
        // Our own is left by a predecessor that died; a process that died asleep cannot clear its bit either.
        if slot == me || !context.is_alive(slot) {
            context.sleepers().fetch_and(!bit(slot), Ordering::Relaxed);
        }
    }
}

/// The bit of a slot among the sleepers.
const fn bit(slot: Slot) -> u32 {
    const { assert!(SLOT_COUNT <= u32::BITS) };
    1 << slot.index()
}

/// Releases by an exchange, so that no flag is lost; `died` is `OWNER_DIED` where a death is to be reported to the next
/// holder.
#[cold]
fn release_contended<C: WaitContext>(word: &impl Word, me: Slot, died: u32, context: &C) -> Result<(), ErrorKind> {
    // An honest peer only ever adds WAITERS and HANDOFF, takes HANDOFF back, or asks, each at most once a slice or a
    // call: a few rounds see them all.
    for _ in 0..TRIES {
        let current = word.load(Ordering::Relaxed);
        if current & OWNER != me.tag() || owner(current).is_err() {
            return Err(CORRUPT);
        }
        let promised = current & HANDOFF != 0;
        let free = if promised { HANDOFF | WAITERS } else { FREE };
        // Release: pairs with the Acquire of the next acquisition.
        if exchange(word, current, free | died, Ordering::Release) {
            if promised {
                // Only a waiter that has waited for a slice may take it, and one wake-up could reach somebody else.
                context.unpark_all();
            } else if current & WAITERS != 0 {
                context.unpark_one();
            }
            return Ok(());
        }
    }
    Err(CORRUPT)
}

#[cfg(test)]
mod tests;
