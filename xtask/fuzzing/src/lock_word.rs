//! The state machine of the lock word, with a word that changes between any two accesses as the input says, and with
//! slots that live or are dead as it says.
//!
//! Checked: each call ends, soon after its deadline if it has passed; an answer is one of those documented; a word
//! that no holder writes is never taken for a state. Who sleeps and wakes when is for the loom models.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;
use std::time::Duration;

use monshm_core::lock::word::{self, CORRUPT, TIMED_OUT, WaitContext, Word};
use monshm_core::{PreviousHolder, Slot};

use crate::input::Input;

/// How often a call may touch the word once its deadline has passed.
const LATE_ACCESSES: u32 = 256;

/// How often at most it may touch the word, spinning and waiting together.
const ALL_ACCESSES: u32 = 100_000;

/// Where a hostile peer's writes come from, and how far the call has come.
struct World<'a> {
    input: RefCell<Input<'a>>,
    /// Time left, in nanoseconds.
    left: Cell<Option<u64>>,
    accesses: Cell<u32>,
    late: Cell<u32>,
    sleepers: HostileWord<'a>,
}

/// A word that others write.
struct HostileWord<'a> {
    value: Cell<u32>,
    /// What the last load found.
    seen: Cell<u32>,
    world: Cell<Option<&'a World<'a>>>,
}

impl HostileWord<'_> {
    /// One access: the word may have changed just before it.
    fn touch(&self) {
        let Some(world) = self.world.get() else { return };
        world.accesses.set(world.accesses.get() + 1);
        assert!(world.accesses.get() < ALL_ACCESSES, "the call does not end");
        if world.left.get().is_none() {
            world.late.set(world.late.get() + 1);
            assert!(world.late.get() < LATE_ACCESSES, "the call does not end after its deadline");
        }
        let mut input = world.input.borrow_mut();
        let value = self.value.get();
        self.value.set(match input.byte() {
            0..192 => value,
            192..200 => 0,
            200..208 => u32::from(input.byte()) % 40,
            208..216 => value ^ 1 << input.below(32),
            216..224 => value & 0xFFFF | 1 << 31,
            224..232 => 1 << 29 | u32::from(input.byte()) << 24,
            232..240 => value & !0xFFFF | (1 + input.below(33) as u32),
            _ => input.word() as u32,
        });
    }
}

impl Word for HostileWord<'_> {
    fn load(&self, _: Ordering) -> u32 {
        self.touch();
        self.seen.set(self.value.get());
        self.value.get()
    }

    fn store(&self, value: u32, _: Ordering) {
        self.touch();
        self.value.set(value);
    }

    fn fetch_or(&self, bits: u32, _: Ordering) -> u32 {
        self.touch();
        self.value.replace(self.value.get() | bits)
    }

    fn fetch_and(&self, mask: u32, _: Ordering) -> u32 {
        self.touch();
        self.value.replace(self.value.get() & mask)
    }

    fn compare_exchange(&self, current: u32, new: u32, _: Ordering, _: Ordering) -> Result<u32, u32> {
        self.touch();
        let found = self.value.get();
        if found == current {
            self.value.set(new);
            Ok(found)
        } else {
            Err(found)
        }
    }
}

impl WaitContext for &World<'_> {
    const SPINS: bool = true;

    fn sleepers(&self) -> &impl Word {
        &self.sleepers
    }

    fn heavy_fence(&self) {}

    fn light_fence(&self) {}

    fn park(&self, _: u32, slice: Duration) -> bool {
        assert!(slice <= word::LAST_SLICE, "a sleep is not sliced");
        // A wake-up takes some time as well, or a stream of them would stop the clock.
        let woken = self.input.borrow_mut().byte() & 1 == 1;
        let passed = if woken { 10_000 } else { slice.as_nanos() as u64 };
        self.left.set(self.left.get().and_then(|left| left.checked_sub(passed.max(1))));
        !woken
    }

    fn unpark_one(&self) {}

    fn unpark_all(&self) {}

    fn remaining(&self) -> Option<Duration> {
        // Time passes in a call that does not sleep, too.
        self.left.set(self.left.get().and_then(|left| left.checked_sub(100)));
        self.left.get().map(Duration::from_nanos)
    }

    fn is_alive(&self, _: Slot) -> bool {
        self.input.borrow_mut().byte() & 1 == 0
    }
}

/// Runs `input`.
pub fn run(input: &[u8]) {
    let mut start = Input::new(input);
    let me = Slot::new(start.below(32) as u32).unwrap();
    let first = if start.byte() & 1 == 0 { 0 } else { start.word() as u32 };
    let sleepers = start.word() as u32;
    let word_of = |value| HostileWord { value: Cell::new(value), seen: Cell::new(0), world: Cell::new(None) };
    let world = World {
        input: RefCell::new(start),
        left: Cell::new(None),
        accesses: Cell::new(0),
        late: Cell::new(0),
        sleepers: word_of(sleepers),
    };
    let word = word_of(first);
    make_calls(&world, &word, me);
}

fn make_calls<'a>(world: &'a World<'a>, word: &HostileWord<'a>, me: Slot) {
    // The sleepers' word stays as it is set between calls: a cycle of borrows would keep the world alive.
    word.world.set(Some(world));
    let context = &world;
    while !world.input.borrow().is_empty() {
        let (what, time) = {
            let mut input = world.input.borrow_mut();
            (input.byte(), input.half())
        };
        world.left.set((what & 0x80 != 0).then_some(u64::from(time) * 1000));
        world.accesses.set(0);
        world.late.set(0);
        if what & 0x40 != 0 {
            let bits = world.input.borrow_mut().word() as u32;
            world.sleepers.value.set(bits);
        }
        match what % 5 {
            0 => {
                let before = word.value.get();
                if word::acquire_now(word, me) {
                    assert_eq!(word.value.get(), me.tag(), "{before:#x}");
                }
            }
            1 => match word::try_acquire(word, me) {
                Ok(Some(_)) => assert_eq!(word.value.get() & 0xFFFF, me.tag()),
                Ok(None) => {}
                Err(fault) => assert_eq!((fault, word::owner(word.seen.get())), (CORRUPT, Err(CORRUPT))),
            },
            2 => match word::acquire(word, me, context) {
                Ok(PreviousHolder::Released | PreviousHolder::Died) => assert_eq!(word.value.get() & 0xFFFF, me.tag()),
                Err(TIMED_OUT) => assert!(world.left.get().is_none(), "there was time left"),
                Err(fault) => assert_eq!((fault, word::owner(word.seen.get())), (CORRUPT, Err(CORRUPT))),
            },
            3 => {
                let release = if what & 0x20 == 0 { word::release } else { word::release_unrepaired };
                let answer = release(word, me, context);
                assert!(matches!(answer, Ok(()) | Err(CORRUPT)), "{answer:?}");
            }
            _ => word::adopt(word, me, context),
        }
        judge(word.value.get());
    }
    word.world.set(None);
}

/// What a word means, written a second time.
fn judge(value: u32) {
    let (tag, asker) = (value & 0xFFFF, value >> 16 & 0x3F);
    let state = value & 0x1FC0_0000 == 0
        && tag <= 32
        && asker <= 32
        && (tag == 0 || value & 1 << 29 == 0)
        && (asker == 0 || tag != 0);
    assert_eq!(word::owner(value).is_ok(), state, "{value:#010x}");
    if let Ok(owner) = word::owner(value) {
        assert_eq!(owner.map(Slot::tag).unwrap_or(0), tag);
    }
}
