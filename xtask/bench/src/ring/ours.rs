//! Our ring alone, without the facade, between two processes over fresh pages: a round trip, to set beside raw atomics.

use monshm_rbuf::Policy;

use crate::machine;
use crate::transport::engine::Ring;

/// A 64-byte message there and back through two rings, ns.
pub(super) fn ping_pong<P: Policy + Default>(cores: (usize, usize)) -> f64 {
    const TRIPS: u64 = 20_000;
    let (there, back) = (Ring::new(1 << 16), Ring::new(1 << 16));
    let answer = || {
        let (mut consumer, mut producer) = (there.consumer::<P>(), back.producer());
        let mut message = [0; 64];
        for _ in 0..TRIPS {
            while consumer.read(&mut message).is_err() {
                std::hint::spin_loop();
            }
            producer.write(&message).expect("room");
        }
    };
    let ns = machine::beside(cores, answer, || {
        let (mut producer, mut consumer) = (there.producer(), back.consumer::<P>());
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
