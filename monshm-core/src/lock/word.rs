//! The state machine of the lock that lives in one `u32`: acquire, contend, release, take over from the dead.
//!
//! How a process sleeps and wakes, what time it is and who lives is the [`Environment`]'s; `loom` brings its own word
//! and its own environment (`tests/loom.rs`), production an `AtomicU32` and futex(2) or a `sem_t`. The truth is the
//! word alone: a wake-up that is lost, stolen or spurious costs a slice, never the lock.
//!
//! | bits  | meaning |
//! |-------|---------|
//! | 0–15  | tag of the slot that holds the lock (index + 1); 0: nobody does |
//! | 16–21 | tag of the waiter that last asked whether the holder lives; 0: none. Only with an owner |
//! | 22–28 | 0; anything else is corrupt |
//! | 29    | `OWNER_DIED`: nobody holds the lock and the last holder died inside; only with owner 0 |
//! | 30    | `HANDOFF`: a waiter has waited for a whole slice; newcomers queue behind it |
//! | 31    | `WAITERS`: somebody may be asleep; whoever lets go must wake |
//!
//! Whoever lets go of a word without flags does so by a plain store, at half the price of an exchange: what a waiter
//! wrote into the word at the same moment is then lost. A second word makes up for it, `sleepers`, with a bit for each
//! slot. A waiter raises its bit, passes a barrier and looks at the word once more before its first sleep, and lowers the
//! bit when it waits no more; a holder stores, passes a barrier and looks at `sleepers`. One of the two sees the other.
//! Where the waiter's barrier is one for all cores (membarrier(2)) the holder's need only keep the compiler from
//! reordering.
//!
//! A slot is reused, so the same word can stand for another process than the one that was asked after. A waiter
//! therefore leaves its tag in bits 16–21 before it asks, every end of a hold clears them, and only who finds its own
//! tag untouched takes over: the holder it asked after is then the one that still stands there.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::liveness::{SLOT_COUNT, Slot};

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
pub const PATIENCE: u32 = 32;

/// How often an exchange is tried that only hostile peers can make fail time and again.
const TRIES: u32 = 64;

/// A shared 32-bit word: `AtomicU32` in production, loom's in models.
pub trait Word {
    /// Loads the word, Relaxed.
    fn peek(&self) -> u32;

    /// Stores the word, Release.
    fn put(&self, value: u32);

    /// Sets these bits.
    fn raise(&self, bits: u32);

    /// Clears these bits.
    fn lower(&self, bits: u32);

    /// Compare and exchange; `ordering` is for success, failure is Relaxed.
    fn replace(&self, current: u32, new: u32, ordering: Ordering) -> bool;
}

impl Word for AtomicU32 {
    #[inline]
    fn peek(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn put(&self, value: u32) {
        self.store(value, Ordering::Release);
    }

    fn raise(&self, bits: u32) {
        // Relaxed: the barriers order it.
        self.fetch_or(bits, Ordering::Relaxed);
    }

    fn lower(&self, bits: u32) {
        self.fetch_and(!bits, Ordering::Relaxed);
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

    /// The word that tells of sleepers, beside the lock word: bit N for slot N.
    fn sleepers(&self) -> &impl Word;

    /// The waiter's barrier, between raising its bit in `sleepers` and the last look at the word: a holder that lets go either has
    /// its store seen by that look, or sees the bit.
    fn barrier(&self);

    /// The holder's barrier, between its store to the word and its look at `sleepers`.
    fn settle(&self);

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

/// What an acquisition of the word found. The words of [`crate::lock::PreviousHolder`], for builds without `alloc`.
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
    let asker = (value & ASKER) >> ASKER_SHIFT;
    let known = value & !(OWNER | ASKER | OWNER_DIED | HANDOFF | WAITERS) == 0;
    let died_and_held = tag != 0 && value & OWNER_DIED != 0;
    let asked_in_vain = asker != 0 && (tag == 0 || Slot::from_tag(asker).is_none());
    if !known || died_and_held || asked_in_vain || owner.is_none() != (tag == 0) {
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
/// However short that is, also when it has passed before the call: a dead holder is found, and a word that is free and
/// promised to nobody is taken.
///
/// # Errors
/// [`WordFault::TimedOut`], [`WordFault::Corrupt`].
pub fn acquire<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<Taken, WordFault> {
    let mut told = false;
    let outcome = wait_and_take(word, me, environment, &mut told);
    if told {
        environment.sleepers().lower(bit(me));
    }
    outcome
}

/// Does it; `told` says whether our bit among the sleepers is raised.
fn wait_and_take<E: Environment>(
    word: &impl Word,
    me: Slot,
    environment: &E,
    told: &mut bool,
) -> Result<Taken, WordFault> {
    let mut slice = FIRST_SLICE;
    let mut spins = E::SPINS;
    let mut naps = 0;
    // Whether we have waited long: then newcomers shall not pass us by.
    let mut aged = false;
    // Whether to ask if the holder lives: once a slice, and once before giving up.
    let mut ask = false;
    let mut last = false;
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
        } else if let Some(expected) = queue(word, current, me, aged, ask && owner.is_some()) {
            let asked_after = owner.filter(|_| core::mem::take(&mut ask));
            if asked_after.is_some_and(|owner| !environment.is_alive(owner)) {
                // Acquire: the dead holder's last stores were made visible by its death, which the kernel orders.
                if word.replace(expected, me.tag() | WAITERS, Ordering::Acquire) {
                    return Ok(Taken::OwnerDied);
                }
            } else if let Some(remaining) = environment.remaining() {
                keep = WAITERS;
                naps += 1;
                if !*told {
                    *told = true;
                    environment.sleepers().raise(bit(me));
                    // Pairs with the holder's in `release`.
                    environment.barrier();
                }
                // A holder that let go meanwhile without having seen us may wake nobody: no sleep then.
                let still = word.peek() == expected;
                if (still && environment.wait(expected, slice.min(remaining))) || naps == PATIENCE {
                    (naps, aged, ask) = (0, true, true);
                    slice = (slice * 2).min(LAST_SLICE);
                }
                // One more look even if the deadline has passed: the only wake-up may have been ours.
                continue;
            } else if !aged && !last {
                // Who comes with short deadlines only must find a dead holder too.
                (last, ask) = (true, true);
                continue;
            }
        }
        if environment.remaining().is_none() {
            return give_up(word, environment);
        }
    }
}

/// Lets go of the word and wakes who waits.
///
/// # Errors
/// [`WordFault::Corrupt`] when the word does not say that `me` holds it; it is then left as it is.
pub fn release<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<(), WordFault> {
    if word.peek() != me.tag() {
        return release_contended(word, me, environment);
    }
    // Its Release pairs with the Acquire of the next acquisition.
    word.put(FREE);
    // Pairs with the barrier in `acquire`.
    environment.settle();
    if environment.sleepers().peek() != 0 {
        wake_unheard(me, environment);
    }
    Ok(())
}

/// Says that the process which held `me` before us, if it held the word, died: its slot has come to us.
///
/// To be called by a process that has just taken a slot, before its first acquisition: without it, a word left by the
/// dead would look as if we held it.
pub fn adopt<E: Environment>(word: &impl Word, me: Slot, environment: &E) {
    // A hostile peer can make each exchange fail; giving up then leaves a lock that only it can have broken.
    for _ in 0..TRIES {
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

/// Says in the word, which is not ours to take, that we wait: newcomers queue once we are aged, and who asks after the
/// holder leaves its tag. Answers the word to sleep on; `None` when it changed meanwhile.
fn queue(word: &impl Word, current: u32, me: Slot, aged: bool, ask: bool) -> Option<u32> {
    let mut expected = current | WAITERS;
    if aged {
        expected |= HANDOFF;
    }
    if ask {
        expected = expected & !ASKER | me.tag() << ASKER_SHIFT;
    }
    // Acquire: pairs with nothing; it keeps the question that follows behind the tag, see the top of the file.
    (expected == current || word.replace(current, expected, Ordering::Acquire)).then_some(expected)
}

/// Takes back the promise that newcomers will queue, and passes on the wake-up that may have ended our last sleep.
fn give_up<E: Environment>(word: &impl Word, environment: &E) -> Result<Taken, WordFault> {
    for _ in 0..TRIES {
        let current = word.peek();
        if current & HANDOFF == 0 || word.replace(current, current & !HANDOFF, Ordering::Relaxed) {
            // A holder that knows of waiters will wake one; nobody else will.
            if current & OWNER == 0 || current & WAITERS == 0 {
                environment.wake_one();
            }
            break;
        }
    }
    Err(WordFault::TimedOut)
}

/// The word was let go of as if nobody waited, but somebody may sleep.
#[cold]
fn wake_unheard<E: Environment>(me: Slot, environment: &E) {
    // Whoever is woken takes the word with WAITERS, or says anew in the word that it waits.
    environment.wake_one();
    let raised = environment.sleepers().peek();
    for slot in Slot::all().filter(|slot| raised & bit(*slot) != 0) {
        // Our own is left by a predecessor that died; who died while it slept can lower its bit no more either.
        if slot == me || !environment.is_alive(slot) {
            environment.sleepers().lower(bit(slot));
        }
    }
}

/// The bit of a slot among the sleepers.
const fn bit(slot: Slot) -> u32 {
    const { assert!(SLOT_COUNT <= u32::BITS) };
    1 << slot.index()
}

#[cold]
fn release_contended<E: Environment>(word: &impl Word, me: Slot, environment: &E) -> Result<(), WordFault> {
    // An honest peer only ever adds WAITERS and HANDOFF, takes HANDOFF back, or asks, each at most once a slice or a
    // call: a few rounds see them all.
    for _ in 0..TRIES {
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
mod tests;
