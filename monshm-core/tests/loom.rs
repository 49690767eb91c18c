//! The lock word under every interleaving that loom knows: exclusion, publication, wake-ups, hand-off, death.
//!
//! Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p monshm-core --release --test loom`; two
//! preemptions are allowed when the variable is not set. loom knows no load buffering and treats SeqCst as AcqRel; the
//! lock word uses neither. It does not model time: that slices pass is the lock word's unit tests' part.
#![cfg(loom)]

#[path = "loom/world.rs"]
mod world;

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::Arc;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread::{JoinHandle, spawn};
use monshm_core::lock::word::{self, TIMED_OUT, Word};
use monshm_core::{PreviousHolder, Slot};
use world::{ALWAYS, HANDOFF, OWNER_DIED, Party, WAITERS, World};

/// Explores `body` with the preemptions that `LOOM_MAX_PREEMPTIONS` allows, else with two.
fn check(body: impl Fn() + Sync + Send + 'static) {
    check_within(0..=usize::MAX, body);
}

/// As [`check`], for a body that shows nothing with fewer preemptions than `bounds` or takes minutes with more.
fn check_within(bounds: RangeInclusive<usize>, body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    let asked = model.preemption_bound.unwrap_or(2);
    model.preemption_bound = Some(asked.clamp(*bounds.start(), *bounds.end()));
    model.max_branches = 10_000;
    model.check(body);
}

fn slot(index: u32) -> Slot {
    Slot::new(index).unwrap()
}

fn start<T: 'static>(world: &Arc<World>, body: impl FnOnce(&World) -> T + 'static) -> JoinHandle<T> {
    let world = Arc::clone(world);
    spawn(move || body(&world))
}

fn told(world: &World) -> u32 {
    world.told.load(SeqCst)
}

#[test]
fn two_parties_exclude_each_other_and_neither_is_lost() {
    check(|| {
        let world = Arc::new(World::new(0));
        let other = start(&world, |world| {
            let party = Party::new(world, slot(1));
            party.pass();
            party.pass();
        });
        Party::new(&world, slot(0)).pass();
        other.join().unwrap();
        assert_eq!((world.touched(), world.word.load(Relaxed) & !WAITERS), (3, 0));
    });
}

#[test]
fn three_parties_exclude_each_other_and_none_is_lost() {
    check(|| {
        let world = Arc::new(World::new(0));
        let others = [1, 2].map(|index| start(&world, move |world| Party::new(world, slot(index)).pass()));
        Party::new(&world, slot(0)).pass();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(world.touched(), 3);
    });
}

#[test]
fn the_fast_path_publishes_what_was_written_inside() {
    check(|| {
        let world = Arc::new(World::new(0));
        let pass_now = |world: &World, index| {
            let party = Party::new(world, slot(index));
            if party.acquire_now() {
                world.touch();
                party.release().unwrap();
            }
        };
        let other = start(&world, move |world| pass_now(world, 1));
        pass_now(&world, 0);
        other.join().unwrap();
    });
}

#[test]
fn a_try_beside_a_waiter_sees_what_was_written_inside() {
    check(|| {
        let world = Arc::new(World::new(0));
        let party = Party::new(&world, slot(0));
        assert!(party.acquire_now());
        let waiter = start(&world, |world| Party::new(world, slot(1)).pass());
        let trier = start(&world, |world| {
            let party = Party::new(world, slot(2));
            if party.try_acquire().unwrap().is_some() {
                world.touch();
                party.release().unwrap();
            }
        });
        world.touch();
        party.release().unwrap();
        waiter.join().unwrap();
        trier.join().unwrap();
    });
}

#[test]
fn a_wait_that_ends_for_no_reason_is_taken_up_again() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag()));
        let others = [1, 2].map(|index| start(&world, move |world| Party::new(world, slot(index)).spurious(2).pass()));
        world.touch();
        Party::new(&world, slot(0)).release().unwrap();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(world.touched(), 3);
    });
}

/// Slot 0 holds; slot 1 waits a slice and then without end; slot 2 comes new.
#[test]
fn a_newcomer_does_not_pass_who_was_promised_the_lock() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag()));
        let order_of = |world: &World, party: Party<'_>| {
            party.acquire().unwrap();
            world.touch();
            let order = world.touched();
            party.release().unwrap();
            order
        };
        let old = start(&world, move |world| order_of(world, Party::new(world, slot(1)).expiring(1)));
        let newcomer = start(&world, move |world| order_of(world, Party::new(world, slot(2))));
        world.touch();
        let promised = world.word.load(Relaxed) & HANDOFF != 0;
        Party::new(&world, slot(0)).release().unwrap();
        let orders = (old.join().unwrap(), newcomer.join().unwrap());
        assert!(!promised || orders == (2, 3), "{orders:?}");
    });
}

#[test]
fn who_gives_up_leaves_neither_the_promise_nor_a_sleeper_behind() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag()));
        let hasty = start(&world, |world| {
            let party = Party::new(world, slot(1)).expiring(1).until_look(1);
            if party.acquire().is_ok() {
                party.release().unwrap();
            }
        });
        let patient = start(&world, |world| Party::new(world, slot(2)).pass());
        Party::new(&world, slot(0)).release().unwrap();
        hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(world.word.load(Relaxed) & HANDOFF, 0);
    });
}

/// The hasty one sleeps untimed, is woken, and finds its deadline passed: the only wake-up was its own.
#[test]
fn a_wake_up_that_comes_with_the_deadline_is_used_or_passed_on() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag()));
        let hasty = start(&world, |world| {
            let party = Party::new(world, slot(1)).until_look(1);
            if party.acquire().is_ok() {
                party.release().unwrap();
            }
        });
        let patient = start(&world, |world| Party::new(world, slot(2)).pass());
        let party = Party::new(&world, slot(0));
        party.release().unwrap();
        if party.acquire_now() {
            party.release().unwrap();
        }
        hasty.join().unwrap();
        patient.join().unwrap();
    });
}

#[test]
fn a_live_holder_is_never_robbed() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag()));
        let waiter = start(&world, |world| {
            let party = Party::new(world, slot(1)).expiring(ALWAYS).until_look(3);
            party.acquire().inspect(|_| {
                world.touch();
                party.release().unwrap();
            })
        });
        world.touch();
        Party::new(&world, slot(0)).release().unwrap();
        let taken = waiter.join().unwrap();
        assert!(matches!(taken, Ok(PreviousHolder::Released) | Err(TIMED_OUT)), "{taken:?}");
    });
}

#[test]
fn a_dead_holder_is_taken_over_by_one_of_two_and_told_of_once() {
    check(|| {
        let world = Arc::new(World::timeless(slot(0).tag()));
        let others = [1, 2].map(|index| start(&world, move |world| Party::new(world, slot(index)).expiring(1).pass()));
        world.touch();
        world.leave(slot(0));
        world.let_time_pass();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((world.touched(), told(&world)), (3, 1));
    });
}

#[test]
fn a_try_after_a_dead_holders_slot_was_adopted_sees_what_the_dead_wrote() {
    check(|| {
        let world = Arc::new(World::new(slot(3).tag()));
        let trier = start(&world, |world| {
            let party = Party::new(world, slot(1));
            if let Some(taken) = party.try_acquire().unwrap() {
                assert_eq!(taken, PreviousHolder::Died);
                world.touch();
                party.release().unwrap();
            }
        });
        world.touch();
        world.leave(slot(3));
        world.attach(slot(3));
        trier.join().unwrap();
    });
}

/// The first to take over does not repair: each later one is told, until one has.
#[test]
fn an_unrepaired_release_tells_the_next_holder() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag() | WAITERS));
        world.leave(slot(0));
        let other = start(&world, |world| Party::new(world, slot(1)).expiring(1).pass());
        let party = Party::new(&world, slot(2)).expiring(1);
        let first = party.acquire().unwrap();
        world.touch();
        if first == PreviousHolder::Died {
            party.release_unrepaired().unwrap()
        } else {
            party.release().unwrap()
        }
        let second = other.join().unwrap();
        // Either the other one came first, and its plain release ends it; or it came second, and is told as well.
        assert_eq!(second, PreviousHolder::Died, "{first:?}");
        assert_eq!(world.touched(), 2);
    });
}

/// What others that have waited for long leave in a held word: no question yet, or that of one of them.
fn marks() -> [u32; 3] {
    [0, slot(0).tag() << 16, slot(2).tag() << 16].map(|asker| asker | WAITERS | HANDOFF)
}

/// The new process in slot 3 locks, and others that have waited for long mark the word as they marked the last one.
fn pass_as_heir(world: &World, marks: u32) {
    world.attach(slot(3));
    let heir = Party::new(world, slot(3)).expiring(1);
    heir.acquire().unwrap();
    let held = world.word.load(Relaxed);
    let _ = world.word.compare_exchange(held, held | marks, Relaxed, Relaxed);
    world.touch();
    heir.release().unwrap();
}

/// Slot 3 died inside. Its slot goes to a new process, which locks, while a waiter is about to take over from the dead.
#[test]
fn a_dead_holders_heir_is_not_robbed_by_who_asked_before_it_came() {
    for marks in marks() {
        check_within(3..=3, move || {
            let world = Arc::new(World::new(slot(3).tag() | marks));
            world.leave(slot(3));
            let heir = start(&world, move |world| pass_as_heir(world, marks));
            Party::new(&world, slot(1)).expiring(2).pass();
            heir.join().unwrap();
            assert_eq!((world.touched(), told(&world)), (2, 1));
        });
    }
}

/// Slot 3 lets go and detaches; its slot goes to a new process, which locks. Nobody died.
#[test]
fn a_detached_holders_heir_is_not_robbed_by_who_asked_before_it_came() {
    check_within(5..=5, || {
        let world = Arc::new(World::new(slot(3).tag() | WAITERS | HANDOFF));
        let waiter = start(&world, |world| Party::new(world, slot(1)).expiring(2).pass());
        Party::new(&world, slot(3)).release().unwrap();
        world.leave(slot(3));
        pass_as_heir(&world, WAITERS | HANDOFF);
        waiter.join().unwrap();
        assert_eq!((world.touched(), told(&world)), (2, 0));
    });
}

/// Two ask after a holder that died; its slot goes to a new process meanwhile.
#[test]
fn an_heir_and_two_waiters_are_told_of_the_dead_once() {
    check_within(0..=1, || {
        let world = Arc::new(World::new(slot(3).tag() | WAITERS | HANDOFF));
        world.leave(slot(3));
        let waiters = [1, 2].map(|index| start(&world, move |world| Party::new(world, slot(index)).expiring(1).pass()));
        world.attach(slot(3));
        Party::new(&world, slot(3)).expiring(1).pass();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!((world.touched(), told(&world)), (3, 1));
    });
}

#[test]
fn a_waiter_that_died_with_the_promise_holds_up_nobody() {
    check(|| {
        let world = Arc::new(World::new(slot(0).tag() | WAITERS | HANDOFF));
        let newcomer = start(&world, |world| Party::new(world, slot(1)).expiring(1).pass());
        let party = Party::new(&world, slot(0)).expiring(1);
        party.release().unwrap();
        party.pass();
        newcomer.join().unwrap();
        assert_eq!((world.touched(), told(&world)), (2, 0));
    });
}

#[test]
fn a_stolen_wake_up_costs_a_slice() {
    check(|| {
        let world = Arc::new(World::timeless(slot(0).tag()));
        world.steal_wakes(1);
        let waiter = start(&world, |world| Party::new(world, slot(1)).expiring(1).pass());
        Party::new(&world, slot(0)).release().unwrap();
        world.let_time_pass();
        waiter.join().unwrap();
        assert_eq!(world.touched(), 1);
    });
}

/// One peer writes what it likes. Any answer will do, but every call returns.
#[test]
fn a_hostile_writer_can_neither_crash_nor_detain_a_call() {
    let tag = slot(1).tag();
    for (first, second) in [
        (u32::MAX, 0),
        (HANDOFF, tag | WAITERS),
        (OWNER_DIED | HANDOFF | WAITERS, tag | HANDOFF),
        (slot(9).tag(), slot(9).tag() | HANDOFF | WAITERS),
        (slot(9).tag() | slot(2).tag() << 16, WAITERS),
        (1 << 16, 1 << 28),
    ] {
        check(move || {
            let world = Arc::new(World::new(0));
            world.leave(slot(9));
            let hostile = start(&world, move |world| {
                world.word.0.store(first, Relaxed);
                world.word.0.store(second, Relaxed);
            });
            let party = Party::new(&world, slot(1)).expiring(ALWAYS).until_look(3);
            let _ = party.try_acquire();
            let _ = party.release();
            let _ = party.acquire();
            let _ = party.release();
            word::adopt(&world.word, slot(1), &party);
            hostile.join().unwrap();
        });
    }
}
