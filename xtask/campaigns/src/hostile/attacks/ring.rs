//! The ring's indices and flags edited: out of range, backwards, misaligned, closed, claimed, and at full speed.
//!
//! What stands in the ring, the records, is `records`'.

use super::header::use_all;
use crate::cell::SIZE;
use crate::hostile::attack::{Attack, Played};
use crate::hostile::raw::{BEGIN, CONSUMER_CLAIM, HEAD, PRODUCER_CLAIM, Raw, TAIL};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("ring/tail", "edits tail under a lock-free consumer", tail_victim, tail_attacker),
    Attack::new("ring/head", "edits head under a lock-free producer", head_victim, head_attacker),
    Attack::new("ring/locked", "edits head and tail under the locked ring", locked_victim, locked_attacker),
    Attack::new("ring/flags", "toggles claims, closed and waiting flags at full speed", flags_victim, flags_attacker),
    Attack::new("ring/flips", "flips indices and bytes of the ring at full speed", flips_victim, flips_attacker),
];

const WAIT: Duration = Duration::from_millis(5);

/// A new index, from the ring's begin and end and the index's old value; and what the other end answers to it.
type Edit = (&'static str, fn(u64, u64, u64) -> u64, &'static [&'static str]);

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

fn tail_victim(victim: &mut Victim<'_>) -> Played {
    for (name, _, answers) in TAILS {
        victim.scene(*name);
        let segment = victim.stage.join()?;
        let mut bytes = victim.buffer(4096)?;
        segment.ring()?;
        let Some(mut consumer) = victim.ask("consumer", AT_ONCE, &["Ok"], || segment.consumer()) else {
            return Ok(());
        };
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        victim.ask("read_wait", WAIT, &["Ok"], || consumer.read_wait(&mut bytes.bytes()[..16], WAIT));
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        // What it knows of already may be read without a look at the index; then comes the edited one.
        let known = consumer.available();
        victim.note(if known.is_ok() { "looked" } else { "refused at once" });
        let mut last = Some(0);
        for _ in 0..3 {
            if last.is_some() {
                last = victim.ask("read_wait", WAIT, &["Ok", "TimedOut", "Corrupt", "Poisoned"], || {
                    consumer.read_wait(bytes.bytes(), WAIT)
                });
            }
        }
        // A corrupt index poisons the handle; the others do not.
        let then: &[&str] = if *answers == ["Corrupt"] { &["Poisoned"] } else { &["Ok"] };
        victim.ask("region", AT_ONCE, then, || segment.region(0, 1).map(drop));
        victim.is_whole(&bytes);
    }
    Ok(())
}

fn tail_attacker(stage: &mut Stage) -> Played {
    for (name, new, _) in TAILS {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let (begin, end) = (raw.at(BEGIN), SIZE as u64);
        raw.put(TAIL, begin + 64);
        stage.cue()?;
        stage.await_cue()?;
        raw.put(TAIL, new(begin, end, begin + 64));
        stage.did(name);
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}

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

fn head_victim(victim: &mut Victim<'_>) -> Played {
    for (name, _, answers) in HEADS {
        victim.scene(*name);
        let segment = victim.stage.join()?;
        let mut bytes = victim.buffer(4096)?;
        segment.ring()?;
        let Some(mut producer) = victim.ask("producer", AT_ONCE, &["Ok"], || segment.producer()) else {
            return Ok(());
        };
        fill(victim, &mut producer, bytes.bytes());
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        victim.ask("write_wait", WAIT, &["Ok"], || producer.write_wait(&bytes.bytes()[..32], WAIT));
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        victim.ask("write_wait", WAIT, answers, || producer.write_wait(&bytes.bytes()[..64], WAIT));
        let then: &[&str] = if *answers == ["Corrupt"] { &["Poisoned"] } else { &["Ok"] };
        victim.ask("region", AT_ONCE, then, || segment.region(0, 1).map(drop));
        victim.is_whole(&bytes);
    }
    Ok(())
}

fn fill(victim: &mut Victim<'_>, producer: &mut monshm::ring::Producer, bytes: &[u8]) {
    loop {
        match producer.write_partial(bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return victim.fault(format!("an honest ring answered {error}")),
        }
    }
}

fn head_attacker(stage: &mut Stage) -> Played {
    for (name, new, _) in HEADS {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let (begin, end) = (raw.at(BEGIN), SIZE as u64);
        raw.put(HEAD, begin + 64);
        stage.cue()?;
        stage.await_cue()?;
        raw.put(HEAD, new(begin, end, begin + 64));
        stage.did(name);
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}

/// Head and tail, as distances from begin; and what each locked call answers: `None` where anything honest may be.
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

fn locked_victim(victim: &mut Victim<'_>) -> Played {
    for (head, tail, corrupt) in PAIRS {
        victim.scene(format!("head {head}, tail {tail}"));
        let segment = victim.stage.join()?;
        segment.ring()?.append(&[1; 100])?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let mut bytes = victim.buffer(64)?;
        let guard = victim.lock(&segment, Duration::from_millis(40), &["Clean"]);
        let Some(ring) = victim.ask("ring", AT_ONCE, &["Ok"], || segment.ring()) else { return Ok(()) };
        let first: &[&str] = if *corrupt { &["Corrupt"] } else { &["Ok", "NoData"] };
        victim.ask("read", AT_ONCE, first, || ring.read(bytes.bytes()));
        let next: &[&str] = if *corrupt { &["Poisoned"] } else { &["Ok", "NoRoom"] };
        victim.ask("append", AT_ONCE, next, || ring.append(bytes.bytes()));
        let next: &[&str] = if *corrupt { &["Poisoned"] } else { &["Ok"] };
        victim.ask("len", AT_ONCE, next, || ring.len());
        victim.ask("avail", AT_ONCE, next, || ring.avail());
        victim.is_whole(&bytes);
        drop(guard);
    }
    Ok(())
}

fn locked_attacker(stage: &mut Stage) -> Played {
    for (head, tail, _) in PAIRS {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let begin = raw.at(BEGIN);
        raw.put(HEAD, begin.wrapping_add_signed(*head));
        raw.put(TAIL, begin.wrapping_add_signed(*tail));
        stage.did("head and tail");
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}

/// How long the attacks at full speed take.
const RACE: Duration = Duration::from_millis(250);

fn flags_victim(victim: &mut Victim<'_>) -> Played {
    race(victim)
}

/// Attaches, or makes, anew after each part, since a corrupt segment is given up.
fn race(victim: &mut Victim<'_>) -> Played {
    let begin = Instant::now();
    while begin.elapsed() < RACE {
        let segment = victim.stage.join()?;
        segment.ring()?;
        victim.stage.tell(1)?;
        for _ in 0..20 {
            use_all(victim, &segment, true)?;
            if segment.region(0, 1).is_err() {
                break;
            }
        }
        victim.stage.tell(0)?;
    }
    Ok(())
}

fn flags_attacker(stage: &mut Stage) -> Played {
    racing(stage, |raw, number| {
        let claims = [0, 1, 2, 3, 32, 33, u32::MAX, number as u32];
        let claim = claims[(number >> 32) as usize % claims.len()];
        for offset in [CONSUMER_CLAIM, PRODUCER_CLAIM] {
            raw.word32(offset).store(claim, Ordering::Relaxed);
            raw.word32(offset + 4).store(number as u32 & 1, Ordering::Relaxed);
        }
        raw.word64(BEGIN + 16).store(number & 0x1_0000_0001, Ordering::Relaxed);
    })
}

fn flips_victim(victim: &mut Victim<'_>) -> Played {
    race(victim)
}

fn flips_attacker(stage: &mut Stage) -> Played {
    racing(stage, |raw, number| {
        let begin = super::super::raw::HEADER_LEN as u64 + 4096;
        let near = begin + number % (SIZE as u64 - begin);
        match number >> 61 {
            0 => raw.word64(HEAD).store(near & !7, Ordering::Relaxed),
            1 => raw.word64(TAIL).store(near & !7, Ordering::Relaxed),
            2 => raw.word64(TAIL).store(near, Ordering::Relaxed),
            3 => drop(raw.word64(HEAD).fetch_xor(1 << (number % 64), Ordering::Relaxed)),
            _ => raw.word64(near as usize & !7).store(0x8000_0000 | (number % 5000), Ordering::Relaxed),
        }
    })
}

/// Does `edit` with random numbers at full speed, segment after segment, until the victim is gone.
fn racing(stage: &mut Stage, edit: impl Fn(&Raw, u64)) -> Played {
    loop {
        let Ok(segment) = stage.join() else { return Ok(()) };
        stage.hear()?;
        let raw = Raw::of(&segment)?;
        while !stage.is_called() {
            for _ in 0..500 {
                edit(&raw, stage.random.next());
            }
        }
        stage.did("raced");
        stage.hear()?;
    }
}
