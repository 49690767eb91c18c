//! A peer that stops answering in the middle of a hand-over: each side gives up in time.
//!
//! Costs the whole five seconds, so all of it is waited for at once, and for one cell: the socket knows no backend.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use monshm::{Error, ErrorKind, Segment, handover};

use crate::support::SIZE;

/// A wait's end and its outcome.
fn timed(call: impl FnOnce() -> Result<(), Error>) -> (Duration, Error) {
    let began = Instant::now();
    let error = call().unwrap_err();
    (began.elapsed(), error)
}

#[test]
fn a_peer_that_stalls_is_given_up_in_time() {
    let segment = Segment::builder(SIZE).create().unwrap();
    // Each far end stays open, and silent or too slow.
    let (sender, _silent_peer) = UnixStream::pair().unwrap();
    let (receiver, _silent_creator) = UnixStream::pair().unwrap();
    let (half, mut half_creator) = UnixStream::pair().unwrap();
    let (trickle, mut slow_creator) = UnixStream::pair().unwrap();
    half_creator.write_all(&[0, 0, 0, 100, 1, 2, 3]).unwrap();
    slow_creator.write_all(&100_u32.to_be_bytes()).unwrap();
    let outcomes = std::thread::scope(|scope| {
        let waits = [
            scope.spawn(|| timed(|| handover::send(&segment, &sender))),
            scope.spawn(|| timed(|| handover::receive(&receiver, SIZE).map(drop))),
            scope.spawn(|| timed(|| handover::receive(&half, SIZE).map(drop))),
            scope.spawn(|| timed(|| handover::receive(&trickle, SIZE).map(drop))),
        ];
        scope.spawn(move || {
            // Bytes that keep coming do not put the deadline off.
            for _ in 0..60 {
                std::thread::sleep(Duration::from_millis(100));
                let _ = slow_creator.write_all(&[0]);
            }
        });
        waits.map(|wait| wait.join().unwrap())
    });
    for (took, error) in outcomes {
        assert!(matches!(error.kind(), ErrorKind::TimedOut { .. }), "{error}");
        // The promise is 50 ms; the rest is for a machine that is busy with something else.
        assert!(took >= handover::TIMEOUT && took < handover::TIMEOUT + Duration::from_secs(1), "{took:?}");
    }
    assert!(segment.lock().is_ok(), "the segment is as good as before");
}
