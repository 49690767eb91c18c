//! Nothing stays in the kernel, in whatever order the two sides leave.

use monshm_core::{Backend, ErrorKind, LockKind};
use monshm_sysv::Sysv;

use crate::helper::{Helper, Ids, SIZE, attach, create, descriptor, kinds};
use crate::raw;

fn nothing_left(ids: Ids) -> bool {
    !raw::set_exists(ids.set) && !raw::segment_exists(ids.segment)
}

fn is_gone(ids: Ids) -> bool {
    matches!(attach(ids, LockKind::SysvSem).err().map(|error| error.kind()), Some(ErrorKind::Gone { .. }))
}

#[test]
fn a_creator_alone_takes_everything_along() {
    let (creator, ids) = create(LockKind::SysvSem);
    assert!(raw::set_exists(ids.set) && raw::segment_exists(ids.segment));
    drop(creator);
    assert!(nothing_left(ids));
    assert!(is_gone(ids));
}

#[test]
fn the_creator_leaves_first() {
    for &kind in kinds() {
        let (creator, ids) = create(kind);
        let peer = attach(ids, kind).unwrap();
        drop(creator);
        assert!(raw::set_exists(ids.set), "the peer still uses it");
        assert!(is_gone(ids), "nobody enters what its creator has left");
        assert!(peer.lock.acquire_now().unwrap().is_some());
        peer.lock.release().unwrap();
        drop(peer);
        assert!(nothing_left(ids));
    }
}

#[test]
fn the_peer_leaves_first() {
    let (creator, ids) = create(LockKind::SysvSem);
    drop(attach(ids, LockKind::SysvSem).unwrap());
    assert!(raw::set_exists(ids.set));
    drop(attach(ids, LockKind::SysvSem).unwrap());
    drop(creator);
    assert!(nothing_left(ids));
}

#[test]
fn the_creator_is_killed() {
    let creator = Helper::start();
    let ids = creator.create(harness::users::own(), LockKind::SysvSem);
    let peer = attach(ids, LockKind::SysvSem).unwrap();
    creator.kill();
    assert!(is_gone(ids));
    assert!(raw::set_exists(ids.set), "a refused attach takes nothing away from the peer");
    drop(peer);
    assert!(nothing_left(ids));
}

/// As a program ends that has its segment in a static, or calls exit.
#[test]
fn each_side_exits_without_a_drop() {
    for &kind in kinds() {
        let creator = Helper::start();
        let ids = creator.create(harness::users::own(), kind);
        creator.say("exit");
        creator.wait();
        assert!(nothing_left(ids));
        let (creator, peer) = (Helper::start(), Helper::start());
        let ids = creator.create(harness::users::own(), kind);
        peer.attach(ids, kind);
        creator.say("exit");
        creator.wait();
        assert!(raw::set_exists(ids.set), "the peer still uses it");
        assert_eq!(peer.ask("try"), "Some(Released)");
        peer.say("exit");
        peer.wait();
        assert!(nothing_left(ids));
    }
}

#[test]
fn the_peer_is_killed() {
    let (creator, ids) = create(LockKind::SysvSem);
    let peer = Helper::start();
    peer.attach(ids, LockKind::SysvSem);
    peer.kill();
    drop(creator);
    assert!(nothing_left(ids));
}

#[test]
fn the_creator_is_killed_before_anybody_attaches() {
    let _quiet = raw::quiet();
    let creator = Helper::start();
    let ids = creator.create(harness::users::own(), LockKind::SysvSem);
    creator.kill();
    assert!(!raw::segment_exists(ids.segment), "the kernel removed the memory");
    assert!(raw::set_exists(ids.set), "but not the set");
    assert!(is_gone(ids));
    assert!(nothing_left(ids), "whoever finds the creator dead removes them");
}

#[test]
fn the_creator_is_killed_between_attach_and_slot() {
    let creator = Helper::start();
    let ids = creator.create(harness::users::own(), LockKind::SysvSem);
    let mut peer = Sysv.attach(&descriptor(ids, SIZE), &mut None).unwrap();
    creator.kill();
    assert!(matches!(peer.take_slot().unwrap_err().kind(), ErrorKind::Gone { .. }));
    assert!(!raw::set_exists(ids.set));
    drop(peer);
    assert!(nothing_left(ids));
}

#[test]
fn an_attach_without_a_slot_takes_nothing_away() {
    let (creator, ids) = create(LockKind::SysvSem);
    drop(Sysv.attach(&descriptor(ids, SIZE), &mut None).unwrap());
    assert!(attach(ids, LockKind::SysvSem).is_ok());
    drop(creator);
}

#[test]
fn a_set_under_creation_is_not_taken_for_an_abandoned_one() {
    let set = raw::new_set(libc::IPC_PRIVATE, raw::COUNT);
    assert!(raw::set_value(set, raw::COUNT - 1, monshm_sysv::SET_MARK.into()));
    assert!(is_gone(Ids { segment: i32::MAX, set, owner: harness::users::own() }));
    assert!(raw::remove_set(set), "its creator has not taken its slot yet");
}

#[test]
fn other_users_are_left_alone_in_every_order() {
    harness::needs_other_users!();
    for order in [["drop", "drop"], ["kill", "drop"], ["drop", "kill"]] {
        for swapped in [false, true] {
            let (creator, peer) = (Helper::of(65111), Helper::of(65112));
            let ids = creator.create(65112, LockKind::SysvSem);
            assert_eq!(peer.attach(ids, LockKind::SysvSem), "slot 1");
            let leave = |helper: &Helper, how: &str| {
                if how == "kill" {
                    helper.kill();
                } else {
                    helper.ask("drop");
                }
            };
            let (mut first, mut second) = if swapped { (peer, creator) } else { (creator, peer) };
            // The survivor drops; one that is killed last cannot.
            let order = if order[1] == "kill" { ["kill", "drop"] } else { order };
            leave(&mut first, order[0]);
            leave(&mut second, order[1]);
            assert!(nothing_left(ids), "{order:?}, swapped: {swapped}");
        }
    }
}
