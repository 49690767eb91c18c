//! Wake-ups stolen, moved away and multiplied: a waiter must find by itself what nobody tells it, within a slice.
//!
//! The truth is in the word; what is measured is how long after the attacker's store the victim has it.

use super::*;
use crate::raw::{BEGIN, LOCK_AREA, TAIL};
use std::sync::atomic::AtomicU32;

attacks! {
    "wakeup/lost" (Word, BOTH): "releases the lock by a bare store, and wakes nobody"
        => lost_victim, |process| lose(process, |_| {});
    "wakeup/requeued" (Word, BOTH): "moves the victim to another word by FUTEX_CMP_REQUEUE, then releases"
        => lost_victim, |process| lose(process, |raw| requeue(raw, LOCK_AREA));
    "wakeup/storm" (Word, BOTH): "wakes the victim all the time and never releases" => storm_victim, storm_attacker;
    "wakeup/ring-lost" (Untrusted, BOTH): "publishes without a wake-up, having moved the sleeper away"
        => ring_victim, ring_attacker;
    "wakeup/ring-storm" (Untrusted, BOTH): "wakes a sleeping consumer all the time and publishes nothing"
        => ring_storm_victim, |process| process.race(|_| {}, storm);
}

/// The longest sleep before a waiter polls again by itself: the lock's last slice, and the ring's.
const LOCK_SLICE: Duration = Duration::from_millis(20);
const RING_SLICE: Duration = Duration::from_millis(5);

/// How often a wake-up is lost.
const TIMES: u64 = 5;

/// How long the attacker lets the victim fall asleep.
const ASLEEP: Duration = Duration::from_millis(30);

/// How long the victim waits for what comes.
const LONG: Duration = Duration::from_secs(2);

/// Deadlines in a storm of wake-ups.
const DEADLINES: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(20), Duration::from_millis(150)];

/// Where the consumer sleeps: its waiting flag on the ring's first line.
const CONSUMER_WAITING: usize = BEGIN + 16;

/// Moves the sleepers on the word at `offset` to another one, again and again.
fn requeue(raw: &Raw, offset: usize) {
    let (word, away) = (raw.word32(offset), raw.word32(4096));
    let begin = Instant::now();
    while begin.elapsed() < ASLEEP {
        let value = word.load(Ordering::Relaxed);
        futex(word, libc::FUTEX_CMP_REQUEUE, 0, u64::from(u32::MAX >> 1), away, value);
    }
}

fn futex(word: &AtomicU32, operation: libc::c_int, first: u32, second: u64, other: &AtomicU32, third: u32) {
    // SAFETY: both words are mapped as long as they are borrowed; the operations used here take no other pointer.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, first, second, other.as_ptr(), third) };
}

fn wake(word: &AtomicU32) {
    futex(word, libc::FUTEX_WAKE, u32::MAX >> 1, 0, word, 0);
}

/// Notes how late the victim has what the attacker stored at a time that it sends.
fn note_since_store(victim: &mut Victim<'_>, slice: Duration, what: &'static str) -> Done {
    let (had_ns, stored_ns) = (now_ns(), victim.receive_number()?);
    victim.note_late(Duration::from_nanos(had_ns.saturating_sub(stored_ns)).saturating_sub(slice), what);
    Ok(())
}

/// The whole time is waited for; what is judged is how long the lock had been free.
fn lost_victim(victim: &mut Victim<'_>) -> Done {
    for _ in 0..TIMES {
        let segment = victim.join()?;
        victim.let_attack()?;
        let guard = victim.lock(&segment, LONG, &["Clean"]);
        note_since_store(victim, LOCK_SLICE, "lock after a lost wake-up")?;
        drop(guard);
    }
    Ok(())
}

fn lose(process: &mut Process, meanwhile: fn(&Raw)) -> Done {
    for _ in 0..TIMES {
        let segment = process.join()?;
        process.await_signal()?;
        let guard = segment.lock()?;
        process.signal()?;
        std::thread::sleep(ASLEEP);
        let raw = Raw::of(&segment)?;
        meanwhile(&raw);
        // Taken before the store: the victim cannot have it sooner.
        let free_ns = now_ns();
        raw.word32(LOCK_AREA).store(0, Ordering::SeqCst);
        process.acted();
        process.send_number(free_ns)?;
        // The guard would release what is not its own any more.
        std::mem::forget(guard);
    }
    Ok(())
}

fn storm_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    victim.let_attack()?;
    for wait in DEADLINES {
        drop(victim.lock(&segment, wait, &["TimedOut"]));
    }
    Ok(())
}

fn storm_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    let _guard = segment.lock()?;
    process.signal()?;
    let raw = Raw::of(&segment)?;
    while !process.is_signalled() {
        (0..100).for_each(|_| wake(raw.word32(LOCK_AREA)));
    }
    process.acted();
    Ok(())
}

fn ring_victim(victim: &mut Victim<'_>) -> Done {
    for _ in 0..TIMES {
        let segment = victim.join()?;
        segment.unguarded_ring()?;
        let mut bytes = Guarded::new(64)?;
        let mut consumer = victim.consumer(&segment)?;
        victim.signal()?;
        victim.call("read_partial", LONG, &["Ok"], || consumer.read_partial(bytes.bytes(), LONG));
        note_since_store(victim, RING_SLICE, "read_wait after a lost wake-up")?;
        victim.check_guards(&bytes);
    }
    Ok(())
}

fn ring_attacker(process: &mut Process) -> Done {
    for _ in 0..TIMES {
        let segment = process.join()?;
        process.await_signal()?;
        let raw = Raw::of(&segment)?;
        requeue(&raw, CONSUMER_WAITING);
        let there_ns = now_ns();
        raw.store(TAIL, raw.load(TAIL) + 16);
        process.acted();
        process.send_number(there_ns)?;
    }
    Ok(())
}

fn ring_storm_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    segment.unguarded_ring()?;
    let mut bytes = Guarded::new(64)?;
    let mut consumer = victim.consumer(&segment)?;
    victim.let_attack()?;
    for wait in DEADLINES {
        victim.call("read_partial", wait, &["TimedOut"], || consumer.read_partial(bytes.bytes(), wait));
    }
    victim.check_guards(&bytes);
    Ok(())
}

fn storm(raw: &Raw, _: u64, _: u64) {
    let word = raw.word32(CONSUMER_WAITING);
    word.store(0, Ordering::Relaxed);
    wake(word);
}
