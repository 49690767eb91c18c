//! Wake-ups stolen, moved away and multiplied: a waiter must find by itself what nobody tells it, within a slice.
//!
//! The truth is in the word; what is measured is how long after the attacker's store the victim has it.

use crate::hostile::attack::{Attack, Cells, Played};
use crate::hostile::raw::{BEGIN, LOCK_AREA, Raw, TAIL};
use crate::hostile::stage::Stage;
use crate::hostile::victim::Victim;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("wakeup/lost", "lets go of the lock by a bare store, and wakes nobody", lost_victim, lost_attacker)
        .on(Cells::Word),
    Attack::new(
        "wakeup/requeued",
        "moves the victim to another word by FUTEX_CMP_REQUEUE, then lets go",
        lost_victim,
        requeue_attacker,
    )
    .on(Cells::Word),
    Attack::new("wakeup/storm", "wakes the victim all the time and never lets go", storm_victim, storm_attacker)
        .on(Cells::Word),
    Attack::new(
        "wakeup/ring-lost",
        "publishes without a wake-up, having moved the sleeper away",
        ring_victim,
        ring_attacker,
    ),
    Attack::new(
        "wakeup/ring-storm",
        "wakes a sleeping consumer all the time and publishes nothing",
        ring_storm_victim,
        ring_storm_attacker,
    ),
];

/// The longest sleep before a waiter looks again by itself: the lock's last slice, and the ring's.
const LOCK_SLICE: Duration = Duration::from_millis(20);
const RING_SLICE: Duration = Duration::from_millis(5);

/// How often a wake-up is lost.
const TIMES: u64 = 5;

/// How long the attacker lets the victim fall asleep.
const ASLEEP: Duration = Duration::from_millis(30);

fn futex(word: &AtomicU32, operation: libc::c_int, first: u32, second: u64, other: &AtomicU32, third: u32) -> i64 {
    // SAFETY: both words are mapped as long as they are borrowed; the operations used here take no other pointer.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, first, second, other.as_ptr(), third) }
}

/// The whole time is waited for; what is judged is how long the lock had been free.
fn lost_victim(victim: &mut Victim<'_>) -> Played {
    for _ in 0..TIMES {
        let segment = victim.stage.join()?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let guard = victim.lock(&segment, Duration::from_secs(2), &["Clean"]);
        let had_ns = now_ns();
        let free_ns = victim.stage.hear()?;
        let late = Duration::from_nanos(had_ns.saturating_sub(free_ns)).saturating_sub(LOCK_SLICE);
        victim.note_late(late, "lock after a lost wake-up");
        drop(guard);
    }
    Ok(())
}

fn now_ns() -> u64 {
    crate::executioner::now_ns()
}

fn lost_attacker(stage: &mut Stage) -> Played {
    lose(stage, |_| {})
}

fn requeue_attacker(stage: &mut Stage) -> Played {
    lose(stage, |raw| {
        let (word, away) = (raw.word32(LOCK_AREA), raw.word32(4096));
        let begin = Instant::now();
        while begin.elapsed() < ASLEEP {
            let value = word.load(Ordering::Relaxed);
            futex(word, libc::FUTEX_CMP_REQUEUE, 0, u64::from(u32::MAX >> 1), away, value);
            std::hint::spin_loop();
        }
    })
}

fn lose(stage: &mut Stage, meanwhile: fn(&Raw)) -> Played {
    for _ in 0..TIMES {
        let segment = stage.join()?;
        stage.await_cue()?;
        let guard = segment.lock()?;
        stage.cue()?;
        std::thread::sleep(ASLEEP);
        let raw = Raw::of(&segment)?;
        meanwhile(&raw);
        // Taken before the store: the victim cannot have it sooner.
        let free_ns = now_ns();
        raw.word32(LOCK_AREA).store(0, Ordering::SeqCst);
        stage.did("let go without a word");
        stage.tell(free_ns)?;
        // The guard would let go of what is not its own any more.
        std::mem::forget(guard);
        stage.keep(segment);
    }
    stage.until_the_end();
    Ok(())
}

fn storm_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    for ms in [1, 20, 150] {
        drop(victim.lock(&segment, Duration::from_millis(ms), &["TimedOut"]));
    }
    Ok(())
}

fn storm_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let guard = segment.lock()?;
    stage.cue()?;
    let raw = Raw::of(&segment)?;
    let word = raw.word32(LOCK_AREA);
    while !stage.is_called() {
        for _ in 0..100 {
            futex(word, libc::FUTEX_WAKE, u32::MAX >> 1, 0, word, 0);
        }
    }
    stage.did("woke");
    drop(guard);
    Ok(())
}

fn ring_victim(victim: &mut Victim<'_>) -> Played {
    for _ in 0..TIMES {
        let segment = victim.stage.join()?;
        segment.ring()?;
        let mut bytes = victim.buffer(64)?;
        let Some(mut consumer) = victim.ask("consumer", Duration::ZERO, &["Ok"], || segment.consumer()) else {
            return Ok(());
        };
        victim.stage.cue()?;
        let wait = Duration::from_secs(2);
        victim.ask("read_wait", wait, &["Ok"], || consumer.read_wait(bytes.bytes(), wait));
        let had_ns = now_ns();
        let there_ns = victim.stage.hear()?;
        let late = Duration::from_nanos(had_ns.saturating_sub(there_ns)).saturating_sub(RING_SLICE);
        victim.note_late(late, "read_wait after a lost wake-up");
        victim.is_whole(&bytes);
    }
    Ok(())
}

/// Where the consumer sleeps: its waiting flag on the ring's first line.
const CONSUMER_WAITING: usize = BEGIN + 16;

fn ring_attacker(stage: &mut Stage) -> Played {
    for _ in 0..TIMES {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let (word, away) = (raw.word32(CONSUMER_WAITING), raw.word32(4096));
        let begin = Instant::now();
        while begin.elapsed() < ASLEEP {
            futex(word, libc::FUTEX_CMP_REQUEUE, 0, u64::from(u32::MAX >> 1), away, 1);
        }
        let there_ns = now_ns();
        raw.put(TAIL, raw.at(TAIL) + 16);
        stage.did("published without a word");
        stage.tell(there_ns)?;
        stage.keep(segment);
    }
    stage.until_the_end();
    Ok(())
}

fn ring_storm_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    segment.ring()?;
    let mut bytes = victim.buffer(64)?;
    let Some(mut consumer) = victim.ask("consumer", Duration::ZERO, &["Ok"], || segment.consumer()) else {
        return Ok(());
    };
    victim.stage.cue()?;
    for ms in [1, 20, 150] {
        let wait = Duration::from_millis(ms);
        victim.ask("read_wait", wait, &["TimedOut"], || consumer.read_wait(bytes.bytes(), wait));
    }
    victim.is_whole(&bytes);
    drop(consumer);
    victim.stage.cue()?;
    Ok(())
}

fn ring_storm_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let raw = Raw::of(&segment)?;
    let word = raw.word32(CONSUMER_WAITING);
    while !stage.is_called() {
        for _ in 0..100 {
            word.store(0, Ordering::Relaxed);
            futex(word, libc::FUTEX_WAKE, u32::MAX >> 1, 0, word, 0);
        }
    }
    stage.did("woke");
    Ok(())
}
