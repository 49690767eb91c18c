//! The ring: locked use as in the reference, and the two lock-free ends with their waits.
//!
//! The engine's own promises are tested in its crate; here it is bound to segments, processes and their deaths.

use std::time::{Duration, Instant};

use monshm::{ErrorKind, PreviousHolder, Segment};

use super::Sut;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE, stream, to_hex};

/// Long enough for whatever comes in the end.
const LONG: Duration = Duration::from_secs(30);

/// A segment whose ring is short: common data has the rest.
fn short() -> Segment {
    let segment = Sut::builder(SIZE).common_data(SIZE - 2048 - 512).create().unwrap();
    assert_eq!(segment.lock().unwrap().ring().unwrap().capacity(), 511);
    segment
}

#[test]
fn what_is_appended_is_read_in_order() {
    let segment = Sut::segment();
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    let capacity = (ring.end() - ring.begin()) as usize - 1;
    assert_eq!((ring.capacity(), ring.avail().unwrap(), ring.len().unwrap()), (capacity, capacity, 0));
    assert!(ring.is_empty().unwrap());
    ring.append(b"hello, ").unwrap();
    ring.append(b"world").unwrap();
    assert_eq!((ring.avail().unwrap(), ring.len().unwrap()), (capacity - 12, 12));
    assert_eq!((ring.head().unwrap(), ring.tail().unwrap()), (ring.begin(), ring.begin() + 12));
    ring.skip(2).unwrap();
    let mut found = [0; 10];
    ring.read(&mut found).unwrap();
    assert_eq!(&found, b"llo, world");
    assert_eq!((ring.head().unwrap(), ring.len().unwrap()), (ring.begin() + 12, 0));
}

#[test]
fn too_much_is_an_error_that_says_both_numbers_and_changes_nothing() {
    let segment = short();
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    ring.append(&[1; 500]).unwrap();
    let before = (ring.head().unwrap(), ring.tail().unwrap());
    let error = refused!(ring.append(&[2; 12]), ErrorKind::NoRoom { needed: 12, available: 11 });
    assert!(error.to_string().contains("12") && error.to_string().contains("11"), "{error}");
    refused!(ring.append(&[2; 512]), ErrorKind::SizeOverLimit { asked: 512, limit: 511 });
    let mut found = [9; 501];
    let error = refused!(ring.read(&mut found), ErrorKind::NoData { asked: 501, available: 500 });
    assert!(error.to_string().contains("501") && error.to_string().contains("500"), "{error}");
    assert_eq!(found, [9; 501]);
    refused!(ring.skip(501), ErrorKind::NoData { asked: 501, available: 500 });
    assert_eq!((ring.head().unwrap(), ring.tail().unwrap()), before);
    ring.append(&[3; 11]).unwrap();
    assert_eq!((ring.avail().unwrap(), ring.len().unwrap()), (0, 511));
    ring.read(&mut found[..500]).unwrap();
    assert_eq!(found[..500], [1; 500]);
}

#[test]
fn bytes_go_round_the_end() {
    let segment = short();
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    let mut place = 0_usize;
    for len in (1..=300).chain((1..=300).rev()) {
        let bytes: Vec<u8> = (place..place + len).map(|place| (place % 251) as u8).collect();
        place += len;
        ring.append(&bytes).unwrap();
        let mut found = vec![0; len];
        ring.read(&mut found).unwrap();
        assert_eq!(found, bytes);
        assert!((ring.begin()..ring.end()).contains(&ring.head().unwrap()));
        assert!((ring.begin()..ring.end()).contains(&ring.tail().unwrap()));
    }
}

#[test]
fn two_processes_use_it_under_the_lock() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    for round in 0..20_u8 {
        helper.ask("lock").unwrap();
        helper.ask(format!("append {}", to_hex(&[round; 100]))).unwrap();
        helper.ask("unlock").unwrap();
        let guard = segment.lock().unwrap();
        let ring = guard.ring().unwrap();
        assert_eq!(ring.len().unwrap(), 100);
        let mut found = [0; 100];
        ring.read(&mut found).unwrap();
        assert_eq!(found, [round; 100]);
    }
    assert_eq!(helper.number("len"), 0);
    assert!(helper.ask("read 1").unwrap_err().is("NoData"));
}

#[test]
fn a_stream_arrives_whole_at_another_process() {
    const COUNT: u64 = 2_000_000;
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let mut producer = segment.producer().unwrap();
    helper.start("consume");
    let sent = stream::produce(&mut producer, COUNT).unwrap();
    drop(producer);
    assert_eq!(helper.finish().unwrap(), format!("{COUNT} {sent}"));
}

#[test]
fn a_stream_arrives_whole_from_another_process() {
    const COUNT: u64 = 2_000_000;
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let mut consumer = segment.consumer().unwrap();
    helper.start(format!("produce {COUNT}"));
    let (count, sum) = stream::consume(&mut consumer).unwrap();
    assert_eq!((count, helper.finish().unwrap()), (COUNT, sum.to_string()));
}

#[test]
fn each_end_is_claimed_by_one() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let producer = segment.producer().unwrap();
    let error = refused!(segment.producer(), ErrorKind::Claimed { role: "producer", .. });
    let who = format!("producer of this ring is claimed by process {}, in attach slot 0", std::process::id());
    assert!(error.to_string().contains(&who), "{error}");
    let refused = helper.ask("claim producer").unwrap_err();
    assert!(refused.is("Claimed") && refused.says(&who), "{refused:?}");
    helper.ask("claim consumer").unwrap();
    let error = refused!(segment.consumer(), ErrorKind::Claimed { role: "consumer", .. });
    assert!(error.to_string().contains(&format!("process {}", helper.pid())), "{error}");
    // A claimed end is not written or read beside its owner.
    let guard = segment.lock().unwrap();
    refused!(guard.ring().unwrap().append(b"x"), ErrorKind::Claimed { role: "lock-free endpoint", .. });
    drop(guard);
    assert!(helper.ask("read 0").unwrap_err().is("Claimed"));
    drop(producer);
    helper.ask("claim producer").unwrap();
    refused!(segment.producer(), ErrorKind::Claimed { .. });
    helper.ask("release").unwrap();
    drop((segment.producer().unwrap(), segment.consumer().unwrap()));
}

#[test]
fn a_dead_producers_end_is_taken_over() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let mut consumer = segment.consumer().unwrap();
    helper.ask("claim producer").unwrap();
    helper.ask(format!("write {} 1000", to_hex(b"last words"))).unwrap();
    refused!(segment.producer(), ErrorKind::Claimed { .. });
    helper.kill();
    let mut found = [0; 100];
    let len = consumer.read_partial(&mut found, LONG).unwrap();
    assert_eq!(&found[..len], b"last words", "what was published is there");
    assert_eq!(consumer.read_partial(&mut found, LONG).unwrap(), 0, "and then the end is reported");
    let mut producer = segment.producer().unwrap();
    producer.write(b"more", LONG).unwrap();
    let len = consumer.read_partial(&mut found, LONG).unwrap();
    assert_eq!(&found[..len], b"more");
}

/// The next who attaches has the slot of the dead, in whose name the end is claimed.
#[test]
fn who_gets_a_dead_consumers_place_can_take_its_end() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("claim consumer").unwrap();
    helper.kill();
    let next = Helper::new();
    next.take(&segment);
    next.ask("claim consumer").unwrap();
    refused!(segment.consumer(), ErrorKind::Claimed { .. });
}

#[test]
fn an_end_that_closes_is_seen() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("claim producer").unwrap();
    let mut consumer = segment.consumer().unwrap();
    helper.ask(format!("write {} 1000", to_hex(b"bye"))).unwrap();
    helper.ask("release").unwrap();
    let mut found = [0; 10];
    assert_eq!(consumer.read_partial(&mut found, LONG).unwrap(), 3);
    assert_eq!(consumer.read_partial(&mut found, LONG).unwrap(), 0);
    helper.ask("claim producer").unwrap();
    drop(consumer);
    // A byte more than the ring holds: it cannot end before somebody reads.
    let capacity = segment.lock().unwrap().ring().unwrap().capacity();
    let refused = helper.ask(format!("write {} 30000", to_hex(&vec![0; capacity + 1]))).unwrap_err();
    assert!(refused.is("Closed"), "{refused:?}");
}

#[test]
fn waits_keep_their_deadlines_and_say_how_far_they_came() {
    let segment = short();
    let mut producer = segment.producer().unwrap();
    let mut consumer = segment.consumer().unwrap();
    let timeout = Duration::from_millis(20);
    let bounded = |began: Instant| {
        let took = began.elapsed();
        assert!(took >= timeout && took < timeout + Duration::from_secs(1), "{took:?}");
    };
    let began = Instant::now();
    refused!(consumer.read_partial(&mut [0; 8], timeout), ErrorKind::TimedOut { .. });
    bounded(began);
    let began = Instant::now();
    assert_eq!(producer.write_partial(&[1; 600], timeout).unwrap(), 511);
    bounded(began);
    let began = Instant::now();
    refused!(producer.write_partial(&[1; 89], timeout), ErrorKind::TimedOut { .. });
    bounded(began);
    assert_eq!(consumer.read_partial(&mut [0; 600], LONG).unwrap(), 511, "what was written is visible");
    assert_eq!(consumer.read_partial(&mut [], timeout).unwrap(), 0);
    assert_eq!(producer.write_partial(&[], timeout).unwrap(), 0);
}

#[test]
fn a_reader_that_sleeps_is_woken() {
    let segment = Sut::segment();
    let mut consumer = segment.consumer().unwrap();
    let mut producer = segment.producer().unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut found = [0; 4];
            consumer.read_partial(&mut found, LONG).map(|len| (len, found))
        });
        std::thread::sleep(Duration::from_millis(20));
        producer.write(b"wake", LONG).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), (4, *b"wake"));
    });
}

#[test]
fn an_append_that_was_killed_before_its_commit_never_was() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    segment.lock().unwrap().ring().unwrap().append(b"before").unwrap();
    let tail = segment.lock().unwrap().ring().unwrap().tail().unwrap();
    helper.ask("lock").unwrap();
    // All of an append but its last store.
    helper.ask(format!("put {tail} {}", to_hex(b"torn"))).unwrap();
    helper.kill();
    let guard = segment.lock().unwrap();
    assert_eq!(guard.previous_holder(), PreviousHolder::Died);
    let ring = guard.ring().unwrap();
    assert_eq!(ring.len().unwrap(), 6);
    let mut found = [0; 6];
    ring.read(&mut found).unwrap();
    assert_eq!(&found, b"before");
}

#[test]
fn indices_that_cannot_be_are_corruption_and_poison_the_handle() {
    for (word, value) in [(256, 0), (256, u64::MAX), (384, 1), (384, SIZE as u64)] {
        let segment = Sut::segment();
        let guard = segment.lock().unwrap();
        let ring = guard.ring().unwrap();
        segment.region(word, 8).unwrap().copy_from(&value.to_ne_bytes()).unwrap();
        refused!(ring.append(b"x"), ErrorKind::Corrupt { .. });
        refused!(ring.len(), ErrorKind::Poisoned);
        refused!(guard.ring(), ErrorKind::Poisoned);
        refused!(segment.producer(), ErrorKind::Poisoned);
    }
}

/// The bounds are kept in private memory once they are known: what stands in the segment then moves nothing.
#[test]
fn edited_bounds_move_nothing() {
    let segment = Sut::segment();
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    let (begin, end) = (ring.begin(), ring.end());
    segment.region(128, 16).unwrap().copy_from(&[0xff; 16]).unwrap();
    ring.append(b"still there").unwrap();
    let again = guard.ring().unwrap();
    assert_eq!((again.begin(), again.end(), again.len().unwrap()), (begin, end, 11));
}

/// Somebody else takes the dead claimant's end over and lets go of it, again and again: each try gets the end or finds
/// it claimed.
#[test]
fn a_claim_that_changes_all_the_time_has_no_other_answer_than_claimed() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let segment = Sut::segment();
    let over = AtomicBool::new(false);
    // Whoever has the highest slot's tag is dead: nobody has that slot.
    let dead = monshm_core::SLOT_COUNT;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let claims = segment.region(256, 512).unwrap();
            while !over.load(Ordering::Relaxed) {
                for tag in [dead, 0] {
                    claims.atomic_u32(8).unwrap().store(tag, Ordering::Relaxed);
                    claims.atomic_u32(136).unwrap().store(tag, Ordering::Relaxed);
                }
            }
        });
        let begin = std::time::Instant::now();
        let mut other = None;
        while begin.elapsed() < Duration::from_millis(300) && other.is_none() {
            let answers = [segment.producer().err(), segment.consumer().err()];
            other = answers.into_iter().flatten().find(|error| !matches!(error.kind(), ErrorKind::Claimed { .. }));
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(other, None);
    });
}
