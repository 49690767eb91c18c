//! The ring's indices and flags edited: out of range, backwards, misaligned, closed, claimed, and at full speed.
//!
//! What stands in the ring, the records, is the subject of `records`.

use super::*;
use crate::raw::{BEGIN, CONSUMER_CLAIM, HEAD, HEADER_LEN, PRODUCER_CLAIM, TAIL};

attacks! {
    "ring/tail" (Untrusted, BOTH): "edits tail under a lock-free consumer"
        => tail_victim, |process| edit_index(process, TAIL, TAILS);
    "ring/head" (Untrusted, BOTH): "edits head under a lock-free producer"
        => head_victim, |process| edit_index(process, HEAD, HEADS);
    "ring/locked" (Untrusted, BOTH): "edits head and tail under the locked ring" => locked_victim, locked_attacker;
    "ring/flags" (Untrusted, BOTH): "toggles claims, closed and waiting flags at full speed"
        => race, |process| process.race(|_| {}, edit_flags);
    "ring/flips" (Untrusted, BOTH): "flips indices and bytes of the ring at full speed"
        => race, |process| process.race(|_| {}, edit_bytes);
}

const WAIT: Duration = Duration::from_millis(5);

/// A new index, from the ring's begin and end and the index's old value; and what the other end answers to it.
type Edit = (&'static str, fn(u64, u64, u64) -> u64, &'static Answers);

const TAILS: &[Edit] = &[
    ("zero", |_, _, _| 0, &["Corrupt"]),
    ("before the ring", |begin, _, _| begin - 8, &["Corrupt"]),
    ("the end", |_, end, _| end, &["Corrupt"]),
    ("behind the end", |_, end, _| end + 8, &["Corrupt"]),
    ("all ones", |_, _, _| u64::MAX, &["Corrupt"]),
    ("the top bit", |_, _, old| old | 1 << 63, &["Corrupt"]),
    // 64 bytes were published, of which 16 were read.
    ("backwards", |_, _, old| old - 24, &["Corrupt"]),
    ("back to empty", |_, _, old| old - 48, &["Corrupt"]),
    ("forwards", |_, _, old| old + 8, &["Ok"]),
];

const HEADS: &[Edit] = &[
    ("zero", |_, _, _| 0, &["Corrupt"]),
    ("before the ring", |begin, _, _| begin - 8, &["Corrupt"]),
    ("the end", |_, end, _| end, &["Corrupt"]),
    ("behind the end", |_, end, _| end + 1, &["Corrupt"]),
    ("all ones", |_, _, _| u64::MAX, &["Corrupt"]),
    ("the top bit", |_, _, old| old | 1 << 63, &["Corrupt"]),
    // Head had moved by 64 in a full ring, and 32 of them were written anew: here it claims what was never written.
    ("backwards", |_, _, old| old - 8, &["Corrupt"]),
    ("forwards", |_, _, old| old + 256, &["Ok"]),
];

/// Moves the index at `offset` by 64 from the begin, as an honest end could, and then to where the edit wants it.
fn edit_index(process: &mut Process, offset: usize, edits: &[Edit]) -> Done {
    for (_, new, _) in edits {
        let segment = process.join()?;
        let raw = Raw::of(&segment)?;
        process.await_signal()?;
        let begin = raw.load(BEGIN);
        raw.store(offset, begin + 64);
        process.signal()?;
        process.await_signal()?;
        raw.store(offset, new(begin, SIZE as u64, begin + 64));
        process.acted();
        process.signal()?;
    }
    Ok(())
}

fn tail_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, answers) in TAILS {
        victim.case(*name);
        let segment = victim.join()?;
        let mut bytes = Guarded::new(4096)?;
        segment.unguarded_ring()?;
        let mut consumer = victim.consumer(&segment)?;
        victim.let_attack()?;
        victim.call("read_partial", WAIT, &["Ok"], || consumer.read_partial(&mut bytes.bytes()[..16], WAIT));
        victim.let_attack()?;
        // What it knows of already may be read without a look at the index; then comes the edited one.
        let known = consumer.available();
        victim.note(if known.is_ok() { "looked" } else { "refused at once" });
        let any = ["Ok", "TimedOut", "Corrupt", "Poisoned"];
        for _ in 0..3 {
            if victim.call("read_partial", WAIT, &any, || consumer.read_partial(bytes.bytes(), WAIT)).is_none() {
                break;
            }
        }
        // A corrupt index poisons the handle; the others do not.
        victim.check_poisoned(&segment, *answers == ["Corrupt"]);
        victim.check_guards(&bytes);
    }
    Ok(())
}

fn head_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, answers) in HEADS {
        victim.case(*name);
        let segment = victim.join()?;
        let mut bytes = Guarded::new(4096)?;
        segment.unguarded_ring()?;
        let mut producer = victim.producer(&segment)?;
        while producer.try_write_partial(bytes.bytes()).map_err(|error| format!("an honest ring answered {error}"))?
            != 0
        {}
        victim.let_attack()?;
        victim.call("write", WAIT, &["Ok"], || producer.write(&bytes.bytes()[..32], WAIT));
        victim.let_attack()?;
        victim.call("write", WAIT, answers, || producer.write(&bytes.bytes()[..64], WAIT));
        victim.check_poisoned(&segment, *answers == ["Corrupt"]);
        victim.check_guards(&bytes);
    }
    Ok(())
}

/// Head and tail, as distances from begin, and whether that is corrupt; else anything honest may be answered.
const PAIRS: &[(i64, i64, bool)] = &[
    (-8, 0, true),
    (0, -1, true),
    (i64::MIN, 0, true),
    (0, i64::MAX, true),
    (1 << 40, 1 << 40, true),
    (0, 0, false),
    (64, 8, false),
    (1, 3, false),
];

fn locked_victim(victim: &mut Victim<'_>) -> Done {
    for (head, tail, corrupt) in PAIRS {
        victim.case(format!("head {head}, tail {tail}"));
        let segment = victim.join()?;
        segment.unguarded_ring()?.append(&[1; 100])?;
        victim.let_attack()?;
        let mut bytes = Guarded::new(64)?;
        let guard = victim.lock(&segment, SHORT, &["Clean"]);
        let Some(ring) = victim.call("ring", AT_ONCE, &["Ok"], || segment.unguarded_ring()) else { return Ok(()) };
        let or = |honest: &'static Answers, then: &'static Answers| if *corrupt { then } else { honest };
        victim.call("read", AT_ONCE, or(&["Ok", "NoData"], &["Corrupt"]), || ring.read(bytes.bytes()));
        victim.call("append", AT_ONCE, or(&["Ok", "NoRoom"], &["Poisoned"]), || ring.append(bytes.bytes()));
        victim.call("len", AT_ONCE, or(&["Ok"], &["Poisoned"]), || ring.len());
        victim.call("avail", AT_ONCE, or(&["Ok"], &["Poisoned"]), || ring.avail());
        victim.check_guards(&bytes);
        drop(guard);
    }
    Ok(())
}

fn locked_attacker(process: &mut Process) -> Done {
    PAIRS.iter().try_for_each(|(head, tail, _)| {
        process.edit(|raw| {
            let begin = raw.load(BEGIN);
            raw.store(HEAD, begin.wrapping_add_signed(*head));
            raw.store(TAIL, begin.wrapping_add_signed(*tail));
        })
    })
}

/// How long the attacks at full speed take.
const RACE: Duration = Duration::from_millis(250);

/// Attaches, or makes, anew after each part, since a corrupt segment is given up.
fn race(victim: &mut Victim<'_>) -> Done {
    let begin = Instant::now();
    while begin.elapsed() < RACE {
        let segment = victim.join()?;
        segment.unguarded_ring()?;
        victim.let_attack()?;
        for _ in 0..20 {
            use_all(victim, &segment, true)?;
            if segment.region(0, 1).is_err() {
                break;
            }
        }
        victim.signal()?;
    }
    Ok(())
}

fn edit_flags(raw: &Raw, number: u64, _: u64) {
    let claims = [0, 1, 2, 3, 32, 33, u32::MAX, number as u32];
    let claim = claims[(number >> 32) as usize % claims.len()];
    for offset in [CONSUMER_CLAIM, PRODUCER_CLAIM] {
        raw.word32(offset).store(claim, Ordering::Relaxed);
        raw.word32(offset + 4).store(number as u32 & 1, Ordering::Relaxed);
    }
    raw.word64(BEGIN + 16).store(number & 0x1_0000_0001, Ordering::Relaxed);
}

fn edit_bytes(raw: &Raw, number: u64, _: u64) {
    let begin = HEADER_LEN as u64 + 4096;
    let near = begin + number % (SIZE as u64 - begin);
    match number >> 61 {
        0 => raw.word64(HEAD).store(near & !7, Ordering::Relaxed),
        1 => raw.word64(TAIL).store(near & !7, Ordering::Relaxed),
        2 => raw.word64(TAIL).store(near, Ordering::Relaxed),
        3 => drop(raw.word64(HEAD).fetch_xor(1 << (number % 64), Ordering::Relaxed)),
        _ => raw.word64(near as usize & !7).store(0x8000_0000 | (number % 5000), Ordering::Relaxed),
    }
}
