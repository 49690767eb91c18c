//! The lock word while nobody else moves: every state, every answer, every deadline.
//!
//! What parties do to each other at the same time is `tests/loom.rs`'s.

extern crate std;

use std::cell::{Cell, RefCell};
use std::vec::Vec;

use super::*;
use crate::layout::SLOT_COUNT;

/// A context in which nobody else moves: waits take their slice at once.
#[derive(Default)]
struct Alone {
    waited: RefCell<Vec<Duration>>,
    woken_one: Cell<u32>,
    woken_all: Cell<u32>,
    dead: Option<u32>,
    budget: Cell<u32>,
    sleepers: AtomicU32,
    /// No slice passes: every wait is ended by a wake-up that is for nothing.
    restless: bool,
}

impl WaitContext for Alone {
    const SPINS: bool = true;
    fn sleepers(&self) -> &impl Word {
        &self.sleepers
    }
    fn heavy_fence(&self) {}
    fn light_fence(&self) {}
    fn park(&self, _: u32, slice: Duration) -> bool {
        self.waited.borrow_mut().push(slice);
        !self.restless
    }
    fn unpark_one(&self) {
        self.woken_one.set(self.woken_one.get() + 1);
    }
    fn unpark_all(&self) {
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

/// A word that counts how often a promise was asked for.
struct Watched {
    word: AtomicU32,
    promises: Cell<u32>,
}

impl Word for Watched {
    fn load(&self, order: Ordering) -> u32 {
        self.word.load(order)
    }
    fn store(&self, value: u32, order: Ordering) {
        self.word.store(value, order);
    }
    fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.word.fetch_or(bits, order)
    }
    fn fetch_and(&self, mask: u32, order: Ordering) -> u32 {
        self.word.fetch_and(mask, order)
    }
    fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        let promises = u32::from(new & !current & HANDOFF != 0);
        self.promises.set(self.promises.get() + promises);
        self.word.compare_exchange(current, new, success, failure)
    }
}

const ME: Slot = Slot::CREATOR;

fn peer() -> Slot {
    Slot::new(5).unwrap()
}

#[test]
fn a_live_holder_is_waited_for_until_the_deadline_in_growing_slices() {
    let word = AtomicU32::new(peer().tag());
    let context = Alone { budget: Cell::new(20), ..Alone::default() };
    assert_eq!(acquire(&word, ME, &context), Err(TIMED_OUT));
    let waited = context.waited.borrow();
    assert_eq!(waited[..6].iter().map(Duration::as_millis).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 20]);
    assert_eq!(word.load(Ordering::Relaxed) & HANDOFF, 0, "the promise is taken back");
}

#[test]
fn a_dead_holder_is_found_after_one_slice_and_reported_once() {
    let word = AtomicU32::new(peer().tag());
    let context = Alone { budget: Cell::new(20), dead: Some(5), ..Alone::default() };
    assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Died));
    assert_eq!(context.waited.borrow().len(), 1);
    assert_eq!(release(&word, ME, &context), Ok(()));
    assert_eq!(try_acquire(&word, ME), Ok(Some(PreviousHolder::Released)));
}

#[test]
fn an_unrepaired_release_reports_the_death_again_and_wakes_as_any_release() {
    for (flags, left, one, all) in [
        (0, 0, 0, 0),
        (WAITERS, 0, 1, 0),
        (WAITERS | HANDOFF, WAITERS | HANDOFF, 0, 1),
        (HANDOFF, WAITERS | HANDOFF, 0, 1),
    ] {
        let word = AtomicU32::new(ME.tag() | flags);
        let context = Alone { budget: Cell::new(20), ..Alone::default() };
        assert_eq!(release_unrepaired(&word, ME, &context), Ok(()));
        assert_eq!(word.load(Ordering::Relaxed), OWNER_DIED | left, "{flags:#x}");
        assert_eq!((context.woken_one.get(), context.woken_all.get()), (one, all), "{flags:#x}");
        assert!(!acquire_now(&word, ME), "the fast path reports no death, so it takes nothing");
        assert_eq!(try_acquire(&word, peer()), Ok(Some(PreviousHolder::Died)), "{flags:#x}");
        assert_eq!(release_unrepaired(&word, ME, &context), Err(CORRUPT), "another one holds it");
    }
}

#[test]
fn a_dead_holder_is_found_however_short_the_deadline() {
    for budget in 0..3 {
        let word = AtomicU32::new(peer().tag());
        let context = Alone { budget: Cell::new(budget), dead: Some(5), ..Alone::default() };
        assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Died), "{budget}");
    }
}

#[test]
fn a_free_word_is_taken_however_short_the_deadline_and_a_promised_one_after_a_wait() {
    for (value, budget, taken) in [
        (FREE, 0, Ok(PreviousHolder::Released)),
        (WAITERS, 0, Ok(PreviousHolder::Released)),
        (HANDOFF | WAITERS, 0, Err(TIMED_OUT)),
        (HANDOFF | WAITERS, 1, Ok(PreviousHolder::Released)),
    ] {
        let word = AtomicU32::new(value);
        let context = Alone { budget: Cell::new(budget), ..Alone::default() };
        assert_eq!(acquire(&word, ME, &context), taken, "{value:#x} {budget}");
        let owner = if taken.is_ok() { ME.tag() } else { 0 };
        assert_eq!(word.load(Ordering::Relaxed), owner | value & WAITERS, "{value:#x} {budget}");
    }
}

#[test]
fn wake_ups_for_nothing_do_not_hide_a_dead_holder() {
    let word = AtomicU32::new(peer().tag());
    let context = Alone { budget: Cell::new(1000), dead: Some(5), restless: true, ..Alone::default() };
    assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Died));
    assert_eq!(context.waited.borrow().len() as u32, VAIN_WAKES);
}

#[test]
fn a_waiter_that_was_passed_by_again_and_again_is_promised_the_lock() {
    let word = Watched { word: AtomicU32::new(peer().tag()), promises: Cell::new(0) };
    let context = Alone { restless: true, ..Alone::default() };
    for (budget, promises) in [(VAIN_WAKES - 1, 0), (VAIN_WAKES, 1)] {
        context.budget.set(budget);
        word.promises.set(0);
        assert_eq!(acquire(&word, ME, &context), Err(TIMED_OUT));
        assert_eq!(word.promises.get(), promises);
    }
}

#[test]
fn every_end_of_a_hold_clears_the_asker() {
    let asked = |owner: Slot| owner.tag() | WAITERS | HANDOFF | peer().tag() << ASKER_SHIFT;
    let context = Alone { budget: Cell::new(20), dead: Some(5), ..Alone::default() };
    let word = AtomicU32::new(asked(ME));
    release(&word, ME, &context).unwrap();
    assert_eq!(word.load(Ordering::Relaxed), HANDOFF | WAITERS);
    let word = AtomicU32::new(asked(ME));
    adopt(&word, ME, &context);
    assert_eq!(word.load(Ordering::Relaxed), OWNER_DIED | HANDOFF | WAITERS);
    let word = AtomicU32::new(asked(peer()));
    assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Died));
    assert_eq!(word.load(Ordering::Relaxed), ME.tag() | WAITERS);
}

#[test]
fn a_waiter_that_gives_up_wakes_the_next_unless_a_holder_will() {
    for (value, wakes) in [(FREE, 1), (HANDOFF | WAITERS, 1), (peer().tag(), 1), (peer().tag() | WAITERS | HANDOFF, 0)]
    {
        let word = AtomicU32::new(value);
        let context = Alone::default();
        assert_eq!(give_up(&word, &context), Err(TIMED_OUT));
        assert_eq!((word.load(Ordering::Relaxed), context.woken_one.get()), (value & !HANDOFF, wakes), "{value:#x}");
    }
}

#[test]
fn a_process_that_takes_a_dead_holders_slot_sets_the_lock_free_and_marks_it() {
    let word = AtomicU32::new(peer().tag() | WAITERS);
    let context = Alone::default();
    adopt(&word, ME, &context);
    assert_eq!(word.load(Ordering::Relaxed), peer().tag() | WAITERS, "another slot's lock is left alone");
    adopt(&word, peer(), &context);
    assert_eq!(context.woken_all.get(), 1);
    assert!(!acquire_now(&word, ME));
    assert_eq!(try_acquire(&word, ME), Ok(Some(PreviousHolder::Died)));
}

#[test]
fn a_promise_lets_the_old_waiter_through_and_keeps_the_newcomer_back() {
    let word = AtomicU32::new(ME.tag() | WAITERS | HANDOFF);
    let context = Alone { budget: Cell::new(20), ..Alone::default() };
    release(&word, ME, &context).unwrap();
    assert_eq!(context.woken_all.get(), 1);
    assert!(!acquire_now(&word, ME), "a newcomer queues");
    assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Released));
    assert_eq!(context.waited.borrow().len(), 1, "after a slice it is an old waiter itself");
    assert_eq!(word.load(Ordering::Relaxed), ME.tag() | WAITERS);
}

#[test]
fn a_try_takes_a_free_word_and_keeps_its_flags() {
    for value in [FREE, WAITERS, HANDOFF | WAITERS] {
        let word = AtomicU32::new(value);
        assert_eq!(try_acquire(&word, ME), Ok(Some(PreviousHolder::Released)), "{value:#x}");
        assert_eq!(word.load(Ordering::Relaxed), ME.tag() | value & WAITERS);
        assert_eq!(try_acquire(&word, peer()), Ok(None));
    }
}

/// A word that shows the same value to each load and changes before each exchange.
struct Fleeting(u32);

impl Word for Fleeting {
    fn load(&self, _: Ordering) -> u32 {
        self.0
    }
    fn store(&self, _: u32, _: Ordering) {}
    fn fetch_or(&self, _: u32, _: Ordering) -> u32 {
        self.0
    }
    fn fetch_and(&self, _: u32, _: Ordering) -> u32 {
        self.0
    }
    fn compare_exchange(&self, _: u32, _: u32, _: Ordering, _: Ordering) -> Result<u32, u32> {
        Err(self.0)
    }
}

#[test]
fn a_word_that_never_holds_still_detains_nobody() {
    for value in [FREE, HANDOFF | WAITERS, peer().tag(), ME.tag(), ME.tag() | WAITERS, OWNER_DIED] {
        let context = Alone { budget: Cell::new(1000), dead: Some(5), ..Alone::default() };
        let word = Fleeting(value);
        assert_eq!(acquire(&word, ME, &context).err(), Some(TIMED_OUT), "{value:#x}");
        assert_eq!(context.budget.get(), 0);
        assert_eq!(try_acquire(&word, ME).ok().flatten(), None);
        // A word that says that we hold it, and nothing else, takes a store, which cannot fail.
        assert_eq!(release(&word, ME, &context).is_ok(), value == ME.tag());
        adopt(&word, ME, &context);
    }
}

/// A word of which one exchange fails: another waiter was faster.
struct Contended {
    word: AtomicU32,
    failed: Cell<bool>,
}

impl Word for Contended {
    fn load(&self, order: Ordering) -> u32 {
        self.word.load(order)
    }
    fn store(&self, value: u32, order: Ordering) {
        self.word.store(value, order);
    }
    fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.word.fetch_or(bits, order)
    }
    fn fetch_and(&self, mask: u32, order: Ordering) -> u32 {
        self.word.fetch_and(mask, order)
    }
    fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        if self.failed.replace(true) {
            self.word.compare_exchange(current, new, success, failure)
        } else {
            Err(current)
        }
    }
}

#[test]
fn a_waiter_that_gives_up_takes_its_promise_back_though_others_write_the_word() {
    let word = Contended { word: AtomicU32::new(peer().tag() | WAITERS | HANDOFF), failed: Cell::new(false) };
    assert_eq!(give_up(&word, &Alone::default()), Err(TIMED_OUT));
    assert_eq!(word.load(Ordering::Relaxed), peer().tag() | WAITERS, "newcomers would queue behind nobody");
}

#[test]
fn every_word_is_either_a_state_or_corrupt() {
    let context = Alone { budget: Cell::new(u32::MAX), dead: Some(0), ..Alone::default() };
    let flags = [
        0,
        WAITERS,
        HANDOFF,
        OWNER_DIED,
        WAITERS | HANDOFF,
        WAITERS | HANDOFF | OWNER_DIED,
        1 << 28,
        1 << 22,
        1 << ASKER_SHIFT,
        SLOT_COUNT << ASKER_SHIFT,
        (SLOT_COUNT + 1) << ASKER_SHIFT,
        ASKER,
    ];
    for tag in (0..=SLOT_COUNT + 1).chain([0x7fff, 0xffff]) {
        for flag in flags {
            let value = tag | flag;
            let sane = tag <= SLOT_COUNT
                && flag & (1 << 28 | 1 << 22) == 0
                && (flag & ASKER == 0 || tag != 0 && flag & ASKER <= SLOT_COUNT << ASKER_SHIFT)
                && (flag & OWNER_DIED == 0 || tag == 0);
            assert_eq!(owner(value).is_ok(), sane, "{value:#x}");
            if !sane {
                let word = AtomicU32::new(value);
                assert_eq!(try_acquire(&word, ME), Err(CORRUPT));
                assert_eq!(acquire(&word, ME, &context), Err(CORRUPT));
            }
            let word = AtomicU32::new(value);
            let held = tag == ME.tag() && sane;
            assert_eq!(release(&word, ME, &context).is_ok(), held, "{value:#x}");
        }
    }
}

#[test]
fn a_holder_that_saw_no_flags_still_wakes_a_waiter_whose_bit_is_set() {
    let word = AtomicU32::new(ME.tag());
    let (asleep, dead, before_us) = (1 << 7, 1 << 5, 1 << ME.index());
    let sleepers = AtomicU32::new(asleep | dead | before_us);
    let context = Alone { sleepers, dead: Some(5), ..Alone::default() };
    assert_eq!(release(&word, ME, &context), Ok(()));
    assert_eq!((word.load(Ordering::Relaxed), context.woken_one.get()), (FREE, 1));
    assert_eq!(context.sleepers.load(Ordering::Relaxed), asleep, "the dead sleep no more");
    context.sleepers.fetch_and(!asleep, Ordering::Relaxed);
    assert!(acquire_now(&word, ME));
    assert_eq!(release(&word, ME, &context), Ok(()));
    assert_eq!(context.woken_one.get(), 1, "nobody says so any more");
}

#[test]
fn a_waiter_that_gives_up_clears_its_bit() {
    for (value, outcome) in [(peer().tag(), Err(TIMED_OUT)), (1 << 28, Err(CORRUPT))] {
        let word = AtomicU32::new(value);
        let context = Alone { budget: Cell::new(20), ..Alone::default() };
        assert_eq!(acquire(&word, ME, &context), outcome);
        assert_eq!(context.sleepers.load(Ordering::Relaxed), 0);
    }
}

/// The context in which the holder releases at the moment of the waiter's heavy fence, by a store that wipes out its
/// flags.
struct Released<'a> {
    word: &'a AtomicU32,
    alone: Alone,
}

impl WaitContext for Released<'_> {
    const SPINS: bool = false;
    fn sleepers(&self) -> &impl Word {
        &self.alone.sleepers
    }
    fn heavy_fence(&self) {
        assert_eq!(self.alone.sleepers.load(Ordering::Relaxed), 1 << ME.index(), "set before the fence");
        self.word.store(FREE, Ordering::Release);
    }
    fn light_fence(&self) {}
    fn park(&self, expected: u32, slice: Duration) -> bool {
        self.alone.park(expected, slice)
    }
    fn unpark_one(&self) {}
    fn unpark_all(&self) {}
    fn remaining(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }
    fn is_alive(&self, _: Slot) -> bool {
        true
    }
}

#[test]
fn a_waiter_whose_flags_were_wiped_out_does_not_go_to_sleep() {
    let word = AtomicU32::new(peer().tag());
    let context = Released { word: &word, alone: Alone::default() };
    assert_eq!(acquire(&word, ME, &context), Ok(PreviousHolder::Released));
    assert_eq!(context.alone.waited.borrow().len(), 0);
    assert_eq!(context.alone.sleepers.load(Ordering::Relaxed), 0, "and cleared again");
}
