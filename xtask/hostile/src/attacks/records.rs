//! Records as no producer writes them: lengths, flags and padding that cannot be, floods, bits that flip while read.

use super::*;
use crate::raw::{BEGIN, TAIL};
use monshm::Label;

attacks! {
    "records/headers" (Untrusted, BOTH): "publishes record headers that cannot be" => headers_victim, headers_attacker;
    "records/padding" (Untrusted, BOTH): "publishes padding and nothing else, for ever"
        => padding_victim, padding_attacker;
    "records/flips" (Untrusted, BOTH): "flips headers and payloads while they are read"
        => |victim| race(victim, 128, &["Ok", "TimedOut", "NoRoom", "Corrupt", "Poisoned"]), flips_attacker;
    "records/flood" (Untrusted, BOTH): "publishes as fast as it can, the longest records"
        => |victim| race(victim, SIZE, &["Ok", "TimedOut"]), flood_attacker;
}

const FIRST: u64 = 1 << 28;
const CHECKED: u64 = 1 << 29;
const PADDING: u64 = 1 << 30;
const RECORD: u64 = 1 << 31;

const WAIT: Duration = Duration::from_millis(5);

/// Whether the header stands at the ring's begin, or so that the ring's end comes after 16 bytes.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Begin,
    Wrap,
}

/// The header's name and place, the header, how many bytes are published, and what `pop` answers.
const CASES: &[(&str, At, u64, u64, &Answers)] = &[
    ("no record", At::Begin, 0, 64, &["Corrupt"]),
    ("a length without a record", At::Begin, 16, 64, &["Corrupt"]),
    ("all ones", At::Begin, u64::MAX, 64, &["Corrupt"]),
    ("length 0", At::Begin, RECORD, 8, &["Ok"]),
    ("length 1", At::Begin, RECORD | 1, 16, &["Ok"]),
    ("length 1, too little published", At::Begin, RECORD | 1, 8, &["Corrupt"]),
    ("longer than what is published", At::Begin, RECORD | 57, 64, &["Corrupt"]),
    ("the longest length", At::Begin, RECORD | ((1 << 28) - 1), 64, &["Corrupt"]),
    ("longer than the buffer", At::Begin, RECORD | 512, 1024, &["NoRoom"]),
    ("first without a check", At::Begin, RECORD | FIRST | 8, 64, &["Corrupt"]),
    ("checked, with a wrong sum", At::Begin, RECORD | CHECKED | FIRST | 8, 64, &["Corrupt"]),
    ("padding in the middle", At::Begin, RECORD | PADDING | 8, 16, &["Corrupt"]),
    ("padding with a label", At::Begin, RECORD | PADDING | 1 << 32 | 8, 16, &["Corrupt"]),
    ("padding of odd length", At::Begin, RECORD | PADDING | 3, 64, &["Corrupt"]),
    ("a misaligned tail", At::Begin, RECORD | 1, 13, &["Corrupt"]),
    ("over the wrap", At::Wrap, RECORD | 100, 120, &["Corrupt"]),
    ("padding over the wrap", At::Wrap, RECORD | PADDING | 64, 120, &["Corrupt"]),
    ("padding to the end", At::Wrap, RECORD | PADDING | 8, 16, &["TimedOut"]),
];

fn headers_victim(victim: &mut Victim<'_>) -> Done {
    for (name, at, _, _, answers) in CASES {
        victim.case(*name);
        let segment = victim.join()?;
        let ring = segment.unguarded_ring()?;
        if *at == At::Wrap {
            let count = (ring.end() - ring.begin() - 16) as usize;
            ring.append(&vec![0; count])?;
            ring.skip(count)?;
        }
        let mut bytes = Guarded::new(256)?;
        let mut consumer = victim.consumer(&segment)?;
        victim.let_attack()?;
        let popped = victim.call("pop", WAIT, answers, || consumer.pop(bytes.bytes(), WAIT));
        victim.check(popped.is_none_or(|record| record.len() <= 256), "a record fits its buffer");
        victim.check_poisoned(&segment, *answers == ["Corrupt"]);
        victim.check_guards(&bytes);
    }
    Ok(())
}

fn headers_attacker(process: &mut Process) -> Done {
    CASES.iter().try_for_each(|(_, _, header, published, _)| {
        process.edit(|raw| {
            let (begin, tail) = (raw.load(BEGIN), raw.load(TAIL));
            raw.store(tail as usize, *header);
            let after = tail + published;
            raw.store(TAIL, if after < SIZE as u64 { after } else { after - SIZE as u64 + begin });
        })
    })
}

/// How long the floods take, and how long the victim's deadline in them is.
const FLOOD: Duration = Duration::from_millis(150);
const DEADLINE: Duration = Duration::from_millis(20);

fn padding_victim(victim: &mut Victim<'_>) -> Done {
    let begin = Instant::now();
    while begin.elapsed() < FLOOD {
        let segment = victim.join()?;
        segment.unguarded_ring()?;
        let mut bytes = Guarded::new(64)?;
        let mut consumer = victim.consumer(&segment)?;
        victim.let_attack()?;
        for _ in 0..4 {
            let any = ["TimedOut", "Corrupt", "Poisoned"];
            victim.call("pop", DEADLINE, &any, || consumer.pop(bytes.bytes(), DEADLINE));
        }
        victim.check_guards(&bytes);
        victim.signal()?;
    }
    Ok(())
}

/// Padding at every place that a consumer can come to, each one that goes to the ring's end; and tail runs around.
fn padding_attacker(process: &mut Process) -> Done {
    let prepare = |raw: &Raw| {
        for offset in (raw.load(BEGIN) as usize..SIZE).step_by(8) {
            raw.store(offset, RECORD | PADDING | (SIZE - offset - 8) as u64);
        }
    };
    process.race(prepare, |raw, number, _| {
        // Wherever head is: to the end of the ring, and one word further.
        let begin = raw.load(BEGIN);
        raw.store(TAIL, begin);
        raw.store(TAIL, begin + 8 * (number % 64));
    })
}

/// Pops as fast as it can, into a buffer of `len` bytes, and attaches anew whenever the segment is corrupt.
fn race(victim: &mut Victim<'_>, len: usize, allowed: &Answers) -> Done {
    let begin = Instant::now();
    while begin.elapsed() < FLOOD {
        let segment = victim.join()?;
        segment.unguarded_ring()?;
        let mut bytes = Guarded::new(len)?;
        let mut consumer = victim.consumer(&segment)?;
        victim.let_attack()?;
        let part = Instant::now();
        while part.elapsed() < FLOOD / 4 && segment.region(0, 1).is_ok() {
            let popped = victim.call("pop", WAIT, allowed, || consumer.pop(bytes.bytes(), WAIT));
            if popped.is_some_and(|record| record.len() > len) {
                victim.fault("a record is longer than the buffer that it was copied to");
            }
        }
        victim.check_guards(&bytes);
        drop(consumer);
        victim.signal()?;
    }
    Ok(())
}

fn flips_attacker(process: &mut Process) -> Done {
    // Records of 8 bytes all over the ring: a header at every other word.
    let prepare = |raw: &Raw| {
        for offset in (raw.load(BEGIN) as usize..SIZE).step_by(16) {
            raw.store(offset, RECORD | 8);
        }
    };
    process.race(prepare, |raw, number, _| {
        let begin = raw.load(BEGIN) as usize;
        let place = begin + (number >> 20) as usize % (SIZE - begin) / 16 * 16;
        let header = if number % 16 == 0 { RECORD | ((number >> 40) % 4096) } else { RECORD | 8 };
        raw.word64(place).store(header, Ordering::Relaxed);
        let tail = begin as u64 + ((number % (SIZE - begin) as u64) & !15);
        raw.word64(TAIL).store(tail, Ordering::Relaxed);
    })
}

fn flood_attacker(process: &mut Process) -> Done {
    while let Ok(segment) = process.join() {
        process.await_signal()?;
        let mut producer = segment.producer()?;
        let longest = vec![0x5a; producer.record_limit()];
        process.signal()?;
        while !process.is_signalled() {
            for len in [longest.len(), 0, 1, longest.len() / 2] {
                // A ring that is full is as good a flood.
                let _ = producer.try_push(Label::kind(3), &longest[..len]);
            }
        }
        drop(producer);
        process.acted();
        process.await_signal()?;
    }
    Ok(())
}
