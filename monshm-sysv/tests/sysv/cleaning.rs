//! `scan`: what two SIGKILLs leave goes, and nothing else.

use monshm_core::{Backend, Cleanup, LockKind, ScanObject, ScanState};
use monshm_sysv::{KEY_PREFIX, SET_MARK, Sysv};

use crate::helper::{Helper, Ids, create, kinds, stale};
use crate::raw;

fn listed(ids: Ids) -> bool {
    stale(Cleanup::Report).contains(&ScanObject::Semaphores { id: ids.set })
}

fn key(low: u16) -> i32 {
    i32::from(KEY_PREFIX) << 16 | i32::from(low)
}

#[test]
fn what_two_kills_leave_is_removed_and_live_pairs_stay() {
    let _quiet = raw::quiet();
    for &kind in kinds() {
        let (_living, live) = create(kind);
        let (creator, peer) = (Helper::start(), Helper::start());
        let ids = creator.create(harness::users::own(), kind);
        peer.attach(ids, kind);
        peer.ask("lock");
        assert!(!listed(ids));
        creator.kill();
        assert!(!listed(ids), "the peer lives");
        peer.kill();
        assert!(!raw::segment_exists(ids.segment));
        assert!(raw::set_exists(ids.set), "the kernel does not remove a set");
        assert!(listed(ids));
        assert!(raw::set_exists(ids.set), "a report removes nothing");
        assert_eq!(stale(Cleanup::Remove).len(), 1);
        assert!(!raw::set_exists(ids.set));
        assert!(raw::set_exists(live.set) && raw::segment_exists(live.segment));
    }
}

/// As its owner the peer can change the mode before it goes.
#[test]
fn a_set_whose_mode_was_changed_is_removed_too() {
    let _quiet = raw::quiet();
    for mode in [0o400, 0o666] {
        let (creator, peer) = (Helper::start(), Helper::start());
        let ids = creator.create(harness::users::own(), LockKind::SysvSem);
        peer.attach(ids, LockKind::SysvSem);
        assert!(raw::chmod_set(ids.set, harness::users::own(), mode));
        creator.kill();
        assert!(!listed(ids), "the peer lives");
        peer.kill();
        assert!(listed(ids), "mode {mode:o}");
        stale(Cleanup::Remove);
        assert!(!raw::set_exists(ids.set));
    }
}

#[test]
fn another_users_leftovers_are_not_touched() {
    harness::needs_other_users!();
    let _quiet = raw::quiet();
    let creator = Helper::of(65121);
    let ids = creator.create(65122, LockKind::SysvSem);
    creator.kill();
    let stranger = Helper::of(65123);
    assert_eq!(stranger.ask("clean"), "0", "a stranger may not");
    let peer = Helper::of(65122);
    assert_eq!(peer.ask("clean"), "1");
    assert!(!raw::set_exists(ids.set), "the peer may: it is the owner");
}

#[test]
fn a_set_that_a_living_process_makes_is_in_use() {
    let _quiet = raw::quiet();
    let set = raw::new_set(key(0xfff4), raw::COUNT);
    raw::set_all(set, &[0; raw::COUNT as usize]);
    let found = Sysv.scan(Cleanup::Remove).unwrap();
    let entry = found.iter().find(|entry| entry.object == ScanObject::Semaphores { id: set }).unwrap();
    assert_eq!((entry.state, entry.size), (ScanState::InUse { holders: 1 }, 0));
    assert_eq!(entry.pids, [std::process::id()]);
    assert!(raw::remove_set(set));
}

#[test]
fn what_looks_alike_stays() {
    let _quiet = raw::quiet();
    // Under creation: young, not marked or not used.
    let young = raw::new_set(key(0xfff0), raw::COUNT);
    // Another program's: of another size, or used without our mark.
    let larger = raw::new_set(key(0xfff1), raw::COUNT + 1);
    let unmarked = raw::new_set(key(0xfff2), raw::COUNT);
    assert!(raw::change(unmarked, 0, 1, 0) && raw::change(unmarked, 0, -1, 0));
    // Ours by all signs but the key, or but the size.
    let stranger = raw::new_set(libc::IPC_PRIVATE, raw::COUNT);
    for set in [stranger, larger] {
        assert!(raw::set_value(set, raw::COUNT - 1, SET_MARK.into()));
        assert!(raw::change(set, 1, 1, 0) && raw::change(set, 1, -1, 0));
    }
    let segment = raw::new_segment(key(0xfff3), 8192, 0);
    raw::write_into_segment(segment);
    let sets = [young, larger, unmarked, stranger];
    assert!(sets.iter().all(|id| *id >= 0) && segment >= 0);
    stale(Cleanup::Remove);
    let stayed: Vec<bool> = sets.iter().map(|id| raw::remove_set(*id)).collect();
    assert_eq!((stayed, raw::remove_segment(segment)), (vec![true; 4], true));
}
