//! A ring whose bytes are the input: every record header is the fuzzer's, and bits flip while records are read.
//!
//! A second reading of the format, below, says of each record what a consumer must make of it; what the two disagree
//! about is a finding. It judges what does not change: after a bit flipped inside a call, only the contract holds.

use std::num::NonZeroU32;

use monshm_rbuf::layout::{HEAD_OFFSET, TAIL_OFFSET};
use monshm_rbuf::{Consumer, Error, Label, Producer, Shared};

use crate::input::Input;
use crate::ring_ends::Memory;
use crate::room::{PAGE, Room};

const ME: NonZeroU32 = NonZeroU32::MIN;

/// What is at a position, by the format.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Wrong,
    /// So many bytes of payload behind so many of head, which take so much room in all.
    Record {
        head: usize,
        len: usize,
        extent: usize,
    },
    Padding {
        extent: usize,
    },
}

/// Reads the format at `at`, an offset in `ring`, of which `published` bytes from there on are published.
fn meaning(ring: &[u8], at: usize, published: usize) -> Meaning {
    if published == 0 {
        return Meaning::Nothing;
    }
    if published % 8 != 0 {
        return Meaning::Wrong;
    }
    let word = u64::from_ne_bytes(ring[at..at + 8].try_into().unwrap());
    let [record, padding, checked, first] = [31, 30, 29, 28].map(|bit| word >> bit & 1 == 1);
    let len = (word & 0x0FFF_FFFF) as usize;
    let head = if checked { 16 } else { 8 };
    let extent = head + len.div_ceil(8) * 8;
    let until_end = ring.len() - at;
    let lonely = word >> 32 == 0 && !checked && !first;
    if !record || first && !checked || padding && !lonely || extent > until_end || extent > published {
        return Meaning::Wrong;
    }
    match padding {
        true if extent == until_end => Meaning::Padding { extent },
        true => Meaning::Wrong,
        false => Meaning::Record { head, len, extent },
    }
}

/// Runs `input`.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let words = 2 + input.below(96);
    let memory = Memory::new(8 * words);
    let size = 8 * words;
    let (head, held) = (input.below(words) * 8, input.below(words) * 8);
    let begin = memory.bounds().begin();
    memory.set_control(HEAD_OFFSET, begin + head as u64);
    memory.set_control(TAIL_OFFSET, begin + ((head + held) % size) as u64);
    if input.byte() & 1 == 1 {
        honest(&memory, &mut input);
    } else {
        // The bytes from head on, as a sequence of words: a header in the low half of what is mostly small numbers.
        let count = input.below(24);
        for step in 0..count {
            let (kind, len) = (input.byte(), input.half());
            let header = u64::from(kind & 0xF) << 28 | (u64::from(len) % (size as u64 + 24));
            let word = if kind & 0x10 == 0 { header | 1 << 31 } else { input.word() };
            memory.ring().write((head + 8 * step * (1 + usize::from(kind >> 6))) % size, &word.to_ne_bytes());
        }
    }
    let Ok(mut consumer) = Consumer::claim(memory.shared(), ME) else { panic!("the indices are in range") };
    consume(&memory, &mut consumer, &mut input);
    memory.check();
}

/// Lets a producer write records, checked ones among them, and then flips bits of what it wrote.
fn honest(memory: &Memory, input: &mut Input<'_>) {
    memory.set_control(HEAD_OFFSET, memory.control(TAIL_OFFSET));
    let mut producer = Producer::claim(memory.shared(), ME).unwrap();
    let payload = [0x3C; 64];
    for _ in 0..input.below(8) {
        let (what, len) = (input.byte(), input.below(64));
        let label = Label { kind: what, flags: !what, tag: u16::from(what) << 4 };
        let outcome = match what % 3 {
            0 => producer.push(label, &payload[..len]),
            1 => producer.push_checked(label, &payload[..len]),
            _ => producer.reserve_record(label, len).and_then(|grant| grant.commit(len / 2)),
        };
        assert!(matches!(outcome, Ok(()) | Err(Error::Full { .. } | Error::TooLong { .. })), "{outcome:?}");
    }
    for _ in 0..input.below(4) {
        flip(memory, input);
    }
}

fn flip(memory: &Memory, input: &mut Input<'_>) {
    let word = usize::from(input.half()) % (memory.ring().len() / 8) * 8;
    let flipped = memory.ring().word(word) ^ 1 << input.below(64);
    memory.ring().write(word, &flipped.to_ne_bytes());
}

fn consume(memory: &Memory, consumer: &mut Consumer<Shared>, input: &mut Input<'_>) {
    let size = memory.ring().len();
    let begin = memory.bounds().begin();
    let mut buffer = Room::new(PAGE);
    let mut poison = None;
    // Behind the end of the input a few calls more: what comes then is the last answer, or nothing.
    let mut more = 4;
    while more > 0 {
        more -= u32::from(input.is_empty());
        let before = memory.ring().copy();
        let (head, tail) = (memory.control(HEAD_OFFSET), memory.control(TAIL_OFFSET));
        let mut at = (head - begin) as usize;
        let mut published = ((tail + size as u64 - head) % size as u64) as usize;
        let mut expected = meaning(&before, at, published);
        if let Meaning::Padding { extent } = expected {
            (at, published) = (0, published - extent);
            expected = meaning(&before, at, published);
        }
        let room = if input.byte() & 3 == 3 { input.below(256) } else { 2048 };
        buffer.reset(room, 0x5A);
        let outcome = match input.byte() % 4 {
            0 => {
                let outcome = iterate(memory, consumer, input, buffer.bytes());
                assert!(matches!(outcome, Ok(_) | Err(Error::Corrupt(_) | Error::TooSmall { .. })), "{outcome:?}");
                if let Err(error @ Error::Corrupt(_)) = outcome {
                    assert!(poison.is_none_or(|before| before == error), "{poison:?} became {error:?}");
                    poison = Some(error);
                }
                assert!(poison.is_none() || outcome != Ok(true), "a poisoned consumer read");
                buffer.check();
                continue;
            }
            1 => consumer.peek_record().and_then(|mut grant| {
                let record = grant.record();
                grant.read(buffer.bytes())?;
                grant.release();
                Ok(record)
            }),
            2 => consumer.batch().pop(buffer.bytes()),
            _ => consumer.pop(buffer.bytes()),
        };
        assert!(poison.is_none() || outcome.err() == poison, "{poison:?} became {outcome:?}");
        match (&outcome, &expected) {
            (Ok(record), Meaning::Record { head, len, extent }) => {
                assert_eq!((record.len(), record.is_checked()), (*len, *head == 16));
                assert_eq!(buffer.bytes()[..*len], before[at + head..][..*len], "another payload");
                let now = memory.control(HEAD_OFFSET);
                assert_eq!((now - begin) as usize, (at + extent) % size);
            }
            (Err(Error::Empty { .. }), Meaning::Nothing) => return,
            (Err(Error::TooSmall { requested, .. }), Meaning::Record { len, .. }) => {
                assert!(*requested == *len && room < *len);
            }
            // What is checked may fail its check.
            (Err(Error::Corrupt(_)), Meaning::Record { head: 16, .. }) => poison = outcome.err(),
            (Err(Error::Corrupt(_)), _) if poison.is_some() => {}
            (Err(Error::Corrupt(_)), Meaning::Wrong | Meaning::Padding { .. }) => poison = outcome.err(),
            _ => panic!("{outcome:?} of {expected:?}"),
        }
        assert_eq!(memory.ring().copy(), before, "a consumer wrote into the ring");
        buffer.check();
    }
}

/// Takes several records in one call, while bits flip between them; tells whether there were any.
fn iterate(
    memory: &Memory,
    consumer: &mut Consumer<Shared>,
    input: &mut Input<'_>,
    buffer: &mut [u8],
) -> Result<bool, Error> {
    let most = input.below(9);
    let mut count = 0;
    let counted = consumer.for_each(most, buffer, |record, payload| {
        assert_eq!(record.len(), payload.len());
        count += 1;
        if input.byte() & 1 == 1 {
            flip(memory, input);
        }
    });
    assert!(count <= most, "more records than were asked for");
    assert!(counted.is_err() || counted == Ok(count));
    counted.map(|counted| counted != 0)
}
