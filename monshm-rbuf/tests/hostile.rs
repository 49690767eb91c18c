//! A hostile peer: every word it can write, set to every kind of nonsense.
//!
//! Each rule is broken once by name, and then all of them at random, with the control block and the data
//! rewritten between the calls. The ring lies exactly between two inaccessible pages, and so do the private
//! buffers of the copies, so that one byte too far ends the test. What two threads do at once is in the loom
//! models.

mod guarded;

use std::num::NonZeroU32;

use guarded::{Guarded, PAGE};
use monshm_rbuf::layout::{HEAD_OFFSET, TAIL_OFFSET};
use monshm_rbuf::{Consumer, Corruption, Error, Hints, Label, Memory, Producer, Ring, Shared, copy};
use proptest::prelude::*;

const ME: NonZeroU32 = NonZeroU32::MIN;
const LABEL: Label = Label::kind(7);
/// Bits of a record header, as documented in `record`.
const RECORD: u64 = 1 << 31;
const PADDING: u64 = 1 << 30;
const CHECKED: u64 = 1 << 29;

fn handles(ring: &Guarded) -> (Producer<Shared>, Consumer<Shared>) {
    (Producer::claim(ring.memory(), ME).unwrap(), Consumer::claim(ring.memory(), ME).unwrap())
}

/// After `what`, every call of the handle answers the same; what needs nothing may still succeed.
fn poisoned_producer(producer: &mut Producer<Shared>, what: Corruption) {
    let corrupt = Error::Corrupt(what);
    assert_eq!(producer.write(&[1]), Err(corrupt));
    assert_eq!(producer.write_partial(&[1]), Err(corrupt));
    assert_eq!(producer.write_or_drop(&[1]), Err(corrupt));
    assert_eq!(producer.available(), Err(corrupt));
    assert_eq!(producer.reserve(1).err(), Some(corrupt));
    assert_eq!(producer.write(&[]), Err(corrupt));
    assert_eq!(producer.reserve(0).err(), Some(corrupt));
    assert_eq!(producer.batch().write(&[1]), Err(corrupt));
    let outcome = producer.push(LABEL, &[]);
    assert!([Err(corrupt), Err(Error::Unaligned)].contains(&outcome), "{outcome:?}");
}

fn poisoned_consumer(consumer: &mut Consumer<Shared>, what: Corruption) {
    let corrupt = Error::Corrupt(what);
    assert_eq!(consumer.read(&mut [0]), Err(corrupt));
    assert_eq!(consumer.read_partial(&mut [0]), Err(corrupt));
    assert_eq!(consumer.skip(1), Err(corrupt));
    assert_eq!(consumer.read(&mut []), Err(corrupt));
    assert_eq!(consumer.skip(0), Err(corrupt));
    assert_eq!(consumer.available(), Err(corrupt));
    assert_eq!(consumer.peek().err(), Some(corrupt));
    assert_eq!(consumer.batch().read(&mut [0]), Err(corrupt));
    let outcome = consumer.pop(&mut [0; 64]);
    assert!([Err(corrupt), Err(Error::Unaligned)].contains(&outcome), "{outcome:?}");
}

#[test]
fn an_index_out_of_range_is_refused_everywhere() {
    for bad in [0, PAGE as u64, u64::MAX, 1 << 63] {
        for at_end in [false, true] {
            let ring = Guarded::new(PAGE);
            let bad = if at_end { ring.end() } else { bad.min(ring.begin() - 1) };
            let (mut producer, mut consumer) = handles(&ring);
            ring.set(HEAD_OFFSET, bad);
            ring.set(TAIL_OFFSET, bad);
            // What was known before may be used; the next poll refuses.
            assert_eq!(producer.available(), Err(Error::Corrupt(Corruption::HeadOutOfRange)));
            poisoned_producer(&mut producer, Corruption::HeadOutOfRange);
            ring.set(TAIL_OFFSET, bad);
            poisoned_consumer(&mut consumer, Corruption::TailOutOfRange);
            drop((producer, consumer));

            ring.set(HEAD_OFFSET, bad);
            ring.set(TAIL_OFFSET, bad);
            let head = Error::Corrupt(Corruption::HeadOutOfRange);
            let tail = Error::Corrupt(Corruption::TailOutOfRange);
            let locked = Ring::new(ring.memory());
            assert_eq!(locked.append(&[1]), Err(head));
            assert_eq!(locked.read(&mut [0]), Err(head));
            assert_eq!(locked.skip(1), Err(head));
            assert_eq!(locked.len(), Err(head));
            assert_eq!(Consumer::claim(ring.memory(), ME).err(), Some(head));
            assert_eq!(Producer::claim(ring.memory(), ME).err(), Some(tail));
            ring.set(HEAD_OFFSET, ring.begin());
            assert_eq!(locked.append(&[1]), Err(tail));
            assert_eq!(locked.avail(), Err(tail));
            assert_eq!(Producer::claim(ring.memory(), ME).err(), Some(tail));
            assert_eq!(Consumer::claim(ring.memory(), ME).err(), Some(tail), "both are checked");
        }
    }
}

#[test]
fn an_index_that_goes_back_is_refused() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.write(&[1; 100]).unwrap();
    consumer.read(&mut [0; 50]).unwrap();
    assert_eq!(producer.available(), Ok(PAGE - 1 - 50));
    ring.set(HEAD_OFFSET, ring.begin() + 40);
    assert_eq!(producer.available(), Err(Error::Corrupt(Corruption::HeadWentBack)));
    poisoned_producer(&mut producer, Corruption::HeadWentBack);
    ring.set(HEAD_OFFSET, ring.begin() + 50);
    poisoned_producer(&mut producer, Corruption::HeadWentBack);

    ring.set(TAIL_OFFSET, ring.begin() + 90);
    assert_eq!(consumer.available(), Err(Error::Corrupt(Corruption::TailWentBack)));
    poisoned_consumer(&mut consumer, Corruption::TailWentBack);
}

#[test]
fn a_tail_inside_what_a_batch_has_read_is_refused() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.write(&[1; 100]).unwrap();
    let mut batch = consumer.batch();
    batch.read(&mut [0; 100]).unwrap();
    ring.set(TAIL_OFFSET, ring.begin() + 60);
    assert_eq!(batch.read(&mut [0; 8]), Err(Error::Corrupt(Corruption::TailWentBack)));

    // The same where the batch has passed the end of the ring: a tail that is ahead of its cursor, and behind its
    // start.
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.write(&[1; PAGE - 50]).unwrap();
    consumer.skip(PAGE - 50).unwrap();
    producer.write(&[1; 100]).unwrap();
    let mut batch = consumer.batch();
    batch.read(&mut [0; 100]).unwrap();
    ring.set(TAIL_OFFSET, ring.end() - 20);
    assert_eq!(batch.read(&mut [0; 8]), Err(Error::Corrupt(Corruption::TailWentBack)));
}

#[test]
fn a_head_inside_what_was_never_published_is_refused() {
    let ring = Guarded::new(PAGE);
    let (mut producer, _consumer) = handles(&ring);
    let mut batch = producer.batch();
    batch.write(&[1; 100]).unwrap();
    ring.set(HEAD_OFFSET, ring.begin() + 60);
    assert_eq!(batch.write(&[1; PAGE - 50]), Err(Error::Corrupt(Corruption::HeadPassedTail)));
    drop(batch);
    poisoned_producer(&mut producer, Corruption::HeadPassedTail);
}

#[test]
fn misaligned_indices_break_records() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.push(LABEL, &[1; 40]).unwrap();
    producer.push(LABEL, &[1; 40]).unwrap();
    ring.set(HEAD_OFFSET, ring.begin() + 4);
    producer.available().unwrap();
    // Seen at the next poll at the latest, and before anything is said of the room.
    let refusal = (0..PAGE).find_map(|_| producer.push(LABEL, &[1]).err());
    assert_eq!(refusal, Some(Error::Corrupt(Corruption::HeadMisaligned)));
    poisoned_producer(&mut producer, Corruption::HeadMisaligned);
    ring.set(TAIL_OFFSET, ring.begin() + 100);
    assert_eq!(consumer.pop(&mut [0; 64]), Err(Error::Corrupt(Corruption::TailMisaligned)));
    poisoned_consumer(&mut consumer, Corruption::TailMisaligned);

    // Where less than a header is known to be there, too: that is not an empty ring.
    let ring = Guarded::new(PAGE);
    let (_producer, mut consumer) = handles(&ring);
    ring.set(TAIL_OFFSET, ring.begin() + 4);
    assert_eq!(consumer.available(), Ok(4));
    assert_eq!(consumer.pop(&mut [0; 64]), Err(Error::Corrupt(Corruption::TailMisaligned)));
}

#[test]
fn bytes_and_records_do_not_mix() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.push(LABEL, &[1; 40]).unwrap();
    producer.write(&[1]).unwrap();
    assert_eq!(producer.push(LABEL, &[]), Err(Error::Unaligned));
    consumer.read(&mut [0; 3]).unwrap();
    assert_eq!(consumer.pop(&mut [0; 64]).err(), Some(Error::Unaligned));
    assert_eq!(consumer.available(), Ok(46), "a mistake of ours poisons nothing");

    // Even where the bytes at an odd place look like a record.
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.write(&[0; 3]).unwrap();
    producer.write(&RECORD.to_ne_bytes()).unwrap();
    consumer.read(&mut [0; 3]).unwrap();
    assert_eq!(consumer.pop(&mut [0; 64]).err(), Some(Error::Unaligned));
    assert_eq!(consumer.batch().pop(&mut [0; 64]).err(), Some(Error::Unaligned));
}

/// Puts one header word at the start of a ring in which `published` bytes are published, and pops.
fn pop_header(word: u64, published: u64) -> Result<usize, Error> {
    let ring = Guarded::new(PAGE);
    ring.set_data(0, word);
    ring.set(TAIL_OFFSET, ring.begin() + published);
    let mut consumer = Consumer::claim(ring.memory(), ME).unwrap();
    let outcome = consumer.pop(&mut [0; PAGE]);
    if let Err(Error::Corrupt(what)) = outcome {
        poisoned_consumer(&mut consumer, what);
    }
    outcome.map(|record| record.len())
}

#[test]
fn a_header_that_lies_is_refused() {
    let corrupt = |what| Err(Error::Corrupt(what));
    let size = PAGE as u64;
    assert_eq!(pop_header(RECORD, 8), Ok(0));
    assert_eq!(pop_header(RECORD | 8, 16), Ok(8));
    assert_eq!(pop_header(0, 64), corrupt(Corruption::HeaderInvalid));
    assert_eq!(pop_header(8, 64), corrupt(Corruption::HeaderInvalid));
    assert_eq!(pop_header(RECORD | 9, 16), corrupt(Corruption::RecordBeyondTail));
    assert_eq!(pop_header(RECORD | 57, 64), corrupt(Corruption::RecordBeyondTail));
    assert_eq!(pop_header(RECORD | CHECKED, 8), corrupt(Corruption::RecordBeyondTail));
    assert_eq!(pop_header(RECORD | (size - 8), size - 8), corrupt(Corruption::RecordBeyondTail));
    assert_eq!(pop_header(RECORD | size, size - 8), corrupt(Corruption::RecordOverWrap));
    assert_eq!(pop_header(RECORD | ((1 << 28) - 1), size - 8), corrupt(Corruption::RecordOverWrap));
    assert_eq!(pop_header(RECORD | PADDING | 8, 64), corrupt(Corruption::PaddingMisplaced));
    assert_eq!(pop_header(RECORD | PADDING | (size - 8), size - 8), corrupt(Corruption::RecordBeyondTail));
}

#[test]
fn padding_is_passed_over_once_and_given_back() {
    let ring = Guarded::new(PAGE);
    let last = PAGE as u64 - 16;
    // Padding at the end, and a header that is padding again at the beginning.
    for index in [HEAD_OFFSET, TAIL_OFFSET] {
        ring.set(index, ring.begin() + last);
    }
    ring.set_data(last as usize, RECORD | PADDING | 8);
    ring.set_data(0, RECORD | PADDING | 8);
    let mut consumer = Consumer::claim(ring.memory(), ME).unwrap();
    ring.set(TAIL_OFFSET, ring.begin());
    assert!(matches!(consumer.pop(&mut [0; 8]), Err(Error::Empty { .. })));
    assert_eq!(ring.get(HEAD_OFFSET), ring.begin(), "the room of the padding is free");
    ring.set(TAIL_OFFSET, ring.begin() + 64);
    assert_eq!(consumer.pop(&mut [0; 8]).err(), Some(Error::Corrupt(Corruption::PaddingMisplaced)));
}

#[test]
fn a_record_over_the_wrap_is_refused() {
    let ring = Guarded::new(PAGE);
    let last = PAGE as u64 - 16;
    ring.set(HEAD_OFFSET, ring.begin() + last);
    ring.set(TAIL_OFFSET, ring.begin() + 512);
    ring.set_data(last as usize, RECORD | 9);
    let mut consumer = Consumer::claim(ring.memory(), ME).unwrap();
    assert_eq!(consumer.pop(&mut [0; 64]).err(), Some(Error::Corrupt(Corruption::RecordOverWrap)));
}

#[test]
fn a_checked_record_that_changes_is_refused() {
    // Each bit of header (kind, flags, tag), check word and payload.
    for bit in (32..64).chain(64..128).chain(128..168) {
        let ring = Guarded::new(PAGE);
        let (mut producer, mut consumer) = handles(&ring);
        producer.push_checked(LABEL, b"abcde").unwrap();
        let at = bit / 64 * 8;
        ring.set_data(at, ring.get_data(at) ^ 1 << (bit % 64));
        assert_eq!(consumer.pop(&mut [0; 64]).err(), Some(Error::Corrupt(Corruption::Checksum)), "bit {bit}");
        poisoned_consumer(&mut consumer, Corruption::Checksum);
    }
    // The same by grant: mended or not, read again or given back, the record is never accepted.
    let corrupt = Err(Error::Corrupt(Corruption::Checksum));
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    producer.push_checked(LABEL, b"abcde").unwrap();
    ring.set_data(16, ring.get_data(16) ^ 1);
    let mut grant = consumer.peek_record().unwrap();
    assert_eq!(grant.read(&mut [0; 64]), corrupt);
    ring.set_data(16, ring.get_data(16) ^ 1);
    assert_eq!(grant.read(&mut [0; 64]), corrupt);
    grant.release();
    assert_eq!(ring.get(HEAD_OFFSET), ring.begin());
    poisoned_consumer(&mut consumer, Corruption::Checksum);
}

#[test]
fn a_checked_record_that_is_missing_is_noticed() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    for _ in 0..4 {
        producer.push_checked(LABEL, b"abcdefgh").unwrap();
    }
    let mut buffer = [0; 64];
    consumer.pop(&mut buffer).unwrap();
    // The third in the place of the second.
    for word in [0, 8, 16] {
        ring.set_data(24 + word, ring.get_data(48 + word));
    }
    assert_eq!(consumer.pop(&mut buffer).err(), Some(Error::Corrupt(Corruption::Sequence)));

    // A consumer that passes one over, and a producer that starts again, are no loss.
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    for _ in 0..3 {
        producer.push_checked(LABEL, b"abc").unwrap();
    }
    consumer.pop(&mut buffer).unwrap();
    consumer.peek_record().unwrap().release();
    assert!(consumer.pop(&mut buffer).unwrap().is_checked());
    drop(producer);
    let mut producer = Producer::claim(ring.memory(), ME).unwrap();
    producer.push_checked(LABEL, b"again").unwrap();
    consumer.pop(&mut buffer).unwrap();
}

#[test]
fn the_longest_record_fits_everywhere_and_one_more_byte_never() {
    let ring = Guarded::new(PAGE);
    let (mut producer, mut consumer) = handles(&ring);
    let limit = producer.record_limit();
    let payload = vec![9; limit + 1];
    let mut buffer = vec![0; limit];
    let too_long = Err(Error::TooLong { requested: limit + 1, limit });
    for _ in 0..200 {
        assert_eq!(producer.push(LABEL, &payload), too_long);
        assert_eq!(producer.reserve_record(LABEL, limit + 1).map(drop), too_long);
        for len in [usize::MAX, usize::MAX - 7, usize::MAX - 15, isize::MAX as usize] {
            let too_long = Err(Error::TooLong { requested: len, limit });
            assert_eq!(producer.reserve_record(LABEL, len).map(drop), too_long);
        }
        producer.push(LABEL, &payload[..limit]).unwrap();
        assert_eq!(consumer.pop(&mut buffer).unwrap().len(), limit);
        producer.push(LABEL, &[]).unwrap();
        assert!(matches!(
            producer.push_checked(LABEL, &payload[..limit - 7]),
            Err(Error::TooLong { requested, limit: stated }) if requested == limit - 7 && stated == limit - 8
        ));
        assert_eq!(consumer.pop(&mut []).unwrap().len(), 0);
    }
    let refused = producer.push(LABEL, &payload[..9]).and_then(|()| consumer.pop(&mut [0; 8]).map(drop));
    assert_eq!(refused, Err(Error::TooSmall { requested: 9, available: 8 }));
    assert_eq!(consumer.pop(&mut [0; 9]).map(|record| record.len()), Ok(9), "nothing was consumed");
}

#[test]
fn a_claimed_role_is_refused_to_all_others() {
    let ring = Guarded::new(PAGE);
    let (producer, consumer) = handles(&ring);
    let claimed = Error::Claimed { by: ME };
    let other = NonZeroU32::new(2).unwrap();
    assert_eq!(Producer::claim(ring.memory(), other).err(), Some(claimed));
    assert_eq!(Consumer::claim(ring.memory(), other).err(), Some(claimed));
    assert_eq!(Producer::take_over(ring.memory(), other, ME).err(), Some(claimed));
    let locked = Ring::new(ring.memory());
    assert_eq!(locked.append(&[1]), Err(claimed));
    assert_eq!(locked.read(&mut []), Err(claimed));
    assert_eq!(locked.skip(0), Err(claimed));
    assert_eq!(locked.len(), Ok(0), "looking is free");
    drop((producer, consumer));
    assert_eq!(Consumer::take_over(ring.memory(), ME, other).err(), Some(Error::NotClaimed));
    locked.append(&[1]).unwrap();
}

#[test]
fn copies_touch_nothing_outside_their_ranges() {
    let (shared, private) = (Guarded::new(PAGE), Guarded::new(PAGE));
    let shared_at = |at: usize| shared.memory_start().wrapping_add(at);
    let private_at = |at: usize| private.memory_start().wrapping_add(at);
    for len in (0..=700).chain([1000, 2047, 2048, 2049, 4000, 4095, 4096]) {
        // Flush with the inaccessible page below, then with the one above.
        for (near, far) in [(0, 0), (PAGE - len, PAGE - len), (0, PAGE - len), (PAGE - len, 0)] {
            // SAFETY: both ranges are exactly inside their page; no reference to either lives.
            unsafe {
                private_at(near).write_bytes(len as u8, len);
                copy::write_to(shared_at(far), std::slice::from_raw_parts(private_at(near), len));
                private_at(near).write_bytes(0, len);
                let back = std::slice::from_raw_parts_mut(private_at(near), len);
                copy::read_from(shared_at(far), back);
                assert!(back.iter().all(|byte| *byte == len as u8), "{len}");
            }
        }
    }
}

/// The pages beside the ring cannot be accessed: a flush of one of their lines would end this test.
#[test]
fn hints_outside_of_the_ring_are_ignored() {
    let ring = Guarded::new(PAGE);
    let memory = ring.memory();
    let (begin, end) = (ring.begin(), ring.end());
    for at in [0, begin - 64, begin, end - 64, end, u64::MAX - 63, u64::MAX] {
        memory.prefetch(at);
        for to in [0, begin, begin + 64, end, end + 64, u64::MAX] {
            memory.flush(at..to);
        }
    }
    assert_eq!(memory.bounds().size(), PAGE as u64);
}

/// What the other side does between two calls.
#[derive(Clone, Debug)]
enum Tamper {
    Nothing,
    Head(u64),
    Tail(u64),
    Word(usize, u64),
    Bytes(u8),
}

fn tamper() -> impl Strategy<Value = Tamper> {
    let index = prop_oneof![
        4 => (0..PAGE as u64 / 8).prop_map(|word| 3 * PAGE as u64 + 8 * word),
        2 => 3 * PAGE as u64..4 * PAGE as u64 + 2,
        1 => any::<u64>(),
    ];
    let header = (0..40_u64, 0..16_u64).prop_map(|(len, bits)| bits << 28 | len);
    prop_oneof![
        6 => Just(Tamper::Nothing),
        2 => index.clone().prop_map(Tamper::Head),
        2 => index.prop_map(Tamper::Tail),
        4 => (0..PAGE / 8, prop_oneof![3 => header, 1 => any::<u64>()])
            .prop_map(|(word, value)| Tamper::Word(8 * word, value)),
        1 => any::<u8>().prop_map(Tamper::Bytes),
    ]
}

fn apply(ring: &Guarded, tamper: &Tamper) {
    match *tamper {
        Tamper::Nothing => {}
        Tamper::Head(to) => ring.set(HEAD_OFFSET, to),
        Tamper::Tail(to) => ring.set(TAIL_OFFSET, to),
        Tamper::Word(at, value) => ring.set_data(at, value),
        Tamper::Bytes(value) => (0..PAGE).step_by(8).for_each(|at| {
            ring.set_data(at, u64::from_ne_bytes([value; 8]));
        }),
    }
}

/// Bounded work and no access outside is what the guard pages and the end of the test show; here, that a
/// poisoned handle stays so and that what is given back is within what can be.
fn check<T>(outcome: Result<T, Error>, poison: &mut Option<Corruption>) -> Option<T> {
    match (outcome, *poison) {
        (Err(Error::Corrupt(now)), Some(before)) => {
            assert_eq!(now, before, "the first fault stays");
            None
        }
        (Err(Error::Corrupt(now)), None) => {
            *poison = Some(now);
            None
        }
        (Err(_), _) => None,
        (Ok(value), _) => Some(value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_peer_that_writes_anything_harms_nothing(
        steps in prop::collection::vec((tamper(), 0..14_u8, 0..PAGE + 8), 0..80)
    ) {
        let ring = Guarded::new(PAGE);
        let (mut producer, mut consumer) = handles(&ring);
        let locked = Ring::new(ring.memory());
        let (mut broken_producer, mut broken_consumer) = (None, None);
        let source = vec![0xC3; PAGE + 8];
        let mut buffer = vec![0; PAGE + 8];
        for (tamper, what, len) in steps {
            apply(&ring, &tamper);
            let (wrong, poison) = (&mut broken_producer, &mut broken_consumer);
            match what {
                0 => drop(check(producer.write(&source[..len]), wrong)),
                1 => assert!(check(producer.write_partial(&source[..len]), wrong).is_none_or(|count| count <= len)),
                2 => drop(check(producer.push(LABEL, &source[..len / 8]), wrong)),
                3 => drop(check(producer.push_checked(LABEL, &source[..len / 8]), wrong)),
                4 => drop(check(producer.reserve(len).map(|mut grant| grant.write_at(0, &source[..len])), wrong)),
                5 => {
                    let grant = producer.reserve_record(LABEL, len / 4);
                    let written = grant.and_then(|mut grant| {
                        grant.write_at(0, &source[..len / 4])?;
                        grant.commit(len / 8)
                    });
                    check(written, wrong);
                }
                6 => {
                    let mut batch = producer.batch();
                    check(batch.write(&source[..len / 16]), wrong);
                }
                7 => drop(check(consumer.read(&mut buffer[..len]), poison)),
                8 => assert!(check(consumer.read_partial(&mut buffer[..len]), poison).is_none_or(|count| count <= len)),
                9 => drop(check(consumer.skip(len), poison)),
                10 => drop(check(consumer.pop(&mut buffer), poison)),
                11 => {
                    let count = consumer.for_each(len % 9, &mut buffer, |record, payload| {
                        assert_eq!(record.len(), payload.len());
                    });
                    assert!(check(count, poison).is_none_or(|count| count <= len % 9));
                }
                12 => {
                    let released = consumer.peek().and_then(|grant| {
                        assert!(grant.len() < PAGE);
                        grant.read_at(0, &mut buffer[..grant.len()])?;
                        let all = grant.len();
                        grant.release(all / 2)
                    });
                    check(released, poison);
                }
                _ => {
                    if let Ok(count) = locked.len() {
                        assert!(count < PAGE);
                    }
                    assert!(locked.append(&source[..1]).is_err() && locked.skip(1).is_err());
                }
            }
        }
        // What the copies left in memory is inside the ring: the pages beside it would have stopped us.
        prop_assert_eq!(ring.memory().bounds().size(), PAGE as u64);
    }
}
