//! Every system call of a creation and of an attach that can fail does, once with each likely errno: the error says so,
//! and nothing stays.

use monshm_core::{Cleanup, ErrorKind, LockKind};

use crate::helper::{Helper, SIZE, create_for, stale};
use crate::raw;

/// System call, third argument that it must have, errno, what the error must start with.
type Case = (i64, Option<i32>, i32, &'static str);

const CREATE: &[Case] = &[
    (libc::SYS_shmget, None, libc::ENOSPC, "NoSpace"),
    (libc::SYS_shmget, None, libc::EINVAL, "NoSpace"),
    (libc::SYS_shmget, None, libc::ENOMEM, "NoSpace"),
    (libc::SYS_shmget, None, libc::EEXIST, "LimitReached"),
    (libc::SYS_shmget, None, libc::ENOSYS, "Unsupported"),
    (libc::SYS_shmget, None, libc::EPERM, "System"),
    (libc::SYS_shmat, None, libc::ENOMEM, "NoSpace"),
    (libc::SYS_shmat, None, libc::EMFILE, "LimitReached"),
    (libc::SYS_madvise, Some(libc::MADV_POPULATE_WRITE), libc::ENOMEM, "NoSpace"),
    (libc::SYS_madvise, Some(libc::MADV_POPULATE_WRITE), libc::EFAULT, "NoSpace"),
    (libc::SYS_madvise, Some(libc::MADV_POPULATE_WRITE), libc::EHWPOISON, "System"),
    (libc::SYS_semget, None, libc::ENOSPC, "LimitReached"),
    (libc::SYS_semget, None, libc::EINVAL, "LimitReached"),
    (libc::SYS_semget, None, libc::ENOMEM, "LimitReached"),
    (libc::SYS_semget, None, libc::EEXIST, "LimitReached"),
    (libc::SYS_semget, None, libc::ENOSYS, "Unsupported"),
    (libc::SYS_semget, None, libc::EPERM, "System"),
    (libc::SYS_semctl, Some(libc::SETALL), libc::ENOMEM, "LimitReached"),
    (libc::SYS_semctl, Some(libc::SETALL), libc::EIDRM, "Gone"),
    (libc::SYS_semctl, Some(libc::IPC_SET), libc::EPERM, "NoAccessForPeer"),
    (libc::SYS_semctl, Some(libc::IPC_SET), libc::EINVAL, "NoAccessForPeer"),
    (libc::SYS_semop, None, libc::ENOSPC, "LimitReached"),
    (libc::SYS_semop, None, libc::ENOMEM, "LimitReached"),
];

const ATTACH: &[Case] = &[
    (libc::SYS_shmctl, None, libc::EACCES, "NoAccess"),
    (libc::SYS_shmctl, None, libc::EIDRM, "Gone"),
    (libc::SYS_shmctl, None, libc::EOVERFLOW, "System"),
    (libc::SYS_shmat, None, libc::ENOMEM, "LimitReached"),
    (libc::SYS_shmat, None, libc::EACCES, "NoAccess"),
    (libc::SYS_shmat, None, libc::EIDRM, "Gone"),
    (libc::SYS_shmat, None, libc::EINVAL, "HandleType"),
    (libc::SYS_semctl, None, libc::EACCES, "NoAccess"),
    (libc::SYS_semctl, None, libc::EIDRM, "Gone"),
    (libc::SYS_semop, None, libc::ENOSPC, "LimitReached"),
    (libc::SYS_semop, None, libc::EIDRM, "Gone"),
];

fn deny(helper: &Helper, (number, third, errno, _): Case) {
    let third = third.map_or(String::new(), |third| format!(" {third}"));
    assert_eq!(helper.ask(format!("deny {number} {errno}{third}")), "done");
    if number == libc::SYS_semop {
        // Newer libc's make one of the other.
        assert_eq!(helper.ask(format!("deny {} {errno}{third}", libc::SYS_semtimedop)), "done");
    }
}

#[test]
fn a_creation_that_fails_anywhere_leaves_nothing() {
    harness::needs_other_users!();
    // What other runs have left behind is not counted here.
    // Where that is not allowed, other runs count too.
    let _ = harness::users::isolate_ipc();
    for (position, case) in CREATE.iter().enumerate() {
        let uid = 65200 + position as u32;
        let helper = Helper::of(uid);
        deny(&helper, *case);
        let answer = helper.ask("create 65199 sysv-sem");
        assert!(answer.starts_with(case.3), "{case:?}: {answer}");
        assert_eq!(raw::count_of(uid), 0, "{case:?}");
    }
}

/// The steps at which a creator is killed; how many objects it then leaves until `clean` finds them.
const STEPS: &[(i64, Option<i32>, usize)] = &[
    (libc::SYS_shmget, None, 0),
    (libc::SYS_shmat, None, 1),
    // IPC_RMID, the only one whose third argument is null.
    (libc::SYS_shmctl, Some(0), 1),
    (libc::SYS_madvise, Some(libc::MADV_POPULATE_WRITE), 0),
    (libc::SYS_semget, None, 0),
    (libc::SYS_semctl, Some(libc::SETALL), 1),
    (libc::SYS_semctl, Some(libc::IPC_SET), 1),
    (libc::SYS_semop, None, 1),
];

#[test]
fn a_creator_killed_at_any_step_leaves_only_what_clean_finds() {
    const UID: u32 = 65130;
    harness::needs_other_users!();
    let _quiet = raw::quiet();
    let mut expected = 0;
    for (number, third, left) in STEPS {
        let helper = Helper::of(UID);
        deny(&helper, (*number, *third, 0, ""));
        helper.say("create 65199 sysv-sem");
        helper.wait();
        expected += left;
        assert_eq!(raw::count_of(UID), expected, "killed at {number} {third:?}");
    }
    assert_eq!(stale(Cleanup::Remove), [], "they could still be under creation");
    // The age from which they are not, and the second by which times are kept.
    std::thread::sleep(std::time::Duration::from_millis(11_100));
    assert_eq!(stale(Cleanup::Report).len(), expected);
    assert_eq!(stale(Cleanup::Remove).len(), expected);
    assert_eq!(raw::count_of(UID), 0);
    assert_eq!(stale(Cleanup::Remove), []);
}

#[test]
fn limits_of_the_system_are_reported() {
    if harness::users::isolate_ipc().is_err() {
        harness::skip!("needs the right to make an IPC namespace");
    }
    // In a new namespace these are this thread's alone.
    let limit = |name: &str, value: &str| {
        let path = format!("/proc/sys/kernel/{name}");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, value).unwrap();
        let error = create_for(harness::users::own(), LockKind::SysvSem).err().expect(name);
        std::fs::write(&path, before).unwrap();
        error
    };
    let space = |place| ErrorKind::NoSpace { asked: SIZE, free: 0, place };
    assert_eq!(limit("shmmax", "8192").kind(), space("one System V segment (SHMMAX)"));
    assert_eq!(limit("shmall", "15").kind(), space("all System V segments (SHMALL)"));
    let sets = ErrorKind::LimitReached { what: "System V semaphores (SEMMNI, SEMMNS)" };
    assert_eq!(limit("sem", "32000 1024000000 500 0").kind(), sets);
    let semaphores = ErrorKind::LimitReached { what: "semaphores in one set (SEMMSL)" };
    assert_eq!(limit("sem", "33 1024000000 500 32000").kind(), semaphores);
    let (first, ids) = create_for(harness::users::own(), LockKind::SysvSem).unwrap();
    let error = limit("shmmni", "1");
    assert_eq!(error.kind(), ErrorKind::LimitReached { what: "System V segments (SHMMNI)" });
    assert_eq!(error.os_error(), Some(libc::ENOSPC));
    drop(first);
    assert!(!raw::set_exists(ids.set));
    assert_eq!(raw::count_of(harness::users::own()), 0, "nothing is left in the namespace");
}

#[test]
fn an_old_kernel_without_populate_gives_the_memory_all_the_same() {
    let helper = Helper::start();
    deny(&helper, (libc::SYS_madvise, Some(libc::MADV_POPULATE_WRITE), libc::EINVAL, ""));
    let ids = helper.create(harness::users::own(), LockKind::SysvSem);
    assert_eq!(raw::segment_column(ids.segment, "rss"), SIZE);
}

#[test]
fn an_attach_that_fails_anywhere_leaves_nothing_mapped_and_takes_nothing_away() {
    let (creator, ids) = create_for(harness::users::own(), LockKind::SysvSem).unwrap();
    for case in ATTACH {
        let helper = Helper::start();
        deny(&helper, *case);
        let answer = helper.attach(ids, LockKind::SysvSem);
        assert!(answer.starts_with(case.3), "{case:?}: {answer}");
        assert_eq!(raw::segment_column(ids.segment, "nattch"), 1, "{case:?}");
        assert!(raw::set_exists(ids.set), "{case:?}");
    }
    drop(creator);
    assert!(!raw::set_exists(ids.set) && !raw::segment_exists(ids.segment));
}
