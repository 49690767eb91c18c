//! The lock word under every interleaving that loom knows: exclusion, publication, wake-ups, hand-off, death.
//!
//! Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p monshm-core --release --test loom`; two
//! preemptions are allowed when the variable is not set. loom knows no load buffering and treats SeqCst as AcqRel; the
//! lock word uses neither. It does not model time: that slices pass is the lock word's unit tests' part.
#![cfg(loom)]

#[path = "loom/model.rs"]
mod model;

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::Arc;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread::{JoinHandle, spawn};
use model::{ALWAYS, HANDOFF, Model, OWNER_DIED, Party, WAITERS};
use monshm_core::lock::word::{self, TIMED_OUT, Word};
use monshm_core::{PreviousHolder, Slot};

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

fn start<T: 'static>(model: &Arc<Model>, body: impl FnOnce(&Model) -> T + 'static) -> JoinHandle<T> {
    let model = Arc::clone(model);
    spawn(move || body(&model))
}

fn deaths(model: &Model) -> u32 {
    model.deaths.load(SeqCst)
}

#[test]
fn two_parties_exclude_each_other_and_neither_is_lost() {
    check(|| {
        let model = Arc::new(Model::new(0));
        let other = start(&model, |model| {
            let party = Party::new(model, slot(1));
            party.pass();
            party.pass();
        });
        Party::new(&model, slot(0)).pass();
        other.join().unwrap();
        assert_eq!((model.touched(), model.word.load(Relaxed) & !WAITERS), (3, 0));
    });
}

#[test]
fn three_parties_exclude_each_other_and_none_is_lost() {
    check(|| {
        let model = Arc::new(Model::new(0));
        let others = [1, 2].map(|index| start(&model, move |model| Party::new(model, slot(index)).pass()));
        Party::new(&model, slot(0)).pass();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(model.touched(), 3);
    });
}

#[test]
fn the_fast_path_publishes_what_was_written_inside() {
    check(|| {
        let model = Arc::new(Model::new(0));
        let pass_now = |model: &Model, index| {
            let party = Party::new(model, slot(index));
            if party.acquire_now() {
                model.touch();
                party.release().unwrap();
            }
        };
        let other = start(&model, move |model| pass_now(model, 1));
        pass_now(&model, 0);
        other.join().unwrap();
    });
}

#[test]
fn a_try_beside_a_waiter_sees_what_was_written_inside() {
    check(|| {
        let model = Arc::new(Model::new(0));
        let party = Party::new(&model, slot(0));
        assert!(party.acquire_now());
        let waiter = start(&model, |model| Party::new(model, slot(1)).pass());
        let trier = start(&model, |model| {
            let party = Party::new(model, slot(2));
            if party.try_acquire().unwrap().is_some() {
                model.touch();
                party.release().unwrap();
            }
        });
        model.touch();
        party.release().unwrap();
        waiter.join().unwrap();
        trier.join().unwrap();
    });
}

#[test]
fn a_wait_that_ends_for_no_reason_is_taken_up_again() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag()));
        let others = [1, 2].map(|index| start(&model, move |model| Party::new(model, slot(index)).spurious(2).pass()));
        model.touch();
        Party::new(&model, slot(0)).release().unwrap();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(model.touched(), 3);
    });
}

/// Slot 0 holds; slot 1 waits a slice and then without end; slot 2 comes new.
#[test]
fn a_newcomer_does_not_pass_who_was_promised_the_lock() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag()));
        let order_of = |model: &Model, party: Party<'_>| {
            party.acquire().unwrap();
            model.touch();
            let order = model.touched();
            party.release().unwrap();
            order
        };
        let old = start(&model, move |model| order_of(model, Party::new(model, slot(1)).expiring(1)));
        let newcomer = start(&model, move |model| order_of(model, Party::new(model, slot(2))));
        model.touch();
        let promised = model.word.load(Relaxed) & HANDOFF != 0;
        Party::new(&model, slot(0)).release().unwrap();
        let orders = (old.join().unwrap(), newcomer.join().unwrap());
        assert!(!promised || orders == (2, 3), "{orders:?}");
    });
}

#[test]
fn who_gives_up_leaves_neither_the_promise_nor_a_sleeper_behind() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag()));
        let hasty = start(&model, |model| {
            let party = Party::new(model, slot(1)).expiring(1).until_poll(1);
            if party.acquire().is_ok() {
                party.release().unwrap();
            }
        });
        let patient = start(&model, |model| Party::new(model, slot(2)).pass());
        Party::new(&model, slot(0)).release().unwrap();
        hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(model.word.load(Relaxed) & HANDOFF, 0);
    });
}

/// The hasty one sleeps untimed, is woken, and finds its deadline passed: the only wake-up was its own.
#[test]
fn a_wake_up_that_comes_with_the_deadline_is_used_or_passed_on() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag()));
        let hasty = start(&model, |model| {
            let party = Party::new(model, slot(1)).until_poll(1);
            if party.acquire().is_ok() {
                party.release().unwrap();
            }
        });
        let patient = start(&model, |model| Party::new(model, slot(2)).pass());
        let party = Party::new(&model, slot(0));
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
        let model = Arc::new(Model::new(slot(0).tag()));
        let waiter = start(&model, |model| {
            let party = Party::new(model, slot(1)).expiring(ALWAYS).until_poll(3);
            party.acquire().inspect(|_| {
                model.touch();
                party.release().unwrap();
            })
        });
        model.touch();
        Party::new(&model, slot(0)).release().unwrap();
        let taken = waiter.join().unwrap();
        assert!(matches!(taken, Ok(PreviousHolder::Released) | Err(TIMED_OUT)), "{taken:?}");
    });
}

#[test]
fn a_dead_holder_is_taken_over_by_one_of_two_and_reported_once() {
    check(|| {
        let model = Arc::new(Model::timeless(slot(0).tag()));
        let others = [1, 2].map(|index| start(&model, move |model| Party::new(model, slot(index)).expiring(1).pass()));
        model.touch();
        model.leave(slot(0));
        model.let_time_pass();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((model.touched(), deaths(&model)), (3, 1));
    });
}

#[test]
fn a_try_after_a_dead_holders_slot_was_adopted_sees_what_the_dead_wrote() {
    check(|| {
        let model = Arc::new(Model::new(slot(3).tag()));
        let trier = start(&model, |model| {
            let party = Party::new(model, slot(1));
            if let Some(taken) = party.try_acquire().unwrap() {
                assert_eq!(taken, PreviousHolder::Died);
                model.touch();
                party.release().unwrap();
            }
        });
        model.touch();
        model.leave(slot(3));
        model.attach(slot(3));
        trier.join().unwrap();
    });
}

/// The first to take over does not repair: the death is reported to each later one, until one has.
#[test]
fn an_unrepaired_release_reports_the_death_again() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag() | WAITERS));
        model.leave(slot(0));
        let other = start(&model, |model| Party::new(model, slot(1)).expiring(1).pass());
        let party = Party::new(&model, slot(2)).expiring(1);
        let first = party.acquire().unwrap();
        model.touch();
        if first == PreviousHolder::Died {
            party.release_unrepaired().unwrap()
        } else {
            party.release().unwrap()
        }
        let second = other.join().unwrap();
        // Either the other one came first, and its plain release ends it; or it came second, and the death is reported
        // to it as well.
        assert_eq!(second, PreviousHolder::Died, "{first:?}");
        assert_eq!(model.touched(), 2);
    });
}

/// What others that have waited for long leave in a held word: no question yet, or that of one of them.
fn marks() -> [u32; 3] {
    [0, slot(0).tag() << 16, slot(2).tag() << 16].map(|asker| asker | WAITERS | HANDOFF)
}

/// The new process in slot 3 locks, and others that have waited for long mark the word as they marked the last one.
fn pass_as_heir(model: &Model, marks: u32) {
    model.attach(slot(3));
    let heir = Party::new(model, slot(3)).expiring(1);
    heir.acquire().unwrap();
    let held = model.word.load(Relaxed);
    let _ = model.word.compare_exchange(held, held | marks, Relaxed, Relaxed);
    model.touch();
    heir.release().unwrap();
}

/// Slot 3 died inside. Its slot goes to a new process, which locks, while a waiter is about to take over from the dead.
#[test]
fn a_dead_holders_heir_is_not_robbed_by_who_asked_before_it_came() {
    for marks in marks() {
        check_within(3..=3, move || {
            let model = Arc::new(Model::new(slot(3).tag() | marks));
            model.leave(slot(3));
            let heir = start(&model, move |model| pass_as_heir(model, marks));
            Party::new(&model, slot(1)).expiring(2).pass();
            heir.join().unwrap();
            assert_eq!((model.touched(), deaths(&model)), (2, 1));
        });
    }
}

/// Slot 3 lets go and detaches; its slot goes to a new process, which locks. Nobody died.
#[test]
fn a_detached_holders_heir_is_not_robbed_by_who_asked_before_it_came() {
    check_within(5..=5, || {
        let model = Arc::new(Model::new(slot(3).tag() | WAITERS | HANDOFF));
        let waiter = start(&model, |model| Party::new(model, slot(1)).expiring(2).pass());
        Party::new(&model, slot(3)).release().unwrap();
        model.leave(slot(3));
        pass_as_heir(&model, WAITERS | HANDOFF);
        waiter.join().unwrap();
        assert_eq!((model.touched(), deaths(&model)), (2, 0));
    });
}

/// Two ask after a holder that died; its slot goes to a new process meanwhile.
#[test]
fn a_death_is_reported_once_to_an_heir_and_two_waiters() {
    check_within(0..=1, || {
        let model = Arc::new(Model::new(slot(3).tag() | WAITERS | HANDOFF));
        model.leave(slot(3));
        let waiters = [1, 2].map(|index| start(&model, move |model| Party::new(model, slot(index)).expiring(1).pass()));
        model.attach(slot(3));
        Party::new(&model, slot(3)).expiring(1).pass();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!((model.touched(), deaths(&model)), (3, 1));
    });
}

#[test]
fn a_waiter_that_died_with_the_promise_holds_up_nobody() {
    check(|| {
        let model = Arc::new(Model::new(slot(0).tag() | WAITERS | HANDOFF));
        let newcomer = start(&model, |model| Party::new(model, slot(1)).expiring(1).pass());
        let party = Party::new(&model, slot(0)).expiring(1);
        party.release().unwrap();
        party.pass();
        newcomer.join().unwrap();
        assert_eq!((model.touched(), deaths(&model)), (2, 0));
    });
}

#[test]
fn a_stolen_wake_up_costs_a_slice() {
    check(|| {
        let model = Arc::new(Model::timeless(slot(0).tag()));
        model.steal_wakes(1);
        let waiter = start(&model, |model| Party::new(model, slot(1)).expiring(1).pass());
        Party::new(&model, slot(0)).release().unwrap();
        model.let_time_pass();
        waiter.join().unwrap();
        assert_eq!(model.touched(), 1);
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
            let model = Arc::new(Model::new(0));
            model.leave(slot(9));
            let hostile = start(&model, move |model| {
                model.word.0.store(first, Relaxed);
                model.word.0.store(second, Relaxed);
            });
            let party = Party::new(&model, slot(1)).expiring(ALWAYS).until_poll(3);
            let _ = party.try_acquire();
            let _ = party.release();
            let _ = party.acquire();
            let _ = party.release();
            word::adopt(&model.word, slot(1), &party);
            hostile.join().unwrap();
        });
    }
}
