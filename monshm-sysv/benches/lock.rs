//! What the locks and the creation cost beside the bare system calls, in one run, interleaved.
//!
//! Prints the median and the range over the rounds. It judges nothing: a machine that is busy measures nonsense.

use std::ffi::c_int;
use std::hint::black_box;
use std::time::Instant;

use monshm_core::{Access, Backend, Identity, LockKind, MemoryKind, RawLock, Request};
use monshm_sysv::Sysv;

const ROUNDS: usize = 15;
const PAIRS: u32 = 100_000;
const CREATIONS: u32 = 1_000;
const SIZE: usize = 64 * 1024;

fn main() {
    // SAFETY: takes no pointer.
    let uid = unsafe { libc::geteuid() };
    let peer = Identity { uid, gid: u32::MAX };
    let request = Request {
        size: SIZE as u64,
        memory: MemoryKind::SysvShm,
        peer,
        process: monshm_core::backend::Peer::AnyOfItsUser,
        access: Access::Shared,
        reachable_by_bytes: true,
    };
    let attachment = Sysv.create(&request).expect("create");
    let semaphore = attachment.create_lock(LockKind::SysvSem).expect("sysv-sem");
    let futex =
        Sysv.locks().contains(&LockKind::Futex).then(|| attachment.create_lock(LockKind::Futex).expect("futex"));
    // SAFETY: takes no pointer. One semaphore, as small as a raw lock can be.
    let raw = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
    semop(raw, 1, 0);

    let (mut bare, mut ours, mut words, mut calls, mut creations) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(time(PAIRS, || {
            semop(raw, -1, libc::SEM_UNDO);
            semop(raw, 1, libc::SEM_UNDO);
        }));
        ours.push(time(PAIRS, || pair(&*semaphore)));
        if let Some(futex) = &futex {
            words.push(time(PAIRS, || pair(&**futex)));
        }
        calls.push(time(CREATIONS, bare_creation));
        creations.push(time(CREATIONS, || drop(black_box(Sysv.create(&request).expect("create")))));
    }
    // SAFETY: IPC_RMID uses no fourth argument.
    unsafe { libc::semctl(raw, 0, libc::IPC_RMID) };

    report("raw semop pair, SEM_UNDO", &mut bare, None);
    let base = report("sysv-sem, acquire_now + release", &mut ours, Some(&bare));
    if !words.is_empty() {
        report("futex, acquire_now + release", &mut words, None);
    }
    report("bare calls, create 64 KiB and remove", &mut calls, None);
    let creation = report("create 64 KiB and drop", &mut creations, Some(&calls));
    println!("ratios of medians: lock {base:.3}, creation {creation:.3}");
}

fn pair(lock: &dyn RawLock) {
    assert!(lock.acquire_now().expect("acquire").is_some());
    lock.release().expect("release");
}

/// Nanoseconds for one call of `work`.
fn time(times: u32, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        work();
    }
    begin.elapsed().as_nanos() as f64 / f64::from(times)
}

fn semop(id: c_int, delta: i16, flags: c_int) {
    let mut operation = libc::sembuf { sem_num: 0, sem_op: delta, sem_flg: flags as i16 };
    // SAFETY: the kernel reads one sembuf.
    assert_eq!(unsafe { libc::semop(id, &raw mut operation, 1) }, 0);
}

/// The calls that a segment of this kind cannot do without: memory made, mapped, filled, its id removed; a set made,
/// set and used; all of it removed again.
fn bare_creation() {
    const COUNT: c_int = 34;
    let values = [1_u16; COUNT as usize];
    // SAFETY: the mapping is used by madvise alone and unmapped once; SETALL reads as many values as the set has.
    unsafe {
        let segment = libc::shmget(libc::IPC_PRIVATE, SIZE, 0o600);
        let base = libc::shmat(segment, std::ptr::null(), 0);
        assert_ne!(base.addr(), usize::MAX);
        libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
        assert_eq!(libc::madvise(base, SIZE, libc::MADV_POPULATE_WRITE), 0);
        let set = libc::semget(libc::IPC_PRIVATE, COUNT, 0o600);
        libc::semctl(set, 0, libc::SETALL, values.as_ptr());
        let mut operation = libc::sembuf { sem_num: 1, sem_op: 1, sem_flg: libc::SEM_UNDO as i16 };
        assert_eq!(libc::semop(set, &raw mut operation, 1), 0);
        libc::semctl(set, 0, libc::IPC_RMID);
        libc::shmdt(base);
    }
}

/// Prints a line; gives the ratio of the medians to `base`, 0 without one. Both are sorted afterwards.
fn report(what: &str, rounds: &mut [f64], base: Option<&[f64]>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    println!("{what:40} {median:10.1} ns  ({:.1} to {:.1})", rounds[0], rounds[rounds.len() - 1]);
    base.map_or(0.0, |base| median / base[base.len() / 2])
}
