//! Our ring between two processes, over fresh pages each time: bytes, batches, records, round trips; and
//! alone in one thread.

use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use monshm_rbuf::layout::CONTROL_LEN;
use monshm_rbuf::{Bounds, Consumer, Inline, Label, Producer, ReadBatch, Shared, WriteBatch};

use super::{Load, Receiver, Sender, receive_all, send_all};
use crate::machine::{self, Pages};

const ME: NonZeroU32 = NonZeroU32::MIN;

/// Pages with a control block, a ring behind it, and a word for the result behind both.
struct Segment {
    pages: Pages,
    memory: Shared,
    ring_len: usize,
}

impl Segment {
    fn new(ring_len: usize) -> Self {
        let pages = Pages::new(CONTROL_LEN + ring_len + 64);
        let end = CONTROL_LEN + ring_len;
        let bounds = Bounds::new(CONTROL_LEN as u64, end as u64, end).expect("bounds");
        // SAFETY: the pages hold the block and the ring, aligned to a page; they outlive every handle, which
        // is made and dropped inside the functions below; the other process reaches them in the same way.
        let memory = unsafe { Shared::new(pages.base.cast(), pages.base, bounds, ()) };
        memory.format();
        Segment { pages, memory, ring_len }
    }

    fn result(&self) -> &AtomicU64 {
        // SAFETY: 64 bytes are mapped behind the ring; aligned to 8.
        unsafe {
            let at: NonNull<AtomicU64> = self.pages.base.add(CONTROL_LEN + self.ring_len).cast();
            at.as_ref()
        }
    }

    /// Sends here, receives in a second process.
    fn run<const N: usize, S: Sender<N>, R: Receiver<N>>(
        &self,
        load: Load,
        sender: impl FnOnce(Producer<Shared>) -> S,
        receiver: impl FnOnce(Consumer<Shared>) -> R,
    ) -> u64 {
        let receive = || {
            let mut receiver = receiver(Consumer::claim(self.memory, ME).expect("free"));
            self.result().store(receive_all(&mut receiver, load), Ordering::Release);
        };
        machine::beside(load.cores, receive, || {
            send_all(&mut sender(Producer::claim(self.memory, ME).expect("free")), load);
        });
        self.result().load(Ordering::Acquire)
    }
}

struct Bytes<T>(T);

impl<const N: usize> Sender<N> for Bytes<Producer<Shared>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.0.write(message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for Bytes<Consumer<Shared>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.0.read(message).is_ok()
    }
}

pub(super) fn bytes<const N: usize>(load: Load) -> u64 {
    Segment::new(load.ring_len).run::<N, _, _>(load, Bytes, Bytes)
}

/// Publishes and releases 64 messages at a time, inside one long batch.
struct Batches<T> {
    batch: T,
    pending: u32,
}

impl<T> Batches<T> {
    const STEP: u32 = 64;

    #[inline(always)]
    fn step(&mut self) -> bool {
        self.pending = (self.pending + 1) % Self::STEP;
        self.pending == 0
    }
}

impl<const N: usize> Sender<N> for Batches<WriteBatch<'static, Shared>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        let sent = self.batch.write(message).is_ok();
        if sent && self.step() {
            self.batch.publish();
        }
        sent
    }

    fn flush(&mut self) {
        self.batch.publish();
    }
}

impl<const N: usize> Receiver<N> for Batches<ReadBatch<'static, Shared>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let received = self.batch.read(message).is_ok();
        if received && self.step() {
            self.batch.release();
        }
        received
    }
}

pub(super) fn batches<const N: usize>(load: Load) -> u64 {
    // A batch borrows its handle: the handles are leaked, at the end of a short process or of a round.
    Segment::new(load.ring_len).run::<N, _, _>(
        load,
        |handle| Batches { batch: Box::leak(Box::new(handle)).batch(), pending: 0 },
        |handle| Batches { batch: Box::leak(Box::new(handle)).batch(), pending: 0 },
    )
}

struct Records<T>(T);

impl<const N: usize> Sender<N> for Records<Producer<Shared>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.0.push(Label::kind(1), message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for Records<Consumer<Shared>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.0.pop(message).is_ok()
    }
}

pub(super) fn records<const N: usize>(load: Load) -> u64 {
    Segment::new(load.ring_len).run::<N, _, _>(load, Records, Records)
}

/// A 64-byte message there and back through two rings, ns.
pub(super) fn ping_pong(cores: (usize, usize)) -> f64 {
    const TRIPS: u64 = 20_000;
    let (there, back) = (Segment::new(1 << 16), Segment::new(1 << 16));
    let answer = || {
        let mut consumer = Consumer::claim(there.memory, ME).expect("free");
        let mut producer = Producer::claim(back.memory, ME).expect("free");
        let mut message = [0; 64];
        for _ in 0..TRIPS {
            while consumer.read(&mut message).is_err() {
                std::hint::spin_loop();
            }
            producer.write(&message).expect("room");
        }
    };
    let ns = machine::beside(cores, answer, || {
        let mut producer = Producer::claim(there.memory, ME).expect("free");
        let mut consumer = Consumer::claim(back.memory, ME).expect("free");
        let mut message = [0; 64];
        let mut start = 0;
        for trip in 0..TRIPS {
            if trip == TRIPS / 10 {
                start = machine::now_ns();
            }
            message[..8].copy_from_slice(&trip.to_ne_bytes());
            producer.write(&message).expect("room");
            while consumer.read(&mut message).is_err() {
                std::hint::spin_loop();
            }
            assert_eq!(message[..8], trip.to_ne_bytes());
        }
        machine::now_ns() - start
    });
    ns as f64 / (TRIPS - TRIPS / 10) as f64
}

/// Write and read of 8 bytes in one thread, ns.
pub(super) fn alone(core: usize) -> f64 {
    let ring = Box::new(Inline::<65536>::new());
    let mut producer = Producer::claim(ring.memory(), ME).expect("free");
    let mut consumer = Consumer::claim(ring.memory(), ME).expect("free");
    time_alone(core, |bytes| {
        producer.write(bytes).expect("room");
        consumer.read(bytes).expect("data");
    })
}

/// The mean time of a call that passes 8 bytes on, ns.
pub(super) fn time_alone(core: usize, mut pass: impl FnMut(&mut [u8; 8])) -> f64 {
    const CALLS: u64 = 2_000_000;
    machine::pin(core);
    let mut start = 0;
    for call in 0..CALLS {
        if call == CALLS / 10 {
            start = machine::now_ns();
        }
        let mut bytes = call.to_ne_bytes();
        pass(&mut bytes);
        assert_eq!(bytes, call.to_ne_bytes());
    }
    (machine::now_ns() - start) as f64 / (CALLS - CALLS / 10) as f64
}
