//! Both endpoints of a ring, and its locked use, on memory of an exact size whose control words and bytes come from
//! the input and are rewritten by it between the calls.
//!
//! Checked of each call, whatever is in memory: it ends; it answers what it may; it writes nothing but its own
//! words and, the producer, the bytes behind its own tail that its call asked for; a buffer is written as far as was
//! read; a handle that was poisoned says so for ever. What two sides do at the same instant is for the loom models.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;

use monshm_rbuf::layout::{
    CONSUMER_CLAIM_OFFSET, CONSUMER_WAITING_OFFSET, CONTROL_LEN, HEAD_OFFSET, PRODUCER_CLAIM_OFFSET, TAIL_OFFSET,
};
use monshm_rbuf::{Adaptive, Bounds, Consumer, Error, Label, Plain, Policy, Producer, Ring, Shared};

use crate::input::Input;
use crate::room::Room;

const ME: NonZeroU32 = NonZeroU32::MIN;

/// The longest ring, in bytes.
const RING_MAX: usize = 4096;

/// A word that is no position.
const NOT_PUBLISHED: u64 = 0;

/// What a caller's buffer holds before a call.
const UNTOUCHED: u8 = 0x5A;

/// Control block and bytes of a ring, each between pages of its own.
pub(crate) struct Memory {
    control: Room,
    ring: Room,
    bounds: Bounds,
    base: std::ptr::NonNull<u8>,
}

impl Memory {
    /// An empty ring of `ring_len` bytes, a multiple of 8, whose last byte is the last one before a page that is not
    /// there.
    pub(crate) fn new(ring_len: usize) -> Self {
        let (mut control, mut ring) = (Room::new(CONTROL_LEN), Room::new(RING_MAX.max(ring_len)));
        control.reset(CONTROL_LEN, 0);
        ring.reset(ring_len, 0);
        // Where `begin` has its place, as in a segment; no byte below is ever used.
        let base = std::ptr::NonNull::new(ring.start().as_ptr().wrapping_sub(CONTROL_LEN)).unwrap();
        let end = CONTROL_LEN + ring_len;
        let bounds = Bounds::new(CONTROL_LEN as u64, end as u64, end).unwrap();
        let memory = Self { control, ring, bounds, base };
        memory.shared().format();
        memory
    }

    pub(crate) fn shared(&self) -> Shared {
        // SAFETY: block and bytes are mapped until the drop of `self`, which callers keep longer than any handle; the
        // block ends a page and is 384 bytes long, so it is aligned to 128; `base` is only ever used for offsets from
        // `begin` on, and is aligned to 8 since the ring's length is a multiple of 8; no reference to either lives.
        unsafe { Shared::new(self.control.start().cast(), self.base, self.bounds, ()) }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(crate) fn ring(&self) -> &Room {
        &self.ring
    }

    /// A word of the control block.
    pub(crate) fn control(&self, offset: usize) -> u64 {
        self.control.word(offset)
    }

    pub(crate) fn set_control(&self, offset: usize, value: u64) {
        self.control.write(offset, &value.to_ne_bytes());
    }

    /// What the other side does: an index near the ring, any word of the block, bytes or a plausible header in the
    /// ring.
    pub(crate) fn tamper(&self, input: &mut Input<'_>) {
        let (begin, words) = (self.bounds.begin(), self.ring.len() / 8);
        let index = |input: &mut Input<'_>| begin + u64::from(input.half()) % (8 * words as u64 + 2);
        match input.byte() % 16 {
            0 => self.set_control(HEAD_OFFSET, index(input)),
            1 => self.set_control(TAIL_OFFSET, index(input)),
            2 => self.set_control(HEAD_OFFSET, index(input) & !7),
            3 => self.set_control(TAIL_OFFSET, index(input) & !7),
            4 => {
                let at = input.below(CONTROL_LEN / 8) * 8;
                self.set_control(at, input.hostile_word(self.control(at)));
            }
            5 => {
                let at = usize::from(input.half()) % words * 8;
                let word = u64::from(input.byte() & 0xF) << 28 | u64::from(input.half() & 0x3FF);
                self.ring.write(at, &word.to_ne_bytes());
            }
            6 => {
                let at = usize::from(input.half()) % self.ring.len();
                let len = input.below(64);
                self.ring.write(at, input.take(len));
            }
            7 => {
                let at = usize::from(input.half()) % self.ring.len();
                let bit = 1 << input.below(8);
                let byte = self.ring.word(at / 8 * 8).to_ne_bytes()[at % 8];
                self.ring.write(at, &[byte ^ bit]);
            }
            _ => {}
        }
    }

    /// All shared bytes as they are now.
    fn picture(&self) -> (Vec<u8>, Vec<u8>) {
        (self.control.copy(), self.ring.copy())
    }

    pub(crate) fn check(&self) {
        self.control.check();
        self.ring.check();
    }
}

/// What an endpoint may write: bytes of the control block, and bytes of the ring from a position on, over the wrap.
struct Allowed {
    control: &'static [std::ops::Range<usize>],
    ring_from: u64,
    ring_len: usize,
    /// The lines that a producer may have prefetched, by a word of zeros at the begin of each.
    prefetched: std::ops::Range<u64>,
}

const PRODUCER_WORDS: &[std::ops::Range<usize>] = &[
    TAIL_OFFSET..TAIL_OFFSET + 8,
    PRODUCER_CLAIM_OFFSET..TAIL_OFFSET + 32,
    CONSUMER_WAITING_OFFSET..CONSUMER_WAITING_OFFSET + 8,
];
const CONSUMER_WORDS: &[std::ops::Range<usize>] = &[
    HEAD_OFFSET..HEAD_OFFSET + 8,
    CONSUMER_CLAIM_OFFSET..CONSUMER_CLAIM_OFFSET + 8,
    CONSUMER_WAITING_OFFSET..CONSUMER_WAITING_OFFSET + 8,
];

impl Allowed {
    /// Panics when something else than it allows differs from `before`.
    fn check(&self, memory: &Memory, before: &(Vec<u8>, Vec<u8>)) {
        let now = memory.picture();
        if now == *before {
            return;
        }
        for (at, (old, new)) in before.0.iter().zip(&now.0).enumerate() {
            let allowed = self.control.iter().any(|range| range.contains(&at));
            assert!(old == new || allowed, "byte {at} of the control block was written");
        }
        let bounds = memory.bounds();
        for (at, (old, new)) in before.1.iter().zip(&now.1).enumerate() {
            let position = bounds.begin() + at as u64;
            let distance = (position + bounds.size() - self.ring_from) % bounds.size();
            let prefetched = self.prefetched.contains(&position) && position % 64 < 8 && *new == 0;
            let allowed = distance < self.ring_len as u64 || prefetched;
            assert!(old == new || allowed, "byte {at} of the ring was written");
        }
    }
}

/// Notes an answer: corruption is for ever, and the same.
fn note<T>(outcome: Result<T, Error>, poison: &mut Option<Error>, was_try: bool) -> Option<T> {
    match outcome {
        Ok(value) => {
            assert!(poison.is_none() || !was_try, "a poisoned handle did something");
            Some(value)
        }
        Err(now @ Error::Corrupt(_)) => {
            assert!(poison.is_none_or(|before| before == now), "{poison:?} became {now:?}");
            *poison = Some(now);
            None
        }
        Err(Error::Claimed { .. } | Error::NotClaimed | Error::Bounds(_)) => panic!("{:?}", outcome.err()),
        Err(_) => None,
    }
}

/// The state of a run.
struct Run<'m, P: Policy> {
    memory: &'m Memory,
    source: Room,
    buffer: Room,
    producer: Producer<Shared>,
    producer_poison: Option<Error>,
    /// The producer's private tail: what it last published.
    tail: u64,
    consumer: Consumer<Shared, P>,
    consumer_poison: Option<Error>,
}

/// Runs `input` with each policy: what comes of it must be the same.
pub fn run(input: &[u8]) {
    assert_eq!(outcome(input, Adaptive::default()), outcome(input, Plain), "a policy changed an outcome");
}

/// A hash of all shared memory and of what was read, after each step.
fn outcome(input: &[u8], policy: impl Policy) -> Vec<u64> {
    let mut input = Input::new(input);
    let mut outcomes = Vec::new();
    let words = match input.byte() {
        small @ 0..224 => 1 + usize::from(small) % 32,
        large => 64 * (1 + usize::from(large) % 8),
    };
    let memory = Memory::new(8 * words);
    for _ in 0..input.below(6) {
        memory.tamper(&mut input);
    }
    let locked = Ring::new(memory.shared());
    let claims = (Producer::claim(memory.shared(), ME), Consumer::claim_with(memory.shared(), ME, policy));
    let (Ok(producer), Ok(consumer)) = claims else {
        refused(&memory, &locked, &mut input);
        return outcomes;
    };
    let tail = memory.control(TAIL_OFFSET);
    let mut run = Run {
        memory: &memory,
        source: Room::new(RING_MAX),
        buffer: Room::new(RING_MAX),
        producer,
        producer_poison: None,
        tail,
        consumer,
        consumer_poison: None,
    };
    run.buffer.reset(0, UNTOUCHED);
    while !input.is_empty() {
        memory.tamper(&mut input);
        let what = input.byte();
        let len = usize::from(input.byte()) * if what & 0x80 == 0 { 1 } else { 8 };
        if what & 0x40 == 0 {
            run.produce(what & 0xF, len);
        } else {
            let before = memory.picture();
            run.consume(what & 0xF, len);
            let allowed =
                Allowed { control: CONSUMER_WORDS, ring_from: memory.bounds().begin(), ring_len: 0, prefetched: 0..0 };
            allowed.check(&memory, &before);
        }
        if let Ok(held) = locked.len() {
            assert!(held < memory.bounds().size() as usize);
            assert_eq!(locked.avail(), Ok(locked.capacity() - held));
        }
        memory.check();
        let mut hasher = DefaultHasher::new();
        (memory.picture(), &*run.buffer.bytes()).hash(&mut hasher);
        outcomes.push(hasher.finish());
    }
    outcomes
}

/// Nobody may claim this ring. The locked calls refuse it, or accept it and write nothing but their index and their
/// bytes.
fn refused(memory: &Memory, locked: &Ring<Shared>, input: &mut Input<'_>) {
    let mut buffer = Room::new(RING_MAX);
    while !input.is_empty() {
        memory.tamper(input);
        let len = usize::from(input.byte());
        buffer.reset(len, UNTOUCHED);
        let before = memory.picture();
        match input.byte() % 4 {
            0 => drop(locked.append(buffer.bytes())),
            1 if locked.read(buffer.bytes()).is_err() => {
                assert!(buffer.bytes().iter().all(|byte| *byte == UNTOUCHED), "a refused read wrote");
            }
            2 => drop(locked.skip(len)),
            _ => {
                if let (Ok(head), Ok(tail)) = (locked.head(), locked.tail()) {
                    let range = memory.bounds().begin()..memory.bounds().end();
                    assert!(range.contains(&head) && range.contains(&tail));
                }
            }
        }
        let from = u64::from_ne_bytes(before.0[TAIL_OFFSET..TAIL_OFFSET + 8].try_into().unwrap());
        // Where the index was refused, nothing may be written: no byte is at a distance below 0.
        let good = from >= memory.bounds().begin() && from < memory.bounds().end();
        let allowed = Allowed {
            control: &[HEAD_OFFSET..HEAD_OFFSET + 8, TAIL_OFFSET..TAIL_OFFSET + 8],
            ring_from: if good { from } else { memory.bounds().begin() },
            ring_len: if good { len } else { 0 },
            prefetched: 0..0,
        };
        allowed.check(memory, &before);
        buffer.check();
        memory.check();
    }
}

impl<P: Policy> Run<'_, P> {
    fn produce(&mut self, what: u8, len: usize) {
        let len = len.min(RING_MAX);
        self.source.reset(len, 0xA5);
        let source = &*self.source.bytes();
        let label = Label { kind: len as u8, flags: what, tag: 3 };
        let (producer, poison) = (&mut self.producer, &mut self.producer_poison);
        // The producer never loads the shared word, so that one which no producer writes shows whether it published.
        let shared = self.memory.control(TAIL_OFFSET);
        self.memory.set_control(TAIL_OFFSET, NOT_PUBLISHED);
        let before = self.memory.picture();
        // What needs no room does something with a poisoned handle as well: nothing.
        let tries = len != 0;
        match what {
            0 => drop(note(producer.write(source), poison, tries)),
            1 => {
                let written = note(producer.write_partial(source), poison, tries);
                assert!(written.is_none_or(|count| count <= len && count <= self.memory.bounds().capacity()));
            }
            2 => drop(note(producer.write_or_drop(source), poison, tries)),
            3 => drop(note(producer.push(label, source), poison, true)),
            4 => drop(note(producer.push_checked(label, source), poison, true)),
            5 => drop(note(producer.push_or_drop(label, source), poison, true)),
            6 => {
                let grant = producer.reserve_record(label, len);
                if let Some(mut grant) = note(grant, poison, true) {
                    grant.write_at(len / 2, &source[..len - len / 2]).unwrap();
                    assert!(grant.write_at(len, &[1]).is_err(), "outside of the grant");
                    grant.commit(len / 3).unwrap();
                }
            }
            7 => {
                let mut batch = producer.batch();
                note(batch.write(&source[..len / 8]), poison, len / 8 != 0);
                note(batch.push(label, &source[..len / 4]), poison, true);
                note(batch.write(&source[..len / 8]), poison, len / 8 != 0);
            }
            8 => {
                if let Some(mut grant) = note(producer.reserve(len), poison, tries) {
                    grant.write_at(0, source).unwrap();
                    assert!(grant.write_at(1, source).is_err() || len == 0, "outside of the grant");
                    grant.commit(len - len / 4).unwrap();
                }
            }
            9 => {
                let room = note(producer.available(), poison, true);
                assert!(room.is_none_or(|room| room <= self.memory.bounds().capacity()));
            }
            10 => {
                producer.begin_wait();
                producer.take_peer_wait();
                producer.end_wait();
            }
            11 => producer.close(),
            _ => {
                let _ = (producer.is_closed(), producer.is_abandoned(), producer.peer(), producer.record_limit());
            }
        }
        // Padding, headers and check word beside the payload; a batch writes two pieces.
        let overhead = if (3..8).contains(&what) { self.memory.bounds().size() as usize / 2 + 64 } else { 0 };
        let published = self.memory.control(TAIL_OFFSET);
        // As many lines as were come to, counted from the line after the last; beyond the end of the ring at least one,
        // where a line may be shorter.
        let prefetched = if published == NOT_PUBLISHED {
            0..0
        } else {
            let size = self.memory.bounds().size();
            let written = (published + size - self.tail) % size;
            let lines = ((self.tail % 64 + written) / 64).max(u64::from(published < self.tail));
            let next = published.next_multiple_of(64);
            next..next + 64 * lines
        };
        let allowed = Allowed { control: PRODUCER_WORDS, ring_from: self.tail, ring_len: len + overhead, prefetched };
        allowed.check(self.memory, &before);
        match self.memory.control(TAIL_OFFSET) {
            NOT_PUBLISHED => self.memory.set_control(TAIL_OFFSET, shared),
            tail => {
                assert!(tail >= self.memory.bounds().begin() && tail < self.memory.bounds().end());
                self.tail = tail;
            }
        }
        self.source.check();
    }

    fn consume(&mut self, what: u8, len: usize) {
        let len = len.min(RING_MAX);
        self.buffer.reset(len, UNTOUCHED);
        let buffer = self.buffer.bytes();
        let (consumer, poison) = (&mut self.consumer, &mut self.consumer_poison);
        let tries = len != 0;
        // How much of the buffer may have been written.
        let written = match what {
            0 => note(consumer.read(buffer), poison, tries).map_or(0, |()| len),
            1 => {
                let read = note(consumer.read_partial(buffer), poison, tries).unwrap_or(0);
                assert!(read <= len && read <= self.memory.bounds().capacity());
                read
            }
            2 => note(consumer.skip(len), poison, tries).map_or(0, |()| 0),
            // A checked record is verified on the copy, which is in the buffer by then.
            3 => match consumer.pop(buffer) {
                Ok(record) => {
                    assert!(record.len() <= len && poison.is_none());
                    record.len()
                }
                other => note(other, poison, true).map_or(len, |_| 0),
            },
            4 => {
                let mut count = 0;
                let most = len % 5;
                let counted = consumer.for_each(most, buffer, |record, payload| {
                    assert_eq!(record.len(), payload.len());
                    count += 1;
                });
                let counted = note(counted, poison, most != 0);
                assert!(count <= most && counted.is_none_or(|counted| counted == count));
                len
            }
            5 => match note(consumer.peek_record(), poison, true) {
                Some(mut grant) => {
                    let (all, checked) = (grant.record().len(), grant.record().is_checked());
                    assert!(all < self.memory.bounds().size() as usize);
                    assert!(grant.read_at(all, &mut [0]).is_err() && grant.read_at(1, &mut vec![0; all]).is_err());
                    let outcome = grant.read(buffer);
                    match outcome {
                        Ok(()) => assert!(all <= len),
                        Err(Error::TooSmall { requested, .. }) => assert!(requested == all && all > len),
                        Err(Error::Corrupt(_)) => assert!(checked),
                        Err(other) => panic!("{other:?}"),
                    }
                    if outcome.is_ok() {
                        grant.release();
                    }
                    let _ = note(outcome, poison, true);
                    all.min(len)
                }
                None => 0,
            },
            6 => {
                let Some(grant) = note(consumer.peek(), poison, true) else { return };
                let all = grant.len();
                assert!(all < self.memory.bounds().size() as usize);
                let part = all.min(len);
                grant.read_at(all - part, &mut buffer[..part]).unwrap();
                assert!(grant.read_at(all, &mut [0]).is_err());
                grant.release(all / 2).unwrap();
                part
            }
            7 => {
                let mut batch = consumer.batch();
                note(batch.read(&mut buffer[..len / 4]), poison, len / 4 != 0);
                note(batch.pop(&mut buffer[..len / 2]), poison, true);
                len / 2
            }
            8 => {
                let held = note(consumer.available(), poison, true).unwrap_or(0);
                assert!(held <= self.memory.bounds().capacity());
                0
            }
            9 => {
                consumer.begin_wait();
                consumer.take_peer_wait();
                consumer.end_wait();
                0
            }
            10 => {
                consumer.close();
                0
            }
            _ => {
                let _ = (consumer.take_drops(), consumer.is_closed(), consumer.is_abandoned(), consumer.peer());
                0
            }
        };
        let rest = &self.buffer.bytes()[written..];
        assert!(rest.iter().all(|byte| *byte == UNTOUCHED), "more was written than was read");
        self.buffer.check();
    }
}
