//! Two users, and a third: who gets in, by real processes of those users. Needs root to become them.
//!
//! Run without root, each test says that it was skipped.

mod support;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use harness::Link;
use harness::process::Outcome;
use monshm_core::backend::Backend;
use monshm_core::error::ErrorKind;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;
use rustix::fs::Mode;
use support::{Helper, MEMORIES, SIZE, attach, attach_given, given, own_uid, request, share, word};

const CREATOR: u32 = 65531;
const PEER: u32 = 65532;
const STRANGER: u32 = 65533;

harness::roles! { "peer" => peer, "creator" => creator }

/// A peer: attaches and writes, or says why not.
fn peer(link: &Link) -> Outcome {
    let (_, attached) = attach_given(link);
    let outcome = attached.map(|peer| word(&peer).store(own_uid(), Ordering::Release));
    link.say(match outcome {
        Ok(()) => "in".to_owned(),
        Err(error) => match error.kind() {
            ErrorKind::NoAccess { .. } => "no access".to_owned(),
            ErrorKind::HandleMissing => "handle missing".to_owned(),
            ErrorKind::OpenToOthers { .. } => "open to others".to_owned(),
            _ => error.to_string(),
        },
    })?;
    Ok(())
}

/// An unprivileged creator: makes a segment for PEER; the others are started by a process that may.
fn creator(link: &Link) -> Outcome {
    given(link);
    let memory = link.hear()?.parse::<MemoryKind>().expect("a kind");
    let segment = Posix.create(&request(memory, SIZE, PEER)).expect("create");
    let (descriptor, handle) = share(&segment, LockKind::Futex);
    link.say(support::to_text(&descriptor))?;
    // The parent opens this number in /proc, as the passing of the descriptor over a socket would.
    link.say(std::os::fd::AsRawFd::as_raw_fd(&handle))?;
    link.receive()?;
    Ok(())
}

fn open_in(pid: i32, fd: &str) -> OwnedFd {
    let path = format!("/proc/{pid}/fd/{fd}");
    rustix::fs::open(path, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn from_an_unprivileged_creator(memory: MemoryKind) {
    let creator = Helper::start("creator", CREATOR, None, None);
    creator.say(memory);
    let descriptor = support::from_text(&creator.hear());
    let handle = open_in(creator.pid(), &creator.hear());
    assert_eq!(descriptor.owner.uid, CREATOR);
    let outcome = |uid: u32, handle| Helper::start("peer", uid, Some(&descriptor), handle).answer();
    assert_eq!(outcome(PEER, Some(&handle)), "in");
    assert_eq!(outcome(STRANGER, Some(&handle)), "no access", "a descriptor passed on does not suffice");
    let by_bytes = if memory == MemoryKind::Named { ["in", "no access"] } else { ["handle missing"; 2] };
    assert_eq!([outcome(PEER, None), outcome(STRANGER, None)], by_bytes);
    creator.finish();
}

#[test]
fn an_unprivileged_creator_lets_in_its_peer_to_a_memfd_and_nobody_else() {
    harness::needs_other_users!();
    from_an_unprivileged_creator(MemoryKind::Memfd);
}

#[test]
fn an_unprivileged_creator_lets_in_its_peer_to_a_name_and_nobody_else() {
    harness::needs_other_users!();
    from_an_unprivileged_creator(MemoryKind::Named);
}

#[test]
fn a_privileged_creator_lets_in_its_peer_and_nobody_else() {
    harness::needs_other_users!();
    for &memory in MEMORIES {
        let segment = Posix.create(&request(memory, SIZE, PEER)).expect("create");
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        let owner = if memory == MemoryKind::Named { PEER } else { own_uid() };
        assert_eq!(descriptor.owner.uid, owner);
        let outcome = |uid: u32| Helper::start("peer", uid, Some(&descriptor), Some(&handle)).answer();
        assert_eq!(outcome(PEER), "in");
        assert_eq!(word(&segment).load(Ordering::Acquire), PEER);
        assert_eq!(outcome(STRANGER), "no access");
        assert_eq!(word(&segment).load(Ordering::Acquire), PEER);
    }
}

#[test]
fn objects_open_to_more_are_refused() {
    for mode in [0o604, 0o602, 0o660, 0o640] {
        for &memory in MEMORIES {
            let segment = support::create(memory);
            let (descriptor, handle) = share(&segment, LockKind::Futex);
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode)).unwrap();
            let kind = attach(&descriptor, Some(handle)).map(drop).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::OpenToOthers { mode }, "{memory}");
        }
    }
}

#[test]
fn a_list_that_admits_another_user_or_a_group_is_refused() {
    let segment = Posix.create(&request(MemoryKind::Memfd, SIZE, own_uid() + 1)).unwrap();
    let (descriptor, handle) = share(&segment, LockKind::Futex);
    let kind = attach(&descriptor, Some(handle.try_clone().unwrap())).map(drop).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::OpenToOthers { mode: 0o660 }, "the list names another user than us");
    // The list for us, and with one more entry, for a group.
    let list = |entries: &[(u16, u16, u32)]| {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, permission, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permission.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        rustix::fs::fsetxattr(&handle, "system.posix_acl_access", &bytes, rustix::fs::XattrFlags::empty()).unwrap();
        attach(&descriptor, Some(handle.try_clone().unwrap())).map(drop).map_err(|error| error.kind())
    };
    let (none, us) = (u32::MAX, own_uid());
    let ours = [(1, 6, none), (2, 6, us), (4, 0, none), (16, 6, none), (32, 0, none)];
    assert_eq!(list(&ours), Ok(()));
    let refused = Err(ErrorKind::OpenToOthers { mode: 0o660 });
    let mut with_group = ours.to_vec();
    with_group.insert(3, (8, 6, 12345));
    assert_eq!(list(&with_group), refused);
    let mut with_second = ours.to_vec();
    with_second.insert(2, (2, 4, us + 7));
    assert_eq!(list(&with_second), refused);
    let mut with_owning_group = ours;
    with_owning_group[2].1 = 4;
    assert_eq!(list(&with_owning_group), refused);
}
