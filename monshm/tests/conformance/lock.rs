//! The lock: exclusion between processes and threads, deadlines, the death of a holder and of a waiter.
//!
//! Handles in a forked child are `fork`'s. No speed is asserted: a bound on time is a promise, with room for a busy
//! machine.

use std::alloc::Layout;
use std::time::{Duration, Instant};

use monshm::{ErrorKind, PreviousHolder, Segment};

use super::Sut;
use crate::support::orders::add_one;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE};

/// Long enough for whatever comes in the end; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

fn number_in(segment: &Segment) -> u64 {
    segment.alloc(Layout::new::<u64>()).unwrap()
}

fn value(segment: &Segment, offset: u64) -> u64 {
    let word = segment.region(offset, 8).unwrap().atomic_u64(0).unwrap();
    word.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn processes_and_threads_exclude_each_other() {
    const ROUNDS: usize = 300;
    const THREADS: usize = 2;
    let segment = Sut::segment();
    let offset = number_in(&segment);
    let helpers = [Helper::new(), Helper::new()];
    helpers.iter().for_each(|helper| helper.take(&segment));
    for helper in &helpers {
        helper.start(format!("count {THREADS} {ROUNDS} {offset}"));
    }
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let guard = segment.lock().unwrap();
                    assert_eq!(guard.previous_holder(), PreviousHolder::Released);
                    add_one(segment.region(offset, 8).unwrap().atomic_u64(0).unwrap());
                }
            });
        }
    });
    for helper in &helpers {
        helper.finish().unwrap();
    }
    assert_eq!(value(&segment, offset), (3 * THREADS * ROUNDS) as u64);
}

#[test]
fn try_lock_answers_at_once_when_another_process_holds_it() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    assert_eq!(helper.ask("lock").unwrap(), "Clean");
    assert!(segment.try_lock().unwrap().is_none());
    helper.ask("unlock").unwrap();
    assert_eq!(segment.try_lock().unwrap().unwrap().previous_holder(), PreviousHolder::Released);
    let _guard = segment.lock().unwrap();
    assert_eq!(helper.ask("try_lock").unwrap(), "Held");
}

#[test]
fn a_deadline_is_kept() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    for timeout_ms in [0, 1, 30] {
        let timeout = Duration::from_millis(timeout_ms);
        let began = Instant::now();
        let error = refused!(segment.lock_timeout(timeout), ErrorKind::TimedOut { .. });
        let took = began.elapsed();
        assert!(took >= timeout, "{took:?} of {timeout:?}: {error}");
        // The promise is 50 ms; the rest is for a machine that is busy with something else.
        assert!(took < timeout + Duration::from_millis(1000), "{took:?} of {timeout:?}");
    }
    helper.ask("unlock").unwrap();
    drop(segment.lock_timeout(LONG).unwrap());
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_let_go() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    for order in ["lock", "lock_timeout 30000"] {
        let guard = segment.lock().unwrap();
        helper.start(order);
        helper.until_asleep();
        drop(guard);
        assert_eq!(helper.finish().unwrap(), "Clean");
        assert!(segment.try_lock().unwrap().is_none());
        helper.ask("unlock").unwrap();
    }
}

#[test]
fn a_thread_that_locks_twice_is_told() {
    let segment = Sut::segment();
    let guard = segment.lock().unwrap();
    let error = refused!(segment.lock(), ErrorKind::Deadlock);
    assert!(error.to_string().contains("drop its guard first"), "{error}");
    refused!(segment.lock_timeout(LONG), ErrorKind::Deadlock);
    assert!(segment.try_lock().unwrap().is_none());
    refused!(segment.clone().lock(), ErrorKind::Deadlock);
    guard.unlock().unwrap();
    segment.lock().unwrap().unlock().unwrap();
}

#[test]
fn threads_of_one_process_queue() {
    let segment = Sut::segment();
    let guard = segment.lock().unwrap();
    std::thread::scope(|scope| {
        let impatient = scope.spawn(|| segment.lock_timeout(Duration::from_millis(20)).map(drop));
        let patient: Vec<_> = (0..3).map(|_| scope.spawn(|| segment.lock_timeout(LONG).map(drop))).collect();
        refused!(impatient.join().unwrap(), ErrorKind::TimedOut { .. });
        assert!(scope.spawn(|| segment.try_lock().unwrap().is_none()).join().unwrap());
        drop(guard);
        patient.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
    assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
}

/// A holder that is killed, and each way of taking the lock after it.
#[test]
fn owner_death_is_told() {
    type Take = fn(&Segment) -> monshm::Result<PreviousHolder>;
    let ways: [(&str, Take); 2] = [
        ("lock", |segment| segment.lock().map(|guard| guard.previous_holder())),
        ("lock_timeout", |segment| segment.lock_timeout(LONG).map(|guard| guard.previous_holder())),
    ];
    for (name, take) in ways {
        let segment = Sut::segment();
        let helper = Helper::new();
        helper.take(&segment);
        helper.ask("lock").unwrap();
        helper.kill();
        assert_eq!(take(&segment).unwrap(), PreviousHolder::Died, "{name}");
        assert_eq!(take(&segment).unwrap(), PreviousHolder::Released, "{name}: told once");
    }
}

/// exec(2) closes what a slot's life hangs on, where that is a file. A System V slot lives as long as its process: its
/// own test is in that crate.
#[test]
fn a_holder_that_becomes_another_program_counts_as_dead() {
    if Sut::SYSV {
        harness::skip!("the kernel keeps SEM_UNDO across exec");
    }
    if Sut::CHOICE.lock == "pthread-mutex" {
        harness::skip!("whether the kernel marks a robust mutex at exec is its own affair");
    }
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    helper.start("exec sleep 1000");
    let taken = segment.lock_timeout(LONG).map(|guard| guard.previous_holder());
    assert_eq!(taken.unwrap(), PreviousHolder::Died);
    // Nothing of ours is open in the new program.
    let fds = std::fs::read_dir(format!("/proc/{}/fd", helper.pid())).unwrap().flatten();
    let leads = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).map(|path| path.display().to_string());
    let ours: Vec<String> = leads.filter(|path| path.contains("memfd:monshm") || path.contains("/dev/shm")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    helper.kill();
}

/// A try does not ask each time who lives, so it may take some tries.
#[test]
fn owner_death_is_told_to_who_tries() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    assert!(segment.try_lock().unwrap().is_none());
    helper.kill();
    let began = Instant::now();
    let guard = loop {
        if let Some(guard) = segment.try_lock().unwrap() {
            break guard;
        }
        assert!(began.elapsed() < LONG, "the dead holder's lock is not found by trying");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(guard.previous_holder(), PreviousHolder::Died);
    drop(guard);
    assert_eq!(segment.try_lock().unwrap().unwrap().previous_holder(), PreviousHolder::Released, "told once");
}

#[test]
fn owner_death_is_told_to_one_who_waits_already() {
    let segment = Sut::segment();
    let (holder, waiter) = (Helper::new(), Helper::new());
    holder.take(&segment);
    waiter.take(&segment);
    holder.ask("lock").unwrap();
    waiter.start("lock");
    waiter.until_asleep();
    holder.kill();
    assert_eq!(waiter.finish().unwrap(), "OwnerDied");
    waiter.ask("unlock").unwrap();
    assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
}

#[test]
fn the_creators_death_is_told_to_its_peer() {
    let helper = Helper::new();
    let segment = helper.give(Sut::CHOICE, SIZE);
    helper.ask("lock").unwrap();
    helper.kill();
    let guard = segment.lock().unwrap();
    assert_eq!(guard.previous_holder(), PreviousHolder::Died);
    drop(guard);
    assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
}

#[test]
fn each_of_many_deaths_is_told_once() {
    let segment = Sut::segment();
    for _ in 0..5 {
        let helper = Helper::new();
        helper.take(&segment);
        helper.ask("lock").unwrap();
        helper.kill();
        assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Died);
        assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
    }
}

/// The place of a dead holder goes to the next who attaches: it must not take the lock for its own.
#[test]
fn who_gets_a_dead_holders_place_does_not_hold_its_lock() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    helper.kill();
    let next = Helper::new();
    next.take(&segment);
    assert_eq!(next.ask("lock_timeout 30000").unwrap(), "OwnerDied");
    next.ask("unlock").unwrap();
    assert_eq!(segment.lock_timeout(LONG).unwrap().previous_holder(), PreviousHolder::Released);
}

#[test]
fn a_holder_that_detaches_while_it_holds_is_told_of_like_a_death() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let peer = Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap();
    std::thread::spawn(move || std::mem::forget(peer.lock().unwrap())).join().unwrap();
    assert_eq!(segment.lock_timeout(LONG).unwrap().previous_holder(), PreviousHolder::Died);
    assert_eq!(segment.lock_timeout(LONG).unwrap().previous_holder(), PreviousHolder::Released);
}

#[test]
fn a_waiter_that_is_killed_does_no_harm() {
    let segment = Sut::segment();
    let (victim, other) = (Helper::new(), Helper::new());
    victim.take(&segment);
    other.take(&segment);
    let guard = segment.lock().unwrap();
    victim.start("lock");
    victim.until_asleep();
    other.start("lock");
    other.until_asleep();
    victim.kill();
    drop(guard);
    assert_eq!(other.finish().unwrap(), "Clean");
    other.ask("unlock").unwrap();
    assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
}

/// Threads that take the lock again and again must leave it to a process that waits.
#[test]
fn nobody_is_starved() {
    let segment = Sut::segment();
    let offset = number_in(&segment);
    let helper = Helper::new();
    helper.take(&segment);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _guard = segment.lock().unwrap();
                    add_one(segment.region(offset, 8).unwrap().atomic_u64(0).unwrap());
                }
            });
        }
        let outcome = helper.ask(format!("count 1 20 {offset}"));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn a_thread_that_ends_while_it_holds_keeps_the_lock_for_its_process() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(segment.lock().unwrap())).join().unwrap();
    });
    if segment.lock_kind() == monshm::LockKind::PthreadMutex {
        // The kernel tells a robust mutex of the end of a thread, as of a process.
        assert_eq!(helper.ask("lock").unwrap(), "OwnerDied");
        return;
    }
    assert!(segment.try_lock().unwrap().is_none());
    refused!(segment.lock_timeout(Duration::from_millis(5)), ErrorKind::TimedOut { .. });
    assert!(helper.ask("lock_timeout 5").unwrap_err().is("TimedOut"));
}

/// What the layout of `monshm_core::layout` calls the lock area, and the dirty word of a System V lock.
const WORDS: [u64; 2] = [512, 576];

#[test]
fn words_that_cannot_be_are_corruption_and_poison_the_handle() {
    let calls: [fn(&Segment) -> monshm::Result<()>; 3] = [
        |segment| segment.lock().map(drop),
        |segment| segment.try_lock().map(drop),
        |segment| segment.lock_timeout(LONG).map(drop),
    ];
    for call in calls {
        let segment = Sut::segment();
        if segment.lock_kind() == monshm::LockKind::PthreadMutex {
            harness::skip!("libc's mutex is not for editing; who can do it must be trusted");
        }
        for word in WORDS {
            segment.region(word, 4).unwrap().copy_from(&0x1555_5555_u32.to_ne_bytes()).unwrap();
        }
        let error = refused!(call(&segment), ErrorKind::Corrupt { .. });
        assert!(error.to_string().contains("detach from it"), "{error}");
        refused!(call(&segment), ErrorKind::Poisoned);
        refused!(segment.region(0, 1), ErrorKind::Poisoned);
    }
}

/// Where the header keeps the end of the common data, which a repair reads.
const COMMON_DATA_END: u64 = 32;

/// A repair that fails releases the lock as it was left: the next holder must still repair.
#[test]
fn a_failed_repair_tells_the_next_holder() {
    let (segment, peer) = Sut::pair();
    let holder = Helper::new();
    holder.take(&segment);
    holder.ask("lock").unwrap();
    holder.kill();
    let word = peer.region(COMMON_DATA_END, 8).unwrap();
    let mut good = [0; 8];
    word.copy_to(&mut good).unwrap();
    word.copy_from(&[0xff; 8]).unwrap();
    refused!(segment.lock_timeout(LONG).map(drop), ErrorKind::Corrupt { .. });
    word.copy_from(&good).unwrap();
    assert_eq!(peer.lock_timeout(LONG).unwrap().previous_holder(), PreviousHolder::Died);
    assert_eq!(peer.lock().unwrap().previous_holder(), PreviousHolder::Released, "repaired");
}

#[test]
fn a_held_lock_that_a_peer_declares_free_gives_no_second_guard() {
    // What waits asks first who holds the lock, unless the word is as free as it can be.
    type Call = fn(&Segment) -> monshm::Result<()>;
    let calls: [(Call, u32); 4] = [
        (|segment| segment.lock().map(drop), 0),
        (|segment| segment.lock_timeout(LONG).map(drop), 0),
        (|segment| segment.try_lock().map(drop), 0),
        (|segment| segment.try_lock().map(drop), 1 << 29),
    ];
    for (call, free) in calls {
        let segment = Sut::segment();
        if !matches!(segment.lock_kind(), monshm::LockKind::Futex | monshm::LockKind::Semaphore) {
            harness::skip!("the lock's state is the kernel's or libc's, not a word of ours");
        }
        let guard = segment.lock().unwrap();
        segment.region(WORDS[0], 4).unwrap().copy_from(&free.to_ne_bytes()).unwrap();
        refused!(call(&segment), ErrorKind::Corrupt { .. });
        refused!(call(&segment), ErrorKind::Poisoned);
        guard.unlock().unwrap();
    }
}

#[test]
fn an_owned_guard_holds_the_lock_and_the_segment() {
    let segment = Sut::segment();
    let guard = segment.lock_owned().unwrap();
    assert_eq!((segment.handle_count(), guard.previous_holder()), (2, monshm::PreviousHolder::Released));
    assert!(segment.try_lock().unwrap().is_none());
    guard.ring().unwrap().append(b"owned").unwrap();
    drop(guard);
    let guard = segment.try_lock().unwrap().unwrap().into_owned();
    assert!(segment.try_lock().unwrap().is_none());
    assert_eq!(guard.segment().size(), segment.size());
    guard.unlock().unwrap();
    assert_eq!(segment.handle_count(), 1);
    segment.lock().unwrap().unlock().unwrap();
}
