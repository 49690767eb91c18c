//! A peer that uses its rights to the objects against us: documented errors, kept deadlines, nothing left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use monshm_core::{ErrorKind, LockKind, PreviousHolder, Slot};

use crate::helper::{Helper, SIZE, attach, create, descriptor, in_time, kinds, within};
use crate::raw;

use monshm_core::Backend;
use monshm_sysv::Sysv;

const SEM: LockKind = LockKind::SysvSem;

#[test]
fn a_removed_set_is_reported_to_everybody() {
    let (creator, ids) = create(SEM);
    let hostile = Helper::start();
    hostile.attach(ids, SEM);
    hostile.ask("lock");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| creator.lock.acquire(in_time()).unwrap_err().kind());
        std::thread::sleep(Duration::from_millis(30));
        hostile.ask("remove-set");
        assert!(matches!(waiter.join().unwrap(), ErrorKind::Gone { .. }), "also to who waits");
    });
    assert!(matches!(creator.lock.acquire_now().unwrap_err().kind(), ErrorKind::Gone { .. }));
    assert!(matches!(creator.attachment.share().unwrap_err().kind(), ErrorKind::Gone { .. }));
    assert!(matches!(attach(ids, SEM).err().unwrap().kind(), ErrorKind::Gone { .. }));
    assert!(creator.attachment.liveness().is_alive(Slot::new(1).unwrap()), "unknown counts as alive");
    drop(creator);
    drop(hostile);
    assert!(!raw::segment_exists(ids.segment));
}

#[cfg(feature = "futex")]
#[test]
fn a_removed_set_ends_a_futex_wait_that_nobody_can_judge() {
    let (creator, ids) = create(LockKind::Futex);
    let hostile = Helper::start();
    hostile.attach(ids, LockKind::Futex);
    hostile.ask("lock");
    hostile.ask("remove-set");
    assert!(matches!(creator.lock.acquire(in_time()).unwrap_err().kind(), ErrorKind::Gone { .. }));
}

#[test]
fn a_set_that_is_closed_to_us_is_gone_and_is_removed() {
    harness::needs_other_users!();
    let (creator, hostile) = (Helper::of(65131), Helper::of(65132));
    let ids = creator.create(65132, SEM);
    hostile.attach(ids, SEM);
    hostile.ask("chmod-set 0");
    assert!(creator.ask("lock").starts_with("Gone"));
    creator.ask("drop");
    assert!(!raw::set_exists(ids.set), "its creator may remove what it cannot read");
}

/// Else it would stay for good once the peer is gone: `clean` knows a set by its mark.
#[test]
fn a_set_whose_mark_was_wiped_out_goes_with_its_creator() {
    let (creator, ids) = create(SEM);
    let hostile = Helper::start();
    hostile.attach(ids, SEM);
    assert!(raw::set_value(ids.set, raw::COUNT - 1, 7));
    drop(creator);
    assert!(!raw::set_exists(ids.set));
}

#[test]
fn a_semaphore_at_its_limit_is_corrupt() {
    let (creator, ids) = create(SEM);
    creator.lock.acquire_now().unwrap();
    assert!(raw::set_value(ids.set, 0, 32767));
    let error = creator.lock.release().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
    assert_eq!(error.os_error(), Some(libc::ERANGE));
}

#[test]
fn a_semaphore_that_lets_two_in_is_found_by_the_next_to_attach() {
    let (_creator, ids) = create(SEM);
    assert!(raw::set_value(ids.set, 0, 2));
    assert!(matches!(attach(ids, SEM).err().unwrap().kind(), ErrorKind::Corrupt { .. }));
}

#[test]
fn a_lock_opened_under_its_holder_is_reported_on_release() {
    let (creator, ids) = create(SEM);
    let peer = attach(ids, SEM).unwrap();
    creator.lock.acquire_now().unwrap();
    assert!(raw::set_value(ids.set, 0, 1));
    assert_eq!(peer.lock.acquire_now().unwrap(), Some(PreviousHolder::Died), "the mark shows the one inside");
    let error = creator.lock.release().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
    peer.lock.release().unwrap();
}

#[test]
fn a_lock_that_is_never_given_costs_the_deadline_and_no_more() {
    let (creator, ids) = create(SEM);
    assert!(raw::set_value(ids.set, 0, 0));
    let error = creator.lock.acquire(within(Duration::from_millis(50))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
    assert!(raw::set_value(ids.set, 0, 1));
    assert_eq!(creator.lock.acquire(within(Duration::ZERO)).unwrap(), PreviousHolder::Released);
}

#[test]
fn a_dirty_word_that_names_nobody_is_corrupt_and_keeps_no_lock() {
    let (creator, ids) = create(SEM);
    let peer = attach(ids, SEM).unwrap();
    for word in [33, 0xffff, u32::MAX] {
        let region = peer.attachment.region();
        region.header().dirty().store(word, Ordering::Relaxed);
        for lock in [&creator.lock, &peer.lock] {
            assert!(matches!(lock.acquire_now().unwrap_err().kind(), ErrorKind::Corrupt { .. }), "{word}");
            assert!(matches!(lock.acquire(in_time()).unwrap_err().kind(), ErrorKind::Corrupt { .. }));
        }
        assert_eq!(raw::value(ids.set, 0), Some(1), "the semaphore was given back");
    }
}

#[cfg(feature = "futex")]
#[test]
fn a_lock_word_that_cannot_be_is_corrupt() {
    let (creator, ids) = create(LockKind::Futex);
    let peer = attach(ids, LockKind::Futex).unwrap();
    for word in [33, 1 << 16, u32::MAX] {
        peer.attachment.region().atomic_u32(512).unwrap().store(word, Ordering::Relaxed);
        assert!(matches!(creator.lock.acquire(in_time()).unwrap_err().kind(), ErrorKind::Corrupt { .. }));
        assert!(matches!(creator.lock.try_acquire().unwrap_err().kind(), ErrorKind::Corrupt { .. }));
    }
}

#[cfg(feature = "futex")]
#[test]
fn a_slot_declared_dead_loses_its_futex_and_is_reported() {
    let (creator, ids) = create(LockKind::Futex);
    let peer = attach(ids, LockKind::Futex).unwrap();
    creator.lock.acquire_now().unwrap();
    assert!(raw::set_value(ids.set, 1, 0));
    assert_eq!(peer.lock.acquire(in_time()).unwrap(), PreviousHolder::Died);
    assert!(matches!(creator.lock.release().unwrap_err().kind(), ErrorKind::Corrupt { .. }));
}

#[test]
fn slots_raised_for_good_do_not_keep_the_set() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let hostile = Helper::start();
        hostile.attach(ids, kind);
        for slot in 4..=32 {
            hostile.ask(format!("set-value {slot} 1"));
        }
        assert!(attach(ids, kind).is_ok(), "one is left");
        hostile.ask("set-value 3 32767");
        hostile.kill();
        assert_eq!(raw::value(ids.set, 5), Some(1));
        assert_ne!(raw::last_pid(ids.set, 5), 0);
        drop(creator);
        assert!(!raw::set_exists(ids.set));
    }
}

#[test]
fn a_foreign_wait_in_the_set_does_not_keep_it() {
    let (creator, ids) = create(SEM);
    let hostile = Helper::start();
    hostile.attach(ids, SEM);
    creator.lock.acquire_now().unwrap();
    hostile.say("lock");
    std::thread::sleep(Duration::from_millis(30));
    hostile.kill();
    creator.lock.release().unwrap();
    drop(creator);
    assert!(!raw::set_exists(ids.set));
}

#[test]
fn a_peer_that_removes_the_id_of_the_segment_again_changes_nothing() {
    let (creator, ids) = create(SEM);
    raw::remove_segment(ids.segment);
    assert!(Sysv.attach(&descriptor(ids, SIZE), &mut None).is_ok());
    drop(creator);
    assert!(!raw::segment_exists(ids.segment));
}
