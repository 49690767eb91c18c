//! Models of the ring, explored by loom: each small, each named after what can go wrong in it.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p monshm-rbuf --test loom --release`
//!
//! The engine is the crate's own, monomorphised over loom's cells, with the plain policy but for the last model,
//! which is about the adaptive one. The payload is `UnsafeCell`s, so that an access which an index does not order is
//! a race that loom reports, besides the values being compared. Not here: what needs real memory (hostile bytes,
//! guard pages) or more than a handful of steps (the model tests). Long, because every model needs the memory at the
//! top.
#![cfg(loom)]

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, yield_now};
use monshm_rbuf::memory::{Field32, Field64};
use monshm_rbuf::{Bounds, Consumer, Error, Hints, Label, Memory, Plain, Producer, Ring};

const BEGIN: u64 = 128;

struct Cells {
    wide: [AtomicU64; 4],
    narrow: [AtomicU32; 6],
    bytes: Vec<UnsafeCell<u8>>,
    /// Bytes of the lines that were flushed. Not one of loom's: it orders nothing.
    flushed: std::sync::atomic::AtomicUsize,
}

/// A ring on loom's cells.
#[derive(Clone)]
struct LoomMemory(Arc<Cells>);

impl LoomMemory {
    fn new(size: usize) -> Self {
        LoomMemory(Arc::new(Cells {
            wide: [BEGIN, BEGIN, 0, 0].map(AtomicU64::new),
            narrow: [0; 6].map(AtomicU32::new),
            bytes: (0..size).map(|_| UnsafeCell::new(0)).collect(),
            flushed: Default::default(),
        }))
    }

    /// A ring whose indices are at `at`, empty.
    fn starting_at(size: usize, at: u64) -> Self {
        let memory = LoomMemory::new(size);
        memory.store64(Field64::Head, BEGIN + at, Ordering::SeqCst);
        memory.store64(Field64::Tail, BEGIN + at, Ordering::SeqCst);
        memory
    }

    fn wide(&self, field: Field64) -> &AtomicU64 {
        &self.0.wide[field as usize]
    }

    fn narrow(&self, field: Field32) -> &AtomicU32 {
        &self.0.narrow[field as usize]
    }

    fn cells(&self, offset: u64, len: usize) -> &[UnsafeCell<u8>] {
        if len == 0 { &[] } else { &self.0.bytes[(offset - BEGIN) as usize..][..len] }
    }
}

// SAFETY: the bounds are those of `bytes`; loom's cells check each access; slices check each range.
impl Hints for LoomMemory {
    /// A flush is a read: loom reports one of a line that the producer may write already.
    fn flush(&self, range: Range<u64>) {
        for cell in self.cells(range.start, (range.end - range.start) as usize) {
            cell.with(|_| ());
        }
        self.0.flushed.fetch_add((range.end - range.start) as usize, Ordering::Relaxed);
    }
}

unsafe impl Memory for LoomMemory {
    fn bounds(&self) -> Bounds {
        let end = BEGIN + self.0.bytes.len() as u64;
        Bounds::new(BEGIN, end, end as usize).unwrap()
    }

    fn load64(&self, field: Field64, order: Ordering) -> u64 {
        self.wide(field).load(order)
    }

    fn store64(&self, field: Field64, value: u64, order: Ordering) {
        self.wide(field).store(value, order);
    }

    fn load32(&self, field: Field32, order: Ordering) -> u32 {
        self.narrow(field).load(order)
    }

    fn store32(&self, field: Field32, value: u32, order: Ordering) {
        self.narrow(field).store(value, order);
    }

    fn compare_exchange32(&self, field: Field32, current: u32, new: u32, order: Ordering) -> Result<u32, u32> {
        self.narrow(field).compare_exchange(current, new, order, Ordering::Relaxed)
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    unsafe fn copy_in(&self, offset: u64, src: &[u8]) {
        for (cell, byte) in self.cells(offset, src.len()).iter().zip(src) {
            // SAFETY: loom checks that nothing else accesses the cell now.
            cell.with_mut(|at| unsafe { *at = *byte });
        }
    }

    unsafe fn copy_out(&self, offset: u64, dst: &mut [u8]) {
        let len = dst.len();
        for (cell, byte) in self.cells(offset, len).iter().zip(dst) {
            // SAFETY: loom checks that nothing writes the cell now.
            *byte = cell.with(|at| unsafe { *at });
        }
    }

    unsafe fn store_word(&self, offset: u64, value: u64) {
        // SAFETY: passed on.
        unsafe { self.copy_in(offset, &value.to_ne_bytes()) };
    }

    unsafe fn load_word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: passed on.
        unsafe { self.copy_out(offset, &mut bytes) };
        u64::from_ne_bytes(bytes)
    }
}

fn id(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn producer(memory: &LoomMemory) -> Producer<LoomMemory> {
    Producer::claim(memory.clone(), id(1)).unwrap()
}

fn consumer(memory: &LoomMemory) -> Consumer<LoomMemory, Plain> {
    Consumer::claim_with(memory.clone(), id(2), Plain).unwrap()
}

/// Repeats a call that only the other thread can make succeed.
fn until<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match call() {
            Ok(value) => return value,
            Err(Error::Full { .. } | Error::Empty { .. }) => yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Messages cross the end of the ring, and the room of the first is used again by the last.
#[test]
fn wrap() {
    loom::model(|| {
        let memory = LoomMemory::starting_at(8, 6);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            for first in [1, 4, 7] {
                let mut got = [0; 3];
                until(|| consumer.read(&mut got));
                assert_eq!(got, [first, first + 1, first + 2]);
            }
        });
        for first in [1, 4, 7] {
            until(|| producer.write(&[first, first + 1, first + 2]));
        }
        reader.join().unwrap();
    });
}

/// A producer that comes to a new line stores to its first word ahead of time, unless the consumer still reads there.
#[test]
fn the_line_that_is_prefetched_is_free() {
    loom::model(|| {
        // Lines begin at 0 and 64 of the ring. Data from 68 over the end to 60; 7 bytes are free, and 3 of them in the
        // line that the producer comes to.
        let memory = LoomMemory::starting_at(136, 68);
        let mut producer = producer(&memory);
        let mut consumer = consumer(&memory);
        producer.write(&[7; 128]).unwrap();
        let reader = thread::spawn(move || {
            let mut got = [0; 4];
            consumer.read(&mut got).unwrap();
            assert_eq!(got, [7; 4]);
        });
        producer.write(&[8; 4]).unwrap();
        reader.join().unwrap();
    });
}

/// Both sides refuse on what they knew last, poll again, and go on; the ring is filled to the last byte.
#[test]
fn full_and_empty_with_stale_caches() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            let mut got = Vec::new();
            while got.len() < 9 {
                let mut part = [0; 4];
                match consumer.read_partial(&mut part).unwrap() {
                    0 => yield_now(),
                    count => got.extend_from_slice(&part[..count]),
                }
            }
            assert_eq!(got, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        });
        producer.write(&[1, 2, 3, 4, 5, 6, 7]).unwrap();
        let mut rest: &[u8] = &[8, 9];
        while !rest.is_empty() {
            match producer.write_partial(rest).unwrap() {
                0 => yield_now(),
                count => rest = &rest[count..],
            }
        }
        reader.join().unwrap();
    });
}

/// A dropped grant is never seen; of a committed one, only what was committed.
#[test]
fn partial_commit_and_dropped_grant() {
    loom::model(|| {
        let memory = LoomMemory::starting_at(8, 5);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            let mut got = [0; 4];
            until(|| consumer.read(&mut got));
            assert_eq!(got, [1, 2, 3, 4]);
            let grant = consumer.peek().unwrap();
            assert_eq!(grant.len(), 0);
        });
        let mut grant = producer.reserve(5).unwrap();
        grant.write_at(0, &[9; 5]).unwrap();
        drop(grant);
        let mut grant = producer.reserve(6).unwrap();
        grant.write_at(2, &[3, 4, 9]).unwrap();
        grant.write_at(0, &[1, 2]).unwrap();
        grant.commit(4).unwrap();
        let mut grant = producer.reserve(2).unwrap();
        grant.write_at(0, &[9; 2]).unwrap();
        drop(grant);
        reader.join().unwrap();
    });
}

/// A record that does not fit before the end goes behind padding; both appear together.
#[test]
fn padding_at_the_wrap() {
    loom::model(|| {
        let memory = LoomMemory::starting_at(40, 32);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            let mut got = [0; 8];
            for i in 1..=2_u8 {
                let record = until(|| consumer.pop(&mut got));
                assert_eq!((record.label().tag, record.len()), (u16::from(i), i as usize));
                assert!(got[..record.len()].iter().all(|byte| *byte == i));
            }
        });
        for i in 1..=2_u8 {
            let label = Label { kind: 0, flags: 0, tag: u16::from(i) };
            until(|| producer.push(label, &[i; 2][..i as usize]));
        }
        reader.join().unwrap();
    });
}

/// A batch appears at once and goes back at once; a full ring inside a batch shows what is there.
#[test]
fn batches() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            assert!([0, 6].contains(&consumer.available().unwrap()));
            let mut batch = consumer.batch();
            for i in [1, 2, 3] {
                let mut got = [0; 3];
                until(|| batch.read(&mut got));
                assert_eq!(got, [i; 3]);
            }
        });
        let mut batch = producer.batch();
        for i in [1, 2, 3] {
            until(|| batch.write(&[i; 3]));
        }
        drop(batch);
        reader.join().unwrap();
    });
}

/// Once the end is seen, all that was written before can be read; and the claim is free again after it.
#[test]
fn close_and_abandon() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            while !consumer.is_closed() {
                yield_now();
            }
            assert_eq!(consumer.available().unwrap(), 3);
            let mut got = [0; 3];
            consumer.read(&mut got).unwrap();
            assert_eq!(got, [1, 2, 3]);
            while !consumer.is_abandoned() {
                yield_now();
            }
            assert_eq!(consumer.peer(), None);
        });
        producer.write(&[1, 2, 3]).unwrap();
        drop(producer);
        reader.join().unwrap();
    });
}

/// A consumer that reads a message written after a drop sees the drop.
#[test]
fn drop_counting() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            let mut got = [0; 4];
            let mut received = 0;
            loop {
                // Asked before the read: what was written before the end is then there to be read.
                let closed = consumer.is_closed();
                match consumer.read(&mut got) {
                    Ok(()) => {
                        let missing = u64::from(got[0] - 1) - received;
                        assert!(
                            consumer.drops().records >= missing,
                            "a number is missing, and was not counted as dropped"
                        );
                        received += 1;
                    }
                    Err(_) if closed => break,
                    Err(_) => yield_now(),
                }
            }
            assert_eq!(consumer.drops().records, 3 - received);
            let drops = consumer.drops();
            assert_eq!(drops.bytes, 4 * drops.records);
        });
        for i in 1..=3 {
            producer.write_or_drop(&[i; 4]).unwrap();
        }
        drop(producer);
        reader.join().unwrap();
    });
}

/// Two writers under a lock, one lock-free consumer.
#[test]
fn locked_use_beside_a_lock_free_consumer() {
    loom::model(|| {
        let memory = LoomMemory::starting_at(8, 6);
        let lock = Arc::new(Mutex::new(()));
        let writers: Vec<_> = [1, 2]
            .into_iter()
            .map(|writer| {
                let (memory, lock) = (memory.clone(), lock.clone());
                thread::spawn(move || {
                    let ring = Ring::new(memory);
                    until(|| {
                        let _guard = lock.lock().unwrap();
                        ring.append(&[writer; 5])
                    });
                })
            })
            .collect();
        let mut consumer = consumer(&memory);
        let mut seen = 0;
        for _ in 0..2 {
            let mut got = [0; 5];
            until(|| consumer.read(&mut got));
            assert!(got.iter().all(|byte| *byte == got[0]));
            seen += got[0];
        }
        assert_eq!(seen, 3);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

/// One lock-free producer, readers under a lock: the other half of the same.
#[test]
fn a_lock_free_producer_beside_locked_use() {
    loom::model(|| {
        let memory = LoomMemory::starting_at(8, 6);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let ring = Ring::new(reader);
            for i in 1..=2 {
                let mut got = [0; 5];
                until(|| ring.read(&mut got));
                assert_eq!(got, [i; 5]);
            }
        });
        for i in 1..=2 {
            until(|| producer.write(&[i; 5]));
        }
        assert!(matches!(Ring::new(memory.clone()).append(&[0]), Err(Error::Claimed { by }) if by == id(1)));
        reader.join().unwrap();
    });
}

/// An adversary writes indices while a producer and, on another ring, a consumer work: each call ends, in
/// `Ok`, a refusal or `Corrupt`, and no access leaves the ring (the cells of the memory check that).
#[test]
fn an_adversary_writes_indices() {
    const WILD: [u64; 5] = [0, BEGIN + 3, BEGIN + 7, BEGIN + 8, u64::MAX];
    fn poisoned<T>(outcome: Result<T, Error>, poison: &mut Option<Error>) {
        if let Some(before) = *poison {
            assert_eq!(outcome.err(), Some(before), "a poisoned handle stays poisoned");
        } else if let Err(error @ Error::Corrupt(_)) = outcome {
            *poison = Some(error);
        }
    }
    for wild in WILD {
        loom::model(move || {
            let memory = LoomMemory::new(8);
            let mut producer = producer(&memory);
            let adversary = memory.clone();
            let adversary = thread::spawn(move || {
                adversary.store64(Field64::Head, wild, Ordering::Relaxed);
                adversary.store64(Field64::Head, BEGIN, Ordering::Relaxed);
            });
            let mut poison = None;
            for _ in 0..3 {
                poisoned(producer.write(&[1; 5]), &mut poison);
            }
            adversary.join().unwrap();
        });
        loom::model(move || {
            let memory = LoomMemory::new(8);
            let mut consumer = consumer(&memory);
            let adversary = memory.clone();
            let adversary = thread::spawn(move || {
                adversary.store64(Field64::Tail, wild, Ordering::Relaxed);
                adversary.store64(Field64::Tail, BEGIN + 2, Ordering::Relaxed);
            });
            let mut poison = None;
            for _ in 0..3 {
                poisoned(consumer.read(&mut [0; 2]), &mut poison);
            }
            adversary.join().unwrap();
        });
    }
}

/// Of two that claim one role, one gets it; when it releases it, the next continues at its index.
#[test]
fn a_claim_is_exclusive_and_hands_the_index_on() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let writers: Vec<_> = [1, 2]
            .into_iter()
            .map(|writer| {
                let memory = memory.clone();
                thread::spawn(move || {
                    loop {
                        match Producer::claim(memory.clone(), id(writer)) {
                            Ok(mut producer) => return producer.write(&[writer as u8; 3]).unwrap(),
                            Err(Error::Claimed { by }) => assert_eq!(by, id(3 - writer)),
                            Err(other) => panic!("{other}"),
                        }
                        yield_now();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let mut consumer = consumer(&memory);
        let mut got = [0; 6];
        consumer.read(&mut got).unwrap();
        assert!(got == [1, 1, 1, 2, 2, 2] || got == [2, 2, 2, 1, 1, 1]);
    });
}

/// Locked use goes on where a producer, and then where a consumer, has ended.
#[test]
fn locked_use_follows_a_claim() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let other = memory.clone();
        let other = thread::spawn(move || {
            let ring = Ring::new(other);
            loop {
                match ring.append(&[2, 2]) {
                    Ok(()) => break,
                    Err(Error::Claimed { .. }) => yield_now(),
                    Err(other) => panic!("{other}"),
                }
            }
        });
        producer.write(&[1, 1]).unwrap();
        drop(producer);
        other.join().unwrap();
        let mut got = [0; 4];
        Ring::new(memory).read(&mut got).unwrap();
        assert_eq!(got, [1, 1, 2, 2]);
    });
}

/// Two take a dead claimant's role over: one gets it, and the late drop of the dead one takes nothing away.
#[test]
fn one_successor_takes_over() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut dead = producer(&memory);
        dead.write(&[1, 2]).unwrap();
        let successors: Vec<_> = [3, 4]
            .into_iter()
            .map(|successor| {
                let memory = memory.clone();
                thread::spawn(move || match Producer::take_over(memory, id(1), id(successor)) {
                    Ok(mut producer) => {
                        producer.write(&[successor as u8]).unwrap();
                        Some(producer)
                    }
                    Err(Error::Claimed { .. }) => None,
                    Err(other) => panic!("{other}"),
                })
            })
            .collect();
        let winners: Vec<_> = successors.into_iter().filter_map(|successor| successor.join().unwrap()).collect();
        assert_eq!(winners.len(), 1);
        drop(dead);
        let mut consumer = consumer(&memory);
        assert!(!consumer.is_closed(), "the role is held by the successor");
        assert!([Some(id(3)), Some(id(4))].contains(&consumer.peer()));
        let mut got = [0; 3];
        consumer.read(&mut got).unwrap();
        assert_eq!((got[..2].to_vec(), Some(id(u32::from(got[2])))), (vec![1, 2], consumer.peer()));
    });
}

/// A consumer that announces a sleep and finds nothing is always woken; a producer likewise.
#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            consumer.begin_wait();
            (consumer.available().unwrap() != 0, consumer)
        });
        producer.write(&[1]).unwrap();
        let woken = producer.take_peer_wait();
        let (found, _consumer) = reader.join().unwrap();
        assert!(found || woken, "asleep beside data, and nobody will wake it");
        assert!(!(woken && producer.take_peer_wait()), "one wake-up for one announcement");
    });
    loom::model(|| {
        let memory = LoomMemory::new(8);
        let mut producer = producer(&memory);
        producer.write(&[1; 7]).unwrap();
        let reader = memory.clone();
        let reader = thread::spawn(move || {
            let mut consumer = consumer(&reader);
            consumer.skip(7).unwrap();
            (consumer.take_peer_wait(), consumer)
        });
        producer.begin_wait();
        let found = producer.available().unwrap() != 0;
        let (woken, _consumer) = reader.join().unwrap();
        assert!(woken || found, "asleep beside room, and nobody will wake it");
    });
}

/// The adaptive policy: lines that a stream was read from are flushed before their room goes back to the producer.
#[test]
fn what_was_read_is_flushed_before_it_is_released() {
    loom::model(|| {
        let memory = LoomMemory::new(768);
        let mut producer = producer(&memory);
        // Claimed while the ring is empty, so that a poll finds what is read.
        let mut consumer = Consumer::claim(memory.clone(), id(2)).unwrap();
        let reader = thread::spawn(move || {
            let mut got = [0; 600];
            until(|| consumer.read(&mut got));
            assert_eq!(got, [1; 600]);
            until(|| consumer.read(&mut got[..200]));
            assert_eq!(got[..200], [2; 200]);
        });
        producer.write(&[1; 600]).unwrap();
        until(|| producer.write(&[2; 200]));
        reader.join().unwrap();
        assert!(memory.0.flushed.load(Ordering::Relaxed) >= 512, "{:?}", memory.0.flushed);
    });
}
