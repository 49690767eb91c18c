//! Two threads on real memory: what arrives is what was sent, in order, once.
//!
//! The interleavings that matter are explored by the loom models; this is the same engine on the CPU.

use std::num::NonZeroU32;
use std::thread;

use monshm_rbuf::{Adaptive, Consumer, Error, Label, Plain, Policy, Producer, Ring, StaticRing};

const ME: NonZeroU32 = NonZeroU32::MIN;
const MESSAGES: u64 = if cfg!(miri) { 60 } else { 40_000 };

/// A length for message `i`, and its bytes: each differs from what stood there before.
fn message(i: u64, buffer: &mut [u8; 300]) -> &[u8] {
    let len = (i * 7919 % 300) as usize;
    for (at, byte) in buffer[..len].iter_mut().enumerate() {
        *byte = (i as usize * 31 + at) as u8;
    }
    &buffer[..len]
}

/// Repeats a call that the other side can make succeed.
fn until<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match call() {
            Ok(value) => return value,
            Err(Error::Full { .. } | Error::Empty { .. }) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn bytes_arrive_in_order() {
    pass_bytes(Adaptive::default());
    pass_bytes(Plain);
}

fn pass_bytes(policy: impl Policy) {
    let memory = StaticRing::<1000>::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = Producer::claim(memory.memory(), ME).unwrap();
            let mut buffer = [0; 300];
            for i in 0..MESSAGES {
                let src = message(i, &mut buffer);
                until(|| producer.write(src));
            }
        });
        let mut consumer = Consumer::claim_with(memory.memory(), ME, policy).unwrap();
        let (mut expected, mut got) = ([0; 300], [0; 300]);
        for i in 0..MESSAGES {
            let expected = message(i, &mut expected);
            until(|| consumer.read(&mut got[..expected.len()]));
            assert_eq!(&got[..expected.len()], expected, "message {i}");
        }
    });
}

#[test]
fn records_arrive_in_order_from_batches_and_checked() {
    let memory = StaticRing::<1000>::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = Producer::claim(memory.memory(), ME).unwrap();
            let mut buffer = [0; 300];
            for i in 0..MESSAGES {
                let src = message(i, &mut buffer);
                let label = Label { kind: 3, flags: 1, tag: i as u16 };
                if i % 3 == 0 {
                    until(|| producer.push_checked(label, src));
                } else {
                    let mut batch = producer.batch();
                    until(|| batch.push(label, src));
                }
            }
        });
        let mut consumer = Consumer::claim(memory.memory(), ME).unwrap();
        let (mut expected, mut buffer) = ([0; 300], [0; 300]);
        let mut i = 0;
        while i < MESSAGES {
            let count = consumer.for_each(5, &mut buffer, |record, payload| {
                assert_eq!((record.label().tag, payload), (i as u16, message(i, &mut expected)));
                assert_eq!(record.is_checked(), i % 3 == 0);
                i += 1;
            });
            if count.unwrap() == 0 {
                thread::yield_now();
            }
        }
    });
}

#[test]
fn many_locked_writers_beside_one_consumer() {
    const WRITERS: u64 = 3;
    let memory = StaticRing::<256>::new();
    let lock = std::sync::Mutex::new(());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (memory, lock) = (&memory, &lock);
            scope.spawn(move || {
                let ring = Ring::new(memory.memory());
                for i in 0..MESSAGES / 4 {
                    let message = [writer.to_ne_bytes(), i.to_ne_bytes()].concat();
                    until(|| {
                        let _guard = lock.lock().unwrap();
                        ring.append(&message)
                    });
                }
            });
        }
        let mut consumer = Consumer::claim(memory.memory(), ME).unwrap();
        let mut next = [0; WRITERS as usize];
        for _ in 0..WRITERS * (MESSAGES / 4) {
            let mut message = [0; 16];
            until(|| consumer.read(&mut message));
            let word = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
            let writer = word(0) as usize;
            assert_eq!(word(8), next[writer]);
            next[writer] += 1;
        }
    });
}
