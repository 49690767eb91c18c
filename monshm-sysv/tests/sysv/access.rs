//! Who gets in, and which objects are refused at attach.

use monshm_core::{Backend, DescriptorFault, ErrorKind, LockKind};
use monshm_sysv::Sysv;

use crate::helper::{Helper, Ids, SIZE, create, create_for, descriptor, kinds};
use crate::raw;

const CREATOR: u32 = 65531;
const PEER: u32 = 65532;
const THIRD: u32 = 65533;

fn refusal(ids: Ids, size: u64) -> ErrorKind {
    Sysv.attach(&descriptor(ids, size), &mut None).unwrap_err().kind()
}

#[test]
fn two_users_share_and_a_third_is_kept_out() {
    harness::needs_other_users!();
    for &kind in kinds() {
        let (creator, peer, third) = (Helper::of(CREATOR), Helper::of(PEER), Helper::of(THIRD));
        let ids = creator.create(PEER, kind);
        assert_eq!(ids.owner, CREATOR);
        assert_eq!(third.attach(ids, kind), format!("NoAccess {{ uid: {THIRD} }}"));
        assert_eq!(peer.attach(ids, kind), "slot 1");
        assert_eq!(peer.ask("write 7"), "done");
        assert_eq!(creator.ask("read"), "7");
        assert_eq!(peer.ask("lock"), "Released");
        assert_eq!(creator.ask("try"), "None");
        assert_eq!(peer.ask("unlock"), "done");
        assert_eq!(creator.ask("lock"), "Released");
        assert_eq!(creator.ask("unlock"), "done");
        assert_eq!(third.attach(ids, kind), format!("NoAccess {{ uid: {THIRD} }}"));
        creator.ask("drop");
        peer.ask("drop");
        assert!(!raw::set_exists(ids.set) && !raw::segment_exists(ids.segment));
    }
}

#[test]
fn a_user_that_cannot_exist_is_refused_and_nothing_stays() {
    harness::needs_other_users!();
    const ALONE: u32 = 65101;
    // Where that is not allowed, other runs count too.
    let _ = harness::users::isolate_ipc();
    let answer = Helper::of(ALONE).ask(format!("create {} sysv-sem", u32::MAX));
    assert_eq!(answer, format!("NoAccessForPeer {{ uid: {} }}", u32::MAX));
    assert_eq!(raw::count_of(ALONE), 0);
}

#[test]
fn an_object_of_another_size_is_refused() {
    let (_creator, ids) = create(LockKind::SysvSem);
    for size in [SIZE - 4096, SIZE - 1, SIZE + 4096, 1 << 30] {
        assert_eq!(refusal(ids, size), ErrorKind::ObjectSize { promised: size, found: SIZE });
    }
    for size in [0, 2047, u64::MAX] {
        assert_eq!(refusal(ids, size), ErrorKind::Descriptor(DescriptorFault::BadSize { found: size }));
    }
}

#[test]
fn an_object_of_another_creator_is_refused() {
    let us = harness::users::own();
    let (_creator, ids) = create(LockKind::SysvSem);
    let wrong = ErrorKind::WrongOwner { expected: us + 1, found: us };
    assert_eq!(refusal(Ids { owner: us + 1, ..ids }, SIZE), wrong);
}

#[test]
fn an_object_that_was_opened_further_is_refused() {
    let us = harness::users::own();
    for mode in [0o660, 0o606, 0o604, 0o640, 0o666] {
        let (_creator, ids) = create(LockKind::SysvSem);
        assert!(raw::chmod_segment(ids.segment, us, mode));
        assert_eq!(refusal(ids, SIZE), ErrorKind::OpenToOthers { mode: mode.into() });
        assert!(raw::chmod_segment(ids.segment, us, 0o600));
        assert!(raw::chmod_set(ids.set, us, mode));
        assert_eq!(refusal(ids, SIZE), ErrorKind::OpenToOthers { mode: mode.into() });
        assert!(raw::chmod_set(ids.set, us, 0o600));
        assert!(Sysv.attach(&descriptor(ids, SIZE), &mut None).is_ok());
    }
}

#[test]
fn an_object_that_belongs_to_a_third_is_refused() {
    // The creator's user attaches what was made for another one: that one could have let anybody in.
    let (_creator, ids) = create_for(harness::users::own() + 1, LockKind::SysvSem).unwrap();
    assert_eq!(refusal(ids, SIZE), ErrorKind::OpenToOthers { mode: 0o600 });
}

#[test]
fn ids_that_name_nothing_or_something_else_are_gone() {
    let (_creator, ids) = create(LockKind::SysvSem);
    let gone = |ids| matches!(refusal(ids, SIZE), ErrorKind::Gone { .. });
    for id in [-1, i32::MIN, i32::MAX] {
        assert!(gone(Ids { segment: id, ..ids }), "segment {id}");
        assert!(gone(Ids { set: id, ..ids }), "set {id}");
    }
    for count in [1, raw::COUNT - 1, raw::COUNT, raw::COUNT + 1] {
        let set = raw::new_set(libc::IPC_PRIVATE, count);
        // Of another size, not even our mark makes it ours.
        let marked = count > raw::COUNT && raw::set_value(set, raw::COUNT - 1, monshm_sysv::SET_MARK.into());
        assert_eq!(marked, count > raw::COUNT);
        assert!(gone(Ids { set, ..ids }), "another program's set of {count}");
        assert!(raw::remove_set(set), "and it was left alone");
    }
}

#[test]
fn a_segment_of_huge_pages_is_refused() {
    const HUGE: usize = 2 << 20;
    let segment = raw::new_segment(libc::IPC_PRIVATE, HUGE, libc::SHM_HUGETLB);
    if segment < 0 {
        harness::test::skipped(harness::this_test!(), "needs free huge pages of 2 MiB");
        return;
    }
    let (_creator, ids) = create(LockKind::SysvSem);
    let found = refusal(Ids { segment, ..ids }, HUGE as u64);
    assert!(raw::remove_segment(segment));
    assert!(!raw::segment_exists(segment), "nothing stayed mapped");
    assert!(matches!(found, ErrorKind::HandleType { .. }), "{found:?}");
}
