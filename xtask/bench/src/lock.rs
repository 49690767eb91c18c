//! The suite of the locks: lock and unlock in one thread with nobody else, each kind beside the raw calls under it.
//!
//! Contention and fairness are not measured here.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

use monshm::{BackendKind, LockKind, Segment};

use crate::machine;
use crate::model::{Better, Chart};
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};

/// Pairs of calls in one round.
const FAST: u32 = 2_000_000;
/// Pairs of system calls in one round.
const SLOW: u32 = 200_000;

pub(crate) fn plan(_options: &Options) -> Plan {
    let groups = vec![
        Group {
            title: "futex word beside libc's locks".into(),
            unit: "ns",
            against: &["libc robust"],
            better: Better::Lower,
            chart: Some(Chart::Bars),
            cases: vec![
                ours("monshm posix futex", BackendKind::Posix, LockKind::Futex, FAST),
                ours("monshm sysv futex", BackendKind::Sysv, LockKind::Futex, FAST),
                ours("monshm posix semaphore", BackendKind::Posix, LockKind::Semaphore, FAST),
                mutex("libc robust mutex", true),
                mutex("libc plain mutex", false),
                semaphore(),
                three_states(),
                threads("parking_lot (threads)", parking_lot::Mutex::new(()), |lock| drop(lock.lock())),
                threads("std (threads)", std::sync::Mutex::new(()), |lock| drop(lock.lock())),
            ],
        },
        Group {
            title: "pthread mutex beside the raw call".into(),
            unit: "ns",
            against: &["libc"],
            better: Better::Lower,
            chart: Some(Chart::Bars),
            cases: vec![
                ours("monshm posix pthread-mutex", BackendKind::Posix, LockKind::PthreadMutex, FAST),
                mutex("libc robust mutex", true),
            ],
        },
        Group {
            title: "SysV semaphore beside the raw call".into(),
            unit: "ns",
            against: &["semop"],
            better: Better::Lower,
            chart: Some(Chart::Bars),
            cases: vec![
                ours("monshm sysv sysv-sem", BackendKind::Sysv, LockKind::SysvSem, SLOW),
                semop("semop pair, SEM_UNDO", libc::SEM_UNDO),
                semop("plain pair", 0),
            ],
        },
    ];
    Plan { suite: "lock", groups }
}

/// Nanoseconds of one call of `pair`, which locks and unlocks.
fn time(pairs: u32, mut pair: impl FnMut()) -> f64 {
    for _ in 0..pairs / 10 {
        pair();
    }
    let began = machine::now_ns();
    for _ in 0..pairs {
        pair();
    }
    (machine::now_ns() - began) as f64 / f64::from(pairs)
}

/// A segment of its own each round, so that each is on new pages.
fn ours(name: &'static str, backend: BackendKind, lock: LockKind, pairs: u32) -> Case<'static> {
    Case::fallible(name, move || {
        let segment = Segment::builder(65536).backend(backend).lock_kind(lock).create();
        let segment = segment.map_err(|refusal| refusal.to_string())?;
        Ok(time(pairs, || drop(segment.lock().expect("nobody else holds it"))))
    })
}

fn mutex(name: &'static str, robust: bool) -> Case<'static> {
    Case::new(name, move || {
        let pages = machine::Pages::new(4096);
        let mutex = pages.base.cast::<libc::pthread_mutex_t>().as_ptr();
        // SAFETY: zeroed attributes are initialised by the first call; the mutex lies at the start of a page of our
        // own, is initialised before it is used, and outlives its use.
        unsafe {
            let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            if robust {
                libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            }
            assert_eq!(libc::pthread_mutex_init(mutex, &attributes), 0, "no mutex");
            let nanoseconds = time(FAST, || {
                libc::pthread_mutex_lock(mutex);
                libc::pthread_mutex_unlock(mutex);
            });
            libc::pthread_mutex_destroy(mutex);
            nanoseconds
        }
    })
}

fn semaphore() -> Case<'static> {
    Case::new("libc sem_t", || {
        let pages = machine::Pages::new(4096);
        let semaphore = pages.base.cast::<libc::sem_t>().as_ptr();
        // SAFETY: the semaphore lies at the start of a page of our own, is initialised before and outlives its use.
        unsafe {
            assert_eq!(libc::sem_init(semaphore, 1, 1), 0, "no semaphore");
            time(FAST, || {
                libc::sem_wait(semaphore);
                libc::sem_post(semaphore);
            })
        }
    })
}

/// The futex lock of the textbook, without anything around it: the least that two atomic exchanges cost.
fn three_states() -> Case<'static> {
    Case::new("raw futex, 3 states", || {
        let pages = machine::Pages::new(4096);
        // SAFETY: the word is the start of a page of our own that outlives its use, aligned; nobody else has it.
        let word = unsafe { AtomicU32::from_ptr(pages.base.cast().as_ptr()) };
        time(FAST, || {
            if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                unreachable!("nobody else has the word");
            }
            if word.swap(0, Ordering::Release) == 2 {
                unreachable!("nobody waits");
            }
        })
    })
}

fn threads<L: 'static>(name: &'static str, lock: L, pair: impl Fn(&L) + 'static) -> Case<'static> {
    let lock = UnsafeCell::new(lock);
    Case::new(name, move || {
        // SAFETY: this closure alone has the cell; the optimiser is kept from seeing that the lock has no other user.
        let lock = unsafe { &*std::hint::black_box(lock.get()) };
        time(FAST, || pair(std::hint::black_box(lock)))
    })
}

fn semop(name: &'static str, flags: libc::c_int) -> Case<'static> {
    Case::new(name, move || {
        // SAFETY: plain system calls on a set of our own, made and removed here; the operations outlive the calls.
        unsafe {
            let set = libc::semget(libc::IPC_PRIVATE, 1, 0o600);
            assert!(set >= 0, "no semaphore set");
            let operation = |by| libc::sembuf { sem_num: 0, sem_op: by, sem_flg: flags as libc::c_short };
            let (mut take, mut give) = (operation(-1), operation(1));
            libc::semop(set, &mut give, 1);
            let nanoseconds = time(SLOW, || {
                libc::semop(set, &mut take, 1);
                libc::semop(set, &mut give, 1);
            });
            libc::semctl(set, 0, libc::IPC_RMID);
            nanoseconds
        }
    })
}
