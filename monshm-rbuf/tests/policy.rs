//! The policy where it meets the engine: when it is asked, and that no outcome and no access rests on it.
//!
//! What it learns from simulated clocks is in its unit tests; what it brings on a machine, in the benchmarks.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::Ordering;

use monshm_rbuf::memory::{Field32, Field64};
use monshm_rbuf::{Bounds, Consumer, Hints, Memory, Plain, Policy, Producer, Shared, StaticRing};

const ME: NonZeroU32 = NonZeroU32::MIN;
const SIZE: usize = 65536;
type Inner<'a> = Shared<&'a StaticRing<SIZE>>;

/// What the hints were asked for.
#[derive(Default)]
struct Counts {
    ticks: Cell<u64>,
    pauses: Cell<u64>,
    clock_reads: Cell<u64>,
    flushed: RefCell<Vec<Range<u64>>>,
}

/// A ring's memory on which each load of an index takes 1,000 ticks, and each pause one.
#[derive(Clone)]
struct Simulated<'a>(Inner<'a>, &'a Counts);

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

impl Hints for Simulated<'_> {
    fn flush(&self, range: Range<u64>) {
        self.1.flushed.borrow_mut().push(range);
    }
    fn pause(&self) {
        add(&self.1.pauses, 1);
        add(&self.1.ticks, 1);
    }
    fn clock(&self) -> Option<u64> {
        add(&self.1.clock_reads, 1);
        Some(self.1.ticks.get())
    }
}

// SAFETY: each call is the inner memory's, with the same arguments.
unsafe impl Memory for Simulated<'_> {
    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }
    fn load64(&self, field: Field64, order: Ordering) -> u64 {
        add(&self.1.ticks, 1000);
        self.0.load64(field, order)
    }
    fn store64(&self, field: Field64, value: u64, order: Ordering) {
        self.0.store64(field, value, order);
    }
    fn load32(&self, field: Field32, order: Ordering) -> u32 {
        self.0.load32(field, order)
    }
    fn store32(&self, field: Field32, value: u32, order: Ordering) {
        self.0.store32(field, value, order);
    }
    fn compare_exchange32(&self, field: Field32, current: u32, new: u32, order: Ordering) -> Result<u32, u32> {
        self.0.compare_exchange32(field, current, new, order)
    }
    fn fence(&self) {
        self.0.fence();
    }
    unsafe fn copy_in(&self, offset: u64, src: &[u8]) {
        // SAFETY: as the caller promises.
        unsafe { self.0.copy_in(offset, src) }
    }
    unsafe fn copy_out(&self, offset: u64, dst: &mut [u8]) {
        // SAFETY: as the caller promises.
        unsafe { self.0.copy_out(offset, dst) }
    }
    unsafe fn store_word(&self, offset: u64, value: u64) {
        // SAFETY: as the caller promises.
        unsafe { self.0.store_word(offset, value) }
    }
    unsafe fn load_word(&self, offset: u64) -> u64 {
        // SAFETY: as the caller promises.
        unsafe { self.0.load_word(offset) }
    }
}

/// Passes messages of 64 bytes through the ring, `polls` times as many as gather while the consumer pauses before it
/// polls: one, and one for each pause.
fn stream<P: Policy>(counts: &Counts, policy: impl FnOnce(Simulated<'_>) -> Consumer<Simulated<'_>, P>, polls: u32) {
    let ring = Box::new(StaticRing::<SIZE>::new());
    let memory = Simulated(ring.memory(), counts);
    let mut producer = Producer::claim(memory.clone(), ME).unwrap();
    let mut consumer = policy(memory.clone());
    let (mut sent, mut received) = (0_u64, 0_u64);
    let mut pauses = counts.pauses.get();
    for _ in 0..polls {
        let gathered = 2 + counts.pauses.get() - std::mem::replace(&mut pauses, counts.pauses.get());
        for _ in 0..gathered.min(512) {
            producer.write(&[sent.to_ne_bytes(); 8].concat()).unwrap();
            sent += 1;
        }
        let mut message = [0; 64];
        while consumer.read(&mut message).is_ok() {
            assert_eq!(message[..8], received.to_ne_bytes());
            received += 1;
        }
    }
    assert_eq!(sent, received);
}

#[test]
fn a_stream_is_learnt_from_and_not_asked_about_often() {
    let counts = Counts::default();
    stream(&counts, |memory| Consumer::claim(memory, ME).unwrap(), 3000);
    assert!(counts.pauses.get() > 3000, "{} pauses: a delay pays here", counts.pauses.get());
    assert!((1..3000).contains(&counts.clock_reads.get()), "{} reads of the clock", counts.clock_reads.get());
    let flushed = counts.flushed.borrow();
    let begin = StaticRing::<SIZE>::new().memory().bounds().begin();
    assert!(flushed.iter().all(|range| range.start <= range.end));
    assert!(flushed.iter().any(|range| !range.is_empty()));
    assert!(flushed.iter().all(|range| range.is_empty() || range.start >= begin && range.end <= begin + SIZE as u64));
}

#[test]
fn the_plain_policy_asks_for_nothing() {
    let counts = Counts::default();
    stream(&counts, |memory| Consumer::claim_with(memory, ME, Plain).unwrap(), 3000);
    assert_eq!((counts.pauses.get(), counts.clock_reads.get(), counts.flushed.borrow().len()), (0, 0, 0));
    assert_eq!(size_of::<Plain>(), 0);
}
