//! Ids come round: a handle whose set was removed does nothing to the set that has the id now.

use std::time::Duration;

use monshm_core::{ErrorKind, LockKind, Slot};

use crate::helper::{Handle, Helper, Ids, create, kinds, within};
use crate::raw;

/// What a hostile peer does: removes the set, and sees to it that the next one gets its id. `None`, and a printed
/// word, where ids cannot be chosen.
fn next_gets_id<T>(set: i32, mut make: impl FnMut() -> (T, i32)) -> Option<T> {
    assert!(raw::remove_set(set));
    for _ in 0..100 {
        if !raw::choose_next_set(set) {
            println!("skipped: the next id cannot be chosen here (/proc/sys/kernel/sem_next_id)");
            return None;
        }
        // Another test of this process can be faster.
        let (made, id) = make();
        if id == set {
            return Some(made);
        }
    }
    panic!("the id {set} was never given again");
}

fn is_dead(handle: &Handle) {
    let gone =
        |error: Option<monshm_core::Error>| matches!(error.map(|error| error.kind()), Some(ErrorKind::Gone { .. }));
    assert!(gone(handle.attachment.share().err()));
    assert!(handle.attachment.liveness().is_alive(Slot::new(5).unwrap()), "unknown counts as alive");
    if handle.lock.kind() == LockKind::SysvSem {
        assert!(gone(handle.lock.acquire_now().err()));
        assert!(gone(handle.lock.acquire(within(Duration::from_millis(20))).err()));
    }
}

fn is_untouched(ids: Ids, lock: i32) {
    assert!(raw::set_exists(ids.set), "not ours to remove");
    let values = (raw::value(ids.set, 0), raw::value(ids.set, 1), raw::value(ids.set, 2));
    assert_eq!(values, (Some(lock), Some(1), Some(0)), "lock, creator's slot, a peer's slot");
}

#[test]
fn an_id_that_another_segment_of_this_process_got() {
    let _quiet = raw::quiet();
    for &kind in kinds() {
        for held in [false, true] {
            let (old, ids) = create(kind);
            if held {
                old.lock.acquire_now().unwrap();
            }
            let Some((new, new_ids)) = next_gets_id(ids.set, || {
                let (new, ids) = create(kind);
                ((new, ids), ids.set)
            }) else {
                return;
            };
            if held && kind == LockKind::SysvSem {
                new.lock.acquire_now().unwrap();
                assert!(matches!(old.lock.release().unwrap_err().kind(), ErrorKind::Gone { .. }));
                is_untouched(new_ids, 0);
                new.lock.release().unwrap();
            }
            is_dead(&old);
            drop(old);
            is_untouched(new_ids, 1);
            assert!(new.lock.acquire_now().unwrap().is_some());
            new.lock.release().unwrap();
            drop(new);
            assert!(!raw::set_exists(ids.set));
        }
    }
}

#[test]
fn an_id_that_a_segment_of_another_process_got() {
    let _quiet = raw::quiet();
    for &kind in kinds() {
        for held in [false, true] {
            let (old, ids) = create(kind);
            if held {
                old.lock.acquire_now().unwrap();
            }
            let Some((other, new_ids)) = next_gets_id(ids.set, || {
                let other = Helper::start();
                let ids = other.create(harness::users::own(), kind);
                ((other, ids), ids.set)
            }) else {
                return;
            };
            is_dead(&old);
            drop(old);
            is_untouched(new_ids, 1);
            drop(other);
            assert!(!raw::set_exists(ids.set));
        }
    }
}

/// As a peer does it that is not privileged: millions of sets made and removed.
#[test]
fn an_id_that_came_round() {
    let _quiet = raw::quiet();
    let (old, ids) = create(LockKind::SysvSem);
    assert!(raw::remove_set(ids.set));
    let mut set = raw::new_set(libc::IPC_PRIVATE, raw::COUNT);
    while set != ids.set {
        assert!(raw::remove_set(set));
        set = raw::new_set(libc::IPC_PRIVATE, raw::COUNT);
    }
    assert!(raw::set_value(set, 1, 1) && raw::set_value(set, raw::COUNT - 1, monshm_sysv::SET_MARK.into()));
    is_dead(&old);
    drop(old);
    assert_eq!(raw::value(set, 1), Some(1), "the set of that id has another identity");
    assert!(raw::remove_set(set));
}
