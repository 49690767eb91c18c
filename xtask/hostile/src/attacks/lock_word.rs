//! The lock's words edited: owner, flags, sleepers, the dirty word of a System V lock, the slots' records.
//!
//! What is in the kernel (semaphores) is in `sysv`, wake-ups are in `wakeups`.

use super::*;
use crate::attack::Side;
use crate::raw::{DIRTY, LOCK_AREA, SLEEPERS, SLOTS};

attacks! {
    "lock-word/free" (Word, BOTH): "writes each value class into the free lock's word" => free_victim, class_attacker;
    "lock-word/held" (Word, BOTH): "writes each value class while the victim holds" => held_victim, class_attacker;
    "lock-word/flips" (Word, PEER): "flips the word at full speed while the victim locks"
        => flips_victim, flips_attacker;
    "lock-word/sleepers" (Word, BOTH): "keeps every sleeper's bit set and cleared"
        => |victim| lock_often(victim, 2000).map(drop), sleepers_attacker;
    "lock-word/slots" (Untrusted, BOTH): "overwrites all slot records while the victim locks"
        => slots_victim, slots_attacker;
    "lock-word/dirty" (SysvSem, BOTH): "writes each value class into the dirty word" => dirty_victim, dirty_attacker;
}

/// What the attacker writes: the name of the class; the word, for the tags of victim and attacker; what the contract
/// says that `lock_timeout` answers; and what a release answers when the word was changed under the holder.
type Class = (&'static str, fn(u32, u32) -> u32, &'static Answers, &'static Answers);

/// A slot that nobody has: dead, as far as the kernel knows.
const DEAD: u32 = 31;

const CLASSES: &[Class] = &[
    ("the victim's own slot", |victim, _| victim, &["TimedOut"], &["Ok"]),
    ("the attacker's slot", |_, attacker| attacker, &["TimedOut"], &["Corrupt"]),
    ("a dead slot", |_, _| DEAD, &["OwnerDied"], &["Corrupt"]),
    ("out of range", |_, _| 33, &["Corrupt"], &["Corrupt"]),
    ("far out of range", |_, _| 0xffff, &["Corrupt"], &["Corrupt"]),
    ("all ones", |_, _| u32::MAX, &["Corrupt"], &["Corrupt"]),
    ("a reserved bit", |_, _| 1 << 25, &["Corrupt"], &["Corrupt"]),
    ("an asker without an owner", |_, _| 5 << 16, &["Corrupt"], &["Corrupt"]),
    ("held and died", |victim, _| victim | 1 << 29, &["Corrupt"], &["Corrupt"]),
    ("died", |_, _| 1 << 29, &["OwnerDied"], &["Corrupt"]),
    ("promised to nobody", |_, _| 1 << 30, &["Clean"], &["Corrupt"]),
    ("sleepers that are not", |_, _| 1 << 31, &["Clean"], &["Corrupt"]),
    ("own slot and all flags", |victim, _| victim | 3 << 30, &["TimedOut"], &["Ok"]),
    ("free", |_, _| 0, &["Clean"], &["Corrupt"]),
];

fn free_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, answers, _) in CLASSES {
        victim.case(*name);
        let segment = victim.join()?;
        victim.let_attack()?;
        drop(victim.lock(&segment, SHORT, answers));
        let poisoned = *answers == ["Corrupt"];
        let then: &Answers = if poisoned { &["Poisoned"] } else { &["Ok", "WouldBlock"] };
        drop(victim.try_lock(&segment, then));
        victim.check_poisoned(&segment, poisoned);
    }
    Ok(())
}

fn class_attacker(process: &mut Process) -> Done {
    // Creator and first peer have the first two slots.
    let (victim, attacker) = if process.side == Side::Creator { (1, 2) } else { (2, 1) };
    CLASSES.iter().try_for_each(|(_, word, ..)| {
        process.edit(|raw| raw.word32(LOCK_AREA).store(word(victim, attacker), Ordering::SeqCst))
    })
}

fn held_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, _, answers) in CLASSES {
        victim.case(*name);
        let segment = victim.join()?;
        let guard = victim.lock(&segment, SHORT, &["Clean"]);
        victim.let_attack()?;
        victim.unlock(guard, answers);
        drop(victim.lock(&segment, SHORT, if *answers == ["Ok"] { &["Clean"] } else { &["Poisoned"] }));
    }
    Ok(())
}

/// For how long words are flipped.
const FLIPPING: Duration = Duration::from_millis(400);

/// The victim attaches anew whenever it has found the segment corrupt.
fn flips_victim(victim: &mut Victim<'_>) -> Done {
    let begin = Instant::now();
    while begin.elapsed() < FLIPPING {
        let segment = victim.join()?;
        victim.let_attack()?;
        let part = Instant::now();
        while part.elapsed() < FLIPPING / 8 && segment.region(0, 8).is_ok() {
            let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt"];
            let guard = victim.lock(&segment, Duration::from_millis(3), &any);
            victim.unlock(guard, &["Ok", "Corrupt"]);
        }
        victim.signal()?;
    }
    Ok(())
}

fn flips_attacker(process: &mut Process) -> Done {
    let flip = |raw: &Raw, number: u64, round: u64| {
        let (word, number) = (raw.word32(LOCK_AREA), number as u32);
        match round % 3 {
            // Owners and flags that can be, any bits, and single bits.
            0 => word.store((number & 0xc000_0000) | ((number >> 8) % 33), Ordering::Relaxed),
            1 => word.store(number, Ordering::Relaxed),
            _ => drop(word.fetch_xor(1 << (number % 32), Ordering::Relaxed)),
        }
    };
    process.race(|_| {}, flip)
}

/// Takes and releases the lock, which stays free for the victim all the time.
fn lock_often(victim: &mut Victim<'_>, times: u32) -> Fallible<monshm::Segment> {
    let segment = victim.join()?;
    victim.let_attack()?;
    for _ in 0..times {
        drop(victim.lock(&segment, SHORT, &["Clean"]));
    }
    Ok(segment)
}

fn sleepers_attacker(process: &mut Process) -> Done {
    let values = [u32::MAX, 0, 1, 0x8000_0000, 0x5555_5555];
    process.race(
        |_| {},
        |raw, number, _| raw.word32(SLEEPERS).store(values[number as usize % values.len()], Ordering::SeqCst),
    )
}

fn slots_victim(victim: &mut Victim<'_>) -> Done {
    let segment = lock_often(victim, 500)?;
    let ring = victim.call("ring", AT_ONCE, &["Ok"], || segment.unguarded_ring().map(drop));
    victim.check(ring.is_some(), "the ring can be used although the slots' records are wrong");
    Ok(())
}

fn slots_attacker(process: &mut Process) -> Done {
    process.race(|_| {}, |raw, number, _| raw.store(SLOTS + (number % 128) as usize * 8, number))
}

/// The dirty word of a System V lock, and what the next acquisition reports.
const DIRTY_WORDS: [(u32, &Answers); 6] = [
    (0, &["Clean"]),
    (1, &["OwnerDied"]),
    (2, &["OwnerDied"]),
    (32, &["OwnerDied"]),
    (33, &["Corrupt"]),
    (u32::MAX, &["Corrupt"]),
];

fn dirty_victim(victim: &mut Victim<'_>) -> Done {
    for (word, answers) in DIRTY_WORDS {
        victim.case(format!("{word:#x}"));
        let segment = victim.join()?;
        victim.let_attack()?;
        let guard = victim.lock(&segment, SHORT, answers);
        // Changed while it is held as well.
        victim.let_attack()?;
        victim.unlock(guard, &["Corrupt"]);
        drop(victim.lock(&segment, SHORT, &["Poisoned"]));
    }
    Ok(())
}

fn dirty_attacker(process: &mut Process) -> Done {
    for (word, _) in DIRTY_WORDS {
        let segment = process.join()?;
        let raw = Raw::of(&segment)?;
        for value in [word, word ^ 0x40] {
            process.await_signal()?;
            raw.word32(DIRTY).store(value, Ordering::SeqCst);
            process.acted();
            process.signal()?;
        }
    }
    Ok(())
}
