//! The lock-free endpoints: every publication wakes the other side, corruption poisons, and a mixed ring is told as
//! what it is.
//!
//! A sleeper announces itself by a flag, and whoever wakes it takes the flag back: so no test here measures time.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use monshm::{Consumer, ErrorKind, Label, Producer, Segment};
use monshm_rbuf::layout::{CONSUMER_WAITING_OFFSET, HEAD_OFFSET, PRODUCER_WAITING_OFFSET, TAIL_OFFSET};

use super::Sut;
use crate::support::{Cell, SIZE};

/// Where the ring's words begin in a segment.
const RING_WORDS: u64 = 128;
const LABEL: Label = Label::kind(1);
const NO_WAIT: Duration = Duration::ZERO;

type Call<T> = (&'static str, fn(&mut T));

/// A segment whose ring holds 511 bytes.
fn short() -> Segment {
    Sut::builder(SIZE).common_data(SIZE - 2048 - 512).create().unwrap()
}

/// Raises a waiting flag as a sleeper does, makes the call, and tells whether the flag was taken back.
fn wakes(segment: &Segment, flag: usize, call: impl FnOnce()) -> bool {
    let flag = segment.region(RING_WORDS + flag as u64, 4).unwrap();
    let flag = flag.atomic_u32(0).unwrap();
    flag.store(1, Ordering::SeqCst);
    call();
    flag.swap(0, Ordering::SeqCst) == 0
}

#[test]
fn every_publication_wakes_a_reader() {
    let calls: [Call<Producer>; 13] = [
        ("write", |producer| producer.write(&[1; 8], NO_WAIT).unwrap()),
        ("try_write", |producer| producer.try_write(&[1; 8]).unwrap()),
        ("write_partial", |producer| assert_eq!(producer.write_partial(&[1; 8], NO_WAIT).unwrap(), 8)),
        ("try_write_partial", |producer| assert_eq!(producer.try_write_partial(&[1; 8]).unwrap(), 8)),
        ("write_or_drop", |producer| assert!(producer.write_or_drop(&[1; 8]).unwrap())),
        ("io::Write", |producer| producer.write_all(&[1; 8]).unwrap()),
        ("push", |producer| producer.push(LABEL, &[1; 8], NO_WAIT).unwrap()),
        ("try_push", |producer| producer.try_push(LABEL, &[1; 8]).unwrap()),
        ("push_checked", |producer| producer.push_checked(LABEL, &[1; 8], NO_WAIT).unwrap()),
        ("push_or_drop", |producer| assert!(producer.push_or_drop(LABEL, &[1; 8]).unwrap())),
        ("grant", |producer| producer.reserve(8, NO_WAIT).unwrap().commit(8).unwrap()),
        ("record grant", |producer| producer.reserve_record(LABEL, 8, NO_WAIT).unwrap().commit(8).unwrap()),
        ("batch", |producer| producer.batch().unwrap().try_write(&[1; 8]).unwrap()),
    ];
    for (name, call) in calls {
        let segment = short();
        let mut producer = segment.producer().unwrap();
        assert!(wakes(&segment, CONSUMER_WAITING_OFFSET, || call(&mut producer)), "{name}");
    }
    let segment = short();
    let mut producer = segment.producer().unwrap();
    let mut batch = producer.batch().unwrap();
    batch.try_push(LABEL, &[1; 8]).unwrap();
    assert!(wakes(&segment, CONSUMER_WAITING_OFFSET, || batch.publish().unwrap()), "publish");
    while batch.try_push(LABEL, &[1; 200]).is_ok() {}
    assert!(wakes(&segment, CONSUMER_WAITING_OFFSET, || drop(batch.try_write(&[1; 500]))), "a batch that is full");
    drop(batch);
    assert!(wakes(&segment, CONSUMER_WAITING_OFFSET, || drop(producer)), "close");
}

#[test]
fn every_release_wakes_a_writer() {
    let bytes: [Call<Consumer>; 10] = [
        ("read", |consumer| consumer.read(&mut [0; 8], NO_WAIT).unwrap()),
        ("try_read", |consumer| consumer.try_read(&mut [0; 8]).unwrap()),
        ("read_partial", |consumer| assert_eq!(consumer.read_partial(&mut [0; 8], NO_WAIT).unwrap(), 8)),
        ("try_read_partial", |consumer| assert_eq!(consumer.try_read_partial(&mut [0; 8]).unwrap(), 8)),
        ("io::Read", |consumer| consumer.read_exact(&mut [0; 8]).unwrap()),
        ("skip", |consumer| consumer.skip(8).unwrap()),
        ("grant", |consumer| consumer.peek().unwrap().release(8).unwrap()),
        ("batch", |consumer| consumer.batch().unwrap().try_read(&mut [0; 8]).unwrap()),
        ("release", |consumer| {
            let mut batch = consumer.batch().unwrap();
            batch.try_read(&mut [0; 8]).unwrap();
            batch.release().unwrap();
            std::mem::forget(batch);
        }),
        ("a batch that has too little", |consumer| {
            let mut batch = consumer.batch().unwrap();
            batch.try_read(&mut [0; 8]).unwrap();
            drop(batch.try_read(&mut [0; 500]).unwrap_err());
            std::mem::forget(batch);
        }),
    ];
    let records: [Call<Consumer>; 4] = [
        ("pop", |consumer| assert_eq!(consumer.pop(&mut [0; 8], NO_WAIT).unwrap().len(), 8)),
        ("try_pop", |consumer| assert_eq!(consumer.try_pop(&mut [0; 8]).unwrap().unwrap().len(), 8)),
        ("skip_record", |consumer| assert_eq!(consumer.skip_record().unwrap().unwrap().len(), 8)),
        ("a batch that is empty", |consumer| {
            let mut batch = consumer.batch().unwrap();
            while batch.try_pop(&mut [0; 8]).unwrap().is_some() {}
            std::mem::forget(batch);
        }),
    ];
    let after = |put: fn(&mut Producer), calls: &[Call<Consumer>]| {
        for (name, call) in calls {
            let segment = short();
            let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
            put(&mut producer);
            assert!(wakes(&segment, PRODUCER_WAITING_OFFSET, || call(&mut consumer)), "{name}");
        }
    };
    after(|producer| producer.try_write(&[1; 64]).unwrap(), &bytes);
    after(|producer| producer.try_push(LABEL, &[1; 8]).unwrap(), &records);
    let segment = short();
    let consumer = segment.consumer().unwrap();
    assert!(wakes(&segment, PRODUCER_WAITING_OFFSET, || drop(consumer)), "close");
}

#[test]
fn a_call_that_changes_nothing_wakes_nobody() {
    let segment = short();
    let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
    let silent = |call: &mut dyn FnMut()| {
        !wakes(&segment, CONSUMER_WAITING_OFFSET, &mut *call) && !wakes(&segment, PRODUCER_WAITING_OFFSET, call)
    };
    assert!(silent(&mut || assert_eq!(producer.available().unwrap(), 511)), "available");
    assert!(silent(&mut || drop(producer.reserve(8, NO_WAIT).unwrap())), "an aborted grant");
    assert!(silent(&mut || drop(producer.try_write(&[1; 512]).unwrap_err())), "too long");
    assert!(silent(&mut || drop(consumer.try_read(&mut [0; 8]).unwrap_err())), "nothing to read");
    assert!(silent(&mut || assert!(consumer.try_pop(&mut [0; 8]).unwrap().is_none())), "no record");
    // A wait takes back the flag of its own side.
    let mut wait = || drop(consumer.read(&mut [0; 8], NO_WAIT).unwrap_err());
    assert!(!wakes(&segment, PRODUCER_WAITING_OFFSET, &mut wait), "a wait for nothing");
    assert!(silent(&mut || assert!(consumer.peek().unwrap().is_empty())), "peek");
}

#[test]
fn corruption_that_an_endpoint_finds_poisons_every_handle() {
    let producing: [Call<Producer>; 4] = [
        ("try_write", |producer| drop(refused!(producer.try_write(&[1; 8]), ErrorKind::Corrupt { .. }))),
        ("try_push", |producer| drop(refused!(producer.try_push(LABEL, &[1; 8]), ErrorKind::Corrupt { .. }))),
        ("batch", |producer| {
            let mut batch = producer.batch().unwrap();
            drop(refused!(batch.try_write(&[1; 8]), ErrorKind::Corrupt { .. }));
            refused!(batch.publish(), ErrorKind::Poisoned);
        }),
        ("reserve", |producer| drop(refused!(producer.reserve(8, NO_WAIT).map(drop), ErrorKind::Corrupt { .. }))),
    ];
    for (name, call) in producing {
        let segment = short();
        let mut producer = segment.producer().unwrap();
        while producer.try_write(&[1; 8]).is_ok() {}
        edit(&segment, HEAD_OFFSET);
        call(&mut producer);
        refused!(producer.try_write(&[1; 8]), ErrorKind::Poisoned);
        assert_eq!(segment.lock().map(drop).unwrap_err().kind(), ErrorKind::Poisoned, "{name}");
    }
    let consuming: [Call<Consumer>; 4] = [
        ("try_read", |consumer| drop(refused!(consumer.try_read(&mut [0; 8]), ErrorKind::Corrupt { .. }))),
        ("try_pop", |consumer| drop(refused!(consumer.try_pop(&mut [0; 8]), ErrorKind::Corrupt { .. }))),
        ("io::Read", |consumer| {
            let error = Read::read(consumer, &mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        }),
        ("peek", |consumer| drop(refused!(consumer.peek().map(drop), ErrorKind::Corrupt { .. }))),
    ];
    for (name, call) in consuming {
        let segment = short();
        let mut consumer = segment.consumer().unwrap();
        edit(&segment, TAIL_OFFSET);
        call(&mut consumer);
        refused!(consumer.try_read(&mut [0; 8]), ErrorKind::Poisoned);
        assert_eq!(segment.lock().map(drop).unwrap_err().kind(), ErrorKind::Poisoned, "{name}");
    }
}

/// Writes an index that no honest process writes.
fn edit(segment: &Segment, index: usize) {
    segment.region(RING_WORDS + index as u64, 8).unwrap().copy_from(&u64::MAX.to_ne_bytes()).unwrap();
}

#[test]
fn a_ring_that_this_side_mixed_is_no_corruption() {
    let segment = short();
    let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
    producer.try_write(b"odd").unwrap();
    refused!(producer.try_push(LABEL, b"record"), ErrorKind::MixedRing);
    refused!(producer.reserve_record(LABEL, 8, NO_WAIT).map(drop), ErrorKind::MixedRing);
    producer.try_write(b" bytes").unwrap();
    consumer.try_read(&mut [0; 3]).unwrap();
    refused!(consumer.try_pop(&mut [0; 8]), ErrorKind::MixedRing);
    let mut rest = [0; 6];
    consumer.try_read(&mut rest).unwrap();
    assert_eq!(&rest, b" bytes", "and the ring goes on");
}

#[test]
fn a_stream_ends_for_std_io_too() {
    let segment = short();
    let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
    producer.set_io_timeout(NO_WAIT);
    consumer.set_io_timeout(NO_WAIT);
    assert_eq!(Read::read(&mut consumer, &mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(producer.write_all(&[7; 512]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    drop(producer);
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 511]);
    let mut producer = segment.producer().unwrap();
    drop(consumer);
    producer.write_all(&[7; 511]).unwrap();
    assert_eq!(producer.write_all(&[7]).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}
