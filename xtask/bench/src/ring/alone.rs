//! A ring in one thread that nobody else looks at: write and read of 8 bytes, ours and rtrb's.

use std::num::NonZeroU32;

use monshm_rbuf::{Consumer, Policy, Producer, StaticRing};

use crate::machine;

/// Ours, with a policy.
pub(super) fn monshm(core: usize, policy: impl Policy) -> f64 {
    let ring = Box::new(StaticRing::<65536>::new());
    let mut producer = Producer::claim(ring.memory(), NonZeroU32::MIN).expect("free");
    let mut consumer = Consumer::claim_with(ring.memory(), NonZeroU32::MIN, policy).expect("free");
    time(core, |bytes| {
        producer.write(bytes).expect("room");
        consumer.read(bytes).expect("data");
    })
}

/// rtrb's.
pub(super) fn rtrb(core: usize) -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u8>::new(1 << 16);
    time(core, |bytes| {
        producer.push_entire_slice(bytes).expect("room");
        consumer.pop_entire_slice(bytes).expect("data");
    })
}

/// The mean time of a call that passes 8 bytes on, ns.
fn time(core: usize, mut pass: impl FnMut(&mut [u8; 8])) -> f64 {
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
