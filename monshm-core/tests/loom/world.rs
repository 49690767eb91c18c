//! A world for loom in which the lock word lives: a futex, the kernel's books of who lives, and what the lock guards.
//!
//! The futex is exact: the comparison and the falling asleep are one step against a wake-up, and a sleep without
//! time-outs ends by a wake-up alone, so that loom reports a lost one as a deadlock. A [`Party`] is given by the model
//! how many of its sleeps expire or end for no reason. Of time there is only one event, [`World::let_time_pass`]:
//! sleeps that began before it expire there, later ones at once.

#![allow(unreachable_pub)] // a module of one test binary

use core::time::Duration;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32 as Counter, Ordering::SeqCst};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use monshm_core::Slot;
use monshm_core::lock::word::{self as lock_word, Environment, Taken, Word, WordFault};

pub const OWNER_DIED: u32 = 1 << 29;
pub const HANDOFF: u32 = 1 << 30;
pub const WAITERS: u32 = 1 << 31;

/// How often a model lets something happen that it puts no bound on.
pub const ALWAYS: u32 = u32::MAX;

#[derive(Debug)]
pub struct ModelWord(pub AtomicU32);

impl Word for ModelWord {
    fn peek(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
    fn put(&self, value: u32) {
        // A swap for the store of production: loom forgets that an exchange follows at once on the value that it read,
        // and would put a store of the holder's before an exchange that read what the holder wrote before. It orders
        // no more than the store does.
        self.0.swap(value, Ordering::Release);
    }
    fn raise(&self, bits: u32) {
        self.0.fetch_or(bits, Ordering::Relaxed);
    }
    fn lower(&self, bits: u32) {
        self.0.fetch_and(!bits, Ordering::Relaxed);
    }
    fn replace(&self, current: u32, new: u32, ordering: Ordering) -> bool {
        self.0.compare_exchange(current, new, ordering, Ordering::Relaxed).is_ok()
    }
}

#[derive(Debug)]
struct Gate {
    /// How many wake-ups still reach nobody.
    stolen: u32,
    /// Whether slices pass.
    late: bool,
}

/// What all parties of a model share.
#[derive(Debug)]
pub struct World {
    pub word: ModelWord,
    pub sleepers: ModelWord,
    /// Written only under the lock, plainly: loom reports an access that nothing orders.
    data: UnsafeCell<u32>,
    /// The lock of the futex's queue.
    gate: Mutex<Gate>,
    bell: Condvar,
    /// Bit i: the process behind slot i is gone. A mutex: the kernel's answer is never stale.
    gone: Mutex<u32>,
    /// How many acquisitions were told that the holder died. Not modelled: it must order nothing.
    pub told: Counter,
}

impl World {
    /// A world in which slices pass at once.
    pub fn new(word: u32) -> Self {
        Self {
            word: ModelWord(AtomicU32::new(word)),
            sleepers: ModelWord(AtomicU32::new(0)),
            data: UnsafeCell::new(0),
            gate: Mutex::new(Gate { stolen: 0, late: true }),
            bell: Condvar::new(),
            gone: Mutex::new(0),
            told: Counter::new(0),
        }
    }

    /// A world in which no slice passes before [`World::let_time_pass`].
    pub fn timeless(word: u32) -> Self {
        let world = Self::new(word);
        world.gate.lock().unwrap().late = false;
        world
    }

    /// Every sleep under way expires, and every later one that may.
    pub fn let_time_pass(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.late = true;
        self.bell.notify_all();
    }

    /// Lets the next `count` wake-ups reach nobody.
    pub fn steal_wakes(&self, count: u32) {
        self.gate.lock().unwrap().stolen = count;
    }

    /// The process behind `slot` dies or detaches.
    pub fn leave(&self, slot: Slot) {
        *self.gone.lock().unwrap() |= 1 << slot.index();
    }

    /// A new process takes `slot`, as every process does before its first acquisition.
    pub fn attach(&self, slot: Slot) {
        *self.gone.lock().unwrap() &= !(1 << slot.index());
        lock_word::adopt(&self.word, slot, &Party::new(self, slot));
    }

    /// What a holder does inside.
    pub fn touch(&self) {
        // SAFETY: the pointer is valid for the closure; that nobody else uses it meanwhile is what loom checks here.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    /// How often holders were inside; only for a thread that joined all others or holds the lock.
    pub fn touched(&self) -> u32 {
        // SAFETY: as in `touch`.
        self.data.with(|data| unsafe { *data })
    }

    fn ring(&self, ring: impl Fn(&Condvar)) {
        let mut gate = self.gate.lock().unwrap();
        match gate.stolen.checked_sub(1) {
            Some(left) => gate.stolen = left,
            None => ring(&self.bell),
        }
    }
}

/// One process, as the lock word sees it.
#[derive(Debug)]
pub struct Party<'w> {
    pub world: &'w World,
    pub slot: Slot,
    expiries: Cell<u32>,
    spurious: Cell<u32>,
    looks: Cell<u32>,
}

impl<'w> Party<'w> {
    /// A party that sleeps until it is woken and has no deadline.
    pub fn new(world: &'w World, slot: Slot) -> Self {
        Self { world, slot, expiries: Cell::new(0), spurious: Cell::new(0), looks: Cell::new(ALWAYS) }
    }

    /// `count` of its sleeps expire at once where slices pass; after them it sleeps until it is woken.
    pub fn expiring(self, count: u32) -> Self {
        self.expiries.set(count);
        self
    }

    /// The first `count` sleeps end for no reason.
    pub fn spurious(self, count: u32) -> Self {
        self.spurious.set(count);
        self
    }

    /// The deadline has passed after `count` looks at the clock.
    pub fn until_look(self, count: u32) -> Self {
        self.looks.set(count);
        self
    }

    pub fn acquire(&self) -> Result<Taken, WordFault> {
        lock_word::acquire(&self.world.word, self.slot, self).inspect(|taken| self.note(*taken))
    }

    pub fn try_acquire(&self) -> Result<Option<Taken>, WordFault> {
        let taken = lock_word::try_acquire(&self.world.word, self.slot)?;
        Ok(taken.inspect(|taken| self.note(*taken)))
    }

    pub fn acquire_now(&self) -> bool {
        lock_word::acquire_now(&self.world.word, self.slot)
    }

    pub fn release(&self) -> Result<(), WordFault> {
        lock_word::release(&self.world.word, self.slot, self)
    }

    /// In, and out again.
    pub fn pass(&self) -> Taken {
        let taken = self.acquire().unwrap();
        self.world.touch();
        self.release().unwrap();
        taken
    }

    fn note(&self, taken: Taken) {
        if taken == Taken::OwnerDied {
            self.world.told.fetch_add(1, SeqCst);
        }
    }
}

fn take_one(left: &Cell<u32>) -> bool {
    let some = left.get() > 0;
    if left.get() != ALWAYS && some {
        left.set(left.get() - 1);
    }
    some
}

impl Environment for Party<'_> {
    const SPINS: u32 = 0;

    fn sleepers(&self) -> &impl Word {
        &self.world.sleepers
    }

    fn barrier(&self) {
        fence(Ordering::SeqCst);
    }

    fn settle(&self) {
        fence(Ordering::SeqCst);
    }

    fn wait(&self, expected: u32, _: Duration) -> bool {
        let gate = self.world.gate.lock().unwrap();
        if self.world.word.peek() != expected || take_one(&self.spurious) {
            return false;
        }
        if gate.late {
            if take_one(&self.expiries) {
                return true;
            }
            drop(self.world.bell.wait(gate).unwrap());
            return false;
        }
        let gate = self.world.bell.wait(gate).unwrap();
        gate.late
    }

    fn wake_one(&self) {
        self.world.ring(Condvar::notify_one);
    }

    fn wake_all(&self) {
        self.world.ring(Condvar::notify_all);
    }

    fn remaining(&self) -> Option<Duration> {
        take_one(&self.looks).then_some(Duration::MAX)
    }

    fn is_alive(&self, slot: Slot) -> bool {
        *self.world.gone.lock().unwrap() & 1 << slot.index() == 0
    }
}
