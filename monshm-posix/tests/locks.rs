//! What every lock promises, on each kind that is built: exclusion, deadlines, owners and waiters that are killed.
//!
//! The state machine of the word has its own tests in `monshm-core`; here it meets the kernel.

mod support;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use harness::Link;
use harness::process::Outcome;
use harness::test::alone;
use monshm_core::backend::Backend;
use monshm_core::descriptor::Descriptor;
use monshm_core::error::ErrorKind;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_core::lock::{Deadline, PreviousHolder, RawLock};
use monshm_posix::Posix;
use support::{Helper, Segment, attach, attach_given, create, share};

/// Long enough for any machine; a test that needs it has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn within(timeout: Duration) -> Deadline {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Deadline::after(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64, timeout)
}

/// A segment with a lock, and what its peers need.
struct Pair {
    segment: Segment,
    lock: Box<dyn RawLock>,
    descriptor: Descriptor,
    handle: OwnedFd,
}

impl Pair {
    fn new(kind: LockKind) -> Self {
        let segment = create(MemoryKind::Memfd);
        let lock = segment.create_lock(kind).expect("create_lock");
        let (descriptor, handle) = share(&segment, kind);
        Self { segment, lock, descriptor, handle }
    }

    fn peer(&self) -> (Segment, Box<dyn RawLock>) {
        let peer = attach(&self.descriptor, Some(self.handle.try_clone().unwrap())).expect("attach");
        let lock = peer.open_lock(self.descriptor.lock).expect("open_lock");
        (peer, lock)
    }

    fn start(&self, role: &str) -> Helper {
        Helper::peer(role, &self.descriptor, &self.handle)
    }
}

/// Two words of the segment that its users keep equal under the lock.
fn twins(segment: &Segment) -> [&std::sync::atomic::AtomicU32; 2] {
    let region = segment.region();
    [8192, 8196].map(|offset| {
        let pointer = region.at(offset, 4, 4).expect("inside");
        // SAFETY: four mapped bytes at a multiple of 4, borrowed no longer than the attachment that maps them.
        unsafe { std::sync::atomic::AtomicU32::from_ptr(pointer.as_ptr().cast()) }
    })
}

fn raise(segment: &Segment) {
    let [first, second] = twins(segment);
    first.store(first.load(Relaxed) + 1, Relaxed);
    std::hint::black_box(());
    second.store(second.load(Relaxed) + 1, Relaxed);
}

/// Acquires, repairs what a dead holder left, and says what was found.
fn acquire(segment: &Segment, lock: &dyn RawLock) -> PreviousHolder {
    let acquired = lock.acquire(within(TIMEOUT)).expect("acquire");
    if acquired == PreviousHolder::Died {
        let [first, second] = twins(segment);
        second.store(first.load(Relaxed), Relaxed);
        lock.repaired().expect("repaired");
    }
    acquired
}

harness::roles! { "hold" => hold, "wait" => wait, "raise" => raise_often }

/// What a helper attaches to.
fn attached(link: &Link) -> (Segment, Box<dyn RawLock>) {
    let (descriptor, peer) = attach_given(link);
    let peer = peer.expect("attach");
    let lock = peer.open_lock(descriptor.lock).expect("open_lock");
    (peer, lock)
}

fn hold(link: &Link) -> Outcome {
    let (_peer, lock) = attached(link);
    link.say(format_args!("{:?}", lock.acquire(within(TIMEOUT))?))?;
    if link.receive()?.is_some() {
        lock.release()?;
        link.say("released")?;
        link.receive()?;
    }
    Ok(())
}

fn wait(link: &Link) -> Outcome {
    let (_peer, lock) = attached(link);
    link.say("waiting")?;
    link.say(format_args!("{:?}", lock.acquire(within(TIMEOUT)).map_err(|error| error.kind())))?;
    link.receive()?;
    Ok(())
}

fn raise_often(link: &Link) -> Outcome {
    let (peer, lock) = attached(link);
    link.say("ready")?;
    for _ in 0..link.hear()?.parse::<u32>()? {
        acquire(&peer, &*lock);
        raise(&peer);
        lock.release()?;
    }
    link.say("done")?;
    Ok(())
}

#[test]
fn one_holder_at_a_time_between_processes() {
    const ROUNDS: u32 = 20_000;
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let helpers = [(); 3].map(|()| pair.start("raise"));
        helpers.iter().for_each(|helper| helper.expect("ready"));
        helpers.iter().for_each(|helper| helper.say(ROUNDS));
        helpers.iter().for_each(|helper| helper.expect("done"));
        assert_eq!(twins(&pair.segment).map(|word| word.load(Acquire)), [3 * ROUNDS; 2], "{kind}");
    }
}

#[test]
fn a_holder_killed_inside_is_reported_once() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let holder = pair.start("hold");
        holder.expect("Released");
        assert!(pair.lock.acquire_now().unwrap().is_none() && pair.lock.try_acquire().unwrap().is_none());
        holder.kill();
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died, "{kind}");
        pair.lock.release().unwrap();
        assert_eq!(pair.lock.acquire_now().unwrap(), Some(PreviousHolder::Released), "{kind}");
        pair.lock.release().unwrap();
    }
}

#[test]
fn a_holder_killed_before_it_repaired_leaves_it_to_the_next() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        for found in ["Released", "Died", "Died"] {
            let holder = pair.start("hold");
            assert_eq!(holder.hear(), found, "{kind}");
            holder.kill();
        }
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died, "{kind}");
    }
}

#[test]
fn an_unrepaired_release_tells_the_next_holder() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let holder = pair.start("hold");
        holder.expect("Released");
        holder.kill();
        let (_peer, peer) = pair.peer();
        for lock in [&pair.lock, &peer, &pair.lock] {
            assert_eq!(lock.acquire(within(TIMEOUT)).unwrap(), PreviousHolder::Died, "{kind}");
            lock.release().unwrap();
        }
        assert_eq!(peer.try_acquire().unwrap(), Some(PreviousHolder::Died), "{kind}");
        peer.release().unwrap();
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died, "{kind}");
        pair.lock.release().unwrap();
        assert_eq!(peer.acquire(within(TIMEOUT)).unwrap(), PreviousHolder::Released, "{kind}: repaired");
        peer.release().unwrap();
    }
}

#[test]
fn whoever_gets_a_dead_holders_slot_does_not_get_its_lock() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let holder = pair.start("hold");
        holder.expect("Released");
        holder.kill();
        let (peer, lock) = pair.peer();
        assert_eq!(peer.slot().index(), 1, "the slot of the dead");
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died, "{kind}");
        assert!(lock.acquire_now().unwrap().is_none(), "{kind}");
        pair.lock.release().unwrap();
        assert_eq!(lock.acquire_now().unwrap(), Some(PreviousHolder::Released), "{kind}");
        lock.release().unwrap();
    }
}

#[test]
fn a_waiter_is_let_in_and_a_killed_waiter_takes_nothing_with_it() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        pair.lock.acquire_now().unwrap().expect("free");
        for _ in 0..8 {
            let waiter = pair.start("wait");
            waiter.expect("waiting");
            waiter.kill();
        }
        let waiter = pair.start("wait");
        waiter.expect("waiting");
        std::thread::sleep(Duration::from_millis(5));
        pair.lock.release().unwrap();
        waiter.expect("Ok(Released)");
        waiter.kill();
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died, "{kind}");
        pair.lock.release().unwrap();
    }
}

#[test]
fn a_deadline_is_kept_with_a_holder_that_lives_or_is_stopped() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let holder = pair.start("hold");
        holder.expect("Released");
        for signal in [libc::SIGCONT, libc::SIGSTOP] {
            // SAFETY: a process that this test started and has not waited for.
            assert_eq!(unsafe { libc::kill(holder.pid(), signal) }, 0);
            for timeout in [Duration::ZERO, Duration::from_millis(30)] {
                let began = Instant::now();
                let kind_of_error = pair.lock.acquire(within(timeout)).unwrap_err().kind();
                let took = began.elapsed();
                assert!(matches!(kind_of_error, ErrorKind::TimedOut { .. }), "{kind}: {kind_of_error}");
                assert!(took >= timeout && took < TIMEOUT, "{kind}: {took:?}");
            }
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(holder.pid(), libc::SIGCONT) }, 0);
        holder.say("release");
        holder.expect("released");
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Released, "{kind}");
        pair.lock.release().unwrap();
    }
}

#[test]
fn a_busy_neighbour_cannot_keep_the_lock_for_ever() {
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let neighbours = [(); 2].map(|()| pair.start("raise"));
        for neighbour in &neighbours {
            neighbour.expect("ready");
            neighbour.say(u32::MAX);
        }
        for _ in 0..30 {
            acquire(&pair.segment, &*pair.lock);
            raise(&pair.segment);
            pair.lock.release().unwrap();
        }
        neighbours.into_iter().for_each(Helper::kill);
        acquire(&pair.segment, &*pair.lock);
        let [first, second] = twins(&pair.segment);
        assert_eq!(first.load(Relaxed), second.load(Relaxed));
        pair.lock.release().unwrap();
    }
}

#[test]
fn a_torn_state_is_always_reported() {
    const KILLS: u32 = 60;
    for &kind in Posix.locks() {
        let pair = Pair::new(kind);
        let mut reported = 0;
        for kill in 0..KILLS {
            let helper = pair.start("raise");
            helper.expect("ready");
            helper.say(u32::MAX);
            std::thread::sleep(Duration::from_micros(u64::from(kill) * 37));
            helper.kill();
            let acquired = pair.lock.acquire(within(TIMEOUT)).expect("no lock is lost");
            let [first, second] = twins(&pair.segment).map(|word| word.load(Relaxed));
            assert!(first == second || acquired == PreviousHolder::Died, "{kind}: torn and not reported");
            if acquired == PreviousHolder::Died {
                reported += 1;
                twins(&pair.segment)[1].store(first, Relaxed);
                pair.lock.repaired().unwrap();
            }
            pair.lock.release().unwrap();
        }
        println!("{kind}: {reported} of {KILLS} kills were inside");
        assert!(reported > 0, "{kind}: no kill was inside");
    }
}

#[test]
fn signals_faster_than_a_slice_do_not_hide_a_death() {
    alone(|| {
        for &kind in Posix.locks() {
            let pair = Pair::new(kind);
            let holder = pair.start("hold");
            holder.expect("Released");
            holder.kill();
            let acquired = support::pestered(|| acquire(&pair.segment, &*pair.lock));
            assert_eq!(acquired, PreviousHolder::Died, "{kind}");
            pair.lock.release().unwrap();
        }
    });
}

#[test]
fn words_that_nobody_writes_are_corrupt_and_a_stranger_cannot_release() {
    // The mutex has a test of its own below: libc knows threads, not handles, and its words are not to be edited.
    for &kind in Posix.locks().iter().filter(|&&kind| kind != LockKind::PthreadMutex) {
        let pair = Pair::new(kind);
        let (_peer, lock) = pair.peer();
        pair.lock.acquire_now().unwrap().expect("free");
        let error = lock.release().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{kind}: {error}");
        let region = pair.segment.region();
        let word = region.header().lock_word();
        for bad in [0x1fff_ffff_u32, 33, 1 << 16, 1 << 28 | 1, 1 << 29 | 1] {
            word.store(bad, Relaxed);
            for error in [
                lock.acquire(within(TIMEOUT)).unwrap_err(),
                lock.try_acquire().unwrap_err(),
                pair.lock.release().unwrap_err(),
            ] {
                assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{kind}: {error}");
            }
            assert!(lock.acquire_now().unwrap().is_none());
        }
    }
}

#[cfg(feature = "pthread-mutex")]
#[test]
fn a_mutex_is_let_go_by_its_thread_alone_and_not_taken_twice() {
    let pair = Pair::new(LockKind::PthreadMutex);
    pair.lock.acquire_now().unwrap().expect("free");
    let others = || pair.lock.release().unwrap_err().kind();
    let kind = std::thread::scope(|scope| scope.spawn(others).join().unwrap());
    assert_eq!(kind, ErrorKind::NotHolder);
    assert_eq!(pair.lock.acquire(within(TIMEOUT)).unwrap_err().kind(), ErrorKind::Deadlock);
    pair.lock.release().unwrap();
    assert_eq!(pair.lock.release().unwrap_err().kind(), ErrorKind::NotHolder);
}

#[test]
fn a_thread_that_ends_inside_is_reported_by_the_mutex() {
    alone(|| {
        if !Posix.locks().contains(&LockKind::PthreadMutex) {
            harness::skip!("not in this build");
        }
        let pair = Pair::new(LockKind::PthreadMutex);
        // The handle goes while its thread is inside: the mapping must stay, for libc writes to it from the thread.
        let (peer, lock) = pair.peer();
        std::thread::spawn(move || {
            lock.acquire_now().unwrap().expect("free");
            drop((lock, peer));
            let other = Pair::new(LockKind::PthreadMutex);
            other.lock.acquire_now().unwrap().expect("free");
            other.lock.release().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(acquire(&pair.segment, &*pair.lock), PreviousHolder::Died);
        pair.lock.release().unwrap();
    });
}
