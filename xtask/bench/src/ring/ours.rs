//! Our ring alone, without the facade, between two processes over fresh pages: a round trip, to set beside raw atomics.

use std::num::NonZeroU32;

use monshm_rbuf::layout::CONTROL_LEN;
use monshm_rbuf::{Bounds, Consumer, Producer, Shared};

use crate::machine::{self, Pages};

const ME: NonZeroU32 = NonZeroU32::MIN;

/// Pages with a control block and a ring behind it.
struct Ring {
    _pages: Pages,
    memory: Shared,
}

impl Ring {
    fn new(ring_len: usize) -> Self {
        let pages = Pages::new(CONTROL_LEN + ring_len);
        let end = CONTROL_LEN + ring_len;
        let bounds = Bounds::new(CONTROL_LEN as u64, end as u64, end).expect("bounds");
        // SAFETY: the pages hold the block and the ring, aligned to a page; they outlive every handle, which
        // is made and dropped inside the function below; the other process reaches them in the same way.
        let memory = unsafe { Shared::new(pages.base.cast(), pages.base, bounds, ()) };
        memory.format();
        Ring { _pages: pages, memory }
    }
}

/// A 64-byte message there and back through two rings, ns.
pub(super) fn ping_pong(cores: (usize, usize)) -> f64 {
    const TRIPS: u64 = 20_000;
    let (there, back) = (Ring::new(1 << 16), Ring::new(1 << 16));
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
