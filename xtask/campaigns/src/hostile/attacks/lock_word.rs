//! The lock's words edited: owner, flags, sleepers, the dirty word of a System V lock, the slots' records.
//!
//! What is in the kernel (semaphores) is `sysv`'s; wake-ups are `wakeups`'.

use crate::hostile::attack::{Attack, Cells, PEER, Played};
use crate::hostile::raw::{DIRTY, LOCK_AREA, Raw, SLEEPERS, SLOTS};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::{DEFAULT_TIMEOUT, Segment};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("lock-word/free", "writes each value class into the free lock's word", free_victim, free_attacker)
        .on(Cells::Word),
    Attack::new("lock-word/held", "writes each value class while the victim holds", held_victim, held_attacker)
        .on(Cells::Word),
    Attack::new("lock-word/flips", "flips the word at full speed while the victim locks", flips_victim, flips_attacker)
        .on(Cells::Word)
        .from(PEER),
    Attack::new("lock-word/sleepers", "keeps every sleeper's bit set and cleared", sleepers_victim, sleepers_attacker)
        .on(Cells::Word),
    Attack::new("lock-word/slots", "overwrites all slot records while the victim locks", slots_victim, slots_attacker),
    Attack::new("lock-word/dirty", "writes each value class into the dirty word", dirty_victim, dirty_attacker)
        .on(Cells::SysvSem),
];

/// What the attacker writes, and what the contract says that the victim's `lock_timeout` answers.
struct Class {
    name: &'static str,
    /// The word, given the tags of the victim and of the attacker.
    word: fn(u32, u32) -> u32,
    free: &'static [&'static str],
    /// What letting go answers when the word was changed under the holder.
    held: &'static [&'static str],
}

const fn class(
    name: &'static str,
    word: fn(u32, u32) -> u32,
    free: &'static [&'static str],
    held: &'static [&'static str],
) -> Class {
    Class { name, word, free, held }
}

/// A slot that nobody has: dead, as far as the kernel knows.
const DEAD: u32 = 31;

const CLASSES: &[Class] = &[
    class("the victim's own slot", |victim, _| victim, &["TimedOut"], &["Ok"]),
    class("the attacker's slot", |_, attacker| attacker, &["TimedOut"], &["Corrupt"]),
    class("a dead slot", |_, _| DEAD, &["OwnerDied"], &["Corrupt"]),
    class("out of range", |_, _| 33, &["Corrupt"], &["Corrupt"]),
    class("far out of range", |_, _| 0xffff, &["Corrupt"], &["Corrupt"]),
    class("all ones", |_, _| u32::MAX, &["Corrupt"], &["Corrupt"]),
    class("a reserved bit", |_, _| 1 << 25, &["Corrupt"], &["Corrupt"]),
    class("an asker without an owner", |_, _| 5 << 16, &["Corrupt"], &["Corrupt"]),
    class("held and died", |victim, _| victim | 1 << 29, &["Corrupt"], &["Corrupt"]),
    class("died", |_, _| 1 << 29, &["OwnerDied"], &["Corrupt"]),
    class("promised to nobody", |_, _| 1 << 30, &["Clean"], &["Corrupt"]),
    class("sleepers that are not", |_, _| 1 << 31, &["Clean"], &["Corrupt"]),
    class("own slot and all flags", |victim, _| victim | 3 << 30, &["TimedOut"], &["Ok"]),
    class("free", |_, _| 0, &["Clean"], &["Corrupt"]),
];

const SHORT: Duration = Duration::from_millis(40);

/// Creator and first peer have the first two slots.
fn tags(stage: &Stage) -> (u32, u32) {
    match stage.side {
        crate::hostile::attack::Side::Creator => (1, 2),
        crate::hostile::attack::Side::Peer => (2, 1),
    }
}

fn free_victim(victim: &mut Victim<'_>) -> Played {
    for class in CLASSES {
        victim.scene(class.name);
        let segment = victim.stage.join()?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        drop(victim.lock(&segment, SHORT, class.free));
        let poisoned = class.free == ["Corrupt"];
        let then: &[&str] = if poisoned { &["Poisoned"] } else { &["Ok", "WouldBlock"] };
        drop(victim.try_lock(&segment, then));
        let region: &[&str] = if poisoned { &["Poisoned"] } else { &["Ok"] };
        victim.ask("region", AT_ONCE, region, || segment.region(0, 1).map(drop));
    }
    Ok(())
}

fn free_attacker(stage: &mut Stage) -> Played {
    let (victim, attacker) = tags(stage);
    for class in CLASSES {
        let segment = stage.join()?;
        stage.await_cue()?;
        write_lock(&segment, (class.word)(victim, attacker))?;
        stage.did(class.name);
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}

fn held_victim(victim: &mut Victim<'_>) -> Played {
    for class in CLASSES {
        victim.scene(class.name);
        let segment = victim.stage.join()?;
        let Some(guard) = victim.lock(&segment, SHORT, &["Clean"]) else { return Ok(()) };
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        victim.ask("unlock", AT_ONCE, class.held, || guard.unlock());
        let then: &[&str] = if class.held == ["Ok"] { &["Clean"] } else { &["Poisoned"] };
        drop(victim.lock(&segment, SHORT, then));
    }
    Ok(())
}

fn held_attacker(stage: &mut Stage) -> Played {
    free_attacker(stage)
}

fn write_lock(segment: &Segment, word: u32) -> Played {
    Raw::of(segment)?.word32(LOCK_AREA).store(word, Ordering::SeqCst);
    Ok(())
}

/// For how long words are flipped.
const FLIPPING: Duration = Duration::from_millis(400);

/// The victim attaches anew whenever it has found the segment corrupt.
fn flips_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let begin = Instant::now();
    let all = ["Clean", "OwnerDied", "TimedOut", "Corrupt"];
    while begin.elapsed() < FLIPPING {
        let attach = victim.stage.attach();
        let opened = victim.ask("receive", monshm::DEFAULT_TIMEOUT, &["Ok"], || attach.receive(&wire));
        let Some(segment) = opened else { return Ok(()) };
        let part = Instant::now();
        while part.elapsed() < FLIPPING / 8 {
            let guard = victim.lock(&segment, Duration::from_millis(3), &all);
            if let Some(guard) = guard {
                victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt"], || guard.unlock());
            }
            if segment.region(0, 8).is_err() {
                break;
            }
        }
        victim.stage.cue()?;
    }
    Ok(())
}

/// A new segment for each time that the victim asks for one, until it hangs up.
fn flips_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for style in 0.. {
        let segment = stage.builder().create()?;
        if segment.send(&wire, DEFAULT_TIMEOUT).is_err() {
            break;
        }
        let raw = Raw::of(&segment)?;
        let word = raw.word32(LOCK_AREA);
        while !stage.is_called() {
            for _ in 0..2000 {
                let number = stage.random.next() as u32;
                match style % 3 {
                    // Owners and flags that can be, any bits, and single bits.
                    0 => word.store((number & 0xc000_0000) | ((number >> 8) % 33), Ordering::Relaxed),
                    1 => word.store(number, Ordering::Relaxed),
                    _ => drop(word.fetch_xor(1 << (number % 32), Ordering::Relaxed)),
                }
            }
        }
        stage.did("flipped");
        stage.await_cue()?;
    }
    Ok(())
}

fn sleepers_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    for _ in 0..2000 {
        drop(victim.lock(&segment, SHORT, &["Clean"]));
    }
    Ok(())
}

fn sleepers_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    stage.cue()?;
    let raw = Raw::of(&segment)?;
    while !stage.is_called() {
        for value in [u32::MAX, 0, 1, 0x8000_0000, 0x5555_5555] {
            raw.word32(SLEEPERS).store(value, Ordering::SeqCst);
        }
    }
    stage.did("sleepers");
    Ok(())
}

fn slots_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    for _ in 0..500 {
        drop(victim.lock(&segment, SHORT, &["Clean"]));
    }
    let ring = victim.ask("ring", AT_ONCE, &["Ok"], || segment.ring().map(drop));
    victim.check(ring.is_some(), "the ring can be used although the slots' records are wrong");
    Ok(())
}

fn slots_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    stage.cue()?;
    let raw = Raw::of(&segment)?;
    let mut random = stage.random.clone();
    while !stage.is_called() {
        for place in 0..128 {
            raw.put(SLOTS + place * 8, random.next());
        }
    }
    stage.did("slots");
    Ok(())
}

/// The dirty word of a System V lock, and what the next acquisition is told.
const DIRTY_WORDS: [(u32, &[&str]); 6] = [
    (0, &["Clean"]),
    (1, &["OwnerDied"]),
    (2, &["OwnerDied"]),
    (32, &["OwnerDied"]),
    (33, &["Corrupt"]),
    (u32::MAX, &["Corrupt"]),
];

fn dirty_victim(victim: &mut Victim<'_>) -> Played {
    for (word, answers) in DIRTY_WORDS {
        victim.scene(format!("{word:#x}"));
        let segment = victim.stage.join()?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let guard = victim.lock(&segment, SHORT, answers);
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        // Changed while it is held as well.
        if let Some(guard) = guard {
            victim.ask("unlock", AT_ONCE, &["Corrupt"], || guard.unlock());
        }
        drop(victim.lock(&segment, SHORT, &["Poisoned"]));
    }
    Ok(())
}

fn dirty_attacker(stage: &mut Stage) -> Played {
    for (word, _) in DIRTY_WORDS {
        let segment = stage.join()?;
        let raw = Raw::of(&segment)?;
        for value in [word, word ^ 0x40] {
            stage.await_cue()?;
            raw.word32(DIRTY).store(value, Ordering::SeqCst);
            stage.did("dirty");
            stage.cue()?;
        }
    }
    stage.until_the_end();
    Ok(())
}
