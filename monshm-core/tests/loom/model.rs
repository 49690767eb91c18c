//! What a loom model of the lock word shares: a futex, who lives as the kernel reports it, and what the lock guards.
//!
//! The futex is exact: the comparison and the falling asleep are one step against a wake-up, and a sleep without
//! time-outs ends by a wake-up alone, so that loom reports a lost one as a deadlock. A [`Party`] is given by the test
//! how many of its sleeps expire or end for no reason. Of time there is only one event, [`Model::let_time_pass`]:
//! sleeps that began before it expire there, later ones at once.

#![allow(unreachable_pub)] // a module of one test binary

use core::time::Duration;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32 as Counter, Ordering::SeqCst};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use monshm_core::lock::word::{self, WaitContext, Word};
use monshm_core::{ErrorKind, PreviousHolder, Slot};

pub const OWNER_DIED: u32 = 1 << 29;
pub const HANDOFF: u32 = 1 << 30;
pub const WAITERS: u32 = 1 << 31;

/// How often a model lets something happen that it puts no bound on.
pub const ALWAYS: u32 = u32::MAX;

#[derive(Debug)]
pub struct ModelWord(pub AtomicU32);

impl Word for ModelWord {
    fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }
    fn store(&self, value: u32, order: Ordering) {
        // A swap for the store of production: loom forgets that an exchange follows at once on the value that it read,
        // and would put a store of the holder's before an exchange that read what the holder wrote before. It orders
        // no more than the store does.
        self.0.swap(value, order);
    }
    fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_or(bits, order)
    }
    fn fetch_and(&self, mask: u32, order: Ordering) -> u32 {
        self.0.fetch_and(mask, order)
    }
    fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        self.0.compare_exchange(current, new, success, failure)
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
pub struct Model {
    pub word: ModelWord,
    pub sleepers: ModelWord,
    /// Written only under the lock, plainly: loom reports an access that nothing orders.
    data: UnsafeCell<u32>,
    /// The lock of the futex's queue.
    gate: Mutex<Gate>,
    bell: Condvar,
    /// Bit i: the process behind slot i is gone. A mutex: the kernel's answer is never stale.
    gone: Mutex<u32>,
    /// To how many acquisitions the death of a holder was reported. Not modelled: it must order nothing.
    pub deaths: Counter,
}

impl Model {
    /// A model in which slices pass at once.
    pub fn new(word: u32) -> Self {
        Self {
            word: ModelWord(AtomicU32::new(word)),
            sleepers: ModelWord(AtomicU32::new(0)),
            data: UnsafeCell::new(0),
            gate: Mutex::new(Gate { stolen: 0, late: true }),
            bell: Condvar::new(),
            gone: Mutex::new(0),
            deaths: Counter::new(0),
        }
    }

    /// A model in which no slice passes before [`Model::let_time_pass`].
    pub fn timeless(word: u32) -> Self {
        let model = Self::new(word);
        model.gate.lock().unwrap().late = false;
        model
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
        word::adopt(&self.word, slot, &Party::new(self, slot));
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
    pub model: &'w Model,
    pub slot: Slot,
    expiries: Cell<u32>,
    spurious: Cell<u32>,
    polls: Cell<u32>,
}

impl<'w> Party<'w> {
    /// A party that sleeps until it is woken and has no deadline.
    pub fn new(model: &'w Model, slot: Slot) -> Self {
        Self { model, slot, expiries: Cell::new(0), spurious: Cell::new(0), polls: Cell::new(ALWAYS) }
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

    /// The deadline has passed after the clock was read `count` times.
    pub fn until_poll(self, count: u32) -> Self {
        self.polls.set(count);
        self
    }

    pub fn acquire(&self) -> Result<PreviousHolder, ErrorKind> {
        word::acquire(&self.model.word, self.slot, self).inspect(|taken| self.note(*taken))
    }

    pub fn try_acquire(&self) -> Result<Option<PreviousHolder>, ErrorKind> {
        let taken = word::try_acquire(&self.model.word, self.slot)?;
        Ok(taken.inspect(|taken| self.note(*taken)))
    }

    pub fn acquire_now(&self) -> bool {
        word::acquire_now(&self.model.word, self.slot)
    }

    pub fn release(&self) -> Result<(), ErrorKind> {
        word::release(&self.model.word, self.slot, self)
    }

    pub fn release_unrepaired(&self) -> Result<(), ErrorKind> {
        word::release_unrepaired(&self.model.word, self.slot, self)
    }

    /// In, and out again.
    pub fn pass(&self) -> PreviousHolder {
        let taken = self.acquire().unwrap();
        self.model.touch();
        self.release().unwrap();
        taken
    }

    fn note(&self, taken: PreviousHolder) {
        if taken == PreviousHolder::Died {
            self.model.deaths.fetch_add(1, SeqCst);
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

impl WaitContext for Party<'_> {
    const SPINS: bool = false;

    fn sleepers(&self) -> &impl Word {
        &self.model.sleepers
    }

    fn heavy_fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn light_fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn park(&self, expected: u32, _: Duration) -> bool {
        let gate = self.model.gate.lock().unwrap();
        if self.model.word.load(Ordering::Relaxed) != expected || take_one(&self.spurious) {
            return false;
        }
        if gate.late {
            if take_one(&self.expiries) {
                return true;
            }
            drop(self.model.bell.wait(gate).unwrap());
            return false;
        }
        let gate = self.model.bell.wait(gate).unwrap();
        gate.late
    }

    fn unpark_one(&self) {
        self.model.ring(Condvar::notify_one);
    }

    fn unpark_all(&self) {
        self.model.ring(Condvar::notify_all);
    }

    fn remaining(&self) -> Option<Duration> {
        take_one(&self.polls).then_some(Duration::MAX)
    }

    fn is_alive(&self, slot: Slot) -> bool {
        *self.model.gone.lock().unwrap() & 1 << slot.index() == 0
    }
}
