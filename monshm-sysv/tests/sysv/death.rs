//! Processes that die, or only stop, while they hold the lock.

use std::time::{Duration, Instant};

use monshm_core::{ErrorKind, LockKind, PreviousHolder, Slot};

use crate::helper::{Helper, attach, create, in_time, kinds, within};
use crate::raw;

#[test]
fn a_waiter_learns_that_the_holder_was_killed() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let holder = Helper::start();
        assert_eq!(holder.attach(ids, kind), "slot 1");
        assert_eq!(holder.ask("lock"), "Released");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| creator.lock.acquire(in_time()));
            std::thread::sleep(Duration::from_millis(30));
            holder.kill();
            assert_eq!(waiter.join().unwrap().unwrap(), PreviousHolder::Died, "{kind}");
        });
        creator.lock.repaired().unwrap();
        creator.lock.release().unwrap();
        assert_eq!(creator.lock.acquire_now().unwrap(), Some(PreviousHolder::Released), "{kind}: reported once");
        creator.lock.release().unwrap();
    }
}

#[test]
fn an_unrepaired_release_tells_the_next_holder() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let holder = Helper::start();
        holder.attach(ids, kind);
        holder.ask("lock");
        holder.kill();
        let peer = attach(ids, kind).unwrap();
        for lock in [&creator.lock, &peer.lock, &creator.lock] {
            assert_eq!(lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
            lock.release().unwrap();
        }
        assert_eq!(peer.lock.try_acquire().unwrap(), Some(PreviousHolder::Died), "{kind}");
        peer.lock.repaired().unwrap();
        peer.lock.release().unwrap();
        assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Released, "{kind}: repaired");
        creator.lock.release().unwrap();
    }
}

#[test]
fn a_holder_that_dies_before_it_has_repaired_leaves_that_to_the_next() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        for _ in 0..2 {
            let holder = Helper::start();
            holder.attach(ids, kind);
            holder.ask("lock");
            holder.kill();
        }
        assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
    }
}

#[test]
fn a_holder_that_dies_before_it_is_marked_has_touched_nothing() {
    let (creator, ids) = create(LockKind::SysvSem);
    let holder = Helper::start();
    holder.attach(ids, LockKind::SysvSem);
    holder.ask("raw-take");
    assert_eq!(creator.lock.acquire_now().unwrap(), None);
    holder.kill();
    assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Released);
}

#[test]
fn a_killed_process_leaves_its_slot_and_the_next_one_inherits_no_lock() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let holder = Helper::start();
        assert_eq!(holder.attach(ids, kind), "slot 1");
        holder.ask("lock");
        let slot = Slot::new(1).unwrap();
        assert!(creator.attachment.liveness().is_alive(slot));
        holder.kill();
        assert!(!creator.attachment.liveness().is_alive(slot));
        let heir = Helper::start();
        assert_eq!(heir.attach(ids, kind), "slot 1");
        assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
        creator.lock.repaired().unwrap();
        assert_eq!(heir.ask("try"), "None", "{kind}: the heir does not hold what it did not take");
        creator.lock.release().unwrap();
        assert_eq!(heir.ask("lock"), "Released");
    }
}

#[test]
fn the_death_of_a_creator_is_reported_too() {
    for &kind in kinds() {
        let creator = Helper::start();
        let ids = creator.create(harness::users::own(), kind);
        let peer = attach(ids, kind).unwrap();
        creator.ask("lock");
        creator.kill();
        assert_eq!(peer.lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
    }
}

#[test]
fn a_handle_that_is_dropped_with_the_lock_counts_as_dead() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let peer = attach(ids, kind).unwrap();
        assert_eq!(peer.lock.acquire_now().unwrap(), Some(PreviousHolder::Released));
        drop(peer);
        assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
        creator.lock.repaired().unwrap();
        creator.lock.release().unwrap();
    }
}

#[test]
fn a_lock_outlives_its_attachment() {
    let (creator, ids) = create(LockKind::SysvSem);
    drop(creator.attachment);
    assert_eq!(creator.lock.acquire_now().unwrap(), Some(PreviousHolder::Released));
    creator.lock.release().unwrap();
    assert!(raw::set_exists(ids.set));
    drop(creator.lock);
    assert!(!raw::set_exists(ids.set));
}

#[test]
fn a_live_holder_is_waited_for_until_the_deadline() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let holder = Helper::start();
        holder.attach(ids, kind);
        holder.ask("lock");
        for timeout in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(250)] {
            let begin = Instant::now();
            let error = creator.lock.acquire(within(timeout)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
            assert!(begin.elapsed() >= timeout);
        }
        holder.ask("unlock");
        assert_eq!(
            creator.lock.acquire(within(Duration::ZERO)).unwrap(),
            PreviousHolder::Released,
            "{kind}: free is free"
        );
    }
}

#[test]
fn signals_neither_end_nor_stretch_a_wait() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let waiter = Helper::start();
        waiter.attach(ids, kind);
        waiter.ask("interrupt 1000");
        creator.lock.acquire_now().unwrap();
        assert!(waiter.ask("wait 100").starts_with("TimedOut"), "{kind}");
        waiter.say("wait 20000");
        std::thread::sleep(Duration::from_millis(50));
        creator.lock.release().unwrap();
        assert_eq!(waiter.hear(), "Released", "{kind}");
    }
}

#[test]
fn signals_do_not_keep_a_waiter_from_finding_the_holder_dead() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let (holder, waiter) = (Helper::start(), Helper::start());
        holder.attach(ids, kind);
        waiter.attach(ids, kind);
        waiter.ask("interrupt 300");
        holder.ask("lock");
        waiter.say("lock");
        std::thread::sleep(Duration::from_millis(30));
        holder.kill();
        assert_eq!(waiter.hear(), "Died", "{kind}");
        drop(creator);
    }
}

#[test]
fn a_process_that_becomes_another_program_keeps_slot_and_lock_until_it_ends() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let holder = Helper::start();
        holder.attach(ids, kind);
        holder.ask("lock");
        holder.say("exec sleep 1000");
        for _ in 0..5000 {
            if raw::segment_column(ids.segment, "nattch") == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(raw::segment_column(ids.segment, "nattch"), 1, "unmapped");
        assert!(creator.attachment.liveness().is_alive(Slot::new(1).unwrap()));
        let error = creator.lock.acquire(within(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
        holder.kill();
        assert_eq!(creator.lock.acquire(in_time()).unwrap(), PreviousHolder::Died, "{kind}");
    }
}

#[test]
fn a_forked_child_gives_nothing_back_for_its_parent() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let parent = Helper::start();
        parent.attach(ids, kind);
        parent.ask("lock");
        assert_eq!(parent.ask("fork-and-drop"), "done");
        assert!(creator.attachment.liveness().is_alive(Slot::new(1).unwrap()), "{kind}: the slot stays");
        assert_eq!(creator.lock.try_acquire().unwrap(), None, "{kind}: the lock stays held");
        assert_eq!(parent.ask("end-child"), "done");
        assert!(creator.attachment.liveness().is_alive(Slot::new(1).unwrap()), "{kind}: the slot stays");
        assert_eq!(creator.lock.try_acquire().unwrap(), None, "{kind}: the lock stays held");
        assert_eq!(parent.ask("unlock"), "done");
        assert_eq!(parent.ask("write 3"), "done", "the parent's mapping stays");
    }
}

#[test]
fn a_forked_child_of_the_creator_does_not_remove_the_set() {
    let creator = Helper::start();
    let ids = creator.create(harness::users::own(), LockKind::SysvSem);
    assert_eq!(creator.ask("fork-and-drop"), "done");
    assert!(raw::set_exists(ids.set));
    assert!(attach(ids, LockKind::SysvSem).is_ok());
    assert_eq!(creator.ask("end-child"), "done");
    assert!(attach(ids, LockKind::SysvSem).is_ok());
}
