//! Records as no producer writes them: lengths, flags and padding that cannot be, floods, and bits that flip while read.

use crate::cell::SIZE;
use crate::hostile::attack::{Attack, Played};
use crate::hostile::raw::{BEGIN, Raw, TAIL};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("records/headers", "publishes record headers that cannot be", headers_victim, headers_attacker),
    Attack::new("records/padding", "publishes padding and nothing else, for ever", padding_victim, padding_attacker),
    Attack::new("records/flips", "flips headers and payloads while they are read", flips_victim, flips_attacker),
    Attack::new("records/flood", "publishes as fast as it can, the longest records", flood_victim, flood_attacker),
];

const FIRST: u64 = 1 << 28;
const CHECKED: u64 = 1 << 29;
const PADDING: u64 = 1 << 30;
const RECORD: u64 = 1 << 31;

const WAIT: Duration = Duration::from_millis(5);

/// A header at the ring's begin, how many bytes are published, whether it stands at the ring's end instead; the answer.
struct Case {
    name: &'static str,
    header: u64,
    published: u64,
    at_end: bool,
    answer: &'static str,
}

const fn case(name: &'static str, header: u64, published: u64, answer: &'static str) -> Case {
    Case { name, header, published, at_end: false, answer }
}

const CASES: &[Case] = &[
    case("no record", 0, 64, "Corrupt"),
    case("a length without a record", 16, 64, "Corrupt"),
    case("all ones", u64::MAX, 64, "Corrupt"),
    case("length 0", RECORD, 8, "Ok"),
    case("length 1", RECORD | 1, 16, "Ok"),
    case("length 1, too little published", RECORD | 1, 8, "Corrupt"),
    case("longer than what is published", RECORD | 57, 64, "Corrupt"),
    case("the longest length", RECORD | ((1 << 28) - 1), 64, "Corrupt"),
    case("longer than the buffer", RECORD | 512, 1024, "NoRoom"),
    case("first without a check", RECORD | FIRST | 8, 64, "Corrupt"),
    case("checked, with a wrong sum", RECORD | CHECKED | FIRST | 8, 64, "Corrupt"),
    case("padding in the middle", RECORD | PADDING | 8, 16, "Corrupt"),
    case("padding with a label", RECORD | PADDING | 1 << 32 | 8, 16, "Corrupt"),
    case("padding of odd length", RECORD | PADDING | 3, 64, "Corrupt"),
    case("a misaligned tail", RECORD | 1, 13, "Corrupt"),
    Case { name: "over the wrap", header: RECORD | 100, published: 120, at_end: true, answer: "Corrupt" },
    Case {
        name: "padding over the wrap",
        header: RECORD | PADDING | 64,
        published: 120,
        at_end: true,
        answer: "Corrupt",
    },
    Case { name: "padding to the end", header: RECORD | PADDING | 8, published: 16, at_end: true, answer: "TimedOut" },
];

fn headers_victim(victim: &mut Victim<'_>) -> Played {
    for case in CASES {
        victim.scene(case.name);
        let segment = victim.stage.join()?;
        let ring = segment.ring()?;
        if case.at_end {
            // Leaves 16 bytes up to the end of the ring.
            let (begin, end) = (ring.begin(), ring.end());
            let count = (end - begin - 16) as usize;
            ring.append(&vec![0; count])?;
            ring.skip(count)?;
        }
        let mut bytes = victim.buffer(256)?;
        let Some(mut consumer) = victim.ask("consumer", AT_ONCE, &["Ok"], || segment.consumer()) else {
            return Ok(());
        };
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let popped = victim.ask("pop_wait", WAIT, &[case.answer], || consumer.pop_wait(bytes.bytes(), WAIT));
        if let Some(record) = popped {
            victim.check(record.len() <= 256, "a record fits its buffer");
        }
        let then: &[&str] = if case.answer == "Corrupt" { &["Poisoned"] } else { &["Ok"] };
        victim.ask("region", AT_ONCE, then, || segment.region(0, 1).map(drop));
        victim.is_whole(&bytes);
    }
    Ok(())
}

fn headers_attacker(stage: &mut Stage) -> Played {
    for case in CASES {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let (begin, tail) = (raw.at(BEGIN), raw.at(TAIL));
        raw.put(tail as usize, case.header);
        let after = tail + case.published;
        raw.put(TAIL, if after < SIZE as u64 { after } else { after - SIZE as u64 + begin });
        stage.did(case.name);
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}

/// How long the floods take, and how long the victim's deadline in them is.
const FLOOD: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_millis(20);

fn padding_victim(victim: &mut Victim<'_>) -> Played {
    let begin = Instant::now();
    while begin.elapsed() < FLOOD {
        let segment = victim.stage.join()?;
        segment.ring()?;
        let mut bytes = victim.buffer(64)?;
        let Some(mut consumer) = victim.ask("consumer", AT_ONCE, &["Ok"], || segment.consumer()) else {
            return Ok(());
        };
        victim.stage.cue()?;
        for _ in 0..4 {
            let any = ["TimedOut", "Corrupt", "Poisoned"];
            victim.ask("pop_wait", PATIENCE, &any, || consumer.pop_wait(bytes.bytes(), PATIENCE));
        }
        victim.is_whole(&bytes);
        victim.stage.cue()?;
    }
    Ok(())
}

/// Padding at every place that a consumer can come to, each one that goes to the ring's end; and tail runs around.
fn padding_attacker(stage: &mut Stage) -> Played {
    loop {
        let Ok(segment) = stage.join() else { return Ok(()) };
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let begin = raw.at(BEGIN) as usize;
        for offset in (begin..SIZE).step_by(8) {
            raw.put(offset, RECORD | PADDING | (SIZE - offset - 8) as u64);
        }
        while !stage.is_called() {
            // Wherever head is: to the end of the ring, and one word further.
            raw.put(TAIL, begin as u64);
            raw.put(TAIL, begin as u64 + 8 * (stage.random.next() % 64));
        }
        stage.did("padding");
        stage.await_cue()?;
    }
}

fn flips_victim(victim: &mut Victim<'_>) -> Played {
    race(victim, 128, false)
}

/// Pops as fast as it can, into a buffer of `len` bytes, and attaches anew whenever the segment is corrupt.
fn race(victim: &mut Victim<'_>, len: usize, honest: bool) -> Played {
    let begin = Instant::now();
    while begin.elapsed() < FLOOD {
        let segment = victim.stage.join()?;
        segment.ring()?;
        let mut bytes = victim.buffer(len)?;
        let Some(mut consumer) = victim.ask("consumer", AT_ONCE, &["Ok"], || segment.consumer()) else {
            return Ok(());
        };
        victim.stage.cue()?;
        let part = Instant::now();
        while part.elapsed() < FLOOD / 4 {
            let any: &[&str] =
                if honest { &["Ok", "TimedOut"] } else { &["Ok", "TimedOut", "NoRoom", "Corrupt", "Poisoned"] };
            let popped = victim.ask("pop_wait", WAIT, any, || consumer.pop_wait(bytes.bytes(), WAIT));
            if popped.is_some_and(|record| record.len() > len) {
                victim.fault("a record is longer than the buffer that it was copied to");
            }
            if segment.region(0, 1).is_err() {
                break;
            }
        }
        victim.is_whole(&bytes);
        drop(consumer);
        victim.stage.cue()?;
    }
    Ok(())
}

fn flips_attacker(stage: &mut Stage) -> Played {
    loop {
        let Ok(segment) = stage.join() else { return Ok(()) };
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        let begin = raw.at(BEGIN) as usize;
        // Records of 8 bytes all over the ring: a header at every other word.
        for offset in (begin..SIZE).step_by(16) {
            raw.put(offset, RECORD | 8);
        }
        while !stage.is_called() {
            for _ in 0..200 {
                let number = stage.random.next();
                let place = begin + (number >> 20) as usize % (SIZE - begin) / 16 * 16;
                let header = if number % 16 == 0 { RECORD | ((number >> 40) % 4096) } else { RECORD | 8 };
                raw.word64(place).store(header, Ordering::Relaxed);
                let tail = begin as u64 + ((number % (SIZE - begin) as u64) & !15);
                raw.word64(TAIL).store(tail, Ordering::Relaxed);
            }
        }
        stage.did("flipped");
        stage.await_cue()?;
    }
}

fn flood_victim(victim: &mut Victim<'_>) -> Played {
    race(victim, SIZE, true)
}

fn flood_attacker(stage: &mut Stage) -> Played {
    loop {
        let Ok(segment) = stage.join() else { return Ok(()) };
        stage.await_cue()?;
        let mut producer = segment.producer()?;
        let longest = vec![0x5a; producer.record_limit()];
        while !stage.is_called() {
            for len in [longest.len(), 0, 1, longest.len() / 2] {
                // A ring that is full is as good a flood.
                let _ = producer.push(monshm::rbuf::Label::kind(3), &longest[..len]);
            }
        }
        drop(producer);
        stage.did("flooded");
        stage.await_cue()?;
    }
}
